"""Do perturbations that few examples choose make outputs forget more, and what do they forget?

SAM generalises better the fewer examples share an ascent (m-sharpness). Perturbed forgetting explains it by what
is forgotten: the gradient of many examples removes what they share, that of few what is special to these few.
Networks are trained with SAM and with output bias forgetting (OBF, gamma 0) whose perturbation is chosen by
parts of m images, m from the whole batch down. Several times on the way one training batch is cut into parts of
each size, and the perturbation that each part chooses is looked at: on test images, for the information about
the input that their outputs lose, in all and beyond the label; and on the part's own images, for how far the
outputs move (KL divergence), beside how far those of test images do. All perturbations are equally long.

How information is estimated is ours; the paper's estimator was never released, and no table of it is at hand.
Information within a part of 8 images cannot be compared with that within 128, so of a part's own images only what
is a mean over them is taken. Networks trained with the whole batch are looked at with every m, which tells the
direction from the network that it made. In a trial on MNIST the error was lower at m = 16 than at 64, but by less
than seeds differ.

Correlations are Spearman's, of m and the quantity, for each seed; -1 is a fall at every step of m. Expect 2
minutes on 2 cores. ``--paper`` trains a ResNet-18 on all of CIFAR-10 and is meant for a GPU; the authors take m
= 64 on ImageNet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from lowland.checks import whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset, Split
from lowland.experiments.columns import columns
from lowland.experiments.perturbed import LABELS, Perturbed, forgotten, method_of, over_training, perturbed_run
from lowland.experiments.training import check_training
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.calibration import Calibration
from lowland.measuring.measure import measure
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.means import means
from lowland.report.panels import heading
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do perturbations that fewer examples choose make outputs forget more?"

METHODS = ("sam", "obf_0")

Side = Literal["above", "below"]

QUANTITIES = {
    "forgetting": "forgotten (nats)",
    "forgetting_given_label": "beyond the label (nats)",
    "own_divergence": "KL, own images (nats)",
    "special": "KL, own over test images",
    "test_error": "test error (%)",
}


@dataclass(frozen=True, kw_only=True)
class Config(Perturbed):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        rhos: Lengths of the perturbations, > 0, ascending.
        batch: Images per step, and the largest m.
        parts: Sizes m of the parts that choose a perturbation, below the batch's, descending.
        held_out: The most test images that are looked at.
    """

    rhos: tuple[float, ...] = (0.1, 0.2)
    batch: int = 128
    parts: tuple[int, ...] = (64, 16, 8)
    held_out: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("held_out", self.held_out)
        for m in self.parts:
            whole("parts", m)
        if not self.parts or list(self.sizes) != sorted(set(self.sizes), reverse=True):
            raise ValueError(
                f"parts must descend from below the batch, {self.batch}, and be at least one, got {self.parts}."
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """All values of m, the whole batch first."""
        return (self.batch, *self.parts)


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    learning_rate=0.1,
    augment=True,
    held_out=10_000,
)

TINY = Config(
    train=120, epochs=2, looks=1, batch=32, parts=(8,), rhos=(0.1,), seeds=3, held_out=40, model="mlp:widths=(8,)"
)


