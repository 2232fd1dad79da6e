import csv
import io

import pytest
from rich.console import Console

from lowland.report.interval import Interval
from lowland.report.table import Table

SPREAD = Interval(value=4.2, low=3.93, high=4.47, seeds=5)
TIGHT = Interval(value=5.125, low=5.004, high=5.246, seeds=5)


def table(**more):
    rows = (("sgd", TIGHT, 3.0), ("sam|x_1", SPREAD, None), ("[m]", None, True))
    return Table(title="Errors & ρ", columns=("method", "error (%)", "s_1"), rows=rows, **more)


def test_csv_keeps_every_digit_and_the_interval():
    head, first, second, third = csv.reader(io.StringIO(table().csv()))
    assert head == ["method", "error (%)", "error (%) low", "error (%) high", "error (%) seeds", "s_1"]
    assert first == ["sgd", "5.125", "5.004", "5.246", "5", "3.0"]
    assert third == ["[m]", "", "", "", "", "True"]
    assert second[1:5] == ["4.2", "3.93", "4.47", "5"]


def test_a_column_of_intervals_has_one_number_of_decimals():
    assert [table().text(row, 1) for row in range(3)] == ["5.12 [5.00, 5.25]", "4.20 [3.93, 4.47]", ""]


def test_the_best_is_marked_in_every_form():
    best = table().marked("error (%)")
    assert best.best == {(1, 1)}
    assert "**4.20 [3.93, 4.47]**" in best.markdown()
    assert r"\textbf{4.20 {[}3.93, 4.47]}" in best.latex()


def test_equals_are_all_marked_and_larger_may_be_better():
    found = Table(title="t", columns=("a",), rows=((1,), (2,), (2.0,))).marked("a", max)
    assert found.best == {(1, 0), (2, 0)}


def test_a_column_without_numbers_has_no_best():
    assert Table(title="t", columns=("a",), rows=(("x",), (float("nan"),))).marked("a").best == frozenset()


def test_markdown_escapes_what_would_break_the_table():
    assert r"sam\|x\_1" in table().markdown()


def test_latex_escapes_commands_and_typesets_greek():
    text = table().latex()
    assert r"\caption{Errors \& $\rho$}" in text
    assert r"method & error (\%) & s\_1 \\" in text
    assert "\n{[}m] & " in text


def test_numbers_stand_right_and_words_left():
    assert table().latex().count(r"\begin{tabular}{lrl}") == 1


def test_the_terminal_shows_every_cell():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table().marked("error (%)").rich())
    assert "[m]" in (text := console.export_text())
    assert "5.12 [5.00, 5.25]" in text


def test_saves_three_forms_under_the_title(tmp_path):
    names = [path.name for path in table().save(tmp_path / "tables")]
    assert names == ["errors_rho.csv", "errors_rho.md", "errors_rho.tex"]


def test_refuses_ragged_rows():
    with pytest.raises(ValueError, match="rows must have 2 cells each, got 1"):
        Table(title="t", columns=("a", "b"), rows=((1,),))


def test_refuses_to_mark_an_unknown_column():
    with pytest.raises(LookupError, match=r"column must be one of method, error \(%\), s_1, got 'loss'"):
        table().marked("loss")
