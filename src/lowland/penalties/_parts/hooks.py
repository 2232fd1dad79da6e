"""Acting in every step that an optimiser takes, just before it or just after it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

__all__ = ["Act", "after_steps", "before_steps", "taken"]

Act = Callable[[Optimizer], None]
"""What is to be done."""

Attach = Callable[[Optimizer, Act], RemovableHandle]
"""One of the functions of this file: makes an optimiser call ``Act``, and keeps it alive for that."""


def before_steps(optimizer: Optimizer, act: Act) -> RemovableHandle:
    """Act between the gradient and the update.

    Where the step is given a closure, as by Lightning, that is after the closure's first call: before it, the
    gradients are those of an earlier step.
    """

    def hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            act(optimizer)
            return None
        return args[:1], {**kwargs, "closure": _followed(closure, lambda: act(optimizer))}

    return optimizer.register_step_pre_hook(hook)


def after_steps(optimizer: Optimizer, act: Act) -> RemovableHandle:
    """Act after the update."""
    return optimizer.register_step_post_hook(lambda optimizer, *_: act(optimizer))


def taken(optimizer: Optimizer) -> int | Tensor:
    """1, or 0 if the step under way is one that a gradient scaler has skipped.

    A skipped step calls no hook, except where the optimiser is fused and skips it on the device: then this is a
    scalar there, which nobody waits for.
    """
    found = getattr(optimizer, "found_inf", None)
    return 1 if found is None else (found == 0).to(found.dtype)


def _followed(closure: Callable[[], Any], act: Callable[[], None]) -> Callable[[], Any]:
    waiting = [act]

    def followed() -> Any:  # noqa: ANN401 - whatever the closure returns
        result = closure()
        if waiting:
            waiting.pop()()
        return result

    return followed