def cells(config: Config) -> list[Cell]:
    """A run for every method, size of the parts, length and seed."""
    return [
        {"method": method, "m": m, "rho": rho, "seed": seed}
        for method in METHODS
        for m in config.sizes
        for rho in config.rhos
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail.

    Raises:
        ValueError: If there are fewer training images than a batch has.
    """
    data = check_training(config, ["sgd"])
    if len(data.train) < config.batch:
        raise ValueError(f"batch must be at most {len(data.train)}, the training images, got {config.batch}.")


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, and look at it under its own perturbation; trained with the whole batch, under all."""
    name, rho, m = str(cell["method"]), float(str(cell["rho"])), int(str(cell["m"]))
    method = method_of(name, rho, None if m == config.batch else m)
    sizes = config.sizes if m == config.batch else (m,)
    return perturbed_run(config, method, cell, context, partial(look, config, name, rho, sizes))


def look(
    config: Config, name: str, rho: float, sizes: Sequence[int], model: nn.Module, data: Dataset, final: bool
) -> Row:
    """Errors, and what is forgotten: ``quantity/m`` where parts of m choose."""
    splits = {"train": in_order(data.train), "test": in_order(data.test)}
    found = columns(measure(model, None, splits, [Accuracy(), Calibration()]))
    others = data.test.take(min(config.held_out, len(data.test)))
    for m in sizes:
        parts = [Split(x, y) for x, y in in_order(data.train.take(config.batch), m)]
        there = forgotten(model, parts, others, name, rho)
        here = forgotten(model, parts, None, name, rho)
        found |= {f"{quantity}/{m}": there[quantity] for quantity in ("forgetting", "forgetting_given_label")}
        found |= {f"own_divergence/{m}": here["divergence"], f"divergence/{m}": there["divergence"]}
    return found


def runs(rows: Sequence[Row]) -> list[Row]:
    """One row per run, means over training: quantities under their bare names are those of its own m."""
    return [seen_with(row, row["m"]) for row in over_training(rows, ("method", "m", "rho", "seed"))]


def same_networks(rows: Sequence[Row]) -> list[Row]:
    """The networks trained with the whole batch, one row for every m that they are looked at with."""
    mine = over_training(rows, ("method", "m", "rho", "seed"))
    sizes = sorted({row["m"] for row in mine})
    return [{**seen_with(row, m), "m": m} for row in mine if row["m"] == sizes[-1] for m in sizes]


def seen_with(row: Row, m: int) -> Row:
    """A run's row with what parts of m make it forget under the quantities' bare names."""
    if row["diverged"]:
        return row
    names = ("forgetting", "forgetting_given_label", "own_divergence", "divergence")
    found = {name: row[f"{name}/{m}"] for name in names}
    return {**row, **found, "special": found["own_divergence"] / found["divergence"]}


def over_m(
    choose: Callable[[Sequence[Row]], list[Row]], quantity: str, expected: Side, rows: Sequence[Row]
) -> list[Effect]:
    """Correlation of m and a quantity, for every method and length."""
    chosen = choose(rows)
    arms = dict.fromkeys((row["method"], row["rho"]) for row in chosen)
    grids = {arm: Grid.of(chosen, quantity, over="m", where={"method": arm[0], "rho": arm[1]}) for arm in arms}
    return [
        Effect.of(f"{LABELS[name]}, rho {rho:g}: correlation with m", trend(grid), expected)
        for (name, rho), grid in grids.items()
    ]


VANI = "Vani, Tung, Oliveira, Sharifi, ICML 2024"

CLAIMS = (
    Claim(
        id="smaller_m_forgets_more",
        text="The fewer images choose the perturbation, the more information the outputs of test images lose.",
        source=f"{VANI}, on m-sharpness; the measure is ours",
        check=partial(over_m, runs, "forgetting", "below"),
    ),
    Claim(
        id="smaller_m_forgets_more_beyond_the_label",
        text="The fewer images choose the perturbation, the more outputs of test images lose beyond the label.",
        source=f"{VANI}, on m-sharpness; the measure is ours",
        check=partial(over_m, runs, "forgetting_given_label", "below"),
    ),
    Claim(
        id="smaller_m_moves_its_own_images_more",
        text="The fewer images choose the perturbation, the further it moves the outputs of these very images.",
        source=f"{VANI}: small perturbation batches forget what is special to their examples",
        check=partial(over_m, runs, "own_divergence", "below"),
    ),
    Claim(
        id="smaller_m_is_more_special",
        text="The fewer images choose the perturbation, the further it moves their outputs beside those of test "
        "images.",
        source=f"{VANI}: small perturbation batches forget less of what examples share",
        check=partial(over_m, runs, "special", "below"),
    ),
    Claim(
        id="on_one_network_smaller_m_forgets_more",
        text="On one and the same network, too, fewer images make the outputs of test images lose more.",
        source="Control of this study: networks differ by how they were trained",
        check=partial(over_m, same_networks, "forgetting", "below"),
    ),
    Claim(
        id="on_one_network_smaller_m_is_more_special",
        text="On one and the same network, too, fewer images move their own outputs further beside others'.",
        source="Control of this study: networks differ by how they were trained",
        check=partial(over_m, same_networks, "special", "below"),
    ),
    Claim(
        id="smaller_m_is_better",
        text="The fewer images choose the perturbation, the lower the test error.",
        source="Foret et al., ICLR 2021, section 4.1 (m-sharpness)",
        check=partial(over_m, runs, "test_error", "above"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """What is forgotten against m, on every network of its own and on the same networks."""
    own, same = runs(rows), same_networks(rows)
    forgetting = ("forgetting", "forgetting_given_label")
    return [
        Figure(
            title="What test images forget against m",
            panels=tuple(against_m(own, name) for name in forgetting),
            caption="Every network under perturbations chosen by as many images as in its training, mean over "
            "training.",
        ),
        Figure(
            title="Own images and error against m",
            panels=tuple(against_m(own, name) for name in ("special", "test_error")),
            caption="How much further the outputs of the images that choose the perturbation move than those of "
            "test images; and the error after training.",
        ),
        Figure(
            title="The same networks under every m",
            panels=tuple(against_m(same, name) for name in ("forgetting", "special")),
            caption="Networks trained with the whole batch, looked at with every m.",
        ),
    ]


def against_m(rows: Sequence[Row], quantity: str) -> Panel:
    """A curve for every method and length."""
    arms = dict.fromkeys((row["method"], row["rho"]) for row in rows)
    curves = [
        Curve.of(rows, f"{LABELS[name]}, rho {rho:g}", x="m", y=quantity, where={"method": name, "rho": rho})
        for name, rho in arms
    ]
    return Panel(
        x_label="m, images that choose",
        y_label=QUANTITIES[quantity],
        curves=tuple(curves),
        title=heading(QUANTITIES[quantity]),
        x_scale="even",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every method, length and m."""
    own = sorted(runs(rows), key=lambda row: (METHODS.index(row["method"]), row["rho"], -row["m"]))
    return [
        means(
            [{**row, "method": LABELS[row["method"]]} for row in own],
            "What is forgotten by method, rho and m",
            by={"method": "method", "rho": "rho", "m": "m"},
            of={label: quantity for quantity, label in QUANTITIES.items()},
            caption="Means over training and seeds, 95 % intervals; the error is that after training.",
        )
    ]
