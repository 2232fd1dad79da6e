"""One optimiser step: gradients of some batches, unscaled, clipped, applied."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lowland.engine.objective import Objective, objective
from lowland.train.setup import Setup
from lowland.train.tally import Tally

__all__ = ["take"]


def take(setup: Setup, group: Sequence[tuple[Any, Tensor]], tally: Tally) -> None:
    """Train one step on the batches of ``group``, whose mean loss over their examples is the step's loss.

    Waits for the device nowhere, except where a gradient scaler meets an optimiser that is not fused.

    Args:
        setup: What trains.
        group: Batches ``(x, y)``, at least one; each ascends by itself or all together, as the recipe says.
        tally: Counts the loss, the right answers and the passes.
    """
    objectives = _objectives(setup, group)
    before = setup.engine.passes
    if setup.recipe.ascend == "together":
        loss = setup.engine.backward_many(objectives, scaler=setup.scaler)
        passes = setup.engine.passes - before
    else:
        losses = [setup.engine.backward(one, scaler=setup.scaler) for one in objectives]
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        passes = (setup.engine.passes - before) / len(losses)
    _apply(setup)
    tally.add(loss, sum(len(y) for _, y in group), passes)
    for one in objectives:
        tally.judge(one.outputs, one.y)


def _objectives(setup: Setup, group: Sequence[tuple[Any, Tensor]]) -> list[Objective]:
    if len(group) == 1:
        return [objective(setup.forward, setup.criterion, *group[0])]
    n = sum(len(y) for _, y in group)
    return [objective(setup.forward, setup.criterion, x, y, scale=len(y) / n) for x, y in group]


def _apply(setup: Setup) -> None:
    """Unscale, clip, step, and clear the gradients."""
    optimizer, scaler, clip = setup.optimizer, setup.scaler, setup.recipe.clip
    if clip is not None:
        if scaler is not None:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    if setup.parts.scheduler_every == "step":
        setup.advance()
    optimizer.zero_grad()
