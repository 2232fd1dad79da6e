"""Readings as tables and figures."""

import dataclasses
import math

import pytest

from lowland.observe.reading import Reading
from lowland.report.readings import figures_of, summary_of, tables_of

A = [
    Reading(name="accuracy", value=0.9, stderr=0.03, unit="fraction", settings={"split": "test"}),
    Reading(name="sharpness", value=0.1, settings={"rho": 0.1, "gradients": 3}),
    Reading(name="sharpness", value=0.3, settings={"rho": 0.2, "gradients": 7}),
    Reading(name="feature_rank", site="one", value=5.0),
    Reading(name="feature_rank", site="two", value=3.0),
    Reading(name="hessian_outlier", value=7.0, settings={"number": 0}),
    Reading(name="hessian_outlier", value=6.0, settings={"number": 1}),
    Reading(name="hessian_mean_eigenvalue", value=1.0, settings={"nodes": [[0.0, 2.0]], "weights": [[0.5, 0.5]]}),
]
B = [dataclasses.replace(r, value=2 * r.value, stderr=r.stderr and 0.04) for r in A]


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def test_one_model_has_values_with_errors_and_no_differences():
    whole, layers = tables_of({"a": A})
    assert whole.columns == ("quantity", "unit", "a", "a, standard error")
    assert rows(whole)["accuracy"] == ("fraction", 0.9, 0.03)
    assert layers.columns == ("layer", "feature_rank")
    assert rows(layers) == {"one": (5.0,), "two": (3.0,)}


def test_settings_that_tell_readings_apart_join_their_name_and_costs_do_not():
    whole = rows(tables_of({"a": A})[0])
    assert {"sharpness (rho 0.1)", "sharpness (rho 0.2)", "hessian_outlier (number 1)"} <= whole.keys()


def test_two_models_are_compared_by_their_difference():
    whole = rows(tables_of({"a": A, "b": B})[0])
    assert whole["accuracy"] == ("fraction", 0.9, 0.03, 1.8, 0.04, pytest.approx(0.9))
    assert whole["sharpness (rho 0.1)"][-1] == pytest.approx(0.1)


def test_what_one_model_lacks_stays_empty():
    whole = rows(tables_of({"a": A, "b": B[1:]})[0])
    assert whole["accuracy"] == ("fraction", 0.9, 0.03, None, None, None)


def test_a_terminal_sees_no_long_lists_and_the_layers_only_where_there_is_nothing_else():
    (table,) = summary_of({"a": A, "b": B})
    assert table.columns == ("quantity", "a", "b", "difference")
    assert "hessian_outlier (number 0)" not in rows(table)
    assert rows(table)["accuracy, fraction"] == ("0.9 ± 0.03", "1.8 ± 0.04", "0.9")
    assert [table.title for table in summary_of({"a": A[3:5]})] == ["By layer"]
    assert summary_of({"a": []}) == []


def test_layers_have_units_and_errors_and_weights_a_table_of_their_own():
    norm = Reading(name="hessian_trace", site="one", value=4.0, stderr=0.5, unit="loss/weight^2")
    mine = Reading(name="effective_rank", site="one", value=2.0, unit="directions")
    weights = Reading(name="effective_rank", site="one.weight", value=3.0, settings={"shape": [3, 4]})
    first, second = tables_of({"a": [norm, mine, weights]})
    assert first.columns == (
        "layer",
        "hessian_trace (loss/weight^2)",
        "hessian_trace (loss/weight^2), standard error",
        "effective_rank (directions)",
    )
    assert rows(first) == {"one": (4.0, 0.5, 2.0)}
    assert second.columns == ("layer", "effective_rank of the weights")


def test_layers_are_named_on_the_axis():
    (ranks,) = (figure for figure in figures_of({"a": A}) if figure.title == "Rank by layer")
    assert ranks.panels[0].x_names == ("one", "two")
    assert "t-intervals" not in ranks.legend


def test_ranks_sharpness_and_spectrum_are_drawn_where_they_were_measured():
    ranks, sharpness, spectrum = figures_of({"a": A, "b": B})
    assert ranks.panels[0].curves[1].values == ((10.0,), (6.0,))
    assert sharpness.panels[0].curves[0].x == (0.1, 0.2)
    assert [curve.label for curve in spectrum.panels[0].curves] == ["a", "b"]
    assert figures_of({"a": A[:1]}) == []


def test_the_drawn_density_has_the_area_one():
    curve = figures_of({"a": A})[-1].panels[0].curves[0]
    y = [value for (value,) in curve.values]
    width = curve.x[1] - curve.x[0]
    assert math.isclose(sum(y) * width, 1.0, rel_tol=1e-2)
