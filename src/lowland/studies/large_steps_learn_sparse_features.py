r"""Do large steps of SGD make the loss hover, and does training longer with them learn sparser features?

With one weight, gradient descent on :math:`(y - \theta^2)^2 / 4` with steps of :math:`a / y` is the smallest case
of a loss that hovers. Above a = 1 it settles on a cycle of two, whose loss
:func:`lowland.theory.stabilised_loss.stabilised_loss` gives exactly; at :math:`\sqrt 5 - 1` the cycle doubles,
then comes chaos, and from a = 2 on it diverges. Starts and y are drawn.

Four kinds of networks are trained with large steps for none, a tenth, three tenths or half of training, and then
with a fifth of them: diagonal networks :math:`\langle u \odot v, x\rangle` with a sparse positive target, students
of ReLU teachers with two and with three layers, all by SGD on single examples; and small convolutional networks on
images, by SGD without momentum or weight decay. Large steps of three layers grow with the root of time, as in the
released code.

That code has step sizes that are tuned to one draw of the data, and diverge on others. Here, for every seed, the
steps of a grid are tried in the longest of these trainings. Survived is what ends with a training loss below a
tenth of that of the best constant answer; a large step is nine tenths of the largest that is survived, and is
survived itself. The rule looks at nothing else. A finite loss would not do: three layers survive ever larger steps
as a constant, with all their units dead.

Compared are the error on fresh data; what is in use (entries of u v above 0.001; in every layer the share of units
that are active on an example and no copies of another, at a correlation of 0.99); and the rank of the Jacobian on
as many fresh inputs as there are weights, to 1e-4 of the largest singular value and not, as in the released code,
to the last bit of float64.

Seen: most of what large steps change is done by the first tenth of training. Half of it with large steps divides
the error of diagonal networks by about 20 and that of three layers by 4, and halves what is in use in both;
between students of two layers seeds differ more than schedules. In convolutional networks it halves the distinct
units that are active in the second and third layer, at a lower training loss, while the error on digits stays at
2 %; but in every seed a few more are active after a half than after three tenths. The loss of diagonal networks
with large steps is far above that of small ones, but in 4 of 5 seeds it goes on falling.

Tried before: a bound of a hundredth, which some students of three layers reach with no step in their 10,000; and
nine tenths of what is survived, survived or not, at which one of 5 convolutional networks died.

Expect 2 minutes on 2 cores. ``--paper`` takes the paper's number of steps, and CIFAR-10 for a wider network with
batch norm, on a GPU; in the paper's ResNet-18 layers have too many units to look for copies among all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from time import perf_counter

from lowland.checks import whole
from lowland.experiments.hovering_weight import hovering_weight
from lowland.experiments.large_step_run import large_step_run
from lowland.experiments.late_decay import LateDecay, check_late_decay, late_decay_run
from lowland.experiments.sparse_target import SPARSE_TARGET, SparseTarget
from lowland.experiments.students import THREE_LAYERS, TWO_LAYERS, Students
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid, IncompleteError
from lowland.report.interval import interval
from lowland.report.means import means
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.theory.stabilised_loss import stabilised_loss
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do large steps make the loss hover, and does more of them learn sparser features?"

ONE, DIAGONAL, TWO, THREE, IMAGES = "one weight", "diagonal", "two layers", "three layers", "convolutional"

NETWORKS = {
    DIAGONAL: "diagonal networks",
    TWO: "students of two layers",
    THREE: "students of three layers",
    IMAGES: "convolutional networks",
}

RATES = (0.9, 1.05, 1.2, 1.23, 1.24, 1.3, 1.6, 1.95, 2.05)
"""Of the model with one weight, :math:`a = \\eta y`."""

SETTLING = (0.9, 1.05, 1.2, 1.23)
"""Those of them at which there is a closed form."""

PHASES = (0.0, 0.1, 0.3, 0.5)
"""Shares of training with large steps."""


@dataclass(frozen=True, kw_only=True)
class Config(LateDecay):
    """Settings of the study; the others are those of convolutional networks.

    Attributes:
        settling: Steps with one weight before its cycle is looked at, at least 100.
        diagonal: What diagonal networks learn.
        two_layers: What students of two layers learn.
        three_layers: What those of three learn; their steps grow, as in the released code.
        seeds: Runs of every setting; a verdict needs 3.
    """

    settling: int = 20_000
    diagonal: SparseTarget = SPARSE_TARGET
    two_layers: Students = TWO_LAYERS
    three_layers: Students = THREE_LAYERS
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("settling", self.settling, 100)
        whole("seeds", self.seeds)


PAPER = Config(
    diagonal=replace(SPARSE_TARGET, steps=100_000),
    data="cifar10",
    model="conv:widths=(16,64,256)",
    train=50_000,
    epochs=100,
    batch=256,
)

TINY = Config(
    settling=100,
    diagonal=replace(SPARSE_TARGET, inputs=6, nonzero=2, examples=5, steps=40),
    two_layers=replace(TWO_LAYERS, student=(3,), steps=40),
    three_layers=replace(THREE_LAYERS, student=(3, 3), steps=40),
    model="conv:widths=(2,2),batch_norm=False",
    train=40,
    epochs=2,
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """One for every regression, with all seeds and settings side by side; for images one for every seed."""
    images = [{"task": IMAGES, "seed": seed} for seed in range(config.seeds)]
    return [*({"task": task} for task in (ONE, DIAGONAL, TWO, THREE)), *images]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    check_late_decay(config)


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """All runs of one task, or of one seed of it."""
    kind, began = str(cell["task"]), perf_counter()
    if kind == ONE:
        found = [hovering_weight(rate, seed, config.settling) for rate in RATES for seed in range(config.seeds)]
    elif kind == IMAGES:
        found = late_decay_run(config, PHASES, int(str(cell["seed"])), context)
    else:
        task = {DIAGONAL: config.diagonal, TWO: config.two_layers, THREE: config.three_layers}[kind]
        found = large_step_run(task, PHASES, config.seeds, context)
    context.timing("training", perf_counter() - began)
    return [{**cell, **row} for row in found]


def settles(rows: Sequence[Row]) -> list[Effect]:
    """Loss of one weight over the closed form, less 1; below the first threshold the loss itself."""
    grid = Grid.of([row for row in rows if row["task"] == ONE and row["rate"] in SETTLING], "off", over="rate")
    off = {rate: interval(grid.column(rate)) for rate in SETTLING}
    return [
        Effect.of(f"a {SETTLING[0]}: loss over y squared", off.pop(SETTLING[0]), "within", 1e-9),
        *(Effect.of(f"a {a}: loss over the closed form, less 1", size, "within", 0.01) for a, size in off.items()),
    ]


def thresholds(rows: Sequence[Row]) -> list[Effect]:
    """Periods around the second threshold, and whether runs stay bounded around the last."""
    mine = [row for row in rows if row["task"] == ONE]
    period = Grid.of([row for row in mine if row["rate"] in (1.23, 1.24)], "period", over="rate")
    bounded = Grid.of(mine, "bounded", over="rate")
    stays = "share of runs that stay bounded"
    return [
        Effect.of("a 1.23: period", interval(period.column(1.23)), "below", 3),
        Effect.of("a 1.24: period", interval(period.column(1.24)), "above", 3),
        Effect.of(f"a 1.95: {stays}", interval(bounded.column(1.95)), "above", 0.5),
        Effect.of(f"a 2.05: {stays}", interval(bounded.column(2.05)), "below", 0.5),
    ]


def hovers(rows: Sequence[Row]) -> list[Effect]:
    """Logarithm of the training loss just before large steps end: above that of small steps, and not falling.

    Raises:
        IncompleteError: If diagonal networks were not trained.
    """
    mine = [row for row in rows if row["task"] == DIAGONAL]
    if not mine:
        raise IncompleteError("Diagonal networks were not trained.")
    early = min(row["done"] for row in mine if row["done"] >= PHASES[-1] / 5)
    late = max(row["done"] for row in mine if row["done"] < PHASES[-1])
    beside = Grid.of([row for row in mine if row["done"] == late], "log_loss", over="phase")
    large = [row for row in mine if row["phase"] == PHASES[-1] and row["done"] in (early, late)]
    above = beside.interval(lambda row: row[-1] - row[0])
    fall = Grid.of(large, "log_loss", over="done").interval(lambda row: row[0] - row[-1])
    return [
        Effect.of("ln training loss, large less small steps", above, "above", math.log(10)),
        Effect.of("its fall from a fifth to the end of large steps", fall, "below", math.log(3)),
    ]


def much(rows: Sequence[Row]) -> list[Effect]:
    """Logarithms of error and entries in use after small steps alone, less those after the most large ones."""
    error = after(DIAGONAL, "log_error", rows).interval(lambda row: row[0] - row[-1])
    entries = after(DIAGONAL, "used/entries", rows).interval(
        lambda row: math.log(max(row[0], 1) / max(row[-1], 1))
    )
    return [
        Effect.of("ln test loss, small less large steps", error, "above", math.log(3)),
        Effect.of("ln entries in use, small less large steps", entries, "above", math.log(1.5)),
    ]


def better(kind: str, rows: Sequence[Row]) -> list[Effect]:
    """The trends of the error on fresh data."""
    return falls(kind, "error", rows)


def sparser(kind: str, rows: Sequence[Row]) -> list[Effect]:
    """The trends of what is in use and of the Jacobian's rank; of images of the former, after the first layer."""
    layers = used(kind, rows)
    names = [*layers, "rank"] if kind != IMAGES else layers[1:] or layers
    return [effect for name in names for effect in falls(kind, name, rows)]


