"""Do features of a low rank come from weights of a low rank?

Features may be low-rank because the weight matrices are, or because of what full-rank matrices do to these
data. Here the towers of ``sam_lowers_rank_in_image_text`` are trained, by sharpness-aware minimisation with
several radii, and both ranks are taken in the same way: singular values that make up 99 % of the squared norm,
of the features at the heads and in the residual stream on unseen pairs, and of the weight matrices of all
blocks and heads, on average.

The paper finds that the rank of the heads' features falls to half and less, that of the residual stream to two
thirds, while that of the weights stays. Here the
two are compared at the largest radius at which the towers still learn, in percent of what they are without SAM.

Weights that training hardly moves keep a rank whatever the features do. The towers here begin at random, and a
random matrix has nearly full rank; the second table sets the weights' rank beside what it was before training,
and beside the stable rank, the squared norm over the largest squared singular value, which sees a few large
directions where 99 % of the norm does not.

Radii are compared after equally long training and not at one training loss, which rises with the radius (the
table has it): some of a fall in rank may be that less was fitted.

Expect 3 minutes on 2 cores. The emoji are read from the folder that LOWLAND_DATA names; ``--data shapes`` is a
drawn stand-in for trying things out, which needs no files. ``--paper`` trains larger towers on all of the emoji
and is meant for a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from lowland.experiments.image_text import ImageTexts, check_image_texts, image_text_cells, image_text_run
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure
from lowland.report.grid import Grid
from lowland.report.interval import Interval, interval, paired
from lowland.report.means import means
from lowland.report.panels import against_rho
from lowland.report.radii import effect, final, judged
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Are features of a low rank made by weights of a low rank?"

SOURCE = "Andriushchenko, Bahri, Mobahi, Flammarion, NeurIPS 2023: contrastive training on MS-COCO"

RECIPE = "own"
SAME = 5.0
PUBLISHED = (
    (0.0, 142, 87, 161, "181 to 184"),
    (0.1, 139, 81, 153, "181 to 184"),
    (0.2, 127, 69, 145, "181 to 184"),
    (0.25, 118, 62, 140, "181 to 184"),
    (0.3, 68, 32, 110, "181 to 184"),
)


@dataclass(frozen=True, kw_only=True)
class Config(ImageTexts):
    """Settings of the study: those of all studies of image-text pairs."""

    rhos: tuple[float, ...] = (0.0, 0.05, 0.1)


PAPER = Config(
    data="emoji:side=32,length=16",
    stem=(64, 128),
    depth=12,
    text_depth=6,
    width=192,
    outputs=192,
    epochs=200,
    rhos=(0.0, 0.02, 0.05, 0.1, 0.2),
)

TINY = Config(
    data="shapes:side=8,length=4",
    stem=(8,),
    depth=1,
    width=16,
    outputs=16,
    epochs=2,
    batch=48,
    gallery=32,
    rhos=(0.0, 0.01, 0.02),
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for every radius and seed."""
    return image_text_cells(config)


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_image_texts(config)


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train and measure two towers."""
    return image_text_run(config, cell, context)


def feature_sites(rows: Sequence[Row]) -> tuple[str, ...]:
    """Where features are compared with weights: both heads, and the residual stream after the last block."""
    residual = dict.fromkeys(key for row in rows for key in row if key.startswith("rank/residual"))
    return ("image head", "text head", *(key.removeprefix("rank/") for key in list(residual)[-1:]))


def change(rows: Sequence[Row], column: str) -> tuple[list[float], str]:
    """By how many percent a rank is higher at the largest radius than at 0, for every seed; what is missing."""
    grid = Grid.of(judged(rows, RECIPE), column)
    return [100 * (row[-1] / row[0] - 1) for row in grid.values], grid.doubt


def size(rows: Sequence[Row], column: str) -> Interval:
    """The change of one rank, mean over seeds."""
    found, doubt = change(rows, column)
    return replace(interval(found), doubt=doubt)


def features_fall(rows: Sequence[Row]) -> list[Effect]:
    """The change of the rank of features, at every site."""
    return [effect(rows, RECIPE, name, size(rows, f"rank/{name}"), "below", "%") for name in feature_sites(rows)]


def weights_stay(rows: Sequence[Row]) -> Effect:
    """The change of the mean rank of the weight matrices."""
    return Effect.of("weights", size(rows, "weight_rank"), "within", SAME, unit="%")


def features_fall_more(rows: Sequence[Row]) -> Effect:
    """The mean change of the features' ranks, less that of the weights'."""
    columns = [change(rows, f"rank/{name}") for name in feature_sites(rows)]
    features = [fmean(seeds) for seeds in zip(*(found for found, _ in columns), strict=True)]
    weights, doubt = change(rows, "weight_rank")
    gap = replace(paired(features, weights), doubt=doubt or columns[0][1])
    return effect(rows, RECIPE, "features, mean over sites, less weights", gap, "below", "points of percent")


CLAIMS = (
    Claim(
        id="features_fall_in_rank",
        text="At the largest rho the features of both heads and of the residual stream have a lower rank.",
        source=f"{SOURCE}: 142 to 68, 87 to 32, 161 to 110",
        check=features_fall,
    ),
    Claim(
        id="weights_keep_their_rank",
        text=f"The rank of the weight matrices changes by less than {SAME:g} % on average.",
        source=f"{SOURCE}: 181 to 184 everywhere; the bound is this study's",
        check=weights_stay,
    ),
    Claim(
        id="features_fall_more_than_weights",
        text="The rank of the features falls by more than that of the weights, relative to rho 0.",
        source=f"{SOURCE}: low-rank features without low-rank weights",
        check=features_fall_more,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Ranks of features and of weights, each in percent of its own mean at rho 0."""
    last = final(rows, RECIPE)
    columns = {**{name: f"rank/{name}" for name in feature_sites(rows)}, "weights": "weight_rank"}
    curves = [relative(last, name, column) for name, column in columns.items()]
    return [
        Figure(
            title="Features and weights against rho",
            panels=(against_rho("rank (99 %), in % of that at rho 0", curves, "Relative to no SAM"),),
            caption="Features at both heads and in the image tower's residual stream, on unseen pairs; weights of "
            "all blocks and heads, on average.",
        )
    ]


