"""Random crop and flip of a whole batch at once, on the batch's device."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from lowland.checks import whole

__all__ = ["Augment"]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Crop each image at a random place after padding, then mirror every second one on average.

    Padding is zero, which is the training set's mean colour as images here are standardised. The random
    numbers are drawn on the CPU, so a batch is augmented in the same way on every device.

    Args:
        padding: Width of the frame, in pixels, >= 0; images shift by at most so much. 0 switches crops off.
        flip: Whether to mirror. Not for digits: a mirrored digit is not a digit.

    Raises:
        TypeError: If ``padding`` is not a whole number.
        ValueError: If ``padding`` is below 0.

    Example:
        >>> x = torch.arange(4.0).view(1, 1, 2, 2)
        >>> Augment(padding=0)(x, torch.Generator().manual_seed(0)).shape
        torch.Size([1, 1, 2, 2])

    Cost:
        Two copies of the batch.
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        whole("padding", self.padding, 0)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A new batch, of the shape ``(n, c, h, w)`` of ``x``; ``generator`` lives on the CPU."""
        n = len(x)
        top, left = torch.randint(2 * self.padding + 1, (2, n), generator=generator)
        mirrored = torch.rand(n, 1, 1, 1, generator=generator) < (0.5 if self.flip else 0.0)
        cropped = _cropped(x, self.padding, _moved(top, x), _moved(left, x))
        return torch.where(_moved(mirrored, x), cropped.flip(-1), cropped)


def _moved(numbers: Tensor, x: Tensor) -> Tensor:
    return numbers.to(x.device, non_blocking=True)


def _cropped(x: Tensor, padding: int, top: Tensor, left: Tensor) -> Tensor:
    """The window of image ``i`` of the padded batch that begins in row ``top[i]`` and column ``left[i]``."""
    n, _, h, w = x.shape
    windows = F.pad(x, [padding] * 4).unfold(2, h, 1).unfold(3, w, 1)  # (n, c, places, places, h, w)
    return windows[torch.arange(n, device=x.device), :, top, left]
