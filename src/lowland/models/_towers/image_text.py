"""Two towers, one for images and one for words, whose outputs are compared."""

import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from lowland.checks import at_least

__all__ = ["ImageText"]


class ImageText(nn.Module):
    r"""How well images and texts agree: :math:`z_{ij} = \cos(u_i, v_j) / \tau`.

    u is what the image tower answers to image i and v what the text tower answers to text j, both of width d. A
    classifier with d outputs serves as image tower.

    Args:
        image: Maps images ``(n, c, h, w)`` to ``(n, d)``.
        text: Maps tokens ``(n, t)`` to ``(n, d)``.
        temperature: :math:`\tau`, > 0; 0.05 in the paper.

    Raises:
        TypeError: If ``temperature`` is not a number.
        ValueError: If it is not above 0.

    References:
        Radford et al., Learning transferable visual models from natural language supervision, 2021.
    """

    def __init__(self, image: nn.Module, text: nn.Module, temperature: float = 0.05) -> None:
        super().__init__()
        at_least("temperature", temperature, 0)
        if temperature == 0:
            raise ValueError("temperature must be above 0, got 0.")
        self.image, self.text, self.temperature = image, text, temperature

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Agreement of every image with every text, ``(n, n)``: a row for an image, a column for a text."""
        u, v = F.normalize(self.image(images), dim=1), F.normalize(self.text(tokens), dim=1)
        return u @ v.T / self.temperature
