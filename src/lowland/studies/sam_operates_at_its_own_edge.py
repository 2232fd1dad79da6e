"""Does sharpness-aware minimisation settle at an edge of stability of its own, below that of gradient descent?

Full-batch gradient descent raises the largest eigenvalue of the Hessian until it is 2 / learning rate, and then
hovers there: the edge of stability. SAM without normalisation (USAM) is stable on a quadratic up to a lower
curvature, which :func:`lowland.theory.sam_edge.sam_edge` gives in closed form without anything to fit. Here a
small network is trained on a few images with all of them in every step, by gradient descent and by USAM with
several radii and learning rates, and the largest eigenvalue is followed by Lanczos' method, each time started from
the last eigenvector. What it settles at is its mean over the last quarter of training.

Not every training gets to an edge: the eigenvalue may rise too slowly, or fall again, as it does with
cross-entropy. That is seen from the steps alone, whatever the eigenvalue: a run that an edge holds goes back with
every step where it came from; one that nothing holds goes on as it went, be it short of the edge or just beyond
it. Such a run says nothing about where the edge is, and leaves the claim undecided.

Expect 3 minutes on 2 cores. ``--paper`` trains the network of the first paper on 5,000 images of CIFAR-10 and is
meant for a GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor, nn

from lowland import catalog
from lowland.checks import ascending, one_of, whole
from lowland.engine.bind import Engine
from lowland.estimate.eigen_pairs import EigenPairs
from lowland.estimate.top import top
from lowland.experiments.side_by_side import one_hot_error
from lowland.experiments.training import load_images
from lowland.operators.hessian import hessian
from lowland.operators.problem import problem
from lowland.report.claim import Claim
from lowland.report.effect import Effect, sentences
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.interval import Interval
from lowland.report.means import means
from lowland.report.panels import curves_by
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.theory.sam_edge import sam_edge
from lowland.types import Closure, Row

__all__ = ["Config"]

QUESTION = "Does SAM settle at an edge of stability of its own, and where the closed form says?"

NEAR = 0.1
"""Share of the closed form that counts as being there."""

SMOOTH = 0.9
"""Mean cosine of successive steps above which no edge holds a run: where each goes on as the last, it is 1."""

LOST = 1e6
"""A loss beyond this has diverged."""

TOLERANCE = 1e-2
"""How near the eigenvalue must be, relative to itself."""


def squared(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to the one-hot target, mean over the images."""
    return one_hot_error(outputs, labels) / 2


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": squared, "ce": nn.functional.cross_entropy}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        data: A data set, with its arguments.
        model: A network, with its arguments; smooth activations have a Hessian everywhere.
        examples: Training images, all in every step.
        loss: ``mse``, half the squared distance to the one-hot target, or ``ce``, cross-entropy.
        steps: Of every run, less what is over after an equal number between looks.
        looks: How often the eigenvalue is taken, evenly spread; at least 4, and at most half the steps.
        learning_rates: Constant ones, > 0.
        rhos: Factors on the gradient, > 0, ascending; gradient descent is run as well.
        seeds: Runs of every setting, from different initialisations; a verdict needs 3.
    """

    data: str = "digits"
    model: str = "mlp:widths=(32,32),activation=tanh"
    examples: int = 300
    loss: Literal["mse", "ce"] = "mse"
    steps: int = 2000
    looks: int = 80
    learning_rates: tuple[float, ...] = (0.1, 0.2)
    rhos: tuple[float, ...] = (0.05, 0.1, 0.2)
    seeds: int = 5

    def __post_init__(self) -> None:
        one_of("loss", self.loss, LOSSES)
        whole("examples", self.examples)
        whole("seeds", self.seeds)
        whole("looks", self.looks, 4)
        whole("steps", self.steps, 2 * self.looks)
        for name in ("learning_rates", "rhos"):
            ascending(name, getattr(self, name))
        catalog.module("data.sets", catalog.parse(self.data)[0])
        catalog.module("models", catalog.parse(self.model)[0])


PAPER = Config(
    data="cifar10",
    model="mlp:widths=(200,200),activation=tanh",
    examples=5000,
    steps=20_000,
    looks=200,
    learning_rates=(0.02, 0.04),
    rhos=(0.01, 0.02, 0.04),
)

TINY = Config(
    model="mlp:widths=(4,),activation=tanh",
    examples=40,
    steps=16,
    looks=8,
    learning_rates=(0.2,),
    rhos=(0.1, 0.2),
    seeds=3,
)


def cells(config: Config) -> list[Cell]:
    """A run for every learning rate, radius and seed; radius 0 is gradient descent."""
    return [
        {"method": f"usam:rho={rho:g}" if rho else "sgd", "learning_rate": eta, "rho": rho, "seed": seed}
        for eta in config.learning_rates
        for rho in (0.0, *config.rhos)
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Refuse by words what would make every run fail."""
    start(config, 0, "cpu")


