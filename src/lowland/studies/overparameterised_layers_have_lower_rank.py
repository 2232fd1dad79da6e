"""Do layers that are trained as a product of several end at a lower rank than layers trained as they are?

Every weight matrix of a small network becomes a product of 1, 2, 4 or 8 matrices of the same width: the network
can do what it could before, and nothing else. All are trained for the same number of steps on digits of which 40 %
have a wrong label, so that there is something to memorise. The rank is the entropy of the singular values of the
product. The paper finds that it is lower the more factors there are.

Three ways to train tell apart what may lower it. Random factors have a product of lower rank from the start.
Balanced ones make the same weights whatever their number (:func:`lowland.layers.preserve.preserve`), so all
networks begin as one function, and only training can make them differ. Weight decay on d factors is a penalty on
the singular values to the power 2 / d, which lowers the rank by itself; in the other two there is none.

Expect 3 minutes on 2 cores. ``--paper`` trains a wider network on more images; the paper's own table is of image
classifiers (``overparameterisation_generalises``), and its numbers are not at hand to set beside ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lowland import catalog
from lowland.checks import ascending, at_least, whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset
from lowland.experiments.columns import columns
from lowland.experiments.model_run import model_run
from lowland.experiments.training import Training, check_training, load_images
from lowland.layers.collapse import collapse
from lowland.layers.expand import expand
from lowland.measurements.accuracy import Accuracy
from lowland.measuring.measure import measure
from lowland.observe.ranks import effective_rank_entropy
from lowland.observe.weights import weights
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.means import means
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive, generator
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do layers that are trained as a product of several end at a lower rank?"

PAPER_TITLE = "Huh, Mobahi, Zhang, Cheung, Agrawal, Isola, TMLR 2023"

WAYS: Mapping[str, str] = {
    "random": "random factors",
    "balanced": "the same function at the start",
    "decay": "random factors, weight decay",
}


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        expansions: Numbers of factors, ascending from 1, at least two.
        decay: Weight decay of the third way, > 0; ``weight_decay`` is that of the others.
        seeds: Runs of every setting; a verdict needs 3.
    """

    data: str = "digits:label_noise=0.4"
    model: str = "mlp:widths=(128,128)"
    train: int = 600
    epochs: int = 150
    batch: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    schedule: str = "constant"  # pyright: ignore[reportIncompatibleVariableOverride] - one of those allowed
    expansions: tuple[int, ...] = (1, 2, 4, 8)
    decay: float = 5e-4
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        at_least("decay", self.decay, 1e-12)
        ascending("expansions", self.expansions, first=1, least=2)


PAPER = Config(
    data="fashion-mnist:label_noise=0.4",
    model="mlp:widths=(512,512)",
    train=20_000,
    epochs=50,
    batch=128,
    learning_rate=0.003,
)

TINY = Config(model="mlp:widths=(8,)", train=60, epochs=1, expansions=(1, 2), seeds=3)


