"""Does the nonlinear modelling error vanish as a network comes to fit its training data?

The Hessian of a loss of outputs z is the Gauss-Newton matrix G, which the loss's curvature in z makes, and the
nonlinear modelling error N, which its slopes in z make: the residuals. Where the data is interpolated residuals
are 0, and so N is neglected. Here a network is trained on few images until it fits them, with half the squared
distance to the one-hot target and with cross-entropy, and on the way both matrices are multiplied with the same
random signs v: their traces, and the ratio |N v| / |G v|. All examples are one batch, in float64.

How fast either vanishes with the loss L follows if the outputs' own derivatives stay as they are. Squared error
has constant curvature and residuals as the root of L, so the ratio goes as the root of L. With cross-entropy both
residuals and curvature go as L once the labels are sure: N vanishes, but so does G, and the ratio need not. The
powers are fitted over those looks at which the loss is below a tenth of what it was at first.

Seen: with cross-entropy the ratio goes on falling, with a power of about 0.24, and the trace of G has one of about
0.73 in place of 1: labels are not sure enough yet, or the outputs' own derivatives do not stay as they are.

Expect a minute on 2 cores. ``--paper`` takes a ResNet-18 of width 16 and 5,000 images of CIFAR-10; we know of no
such experiment in the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log, log10
from statistics import fmean, linear_regression
from typing import Literal

import torch
from torch import Tensor, nn

from lowland.checks import whole
from lowland.data.batches import in_order
from lowland.estimate.random_blocks import COLUMNS, random_blocks
from lowland.experiments.beginning import begin
from lowland.experiments.images import look_epochs
from lowland.experiments.side_by_side import one_hot_error
from lowland.experiments.training import Training
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.nme import nme
from lowland.operators.problem import Problem, problem
from lowland.report.claim import Claim
from lowland.report.effect import Effect, sentences
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import IncompleteError
from lowland.report.interval import interval
from lowland.report.panels import heading
from lowland.report.shape import spearman
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.train.fit import fit
from lowland.train.hooks import Moment
from lowland.train.parts import Parts
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Does the nonlinear modelling error vanish as a network comes to fit its training data?"

PAPER_TITLE = "Dauphin, Agarwala, Mobahi, NeurIPS 2024"

NEAR = 0.1
"""How far from its prediction a power may be."""

LATE = 0.1
"""Share of the first loss below which a look counts for the power."""


def squared(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to the one-hot target, mean over the images."""
    return one_hot_error(outputs, labels) / 2


OBJECTIVES = {"squared error": squared, "cross-entropy": nn.functional.cross_entropy}

POWERS = {"squared error": 0.5, "cross-entropy": 0.0}
"""Of the loss, to which the ratio should be proportional."""

POWER_OF_G = 1.0
"""Of the loss, to which the trace of G should be proportional with cross-entropy."""


@dataclass(frozen=True, kw_only=True)
class Config(Training):
    """Settings of the study; the others are those of all image studies.

    Attributes:
        looks: How often a run is measured after the start, evenly in the logarithm of the epoch, at least 4.
        probes: Random vectors in each look, from 2 to 10.
        seeds: Runs with each loss, from different initialisations; a verdict needs 3.
    """

    model: str = "mlp:widths=(64,64),activation=gelu"
    train: int = 300
    epochs: int = 300
    batch: int = 50
    learning_rate: float = 0.1
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    looks: int = 12
    probes: int = 10
    seeds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("looks", self.looks, 4)
        whole("seeds", self.seeds)
        whole("probes", self.probes, 2)
        if self.probes > COLUMNS:
            raise ValueError(f"probes must be at most {COLUMNS}, got {self.probes}.")


PAPER = Config(
    data="cifar10",
    model="resnet:depth=18,width=16,activation=gelu",
    train=5000,
    epochs=200,
    batch=128,
    seeds=3,
)

TINY = Config(model="mlp:widths=(8,),activation=gelu", train=60, epochs=30, batch=60, looks=5, probes=2, seeds=3)


