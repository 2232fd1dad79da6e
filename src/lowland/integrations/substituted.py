"""An attribute of one object, exchanged for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["substituted"]


@contextmanager
def substituted(thing: object, name: str, stand_in: object) -> Iterator[None]:
    """Let ``thing.name`` be ``stand_in`` inside the block; the class and its other instances are not touched."""
    own = vars(thing)
    before = {name: own[name]} if name in own else {}
    own[name] = stand_in
    try:
        yield
    finally:
        del own[name]
        own.update(before)
