"""Training with a method under Accelerate."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn

from lowland.engine.bind import Engine
from lowland.engine.method import Method
from lowland.engine.objective import Objective
from lowland.integrations.check_method import check_method
from lowland.integrations.substituted import substituted
from lowland.types import Closure, State

__all__ = ["backward", "bind"]


def bind(
    accelerator: Accelerator,
    method: Method,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    keep: bool = True,
    **options: Any,  # noqa: ANN401 - those of Method.bind
) -> Engine:
    """Bind a method to what ``accelerator.prepare`` returned; several processes train under DDP.

    Args:
        accelerator: The one that prepared them.
        method: Any method, such as ``lowland.SAM(rho=0.05)``.
        model: The prepared model.
        optimizer: The prepared optimiser.
        keep: Whether ``accelerator.save_state`` and ``load_state`` include the method's state.
        options: For :meth:`lowland.Method.bind`: ``where``, ``radii``, ``buffers``, ``rng``, ``watch``,
            ``ascent``.

    Returns:
        The engine, for :func:`backward`.

    Raises:
        TypeError: If ``method`` is none, or an option is unknown.
        NotImplementedError: If several processes train otherwise than under DDP, or the optimiser steps within
            backward.
    """
    check_method(method, options)
    _refuse(accelerator)
    below = getattr(optimizer, "optimizer", optimizer)  # Accelerate's own has no hooks
    engine = method.bind(model, optimizer=below, **options)
    if keep:
        accelerator.register_for_checkpointing(_Kept(engine))
    return engine


def backward(accelerator: Accelerator, engine: Engine, closure: Closure) -> Tensor:
    """Stand in for ``accelerator.backward(loss)``.

    The loss is divided by the steps of gradient accumulation and scaled for float16, as Accelerate does it.
    Accumulation (each micro-batch ascends by itself), clipping, optimiser and scheduler stay as they are.

    Args:
        accelerator: The one that prepared the model.
        engine: What :func:`bind` returned.
        closure: Computes the loss with the prepared model and returns it, without calling backward; called once
            per pass. A :func:`lowland.objective` serves methods that need examples.

    Returns:
        The loss at the weights, before the division, detached, on the device.

    Example:
        >>> import lowland
        >>> from torch import nn
        >>> accelerator, model = Accelerator(cpu=True), nn.Linear(2, 1)
        >>> model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
        >>> sam = bind(accelerator, lowland.SAM(rho=0.05), model, optimizer)
        >>> loss = backward(accelerator, sam, lambda: model(torch.ones(3, 2)).square().mean())
        >>> optimizer.step()
    """
    steps, scaler = accelerator.gradient_accumulation_steps, accelerator.scaler
    if isinstance(closure, Objective):
        with substituted(closure, "scale", closure.scale / steps):
            return engine.backward(closure, scaler=scaler) * steps
    return engine.backward(lambda: closure() / steps, scaler=scaler) * steps


class _Kept:
    """The state of an engine, in every process that of all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def state_dict(self) -> State:
        return self._engine.state_dict(gathered=True)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._engine.load_state_dict(state)


def _refuse(accelerator: Accelerator) -> None:
    kind = accelerator.distributed_type
    if kind != DistributedType.NO and not kind.value.startswith("MULTI_"):
        raise NotImplementedError(
            f"Several processes must train replicas under Accelerate, got {kind.value}: choose DDP."
        )
    if accelerator.has_lomo_optimizer:
        raise NotImplementedError(
            "The optimiser must step after the backward pass, got LOMO, which steps within: choose another."
        )
