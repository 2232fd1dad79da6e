r"""Do large steps of SGD make the loss hover, and does training longer with them learn sparser features?

With one weight, gradient descent on :math:`(y - \theta^2)^2 / 4` with steps of :math:`a / y` is the smallest case
of a loss that hovers. Above a = 1 it settles on a cycle of two, whose loss
:func:`lowland.theory.stabilised_loss.stabilised_loss` gives exactly; at :math:`\sqrt 5 - 1` the cycle doubles,
then comes chaos, and from a = 2 on it diverges. Starts and y are drawn.

Diagonal networks :math:`\langle u \odot v, x\rangle` with a sparse positive target, and ReLU students of a
teacher with three units, are trained by SGD on single examples, with large steps for none, a tenth, three tenths
or half of training, and then with small ones. The released code has step sizes that are tuned to one draw of the
data, and diverge on others. Here, for every seed, the steps of a grid are tried over half of training; a large
step is the one below the largest that is survived, nine tenths of it, and a small one a fifth of that. Compared
are the error on fresh data, what is in use (entries of u v above 0.001; the share of units that are active on an
example and no copies of another), and the rank of the Jacobian on fresh inputs, to 1e-4 of the largest singular
value and not, as in the released code, to the last bit of float64.

Seen: diagonal networks generalise better and get sparser, mostly by the first tenth with large steps. Their loss
is then far above that of small steps, but goes on falling slowly: with steps that are survived by rule it does not
stand still. In students the differences between seeds are larger than those between schedules.

Left out are three layers, where the same rule left about 1 % of the units active and the loss stuck: what is
survived need not be learnt. And deep networks.

Expect a minute on 2 cores. ``--paper`` takes the paper's number of steps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from time import perf_counter

import torch
from torch import Tensor, nn

from lowland.checks import whole
from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.measurements.jacobian_rank import JacobianRank
from lowland.measuring.measure import measure
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid, IncompleteError
from lowland.report.interval import Interval, interval, paired
from lowland.report.shape import trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.runs.large_steps import Regression, large_step, network, trained
from lowland.seeds import derive, generator
from lowland.theory.stabilised_loss import stabilised_loss
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do large steps make the loss hover, and does more of them learn sparser features?"

ONE, DIAGONAL, STUDENTS = "one weight", "diagonal", "two layers"

RATES = (0.9, 1.05, 1.2, 1.23, 1.24, 1.3, 1.6, 1.95, 2.05)
"""Of the model with one weight, :math:`a = \\eta y`."""

CYCLING = (1.05, 1.2, 1.23)
"""Those of them with a cycle of two."""

PHASES = (0.0, 0.1, 0.3, 0.5)
"""Shares of training with large steps."""

SMALL = 0.2
"""A small step over a large one."""

IN_USE = 1e-3
"""Size from which an entry of u v is in use."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        settling: Steps with one weight before its cycle is looked at, at least 100.
        steps: Of diagonal networks, at least 40.
        inputs: Of diagonal networks.
        examples: Of diagonal networks.
        nonzero: Entries of their target that are not 0.
        student_steps: Of students, at least 40.
        width: Units of a student.
        seeds: Runs of every setting; a verdict needs 3.
    """

    settling: int = 20_000
    steps: int = 40_000
    inputs: int = 200
    examples: int = 80
    nonzero: int = 20
    student_steps: int = 14_000
    width: int = 20
    seeds: int = 5

    def __post_init__(self) -> None:
        for name in ("examples", "nonzero", "width", "seeds"):
            whole(name, getattr(self, name))
        whole("settling", self.settling, 100)
        whole("inputs", self.inputs, self.nonzero)
        whole("steps", self.steps, 40)
        whole("student_steps", self.student_steps, 40)


PAPER = Config(steps=100_000)

TINY = Config(settling=100, steps=40, inputs=6, examples=5, nonzero=2, student_steps=40, width=3, seeds=3)


def cells(config: Config) -> list[Cell]:
    """One for every task, with all seeds and settings side by side."""
    return [{"task": task} for task in (ONE, DIAGONAL, STUDENTS)]


def check(config: Config) -> None:
    """Nothing can be wrong beyond what the settings refuse."""


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """All runs of one task."""
    began = perf_counter()
    if cell["task"] == ONE:
        found = [one_weight(config, rate, seed) for rate in RATES for seed in range(config.seeds)]
    else:
        found = regressions(task(config, str(cell["task"])), config.seeds, context)
    context.timing("training", perf_counter() - began)
    return [{**cell, **row} for row in found]


def one_weight(config: Config, rate: float, seed: int) -> Row:
    """Where gradient descent from a random start settles: its mean loss over y squared, and its period up to 16.

    The period is 0 where there is none; a run that grew beyond 100 did not stay bounded.
    """
    target, theta = (0.5 + torch.rand(2, generator=generator(seed, "one weight"), dtype=torch.float64)).tolist()
    theta *= math.sqrt(target)
    seen: list[float] = []
    for step in range(config.settling + 64):
        if abs(theta) > 100:
            return {"rate": rate, "seed": seed, "bounded": 0.0, "level": None, "period": None, "diverged": False}
        seen += [theta] if step >= config.settling else []
        theta += rate / target * theta * (target - theta**2)
    level = fmean((1 - each**2 / target) ** 2 / 4 for each in seen)
    period = next((p for p in range(1, 17) if abs(seen[-1] - seen[-1 - p]) < 1e-9), 0)
    return {"rate": rate, "seed": seed, "bounded": 1.0, "level": level, "period": period, "diverged": False}


def task(config: Config, kind: str) -> Regression:
    """What one kind of network learns."""
    if kind == DIAGONAL:
        return Regression(
            kind=DIAGONAL,
            inputs=config.inputs,
            examples=config.examples,
            teacher=config.nonzero,
            steps=config.steps,
        )
    return Regression(
        kind=STUDENTS, inputs=2, examples=15, teacher=3, width=config.width, steps=config.student_steps
    )


def regressions(task: Regression, count: int, context: Context) -> list[Row]:
    """Rows of every phase and seed at 20 looks, the last of them with what was learnt."""
    seeds = [derive(seed, "large steps") for seed in range(count)]
    large = large_step(task, seeds, task.steps // 2, context.device)
    small = SMALL * large
    long = torch.tensor(PHASES)[:, None] * task.steps
    early = (torch.arange(task.steps)[:, None, None] < long).double()
    etas = early * large + (1 - early) * small
    x, y = (torch.stack(part) for part in zip(*(task.data(seed)[:2] for seed in seeds), strict=True))
    x, y = (part.repeat(len(PHASES), *[1] * (part.ndim - 1)).to(context.device) for part in (x, y))
    rows: list[Row] = []
    for step, weights in trained(task, seeds, etas, context.device):
        if step % (task.steps // 20):
            continue
        context.progress(step / task.steps)
        with torch.no_grad():
            losses = (task.answers(weights, x) - y).square().mean(1).tolist()
        for at, loss in enumerate(losses):
            phase, seed = PHASES[at // count], at % count
            facts = {
                "phase": phase,
                "seed": seed,
                "step": step,
                "final": step == task.steps,
                "large": float(large[seed]),
            }
            if not math.isfinite(loss):
                rows.append({**facts, "diverged": True})
                continue
            own = [weight[at] for weight in weights]
            more = learnt(task, own, seeds[seed]) if facts["final"] else {}
            rows.append({**facts, "diverged": False, "train_loss": loss, "log": math.log(loss), **more})
    return rows


def learnt(task: Regression, weights: Sequence[Tensor], seed: int) -> Row:
    """Error on fresh data, what is in use, and the rank of the Jacobian on as many inputs as there are weights."""
    model = network(task, [weight.detach() for weight in weights])
    x, _, fresh, targets = (part.to(weights[0].device) for part in task.data(seed))
    with torch.no_grad():
        error = (model(fresh)[:, 0] - targets).square().mean().item()
    parameters = sum(p.numel() for p in model.parameters())
    splits = {"train": [(x, x)], "fresh": [(fresh[:parameters], targets[:parameters, None])]}
    ranks = measure(model, nn.functional.mse_loss, splits, JacobianRank(on="fresh", examples=parameters))
    rank = next(reading.value for reading in ranks if reading.name == "jacobian_rank")
    return {
        "test_loss": error,
        "log_test": math.log(error),
        "rank": rank,
        "used": in_use(task, model, splits["train"]),
    }


def in_use(task: Regression, model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> float:
    """Entries of u v that are not about 0; or the share of units that are active on an example and no copies."""
    if task.kind == DIAGONAL:
        u, v = model.parameters()
        return float(((u * v).abs() > IN_USE).sum())
    found = measure(model, None, data, ActivationSparsity(duplicates=0.99, layers="1"))
    values = {reading.name: reading.value for reading in found}
    return values["distinct_density"] * (1 - values["duplicate_units"] / task.width)


def settles(rows: Sequence[Row]) -> list[Effect]:
    """Loss of one weight over the closed form, less 1; below the first threshold the loss itself."""
    mine = [{**row, "off": off(row)} for row in rows if row["task"] == ONE and row["rate"] in (RATES[0], *CYCLING)]
    grid = Grid.of(mine, "off", over="rate")
    return [
        Effect.of(f"a {RATES[0]:g}: loss over y squared", interval(grid.column(RATES[0])), "within", 1e-9),
        *(
            Effect.of(
                f"a {rate:g}: loss over the closed form, less 1", interval(grid.column(rate)), "within", 0.01
            )
            for rate in CYCLING
        ),
    ]


def off(row: Row) -> float | None:
    """How far from the closed form, relative to it where it is not 0."""
    if row["level"] is None:
        return None
    level = stabilised_loss(row["rate"])
    return row["level"] / level - 1 if level else row["level"]


def thresholds(rows: Sequence[Row]) -> list[Effect]:
    """Periods around the second threshold, and whether runs stay bounded around the last."""
    mine = [row for row in rows if row["task"] == ONE]
    period = Grid.of([row for row in mine if row["rate"] in (1.23, 1.24)], "period", over="rate")
    bounded = Grid.of(mine, "bounded", over="rate")
    return [
        Effect.of("a 1.23: period", interval(period.column(1.23)), "below", 3),
        Effect.of("a 1.24: period", interval(period.column(1.24)), "above", 3),
        Effect.of("a 1.95: share of runs that stay bounded", interval(bounded.column(1.95)), "above", 0.5),
        Effect.of("a 2.05: share of runs that stay bounded", interval(bounded.column(2.05)), "below", 0.5),
    ]


def hovers(rows: Sequence[Row]) -> list[Effect]:
    """Logarithm of the training loss just before large steps end: above that of small steps, and not falling.

    Raises:
        IncompleteError: If diagonal networks were not trained.
    """
    mine = [row for row in rows if row["task"] == DIAGONAL]
    if not mine:
        raise IncompleteError("Diagonal networks were not trained.")
    end = PHASES[-1] * max(row["step"] for row in mine)
    early = min(row["step"] for row in mine if row["step"] >= end / 5)
    late = max(row["step"] for row in mine if row["step"] < end)
    beside = Grid.of([row for row in mine if row["step"] == late], "log", over="phase")
    large = [row for row in mine if row["phase"] == PHASES[-1]]
    course = Grid.of([row for row in large if row["step"] in (early, late)], "log", over="step")
    above = difference(beside, PHASES[-1], 0.0)
    fall = difference(course, early, late)
    return [
        Effect.of("ln training loss, large less small steps", above, "above", math.log(10)),
        Effect.of("its fall from a fifth to the end of large steps", fall, "below", math.log(3)),
    ]


def falls(kind: str, quantity: str, label: str, rows: Sequence[Row]) -> Effect:
    """Spearman correlation of a quantity and the share of training with large steps."""
    return Effect.of(f"{label} against share of large steps", trend(after(kind, quantity, rows)), "below")


def sparser(kind: str, rows: Sequence[Row]) -> list[Effect]:
    """Both trends of what is learnt."""
    return [falls(kind, "used", "in use", rows), falls(kind, "rank", "rank of the Jacobian", rows)]


def much(rows: Sequence[Row]) -> list[Effect]:
    """Small steps alone against half of training with large ones: error on fresh data, and entries in use."""
    test = after(DIAGONAL, "log_test", rows)
    used = after(DIAGONAL, lambda row: math.log(max(row["used"], 1.0)), rows)
    return [
        Effect.of("ln test loss, small less large steps", difference(test, 0.0, PHASES[-1]), "above", math.log(3)),
        Effect.of(
            "ln entries in use, small less large", difference(used, 0.0, PHASES[-1]), "above", math.log(1.5)
        ),
    ]


def after(kind: str, quantity: str | Callable[[Row], float], rows: Sequence[Row]) -> Grid:
    """A quantity after training, by phase and seed.

    Raises:
        IncompleteError: If no seed has all phases.
    """
    mine = [row for row in rows if row["task"] == kind and (row["final"] or row["diverged"])]
    ends = {(row["phase"], row["seed"]): row for row in mine}
    return Grid.of(ends.values(), quantity, over="phase")


def difference(grid: Grid, first: float, second: float) -> Interval:
    """Of two columns, seed by seed, with the grid's doubt."""
    return replace(paired(grid.column(first), grid.column(second)), doubt=grid.doubt)


