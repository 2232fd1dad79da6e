"""Where in a vision transformer does sharpness-aware minimisation lower the rank of features?

A small pre-norm vision transformer classifies images, trained with several radii, radius 0 being plain AdamW.
After training ranks are taken in every block at the class token, which the head reads: of the residual stream,
of what attention and the MLP write into it, and before and after the GELU. Rank is the number of components
that explain 99 % of the variance over training images.

The paper measures public ViT and Mixer checkpoints, trained on ImageNet with and without SAM, and reports lower
ranks with SAM at middle and last blocks; the values are not at hand, and the checkpoints without SAM had seen
more data in larger images. It names the residual stream as the place, which attention and MLP write fewer
directions to, and not GELUs that are switched off. A trial with a plain perceptron did not reproduce the fall:
there the rank rose first, and fell only at radii at which the training loss was no longer small. So a trend
over all radii is asked for, block by block, and the rank at the radius with the lowest test error as well.
Others report that the last layer of residual networks goes the other way. On the digits so it does here: the
first block's ranks fall, but what the last MLP writes, and so the last residual stream, gains directions at
moderate radii.

Expect 4 minutes on 2 cores for the digits; ``--data fashion-mnist --model vit:patch=7,depth=3,width=48 --train
3000`` takes longer. ``--paper`` trains a ViT on CIFAR-10 and is meant for a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from lowland import catalog
from lowland.checks import ascending, whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset
from lowland.experiments.columns import columns
from lowland.experiments.training import Training, check_training, training_run
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.measurements.calibration import Calibration
from lowland.measurements.feature_rank import FeatureRank
from lowland.measuring.measure import measure
from lowland.observe.features import default_layers
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.means import means
from lowland.report.panels import against_rho
from lowland.report.radii import best_less, effect, final, judged, u_shaped
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.train.recipe import Recipe
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Where in a vision transformer does SAM lower the rank of features?"

SOURCE = "Andriushchenko, Bahri, Mobahi, Flammarion, NeurIPS 2023"

RECIPE = "own"
INSIDE: Mapping[str, str] = {
    "attention": ".attention",
    "pre-GELU": ".expand",
    "GELU": ".activation",
    "MLP": ".contract",
    "residual": "",
}
SAID = {
    "residual": "the residual stream",
    "attention": "what attention writes",
    "MLP": "what the MLP writes",
    "pre-GELU": "what goes into the GELU",
    "GELU": "what comes out of the GELU",
}
ACTIVE = 0.1
FLAT = 10.0


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies, with AdamW instead of SGD.

    Attributes:
        model: A vision transformer, with its arguments; ``patch`` divides the image.
        warmup: Share of the steps with a growing learning rate.
        rhos: The radii, ascending from 0, at least three.
        examples: The most training images that ranks are measured on; ranks compare at equal number.
        seeds: Runs for every radius, from different initialisations; a verdict needs 3.
    """

    model: str = "vit:depth=3,width=48,heads=4,patch=2"
    epochs: int = 30
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    rhos: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2)
    examples: int = 2000
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("examples", "seeds"):
            whole(name, getattr(self, name))
        ascending("rhos", self.rhos, first=0, least=3)

    def recipe(self, method: str) -> Recipe:
        """How to train with ``method``."""
        return replace(super().recipe(method), optimizer="adamw", warmup=self.warmup)


PAPER = Config(
    data="cifar10",
    model="vit:depth=12,width=192,heads=3,patch=4",
    train=50_000,
    epochs=200,
    batch=256,
    learning_rate=1e-3,
    augment=True,
    examples=12_800,
    rhos=(0.0, 0.05, 0.1, 0.2, 0.4),
    seeds=3,
)