def falls(kind: str, column: str, rows: Sequence[Row]) -> list[Effect]:
    """Spearman correlation of what is learnt and the share of training with large steps, and its worst step.

    One jump from none to some makes a correlation, and says nothing about how long: the second effect is the
    largest change from one share above 0 to the next.
    """
    some = after(kind, column, [row for row in rows if row.get("phase")])
    worst = some.interval(lambda row: max(longer - less for less, longer in pairwise(row)))
    return [
        Effect.of(f"{called(column)} against share of large steps", trend(after(kind, column, rows)), "below"),
        Effect.of(f"{called(column)}: largest change from a share above 0 to the next", worst, "below"),
    ]


def after(kind: str, column: str, rows: Sequence[Row]) -> Grid:
    """What is learnt, by phase and seed."""
    return Grid.of(ends(kind, rows), column, over="phase")


def ends(kind: str, rows: Sequence[Row]) -> list[Row]:
    """Of every phase and seed the row after training, or one that says that it diverged."""
    mine = [row for row in rows if row["task"] == kind and (row["final"] or row["diverged"])]
    return list({(row["phase"], row["seed"]): row for row in mine}.values())


def used(kind: str, rows: Sequence[Row]) -> list[str]:
    """The columns of what is in use, by layer; a made-up one if all runs diverged."""
    names = dict.fromkeys(name for row in ends(kind, rows) for name in row if name.startswith("used/"))
    return list(names) or ["used"]


