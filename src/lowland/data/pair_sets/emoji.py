"""Emoji: 1,899 concepts with names and keywords, drawn by up to three teams."""

import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from lowland.data.digest import check_digest, unpacked
from lowland.data.pair_set import SIDE, Drawn, PairSet
from lowland.data.places import find, roots
from lowland.data.sheets import read_sheet

__all__ = ["Emoji"]

FOLDER = "emoji"
CAPTIONS = "emoji_captions.jsonl.xz"
CAPTIONS_DIGEST = "f8c511e0438472fde41bcc47c0f79e8f07e620a5e24df533de62ea4e74c6f571"
SHEETS = {
    "noto": "906a9b09c2f2f1e14ae11ba64e00acfe0a9f85012bbb420bbfd9a5d8cd1b4007",
    "emojitwo": "367d445ed5bda9be27aec8a299d7e6a1f1e122977c2c4cadf9de7e27d64c0502",
    "fxemoji": "743f1229ccdd836e38afe8e34726755cad43c82ab143d6bd962de1e099749a49",
}


@dataclass(frozen=True, kw_only=True)
class Emoji(PairSet):
    """1,899 concepts on white: 1,899 drawn as ``noto``, 1,340 as ``emojitwo``, 894 as ``fxemoji``.

    The text of a concept is its name, then its keywords. Read from a folder ``emoji``, with the captions
    (``emoji_captions.jsonl.xz``) and a sheet of 32 x 32 tiles for each style (``emoji_noto_32.webp``, …). See
    :class:`PairSet` for the fields.

    References:
        Noto Emoji, Google, OFL 1.1; EmojiTwo, CC BY 4.0; FxEmojis, Mozilla, CC BY 4.0; names and keywords MIT.
    """

    NAME: ClassVar[str] = "emoji"
    STYLES: ClassVar[tuple[str, ...]] = tuple(SHEETS)

    held_out: str = "fxemoji"

    @classmethod
    def where(cls) -> Path | None:
        """The folder that holds the four files."""
        return find([FOLDER], [CAPTIONS, *map(_sheet, SHEETS)])

    def read(self) -> Drawn:
        """All concepts, checked against their digests.

        Raises:
            FileNotFoundError: If the set's files were not found; says where they were looked for.
        """
        folder = self.where()
        if folder is None:
            raise FileNotFoundError(_missing())
        concepts = _concepts(folder / CAPTIONS)
        rows = torch.tensor([[concept[style] for style in SHEETS] for concept in concepts])
        images = torch.zeros(*rows.shape, SIDE, SIDE, 3, dtype=torch.uint8)
        for at, (style, sha256) in enumerate(SHEETS.items()):
            tiles = torch.from_numpy(read_sheet(folder / _sheet(style), SIDE, sha256))
            images[:, at] = tiles[rows[:, at].clamp(min=0)]
        texts = tuple(" ".join([concept["name"], *concept["keywords"]]) for concept in concepts)
        return Drawn(texts=texts, images=images, there=rows >= 0)


def _sheet(style: str) -> str:
    return f"emoji_{style}_{SIDE}.webp"


def _concepts(path: Path) -> list[dict[str, Any]]:
    """One entry for each concept: name, keywords, and its place on each sheet, or -1."""
    content = unpacked(path, lambda file: lzma.decompress(file.read_bytes()), (OSError, EOFError, lzma.LZMAError))
    check_digest(path, content, CAPTIONS_DIGEST)
    return [json.loads(line) for line in content.decode().splitlines()]


def _missing() -> str:
    tried = ", ".join(str(root / FOLDER) for root in roots())
    return (
        f"emoji must be on this machine, but {CAPTIONS} and the sheets were not all found in {tried}. "
        "Set LOWLAND_DATA to a folder that holds them in emoji/. The set `shapes` needs no files."
    )
