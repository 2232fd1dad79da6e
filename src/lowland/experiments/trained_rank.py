"""The rank of what a small network has learnt from few examples of a linear target of rank 2."""

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from lowland.experiments.descend_to import descend_to
from lowland.experiments.random_ranks import kernel_rank, random_matrix
from lowland.seeds import generator
from lowland.types import Row

__all__ = ["network", "target", "trained_rank"]

INPUTS, HIDDEN, OUTPUTS, TRAINED_ON, FRESH, RANK = 16, 16, 8, 12, 128, 2

STARTS = 5
"""From so many training is tried."""


def trained_rank(net: str, depth: int, how: str, seed: int, *, level: float, steps: int, start: int = 1) -> Row:
    """Train one network until it explains enough of the target, from another start where it does not.

    Args:
        net: ``linear`` or ``relu``.
        depth: Weight matrices.
        how: What trains, as :func:`lowland.experiments.descend_to.descend_to` has it.
        seed: Decides target, data and starts.
        level: Share of the target's variance that may be left.
        steps: At most, from every start.
        start: The first to try.

    Returns:
        ``rank``, the :func:`~lowland.experiments.random_ranks.kernel_rank` on fresh inputs, ``rank_before``
        training and ``rank_of_target``; ``loss``, the share that is left; ``tries``, which start that was; and
        ``diverged``, whether none did.
    """
    x, y, fresh, truth = target(seed)
    rng = generator(seed, "start", net, depth, start)
    model = network(net, depth, rng)
    before = kernel_rank(model(fresh).detach())
    left = descend_to(level, model, lambda: (model(x) - y).square().mean() / y.square().mean(), how, steps, rng)
    if left > level and start < STARTS:
        return trained_rank(net, depth, how, seed, level=level, steps=steps, start=start + 1)
    facts = {"loss": left, "tries": start, "rank_before": before, "rank_of_target": kernel_rank(fresh @ truth.T)}
    return {"rank": kernel_rank(model(fresh).detach()), **facts, "diverged": left > level}


def target(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, outputs, fresh inputs, and the matrix of rank 2 between them."""
    rng = generator(seed, "target")
    draw = partial(torch.randn, generator=rng, dtype=torch.float64)
    U, V = (torch.linalg.qr(draw(size, RANK))[0] for size in (OUTPUTS, INPUTS))
    truth, x = U @ V.T, draw(TRAINED_ON, INPUTS)
    return x, x @ truth.T, draw(FRESH, INPUTS), truth


def network(net: str, depth: int, rng: torch.Generator) -> nn.Sequential:
    """Linear layers without bias, of Kaiming variance, with or without ReLU between them."""
    layers: list[nn.Module] = []
    for ins, outs in pairwise([INPUTS, *[HIDDEN] * (depth - 1), OUTPUTS]):
        gain = 2 if net == "relu" and len(layers) // 2 < depth - 1 else 1
        layer = nn.Linear(ins, outs, bias=False, dtype=torch.float64)
        layer.weight.data = random_matrix("normal", outs, ins, rng) * math.sqrt(gain / ins)
        layers += [layer, nn.ReLU() if net == "relu" else nn.Identity()]
    return nn.Sequential(*layers[:-1])