def cells(config: Config) -> list[Cell]:
    """A run with each loss and seed."""
    return [{"objective": name, "seed": seed} for name in OBJECTIVES for seed in range(config.seeds)]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail.

    Raises:
        ValueError: If the network is linear in its weights, or a setting out of its range.
    """
    start = begin(config, 0, "cpu", dtype=torch.float64)
    some = problem(start.model, squared, in_order(start.train.take(2)))
    if not look(some, 2)["ratio"]:
        raise ValueError(f"model must not be linear in its weights, got {config.model!r}: it has no NME.")


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network; a row before the first step, and one for every look."""
    start = begin(config, int(str(cell["seed"])), context.device, dtype=torch.float64)
    loss = OBJECTIVES[str(cell["objective"])]
    p = problem(start.model, loss, in_order(start.train))
    due = look_epochs(config.epochs, config.looks)

    def hook(model: nn.Module, moment: Moment) -> Row | None:
        context.progress(moment.epoch / moment.epochs)
        return look(p, config.probes) if moment.epoch in due and not moment.row["diverged"] else None

    first = {"epoch": 0, "diverged": False, **look(p, config.probes)}
    parts = Parts(criterion=loss)
    history = fit(start.model, start.batches, config.recipe("sgd"), parts=parts, hooks=[hook], progress=False)
    seen = [first, *(row for row in history.rows if row["epoch"] in due or row["diverged"])]
    kept = ("epoch", "diverged", "train_loss", "ratio", "trace_g", "trace_n")
    return [{**cell, **{name: row[name] for name in kept if name in row}} for row in seen]


def look(p: Problem, probes: int) -> Row:
    """The loss, and what both matrices make of the same random signs."""
    G, N = gauss_newton(p), nme(p)
    (Z,) = random_blocks(G, probes, seed=0)
    GZ, NZ = G @ Z, N @ Z
    return {
        "train_loss": p.mean_loss(),
        "ratio": (NZ.norm(dim=0) / GZ.norm(dim=0)).mean().item(),
        "trace_g": (Z * GZ).sum(0).mean().item(),
        "trace_n": (Z * NZ).sum(0).mean().item(),
    }


def by_seed(rows: Sequence[Row], objective: str) -> tuple[list[list[Row]], str]:
    """The looks of every run that did not diverge, and a sentence about those that did.

    Raises:
        IncompleteError: If all did, or there are none.
    """
    mine = [row for row in rows if row["objective"] == objective]
    lost = {row["seed"] for row in mine if row["diverged"]}
    kept = sorted({row["seed"] for row in mine} - lost)
    doubt = f"{len(lost)} runs with {objective} diverged." if lost else ""
    if not kept:
        raise IncompleteError(doubt or f"There are no runs with {objective}.")
    return [[row for row in mine if row["seed"] == seed] for seed in kept], doubt


def falls(rows: Sequence[Row]) -> list[Effect]:
    """Spearman correlation of the loss and the ratio over the looks of a run."""
    effects = []
    for name in OBJECTIVES:
        runs, doubt = by_seed(rows, name)
        found = [spearman([r["train_loss"] for r in looks], [r["ratio"] for r in looks]) for looks in runs]
        size = interval(found)
        size = replace(size, low=max(-1.0, size.low), high=min(1.0, size.high), doubt=doubt)
        effects.append(Effect.of(name, size, "above", 0.5))
    return effects


def power(looks: Sequence[Row], quantity: str) -> float | None:
    """The power of the loss to which a quantity is proportional, late in a run; None with fewer than 3 looks."""
    late = [row for row in looks if row["train_loss"] < LATE * looks[0]["train_loss"] and row[quantity] > 0]
    if len(late) < 3:
        return None
    return linear_regression([log(r["train_loss"]) for r in late], [log(r[quantity]) for r in late]).slope


def goes_as(rows: Sequence[Row], objective: str, quantity: str, predicted: float, name: str) -> Effect:
    """The power of the loss to which a quantity is proportional, less the predicted one.

    Raises:
        IncompleteError: If in no run the loss fell far enough.
    """
    runs, doubt = by_seed(rows, objective)
    found = [power(looks, quantity) for looks in runs]
    known = [each - predicted for each in found if each is not None]
    if not known:
        raise IncompleteError(f"With {objective} the loss never fell to a tenth at three looks.")
    short = (
        f"In {len(found) - len(known)} runs the loss did not fall far enough." if len(known) < len(found) else ""
    )
    size = replace(interval(known), doubt=sentences(doubt, short))
    return Effect.of(f"{name}: power of the loss, less {predicted:g}", size, "within", NEAR)


def as_predicted(objective: str, rows: Sequence[Row]) -> Effect:
    """The power of the ratio less the predicted one."""
    return goes_as(rows, objective, "ratio", POWERS[objective], "share of the NME")


def both_vanish(rows: Sequence[Row]) -> list[Effect]:
    """With cross-entropy the powers of the trace of G and of the ratio, less the predicted ones."""
    name = "cross-entropy"
    return [goes_as(rows, name, "trace_g", POWER_OF_G, "trace of G"), as_predicted(name, rows)]


