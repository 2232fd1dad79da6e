"""Do perturbations make outputs forget, and does output bias forgetting remove what SAM's perturbation keeps?

Perturbed forgetting reads a step of SAM as two: perturb the weights so that the outputs forget something, and
learn where they have. SAM goes up the loss; output bias forgetting (OBF) goes where outputs become uniform, or,
with gamma 0, where the label alone is suppressed; the control goes anywhere. All go equally far, rho. Networks
are trained with each, and several times on the way the perturbations of some training batches are looked at on
test images: how much information about the input the outputs lose, how much of that is beyond the label, how
much the test loss rises, and how far the outputs move (KL divergence). Every network is looked at under its own
perturbation, and under the others' as well, so that a direction can be told from the network that it made.

The paper's own estimator was announced and never released: the information here is that of the mean over images,
I(X; Y') = H(mean p) - mean H(p), and the same within classes, which is our definition. No table of the paper is
at hand to set beside it. A trial of two seeds on MNIST had shown the signs that are claimed here.

Two statements are our controls. Perturbations of equal length do not move outputs equally far, so what is
forgotten is also taken per nat that the outputs move. And a claim about directions must hold on one and the same
network.

Networks have no batch norm by default: with it, training ascends with the batch's own statistics, and the looks
use the running ones. Expect 1 minute on 2 cores. ``--paper`` trains a ResNet-18 on all of CIFAR-10, which takes
a GPU; the paper itself has ImageNet.
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
from lowland.experiments.perturbed import (
    LABELS,
    PERTURBATIONS,
    Perturbed,
    forgotten,
    method_of,
    over_training,
    perturbed_run,
)
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
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does output bias forgetting remove what SAM's perturbation keeps?"

NOTHING = 10.0
"""Percent of what OBF removes that counts as removing nothing."""

OBF = ("obf_0", "obf_1")

Side = Literal["above", "below", "within"]

QUANTITIES = {
    "forgetting": "information forgotten (nats)",
    "forgetting_given_label": "forgotten beyond the label (nats)",
    "nll_rise": "rise of the test loss (nats)",
    "divergence": "KL divergence (nats)",
}


@dataclass(frozen=True, kw_only=True)
class Config(Perturbed):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        images: Training images, cut into batches, whose perturbations are looked at.
        held_out: The most test images that are looked at.
    """

    images: int = 256
    held_out: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("images", self.images)
        whole("held_out", self.held_out)


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=64",
    train=50_000,
    epochs=200,
    batch=128,
    learning_rate=0.1,
    augment=True,
    images=1024,
    held_out=10_000,
)

TINY = Config(train=120, epochs=2, looks=1, rhos=(0.1,), seeds=3, images=20, held_out=40, model="mlp:widths=(8,)")


def cells(config: Config) -> list[Cell]:
    """A run for every perturbation, length and seed."""
    return [
        {"method": method, "rho": rho, "seed": seed}
        for method in PERTURBATIONS
        for rho in config.rhos
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, ["sgd"])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, and look at it under every perturbation; ``quantity/sam`` is that under SAM's."""
    rho = float(str(cell["rho"]))
    method = method_of(str(cell["method"]), rho)
    return perturbed_run(config, method, cell, context, partial(look, config, rho))


def look(config: Config, rho: float, model: nn.Module, data: Dataset, final: bool) -> Row:
    """Errors and losses, and what is forgotten under each perturbation."""
    some = data.train.take(min(config.images, len(data.train)))
    parts = [Split(x, y) for x, y in in_order(some, config.batch)]
    others = data.test.take(min(config.held_out, len(data.test)))
    splits = {"train": in_order(data.train), "test": in_order(data.test)}
    found = columns(measure(model, None, splits, [Accuracy(), Calibration()]))
    for name in PERTURBATIONS:
        readings = forgotten(model, parts, others, name, rho)
        found |= {f"{quantity}/{name}": value for quantity, value in readings.items()}
    return found


def own(rows: Sequence[Row]) -> list[Row]:
    """A row per run: what its own perturbation does, mean over training, under the quantities' bare names."""
    return [under(row["method"], row) for row in over_training(rows)]


def under(name: str, row: Row) -> Row:
    """A run's row with what a perturbation does to the network under the quantities' bare names."""
    return {**row, **{quantity: row.get(f"{quantity}/{name}") for quantity in QUANTITIES}}


def each_rho(
    rows: Sequence[Row],
    method: str,
    name: str,
    value: str | Callable[[Row], float],
    expected: Side,
    bound: float = 0.0,
    unit: str = "nats",
) -> list[Effect]:
    """A quantity of the networks that were trained with a method, at every length."""
    mine = [row for row in own(rows) if row["method"] == method]
    radii = sorted({row["rho"] for row in mine})
    sizes = {rho: Grid.of(mine, value, where={"rho": rho}).contrast({rho: 1}) for rho in radii}
    return [Effect.of(f"{name}, rho {rho:g}", size, expected, bound, unit=unit) for rho, size in sizes.items()]


def under_its_own(quantity: str, methods: Sequence[str], expected: Side, rows: Sequence[Row]) -> list[Effect]:
    """A quantity of every network under the perturbation that it was trained with."""
    return [effect for method in methods for effect in each_rho(rows, method, LABELS[method], quantity, expected)]


def chance_beside_obf(rows: Sequence[Row]) -> list[Effect]:
    """What the random step removes, in percent of what OBF removes from the same network."""

    def share(row: Row) -> float:
        return 100 * row["forgetting/random"] / row["forgetting/obf_0"]

    return each_rho(rows, "random", "forgotten beside OBF's", share, "within", NOTHING, "%")


