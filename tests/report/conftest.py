"""Invented but realistic results of a study."""

import math
import random
from dataclasses import replace

import pytest

from lowland.report.claim import Claim, judge_all
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.interval import interval
from lowland.report.page import Page
from lowland.report.shape import dip, trend
from lowland.report.table import Table

RHOS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
SEEDS = (0, 1, 2, 3, 4)
LAYERS = ("block 1", "block 2", "block 3")
WAYS = {"block 1": (610, 40), "block 2": (341, 90), "block 3": (117, 42)}


def sample_rows():
    chance = random.Random(0)
    return [_row(rho, seed, chance) for rho in RHOS for seed in SEEDS]


def _row(rho, seed, chance):
    ranks = {layer: top - fall * rho**0.8 * 1.2 + chance.gauss(0, top / 90) for layer, (top, fall) in WAYS.items()}
    rise = [1 - math.exp(-epoch / 5) for epoch in range(21)]
    return {
        "rho": rho,
        "seed": seed,
        "rank": {layer: round(rank) for layer, rank in ranks.items()},
        "test_error": 5.0 - 4.2 * rho**0.5 + 5.1 * rho + 0.05 * seed + chance.gauss(0, 0.18),
        "knn_error": 30.2 - 2.2 * rho + 3.1 * rho**2 + chance.gauss(0, 1.1),
        "density": {layer: 0.55 - 0.2 * rho + chance.gauss(0, 0.012) for layer in LAYERS},
        "diverged": rho == 0.8 and seed == 3,
        "course": [30 + (87 - 40 * rho) * share + chance.gauss(0, 1.5) for share in rise],
    }


def of_layer(key, layer):
    return lambda row: row[key][layer]


def _falls(key, largest):
    def check(rows):
        known = [row for row in rows if row["rho"] <= largest]
        return [Effect.of(layer, trend(Grid.of(known, of_layer(key, layer))), "below") for layer in LAYERS]

    return check


def _dips(outcome):
    def check(rows):
        found = dip(Grid.of([row for row in rows if row["rho"] < 0.8], outcome))
        chosen = ", ".join(f"{rho:g}" for rho in sorted(set(found.chosen)))
        fall = Effect.of("error at ρ = 0 minus error at the best ρ", found.fall, "above", unit="points")
        rise = Effect.of("error at ρ = 0.4 minus error at the best ρ", found.rise, "above", unit="points")
        return [replace(fall, note=f"Best ρ, chosen on the other seeds: {chosen}."), rise]

    return check


def _matched(rows):
    gaps = Grid.of(rows, lambda row: 2.1 + 0.3 * row["seed"], where={"rho": 0.2}).column(0.2)
    return Effect.of("rank of SAM minus rank of SGD, block 3", interval(gaps), "below", unit="components")


PAPER = "Andriushchenko et al. 2023, arXiv 2305.16292"
TEXTS = {
    "rank_falls": ("The feature rank of every layer falls as ρ grows.", f"{PAPER}, section 3, table 1"),
    "density_falls": ("Fewer units are active as ρ grows.", f"{PAPER}, section 5, figure 7"),
    "error_dips": ("Test error is U-shaped in ρ: a moderate ρ is best.", f"{PAPER}, figure 2"),
    "knn_dips": ("The error of nearest neighbours on another data set is U-shaped in ρ.", f"{PAPER}, figure 2"),
    "matched": ("SAM’s features have lower rank at the same training loss.", "A control, not in the paper"),
}
CHECKS = (_falls("rank", 0.8), _falls("density", 0.4), _dips("test_error"), _dips("knn_error"), _matched)
CLAIMS = tuple(
    Claim(id=name, text=text, source=source, check=check)
    for (name, (text, source)), check in zip(TEXTS.items(), CHECKS, strict=True)
)


def _panel(title, y_label, *curves):
    palette = "ordered" if len(curves) > 1 else "distinct"
    return Panel(title=title, x_label="ρ", y_label=y_label, curves=curves, palette=palette, x_scale="even")


