"""Which optimisers take the weights off inputs that do not matter?

Two tasks. Two linear layers learn the sum of 5 of 15 inputs from labels with noise, as in
``small_batches_find_the_support``; and two layers with ReLU learn images in a border of noise that is new whenever
an image is shown, as in ``irrelevant_pixels_are_forgotten``. Both are trained with small batches by SGD, SGD with
momentum, Adam, AdamW, Muon and SAM (on SGD), for the same number of steps and from the same starts. Of the first
layer is followed the norm of the weights on irrelevant inputs, over that at the start.

What an optimiser does depends on its learning rate, with SGD on its square. Every optimiser is therefore run on a
grid of its own for each task, and compared at the largest learning rate at which no run diverges and the training
loss ends within a tenth of the lowest on that grid, mean over seeds: as large as it may be without harm to the
fit. The rule looks at training loss alone, never at the weights in question; the figures show the rest of the
grid. Where the rule takes the last of a grid, larger ones might do as well, and there is no verdict.

Momentum is 0.9. AdamW decays weights by 0.01 times the learning rate; nothing else decays. Muon makes the steps of
all weight matrices orthogonal, the last layer's as well, since these networks have no others. SAM takes its radius
from each network's own gradient.

SAM may fit worse than SGD at the same learning rate, and be compared at a smaller one for it. The two are
therefore compared at equal rates as well, at every one that both survive.

Seen: on the linear task SAM is ahead of SGD at equal rates (0.21 of the start against 0.54 at 0.02, 0.05 against
0.10 at 0.04); on images it is not, and of all optimisers only Muon comes below half there. The largest rate
without harm to the fit is not the one that forgets most: beyond some rate the norm rises again, and Adam, AdamW
and Muon leave less at smaller ones.

Published for other optimisers than SGD are only the runs of a student project, on the four linear layers of the
paper with batches of 512; nothing was published on SAM. Expect 5 minutes on 2 cores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Literal

from torch import Tensor, nn

from lowland import catalog
from lowland.checks import ascending, at_least, whole
from lowland.engine.replicas import Replicas
from lowland.experiments.bordered_images import BorderedImages
from lowland.experiments.course import course
from lowland.experiments.first_layer import over_start
from lowland.experiments.stepper import stepper
from lowland.experiments.support_setup import SupportSetup
from lowland.experiments.support_task import SupportTask
from lowland.methods.sam import SAM
from lowland.methods.sgd import SGD
from lowland.report.arms import contrast
from lowland.report.claim import Claim
from lowland.report.effect import Effect, sentences
from lowland.report.figure import Figure, Panel
from lowland.report.grid import IncompleteError
from lowland.report.interval import Interval
from lowland.report.means import means
from lowland.report.panels import curves_by
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Which optimisers find the support, and does SAM help?"

HALF = 0.5
"""Share of its first norm below which an irrelevant input counts as forgotten."""

SLACK = 0.1
"""How far above the lowest training loss an optimiser may end, relative to it."""

LINEAR, IMAGES = "two linear layers", "images with borders"

BASES: Mapping[str, Mapping[str, float]] = {
    LINEAR: {"SGD": 0.02, "momentum": 0.002, "Adam": 0.006, "AdamW": 0.006, "Muon": 0.008, "SAM": 0.02},
    IMAGES: {"SGD": 0.04, "momentum": 0.004, "Adam": 0.002, "AdamW": 0.002, "Muon": 0.002, "SAM": 0.04},
}
"""What the factors of every grid multiply, by task, set after trial runs; SAM has the grid of SGD."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        factors: Learning rates of every optimiser, over the base of its grid; ascending, above 0.
        batch: Examples in a step.
        steps: Of every run.
        noise: Standard deviation of the label noise of the linear task.
        examples: Inputs of the linear task.
        data: Images of one channel.
        train: The most training images to take.
        border: Pixels of noise on each side.
        hidden: Units of the network for images.
        rho: Radius of SAM, > 0.
        looks: How often weights are looked at, evenly spread.
        seeds: Runs of every setting; a verdict needs 3.
    """

    factors: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    batch: int = 8
    steps: int = 5000
    noise: float = 1.0
    examples: int = 1000
    data: str = "digits"
    train: int = 6000
    border: int = 2
    hidden: int = 64
    rho: float = 0.05
    looks: int = 10
    seeds: int = 5

    def __post_init__(self) -> None:
        for name in ("batch", "train", "border", "hidden", "looks", "seeds"):
            whole(name, getattr(self, name))
        whole("examples", self.examples, 16)
        whole("steps", self.steps, self.looks)
        at_least("noise", self.noise, 0)
        at_least("rho", self.rho, 0)
        if not self.rho:
            raise ValueError("rho must be above 0, got 0: SAM would be SGD.")
        ascending("factors", self.factors)
        catalog.module("data.sets", catalog.parse(self.data)[0])


PAPER = Config(
    factors=(0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0), data="mnist", train=60_000, border=7, steps=100_000
)

TINY = Config(factors=(1.0,), batch=4, steps=2, examples=20, train=40, border=1, hidden=4, looks=1, seeds=3)


def cells(config: Config) -> list[Cell]:
    """A run for every task, optimiser and learning rate, with all seeds side by side."""
    return [
        {"task": task, "optimiser": name, "learning_rate": base * factor}
        for task, bases in BASES.items()
        for name, base in bases.items()
        for factor in config.factors
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    bordered_images(config).check()


def bordered_images(config: Config) -> BorderedImages:
    """What the second task is shown."""
    return BorderedImages(data=config.data, train=config.train, border=config.border, noise=0.5)


def setup_of(config: Config, task: str, seeds: Sequence[int], device: str) -> SupportSetup:
    """Networks and what they are shown: a target of 5 of 15 inputs, or images."""
    if task == IMAGES:
        return SupportSetup.of_images(bordered_images(config), config.hidden, config.batch, seeds, device)
    linear = SupportTask(
        inputs=15,
        relevant=5,
        examples=config.examples,
        hidden=(20,),
        noise=config.noise,
        learning_rate=BASES[LINEAR]["SGD"],
        steps=config.steps,
    )
    return SupportSetup.of_task(linear, config.batch, seeds, device)


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train all seeds side by side; a row per look and seed."""
    seeds = [derive(seed, "optimisers") for seed in range(config.seeds)]
    setup = setup_of(config, str(cell["task"]), seeds, context.device)
    replicas, sam = Replicas(setup.models, setup.loss), cell["optimiser"] == "SAM"
    engine = replicas.bind(SAM(rho=config.rho) if sam else SGD())
    name = "SGD" if sam else str(cell["optimiser"])
    optimise = stepper(name, list(replicas.parameters()), float(str(cell["learning_rate"])))

    def step(*batch: Tensor) -> None:
        engine.backward_each(*batch)
        optimise()

    rows = []
    for now in course(context, setup.batches, step, steps=config.steps, looks=config.looks):
        losses = replicas.losses_each(*setup.seen).tolist()
        looks = [
            looked(replicas.unstack(i), setup.models[i], loss, setup.relevant) for i, loss in enumerate(losses)
        ]
        rows += [{**cell, **now, "seed": seed, **look} for seed, look in enumerate(looks)]
    return rows


