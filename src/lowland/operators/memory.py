"""How much memory graphs take, and how much they may take."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import ref

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

__all__ = ["Budget", "Saved", "Share", "bytes_of", "readable", "saved"]

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(eq=False)
class Share:
    """What one operator keeps, in bytes; it counts as long as it is referred to."""

    bytes: int = 0


@dataclass
class Budget:
    """What all operators of a problem may keep between products, and keep at the moment, in bytes."""

    limit: float
    _shares: list[ref[Share]] = field(default_factory=list)

    def share(self) -> Share:
        """A new operator's, of nothing yet."""
        found = Share()
        self._shares.append(ref(found))
        return found

    @property
    def held(self) -> int:
        """What all operators that there are keep together."""
        alive = [share for each in self._shares if (share := each()) is not None]
        self._shares = [ref(share) for share in alive]
        return sum(share.bytes for share in alive)


def bytes_of(amount: str | float) -> float:
    """Bytes from text such as ``"2 GB"``, or from a number of bytes.

    Raises:
        ValueError: If it is neither, or not above 0.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([KMGT]?B)\s*", str(amount).upper())
    number = float(found[1]) * UNITS[found[2]] if found else amount
    if not isinstance(number, int | float) or not number > 0:
        raise ValueError(f"memory must be a size such as '2 GB' or a number of bytes, got {amount!r}.")
    return number


def readable(amount: float) -> str:
    """Bytes in words, such as ``2.1 GB``."""
    unit = next((u for u in ("TB", "GB", "MB", "KB") if amount >= UNITS[u]), "B")
    return f"{amount / UNITS[unit]:.3g} {unit}"


class Saved:
    """What graphs hold for the way back."""

    def __init__(self) -> None:
        self.tensors: list[ref[Tensor]] = []

    @property
    def bytes(self) -> int:
        """Of the storage that is still held, once each."""
        held = (t.untyped_storage() for found in self.tensors if (t := found()) is not None)
        return sum({storage.data_ptr(): storage.nbytes() for storage in held}.values())


@contextmanager
def saved(apart_from: Iterable[Tensor]) -> Iterator[Saved]:
    """Note what the graphs that are built inside save, apart from some tensors."""
    known = {t.untyped_storage().data_ptr() for t in apart_from}
    found = Saved()

    def pack(t: Tensor) -> tuple[Tensor, int]:
        alias = t.detach()  # itself would be a circle that is never freed
        if t.untyped_storage().data_ptr() not in known:
            found.tensors.append(ref(alias))
        return alias, t._version

    def unpack(kept: tuple[Tensor, int]) -> Tensor:
        t, version = kept
        if t._version != version:
            raise RuntimeError("A tensor needed for the way back was changed by an operation in place.")
        return t

    with saved_tensors_hooks(pack, unpack):
        yield found
