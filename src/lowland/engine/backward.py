"""One closure called and back-propagated, and what it must not do on the way."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from lowland.engine.objective import Objective
from lowland.engine.request import Part, Request
from lowland.engine.slope import slope
from lowland.shield import Shield
from lowland.types import Closure

__all__ = ["Backward"]


class Backward:
    """Calls the closures of one step and adds their gradients to ``.grad``.

    Attributes:
        inputs: Tensors besides the parameters that the latest loss had a gradient for, if it was looked at.

    Args:
        trained: The trainable parameters by name; their gradients must be None before a pass.
        scaler: Scales every loss, if there is one.
        shield: Is opened while the closure and autograd run.
    """

    def __init__(
        self, trained: Mapping[str, nn.Parameter], scaler: torch.amp.GradScaler | None, shield: Shield
    ) -> None:
        self._trained, self._scaler, self._shield = trained, scaler, shield
        self._marked = min(trained.values(), key=lambda p: p.numel()) if trained else None
        self._earlier: list[Tensor] = []
        self.inputs: list[Tensor] = []

    def __call__(self, closure: Closure, request: Request, known: Collection[int] | None) -> Tensor:
        """The closure's loss, detached; what was asked for is added to the gradients.

        Args:
            closure: Computes the loss.
            request: On which rows, and what to differentiate: the closure's own loss is the answer whatever it is.
            known: Addresses of the parameters that the loss may depend on; None does not look.

        Raises:
            TypeError: If there is no tensor.
            ValueError: If it is no scalar, has no graph, or trains what is not the model's.
            RuntimeError: If the closure calls backward, clears gradients, or returns an old loss.
        """
        loss = self._watched(closure, request)
        _check(loss)
        if request.loss is not None and isinstance(closure, Objective):
            _check_scalar(closure.value)
        if any(loss is earlier for earlier in self._earlier):
            raise RuntimeError("The closure must compute the loss anew in every pass, got the same tensor again.")
        first = not self._earlier
        self._earlier.append(loss)
        self.inputs = [] if known is None else _inputs(loss, known)
        held = [x.grad for x in self.inputs]
        if not first:  # inputs hear of the step's first pass alone
            _set_gradients(self.inputs, [None] * len(held))
        with self._shield.opened(), torch.enable_grad():
            self._differentiate(loss if request.along is None else slope(loss, closure, request, self._trained))
        if not first:
            _set_gradients(self.inputs, held)
        told = closure.value if isinstance(closure, Objective) and closure.value is not None else loss.detach()
        return told.reshape(())

    def look(self, objective: Objective, on: Part) -> Tensor:
        """The loss of every example of ``on``, by a forward pass alone."""
        with self._shield.opened():
            return objective.losses(on.rows)

    def _differentiate(self, value: Tensor) -> None:
        if value.requires_grad:
            (value if self._scaler is None else self._scaler.scale(value)).backward()

    def _watched(self, closure: Closure, request: Request) -> Tensor:
        """The closure's loss; a mark in place of one gradient shows whether the closure touched gradients.

        Raises:
            ValueError: If all parameters are frozen.
            RuntimeError: If it did.
        """
        marked = self._marked
        if marked is None:
            raise ValueError("The model must have trainable parameters, got all of them frozen.")
        before = [(p, p.grad, _version(p.grad)) for p in self._trained.values() if p is not marked]
        own = marked.grad
        mark = marked.grad = torch.zeros_like(marked) if own is None else own
        version = mark._version
        with self._shield.opened(), torch.enable_grad():
            rows = None if request.on is None else request.on.rows
            loss = closure(rows, request.loss) if isinstance(closure, Objective) else closure()
        touched = marked.grad is not mark or mark._version != version
        changed = any(p.grad is not gradient or _version(gradient) != v for p, gradient, v in before)
        if touched or changed:
            raise RuntimeError(
                "The closure must not call backward itself nor clear gradients: it computes the loss and returns "
                "it; call optimizer.zero_grad() after optimizer.step()."
            )
        marked.grad = own
        return loss


def _version(gradient: Tensor | None) -> int:
    """How often it was written to; earlier closures of the step may have left one."""
    return 0 if gradient is None else gradient._version


def _inputs(loss: Tensor, known: Collection[int]) -> list[Tensor]:
    """Tensors besides the parameters that the loss has a gradient for, such as inputs.

    Raises:
        ValueError: If there are parameters among them: those would be given the sum of all passes.
    """
    found = [x for x in _leaves(loss) if id(x) not in known]
    strangers = sum(isinstance(x, nn.Parameter) for x in found)
    if strangers:
        raise ValueError(
            f"The loss must depend only on parameters of the bound model, got {strangers} others that need a "
            "gradient: bind one module that contains them, or freeze them with requires_grad_(False)."
        )
    return found


def _leaves(loss: Tensor) -> list[Tensor]:
    seen, waiting, found = set(), [loss.grad_fn], []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # autograd's nodes that add to a leaf's gradient have one
        found += [] if variable is None else [variable]
        waiting += [following for following, _ in node.next_functions]
    return found


def _set_gradients(tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    for x, gradient in zip(tensors, gradients, strict=True):
        x.grad = gradient


def _check(loss: object) -> None:
    found = _check_scalar(loss)
    if not found.requires_grad:
        raise ValueError("The closure's loss must depend on a trainable parameter, got one without a graph.")


def _check_scalar(loss: object) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(f"The closure must return the loss, a tensor, got {type(loss).__name__}.")
    if loss.numel() != 1:
        raise ValueError(
            f"The closure must return a scalar loss, got shape {tuple(loss.shape)}: reduce it, as by .mean()."
        )
    return loss