def relative(rows: Sequence[Row], label: str, column: str) -> Curve:
    """A rank in percent of its own at rho 0, seed by seed."""
    plain: dict[int, float] = {row["seed"]: row[column] for row in rows if row["rho"] == 0 and not row["diverged"]}

    def percent(row: Row) -> float | None:
        return 100 * row[column] / plain[row["seed"]] if column in row and row["seed"] in plain else None

    return Curve.of(rows, label, x="rho", y=percent)


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every radius; and the published numbers."""
    features = {f"rank {name}": f"rank/{name}" for name in feature_sites(rows)}
    columns = {"train error (%)": "train_error", **features, "rank of weights": "weight_rank"}
    weights = {
        "rank (99 %)": "weight_rank",
        "before training": "weight_rank_before",
        "stable rank": "weight_stable_rank",
        "stable rank before training": "weight_stable_rank_before",
    }
    return [
        means(final(rows, RECIPE), "Results by rho", by={"rho": "rho"}, of=columns),
        means(final(rows, RECIPE), "Weight matrices before and after training", by={"rho": "rho"}, of=weights),
        Table(
            title="Published: contrastive training on MS-COCO",
            columns=("rho", "rank image head", "rank text head", "rank residual stream", "rank of weights"),
            rows=PUBLISHED,
            caption="Hybrid ViT-Ti and BERT, pretrained, one seed; rank (99 %) on 1,280 pairs, residual stream "
            "after block 12. From the notebook published with the paper; the weights' range is that over all.",
        ),
    ]
