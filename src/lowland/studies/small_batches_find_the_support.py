r"""Do small batches shrink the first layer's weights on inputs that do not matter, and as fast as theory says?

Fifteen Gaussian inputs, of which the target looks at five. A linear network of two layers is trained with random
batches of several sizes and with gradient descent, on labels with noise: every input is there twice, once with the
noise added and once with it taken away, and the inputs are made exactly uncorrelated, so that no weight on an
irrelevant input lowers the loss. :func:`lowland.theory.sgd_support.sgd_support` gives the norm of those weights
over time in closed form, from the size of the step, the batch and the noise, with nothing to fit; the slope of its
logarithm is compared with that, from a tenth of training on, while the norm is above three times its floor. Theory
also says which weight decay on the first layer makes gradient descent follow the same curve.

Then the networks of the paper: four linear layers on its three targets, linear, sine and staircase (standardised,
since its powers reach the fifth). The paper's code takes steps of 0.1, with which training diverges at once but
for its clipping of gradients at norm 1: the published runs live at the edge of stability, and it is that
oscillation, not their label noise of 0.001, that feeds the effect. Here steps are stable, and label noise feeds
it. The published setting is run as well, and so is what is left of it with stable steps, which by theory is
nothing: an effect of residuals ends where the network interpolates.

Tried before: steps of 0.02 and no label noise on sine and staircase, where what a linear network cannot fit is
residual enough. One of five networks diverged on the sine, and on the others batch 32 was not clearly below 128.

Gradient descent is exact: linear networks run on a few rows that have the same loss as all the data.

Expect 3 minutes on 2 cores. ``--paper`` takes the paper's number of examples, steps and batch sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

from lowland.checks import ascending, whole
from lowland.experiments.support_run import support_run
from lowland.experiments.support_task import SupportTask
from lowland.report.arms import contrast
from lowland.report.claim import Claim
from lowland.report.decay import after_fit, falls, shares
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import IncompleteError
from lowland.report.means import mean, means
from lowland.report.panels import curves_by
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.theory.sgd_support import matched_penalty, sgd_support, support_floor, support_rate
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Do small batches find the support, and as fast as theory says?"

NEAR = 0.2
"""How far from the predicted slope, relative to it, counts as agreeing."""

FLAT = 0.01
"""Share of the predicted slope, or of the norm, that counts as no change."""

LAW, SILENT, RELU = "two layers", "two layers, no noise", "two layers, ReLU"
DEEP = ("deep, linear target", "deep, sine", "deep, staircase")
PUBLISHED, STABLE = "deep, as published", "deep, published noise, stable steps"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        inputs: How many there are.
        relevant: How many of them the target looks at, fewer than all.
        examples: Inputs drawn; each has two labels.
        hidden: Units of the network of two layers; the deep ones have as many as inputs.
        noise: Standard deviation of the label noise.
        learning_rate: Size of the steps, but for the published one.
        batches: Batch sizes with two layers, ascending, at least two.
        deep_batches: Batch sizes with four layers, ascending, at least two.
        steps: Of every run; a quarter of them with ReLU.
        looks: How often weights are looked at, evenly spread, at least 5.
        seeds: Runs of every setting, with other data and initialisations; a verdict needs 3.
    """

    inputs: int = 15
    relevant: int = 5
    examples: int = 1000
    hidden: int = 20
    noise: float = 1.0
    learning_rate: float = 0.01
    batches: tuple[int, ...] = (4, 8, 16)
    deep_batches: tuple[int, ...] = (32, 128)
    steps: int = 40_000
    looks: int = 40
    seeds: int = 5

    def __post_init__(self) -> None:
        for name in ("inputs", "relevant", "hidden", "seeds"):
            whole(name, getattr(self, name))
        whole("looks", self.looks, 5)
        whole("steps", self.steps, 4 * self.looks)
        whole("examples", self.examples, self.inputs + 1)
        if self.relevant >= self.inputs:
            raise ValueError(f"relevant must be below inputs, {self.inputs}, got {self.relevant}.")
        for name in ("batches", "deep_batches"):
            ascending(name, getattr(self, name), least=2)
        support_rate(self.learning_rate, self.noise, self.batches[0])


