"""The eigenvalues that stand out of a spectrum, as several random starts see them."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Outliers"]


@dataclass(frozen=True)
class Outliers:
    """Eigenvalues outside the bulk.

    Attributes:
        values: Falling, of shape ``(k,)``; a repeated eigenvalue counts once.
        bounds: An eigenvalue is no further from each than this, of shape ``(k,)``.
        seen: How many of the random starts have found each, of shape ``(k,)``.
    """

    values: Tensor
    bounds: Tensor
    seen: Tensor

    @staticmethod
    def of(nodes: Tensor, bounds: Tensor, tol: float) -> "Outliers":
        """The nodes of each start, of shape ``(starts, m)`` and rising, that are sure to ``tol`` of themselves.

        Counted from both ends of a row up to the first that is not. Nodes whose intervals meet are one, and the
        surest stands for it.
        """
        near = (bounds <= tol * nodes.abs()).int()
        outer = (near.cumprod(1) | near.flip(1).cumprod(1).flip(1)).bool()
        starts = torch.arange(len(nodes))[:, None].expand_as(nodes)
        triples = (each[outer].tolist() for each in (nodes, bounds, starts))
        groups: list[list[tuple[float, float, int]]] = []
        for value, bound, start in sorted(zip(*triples, strict=True), reverse=True):
            if not groups or value + bound < min(v - b for v, b, _ in groups[-1]):
                groups.append([])
            groups[-1].append((value, bound, start))
        surest = nodes.new_tensor([min(group, key=lambda triple: triple[1])[:2] for group in groups]).reshape(
            -1, 2
        )
        seen = torch.tensor([len({start for _, _, start in group}) for group in groups], dtype=torch.long)
        return Outliers(surest[:, 0], surest[:, 1], seen)
