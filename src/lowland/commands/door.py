"""Where a refusal becomes a sentence on the terminal instead of a traceback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["door", "refuse", "warn"]

KINDS = (ValueError, TypeError, LookupError, RuntimeError)
"""What checks raise; their subclasses, such as KeyError, are mistakes of ours and keep their traceback."""


@contextmanager
def door(code: int = 2) -> Iterator[None]:
    """Show an error raised by a check inside as its sentence, and exit.

    ``LOWLAND_TRACEBACK=1`` in the environment shows the traceback instead.

    Args:
        code: Exit code; 2 for what was asked wrongly, 1 for what went wrong.

    Raises:
        OSError: With ``LOWLAND_TRACEBACK``, as any other error.
    """
    try:
        yield
    except (*KINDS, OSError) as error:
        if os.environ.get("LOWLAND_TRACEBACK") or not (type(error) in KINDS or isinstance(error, OSError)):
            raise
        refuse(str(error), code)


def refuse(sentence: str, code: int = 2) -> None:
    """Say why not, on standard error, and exit.

    Raises:
        SystemExit: Always.
    """
    Console(stderr=True).print(f"[bold red]error[/] {_plain(sentence)}", soft_wrap=True, highlight=False)
    raise SystemExit(code)


def warn(sentence: str) -> None:
    """Say what to beware of, on standard error."""
    Console(stderr=True).print(f"[bold yellow]note[/] {_plain(sentence)}", soft_wrap=True, highlight=False)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