PAPER = Config(examples=5000, deep_batches=(1, 32, 128, 512), steps=200_000, looks=100)

TINY = Config(examples=40, batches=(2, 4), deep_batches=(4, 8), steps=40, looks=5, seeds=3)


def tasks(config: Config) -> dict[str, SupportTask]:
    """All of them, by name."""
    law = SupportTask(
        inputs=config.inputs,
        relevant=config.relevant,
        examples=config.examples,
        hidden=(config.hidden,),
        noise=config.noise,
        learning_rate=config.learning_rate,
        steps=config.steps,
    )
    deep = replace(law, hidden=(config.inputs,) * 3)
    return {
        LAW: law,
        SILENT: replace(law, noise=0.0),
        RELU: replace(law, relu=True, steps=config.steps // 4),
        DEEP[0]: deep,
        DEEP[1]: replace(deep, target="sine"),
        DEEP[2]: replace(deep, target="staircase"),
        PUBLISHED: replace(deep, noise=0.001, learning_rate=0.1, clip=1.0),
        STABLE: replace(deep, noise=0.001),
    }


def cells(config: Config) -> list[Cell]:
    """A run for every task and batch size, with all seeds side by side; and the matched penalties.

    Batch 0 is gradient descent.
    """
    sizes = {
        LAW: (0, *config.batches),
        SILENT: config.batches[:1],
        RELU: (0, *config.batches),
        STABLE: config.deep_batches[:1],
    }
    plain = [
        {"task": name, "batch": batch, "matched": 0}
        for name in tasks(config)
        for batch in sizes.get(name, (0, *config.deep_batches))
    ]
    return [*plain, *({"task": LAW, "batch": 0, "matched": batch} for batch in config.batches)]


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train all seeds side by side; a row per look and seed."""
    task, batch, matched = tasks(config)[str(cell["task"])], int(str(cell["batch"])), int(str(cell["matched"]))
    seeds = [derive(seed, "support") for seed in range(config.seeds)]
    decay = matched_penalty(task.learning_rate, task.noise, matched) if matched else 0.0
    rows = support_run(task, batch, seeds, context, looks=config.looks, decay=decay)
    return [{**cell, **predicted(task, cell), **row} for row in rows]


def predicted(task: SupportTask, cell: Cell) -> Row:
    """The rate and the floor that the law of two linear layers gives a run; None where it says nothing."""
    batch = int(str(cell["batch"]))
    size = batch or int(str(cell["matched"]))
    if len(task.hidden) > 1:
        return {"rate": None, "floor": 0.0}
    rate = support_rate(task.learning_rate, task.noise, size) if size else 0.0
    irrelevant = task.inputs - task.relevant
    floor = support_floor(task.learning_rate, task.noise, batch, irrelevant) if batch else 0.0
    return {"rate": rate, "floor": floor}


def arm(row: Row) -> str:
    """Which run of its task a row is of.

    Example:
        >>> arm({"batch": 8, "matched": 0}), arm({"batch": 0, "matched": 8})
        ('batch 8', 'GD, penalty of batch 8')
    """
    if row["matched"]:
        return f"GD, penalty of batch {row['matched']}"
    return f"batch {row['batch']}" if row["batch"] else "GD"


def labelled(rows: Sequence[Row], task: str) -> list[Row]:
    """The rows of a task, with the name of their arm as ``method``.

    Raises:
        IncompleteError: If the task was not run.
    """
    found: list[Row] = [{**row, "method": arm(row)} for row in rows if row["task"] == task]
    if not found:
        raise IncompleteError(f"{task} was not run.")
    return found


def arms(found: Sequence[Row]) -> list[str]:
    """Their names, in their order."""
    return list(dict.fromkeys(row["method"] for row in found))


def batches(found: Sequence[Row]) -> list[str]:
    """Those of small batches, the smallest first."""
    return [name for name in arms(found) if name.startswith("batch")]


def at_the_predicted_rate(rows: Sequence[Row]) -> list[Effect]:
    """Fitted over predicted slope, less 1, of every batch size."""
    found = falls(labelled(rows, LAW))
    sizes = {name: contrast(found, {name: 1}, "off") for name in batches(found)}
    return [
        Effect.of(f"{name}: fitted over predicted slope, less 1", size, "within", NEAR)
        for name, size in sizes.items()
    ]


def as_with_the_penalty(rows: Sequence[Row]) -> list[Effect]:
    """Slope of gradient descent with the penalty less that of the batches it is matched to, over the predicted."""
    found = falls(labelled(rows, LAW))
    pairs = [(f"GD, penalty of {name}", name) for name in batches(found)]
    sizes = {f"{one} less {other}": contrast(found, {one: 1, other: -1}, "over") for one, other in pairs}
    return [Effect.of(f"{name}, over the predicted slope", size, "within", NEAR) for name, size in sizes.items()]


def flat(kind: Literal["GD", "batch"], names: Sequence[str], rows: Sequence[Row]) -> list[Effect]:
    """How far the logarithm of the norm falls after the fit, of gradient descent or the smallest batch."""
    sizes = {}
    for task in names:
        found = falls(labelled(rows, task))
        name = kind if kind == "GD" else next(iter(batches(found)), kind)
        sizes[f"{task}, {name}: fall of ln norm after the fit"] = contrast(found, {name: 1}, "fall")
    return [Effect.of(name, size, "within", FLAT) for name, size in sizes.items()]


def smaller_ends_lower(names: Sequence[str], rows: Sequence[Row]) -> list[Effect]:
    """Logarithm of each arm's last norm less that of the next smaller batch; gradient descent is the largest."""
    sizes = {}
    for task in names:
        found = falls(labelled(rows, task))
        for small, large in pairwise([*batches(found), "GD"]):
            sizes[f"{task}: ln norm, {large} less {small}"] = contrast(found, {large: 1, small: -1}, "end")
    return [Effect.of(name, size, "above") for name, size in sizes.items()]


CLAIMS = (
    Claim(
        id="decays_at_the_predicted_rate",
        text="With two linear layers the irrelevant norm falls at the predicted rate, within a fifth.",
        source="Beneventano, Pinto, Poggio 2024, for the effect of order step / batch; the rate is derived here",
        check=at_the_predicted_rate,
    ),
    Claim(
        id="penalty_gives_the_same_curve",
        text="Gradient descent with the weight decay matched to a batch size falls as fast, within a fifth.",
        source="Beneventano, Pinto, Poggio 2024: gradient descent needs a penalty. A check of the algebra of the "
        "match, which is derived here: with decay the norm falls at exactly that rate",
        check=as_with_the_penalty,
    ),
    Claim(
        id="gradient_descent_keeps_them",
        text="Gradient descent leaves the irrelevant norm as it is once it fits the target.",
        source="Beneventano, Pinto, Poggio 2024, abstract",
        check=partial(flat, "GD", (LAW, *DEEP)),
    ),
    Claim(
        id="smaller_batches_end_lower",
        text="With four linear layers smaller batches end at a lower irrelevant norm, on all three targets.",
        source="Beneventano, Pinto, Poggio 2024, figures on synthetic data",
        check=partial(smaller_ends_lower, DEEP),
    ),
    Claim(
        id="smaller_batches_end_lower_as_published",
        text="With four linear layers smaller batches end at a lower irrelevant norm also with the paper's steps "
        "of 0.1, its clipping and its label noise of 0.001.",
        source="Beneventano, Pinto, Poggio 2024, released notebooks",
        check=partial(smaller_ends_lower, (PUBLISHED,)),
    ),
    Claim(
        id="relu_forgets_them_too",
        text="With two layers and ReLU smaller batches end at a lower irrelevant norm.",
        source="Beneventano, Pinto, Poggio 2024: extends to ReLU networks",
        check=partial(smaller_ends_lower, (RELU,)),
    ),
    Claim(
        id="nothing_happens_without_residuals",
        text="Where the network interpolates, small batches leave the irrelevant norm as it is.",
        source="Control of this study: the rate is proportional to the variance of the residuals",
        check=partial(flat, "batch", (SILENT, STABLE)),
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The law beside the measurements, the deep networks, and where the law does not apply."""
    law = shares(labelled(rows, LAW), after_fit)
    return [
        Figure(
            title="Two linear layers and the law",
            panels=tuple(beside_the_law(config, law, batch) for batch in config.batches),
            caption="Norm of the weights on irrelevant inputs over that at the fit. The closed form has nothing "
            "fitted; the penalty is the weight decay that theory matches to the batch size.",
        ),
        Figure(
            title="Four linear layers",
            panels=tuple(over_training(rows, task) for task in (*DEEP, PUBLISHED)),
            caption="Norm of the weights on irrelevant inputs over that at the start. As published: steps of 0.1, "
            "clipped at norm 1.",
        ),
        Figure(
            title="ReLU, and no residuals",
            panels=tuple(over_training(rows, task) for task in (RELU, SILENT)),
            caption="Left: two layers with ReLU. Right: two linear layers without label noise, smallest batch.",
        ),
    ]


def beside_the_law(config: Config, found: Sequence[Row], batch: int) -> Panel:
    """One batch size, gradient descent with and without the matched penalty, and the closed form."""
    names = {f"batch {batch}": f"batch {batch}", f"GD, penalty of batch {batch}": "GD, penalty", "GD": "GD"}
    present = [name for name in names if name in arms(found)]
    curves = [Curve.of(found, names[name], x="step", y="share", where={"method": name}) for name in present]
    steps = sorted({row["step"] for row in found})
    law = [sgd_support(step - steps[0], config.learning_rate, config.noise, batch) for step in steps]
    closed = Curve(label="closed form", x=tuple(steps), values=tuple((share,) for share in law))
    return Panel(
        x_label="step",
        y_label="norm over that at the fit",
        curves=(*curves, closed),
        title=f"batch {batch}",
        y_scale="log",
        spread="band",
    )


def over_training(rows: Sequence[Row], task: str) -> Panel:
    """A curve for every batch size, over its start."""
    return Panel(
        x_label="step",
        y_label="norm over start",
        curves=curves_by(shares(labelled(rows, task)), "method", x="step", y="share"),
        title=task,
        palette="ordered",
        spread="band",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """Slopes beside the law, norms after training, and what the paper's figures show."""
    last = [row for row in rows if row["final"]]
    norms = means(
        [row for task in dict.fromkeys(row["task"] for row in last) for row in labelled(last, task)],
        "First layer after training",
        by={"network and target": "task", "run": "method"},
        of={"irrelevant norm": "irrelevant", "relevant norm": "relevant", "loss": "loss"},
        caption="Norms of the columns of the first layer, 95 % intervals over seeds; loss on all the data.",
    )
    return [slope_table(rows), norms, PUBLISHED_NORMS]


def slope_table(rows: Sequence[Row]) -> Table:
    """Fitted over predicted slopes, and where a norm would stop."""
    lines = []
    for task in (LAW, RELU):
        mine = labelled(rows, task)
        law = {row["method"]: (row["rate"], row["floor"] or None) for row in mine if row["method"] != "GD"}
        found = falls(mine)
        lines += [
            (task, name, rate, mean(found, "over", where={"method": name}), floor)
            for name, (rate, floor) in law.items()
        ]
    return Table(
        title="Slopes beside the law",
        columns=("network", "run", "predicted rate per step", "fitted over predicted", "predicted floor"),
        rows=tuple(lines),
        caption="Slopes of the logarithm of the irrelevant norm after the fit, 95 % intervals over seeds. The law "
        "is of linear networks; for ReLU it stands here to be compared with. The steps add noise of their own to "
        "that of the labels, which makes slopes a little steeper than predicted.",
    )


PUBLISHED_NORMS = Table(
    title="Published norms",
    columns=("target, step", "GD", "batch 512", "batch 128", "batch 32", "batch 1"),
    rows=(
        ("linear, 0.1", 3.6, 1.7, 0.47, 0.0, 0.12),
        ("linear, 0.5", 3.56, 0.1, 0.05, 0.15, 1.0),
        ("sine, 0.2", 4.1, 2.53, 0.4, 0.1, 0.5),
    ),
    caption="Irrelevant norm after 200,000 steps (gradient descent: 20,000), from about 4.48, as read "
    "off the figures of the authors' repository; clipped at norm 1, one run each. What falls faster need not end "
    "lower: the floor rises with step over batch.",
)
