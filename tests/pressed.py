"""Ctrl-C at a chosen moment of some code."""

import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType

__all__ = ["pressed_at"]


def pressed_at(moment: int, act: Callable[[], object], files: Collection[str]) -> int:
    """Do ``act`` with Ctrl-C pressed when the ``moment``-th call, line or return in ``files`` is reached.

    Returns:
        How many there were, where the end was reached.
    """
    passed = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal passed
        if frame.f_code.co_filename not in files:
            return None
        passed += event in ("call", "line", "return")
        if passed == moment:
            sys.settrace(None)
            handler = signal.getsignal(signal.SIGINT)
            handler(signal.SIGINT, frame)  # as Python does it between two instructions of this frame
        return trace

    handler, tracer = signal.signal(signal.SIGINT, signal.default_int_handler), sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(tracer)
        kept = signal.signal(signal.SIGINT, handler)
    assert kept is signal.default_int_handler
    return passed