def called(column: str) -> str:
    """A column in words."""
    return NAMES.get(column, column.replace("used/", "in use, "))


NAMES = {
    "large": "large step",
    "log_loss": "ln training loss",
    "error": "error on fresh data",
    "rank": "rank of the Jacobian",
}

PAPER_OF = "Andriushchenko, Varre, Pillaud-Vivien, Flammarion, ICML 2023"


def both(kind: str, ids: tuple[str, str], fewer: str) -> tuple[Claim, Claim]:
    """The claims about error and sparsity of one kind of network."""
    source = f"{PAPER_OF}, {NETWORKS[kind]}"
    lower, fewer = (
        f"The longer {NETWORKS[kind]} are trained with large steps, the {text}."
        for text in ("lower their error on fresh data", f"fewer {fewer}")
    )
    return (
        Claim(id=ids[0], text=lower, source=source, check=partial(better, kind)),
        Claim(id=ids[1], text=fewer, source=source, check=partial(sparser, kind)),
    )


RANK = "and the lower is the rank of the Jacobian"

CLAIMS = (
    Claim(
        id="one_weight_hovers_where_theory_says",
        text="With one weight, and a for step size times target, the loss vanishes below a = 1, and above hovers "
        "where the closed form says.",
        source=f"{PAPER_OF}, model of loss stabilisation; the level is derived here",
        check=settles,
    ),
    Claim(
        id="one_weight_has_its_thresholds",
        text="With one weight, and a for step size times target, the cycle of the loss doubles between a = 1.23 "
        "and 1.24, and training diverges between 1.95 and 2.05.",
        source="Derived here: the square root of 5 less 1, and 2",
        check=thresholds,
    ),
    Claim(
        id="the_loss_stabilises",
        text="While steps are large, the loss of diagonal networks hovers: ten times above that of small steps, "
        "and less than a factor of 3 lower at the end of that time than after a fifth of it.",
        source=f"{PAPER_OF}, loss stabilisation",
        check=hovers,
    ),
    *both(DIAGONAL, ("longer_generalises_better", "longer_is_sparser"), f"entries are in use, {RANK}"),
    Claim(
        id="by_much",
        text="In diagonal networks half of training with large steps divides the error by at least 3, and the "
        "entries in use by at least 1.5.",
        source="Bounds of this study",
        check=much,
    ),
    *both(TWO, ("students_generalise_better", "students_are_sparser"), f"distinct units are active, {RANK}"),
    *both(
        THREE,
        ("three_layers_generalise_better", "three_layers_are_sparser"),
        f"distinct units are active in either hidden layer, {RANK}",
    ),
    *both(
        IMAGES,
        ("convolutions_generalise_better", "convolutions_are_sparser"),
        "distinct units are active in every layer but the first",
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The level at which one weight hovers, losses over training, and what is learnt."""
    hovering = "Mean loss over y squared in the long run, against the size of a step times y."
    ending = "Large steps end after the share of training shown."
    after_all = "After training. In use of a layer: units that are active on an example and no copies of another."
    return [
        Figure(title="Where the loss of one weight hovers", panels=(levels(rows),), caption=hovering),
        Figure(title="Training loss", panels=tuple(course(rows, kind) for kind in NETWORKS), caption=ending),
        *(
            Figure(title=f"What {NETWORKS[kind]} learn", panels=panels(rows, kind), caption=after_all)
            for kind in NETWORKS
        ),
    ]


def levels(rows: Sequence[Row]) -> Panel:
    """Measured level and closed form against the step, where it stays bounded."""
    mine = [row for row in rows if row["task"] == ONE and row["level"] is not None]
    xs = [1 + i * 0.0235 for i in range(11)]
    closed = Curve(label="closed form", x=tuple(xs), values=tuple((stabilised_loss(x),) for x in xs))
    measured = Curve.of(mine, "measured", x="rate", y="level")
    return Panel(x_label="step times y", y_label="loss over y squared", curves=(measured, closed))


def course(rows: Sequence[Row], kind: str) -> Panel:
    """A curve for every share of large steps."""
    mine = [row for row in rows if row["task"] == kind]
    curves = [Curve.of(mine, f"{p:.0%}", x="done", y="log_loss", where={"phase": p}) for p in PHASES]
    return Panel(
        x_label="share of training done",
        y_label="ln training loss",
        curves=tuple(curves),
        title=kind,
        palette="ordered",
        spread="band",
    )


def panels(rows: Sequence[Row], kind: str) -> tuple[Panel, ...]:
    """Error, what is in use and rank of one kind of network, against the share of training with large steps."""
    image = kind == IMAGES
    columns = {"test error (%)": ["error"]} if image else {"ln error on fresh data": ["log_error"]}
    columns |= {"entries in use" if kind == DIAGONAL else "share of units in use": used(kind, rows)} | (
        {} if image else {"rank of the Jacobian": ["rank"]}
    )
    return tuple(
        Panel(
            x_label="share with large steps",
            y_label=label,
            curves=tuple(Curve.of(ends(kind, rows), called(name), x="phase", y=name) for name in names),
            title=label,
            x_scale="even",
        )
        for label, names in columns.items()
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """Of every kind of network a line for every share of large steps; and what the released notebooks show."""
    return [*(learnt(rows, kind) for kind in NETWORKS), PUBLISHED, PUBLISHED_DEEP]


def learnt(rows: Sequence[Row], kind: str) -> Table:
    """What one kind of network learns."""
    columns = ["large", "log_loss", "error", *used(kind, rows), *(["rank"] if kind != IMAGES else [])]
    return means(
        ends(kind, rows),
        f"What {NETWORKS[kind]} learn",
        by={"share of large steps": "phase"},
        of={called(column): column for column in columns},
        caption="Means over seeds, 95 % intervals. Small steps are a fifth of large ones. The error is a mean "
        "square, of images a percentage.",
    )


PUBLISHED = Table(
    title="Published: toy networks by share of large steps",
    columns=("network", "measured", "small steps", "10 %", "30 %", "50 %"),
    rows=(
        ("diagonal", "test loss", 3.5e-3, 6.6e-4, 2.8e-4, 1.5e-4),
        ("diagonal", "entries above 1e-50", 200, 156, 89, 71),
        ("two layers", "test loss", 6.1e-4, 1.6e-4, 1.4e-4, 5.4e-5),
        ("two layers", "norm of the weights", 3.31, 2.63, 2.60, 2.59),
        ("three layers", "test loss", 0.061, 0.032, 0.025, 0.021),
        ("three layers", "active in layer 1 (%)", 57, 47.6, 37.8, 34),
        ("three layers", "active in layer 2 (%)", 46.6, 31.2, 25.2, 18.2),
    ),
    caption="As recorded in the notebooks of tml-epfl/sgd-sparse-features, one run each, steps tuned to its data "
    "and different for every schedule.",
)

PUBLISHED_DEEP = Table(
    title="Published: ResNet-18 on CIFAR-10 by share of large steps",
    columns=("measured", "small steps", "10 %", "30 %", "50 %"),
    rows=(
        ("test error (%)", 14.29, 10.13, 6.58, 5.61),
        ("active without copies, block 1", 0.70, 0.69, 0.72, 0.72),
        ("active without copies, block 2", 0.70, 0.68, 0.59, 0.55),
        ("active without copies, block 3", 0.78, 0.75, 0.66, 0.54),
        ("active without copies, block 4", 0.66, 0.58, 0.47, 0.46),
        ("active without copies, pooled", 0.99, 0.96, 0.77, 0.63),
    ),
    caption="As recorded in the same notebooks: momentum, augmentation and weight decay; steps of 0.002, or of "
    "0.05 divided by 10 after the share shown.",
)