def looked(model: nn.Module, start: nn.Module, loss: float, relevant: tuple[bool, ...]) -> Row:
    """Norms over those at the start, and the training loss."""
    if not math.isfinite(loss) or not all(w.isfinite().all() for w in model.parameters()):
        return {"diverged": True}
    return {"diverged": False, "loss": loss, **over_start(model, start, relevant)}


def ends(rows: Sequence[Row], task: str) -> dict[str, dict[float, float]]:
    """Of every optimiser and learning rate the mean training loss at the end; infinite where a run diverged.

    Raises:
        IncompleteError: If the task was not run.
    """
    losses: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row["task"] == task and row["final"]:
            loss = math.inf if row["diverged"] else row["loss"]
            losses.setdefault(row["optimiser"], {}).setdefault(row["learning_rate"], []).append(loss)
    if not losses:
        raise IncompleteError(f"The task of {task} was not run.")
    return {name: {eta: fmean(found) for eta, found in grid.items()} for name, grid in losses.items()}


def chosen(rows: Sequence[Row], task: str) -> dict[str, float]:
    """Of every optimiser the learning rate that it is compared at.

    Raises:
        IncompleteError: If the task was not run, or an optimiser diverged at all of its learning rates.
    """
    return {name: _largest(name, grid) for name, grid in ends(rows, task).items()}


