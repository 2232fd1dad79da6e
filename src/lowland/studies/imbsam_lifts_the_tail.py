"""Does sharpness-aware minimisation for the rare classes alone lift them, and at what price for the others?

The training images are thinned to a long tail: the rarest class keeps a hundredth of the most frequent one's; test
images stay balanced. Five methods train the same network from several seeds: SGD; SAM; ImbSAM, which perturbs for
the rare classes' part of the loss only; ImbSAM as its authors released it, whose script doubles the rare classes'
gradient without saying so; and SGD with that doubling alone, the control. Differences are paired by seed.

A class has *many* images with more than a fifth of the most frequent one's, *few* with less than a twenty-fifth,
else *medium*: on CIFAR-100 those are the usual bounds of 100 and 20 images, and with a tail of 100 the ten classes
of the other sets fall into 4, 3 and 3. ImbSAM's rare classes are the few. Errors are means over the classes of a
group. Nothing is tuned: all methods have SAM's radius.

Expect a minute on 2 cores for the digits, whose rarest classes have 1 to 3 images, and 12 for
``--data cifar10:long_tail=100 --epochs 12``. ``--paper`` is meant for a GPU.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from torch import nn

from lowland.checks import at_least, fraction, whole
from lowland.data.batches import in_order
from lowland.data.dataset import Dataset
from lowland.experiments.columns import columns
from lowland.experiments.training import Training, check_training, load_images, training_run
from lowland.measurements.accuracy import Accuracy
from lowland.measurements.class_accuracy import ClassAccuracy
from lowland.measuring.measure import measure
from lowland.report.arms import contrast, gap
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.interval import Interval
from lowland.report.means import mean
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does SAM for the rare classes alone lift them, and what does it cost the others?"

PAPER_TITLE = "Zhou, Qu, Xu, Shen, ImbSAM, ICCV 2023"

SPECS: Mapping[str, str] = {
    "sgd": "sgd",
    "sgd_doubled": "imb_sam:rho=0,tail={tail},tail_weight=2",
    "sam": "sam:rho={rho:g}",
    "imb_sam": "imb_sam:rho={rho:g},tail={tail}",
    "imb_sam_doubled": "imb_sam:rho={rho:g},tail={tail},tail_weight=2",
}
"""How each method is run, given the radius and the rare classes."""

GROUPS = ("many", "medium", "few")

MOST_BARS = 20
"""Classes up to which every interval is drawn as a bar."""

WORSE = 0.5
"""Points of error over all classes that count as no loss."""

PRICE = 1.0
"""Points of error that the frequent classes may lose."""


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        data: A data set with a long tail: ``digits:long_tail=100``, ``cifar10:long_tail=50``.
        train: The most training images to take, before they are thinned.
        rho: Radius of every method that has one, > 0.
        many: A class has many images with more than this share of the most frequent one's, in [0, 1].
        few: A class is rare with less than this share, in [0, 1].
        seeds: Runs of every method, from different initialisations; a verdict needs 3.
    """

    data: str = "digits:long_tail=100"
    train: int = 50_000
    rho: float = 0.1
    many: float = 0.2
    few: float = 0.04
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("seeds", self.seeds)
        at_least("rho", self.rho, 0)
        fraction("many", self.many)
        fraction("few", self.few)
        if self.few > self.many:
            raise ValueError(f"few must be at most many, {self.many}, got {self.few}.")


PAPER = Config(
    data="cifar100:long_tail=100",
    model="resnet:depth=34,width=16",  # the nearest to the paper's ResNet-32
    epochs=200,
    batch=128,
    learning_rate=0.1,
    augment=True,
)

TINY = Config(epochs=2, seeds=3, model="conv:widths=(4,4)")


