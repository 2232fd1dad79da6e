"""Which optimisers take the weights off inputs that do not matter?

Two tasks. Two linear layers learn the sum of 5 of 15 inputs from labels with noise, as in
``small_batches_find_the_support``; and two layers with ReLU learn images in a border of noise that is new whenever
an image is shown, as in ``irrelevant_pixels_are_forgotten``. Both are trained with small batches by SGD, SGD with
momentum, Adam, AdamW, Muon and SAM (on SGD), for the same number of steps and from the same starts. Of the first
layer is followed the norm of the weights on irrelevant inputs, over that at the start.

What an optimiser does depends on its learning rate, with SGD on its square. Every optimiser is therefore run on a
grid of its own, and compared at the largest learning rate at which no run diverges and the training loss ends
within a tenth of the lowest on that grid, mean over seeds: as large as it may be without harm to the fit. The rule
looks at training loss alone, never at the weights in question; the figures show the rest of the grid.

Momentum is 0.9. AdamW decays weights by 0.01 times the learning rate; nothing else decays. Muon makes the steps of
all weight matrices orthogonal, the last layer's as well, since these networks have no others. SAM takes its radius
from each network's own gradient.

Seen: on the linear task SGD, momentum and Muon end near the same floor, and Adam lags. At one learning rate SAM is
ahead of SGD there (0.16 of the start against 0.49 at 0.02, 0.053 against 0.079 at 0.04); but at 0.04 its training
loss is a little beyond the tenth that the rule allows, so that it is compared at 0.02 with SGD at 0.04, and loses.
On images SAM makes hardly a difference, and Muon, far from raising these weights, leaves the least of them.

Published for other optimisers than SGD are only the runs of a student project, on the four linear layers of the
paper with batches of 512; nothing was published on SAM. Expect 5 minutes on 2 cores.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean
from time import perf_counter

import torch
from torch import Tensor, nn

from lowland import catalog
from lowland.checks import at_least, whole
from lowland.engine.replicas import Replicas
from lowland.measurements.support import Support
from lowland.methods.sam import SAM
from lowland.methods.sgd import SGD
from lowland.report.arms import contrast
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import IncompleteError
from lowland.report.interval import Interval
from lowland.report.table import Table
from lowland.runs.bordered_images import BorderedImages
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.runs.support_task import SupportTask
from lowland.seeds import derive, generator
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Which optimisers find the support, and does SAM help?"

HALF = 0.5
"""Share of its first norm below which an irrelevant input counts as forgotten."""

SLACK = 0.1
"""How far above the lowest training loss an optimiser may end, relative to it."""

LINEAR, IMAGES = "two linear layers", "images with borders"

BASES: Mapping[str, float] = {
    "SGD": 0.02,
    "momentum": 0.002,
    "Adam": 0.002,
    "AdamW": 0.002,
    "Muon": 0.002,
    "SAM": 0.02,
}
"""The smallest learning rate of every grid."""

OPTIMISERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
    "AdamW": partial(torch.optim.AdamW, weight_decay=0.01),
    "Muon": partial(torch.optim.Muon, weight_decay=0.0),
    "SAM": torch.optim.SGD,
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        factors: Learning rates of every optimiser, over the smallest of its grid; ascending from 1.
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

    factors: tuple[float, ...] = (1.0, 2.0, 4.0)
    batch: int = 8
    steps: int = 6000
    noise: float = 1.0
    examples: int = 1000
    data: str = "digits"
    train: int = 6000
    border: int = 2
    hidden: int = 64
    rho: float = 0.05
    looks: int = 12
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
        if not self.factors or self.factors[0] != 1 or list(self.factors) != sorted(set(self.factors)):
            raise ValueError(f"factors must ascend from 1, got {self.factors}.")
        catalog.module("data.sets", catalog.parse(self.data)[0])


PAPER = Config(factors=(1.0, 2.0, 4.0, 8.0), data="mnist", train=60_000, border=7, steps=100_000)

TINY = Config(factors=(1.0,), batch=4, steps=2, examples=20, train=40, border=1, hidden=4, looks=1, seeds=3)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A task for r networks side by side.

    Attributes:
        models: The networks, each from its seed.
        loss: Of one network on a batch.
        seen: All training examples, (r, n, d) and (r, n, ...).
        batches: Random ones, for ever.
        relevant: Which inputs are, (d,).
    """

    models: list[nn.Module]
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]
    seen: tuple[Tensor, Tensor]
    batches: Iterator[tuple[Tensor, Tensor]]
    relevant: tuple[bool, ...]


