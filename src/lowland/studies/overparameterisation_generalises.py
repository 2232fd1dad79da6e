"""Do image classifiers generalise better when their layers are trained as products of several?

Every convolution and linear layer of a small network becomes a product of 1, 2, 4 or 8 random factors of the same
width, the first with the kernel, the others pointwise: the network can do what it could before, and is as large as
before once collapsed. The paper reports higher test accuracy on CIFAR and ImageNet, with lower training accuracy
and features of lower rank; its numbers are not at hand. Factors also change how fast a network learns. So every
number of factors gets the learning rate that does best on validation images, and test errors are compared at the
end of training and, as this may only be how far training got, when both had the same training loss. All that
without weight decay and with it, because decay of factors is a penalty on the rank by itself.

A trial run did not find the gain: fully connected networks on 100 digits had a test accuracy of 0.89, 0.86 and
0.83 with 1, 2 and 4 factors, and 0.66, 0.61 and 0.60 with wrong labels; more factors trained faster, and the rank
of the features rose. The paper's gain is on natural images, and digits are not; the verdicts are a report of what
is found at this scale. ``--data fashion-mnist --train 4000`` takes larger images.

Expect 3 minutes on 2 cores. ``--paper`` trains on CIFAR-10 and is meant for a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

import torch
from torch import Tensor, nn

from lowland import catalog
from lowland.checks import ascending, at_least, whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset, Split
from lowland.experiments.columns import columns
from lowland.experiments.model_run import model_run
from lowland.experiments.training import Training, check_training, load_images
from lowland.layers.expand import expand
from lowland.measurements.accuracy import Accuracy
from lowland.measuring.measure import measure
from lowland.observe.features import features
from lowland.observe.ranks import effective_rank_entropy
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid, IncompleteError
from lowland.report.interval import interval
from lowland.report.means import means
from lowland.report.panels import curves_by
from lowland.report.shape import at_level, trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive, generator
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do image classifiers generalise better when their layers are trained as products of several?"

PAPER_TITLE = "Huh, Mobahi, Zhang, Cheung, Agrawal, Isola, TMLR 2023"


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        expansions: Numbers of factors, ascending from 1, at least two.
        learning_rates: To choose from, for each number of factors and decay; ``learning_rate`` is not used.
        decays: Weight decays, ascending from 0.
        validation: Images that are not trained on, to choose the learning rate by; training has the others.
        seeds: Runs of every setting; a verdict needs 3.
    """

    train: int = 1000
    epochs: int = 12
    expansions: tuple[int, ...] = (1, 2, 4, 8)
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    decays: tuple[float, ...] = (0.0, 5e-4)
    validation: int = 300
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        whole("validation", self.validation)
        if self.validation >= self.train:
            raise ValueError(f"validation must be less than the {self.train} images, got {self.validation}.")
        ascending("expansions", self.expansions, first=1, least=2)
        ascending("decays", self.decays, first=0)
        for rate in self.learning_rates:
            at_least("learning_rates", rate, 1e-12)
        if not self.learning_rates:
            raise ValueError("learning_rates must be at least one, got none.")


PAPER = Config(
    data="cifar10",
    model="conv:widths=(64,128,256,256)",
    train=50_000,
    validation=5_000,
    epochs=100,
    batch=128,
    augment=False,
    seeds=3,
)