def cells(config: Config) -> list[Cell]:
    """A run for every method and seed."""
    return [{"method": method, "seed": seed} for method in SPECS for seed in range(config.seeds)]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail.

    Raises:
        ValueError: If no class is rare, or all are.
    """
    data = load_images(config.data, config.train)
    sizes = [len(group) for group in groups(config, data).values()]
    if not sizes[0] or not sizes[-1]:
        raise ValueError(
            f"data must have frequent and rare classes, got {sizes[0]} and {sizes[-1]} in {config.data}. "
            f"Write {config.data.partition(':')[0]}:long_tail=100."
        )
    check_training(config, [spec(config, method, data) for method in SPECS])


def groups(config: Config, data: Dataset) -> dict[str, tuple[int, ...]]:
    """The classes with many, medium and few training images."""
    sizes = data.train.y.bincount(minlength=len(data.classes)).tolist()
    most = max(sizes)
    names = ["many" if n > config.many * most else "few" if n < config.few * most else "medium" for n in sizes]
    return {group: tuple(k for k, name in enumerate(names) if name == group) for group in GROUPS}


def spec(config: Config, method: str, data: Dataset) -> str:
    """How a method is run on this data."""
    return SPECS[method].format(rho=config.rho, tail=groups(config, data)["few"])


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network and measure it, class by class, after the last epoch."""
    data = load_images(config.data, config.train)
    chosen = spec(config, str(cell["method"]), data)
    sizes = data.train.y.bincount(minlength=len(data.classes)).tolist()
    rows = training_run(config, config.recipe(chosen), cell, context, partial(look, config), {config.epochs})
    return [{**row, "spec": chosen, "class_sizes": sizes} for row in rows]


def look(config: Config, model: nn.Module, data: Dataset, final: bool) -> Row:
    """Errors in percent: over all test images, of every class, and of each group that has a class."""
    splits = {"train": in_order(data.train), "test": in_order(data.test)}
    found = measure(model, None, splits, [Accuracy(), ClassAccuracy(on="test")])
    errors = [100 * (1 - each.value) for each in found if each.name == "class_accuracy"]
    by_group = groups(config, data).items()
    means = {f"{group}_error": fmean(errors[k] for k in classes) for group, classes in by_group if classes}
    return {**columns(found), **means, "class_errors": errors}


def lifts(method: str, other: str, rows: Sequence[Row]) -> Effect:
    """How much lower a method's error on the rare classes is."""
    size = contrast(rows, {other: 1, method: -1}, "few_error")
    return Effect.of(f"few: error of {other} less that of {method}", size, "above", unit="points")


def costs(method: str, group: str, bound: float, rows: Sequence[Row]) -> Effect:
    """How much higher a method's error is than SAM's."""
    size = contrast(rows, {method: 1, "sam": -1}, f"{group}_error")
    where = "all classes" if group == "test" else group
    return Effect.of(f"{where}: error of {method} less that of sam", size, "below", bound, unit="points")


