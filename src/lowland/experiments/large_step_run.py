"""Runs of small regressions with large steps for shares of training, side by side."""

import math
import sys
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from lowland.experiments.large_steps import Regression, large_step, schedule, trained
from lowland.measurements.jacobian_rank import JacobianRank
from lowland.measuring.measure import measure
from lowland.runs.context import Context
from lowland.seeds import derive
from lowland.types import Row

__all__ = ["large_step_run", "seen"]

LOOKS = 20
"""How often a run is looked at after its start, evenly spread."""


def large_step_run(task: Regression, phases: Sequence[float], count: int, context: Context) -> list[Row]:
    """Train networks with large steps for every share of training and seed, the steps chosen for the longest.

    Args:
        task: What is learnt.
        phases: Shares of training with large steps.
        count: Seeds.
        context: Where to compute.

    Returns:
        A row for every look, share and seed; see :func:`seen`. All rows of a seed whose training survives no step
        say that it diverged.
    """
    seeds = [derive(seed, "large steps") for seed in range(count)]
    large = large_step(task, seeds, max(phases), context.device)
    schedules = torch.stack([schedule(task.steps, phase, task.growth) for phase in phases], dim=1)
    arms, sizes, rows = list(product(phases, range(count))), large.expand(len(phases), -1), []
    for step, weights in trained(task, seeds, schedules, sizes, context.device):
        final = step == task.steps
        if step % (task.steps // LOOKS) and not final:
            continue
        context.progress(step / task.steps)
        for at, (phase, seed) in enumerate(arms):
            size, own = large[seed].item(), [weight[at].detach() for weight in weights]
            facts = {"phase": phase, "seed": seed, "done": step / task.steps, "final": final, "large": size}
            rows.append({**facts, **(seen(task, own, seeds[seed], final) if size else {"diverged": True})})
    return rows


def seen(task: Regression, weights: Sequence[Tensor], seed: int, final: bool) -> Row:
    """What one replica has become.

    Args:
        task: What it learns.
        weights: Its own.
        seed: Of its data.
        final: Whether training is over.

    Returns:
        ``train_loss``, the mean squared error, its logarithm ``log_loss``, and whether it has ``diverged``. After
        training also ``error`` and ``log_error`` on fresh data, what is in use as ``used/LAYER``, and the ``rank``
        of the Jacobian on as many fresh inputs as there are parameters, to 1e-4 of its largest singular value.
    """
    model = task.network(weights)
    x, y, fresh, targets = (part.to(weights[0].device) for part in task.data(seed))
    loss = squared(model, x, y)
    if not math.isfinite(loss):
        return {"diverged": True}
    found = {"diverged": False, "train_loss": loss, "log_loss": ln(loss)}
    if not final:
        return found
    parameters = sum(p.numel() for p in model.parameters())
    batches = [(fresh[:parameters], targets[:parameters, None])]
    ranks = measure(model, nn.functional.mse_loss, batches, JacobianRank(examples=parameters))
    rank = next(reading.value for reading in ranks if reading.name == "jacobian_rank")
    used = {f"used/{layer}": share for layer, share in task.used(model, x).items()}
    error = squared(model, fresh, targets)
    return {**found, "error": error, "log_error": ln(error), "rank": rank, **used}


@torch.no_grad()
def squared(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The mean squared error, without a half."""
    return (model(x)[:, 0] - y).square().mean().item()


def ln(size: float) -> float:
    """The natural logarithm, of 0 that of the smallest number."""
    return math.log(max(size, sys.float_info.min))