def on_one_network(what: Callable[[Row, str], float], unit: str, rows: Sequence[Row]) -> list[Effect]:
    """OBF's quantity less SAM's on the same network: on those trained with SAM, and those trained with OBF."""

    def less_sam(name: str, row: Row) -> float:
        return what(row, name) - what(row, "sam")

    arms = [(trained, name) for trained in ("sam", "obf_0") for name in OBF]
    return [
        effect
        for trained, name in arms
        for effect in each_rho(
            rows,
            trained,
            f"networks of {LABELS[trained]}: {LABELS[name]} less SAM",
            partial(less_sam, name),
            "above",
            unit=unit,
        )
    ]


def given_label(row: Row, name: str) -> float:
    """What a perturbation removes beyond the label."""
    return row[f"forgetting_given_label/{name}"]


def per_nat(row: Row, name: str) -> float:
    """What a perturbation removes over how far it moves the outputs."""
    return row[f"forgetting/{name}"] / row[f"divergence/{name}"]


VANI = "Vani, Tung, Oliveira, Sharifi, ICML 2024"

CLAIMS = (
    Claim(
        id="chosen_perturbations_forget",
        text="SAM's and OBF's perturbations take information about the input from the outputs.",
        source=f"{VANI}: perturbing is forgetting",
        check=partial(under_its_own, "forgetting", ("sam", *OBF), "above"),
    ),
    Claim(
        id="a_random_step_forgets_nothing",
        text="A random step as long removes less than a tenth of what OBF removes from the same network.",
        source=f"{VANI} (random control); the bound is ours",
        check=chance_beside_obf,
    ),
    Claim(
        id="sam_keeps_what_is_beyond_the_label",
        text="Under SAM's perturbation the outputs tell more about the input beyond its label, not less.",
        source="Trial of this library on MNIST, after the paper's idea",
        check=partial(under_its_own, "forgetting_given_label", ("sam",), "below"),
    ),
    Claim(
        id="obf_removes_what_is_beyond_the_label",
        text="Under OBF's perturbation the outputs tell less about the input beyond its label.",
        source=f"{VANI}: biases of the model that outputs expose are forgotten; the measure is ours",
        check=partial(under_its_own, "forgetting_given_label", OBF, "above"),
    ),
    Claim(
        id="sam_raises_the_test_loss",
        text="SAM's perturbation, chosen on training images, raises the loss of test images.",
        source="Trial of this library on MNIST, after the paper's idea",
        check=partial(under_its_own, "nll_rise", ("sam",), "above"),
    ),
    Claim(
        id="obf_lowers_the_test_loss",
        text="OBF's perturbation lowers the loss of test images.",
        source="Trial of this library on MNIST, after the paper's idea",
        check=partial(under_its_own, "nll_rise", OBF, "below"),
    ),
    Claim(
        id="it_is_the_direction",
        text="On one and the same network OBF's direction removes more beyond the label than SAM's.",
        source="Control of this study: networks differ by how they were trained",
        check=partial(on_one_network, given_label, "nats"),
    ),
    Claim(
        id="obf_forgets_more_for_the_same_change",
        text="Per nat that the outputs move, OBF removes more information than SAM.",
        source="Control of this study: equally long perturbations move outputs unequally far",
        check=partial(on_one_network, per_nat, "nats per nat"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """What is forgotten against rho and over training."""
    runs, middle = own(rows), config.rhos[len(config.rhos) // 2]
    return [
        Figure(
            title="What is forgotten against rho",
            panels=tuple(against_rho(runs, name) for name in QUANTITIES),
            caption="Of every network under the perturbation that it was trained with, mean over training, on "
            "test images. Below 0 the outputs tell more, or the loss falls.",
        ),
        Figure(
            title="What is forgotten over training",
            panels=tuple(over_epochs(rows, middle, name) for name in ("forgetting", "forgetting_given_label")),
            caption=f"The same at rho {middle:g}, at every look.",
        ),
    ]


def against_rho(runs: Sequence[Row], quantity: str) -> Panel:
    """A curve for every perturbation, on its own networks."""
    curves = [Curve.of(runs, LABELS[m], x="rho", y=quantity, where={"method": m}) for m in PERTURBATIONS]
    label = QUANTITIES[quantity]
    return Panel(x_label="rho", y_label=label, curves=tuple(curves), title=heading(label), x_scale="even")


def over_epochs(rows: Sequence[Row], rho: float, quantity: str) -> Panel:
    """A curve over training for every perturbation, at one length."""
    curves = [
        Curve.of(rows, LABELS[m], x="epoch", y=f"{quantity}/{m}", where={"method": m, "rho": rho})
        for m in PERTURBATIONS
    ]
    label = QUANTITIES[quantity]
    return Panel(x_label="epoch", y_label=label, curves=tuple(curves), title=heading(label))


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """What each perturbation does to its own networks, and what each does to SAM's."""
    sams = [row for row in over_training(rows) if row["method"] == "sam"]
    return [
        by_perturbation(
            own(rows),
            "Every perturbation on the networks trained with it",
            "Means over training and seeds, 95 % intervals.",
        ),
        by_perturbation(
            [{**under(name, row), "method": name} for name in PERTURBATIONS for row in sams],
            "Every perturbation on the networks of SAM",
            "The same where all directions are looked at on the same networks.",
        ),
    ]


def by_perturbation(rows: Sequence[Row], title: str, caption: str) -> Table:
    """A line for every perturbation and length."""
    return means(
        [{**row, "method": LABELS[row["method"]]} for row in rows],
        title,
        by={"perturbation": "method", "rho": "rho"},
        of={label: quantity for quantity, label in QUANTITIES.items()},
        caption=caption,
    )
