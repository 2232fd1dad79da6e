"""Is there a depth that suits a target of low rank, and are deep linear networks lost on one of full rank?

A linear network learns y = W* x from fewer examples than inputs, so that many matrices fit. W* is a random matrix
of a given rank with spectral norm 1; the network is a product of square matrices with Gaussian entries, trained on
all examples in every step with momentum. Every depth can express every matrix, so what differs is which of the
matrices that fit is found. The paper finds that a network that is too shallow or too deep generalises worse when
W* has low rank, and that deep ones do not converge when it has full rank.

The error on fresh Gaussian inputs, as a share of the target's variance, is exactly |W - W*|^2 / |W*|^2 in
Frobenius norms; nothing is sampled. The rank of W is the entropy of its singular values. Entries have variance
scale^2 / inputs; the paper's scale is not known to us. At 0.7 the signal shrinks from layer to layer and training
begins near the saddle at zero, where one direction after the other is learnt; at 1.0 it keeps its size. Both are
here, since the start is part of the finding.

Where training diverges it begins again with a third of the learning rate and three times the steps, so that
learning rate times steps is the same for every network: none is called lost because it was given less of it.

Expect 5 minutes on 2 cores. The paper's sizes and numbers are not at hand; ``--paper`` takes twice
the dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, sqrt
from typing import Literal

import torch
from torch import Tensor

from lowland.checks import ascending, at_least, whole
from lowland.observe.ranks import effective_rank_entropy
from lowland.report.claim import Claim
from lowland.report.effect import Effect
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.grid import Grid
from lowland.report.means import means
from lowland.report.shape import dip, trend
from lowland.report.table import Table
from lowland.runs.cell import Cell
from lowland.runs.context import Context
from lowland.seeds import generator
from lowland.types import Row

__all__ = ["Config"]

QUESTION = "Is there a depth that suits a target of low rank, and are deep networks lost on one of full rank?"

PAPER_TITLE = "Huh, Mobahi, Zhang, Cheung, Agrawal, Isola, TMLR 2023"

LEFT = 10.0
"""Percent of the target's variance that a network which did not converge leaves on its training data."""

FLOOR = 1e-6
"""Percent below which training errors are drawn as this."""

