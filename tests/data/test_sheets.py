import numpy as np
import pytest
from PIL import Image

from lowland.data.sheets import read_sheet

TILES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def sheet(tmp_path):
    """Two rows of three tiles."""
    path = tmp_path / "sheet.webp"
    rows = [np.concatenate(list(TILES[i : i + 3]), axis=1) for i in (0, 3)]
    Image.fromarray(np.concatenate(rows)).save(path, lossless=True)
    return path


def test_tiles_come_back_row_by_row(sheet, sha):
    np.testing.assert_array_equal(read_sheet(sheet, 4, sha(TILES)), TILES)


def test_another_picture_is_refused_by_words(sheet, sha):
    with pytest.raises(
        ValueError, match=f"sheet.webp is damaged: its decoded images must have digest {sha(TILES[:3])}"
    ):
        read_sheet(sheet, 4, sha(TILES[:3]))


def test_a_truncated_sheet_is_refused_by_words(sheet, sha):
    sheet.write_bytes(sheet.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"sheet.webp is damaged: .*Delete it and fetch it again"):
        read_sheet(sheet, 4, sha(TILES))


def test_a_sheet_that_tiles_do_not_fill_is_refused_by_words(sheet, sha):
    with pytest.raises(ValueError, match="its 12 x 8 pixels are no whole number of 5 x 5 tiles"):
        read_sheet(sheet, 5, sha(TILES))
