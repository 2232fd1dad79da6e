"""The inner products of the outputs' gradients."""

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from lowland.measuring.groups import groups
from lowland.measuring.slope import finite
from lowland.operators.batch import Batch
from lowland.operators.outputs import Outputs
from lowland.operators.problem import Problem

__all__ = ["kernel"]

COPIES = 4
"""Times that the rows of a block are held, in float64, while two blocks are multiplied."""


def kernel(problem: Problem, examples: int, limit: int) -> tuple[Tensor, int]:
    """The matrix J J' for the Jacobian J of the outputs on the first examples, which has a row for each output.

    Rows are computed example by example, in blocks that fit into the problem's memory; where these are several,
    the rows are computed anew for every other block.

    Args:
        problem: Whose model and data.
        examples: How many, n; fewer where there are fewer.
        limit: Most rows.

    Returns:
        The matrix in float64, of shape ``(n k, n k)`` for k outputs, and n.

    Raises:
        ValueError: If there are more than ``limit`` rows, or they are not finite.
    """
    with problem.calm():
        batches = [batch for group in islice(groups(problem, 1), examples) for batch in group]
    k = len(_rows(problem, batches[:1]))
    if k * len(batches) > limit:
        raise ValueError(
            f"The kernel of {len(batches)} examples with {k} outputs each must have at most {limit} rows, got "
            f"{k * len(batches)}: take {limit // k} examples or fewer, or raise limit=."
        )
    size = max(1, int(problem.settings.memory / (COPIES * k * problem.size * 8)))
    blocks = [batches[i : i + size] for i in range(0, len(batches), size)]
    K = torch.zeros(k * len(batches), k * len(batches), dtype=torch.float64, device=problem.device)
    for i, block in enumerate(blocks):
        rows, here = _rows(problem, block), slice(i * size * k, i * size * k + k * len(block))
        K[here, here] = rows @ rows.T
        for j, other in enumerate(blocks[:i]):
            there = slice(j * size * k, (j + 1) * size * k)
            K[here, there] = rows @ _rows(problem, other).T
            K[there, here] = K[here, there].T
    finite(K.sum().item())
    return K, len(batches)


def _rows(problem: Problem, batches: Sequence[Batch]) -> Tensor:
    """The gradients of all outputs, example by example, of shape ``(n k, P)``, in float64."""
    parameters = list(problem.parameters.values())
    rows: list[Tensor] = []
    with problem.calm():
        for batch in batches:
            leaves = Outputs(problem, batch).leaves()
            for z in torch.cat([leaf.reshape(-1) for leaf in leaves]):
                parts = torch.autograd.grad(z, parameters, retain_graph=True, allow_unused=True)
                rows.append(problem.join(parts).double())
    return torch.stack(rows)