CLAIMS = (
    Claim(
        id="the_share_falls_with_the_loss",
        text="The share of the nonlinear modelling error (NME) in the curvature falls as the training loss does, "
        "with squared error and with cross-entropy.",
        source=f"{PAPER_TITLE}: the NME is neglected because it vanishes at interpolation",
        check=falls,
    ),
    Claim(
        id="with_squared_error_it_falls_as_the_root_of_the_loss",
        text="With squared error the share of the NME in the curvature goes as the training loss to the power "
        "0.5, within 0.1, so it vanishes.",
        source="Residuals are the root of the loss, curvature is constant; see the text",
        check=partial(as_predicted, "squared error"),
    ),
    Claim(
        id="with_cross_entropy_both_parts_vanish_alike",
        text="With cross-entropy the Gauss-Newton matrix vanishes along with the NME: its trace goes as the "
        "training loss to the power 1, and the NME's share of the curvature to the power 0, both within 0.1.",
        source="Control of this study: residuals and curvature both go as the loss; see the text",
        check=both_vanish,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The ratio against the loss with the predicted line, and both traces over training."""
    return [
        Figure(
            title="Share of the NME against the training loss",
            panels=tuple(against_loss(rows, name) for name in OBJECTIVES),
            caption="|N v| / |G v| for random v at every look, training running from right to left; means over "
            "seeds at each look. The line has the predicted slope and goes through the last point.",
        ),
        Figure(
            title="Traces over training",
            panels=tuple(over_training(rows, name) for name in OBJECTIVES),
            caption="Trace of the Gauss-Newton matrix G, and size of that of the NME N.",
        ),
    ]


def against_loss(rows: Sequence[Row], objective: str) -> Panel:
    """Mean ratio against mean loss, look by look, and the line of the predicted slope."""
    runs, _ = by_seed(rows, objective)
    count = min(map(len, runs))
    looks = [[looks[at] for looks in runs] for at in range(count)]
    measured = {fmean(log10(row["train_loss"]) for row in each): [row["ratio"] for row in each] for each in looks}
    xs = tuple(sorted(measured))
    anchor = fmean(measured[xs[0]])
    line = tuple((anchor * 10 ** ((x - xs[0]) * POWERS[objective]),) for x in xs)
    curves = (
        Curve(label="measured", x=xs, values=tuple(tuple(measured[x]) for x in xs)),
        Curve(label=f"power {POWERS[objective]:g}", x=xs, values=line),
    )
    return Panel(
        x_label="training loss, as a power of ten",
        y_label="|N v| / |G v|",
        curves=curves,
        title=heading(objective),
        y_scale="log",
    )


def over_training(rows: Sequence[Row], objective: str) -> Panel:
    """Both traces against the epoch, without the start, which a logarithm has no place for."""
    mine = [row for row in rows if row["objective"] == objective and row["epoch"] > 0]
    sizes = {"G": lambda row: row["trace_g"], "N": lambda row: abs(row["trace_n"])}
    curves = [Curve.of(mine, label, x="epoch", y=size) for label, size in sizes.items()]
    return Panel(
        x_label="epoch",
        y_label="trace",
        curves=tuple(curves),
        title=heading(objective),
        x_scale="log",
        y_scale="log",
        spread="band",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """Loss, ratio and traces at the start and at the end, and the fitted powers."""
    fitted = []
    for name in OBJECTIVES:
        runs, _ = by_seed(rows, name)
        powers = [[p for looks in runs if (p := power(looks, key)) is not None] for key in ("ratio", "trace_g")]
        fitted.append((name, POWERS[name], *(interval(found) if found else None for found in powers)))
    return [
        curvature(rows, 0, "before training"),
        curvature(rows, -1, "after training"),
        Table(
            title="Fitted powers of the loss",
            columns=("loss", "predicted, ratio", "fitted, ratio", "fitted, trace of G"),
            rows=tuple(fitted),
            caption="Over the looks at which the loss is below a tenth of the first.",
        ),
    ]


def curvature(rows: Sequence[Row], at: int, when: str) -> Table:
    """A line for each loss, of one look."""
    names = {
        "training loss": "train_loss",
        "|N v| / |G v|": "ratio",
        "trace of G": "trace_g",
        "trace of N": "trace_n",
    }
    lines = [
        (name, *(interval([looks[at][key] for looks in by_seed(rows, name)[0]]) for key in names.values()))
        for name in OBJECTIVES
    ]
    caption = "Means over seeds, 95 % intervals."
    return Table(title=f"Curvature {when}", columns=("loss", *names), rows=tuple(lines), caption=caption)