def start(config: Config, seed: int, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, in float64, with the images and labels that it is trained on."""
    data = load_images(config.data, config.examples)
    split = data.train.take(config.examples).to(device)
    torch.manual_seed(derive(seed, "model"))
    model: nn.Module = catalog.build("models", config.model, shape=data.shape, classes=len(data.classes))
    return model.to(device, torch.float64), split.x.double(), split.y


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network; a row per look. A run that diverged ends in a row that says so."""
    eta, rho = float(str(cell["learning_rate"])), float(str(cell["rho"]))
    model, x, y = start(config, int(str(cell["seed"])), context.device)
    loss, stretch = LOSSES[config.loss], config.steps // config.looks
    optimizer = torch.optim.SGD(model.parameters(), lr=eta)
    engine = catalog.build("methods", str(cell["method"])).bind(model)
    pairs, rows = None, []
    for look in range(1, config.looks + 1):
        context.progress((look - 1) / config.looks)
        began = perf_counter()
        cosine = descend(engine, optimizer, lambda: loss(model(x), y), stretch)
        here = loss(model(x), y).item()
        facts = {**cell, "step": look * stretch, "edge": sam_edge(eta, rho)}
        context.timing("training", perf_counter() - began)
        if not here < LOST:
            return [*rows, {**facts, "diverged": True, "final": True}]
        began = perf_counter()
        pairs = largest(model, loss, (x, y), pairs)
        value = pairs.values[0].item()
        context.timing("measuring", perf_counter() - began)
        found = {"loss": here, "cosine": cosine, "lambda_max": value, "ratio": value / facts["edge"]}
        rows.append({**facts, **found, "diverged": False, "final": look == config.looks})
    return rows


def descend(engine: Engine, optimizer: torch.optim.Optimizer, closure: Closure, steps: int) -> float:
    """Take some steps; returns the mean cosine between the directions of one and the next."""
    found, last = [], None
    for _ in range(steps):
        optimizer.zero_grad()
        engine.backward(closure)
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        d = torch.cat([grad.reshape(-1) for grad in grads])
        if last is not None:
            found.append(torch.cosine_similarity(d, last, dim=0))
        last = d
        optimizer.step()
    return torch.stack(found).mean().item()


def largest(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: tuple[Tensor, Tensor],
    warm: EigenPairs | None,
) -> EigenPairs:
    """The largest eigenvalue of the Hessian, from the last eigenvector; the first look is checked."""
    H = hessian(problem(model, loss, data, mode="train", check=warm is None))
    return top(H, 1, tol=TOLERANCE, warm=warm, strict=False)


def settled(rows: Sequence[Row]) -> list[Row]:
    """One row per run: means over its last quarter of ``lambda_max``, ``ratio``, ``cosine`` and ``loss``.

    ``share`` is the eigenvalue over gradient descent's edge, ``off`` is ``ratio`` less 1.
    """
    runs: dict[tuple[float, float, int], list[Row]] = {}
    for row in rows:
        runs.setdefault((row["learning_rate"], row["rho"], row["seed"]), []).append(row)
    return [_settled(mine) for mine in runs.values()]


def _settled(rows: Sequence[Row]) -> Row:
    facts = {name: rows[-1][name] for name in ("method", "learning_rate", "rho", "seed", "edge", "diverged")}
    if facts["diverged"]:
        return facts
    last = rows[-(len(rows) // 4) :]
    means = {name: fmean(row[name] for row in last) for name in ("lambda_max", "ratio", "cosine", "loss")}
    return {**facts, **means, "off": means["ratio"] - 1, "share": means["lambda_max"] * facts["learning_rate"] / 2}


def over_seeds(rows: Sequence[Row], eta: float, rho: float, column: str) -> Interval:
    """A quantity of settled runs, with a doubt if one diverged or is not held by an edge."""
    mine = [row for row in rows if row["learning_rate"] == eta and row["rho"] == rho]
    size = Grid.of(mine, column).contrast({rho: 1})
    smooth = [row["seed"] for row in mine if not row["diverged"] and row["cosine"] > SMOOTH]
    told = (
        f"With learning rate {eta:g} and rho {rho:g}, {len(smooth)} of {len(mine)} runs were not held by "
        "an edge: their steps go on as they went."
        if smooth
        else ""
    )
    return replace(size, doubt=sentences(size.doubt, told))


def settings(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Learning rates and radii, in their order."""
    return list(dict.fromkeys((row["learning_rate"], row["rho"]) for row in rows))


def at_its_edge(perturbed: bool, rows: Sequence[Row]) -> list[Effect]:
    """How far from its edge, relative to it, each setting settles: gradient descent's, or all of USAM's."""
    runs = settled(rows)
    return [
        Effect.of(
            named(eta, rho, "eigenvalue over edge less 1"), over_seeds(runs, eta, rho, "off"), "within", NEAR
        )
        for eta, rho in settings(rows)
        if (rho > 0) == perturbed
    ]


def below_gradient_descent(rows: Sequence[Row]) -> list[Effect]:
    """USAM's eigenvalue over 2 / learning rate."""
    runs = settled(rows)
    return [
        Effect.of(
            named(eta, rho, "eigenvalue over 2 / learning rate"), over_seeds(runs, eta, rho, "share"), "below", 1
        )
        for eta, rho in settings(rows)
        if rho
    ]


def named(eta: float, rho: float, measured: str) -> str:
    """What was measured, after the setting."""
    radius = f", rho {rho:g}" if rho else ""
    return f"learning rate {eta:g}{radius}: {measured}"


CLAIMS = (
    Claim(
        id="gradient_descent_hovers_at_its_edge",
        text="Gradient descent's largest eigenvalue settles within a tenth of 2 / learning rate.",
        source="Cohen, Kaur, Li, Kolter, Talwalkar, ICLR 2021",
        check=partial(at_its_edge, False),
    ),
    Claim(
        id="usam_settles_at_its_own_edge",
        text="USAM's largest eigenvalue settles within a tenth of the closed form, at every radius and rate.",
        source="Agarwala, Dauphin, ICML 2023",
        check=partial(at_its_edge, True),
    ),
    Claim(
        id="usam_stays_below_gradient_descents_edge",
        text="USAM's largest eigenvalue settles below 2 / learning rate.",
        source="Agarwala, Dauphin, ICML 2023",
        check=below_gradient_descent,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """The eigenvalue over training, as it is and over its edge; and where it settles against rho."""
    rates = config.learning_rates
    return [
        Figure(
            title="Largest eigenvalue over training",
            panels=tuple(over_training(rows, eta, "lambda_max", "largest eigenvalue") for eta in rates),
            caption="Largest eigenvalue of the Hessian of the training loss; rho 0 is gradient descent.",
        ),
        Figure(
            title="Largest eigenvalue over its edge",
            panels=tuple(over_training(rows, eta, "ratio", "eigenvalue over edge") for eta in rates),
            caption="The same over the closed form of its own edge: at 1 a run is at its edge.",
        ),
        Figure(
            title="Where the eigenvalue settles",
            panels=tuple(where_settled(settled(rows), eta) for eta in rates),
            caption="Mean over the last quarter of training, beside the closed form, in which nothing is fitted. "
            "At rho 0 the closed form is 2 / learning rate.",
        ),
    ]


def over_training(rows: Sequence[Row], eta: float, quantity: str, label: str) -> Panel:
    """A curve for every radius, at one learning rate."""
    mine = [row for row in rows if row["learning_rate"] == eta]
    return Panel(
        x_label="step",
        y_label=label,
        curves=curves_by(mine, "rho", x="step", y=quantity, label="rho {:g}"),
        title=f"learning rate {eta:g}",
        palette="ordered",
        spread="band",
    )


def where_settled(runs: Sequence[Row], eta: float) -> Panel:
    """Measured and closed form against rho, at one learning rate."""
    mine = [row for row in runs if row["learning_rate"] == eta]
    first = [{**row, "diverged": False} for row in mine if row["seed"] == mine[0]["seed"]]
    curves = (
        Curve.of(mine, "measured", x="rho", y="lambda_max"),
        Curve.of(first, "closed form", x="rho", y="edge"),
    )
    return Panel(
        x_label="rho",
        y_label="largest eigenvalue",
        curves=curves,
        title=f"learning rate {eta:g}",
        x_scale="even",
    )


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every learning rate and radius."""
    runs = [{**row, "first": 2 / row["learning_rate"]} for row in settled(rows)]
    return [
        means(
            runs,
            "Where the largest eigenvalue settles",
            by={"learning rate": "learning_rate", "rho": "rho", "2 / learning rate": "first", "its edge": "edge"},
            of={
                "eigenvalue": "lambda_max",
                "over its edge": "ratio",
                "cosine of steps": "cosine",
                "training loss": "loss",
            },
            caption="Means over the last quarter of training and over seeds, 95 % intervals. Cosine: of the "
            "directions of successive steps; near 1 no edge holds a run, whatever its eigenvalue.",
        )
    ]