TINY = Config(
    model="conv:widths=(4,)",
    train=60,
    validation=20,
    epochs=1,
    expansions=(1, 2),
    learning_rates=(0.03,),
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """Every number of factors with every learning rate and decay."""
    return [
        {"expansion": expansion, "decay": decay, "rate": rate, "seed": seed}
        for decay in config.decays
        for expansion in config.expansions
        for rate in config.learning_rates
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_training(config, ["sgd"])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, and look at it after every epoch."""
    data = load_images(config.data, config.train).to(context.device)
    ours, held = parted(data, config.validation)
    model = network(config, data, cell)
    recipe = replace(
        config.recipe("sgd"), learning_rate=float(str(cell["rate"])), weight_decay=float(str(cell["decay"]))
    )
    rows = model_run(model, ours, config, recipe, cell, context, partial(look, ours, held))
    return [{**row, "diverged": row["diverged"] or "test_error" not in row} for row in rows]


def parted(data: Dataset, validation: int) -> tuple[Dataset, Split]:
    """What to train on, and the last of the training images, which are held out."""
    x, y = data.train.x, data.train.y
    cut = len(data.train) - validation
    return replace(data, train=Split(x[:cut], y[:cut])), Split(x[cut:], y[cut:])


def network(config: Config, data: Dataset, cell: Cell) -> nn.Module:
    """The network with its layers as products of random factors."""
    seed, factors = int(str(cell["seed"])), int(str(cell["expansion"]))
    torch.manual_seed(derive(seed, "model"))
    plain: nn.Module = catalog.build("models", config.model, shape=data.shape, classes=len(data.classes))
    return expand(plain, factors, init="kaiming", generator=generator(seed, "factors", factors))


def look(data: Dataset, held: Split, model: nn.Module, final: bool) -> Row:
    """Errors in percent, and in the end the rank of the last layer's features; nothing where outputs are lost."""
    if not all(answers(model, part.x) for part in (data.train, data.test, held)):
        return {}
    splits = {"train": in_order(data.train), "test": in_order(data.test), "held": in_order(held)}
    found = columns(measure(model, None, splits, Accuracy(on=tuple(splits))))
    return {**found, "feature_rank": kernel_rank(model, data.test.x)} if final else found


@torch.no_grad()
def answers(model: nn.Module, x: Tensor) -> bool:
    """Whether outputs are finite, and so is their sum; weights may still be where outputs no longer are."""
    return bool(torch.isfinite(model.eval()(x).abs().sum()))


@torch.no_grad()
def kernel_rank(model: nn.Module, x: Tensor) -> float:
    """Spectral entropy of K = F F^T for the uncentred features F of the last layer before the head, in nats."""
    found: list[Tensor] = []
    names: Sequence[str] = model.layers  # pyright: ignore[reportAssignmentType] - all our models name them
    with features(model, names[-1:], lambda site, output, given: found.append(output.flatten(1).double())):
        model.eval()(x)
    return effective_rank_entropy(torch.linalg.svdvals(found[0]).square())


def chosen(rows: Sequence[Row]) -> list[Row]:
    """The runs of the learning rate with the least validation error, for each number of factors and decay."""
    best: list[Row] = []
    for arm in dict.fromkeys((row["expansion"], row["decay"]) for row in rows):
        mine = [row for row in rows if (row["expansion"], row["decay"]) == arm]
        errors = {rate: validation_error(mine, rate) for rate in dict.fromkeys(row["rate"] for row in mine)}
        rate = min(errors, key=lambda rate: errors[rate])
        best += [row for row in mine if row["rate"] == rate]
    return best


def validation_error(rows: Sequence[Row], rate: float) -> float:
    """Mean over the seeds at the end of training; infinite if one diverged."""
    mine = [row for row in rows if row["rate"] == rate]
    if any(row["diverged"] for row in mine):
        return float("inf")
    return fmean(row["held_error"] for row in mine if row["final"])


def compared(rows: Sequence[Row], quantity: str, decay: float, side: str) -> list[Effect]:
    """With more factors less with one, at the end of training."""
    grid = final_grid(rows, quantity, decay)
    return [
        Effect.of(
            f"{factors:g} factors less one",
            grid.contrast({factors: 1, 1: -1}),
            "below" if side == "below" else "above",
            unit="points" if quantity == "test_error" else "nats",
        )
        for factors in grid.points[1:]
    ]


def final_grid(rows: Sequence[Row], quantity: str, decay: float) -> Grid:
    """A quantity at the end of training against the number of factors, at the chosen rates."""
    last = [row for row in chosen(rows) if row["final"] and row["decay"] == decay]
    return Grid.of(last, quantity, over="expansion")


def at_equal_loss(rows: Sequence[Row], decay: float) -> list[Effect]:
    """Test error with more factors less that with one, when both had the loss that both reached first.

    Raises:
        IncompleteError: If a run diverged.
    """
    mine = [row for row in chosen(rows) if row["decay"] == decay]
    if any(row["diverged"] for row in mine):
        raise IncompleteError("A run diverged at the chosen learning rate.")
    effects = []
    for factors in sorted({row["expansion"] for row in mine} - {1}):
        pairs = [matched(mine, factors, seed) for seed in sorted({row["seed"] for row in mine})]
        size = interval([more - one for more, one in pairs])
        effects.append(Effect.of(f"{factors} factors less one", size, "below", unit="points"))
    return effects


def matched(rows: Sequence[Row], factors: int, seed: int) -> tuple[float, float]:
    """Test errors with more factors and with one, of one seed, at the larger of the two least losses.

    Raises:
        IncompleteError: If one run never had that loss.
    """
    runs = [[row for row in rows if row["seed"] == seed and row["expansion"] == e] for e in (factors, 1)]
    level = max(min(row["loss"] for row in run) for run in runs)
    more, one = (at_level([row["loss"] for row in run], [row["test_error"] for row in run], level) for run in runs)
    if more is None or one is None:
        raise IncompleteError("A run never had the loss of the other.")
    return more, one


def rank_falls(rows: Sequence[Row]) -> list[Effect]:
    """Rank correlation of the features' rank with the number of factors."""
    decays = list(dict.fromkeys(row["decay"] for row in rows))
    return [
        Effect.of(
            f"{named(decay)}: correlation with factors", trend(final_grid(rows, "feature_rank", decay)), "below"
        )
        for decay in decays
    ]


def with_decay(rows: Sequence[Row]) -> float:
    """The largest decay."""
    return max(row["decay"] for row in rows)


def named(decay: float) -> str:
    """A decay in words."""
    return f"decay {decay:g}" if decay else "no decay"


CLAIMS = (
    Claim(
        id="generalises_better_without_decay",
        text="Without weight decay, more factors end at a lower test error than one.",
        source=f"{PAPER_TITLE}: image classification",
        check=lambda rows: compared(rows, "test_error", 0.0, "below"),
    ),
    Claim(
        id="generalises_better_with_decay",
        text="With weight decay, more factors end at a lower test error than one.",
        source=f"{PAPER_TITLE}: image classification",
        check=lambda rows: compared(rows, "test_error", with_decay(rows), "below"),
    ),
    Claim(
        id="generalises_better_at_equal_loss",
        text="Without weight decay, more factors have a lower test error than one at the same training loss.",
        source="Control of this study: factors change how fast a network learns",
        check=lambda rows: at_equal_loss(rows, 0.0),
    ),
    Claim(
        id="fits_less",
        text="Without weight decay, more factors end at a higher training loss than one.",
        source=f"{PAPER_TITLE}: lower training accuracy; of the loss, as here the training error ends at 0",
        check=lambda rows: compared(rows, "loss", 0.0, "above"),
    ),
    Claim(
        id="features_have_lower_rank",
        text="The more factors, the lower the rank of the last layer's features.",
        source=f"{PAPER_TITLE}: singular values of the features through training",
        check=rank_falls,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Errors and rank against the number of factors, and test error against training loss."""
    found = chosen(rows)
    return [
        Figure(
            title="Errors against the number of factors",
            panels=(
                against_factors(config, found, "test_error", "test error (%)", "Test"),
                against_factors(config, found, "train_error", "training error (%)", "Training"),
            ),
            caption="At the end of training, each with the learning rate that does best on validation images.",
        ),
        Figure(
            title="Rank of the features",
            panels=(against_factors(config, found, "feature_rank", "rank (nats)", ""),),
            caption="Entropy of the eigenvalues of the uncentred kernel matrix of the last layer, on test images.",
        ),
        Figure(
            title="Over training, without weight decay",
            panels=(
                over_epochs(found, "test_error", "test error (%)"),
                over_epochs(found, "loss", "loss"),
            ),
            caption="Test error, and training loss as it was trained on.",
        ),
    ]


def against_factors(config: Config, rows: Sequence[Row], quantity: str, label: str, title: str) -> Panel:
    """A curve for each decay."""
    last = [row for row in rows if row["final"]]
    curves = [
        Curve.of(last, named(decay), x="expansion", y=quantity, where={"decay": decay}) for decay in config.decays
    ]
    return Panel(x_label="factors", y_label=label, curves=tuple(curves), title=title, x_scale="even")


def over_epochs(rows: Sequence[Row], quantity: str, label: str) -> Panel:
    """A curve for each number of factors."""
    mine = [row for row in rows if row["decay"] == 0]
    return Panel(
        x_label="epoch",
        y_label=label,
        curves=curves_by(mine, "expansion", x="epoch", y=quantity, label="{} factors"),
        title=label,
        palette="ordered",
        spread="band",
        y_scale="log",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every decay and number of factors, and every learning rate that was tried."""
    setting = {"weight decay": "decay", "factors": "expansion", "learning rate": "rate"}
    last = [row for row in rows if row["final"]]
    return [
        means(
            [row for row in chosen(rows) if row["final"]],
            "At the chosen learning rates",
            by=setting,
            of={
                "test error (%)": "test_error",
                "training error (%)": "train_error",
                "training loss": "loss",
                "rank of features": "feature_rank",
            },
            caption="Means over seeds, 95 % intervals.",
        ),
        means(
            sorted(last, key=lambda row: (row["decay"], config.learning_rates.index(row["rate"]))),
            "Every learning rate",
            by=setting,
            of={"validation error (%)": "held_error", "test error (%)": "test_error"},
            caption="Means over the seeds that did not diverge, 95 % intervals.",
        ),
    ]