CLAIMS = (
    Claim(
        id="imb_sam_lifts_the_few",
        text="ImbSAM has a lower error on the rare classes than SAM.",
        source=f"{PAPER_TITLE}: the few-shot classes of CIFAR-100-LT",
        check=partial(lifts, "imb_sam", "sam"),
    ),
    Claim(
        id="imb_sam_is_no_worse_overall",
        text="ImbSAM's error over all classes is at most half a point above SAM's.",
        source=f"{PAPER_TITLE}: better than SAM over all classes",
        check=partial(costs, "imb_sam", "test", WORSE),
    ),
    Claim(
        id="imb_sam_spares_the_many",
        text="ImbSAM's error on the frequent classes is at most one point above SAM's.",
        source=f"{PAPER_TITLE}: perturbing for frequent classes is what SAM loses by",
        check=partial(costs, "imb_sam", "many", PRICE),
    ),
    Claim(
        id="imb_sam_doubled_lifts_the_few",
        text="ImbSAM as released has a lower error on the rare classes than SAM.",
        source=f"{PAPER_TITLE}: the few-shot classes of CIFAR-100-LT",
        check=partial(lifts, "imb_sam_doubled", "sam"),
    ),
    Claim(
        id="imb_sam_doubled_is_no_worse_overall",
        text="ImbSAM as released's error over all classes is at most half a point above SAM's.",
        source=f"{PAPER_TITLE}: better than SAM over all classes",
        check=partial(costs, "imb_sam_doubled", "test", WORSE),
    ),
    Claim(
        id="imb_sam_doubled_spares_the_many",
        text="ImbSAM as released's error on the frequent classes is at most one point above SAM's.",
        source=f"{PAPER_TITLE}: perturbing for frequent classes is what SAM loses by",
        check=partial(costs, "imb_sam_doubled", "many", PRICE),
    ),
    Claim(
        id="it_is_the_perturbation",
        text="The perturbation lifts the rare classes, not only the factor 2 on their gradient.",
        source="Control of this study: SGD with the factor alone",
        check=partial(lifts, "imb_sam_doubled", "sgd_doubled"),
    ),
    Claim(
        id="imb_sam_beats_sgd_on_the_few",
        text="ImbSAM has a lower error on the rare classes than SGD.",
        source=f"{PAPER_TITLE}: the few-shot classes of CIFAR-100-LT",
        check=partial(lifts, "imb_sam", "sgd"),
    ),
    Claim(
        id="sam_lifts_the_few",
        text="SAM, which perturbs for all classes, has a lower error on the rare classes than SGD.",
        source="Control of this study",
        check=partial(lifts, "sam", "sgd"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error of every class, from the most frequent to the rarest, and beside SGD's."""
    errors = tuple(by_class(rows, method) for method in SPECS)
    less = tuple(by_class(rows, method, "sgd") for method in SPECS if method != "sgd")
    return [
        Figure(
            title="Test error by the frequency of the class",
            panels=(panel("test error (%)", errors, "By class"), panel("points less SGD's", less, "Beside SGD")),
            caption="Left: error of every class. Right: less SGD's from the same seeds; below 0 is better.",
        )
    ]


def panel(label: str, curves: tuple[Curve, ...], title: str) -> Panel:
    """A panel over the classes."""
    spread = "bars" if len(curves[0].x) <= MOST_BARS else "band"
    return Panel(x_label="class, most frequent first", y_label=label, curves=curves, title=title, spread=spread)


def by_class(rows: Sequence[Row], method: str, other: str = "") -> Curve:
    """Errors of the classes, less another method's if one is named."""
    base = {row["seed"]: row for row in rows if row["method"] == other}
    points = []
    for row in (row for row in rows if row["method"] == method):
        lost = row["diverged"] or base.get(row["seed"], {}).get("diverged", False)
        less = base[row["seed"]]["class_errors"] if other and not lost else [0.0] * row["classes"]
        for place, k in enumerate(_most_frequent_first(row), start=1):
            points.append({"place": place, "error": None if lost else row["class_errors"][k] - less[k]})
    return Curve.of(points, method, x="place", y="error")


def _most_frequent_first(row: Row) -> list[int]:
    sizes = row["class_sizes"]
    return sorted(range(len(sizes)), key=lambda k: (-sizes[k], k))


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every method: errors over all classes and of each group, and the differences to SAM."""
    known = [group for group in GROUPS if any(f"{group}_error" in row for row in rows)]
    heads = {"all": "test_error", **{group: f"{group}_error" for group in known}}
    errors = Table(
        title="Errors by group of classes",
        columns=("method", "as run", *(f"{head} (%)" for head in heads)),
        rows=tuple(line(rows, method, heads.values()) for method in SPECS),
        caption="Test errors, means over seeds with 95 % intervals.",
    )
    less = Table(
        title="Errors less SAM's by group of classes",
        columns=("method", *(f"{head} (points)" for head in heads)),
        rows=tuple((m, *(gap(rows, m, "sam", y) for y in heads.values())) for m in SPECS if m != "sam"),
        caption="Paired by seed, 95 % intervals; below 0 is better.",
    )
    return [errors.marked("all (%)"), less]


def line(rows: Sequence[Row], method: str, outcomes: Iterable[str]) -> tuple[str | Interval | None, ...]:
    """A method's line."""
    mine = [row for row in rows if row["method"] == method]
    return (method, mine[0]["spec"], *(mean(mine, outcome) for outcome in outcomes))
