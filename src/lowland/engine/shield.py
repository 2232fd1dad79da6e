"""Ctrl-C, let through only where a step can be undone."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Shield"]


class Shield:
    """While entered, Ctrl-C waits, except inside :meth:`opened`; what waited is delivered on leaving.

    So neither a copy nor the code that puts things back is ever cut short, however often it is pressed. Does
    nothing outside the main thread, where Python delivers no signals.
    """

    def __init__(self) -> None:
        self._open = False
        self._waiting: list[FrameType | None] = []
        self._previous: object = None

    def __enter__(self) -> Self:
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(previous):
            self._previous = previous
            signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if callable(self._previous):
            signal.signal(signal.SIGINT, self._previous)  # type: ignore[arg-type]  # callable, as getsignal gave it
            self._deliver()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let Ctrl-C through: the user's own code runs."""
        self._open = True
        try:
            self._deliver()
            yield
        finally:
            self._open = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._waiting.append(frame)
        if self._open:
            self._deliver()

    def _deliver(self) -> None:
        """Hand over what waits; closed meanwhile, as the exception that usually follows must not be cut short."""
        if self._waiting and callable(self._previous):
            was_open, self._open = self._open, False
            frame = self._waiting[0]
            self._waiting.clear()
            self._previous(signal.SIGINT, frame)
            self._open = was_open