def _largest(name: str, grid: Mapping[float, float]) -> float:
    lowest = min(grid.values())
    if lowest == math.inf:
        raise IncompleteError(f"{name} diverged at every learning rate.")
    return max(eta for eta, loss in grid.items() if loss <= (1 + SLACK) * lowest)


def unbracketed(rows: Sequence[Row], task: str, names: Sequence[str]) -> str:
    """A sentence if one of these optimisers is compared at the last learning rate of its grid; else empty."""
    grids, rates = ends(rows, task), chosen(rows, task)
    last = [f"{name} ({rates[name]:g})" for name in names if rates[name] == max(grids[name])]
    named = " and ".join(last)
    return f"{task}: no learning rate of the grid was too large for {named}." if last else ""


def at_chosen(rows: Sequence[Row], task: str) -> list[Row]:
    """The rows of a task at the chosen learning rates."""
    rates = chosen(rows, task)
    return [row for row in rows if row["task"] == task and row["learning_rate"] == rates[row["optimiser"]]]


def compared(rows: Sequence[Row], task: str) -> list[Row]:
    """The last of them, with the optimiser as ``method``."""
    return [{**row, "method": row["optimiser"]} for row in at_chosen(rows, task) if row["final"]]


def weighed(rows: Sequence[Row], task: str, weights: Mapping[str, float], outcome: str) -> Interval:
    """A contrast at the chosen learning rates, in doubt where one of them is the last of its grid."""
    found = contrast(compared(rows, task), weights, outcome)
    return replace(found, doubt=sentences(found.doubt, unbracketed(rows, task, list(weights))))


def norms(
    names: Sequence[str], side: Literal["above", "below"], bound: float, rows: Sequence[Row]
) -> list[Effect]:
    """Irrelevant norm after training, over that at the start."""
    sizes = {(task, name): weighed(rows, task, {name: 1}, "irrelevant") for task in BASES for name in names}
    return [
        Effect.of(f"{t}, {n}: irrelevant norm over start", size, side, bound) for (t, n), size in sizes.items()
    ]


def ends_higher(name: str, than: str, rows: Sequence[Row]) -> list[Effect]:
    """Logarithm of an optimiser's irrelevant norm less another's."""
    sizes = {task: weighed(rows, task, {name: 1, than: -1}, "log") for task in BASES}
    return [Effect.of(f"{t}: ln irrelevant norm, {name} less {than}", size, "above") for t, size in sizes.items()]


def survived(rows: Sequence[Row], task: str, names: Sequence[str]) -> list[float]:
    """The learning rates at which no run of these optimisers diverged.

    Raises:
        IncompleteError: If there is none.
    """
    grids = [ends(rows, task).get(name, {}) for name in names]
    found = [eta for eta in grids[0] if all(grid.get(eta, math.inf) < math.inf for grid in grids)]
    if not found:
        raise IncompleteError(f"{task}: there is no learning rate that {' and '.join(names)} survive.")
    return found


def ends_higher_at_equal_rates(name: str, than: str, rows: Sequence[Row]) -> list[Effect]:
    """Logarithm of an optimiser's irrelevant norm less another's, at every learning rate that both survive."""
    last = [{**row, "method": row["optimiser"]} for row in rows if row["final"]]
    sizes = {
        (task, eta): contrast(
            [row for row in last if row["task"] == task and row["learning_rate"] == eta],
            {name: 1, than: -1},
            "log",
        )
        for task in BASES
        for eta in survived(rows, task, (name, than))
    }
    return [
        Effect.of(f"{task}, both at {eta:g}: ln irrelevant norm, {name} less {than}", size, "above")
        for (task, eta), size in sizes.items()
    ]


STUDENTS = "Runs of the project Mahlia44/optiML_support on the paper's code"

