"""Ranks of what random networks of many layers say, draw by draw."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lowland.checks import one_of
from lowland.observe.ranks import effective_rank_entropy

__all__ = ["STARTS", "kernel_rank", "random_matrix", "random_ranks"]

STARTS = ("normal", "uniform", "orthogonal")
"""How weights are drawn."""


def random_ranks(
    sizes: Sequence[int], start: str, relu: bool, draws: int, rng: torch.Generator
) -> tuple[list[float], list[float]]:
    """Draw networks and their Gaussian inputs, all in float64, and take the rank of the outputs.

    Args:
        sizes: Examples, inputs, hidden units of every layer, and outputs.
        start: One of :data:`STARTS`.
        relu: Whether hidden units are rectified; else the network is linear.
        draws: Of network and inputs.
        rng: Source of randomness.

    Returns:
        The :func:`kernel_rank` of every draw; and of the same outputs with their mean taken off.
    """
    ranks, centred = [], []
    for _ in range(draws):
        outputs = _outputs(sizes, start, relu, rng)
        ranks.append(kernel_rank(outputs))
        centred.append(kernel_rank(outputs - outputs.mean(0)))
    return ranks, centred


def _outputs(sizes: Sequence[int], start: str, relu: bool, rng: torch.Generator) -> Tensor:
    h = torch.randn(sizes[0], sizes[1], generator=rng, dtype=torch.float64)
    for at, (ins, outs) in enumerate(pairwise(sizes[1:])):
        h = torch.relu(h) if at and relu else h
        h = h @ random_matrix(start, outs, ins, rng).T
        h = h / h.norm()  # ranks do not depend on the scale, and deep products vanish
    return h


def random_matrix(start: str, outs: int, ins: int, rng: torch.Generator) -> Tensor:
    """A random matrix: independent entries, or as many orthonormal rows or columns as there can be.

    Args:
        start: One of :data:`STARTS`: standard normal, uniform in (-1/2, 1/2), orthogonal.
        outs: Rows.
        ins: Columns.
        rng: Source of randomness.

    Raises:
        ValueError: If there is no such start.
    """
    one_of("start", start, STARTS)
    if start == "uniform":
        return torch.rand(outs, ins, generator=rng, dtype=torch.float64) - 0.5
    W = torch.randn(outs, ins, generator=rng, dtype=torch.float64)
    if start == "normal":
        return W
    Q, R = torch.linalg.qr(W.T if outs < ins else W)
    Q = Q * R.diagonal().sign()
    return Q.T if outs < ins else Q


def kernel_rank(F: Tensor) -> float:
    """Spectral entropy of F F^T, in nats, of outputs (n, d): 0 for a single direction, ln d for d equal ones."""
    return effective_rank_entropy(torch.linalg.svdvals(F).square())