def cells(config: Config) -> list[Cell]:
    """A run for every task, optimiser and learning rate, with all seeds side by side."""
    return [
        {"task": task, "optimiser": name, "learning_rate": base * factor}
        for task in (LINEAR, IMAGES)
        for name, base in BASES.items()
        for factor in config.factors
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    bordered_images(config).check()


def bordered_images(config: Config) -> BorderedImages:
    """What the second task is shown."""
    return BorderedImages(data=config.data, train=config.train, border=config.border, noise=0.5)


def network(widths: Sequence[int], relu: bool, seed: int) -> nn.Module:
    """Two layers without biases, He-normal."""
    first, last = (nn.Linear(i, o, bias=False) for i, o in pairwise(widths))
    stream = generator(seed, "weights")
    for layer in (first, last):
        nn.init.kaiming_normal_(layer.weight, generator=stream)
    return nn.Sequential(first, nn.ReLU(), last) if relu else nn.Sequential(first, last)


def linear_setup(config: Config, seeds: Sequence[int], device: str) -> Setup:
    """Two linear layers and a target of 5 of 15 inputs, in float64."""
    task = SupportTask(
        inputs=15,
        relevant=5,
        examples=config.examples,
        hidden=(20,),
        noise=config.noise,
        learning_rate=BASES["SGD"],
        steps=config.steps,
    )
    parts = zip(*(task.data(seed) for seed in seeds), strict=True)
    x, y = (torch.stack(part).to(device) for part in parts)
    return Setup(
        models=[network((15, 20, 1), False, seed).to(device, torch.float64) for seed in seeds],
        loss=lambda model, x, y: (model(x) - y).square().mean(),
        seen=(x, y),
        batches=task.shown(config.batch, x, y, seeds),
        relevant=tuple(i < 5 for i in range(15)),
    )


def image_setup(config: Config, seeds: Sequence[int], device: str) -> Setup:
    """Two layers with ReLU and images in borders, in float32."""
    source = bordered_images(config)
    train, _, classes = source.splits(device)
    relevant = source.mask().flatten()
    x = source.framed(train.x, generator(0, "train"))

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        found = model(x)
        return (found - nn.functional.one_hot(y, classes)).square().sum(1).mean()

    return Setup(
        models=[network((len(relevant), config.hidden, classes), True, seed).to(device) for seed in seeds],
        loss=loss,
        seen=(x.expand(len(seeds), -1, -1), train.y.expand(len(seeds), -1)),
        batches=source.shown(config.batch, train, seeds),
        relevant=tuple(relevant.tolist()),
    )


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train all seeds side by side; a row per look and seed."""
    began = perf_counter()
    seeds = [derive(seed, "optimisers") for seed in range(config.seeds)]
    setup = (linear_setup if cell["task"] == LINEAR else image_setup)(config, seeds, context.device)
    name, eta = str(cell["optimiser"]), float(str(cell["learning_rate"]))
    replicas = Replicas(setup.models, setup.loss)
    step_all = stepper(name, list(replicas.parameters()), eta)
    engine = replicas.bind(SAM(rho=config.rho) if name == "SAM" else SGD())
    start = [norms(model, setup.relevant) for model in setup.models]
    stretch, rows = config.steps // config.looks, []
    for step, batch in enumerate(setup.batches):
        if step % stretch == 0:
            context.progress(step / config.steps)
            facts = {**cell, "step": step, "final": step == stretch * config.looks}
            losses = replicas.losses_each(*setup.seen).tolist()
            rows += [
                {**facts, "seed": seed, **looked(replicas.unstack(seed), loss, start[seed], setup.relevant)}
                for seed, loss in enumerate(losses)
            ]
            if facts["final"]:
                break
        engine.backward_each(*batch)
        step_all()
    context.timing("training", perf_counter() - began)
    return rows


def stepper(name: str, weights: Sequence[nn.Parameter], eta: float) -> Callable[[], None]:
    """What steps all replicas and clears their gradients; Muon, which is of matrices, sees each by itself."""
    if name != "Muon":
        optimizer = OPTIMISERS[name](weights, lr=eta)

        def together() -> None:
            optimizer.step()
            optimizer.zero_grad()

        return together
    views = [(weight, i, nn.Parameter(weight.data[i])) for weight in weights for i in range(len(weight))]
    muon = OPTIMISERS[name]([view for _, _, view in views], lr=eta)

    def one_by_one() -> None:
        for weight, i, view in views:
            view.grad = None if weight.grad is None else weight.grad[i]
        muon.step()
        for weight in weights:
            weight.grad = None

    return one_by_one


def norms(model: nn.Module, relevant: tuple[bool, ...]) -> dict[str, float]:
    """What the first layer spends on either kind of input."""
    return {reading.name: reading.value for reading in Support(relevant=relevant).read(model)}


def looked(model: nn.Module, loss: float, start: Mapping[str, float], relevant: tuple[bool, ...]) -> Row:
    """Norms over those at the start, ``log`` the logarithm of the first of them, and the training loss."""
    if not math.isfinite(loss) or not all(w.isfinite().all() for w in model.parameters()):
        return {"diverged": True}
    now = norms(model, relevant)
    outside, inside = (now[name] / start[name] for name in ("irrelevant_norm", "relevant_norm"))
    return {
        "diverged": False,
        "loss": loss,
        "irrelevant": outside,
        "log": math.log(outside),
        "relevant": inside,
        "auroc": now["support_auroc"],
    }


def chosen(rows: Sequence[Row], task: str) -> dict[str, float]:
    """Of every optimiser the learning rate that it is compared at.

    Raises:
        IncompleteError: If the task was not run, or an optimiser diverged at all of its learning rates.
    """
    losses: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row["task"] == task and row["final"]:
            loss = math.inf if row["diverged"] else row["loss"]
            losses.setdefault(row["optimiser"], {}).setdefault(row["learning_rate"], []).append(loss)
    if not losses:
        raise IncompleteError(f"The task of {task} was not run.")
    return {name: _largest(name, found) for name, found in losses.items()}


def _largest(name: str, losses: Mapping[float, Sequence[float]]) -> float:
    means = {eta: fmean(found) for eta, found in losses.items() if max(found) < math.inf}
    if not means:
        raise IncompleteError(f"{name} diverged at every learning rate.")
    return max(eta for eta, loss in means.items() if loss <= (1 + SLACK) * min(means.values()))


def compared(rows: Sequence[Row], task: str) -> list[Row]:
    """The last rows of a task at the chosen learning rates, with the optimiser as ``method``."""
    rates = chosen(rows, task)
    return [
        {**row, "method": row["optimiser"]}
        for row in rows
        if row["task"] == task and row["final"] and row["learning_rate"] == rates[row["optimiser"]]
    ]


def below_half(names: Sequence[str], rows: Sequence[Row]) -> list[Effect]:
    """Irrelevant norm after training, over that at the start."""
    return [
        Effect.of(
            f"{task}, {name}: irrelevant norm over start", contrast(found, {name: 1}, "irrelevant"), "below", HALF
        )
        for task in (LINEAR, IMAGES)
        for found in [compared(rows, task)]
        for name in names
    ]


def ends_higher(name: str, than: str, rows: Sequence[Row]) -> list[Effect]:
    """Logarithm of an optimiser's irrelevant norm less another's."""
    return [
        Effect.of(
            f"{task}: ln irrelevant norm, {name} less {than}",
            contrast(compared(rows, task), {name: 1, than: -1}, "log"),
            "above",
        )
        for task in (LINEAR, IMAGES)
    ]


def grows(name: str, rows: Sequence[Row]) -> list[Effect]:
    """An optimiser's irrelevant norm over that at the start."""
    return [
        Effect.of(
            f"{task}, {name}: irrelevant norm over start",
            contrast(compared(rows, task), {name: 1}, "irrelevant"),
            "above",
            1.0,
        )
        for task in (LINEAR, IMAGES)
    ]


STUDENTS = "Runs of the project Mahlia44/optiML_support on the paper's code"

CLAIMS = (
    Claim(
        id="sgd_finds_the_support",
        text="SGD, with and without momentum, takes more than half of the weight off irrelevant inputs.",
        source="Beneventano, Pinto, Poggio 2024, for SGD",
        check=partial(below_half, ("SGD", "momentum")),
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
        check=partial(grows, "Muon"),
    ),
    Claim(
        id="sam_finds_more_than_sgd",
        text="SAM leaves less weight on irrelevant inputs than SGD.",
        source="Question of this study; nothing was published",
        check=partial(ends_higher, "SGD", "SAM"),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The chosen runs over training, and the whole grid."""
    return [
        Figure(
            title="Weights on irrelevant inputs over training",
            panels=tuple(over_training(rows, task) for task in (LINEAR, IMAGES)),
            caption="Norm over that at the start, at the learning rate that the rule chose.",
        ),
        Figure(
            title="Weights on irrelevant inputs against the learning rate",
            panels=tuple(over_rates(config, rows, task) for task in (LINEAR, IMAGES)),
            caption="Norm after training over that at the start, on the whole grid of every optimiser.",
        ),
    ]


def over_training(rows: Sequence[Row], task: str) -> Panel:
    """A curve for every optimiser, at its learning rate."""
    rates = chosen(rows, task)
    mine = [row for row in rows if row["task"] == task and row["learning_rate"] == rates[row["optimiser"]]]
    curves = [Curve.of(mine, name, x="step", y="irrelevant", where={"optimiser": name}) for name in rates]
    return Panel(
        x_label="step", y_label="irrelevant norm over start", curves=tuple(curves), title=task, spread="band"
    )


def over_rates(config: Config, rows: Sequence[Row], task: str) -> Panel:
    """A curve for every optimiser against its learning rate over the smallest of its grid."""
    mine = [
        {**row, "factor": round(row["learning_rate"] / BASES[row["optimiser"]], 6)}
        for row in rows
        if row["task"] == task and row["final"]
    ]
    names = dict.fromkeys(row["optimiser"] for row in mine)
    curves = [Curve.of(mine, name, x="factor", y="irrelevant", where={"optimiser": name}) for name in names]
    return Panel(
        x_label="learning rate over the smallest",
        y_label="irrelevant norm over start",
        curves=tuple(curves),
        title=task,
        x_scale="even",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every task and optimiser, and what students found."""
    columns = {
        "irrelevant norm over start": "irrelevant",
        "relevant norm over start": "relevant",
        "AUROC of the relevant": "auroc",
        "training loss": "loss",
    }
    lines = []
    for task in (LINEAR, IMAGES):
        found = compared(rows, task)
        for name, eta in chosen(rows, task).items():
            lines.append((task, name, eta, *(mean(found, name, column) for column in columns.values())))
    mine = Table(
        title="First layer by optimiser",
        columns=("task", "optimiser", "learning rate", *columns),
        rows=tuple(lines),
        caption="After training, means over seeds, 95 % intervals. AUROC: the chance that a relevant input has a "
        "longer column than an irrelevant one.",
    )
    return [mine, PUBLISHED]


def mean(found: Sequence[Row], name: str, column: str) -> Interval | None:
    """Of one optimiser over the seeds that did not diverge; None if all did."""
    return Curve.of(found, name, x="step", y=column, where={"method": name}).intervals[0]


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
