"""Does sharpness-aware minimisation switch hidden units off, one after the other, and so lower the rank?

A student with one hidden layer of 100 units learns 20 points from a teacher with 3 units, one point in every
step. SAM takes the first half of the 19,953 steps and plain SGD the rest, so that what is counted is a network
that fits its points. Counted are, on the 20 points: the rank of the hidden layer, as the number of singular
values that hold 99.99 % of its energy; the units that are active on any point; and those that are left when
copies of others are dropped (correlation above 0.999). ReLU, the absolute value and tanh, each with the paper's
learning rate and radii; and, for ReLU, a penalty on the norm of the step's gradient, which is SAM to first
order, in SAM's place.

All is as in the authors' notebook (features are not centred), but that theirs is a single seed: here every seed
has its own teacher, points, student and order of points, the same for every radius. Units of abs and tanh count
as active beyond 0.05 in magnitude, and copies are looked for among those.

For ReLU there is a closed form of what SAM does to a unit (:mod:`lowland.theory.sam_two_layer`): beyond fitting,
it pulls the pre-activations of active units down, and never up. It is to first order in rho; against autograd
its error must fall with the square of rho.

In a trial before this study, with other seeds, ranks and units of the ReLU runs reproduced, but for one of 25 runs
that ended in nan at rho 0.4; the test loss did not: it rose from 0.004 to 0.028, where the paper's is lowest in
the middle. A run that diverges is a row that says so, and its setting then carries no verdict.

Expect 2 minutes on 2 cores: every grid of seeds and radii trains as one batched network. The settings are the
paper's own size; ``--paper`` has 30 seeds in place of 10.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import linear_regression, median
from typing import Literal

from lowland.checks import one_of, whole
from lowland.engine.method import Method
from lowland.experiments.first_order import errors_within_reach
from lowland.experiments.student_look import LARGE, POSITIVE, student_look
from lowland.experiments.teacher_student import Lesson, Task, train
from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.methods.gradient_penalty import GradientPenalty
from lowland.methods.sam import SAM
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid, IncompleteError
from lowland.report.means import means
from lowland.report.panels import curves_by
from lowland.report.shape import dip, trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does SAM switch hidden units off, so that features lose rank, whatever the activation?"

PAPER_TITLE = "Andriushchenko, Bahri, Mobahi, Flammarion, NeurIPS 2023"

FALLS = -0.5
"""A quantity falls with rho if its rank correlation with rho is below this."""

LOST = 1e6
"""A run whose loss was ever beyond this has diverged, also if it came back with all units dead."""

CLOSED_FORM = "closed form"
RADII = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Of the closed form, which is for small ones."""


@dataclass(frozen=True)
class Arm:
    """One of the paper's settings.

    Attributes:
        title: What a reader is told.
        task: What is learnt, and how.
        rhos: Radii, or strengths of the penalty.
        units: How units are counted.
        published: What the authors' notebook prints (seed 4), a value for every rho.
        method: What is tried.
    """

    title: str
    task: Task
    rhos: tuple[float, ...]
    units: ActivationSparsity
    published: Mapping[str, tuple[float, ...]]
    method: type[SAM] | type[GradientPenalty] = SAM


STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.35, 0.38)
OF_RELU = {
    "rank": (19, 18, 15, 9, 4),
    "active": (77, 68, 58, 35, 10),
    "distinct": (75, 44, 25, 14, 8),
    "train_loss": (3.8e-6, 1.6e-6, 6.8e-6, 3.3e-4, 1.8e-3),
    "test_loss": (0.0147, 0.0089, 0.0060, 0.0102, 0.0083),
}
OF_ABS = {
    "rank": (18, 18, 16, 12, 8),
    "active": (100, 99, 94, 84, 49),
    "distinct": (99, 95, 58, 26, 15),
    "train_loss": (5.8e-5, 4.5e-5, 7.0e-5, 1.9e-4, 2.7e-3),
    "test_loss": (0.0399, 0.0113, 0.0206, 0.0135, 0.0143),
}
OF_TANH = {"rank": (17, 16, 12, 6, 3), "active": (100, 99, 67, 11, 4), "distinct": (94, 96, 47, 12, 5)}
OF_PENALTY = {
    "rank": (19, 18, 16, 13, 14, 6),
    "active": (77, 76, 60, 39, 40, 12),
    "distinct": (75, 60, 33, 24, 22, 9),
}

