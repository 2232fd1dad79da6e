"""Two linear maps in a row are one: the product of matrices, or the convolution of kernels."""

import math

import torch
from torch import Tensor

__all__ = ["compose"]


def compose(second: Tensor, first: Tensor) -> Tensor:
    r"""The kernel of ``second`` after ``first``, :math:`W_c = \sum_{a + b = c} B_b A_a`, group by group.

    That of convolutions without padding, at one dilation, and of transposed ones. Differentiable, twice too.

    Args:
        second: B, of shape ``(g, o, h, *k2)``; matrices have no ``k2``.
        first: A, of shape ``(g, h, i, *k1)``, with as many dimensions.

    Returns:
        W, of shape ``(g, o, i, *k)`` with ``k = k1 + k2 - 1``.

    Cost:
        One batched product of matrices if the kernel of ``second`` is a single point, else one convolution.
    """
    kernel = second.shape[3:]
    if math.prod(kernel) == 1:
        return (second.flatten(2) @ first.flatten(2)).unflatten(2, first.shape[2:])
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[len(kernel) - 1]
    images = first.movedim(2, 0).flatten(1, 2)  # (i, g h, *k1)
    kernels = second.flip(tuple(range(3, second.ndim))).flatten(0, 1)  # (g o, h, *k2): torch correlates
    found = convolve(images, kernels, padding=[k - 1 for k in kernel], groups=len(second))
    return found.unflatten(1, second.shape[:2]).movedim(0, 2)
