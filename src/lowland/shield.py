"""Ctrl-C and its kin, let through only where a step can be undone."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Shield"]


SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGUSR1") if hasattr(signal, name)]

EDGES = ("__enter__", "__exit__", "__del__")
"""Functions that must not be cut short: the end of their with block would be left out, or the signal lost."""

DEPTH = 3
"""Calls within those that count as theirs."""


class Shield:
    """While entered, Ctrl-C waits, except inside :meth:`opened`; what waited is delivered on leaving.

    So neither a copy nor the code that puts things back is ever cut short, however often it is pressed. Other
    signals that batch systems and timers send wait as well, if Python handles them. Does nothing outside the main
    thread, where Python delivers no signals.
    """

    def __init__(self) -> None:
        self._open = False
        self._waiting: list[tuple[int, FrameType | None]] = []
        self._previous: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        try:
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._previous[number] = handler
                    signal.signal(number, self._receive)
        except BaseException:  # raised by a handler of a signal that came between
            self._put_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()
        self._deliver()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let signals through: the user's own code runs."""
        self._open = True
        try:
            self._listen()
            yield
        finally:
            self._open = False

    def _put_back(self) -> None:
        """Give all signals back to their handlers; Ctrl-C last, so that it cannot cut this short."""
        for number, handler in reversed(self._previous.items()):
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._open and not self._waiting and _at_an_edge(frame):
            self._waiting.append((number, None))
            return
        self._waiting.append((number, frame))
        if self._open:
            self._deliver()

    def _listen(self) -> None:
        """Hand over what waits here, and in the open shields around."""
        self._deliver()
        for handler in self._previous.values():
            around = getattr(handler, "__self__", None)
            if isinstance(around, Shield) and around._open:
                around._listen()

    def _deliver(self) -> None:
        """Hand over what waits; closed meanwhile, as the exception that usually follows must not be cut short."""
        was_open, self._open = self._open, False
        while self._waiting:
            number, frame = self._waiting.pop(0)
            self._previous[number](number, frame)
        self._open = was_open


def _at_an_edge(frame: FrameType | None) -> bool:
    for _ in range(DEPTH):
        if frame is None:
            return False
        if frame.f_code.co_name in EDGES:
            return True
        frame = frame.f_back
    return False