TASKS = {
    "abs": Task(activation="abs", learning_rate=0.01),
    "tanh": Task(activation="tanh", learning_rate=0.005, scale=1.0),
}
ARMS = {
    "relu": Arm("ReLU", Task(), (0.0, 0.1, 0.2, 0.4, 0.6), POSITIVE, OF_RELU),
    "abs": Arm("absolute value", TASKS["abs"], (0.0, 0.1, 0.2, 0.3, 0.4), LARGE, OF_ABS),
    "tanh": Arm("tanh", TASKS["tanh"], (0.0, 0.2, 0.4, 0.6, 0.8), LARGE, OF_TANH),
    "penalty": Arm("gradient penalty", Task(), STRENGTHS, POSITIVE, OF_PENALTY, GradientPenalty),
}
"""What is tried, and what was published of it."""

ACTIVATIONS = ("relu", "abs", "tanh")
"""Where SAM trains."""

COLUMNS = ("rank", "active", "distinct", "train_loss", "test_loss")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study; radii and learning rates are the paper's.

    Attributes:
        arms: Which settings: ``relu``, ``abs``, ``tanh``, ``penalty``.
        width: Units of the student.
        examples: Points to learn, at least 2.
        tests: Fresh points.
        steps: Of every run.
        looks: How often a run is looked at, evenly spread in the logarithm of the step, the last time at its end.
        seeds: Runs of every setting; a verdict needs 3.
    """

    arms: tuple[str, ...] = ("relu", "abs", "tanh", "penalty")
    width: int = 100
    examples: int = 20
    tests: int = 1000
    steps: int = 19_953
    looks: int = 10
    seeds: int = 10

    def __post_init__(self) -> None:
        for arm in self.arms:
            one_of("arms", arm, ARMS)
        for name in ("width", "tests", "looks", "seeds"):
            whole(name, getattr(self, name))
        whole("examples", self.examples, 2)
        whole("steps", self.steps, self.looks)


PAPER = Config(seeds=30)

TINY = Config(width=6, examples=5, tests=10, steps=12, looks=2, seeds=3)


def cells(config: Config) -> list[Cell]:
    """A grid of radii and seeds for every setting, trained as one; and the closed form."""
    return [*({"arm": arm} for arm in config.arms), {"arm": CLOSED_FORM}]


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """All runs of one setting: a row for each at every look."""
    name = str(cell["arm"])
    if name == CLOSED_FORM:
        return [row for seed in range(config.seeds) for row in compared(config, seed)]
    arm, device = ARMS[name], context.device
    task = task_of(config, arm)
    lessons = [Lesson.of(task, seed, device) for seed in range(config.seeds)]
    facts = [{"arm": name, "rho": rho, "seed": seed} for rho in arm.rhos for seed in range(config.seeds)]
    methods: list[Method] = [arm.method(rho=fact["rho"]) for fact in facts]
    rows = []
    for step, students, worst in train(task, lessons * len(arm.rhos), methods, task.looks(config.looks)):
        context.progress(step / config.steps)
        told = {"step": step, "final": step == config.steps}
        for at, fact in enumerate(facts):
            sound = worst[at].item() < LOST
            look = student_look(students.unstack(at), lessons[fact["seed"]], arm.units) if sound else {}
            rows.append({**fact, **told, "diverged": not sound, **look})
    return rows


def task_of(config: Config, arm: Arm) -> Task:
    """What a setting's students learn."""
    return replace(arm.task, width=config.width, examples=config.examples, tests=config.tests, steps=config.steps)


def compared(config: Config, seed: int) -> list[Row]:
    """How far SAM's gradient of a ReLU student is from the plain one and from the closed form, for small radii."""
    found = errors_within_reach(Lesson.of(task_of(config, ARMS["relu"]), seed), RADII)
    facts = {"arm": CLOSED_FORM, "seed": seed, "step": 0, "final": True, "diverged": False}
    return [{**facts, "rho": rho, **sizes} for rho, sizes in found.items()]


def arms(rows: Sequence[Row]) -> list[str]:
    """The settings that were trained, in their order."""
    return [arm for arm in ARMS if any(row["arm"] == arm for row in rows)]


def final(rows: Sequence[Row], arm: str) -> list[Row]:
    """The last rows of a setting's runs."""
    return [row for row in rows if row["arm"] == arm and row["final"]]


