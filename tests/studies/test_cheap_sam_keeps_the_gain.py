import pytest

from lowland.catalog import build
from lowland.experiments.family import FAMILY, spec
from lowland.report.claim import judge_all
from lowland.report.page import Page, render
from lowland.runs.context import Context
from lowland.studies.cheap_sam_keeps_the_gain import (
    CHEAP,
    CLAIMS,
    TINY,
    Config,
    cells,
    run,
    tables,
    timed_figures,
)

WOBBLE = (0.0, 0.02, -0.02, 0.01)


def invented(**methods):
    """Rows of four seeds: of every method its error and its cost, or ``diverged``."""
    return [row for name, (error, work) in methods.items() for row in lines(name, error, work)]


def lines(method, error, work, rho=0.1, differ=1.0):
    found = []
    for seed, wobble in enumerate(WOBBLE):
        row = {"method": method, "spec": method, "rho": 0.0 if "sgd" in method else rho, "seed": seed}
        score = {} if error is None else {"test_error": error + seed + differ * wobble, "train_error": 0.0}
        found.append({**row, "work": work, "diverged": error is None, **score})  # what seeds share cancels
    return found


BASE = {"sgd": (14.0, 1.0), "sgd_twice": (13.8, 2.0), "sam": (13.0, 2.0)}


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def keeps(**methods):
    found = verdicts(invented(**{**BASE, **methods}))
    return {name.removesuffix("_keeps_the_gain"): outcome for name, outcome in found.items()}


def test_cheaper_as_good_as_sam_and_better_than_sgd_holds():
    assert keeps(look_sam=(13.2, 1.2))["look_sam"] == "holds"


@pytest.mark.parametrize(
    ("error", "work"),
    [
        (13.7, 1.2),  # half a point above SAM, though better than SGD
        (14.3, 1.2),  # worse than SGD
        (13.0, 2.5),  # as good, but not cheaper
    ],
)
def test_worse_or_dearer_fails(error, work):
    assert keeps(look_sam=(error, work))["look_sam"] == "fails"


def test_as_cheap_as_sam_by_the_very_count_fails():
    assert keeps(k_sam=(13.0, 2.0))["k_sam"] == "fails"


def test_between_the_bounds_it_is_inconclusive():
    noisy = lines("esam", 13.4, 1.8, differ=20)
    assert verdicts([*invented(**BASE), *noisy])["esam_keeps_the_gain"] == "inconclusive"


def test_where_sam_gains_nothing_none_is_as_good_for_free():
    rows = [*invented(sgd=(13.0, 1.0), sam=(13.0, 2.0)), *lines("rst", 13.0, 1.5, differ=-1.0)]
    assert verdicts(rows)["rst_keeps_the_gain"] == "inconclusive"


def test_a_method_that_diverged_or_was_not_run_is_inconclusive():
    found = keeps(momentum_sam=(None, 1.0))
    assert (found["momentum_sam"], found["ae_sam"]) == ("inconclusive", "inconclusive")


def test_sam_is_compared_with_sgd_of_the_same_epochs_and_of_the_same_cost():
    found = keeps()
    assert (found["sam_beats_sgd"], found["sam_beats_sgd_of_the_same_cost"]) == ("holds", "holds")
    found = keeps(sgd_twice=(12.5, 2.0))
    assert (found["sam_beats_sgd"], found["sam_beats_sgd_of_the_same_cost"]) == ("holds", "fails")


def test_with_several_radii_a_method_is_judged_at_the_best():
    rows = [*invented(**BASE), *lines("esam", 14.5, 1.8, rho=0.05), *lines("esam", 13.1, 1.8, rho=0.2)]
    verdict = next(v for v in judge_all(CLAIMS, rows) if v.claim.id == "esam_keeps_the_gain")
    assert verdict.outcome == "holds"


def test_every_claim_is_about_a_method_of_the_family_that_is_cheaper_than_sam():
    names = [c.id.removesuffix("_keeps_the_gain") for c in CLAIMS if c.id.endswith("_keeps_the_gain")]
    built = [build("methods", spec(name, 0.1)) for name in names]
    assert len(names) == 8
    assert {*names, "sgd", "sgd_twice", "sam"} == set(CHEAP) <= set(FAMILY)
    assert all(method.passes + method.forwards / 3 < 2 for method in built)


def test_sgd_of_twice_the_epochs_costs_twice_and_forwards_count_a_third(tmp_path):
    def work(method, name):
        cell = {"method": method, "spec": spec(method, 0.1), "rho": 0.1, "seed": 0}
        (row,) = run(TINY, cell, Context("cpu", tmp_path / name, lambda share: None))
        return row["work"], row["epoch"]

    assert work("sgd_twice", "a") == (2.0, 2 * TINY.epochs)
    assert work("k_sam", "b") == (pytest.approx(1 + 1 / 3), TINY.epochs)


def test_radii_multiply_the_runs_of_methods_that_have_one():
    grid = cells(Config(methods=("sgd", "sam", "gam", "sam:rho=0.3"), rhos=(0.1, 0.2), seeds=1))
    assert [(cell["spec"], cell["rho"]) for cell in grid] == [
        ("sgd", 0.0),
        ("sam:rho=0.1", 0.1),
        ("sam:rho=0.2", 0.2),
        ("gam:rho_1=0.02,rho_2=0.2", 0.1),
        ("gam:rho_1=0.04,rho_2=0.4", 0.2),
        ("sam:rho=0.3", 0.0),
    ]


def test_the_page_shows_measured_cost_and_survives_a_method_that_diverged():
    rows = invented(**BASE, look_sam=(13.2, 1.2), gam=(None, 4.0))
    config = Config(methods=tuple({row["method"]: None for row in rows}))
    timings = [{**row, "training": 3.0 * row["work"] + (row["seed"] == 0)} for row in rows]
    (figure,) = timed_figures(config, rows, timings)
    found = {curve.label: curve.x[0] for curve in figure.panels[0].curves}
    assert found == pytest.approx({"sgd": 1.0, "sgd_twice": 2.0, "sam": 2.0, "look_sam": 1.2, "gam": 4.0})
    page = Page(title="t", question="q?", figures=(figure,), tables=tuple(tables(config, rows)))
    assert "look_sam" in render(page)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"rhos": ()}, "rhos must be above 0, different and at least one"),
        ({"rhos": (0.0, 0.1)}, "rhos must be above 0, different and at least one"),
        ({"methods": ("sgd", "esam")}, "with sgd and sam to compare with, got sgd esam"),
        ({"methods": ("sgd", "sam", "sam")}, "methods must be different"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
