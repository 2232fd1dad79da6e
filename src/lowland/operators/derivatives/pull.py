"""Gradients from several ends at once, some of which may depend on nothing."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

__all__ = ["End", "end", "pull"]

End = GradientEdge | None
"""A place in a graph, which stays while this is held; None for what depends on nothing."""


def end(t: Tensor | None) -> End:
    """Where a tensor's gradient flows to; the tensor itself need not be kept."""
    return get_gradient_edge(t) if t is not None and t.requires_grad else None


def pull(
    ends: Sequence[End], seeds: Sequence[Tensor], inputs: Sequence[Tensor], *, graph: bool = False
) -> Sequence[Tensor | None]:
    """The gradient with respect to ``inputs`` of the ends' inner product with ``seeds``; None stands for zeros.

    Args:
        ends: As :func:`end` gives them.
        seeds: A tensor of the same shape for each.
        inputs: Tensors that require a gradient.
        graph: Whether the result gets a graph of its own.
    """
    pairs = [(place, seed) for place, seed in zip(ends, seeds, strict=True) if place is not None]
    if not pairs:
        return [None] * len(inputs)
    places, weights = zip(*pairs, strict=True)
    return torch.autograd.grad(places, inputs, weights, retain_graph=True, create_graph=graph, allow_unused=True)