def tried(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Those of some settings that were trained.

    Raises:
        IncompleteError: If none was.
    """
    found = [arm for arm in arms(rows) if arm in names]
    if not found:
        raise IncompleteError(f"Not tried: {', '.join(ARMS[name].title for name in names)}.")
    return found


def correlations(
    quantities: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Row],
    side: Literal["above", "below"] = "below",
    bound: float = FALLS,
) -> list[Effect]:
    """Rank correlations of quantities with rho, seed by seed."""
    grids = {(arm, name): Grid.of(final(rows, arm), name) for arm in tried(names, rows) for name in quantities}
    return [
        Effect.of(f"{ARMS[arm].title}: rank correlation of {name} and rho", trend(grid), side, bound)
        for (arm, name), grid in grids.items()
    ]


def best_in_the_middle(rows: Sequence[Row]) -> list[Effect]:
    """How many decades of test loss the best interior radius gains on none and on the largest."""
    effects = []
    for arm in tried(ACTIVATIONS, rows):
        found = dip(Grid.of(final(rows, arm), lambda row: decades(row["test_loss"])))
        chosen = ", ".join(f"{rho:g}" for rho in sorted(set(found.chosen)))
        sizes = {"gain over rho 0": found.fall, "loss at the largest rho": found.rise}
        note = f"Best interior rho, chosen for each seed by the others: {chosen}."
        effects += [
            Effect.of(f"{ARMS[arm].title}: {name}", size, "above", unit="decades", note=note)
            for name, size in sizes.items()
        ]
    return effects


def second_order(rows: Sequence[Row]) -> Effect:
    """How far from 2 the slope of the closed form's error against rho is, both in logarithms.

    Raises:
        IncompleteError: If there are fewer than two radii.
    """
    grid = Grid.of(final(rows, CLOSED_FORM), "error")
    if len(grid.points) < 2:
        raise IncompleteError("A slope needs at least 2 radii at which no unit switches off.")
    x = [decades(rho) for rho in grid.points]
    off = grid.interval(lambda errors: linear_regression(x, [decades(error) for error in errors]).slope - 2)
    return Effect.of("order of the error in rho, less 2", off, "within", 0.1)


CLAIMS = (
    Claim(
        id="rank_falls",
        text="The rank of the hidden layer falls as rho grows, for ReLU, absolute value and tanh.",
        source=f"{PAPER_TITLE}: two-layer networks",
        check=partial(correlations, ("rank",), ACTIVATIONS),
    ),
    Claim(
        id="units_are_switched_off",
        text="Fewer units are active as rho grows, for ReLU, absolute value and tanh.",
        source=f"{PAPER_TITLE}: two-layer networks",
        check=partial(correlations, ("active",), ACTIVATIONS),
    ),
    Claim(
        id="distinct_units_become_few",
        text="Fewer units are left without copies of others as rho grows, for ReLU, absolute value and tanh.",
        source=f"{PAPER_TITLE}: two-layer networks",
        check=partial(correlations, ("distinct",), ACTIVATIONS),
    ),
    Claim(
        id="gradient_penalty_does_the_same",
        text="A penalty on the norm of the batch's gradient lowers rank, active and distinct units as SAM does.",
        source=f"{PAPER_TITLE}: gradient regularisation of two-layer networks",
        check=partial(correlations, ("rank", "active", "distinct"), ("penalty",)),
    ),
    Claim(
        id="test_loss_is_lowest_in_the_middle",
        text="The test loss is lowest at a middle rho: low rank goes on where generalisation does not.",
        source=f"{PAPER_TITLE}: two-layer networks",
        check=best_in_the_middle,
    ),
    Claim(
        id="the_norm_does_not_explain_it",
        text="For ReLU the norm of all weights rises with rho, so that it is not small weights that lose rank.",
        source=f"{PAPER_TITLE}: weight norms of two-layer networks",
        check=partial(correlations, ("norm",), ("relu",), side="above", bound=0.0),
    ),
    Claim(
        id="the_closed_form_is_of_first_order",
        text="SAM's gradient of a ReLU student is the closed form but for an error of order rho^2.",
        source=f"{PAPER_TITLE}: proposition 1; derived here with biases",
        check=second_order,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Units and rank against rho, losses against rho, active units over training, and the closed form."""
    found = arms(rows)
    losses = {"train_loss": "training points", "test_loss": "fresh points"}
    return [
        Figure(
            title="Units and rank after training",
            panels=tuple(counted(rows, arm) for arm in found),
            caption="Of the hidden layer, on the training points. Rank is at most their number.",
        ),
        Figure(
            title="Losses after training",
            panels=tuple(
                logarithms(final(rows, arm), losses, "log10 squared error", ARMS[arm].title) for arm in found
            ),
            caption="The logarithm of the mean squared error, so that -2 is 0.01.",
        ),
        Figure(
            title="Active units over training",
            panels=tuple(over_training(rows, arm) for arm in found),
            caption="SAM, or the penalty, takes the first half of the steps, plain SGD the others.",
        ),
        Figure(
            title="The closed form",
            panels=(closed_form(rows),),
            caption="How far SAM's gradient by autograd is from the plain gradient, and from the closed form, in "
            "which nothing is fitted: lines of slope 1 and 2. At the start of training, on one point.",
        ),
    ]


def counted(rows: Sequence[Row], arm: str) -> Panel:
    """Units and rank of one setting against rho."""
    names = {"active": "active units", "distinct": "distinct units", "rank": "rank (99.99 %)"}
    curves = [Curve.of(final(rows, arm), name, x="rho", y=column) for column, name in names.items()]
    return Panel(
        x_label="rho", y_label="units, or rank", curves=tuple(curves), title=ARMS[arm].title, x_scale="even"
    )


def over_training(rows: Sequence[Row], arm: str) -> Panel:
    """Active units of one setting as training goes on, for every rho."""
    mine = [row for row in rows if row["arm"] == arm]
    return Panel(
        x_label="step",
        y_label="active units",
        curves=curves_by(mine, "rho", x="step", y="active", label="rho {:g}"),
        title=ARMS[arm].title,
        x_scale="log",
        palette="ordered",
        spread="band",
    )


def closed_form(rows: Sequence[Row]) -> Panel:
    """Distances of SAM's gradient from the plain one and from the closed form."""
    names = {"of_plain": "from the plain gradient", "error": "from the closed form"}
    return logarithms(final(rows, CLOSED_FORM), names, "log10 distance")


def logarithms(rows: Sequence[Row], names: Mapping[str, str], label: str, title: str = "") -> Panel:
    """Quantities in decades, against rho."""
    curves = [Curve.of(rows, n, x="rho", y=lambda row, c=c: decades(row[c])) for c, n in names.items()]
    return Panel(x_label="rho", y_label=label, curves=tuple(curves), title=title, x_scale="even")


def decades(size: float) -> float:
    """The logarithm to base 10, of 0 that of the smallest number."""
    return math.log10(max(size, sys.float_info.min))


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """The published numbers beside our medians, and other ranks."""
    return [published(rows, arm) for arm in arms(rows)] + [others(rows)]


def published(rows: Sequence[Row], arm: str) -> Table:
    """One setting of the paper, beside ours."""
    runs = [[row for row in final(rows, arm) if row["rho"] == rho] for rho in ARMS[arm].rhos]
    sound = [[row for row in mine if not row["diverged"]] for mine in runs]
    columns: dict[str, Sequence[float | None]] = {"rho": ARMS[arm].rhos}
    for name in COLUMNS:
        word = name.replace("_", " ")
        if name in ARMS[arm].published:
            columns[word] = ARMS[arm].published[name]
        columns[f"ours: {word}"] = [median(row[name] for row in own) if own else None for own in sound]
    columns["ours: diverged"] = [len(mine) - len(own) for mine, own in zip(runs, sound, strict=True)]
    return Table(
        title=f"Published, and ours: {ARMS[arm].title}",
        columns=tuple(columns),
        rows=tuple(zip(*columns.values(), strict=True)),
        caption="Published: one seed, from the authors' notebook. Ours: medians over seeds that did not diverge.",
    )


def others(rows: Sequence[Row]) -> Table:
    """Other ranks, and the norm of the weights."""
    return means(
        [{**row, "setting": ARMS[arm].title} for arm in arms(rows) for row in final(rows, arm)],
        "Other ranks, and the norm of the weights",
        by={"setting": "setting", "rho": "rho"},
        of={
            "rank 90 %": "rank_0.9",
            "95 %": "rank_0.95",
            "99 %": "rank_0.99",
            "effective rank": "effective_rank",
            "stable rank": "stable_rank",
            "norm": "norm",
        },
        caption="Means over the seeds that did not diverge, 95 % intervals.",
    )
