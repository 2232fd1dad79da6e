import re
from xml.etree import ElementTree

import pytest

from lowland.report.inline import inline
from lowland.report.plot import panel_svg


@pytest.fixture(scope="module")
def svg(page):
    return inline(panel_svg(page.figures[0].panels[0]), prefix="p", title="A <b>", description='"x" & y')


def test_every_id_has_the_prefix_and_every_reference_a_target(svg):
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(set(ids)) == len(ids)
    assert all(each.startswith("p-") for each in ids)
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= set(ids)


def test_colours_follow_the_page(svg):
    assert "var(--c1, #0068a8)" in svg
    assert not re.search(r"(?<!, )#[0-9a-f]{6}\b", svg)


def test_nothing_reaches_the_rest_of_the_page(svg):
    assert not re.search(r"<style|<metadata|<!DOCTYPE|<\?xml", svg)


def test_has_text_alternatives_and_no_fixed_size(svg):
    root = ElementTree.fromstring(svg.replace("xlink:", ""))
    assert [root[0].text, root[1].text] == ["A <b>", '"x" & y']
    assert root.get("width") is None
    assert root.get("aria-labelledby") == root[0].get("id")


def test_refuses_what_is_no_svg():
    with pytest.raises(ValueError, match="svg must hold an <svg> element with a viewBox, got '<p>'"):
        inline("<p>", prefix="p", title="", description="")
