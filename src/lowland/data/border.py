"""Images in a border of noise: pixels that say nothing about the class."""

import torch
from torch import Tensor

from lowland.checks import at_least, whole

__all__ = ["bordered", "inside", "rings"]


def bordered(x: Tensor, width: int, sd: float, generator: torch.Generator) -> Tensor:
    """Images with pixels of independent Gaussian noise added on all four sides.

    Args:
        x: Images, of shape ``(..., h, w)``.
        width: Pixels on each side, at least 1.
        sd: Standard deviation of the noise, >= 0, in units of ``x``.
        generator: Source of randomness, on the CPU.

    Returns:
        Images of shape ``(..., h + 2 width, w + 2 width)``, of the dtype and on the device of ``x``.

    Raises:
        TypeError: If ``width`` is not a whole number.
        ValueError: If ``width`` is below 1 or ``sd`` below 0.

    Example:
        >>> bordered(torch.ones(5, 8, 8), 2, 0.5, torch.Generator()).shape
        torch.Size([5, 12, 12])
    """
    whole("width", width)
    at_least("sd", sd, 0)
    shape = (*x.shape[:-2], *(size + 2 * width for size in x.shape[-2:]))
    framed = (sd * torch.randn(shape, generator=generator, dtype=x.dtype)).to(x.device)
    framed[..., width:-width, width:-width] = x
    return framed


def inside(h: int, w: int, width: int) -> Tensor:
    """Which pixels of a bordered image are its own: true inside a border, shape ``(h + 2 width, w + 2 width)``."""
    mask = torch.zeros(h + 2 * width, w + 2 * width, dtype=torch.bool)
    mask[width:-width, width:-width] = True
    return mask


def rings(picture: Tensor) -> Tensor:
    """Mean over the pixels that are 0, 1, 2, … from the edge of a picture (h, w).

    Example:
        >>> rings(torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]))
        tensor([1., 5.])
    """
    rows, columns = (torch.minimum(torch.arange(n), torch.arange(n - 1, -1, -1)) for n in picture.shape)
    ring = torch.minimum(rows[:, None], columns).flatten()
    return torch.bincount(ring, weights=picture.flatten()).to(picture) / torch.bincount(ring)