TINY = Config(
    train=120,
    epochs=2,
    model="vit:depth=2,width=8,heads=2,patch=4",
    rhos=(0.0, 0.05, 0.1),
    examples=60,
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for every radius and seed."""
    return [{"rho": rho, "seed": seed} for rho in config.rhos for seed in range(config.seeds)]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail, and networks that are no vision transformers.

    Raises:
        ValueError: If the network has no blocks of attention and MLP.
    """
    data = check_training(config, ["sgd", "sam"])
    model: nn.Module = catalog.build("models", config.model, shape=data.shape, classes=len(data.classes))
    names = {name for name, _ in model.named_modules()}
    if not set(sites(model)) <= names:
        raise ValueError(f"model must be a vision transformer, such as vit:depth=3, got {config.model!r}.")


def sites(model: nn.Module) -> dict[str, str]:
    """What every layer that is looked at is called: its part and the number of its block, from 1."""
    blocks = list(enumerate(default_layers(model), 1))
    return {block + inside: f"{part} {at}" for part, inside in INSIDE.items() for at, block in blocks}


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, and measure it after the last epoch."""
    recipe = config.recipe(f"sam:rho={cell['rho']:g}" if cell["rho"] else "sgd")
    rows = training_run(config, recipe, cell, context, partial(look, config), {recipe.epochs})
    return [{**row, "recipe": RECIPE} for row in rows]


def look(config: Config, model: nn.Module, data: Dataset, final: bool) -> Row:
    """Errors and losses; ranks of every part of every block at the class token, and how many GELUs are active."""
    some = data.train.take(min(config.examples, len(data.train)))
    splits = {"train": in_order(data.train), "test": in_order(data.test), "some": in_order(some)}
    named = sites(model)
    active = tuple(layer for layer, name in named.items() if name.startswith("GELU"))
    whole_model = [Accuracy(on=("train", "test")), Calibration(on=("train", "test"))]
    inside = [
        FeatureRank(on="some", layers=tuple(named), pool="first"),
        ActivationSparsity(
            on="some", layers=active, pool="first", duplicates=None, definition="share_of_max", threshold=ACTIVE
        ),
    ]
    found = columns(measure(model, None, splits, [*whole_model, *inside]))
    return {_renamed(name, named): value for name, value in found.items()}


def _renamed(column: str, named: Mapping[str, str]) -> str:
    """A column of a layer under what the layer is called."""
    quantity, _, layer = column.partition("/")
    return f"{quantity}/{named[layer]}" if layer else column


def of(rows: Sequence[Row], part: str, quantity: str = "rank") -> list[str]:
    """Names of a part in every block, first block first."""
    names = dict.fromkeys(key.partition("/")[2] for row in rows for key in row if key.startswith(f"{quantity}/"))
    return sorted((name for name in names if name.startswith(f"{part} ")), key=lambda n: int(n.rpartition(" ")[2]))


def rank_falls(part: str, rows: Sequence[Row]) -> list[Effect]:
    """Spearman correlation of rho and the rank of a part, in every block."""
    last = judged(rows, RECIPE)
    return [effect(rows, RECIPE, name, trend(Grid.of(last, f"rank/{name}")), "below") for name in of(last, part)]


def lower_at_the_best(rows: Sequence[Row]) -> list[Effect]:
    """Rank of the residual stream at the radius with the lowest test error, less that at 0, in every block."""
    last = judged(rows, RECIPE)
    sizes = {name: best_less(last, f"rank/{name}", 0.0) for name in of(last, "residual")}
    return [effect(rows, RECIPE, name, size, "below", "components") for name, size in sizes.items()]


def density_is_flat(rows: Sequence[Row]) -> list[Effect]:
    """By how many percent the share of active GELUs is higher at the largest radius than at 0, in every block."""
    last = judged(rows, RECIPE)
    grids = {name: Grid.of(last, f"density/{name}") for name in of(last, "GELU", "density")}
    sizes = {name: grid.interval(lambda row: 100 * (row[-1] / row[0] - 1)) for name, grid in grids.items()}
    most = max(row["rho"] for row in last)
    return [
        Effect.of(f"{name}, rho {most:g} over 0", size, "within", FLAT, unit="%") for name, size in sizes.items()
    ]


CLAIMS = (
    *(
        Claim(
            id=f"rank_of_{part.replace('-', '_').lower()}_falls",
            text=f"In every block the rank of {said} falls as rho grows.",
            source=f"{SOURCE}: public ViT checkpoints have lower ranks with SAM at middle and last blocks; every "
            "block and rho is asked here",
            check=partial(rank_falls, part),
        )
        for part, said in SAID.items()
    ),
    Claim(
        id="error_is_u_shaped",
        text="Test error is lowest at a moderate rho: it falls from rho = 0 and rises again.",
        source=f"{SOURCE}: error against rho in the classification experiments",
        check=lambda rows: u_shaped(rows, "test_error"),
    ),
    Claim(
        id="rank_is_lower_at_the_best_rho",
        text="Where SAM generalises best the residual stream already has a lower rank than without SAM.",
        source="Control of this study: a fall at radii that are too large says little",
        check=lower_at_the_best,
    ),
    Claim(
        id="gelu_density_is_flat",
        text=f"The share of active GELUs changes by less than {FLAT:g} % of itself up to the largest rho.",
        source=f"{SOURCE}: roughly flat in pre-norm transformers; the bound is this study's",
        check=density_is_flat,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error against rho; rank of every part, block by block; density of GELUs."""
    last = final(rows, RECIPE)
    names = {"test": "test_error", "train": "train_error"}
    return [
        Figure(
            title="Error against rho",
            panels=(against_rho("error (%)", [Curve.of(last, n, x="rho", y=y) for n, y in names.items()], ""),),
            caption="After training.",
        ),
        Figure(
            title="Rank of every part, by block",
            panels=tuple(by_block(last, part) for part in INSIDE),
            caption="At the class token: components that explain 99 % of the variance over training images.",
        ),
        Figure(
            title="Share of active GELUs, by block",
            panels=(by_block(last, "GELU", "density", "share of active GELUs"),),
            caption="A GELU is active above a tenth of the largest of its layer.",
        ),
    ]


def by_block(rows: Sequence[Row], part: str, quantity: str = "rank", label: str = "feature rank (99 %)") -> Panel:
    """A curve for every block."""
    blocks = {f"block {name.split()[-1]}": f"{quantity}/{name}" for name in of(rows, part, quantity)}
    return against_rho(label, [Curve.of(rows, name, x="rho", y=y) for name, y in blocks.items()], part)


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every radius: errors, loss, and the rank of the residual stream; and the ranks of the parts."""
    last = final(rows, RECIPE)
    scores = {"test error (%)": "test_error", "train loss": "train_loss"}
    ranks = {part: {f"rank {name}": f"rank/{name}" for name in of(last, part)} for part in INSIDE}
    inside = [
        means(last, f"Rank of {SAID[part]}", by={"rho": "rho"}, of=ranks[part])
        for part in INSIDE
        if part != "residual"
    ]
    table = means(last, "Results by rho", by={"rho": "rho"}, of=scores | ranks["residual"])
    return [table.marked("test error (%)"), *inside]