def cells(config: Config) -> list[Cell]:
    """Every way with every number of factors."""
    return [
        {"way": way, "expansion": expansion, "seed": seed}
        for way in WAYS
        for expansion in config.expansions
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, ["sgd"])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network; one row, with the rank of every layer before and after."""
    data = load_images(config.data, config.train).to(context.device)
    model = network(config, data, cell)
    before = {f"start/{name}": rank for name, rank in ranks(model).items()}
    recipe = replace(
        config.recipe("sgd"), weight_decay=config.decay if cell["way"] == "decay" else config.weight_decay
    )

    def look(model: nn.Module, final: bool) -> Row | None:
        return after(model, data, before) if final else None

    return model_run(model, data, config, recipe, cell, context, look)[-1:]


def network(config: Config, data: Dataset, cell: Cell) -> nn.Module:
    """The network with its layers as products, in activation space, which is cheaper for small batches."""
    seed, expansion = int(str(cell["seed"])), int(str(cell["expansion"]))
    torch.manual_seed(derive(seed, "model"))
    plain: nn.Module = catalog.build("models", config.model, shape=data.shape, classes=len(data.classes))
    if cell["way"] != "balanced":
        return expand(
            plain, expansion, init="kaiming", mode="activation", generator=generator(seed, "factors", expansion)
        )
    plain = collapse(expand(plain, 1, init="kaiming", generator=generator(seed, "factors", 1)))
    return expand(plain, expansion, mode="activation", generator=generator(seed, "units", expansion))


def ranks(model: nn.Module) -> dict[str, float]:
    """Entropy of the singular values of every layer, in nats."""
    return {w.name.removesuffix(".weight"): entropy(w.matrix) for w in weights(collapse(model))}


def entropy(matrix: Tensor) -> float:
    """That of one matrix."""
    return effective_rank_entropy(torch.linalg.svdvals(matrix.double()))


def after(model: nn.Module, data: Dataset, before: Mapping[str, float]) -> Row:
    """Ranks before and after, what training did to them, and the errors."""
    ends = ranks(model)
    change = {f"change/{name}": rank - before[f"start/{name}"] for name, rank in ends.items()}
    splits = {"train": in_order(data.train), "test": in_order(data.test)}
    errors = columns(measure(model, None, splits, Accuracy(on=("train", "test"))))
    return {**before, **{f"end/{name}": rank for name, rank in ends.items()}, **change, **errors}


def layers(rows: Sequence[Row]) -> list[str]:
    """The layers of the network, in its order."""
    found = (row for row in rows if not row["diverged"])
    return [name.removeprefix("end/") for name in next(found, {}) if name.startswith("end/")]


def over_factors(rows: Sequence[Row], outcome: str, way: str) -> Grid:
    """One outcome of a way against the number of factors."""
    return Grid.of(rows, outcome, over="expansion", where={"way": way})


def falls(rows: Sequence[Row], quantity: str, way: str) -> list[Effect]:
    """Rank correlation with the number of factors, for every layer."""
    grids = {layer: over_factors(rows, f"{quantity}/{layer}", way) for layer in layers(rows)}
    return [Effect.of(f"{layer}: correlation with factors", trend(grid), "below") for layer, grid in grids.items()]


def decay_lowers_products_more(rows: Sequence[Row]) -> list[Effect]:
    """What decay changes with the most factors, less what it changes with one."""
    effects = []
    for layer in layers(rows):
        plain, decayed = (over_factors(rows, f"end/{layer}", way) for way in ("random", "decay"))
        size = decayed.beside(
            plain, lambda with_it, without: with_it[-1] - without[-1] - (with_it[0] - without[0])
        )
        name = f"{layer}: change by decay, {plain.points[-1]:g} factors less one"
        effects.append(Effect.of(name, size, "below", unit="nats"))
    return effects


CLAIMS = (
    Claim(
        id="rank_falls_with_factors_at_the_start",
        text="Before training, the more random factors a layer has, the lower its rank.",
        source=f"{PAPER_TITLE}: products of random matrices",
        check=partial(falls, quantity="start", way="random"),
    ),
    Claim(
        id="rank_falls_with_factors_after_training",
        text="After training, the more factors a layer has, the lower its rank.",
        source=f"{PAPER_TITLE}: singular values of over-parameterised layers",
        check=partial(falls, quantity="end", way="random"),
    ),
    Claim(
        id="training_lowers_the_rank_of_products_more",
        text="The more factors a layer has, the more training lowers its rank.",
        source="Control of this study: products of random factors begin lower",
        check=partial(falls, quantity="change", way="random"),
    ),
    Claim(
        id="rank_falls_from_the_same_function",
        text="Where all networks begin as the same function, more factors still end at a lower rank.",
        source="Control of this study: only training can make the difference",
        check=partial(falls, quantity="end", way="balanced"),
    ),
    Claim(
        id="decay_lowers_the_rank_of_products_more",
        text="Weight decay lowers the rank of a product of the most factors more than that of a plain layer.",
        source="Algebra: decay of d factors is a penalty on the singular values to the power 2 / d",
        check=decay_lowers_products_more,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Rank against the number of factors, for every way, and the errors."""
    return [
        *(
            Figure(
                title=f"Rank of every layer: {WAYS[way]}",
                panels=tuple(before_and_after(rows, way, layer) for layer in layers(rows)),
                caption="Entropy of the singular values of the product, before and after training.",
            )
            for way in WAYS
        ),
        Figure(
            title="Errors",
            panels=(
                errors(rows, "train_error", "training error (%)"),
                errors(rows, "test_error", "test error (%)"),
            ),
            caption="After the same number of steps. Training: on the labels as they are, wrong ones included.",
        ),
    ]


def before_and_after(rows: Sequence[Row], way: str, layer: str) -> Panel:
    """One layer of one way."""
    names = {"start": "before training", "end": "after training"}
    curves = [Curve.of(rows, names[n], x="expansion", y=f"{n}/{layer}", where={"way": way}) for n in names]
    return Panel(x_label="factors", y_label="rank (nats)", curves=tuple(curves), title=layer, x_scale="even")


def errors(rows: Sequence[Row], quantity: str, label: str) -> Panel:
    """A curve for every way."""
    curves = [Curve.of(rows, WAYS[way], x="expansion", y=quantity, where={"way": way}) for way in WAYS]
    return Panel(x_label="factors", y_label=label, curves=tuple(curves), title=label, x_scale="even")


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every way and number of factors."""
    ranks = {
        f"{layer}, {word}": f"{when}/{layer}"
        for layer in layers(rows)
        for when, word in (("start", "before"), ("end", "after"))
    }
    return [
        means(
            [{**row, "way": WAYS[row["way"]]} for row in rows],
            "Rank and errors by the number of factors",
            by={"way": "way", "factors": "expansion"},
            of={**ranks, "train (%)": "train_error", "test (%)": "test_error"},
            caption="Nats. Means over seeds, 95 % intervals.",
        )
    ]