PAPER_OF = "Andriushchenko, Varre, Pillaud-Vivien, Flammarion, ICML 2023"

CLAIMS = (
    Claim(
        id="one_weight_hovers_where_theory_says",
        text="With one weight the loss vanishes below a = 1, and above hovers where the closed form says.",
        source=f"{PAPER_OF}, model of loss stabilisation; the level is derived here",
        check=settles,
    ),
    Claim(
        id="one_weight_has_its_thresholds",
        text="The cycle doubles between a = 1.23 and 1.24, and training diverges between 1.95 and 2.05.",
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
    Claim(
        id="longer_generalises_better",
        text="The longer diagonal networks are trained with large steps, the lower their error on fresh data.",
        source=f"{PAPER_OF}, diagonal networks",
        check=partial(falls, DIAGONAL, "test_loss", "test loss"),
    ),
    Claim(
        id="longer_is_sparser",
        text="The longer, the fewer entries are in use, and the lower is the rank of the Jacobian.",
        source=f"{PAPER_OF}, diagonal networks",
        check=partial(sparser, DIAGONAL),
    ),
    Claim(
        id="by_much",
        text="Half of training with large steps divides the error by at least 3, entries in use by at least 1.5.",
        source="Bounds of this study",
        check=much,
    ),
    Claim(
        id="students_generalise_better",
        text="The longer ReLU students are trained with large steps, the lower their error on fresh data.",
        source=f"{PAPER_OF}, two-layer teacher and student",
        check=partial(falls, STUDENTS, "test_loss", "test loss"),
    ),
    Claim(
        id="students_are_sparser",
        text="The longer, the fewer distinct units are active, and the lower is the rank of the Jacobian.",
        source=f"{PAPER_OF}, two-layer teacher and student",
        check=partial(sparser, STUDENTS),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The level at which one weight hovers, losses of both networks over training, and what they learn."""
    return [
        Figure(
            title="Where the loss of one weight hovers",
            panels=(levels(rows),),
            caption="Mean loss over y squared in the long run, against the size of a step times y.",
        ),
        Figure(
            title="Training loss",
            panels=tuple(over_training(rows, kind) for kind in (DIAGONAL, STUDENTS)),
            caption="Mean squared error on the training examples. Large steps end after the share shown.",
        ),
        Figure(
            title="What is learnt",
            panels=tuple(
                against_phase(rows, kind, quantity)
                for kind in (DIAGONAL, STUDENTS)
                for quantity in ("log_test", "used", "rank")
            ),
            caption="After training, against the share of training with large steps.",
        ),
    ]


def levels(rows: Sequence[Row]) -> Panel:
    """Measured level and closed form against the step, where it stays bounded."""
    mine = [row for row in rows if row["task"] == ONE and row["level"] is not None]
    xs = [1 + i * 0.0235 for i in range(11)]
    closed = Curve(label="closed form", x=tuple(xs), values=tuple((stabilised_loss(x),) for x in xs))
    return Panel(
        x_label="step times y",
        y_label="loss over y squared",
        curves=(Curve.of(mine, "measured", x="rate", y="level"), closed),
    )


def over_training(rows: Sequence[Row], kind: str) -> Panel:
    """A curve for every share of large steps."""
    mine = [row for row in rows if row["task"] == kind]
    curves = [Curve.of(mine, f"{phase:.0%}", x="step", y="log", where={"phase": phase}) for phase in PHASES]
    return Panel(
        x_label="step",
        y_label="ln training loss",
        curves=tuple(curves),
        title=kind,
        palette="ordered",
        spread="band",
    )


NAMES = {"log_test": "ln test loss", "used": "in use", "rank": "rank of the Jacobian"}


def against_phase(rows: Sequence[Row], kind: str, quantity: str) -> Panel:
    """One quantity after training."""
    mine = [row for row in rows if row["task"] == kind and row["final"]]
    curve = Curve.of(mine, kind, x="phase", y=quantity)
    return Panel(
        x_label="share of training with large steps",
        y_label=NAMES[quantity],
        curves=(curve,),
        title=f"{kind}: {NAMES[quantity]}",
        x_scale="even",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every share of large steps, and what the released notebooks show."""
    mine = [row for row in rows if row["task"] != ONE and row["final"]]
    lines = [
        (kind, phase, *(mean(mine, kind, phase, name) for name in ("large", "train_loss", *NAMES)))
        for kind in (DIAGONAL, STUDENTS)
        for phase in PHASES
    ]
    ours = Table(
        title="What is learnt",
        columns=("network", "share of large steps", "large step", "training loss", *NAMES.values()),
        rows=tuple(lines),
        caption="Means over seeds, 95 % intervals. In use: entries of u v above 0.001; or the share of units that "
        "are active on an example and no copies of another. Rank: on as many fresh inputs as there are weights.",
    )
    return [ours, PUBLISHED, PUBLISHED_DEEP]


def mean(rows: Sequence[Row], kind: str, phase: float, column: str) -> Interval | None:
    """Over the seeds that did not diverge; None if all did."""
    return Curve.of(rows, kind, x="phase", y=column, where={"task": kind, "phase": phase}).intervals[0]


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