ATTEMPTS = 6


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study.

    Attributes:
        size: Inputs, outputs and hidden units.
        examples: To train on, fewer than inputs.
        ranks: Of the targets, below ``size``; one of full rank is learnt as well.
        depths: Numbers of factors, ascending from 1, at least three.
        small: Scale of the start near zero, > 0.
        large: Scale of the start that keeps the signal's size, > ``small``.
        steps: Of a training at the first learning rate; three times as many at a third of it.
        learning_rate: The first to try; a third of it where training diverges.
        seeds: Targets, data and starts; a verdict needs 3.
    """

    size: int = 32
    examples: int = 24
    ranks: tuple[int, ...] = (1, 4)
    depths: tuple[int, ...] = (1, 2, 4, 8, 16)
    small: float = 0.7
    large: float = 1.0
    steps: int = 2500
    learning_rate: float = 0.02
    seeds: int = 5

    def __post_init__(self) -> None:
        for name in ("size", "examples", "steps", "seeds"):
            whole(name, getattr(self, name))
        for name in ("small", "learning_rate"):
            at_least(name, getattr(self, name), 1e-6)
        if not self.large > self.small:
            raise ValueError(f"large must be above small, {self.small}, got {self.large}.")
        if self.examples >= self.size:
            raise ValueError(f"examples must be fewer than the {self.size} inputs, got {self.examples}.")
        if not self.ranks or not all(0 < rank < self.size for rank in self.ranks):
            raise ValueError(f"ranks must be between 1 and size - 1, at least one, got {self.ranks}.")
        ascending("depths", self.depths, first=1, least=3)


PAPER = Config(size=64, examples=48, ranks=(1, 4, 16), steps=10_000, seeds=10)

TINY = Config(size=8, examples=5, ranks=(1,), depths=(1, 2, 4), steps=40, seeds=3)


def cells(config: Config) -> list[Cell]:
    """Every target from both starts; that of full rank from the small one."""
    arms = [(rank, start) for rank in config.ranks for start in ("small", "large")]
    return [
        {"rank": rank, "start": start, "depth": depth, "seed": seed}
        for rank, start in [*arms, (config.size, "small")]
        for depth in config.depths
        for seed in range(config.seeds)
    ]


def check(config: Config) -> None:
    """Nothing but the settings themselves can be wrong."""


def run(config: Config, cell: Cell, context: Context) -> list[Row]:
    """Train one network, at the largest rate that it survives."""
    rank, depth, seed = (int(str(cell[name])) for name in ("rank", "depth", "seed"))
    truth, x = target(config, rank, seed)
    scale = config.small if cell["start"] == "small" else config.large
    facts = {**cell, "factors_more": depth - 1, "full": rank == config.size}
    for attempt in range(ATTEMPTS):
        rate = config.learning_rate / 3**attempt
        W = trained(truth, x, start(config, depth, scale, seed), rate, config.steps * 3**attempt)
        context.progress((attempt + 1) / ATTEMPTS)
        if isfinite(W.sum().item()):
            left = (x @ (W - truth).T).square().sum() / (x @ truth.T).square().sum()
            error = (W - truth).square().sum() / truth.square().sum()
            found = {"train_error": 100 * left.item(), "error": 100 * error.item(), "learning_rate": rate}
            entropy = effective_rank_entropy(torch.linalg.svdvals(W))
            return [{**facts, **found, "effective_rank": entropy, "diverged": False}]
    return [{**facts, "diverged": True}]


def target(config: Config, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """A Gaussian matrix of this rank with spectral norm 1, and the inputs to train on."""
    rng = generator(seed, "target", rank)
    A, B = (torch.randn(config.size, rank, generator=rng, dtype=torch.float64) for _ in range(2))
    W = A @ B.T if rank < config.size else torch.randn(rank, rank, generator=rng, dtype=torch.float64)
    x = torch.randn(config.examples, config.size, generator=rng, dtype=torch.float64)
    return W / torch.linalg.matrix_norm(W, 2), x


def start(config: Config, depth: int, scale: float, seed: int) -> Tensor:
    """The Gaussian factors of a linear network, first to last, (depth, size, size)."""
    shape, rng = (depth, config.size, config.size), generator(seed, "start", depth)
    return torch.randn(shape, generator=rng, dtype=torch.float64) * (scale / sqrt(config.size))


def trained(truth: Tensor, x: Tensor, factors: Tensor, rate: float, steps: int) -> Tensor:
    """The matrix that the network has become; not finite where training diverged."""
    factors = factors.clone().requires_grad_()
    optimizer, y = torch.optim.SGD([factors], rate, momentum=0.9), x @ truth.T
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (outputs(factors, x) - y).square().sum(1).mean()
        if not loss < 1e9:
            return torch.full_like(truth, torch.inf)
        loss.backward()
        optimizer.step()
    return outputs(factors, torch.eye(len(truth), dtype=torch.float64)).detach().T


def outputs(factors: Tensor, x: Tensor) -> Tensor:
    """What a linear network makes of inputs (n, size)."""
    for factor in factors.unbind():
        x = x @ factor.T
    return x


def targets(rows: Sequence[Row], full: bool = False) -> list[int]:
    """The ranks of the targets of low rank, or the full one."""
    return sorted({row["rank"] for row in rows if row["full"] == full})


def over_depth(rows: Sequence[Row], outcome: str, rank: int, start: str) -> Grid:
    """One outcome against the number of factors beyond the first."""
    return Grid.of(rows, outcome, over="factors_more", where={"rank": rank, "start": start})


def better_than(rows: Sequence[Row], start: str, end: Literal["fall", "rise"]) -> list[Effect]:
    """How far the error falls from one factor to the best number, or rises from there to the largest."""
    names = {"fall": "error of one factor less best", "rise": "error of the deepest less best"}
    effects = []
    for rank in targets(rows):
        found = dip(over_depth(rows, "error", rank, start))
        chosen = ", ".join(f"{more + 1:g}" for more in sorted(set(found.chosen)))
        note = f"Rank {rank}: best number of factors between, chosen for each seed by the others: {chosen}."
        effects.append(Effect.of(f"rank {rank}: {names[end]}", getattr(found, end), "above", unit="%", note=note))
    return effects


def rank_falls(rows: Sequence[Row]) -> list[Effect]:
    """Rank correlation of the solution's rank with depth."""
    grids = {rank: over_depth(rows, "effective_rank", rank, "small") for rank in targets(rows)}
    return [Effect.of(f"rank {r}: correlation of rank and depth", trend(g), "below") for r, g in grids.items()]


def deep_fail_on_full_rank(rows: Sequence[Row]) -> list[Effect]:
    """What one factor and the deepest network leave on the training data."""
    grid = over_depth(rows, "train_error", targets(rows, full=True)[0], "small")
    shallow, deep = (grid.contrast({at: 1}) for at in (0, grid.points[-1]))
    return [
        Effect.of("deepest: training error", deep, "above", LEFT, unit="%"),
        Effect.of("one factor: training error", shallow, "below", LEFT / 10, unit="%"),
    ]