def sample_figures(rows):
    components = "components for 99 % of variance"
    error = Curve.of(rows, "test error", x="rho", y="test_error")
    layers = [Curve.of(rows, layer, x="rho", y=of_layer("rank", layer)) for layer in LAYERS]
    shares = [Curve.of(rows, layer, x="rho", y=of_layer("density", layer)) for layer in LAYERS]
    epochs = [{**row, "epoch": at, "now": now} for row in rows for at, now in enumerate(row["course"])]
    courses = tuple(Curve.of(epochs, f"ρ = {rho:g}", x="epoch", y="now", where={"rho": rho}) for rho in RHOS)
    over_time = Panel(x_label="epoch", y_label=components, curves=courses, palette="ordered", spread="band")
    return (
        Figure(
            title="Test error and feature rank against ρ",
            panels=(
                _panel("Test error", "test error (%)", error),
                _panel("Feature rank, block 3", components, layers[2]),
            ),
            caption="Error is lowest at a moderate ρ while the rank keeps falling.",
        ),
        Figure(
            title="Rank and density of every layer",
            panels=(_panel("Rank", components, *layers), _panel("Density", "share of active units", *shares)),
            caption="Layers from first (faint) to last (strong).",
        ),
        Figure(
            title="Feature rank over training",
            panels=(over_time,),
            caption="Block 3. The gap between the values of ρ opens in the first epochs and stays.",
        ),
    )


def sample_tables(rows):
    def arm(rho, key):
        return interval([row[key] for row in rows if row["rho"] == rho and not row["diverged"]])

    results = Table(
        title="Outcome by ρ",
        columns=("method", "test error (%)", "transfer kNN error (%)"),
        rows=tuple((f"sam, ρ = {rho:g}", arm(rho, "test_error"), arm(rho, "knn_error")) for rho in RHOS),
        caption="Means with 95 % t-intervals over seeds.",
    )
    cost = Table(
        title="Passes and seconds",
        columns=("method", "passes per step", "seconds per run", "seconds in all"),
        rows=(("sgd", 1.0, interval([3.0, 3.2, 3.1]), 15.4), ("sam", 2.0, interval([5.9, 6.2, 6.0]), 186.0)),
        caption="A pass is one forward and backward pass over a batch. One thread per run.",
    )
    return results.marked("test error (%)").marked("transfer kNN error (%)"), cost


def sample_page():
    rows = sample_rows()
    results, cost = sample_tables(rows)
    return Page(
        title="sam_lowers_feature_rank",
        question="Does sharpness-aware minimisation lower the rank of the features that a network learns?",
        summary="A three-layer convolutional network is trained with SAM at six perturbation radii ρ (0 is plain "
        "SGD); the rank of a layer is the number of principal components that hold 99 % of its variance. "
        "After arXiv 2305.16292.",
        facts={
            "data": "digits, 1 437 training images",
            "model": "conv, 0.03 M weights",
            "seeds": "5",
            "run": "3f9a1c",
        },
        notes=("1 of 30 runs diverged (ρ = 0.8, seed 3).",),
        verdicts=judge_all(CLAIMS, rows),
        figures=sample_figures(rows),
        tables=(results,),
        cost=cost,
        settings={
            "data": "digits",
            "model": "conv:widths=(16,32,64)",
            "rhos": list(RHOS),
            "recipe": {"epochs": 20, "batch": 64, "learning_rate": 0.1, "weight_decay": 5e-4, "amp": "off"},
        },
        environment={"python": "3.11.7", "torch": "2.13.0+cpu", "commit": None, "platform": "Linux-6.1-x86_64"},
        command="lowland study sam_lowers_feature_rank --data digits --model 'conv:widths=(16,32,64)' --seeds 5",
        files={"every result, one per line": "rows.jsonl", "verdicts": "claims.json", "seconds": "timings.jsonl"},
    )


@pytest.fixture(scope="session")
def rows():
    return sample_rows()


@pytest.fixture(scope="session")
def page():
    return sample_page()
