"""Sheets of tiles: many small images packed as one lossless picture, row by row from the top left."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lowland.data.digest import check_digest, damaged, unpacked

__all__ = ["read_sheet"]


def read_sheet(path: Path, side: int, sha256: str) -> np.ndarray:
    """The images of one sheet.

    Args:
        path: A lossless colour picture.
        side: Width and height of a tile, in pixels.
        sha256: Digest of the images' bytes, in the order of the result.

    Returns:
        Images, uint8, of shape ``(n, side, side, 3)``, contiguous.

    Raises:
        ValueError: If the file is damaged.

    Cost:
        About 1 s for 10,000 tiles of 32 x 32.
    """
    sheet = unpacked(path, _decoded, (OSError, UnidentifiedImageError, SyntaxError, ValueError))
    height, width, channels = sheet.shape
    if height % side or width % side:
        raise ValueError(
            damaged(path, f"its {width} x {height} pixels are no whole number of {side} x {side} tiles")
        )
    tiles = sheet.reshape(height // side, side, width // side, side, channels).swapaxes(1, 2)
    images = np.ascontiguousarray(tiles).reshape(-1, side, side, channels)
    check_digest(path, images.data, sha256, "decoded images")
    return images


def _decoded(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
