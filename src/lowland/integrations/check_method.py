"""The check at the door of every integration."""

import inspect
from collections.abc import Mapping

from lowland.engine.method import Method

__all__ = ["check_method"]


def check_method(method: object, options: Mapping[str, object]) -> None:
    """Refuse what is no method, and options that ``bind`` does not take.

    Raises:
        TypeError: If it is so.
    """
    if not isinstance(method, Method):
        shown = method.__name__ if isinstance(method, type) else type(method).__name__
        raise TypeError(f"method must be a method such as lowland.SAM(rho=0.05), got {shown}.")
    known = set(inspect.signature(method.bind).parameters) - {"model", "optimizer"}
    strangers = sorted(set(options) - known)
    if strangers:
        raise TypeError(f"The options must be of {', '.join(sorted(known))}, got {', '.join(strangers)}.")
