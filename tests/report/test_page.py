import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lowland.report.page import Page, render, write_page
from lowland.report.table import Table


class Reader(HTMLParser):
    VOID = frozenset({"meta", "link", "line", "circle", "rect", "path", "use"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open += [] if tag in self.VOID else [tag]
        self.links += [value for key, value in attrs if key in ("href", "src")]
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("href", "src", "xlink:href")]
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(page, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("run"), page).parent


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_its_ids_are_unique(text):
    found = Reader(text)
    assert found.open == []
    assert len(set(found.ids)) == len(found.ids)


def test_verdicts_come_before_figures_and_tables(text):
    order = [text.index(f'<section id="{name}"') for name in ("verdicts", "figures", "tables", "cost", "again")]
    assert order == sorted(order)
    assert text.index("Of 5 claims, 1 holds, 1 fails and 3 are inconclusive.") < order[0]


def test_every_claim_shows_text_source_verdict_and_effects(page, text):
    for verdict in page.verdicts:
        (article,) = re.findall(
            rf'<article class="claim {verdict.outcome}" id="claim-{verdict.claim.id}">.*?</article>',
            text,
            re.DOTALL,
        )
        assert verdict.claim.text in article.replace("&#39;", "'")
        assert all(f"{effect.seeds} seeds" in article for effect in verdict.effects)


def test_every_local_link_leads_to_a_file_or_a_place(page, folder, text):
    local = [link for link in Reader(text).links if not link.startswith(("https://arxiv.org", "data:"))]
    places = {link[1:] for link in local if link.startswith("#")}
    assert places <= set(Reader(text).ids)
    paths = {link for link in local if not link.startswith("#")} - set(page.files.values())
    assert len(paths) >= 15
    assert all((folder / path).is_file() for path in paths)


def test_nothing_is_loaded_from_anywhere(text):
    assert not {"script", "img", "iframe", "object"} & set(Reader(text).tags)
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_same_page_gives_the_same_text(page, text):
    assert render(page) == text


def test_text_is_escaped():
    page = Page(title="<i>", question="<script>alert(1)</script>", settings={"a<b": "</dl>"}, facts={"x": "&"})
    assert "<script>" not in (text := render(page))
    assert "a&lt;b" in text


def test_without_claims_the_results_come_first(page):
    text = render(replace(page, verdicts=()))
    assert 'id="verdicts"' not in text
    assert text.index(">Results</h2>") < text.index(">Figures</h2>")
    assert '<span class="unseen"> (best)</span>' in text


def test_an_empty_page_has_its_question_and_no_empty_section():
    found = Reader(render(Page(title="t", question="Why?")))
    assert found.tags.count("h1") == 1
    assert "section" not in found.tags


def test_nested_settings_and_nothing_are_readable():
    text = render(Page(title="t", question="q", settings={"recipe": {"lr": 0.1}, "commit": None, "on": True}))
    assert "<dt>recipe.lr</dt><dd>0.1</dd>" in text
    assert "<dd>–</dd>" in text
    assert "<dd>true</dd>" in text


def test_one_claim_reads_as_a_sentence(page):
    assert replace(page, verdicts=page.verdicts[:1]).headline == "The one claim is inconclusive."
    assert replace(page, verdicts=page.verdicts[1:2]).headline == "The one claim holds."


def test_refuses_two_tables_of_one_name():
    table = Table(title="Cost", columns=("a",), rows=())
    with pytest.raises(ValueError, match="tables must have different titles, got 'cost' twice"):
        Page(title="t", question="q", tables=(table,), cost=table)


@pytest.mark.parametrize("path", ["https://x.org/a", "javascript:x", "/etc/a", "C:\\a"])
def test_refuses_files_from_elsewhere(path):
    with pytest.raises(ValueError, match="files must be paths relative to the page, got"):
        Page(title="t", question="q", files={"x": path})


def test_a_folder_that_cannot_be_written_is_told_by_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"index.html could not be written"):
        write_page(tmp_path / "file", Page(title="t", question="q"))