CLAIMS = (
    Claim(
        id="sgd_finds_the_support",
        text="SGD, with and without momentum, takes more than half of the weight off irrelevant inputs.",
        source="Beneventano, Pinto, Poggio 2024, for SGD",
        check=partial(norms, ("SGD", "momentum"), "below", HALF),
    ),
    Claim(
        id="adam_keeps_more_than_sgd",
        text="Adam leaves more weight on irrelevant inputs than SGD.",
        source=f"Question of this study; {STUDENTS} ended at 1.9 of 4.45 with Adam, without SGD beside it",
        check=partial(ends_higher, "Adam", "SGD"),
    ),
    Claim(
        id="decay_helps_adam",
        text="AdamW leaves less weight on irrelevant inputs than Adam.",
        source=f"{STUDENTS}: 0.72 of 4.45 with AdamW, 1.9 with Adam",
        check=partial(ends_higher, "Adam", "AdamW"),
    ),
    Claim(
        id="muon_raises_the_irrelevant",
        text="Muon puts more weight on irrelevant inputs than there was at the start.",
        source=f"{STUDENTS}: 5.97 from 4.45 with Muon",
        check=partial(norms, ("Muon",), "above", 1.0),
    ),
    Claim(
        id="sam_finds_more_than_sgd",
        text="SAM leaves less weight on irrelevant inputs than SGD, each at the largest learning rate that does "
        "not harm its fit.",
        source="Question of this study; nothing was published",
        check=partial(ends_higher, "SGD", "SAM"),
    ),
    Claim(
        id="sam_finds_more_than_sgd_at_equal_rates",
        text="SAM leaves less weight on irrelevant inputs than SGD at every learning rate that both survive.",
        source="Question of this study; nothing was published",
        check=partial(ends_higher_at_equal_rates, "SGD", "SAM"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The chosen runs over training, and the whole grid."""
    return [
        Figure(
            title="Weights on irrelevant inputs over training",
            panels=tuple(over_training(rows, task) for task in BASES),
            caption="Norm over that at the start, at the learning rate that the rule chose.",
        ),
        Figure(
            title="Weights on irrelevant inputs against the learning rate",
            panels=tuple(over_rates(rows, task) for task in BASES),
            caption="Norm after training over that at the start, on the whole grid of every optimiser.",
        ),
    ]


def over_training(rows: Sequence[Row], task: str) -> Panel:
    """A curve for every optimiser, at its learning rate."""
    return Panel(
        x_label="step",
        y_label="irrelevant norm over start",
        curves=curves_by(at_chosen(rows, task), "optimiser", x="step", y="irrelevant"),
        title=task,
        spread="band",
    )


def over_rates(rows: Sequence[Row], task: str) -> Panel:
    """A curve for every optimiser against its learning rate over the base of its grid."""
    mine = [
        {**row, "factor": round(row["learning_rate"] / BASES[task][row["optimiser"]], 6)}
        for row in rows
        if row["task"] == task and row["final"]
    ]
    return Panel(
        x_label="learning rate over the base of the grid",
        y_label="irrelevant norm over start",
        curves=curves_by(mine, "optimiser", x="factor", y="irrelevant"),
        title=task,
        x_scale="even",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every task and optimiser, and what students found."""
    mine = means(
        [row for task in BASES for row in compared(rows, task)],
        "First layer by optimiser",
        by={"task": "task", "optimiser": "optimiser", "learning rate": "learning_rate"},
        of={
            "irrelevant norm over start": "irrelevant",
            "relevant norm over start": "relevant",
            "AUROC of the relevant": "auroc",
            "training loss": "loss",
        },
        caption="After training, means over seeds, 95 % intervals. AUROC: the chance that a relevant input has a "
        "longer column than an irrelevant one.",
    )
    return [mine, PUBLISHED]


PUBLISHED = Table(
    title="Published norms by optimiser",
    columns=("target", "GD", "GD with decay", "Adam", "AdamW", "Muon"),
    rows=(
        ("linear", 3.59, 0.001, 1.9, 0.72, 5.97),
        ("sine", 4.21, None, 2.9, 1.4, 4.6),
        ("staircase", 4.29, 0.18, 6.4, None, 7.5),
    ),
    caption="Irrelevant norm, from about 4.45 at the start, after 200,000 steps of 0.1 with batches of 512 on "
    "four linear layers; from the saved runs of Mahlia44/optiML_support, one each, none of SGD. Adam's norm "
    "was not monotone; with decay on the sine all weights vanished.",
)
