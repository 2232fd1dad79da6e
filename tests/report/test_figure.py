import csv
import io
import math

import pytest

from lowland.report.figure import Curve, Figure, Panel

BROKEN = Curve(label="sam", x=(0.0, 0.1, 0.2), values=((1.0, 3.0), (2.0, math.nan), (math.nan, math.nan)))


def test_a_diverged_seed_is_left_out_and_said():
    first, second, third = BROKEN.intervals
    assert (first.value, second.value, second.seeds, third) == (2.0, 2.0, 1, None)
    assert BROKEN.broken == (False, True, True)
    panel = Panel(x_label="ρ", y_label="error", curves=(BROKEN,))
    assert "Hollow points" in Figure(title="t", panels=(panel,)).legend


def test_gathers_from_rows_by_any_column(rows):
    curve = Curve.of(rows, "b3", x="rho", y=lambda row: row["rank"]["block 3"], where={"seed": 3})
    assert curve.x == (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
    assert curve.broken == (False,) * 5 + (True,)


def test_refuses_rows_that_do_not_fit(rows):
    with pytest.raises(ValueError, match=r"rows must hold some with rho and {'seed': 99}, got none"):
        Curve.of(rows, "x", x="rho", y="test_error", where={"seed": 99})


def test_csv_has_every_point_with_its_interval(page):
    lines = list(csv.DictReader(io.StringIO(page.figures[0].csv())))
    assert len(lines) == 12
    assert [float(lines[0][key]) < float(lines[0]["high"]) for key in ("low", "mean")] == [True, True]
    assert (lines[5]["seeds"], lines[5]["diverged"]) == ("4", "1")


def test_a_description_says_ends_and_extremes():
    panel = Panel(
        x_label="ρ", y_label="error (%)", curves=(Curve(label="sam", x=(0, 1, 2), values=((5,), (3,), (4,))),)
    )
    assert panel.description == "error (%) against ρ. sam: 5 at 0, 4 at 2; lowest 3 at 1, highest 5 at 0."


def test_a_description_says_that_nothing_survived():
    lost = Curve(label="sam", x=(0,), values=((math.nan,),))
    assert "sam: every seed diverged." in Panel(x_label="ρ", y_label="e", curves=(lost,)).description


def test_refuses_a_panel_without_curves():
    with pytest.raises(ValueError, match=r"curves must have at least one curve, got none in the panel 'e'"):
        Panel(x_label="ρ", y_label="e", curves=())
