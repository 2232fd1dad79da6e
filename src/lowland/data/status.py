"""What data there is on this machine."""

from dataclasses import dataclass, replace
from pathlib import Path

from lowland import catalog
from lowland.data.image_set import ImageSet

__all__ = ["Status", "status", "verify"]


@dataclass(frozen=True, kw_only=True)
class Status:
    """One set.

    Args:
        name: Its public name.
        where: The folder it was found in, or words where it needs none; None if it was not found.
        held: Training images on this machine, from the first on.
        train: Official number of training images.
        test: Official number of test images.
        shape: Of one image, ``(c, h, w)``.
        classes: The number of classes.
        fetchable: Whether ``lowland data fetch`` can bring it.
    """

    name: str
    where: Path | str | None
    held: int
    train: int
    test: int
    shape: tuple[int, int, int]
    classes: int
    fetchable: bool


def status() -> list[Status]:
    """Every set, in order of name; looks for files but reads none.

    Raises:
        FileNotFoundError: If LOWLAND_DATA names no folder.

    Example:
        >>> [s.name for s in status()]
        ['cifar10', 'cifar100', 'digits', 'fashion-mnist', 'mnist']
    """
    return [_of(catalog.load("data.sets", name)) for name in catalog.names("data.sets")]


def verify(name: str) -> str:
    """Read all there is of a set, check every digest, and say so in a sentence.

    Raises:
        LookupError: If there is no such set.
        FileNotFoundError: If its files were not found.
        ValueError: If a file is damaged.
    """
    chosen: ImageSet = catalog.load("data.sets", name)()
    raw = replace(chosen, train=chosen.held() or None).read()
    return f"{chosen.NAME}: {len(raw.train)} training and {len(raw.test)} test images are intact ({raw.source})."


def _of(kind: type[ImageSet]) -> Status:
    return Status(
        name=kind.NAME,
        where=kind.where(),
        held=kind.held(),
        train=kind.SIZES[0],
        test=kind.SIZES[1],
        shape=kind.SHAPE,
        classes=len(kind().classes),
        fetchable=bool(kind.DOWNLOADS),
    )