def deep_learn_low_rank(rows: Sequence[Row]) -> list[Effect]:
    """What the deepest network leaves on the training data of targets of low rank."""
    grids = {rank: over_depth(rows, "train_error", rank, "small") for rank in targets(rows)}
    sizes = {rank: grid.contrast({grid.points[-1]: 1}) for rank, grid in grids.items()}
    return [
        Effect.of(f"rank {rank}: training error of the deepest", size, "below", LEFT, unit="%")
        for rank, size in sizes.items()
    ]


CLAIMS = (
    Claim(
        id="too_shallow_is_worse",
        text="On targets of low rank one factor generalises worse than a few, from a small start.",
        source=f"{PAPER_TITLE}: least squares with targets of low rank",
        check=partial(better_than, start="small", end="fall"),
    ),
    Claim(
        id="too_deep_is_worse",
        text="On targets of low rank the most factors generalise worse than a few, from a small start.",
        source=f"{PAPER_TITLE}: least squares with targets of low rank",
        check=partial(better_than, start="small", end="rise"),
    ),
    Claim(
        id="too_shallow_is_worse_from_a_larger_start",
        text="On targets of low rank one factor generalises worse than a few also from a start that keeps the "
        "signal's size.",
        source="Control of this study: the start is part of the finding",
        check=partial(better_than, start="large", end="fall"),
    ),
    Claim(
        id="too_deep_is_worse_from_a_larger_start",
        text="On targets of low rank the most factors generalise worse than a few also from a start that keeps "
        "the signal's size.",
        source="Control of this study: the start is part of the finding",
        check=partial(better_than, start="large", end="rise"),
    ),
    Claim(
        id="rank_falls_with_depth",
        text="The deeper the network, the lower the rank of the matrix that it finds, for targets of low rank.",
        source=f"{PAPER_TITLE}: least squares with targets of low rank",
        check=rank_falls,
    ),
    Claim(
        id="deep_networks_do_not_learn_full_rank",
        text="On a target of full rank the deepest network leaves 10 % of the variance of its own training data, "
        "where one factor leaves less than 1 %.",
        source=f"{PAPER_TITLE}: deep models fail to converge on targets of full rank",
        check=deep_fail_on_full_rank,
    ),
    Claim(
        id="deep_networks_learn_low_rank",
        text="On targets of low rank the deepest network leaves less than 10 % of the variance of its own "
        "training data.",
        source="Control of this study: depth alone does not keep a network from learning",
        check=deep_learn_low_rank,
    ),
)


def figures(config: Config, rows: Sequence[Row]) -> list[Figure]:
    """Error, rank and training error against depth."""
    return [
        Figure(
            title="Error on fresh inputs against depth",
            panels=tuple(errors(rows, rank) for rank in targets(rows)),
            caption="As a share of the target's variance; 100 % is what the zero matrix has.",
        ),
        Figure(
            title="Rank of what is found, and what is left of the training data",
            panels=(
                against_depth(rows, "effective_rank", "rank (nats)", "Rank of the solution"),
                against_depth(rows, "train_error", "training error (%)", "Training error", log=True),
            ),
            caption="From the small start. Rank: entropy of the singular values. Training errors below 0.000001 % "
            "are drawn there.",
        ),
    ]


def errors(rows: Sequence[Row], rank: int) -> Panel:
    """Both starts, for one target."""
    names = {"small": "small start", "large": "larger start"}
    curves = [
        Curve.of(rows, names[start], x="depth", y="error", where={"rank": rank, "start": start}) for start in names
    ]
    return Panel(
        x_label="factors",
        y_label="error (%)",
        curves=tuple(curves),
        title=f"target of rank {rank}",
        x_scale="even",
        y_scale="log",
    )


def against_depth(rows: Sequence[Row], outcome: str, label: str, title: str, log: bool = False) -> Panel:
    """A curve for every target, from the small start."""
    ranks = [*targets(rows), *targets(rows, full=True)]
    curves = [
        Curve.of(rows, f"rank {rank}", x="depth", y=drawn(outcome), where={"rank": rank, "start": "small"})
        for rank in ranks
    ]
    return Panel(
        x_label="factors",
        y_label=label,
        curves=tuple(curves),
        title=title,
        x_scale="even",
        y_scale="log" if log else "linear",
        palette="ordered",
    )


def drawn(outcome: str) -> Callable[[Row], float | None]:
    """The outcome of a row, not below what a logarithmic axis can show."""
    return lambda row: None if row["diverged"] else max(row[outcome], FLOOR)


def tables(config: Config, rows: Sequence[Row]) -> list[Table]:
    """A line for every target, start and depth."""
    return [
        means(
            rows,
            "What is found, by depth",
            by={"target's rank": "rank", "start": "start", "factors": "depth"},
            of={
                "error (%)": "error",
                "training error (%)": "train_error",
                "rank (nats)": "effective_rank",
                "rate": "learning_rate",
            },
            caption="Means over seeds, 95 % intervals. Rate: mean of the learning rates that training survived.",
        )
    ]
