"""Trains any methods on any data and model, from several seeds, and sets them side by side; no claims.

The practitioner's verb: every method gets the same network, the same data and, seed by seed, the same
initialisation and order of batches, so the differences between methods are paired. The table marks the lowest
mean error; the interval of the difference to the first method says whether that means anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland import catalog
from lowland.checks import whole
from lowland.experiments.images import Images, check_images, image_run
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.interval import Interval, paired
from lowland.report.radii import layers
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Which method trains this network best on this data, and what does it make of the features?"


@dataclass(frozen=True, kw_only=True)
class Config(Images):
    """Settings of the comparison; the others are those of all image studies.

    Attributes:
        methods: Methods with their arguments, such as ``sgd sam:rho=0.1``; the first is compared with.
        seeds: Runs of every method, from different initialisations.
    """

    methods: tuple[str, ...] = ("sgd", "sam")
    seeds: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must be different and at least one, got {self.methods}.")
        for method in self.methods:
            catalog.module("methods", catalog.parse(method)[0])


TINY = Config(train=120, epochs=2, examples=60, looks=2, seeds=2, model="conv:widths=(4,4)")


def cells(config: Config) -> list[Cell]:
    """A run for every method and seed."""
    return [{"method": method, "seed": seed} for method in config.methods for seed in range(config.seeds)]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_images(config, config.methods)


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train and measure one network."""
    return image_run(config, config.recipe(str(cell["method"])), cell, context)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Test error and rank of the last layer as training goes on."""
    return [
        Figure(
            title="Over training",
            panels=(
                over_training(config, rows, "test_error", "test error (%)"),
                *(
                    over_training(config, rows, f"rank/{layer}", f"feature rank, {layer}")
                    for layer in layers(rows)
                ),
            ),
            caption="Test error, and the feature rank (99 % of the variance) of every layer, as training goes on.",
        )
    ]


def over_training(config: Config, rows: Sequence[Row], quantity: str, label: str) -> Panel:
    """A curve for every method."""
    curves = [Curve.of(rows, m, x="epoch", y=quantity, where={"method": m}) for m in config.methods]
    return Panel(x_label="epoch", y_label=label, curves=tuple(curves), title=label, x_scale="log", spread="band")


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every method: how well it does, and what it makes of the features."""
    last = {(row["method"], row["seed"]): row for row in rows if row["final"]}
    scores = {"test error (%)": "test_error", "test loss": "test_loss", "calibration error": "test_ece"}
    features = {
        f"{quantity} {layer}": f"{quantity}/{layer}" for quantity in ("rank", "density") for layer in layers(rows)
    }
    against = f"error minus {config.methods[0]}'s"
    return [
        Table(
            title="Methods side by side",
            columns=("method", *scores, against),
            rows=tuple((m, *means(last, m, scores, config), difference(last, m, config)) for m in config.methods),
            caption="Means over seeds with 95 % intervals; the difference, in points, is paired by seed.",
        ).marked("test error (%)"),
        Table(
            title="Features of every layer",
            columns=("method", *features),
            rows=tuple((m, *means(last, m, features, config)) for m in config.methods),
            caption="Feature rank at 99 % of the variance, and share of active units, on training images.",
        ),
    ]


Last = dict[tuple[str, int], Row]


def means(last: Last, method: str, columns: Mapping[str, str], config: Config) -> list[Interval | None]:
    """Quantities over the seeds that did not diverge."""
    rows = [last[method, seed] for seed in range(config.seeds)]
    return [Curve.of(rows, method, x="method", y=name).intervals[0] for name in columns.values()]


def difference(last: Last, method: str, config: Config) -> Interval | None:
    """Test error less that of the first method, over the seeds with which neither diverged."""
    first = config.methods[0]
    pairs = [(last[method, seed], last[first, seed]) for seed in range(config.seeds)]
    sound = [(a["test_error"], b["test_error"]) for a, b in pairs if not a["diverged"] and not b["diverged"]]
    return paired(*zip(*sound, strict=True)) if sound and method != first else None
