"""The operations behind a tensor."""

from collections.abc import Iterable, Iterator

from torch.autograd.graph import Node

__all__ = ["nodes"]


def nodes(last: Iterable[Node]) -> Iterator[Node]:
    """Some operations and all those before them, each once."""
    todo, seen = list(last), set()
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += [before for before, _ in node.next_functions if before is not None]
            yield node
