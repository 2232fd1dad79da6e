"""A model, a loss and data: what every matrix and every measurement of curvature is about."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lowland.checks import one_of, unknown, whole
from lowland.observe.forward import forward, moved
from lowland.operators.batch import Batch, Batches, count_of
from lowland.operators.calm import calm, devices, renew_buffers, seeded
from lowland.operators.chosen import chosen
from lowland.operators.elsewhere import elsewhere
from lowland.operators.mean import Mean, Parts
from lowland.operators.memory import Budget, bytes_of, saved
from lowland.operators.refuse import refuse_chance, refuse_loss, refuse_size, refuse_sum, scalar
from lowland.operators.settings import EngineName, Loss, Settings
from lowland.seeds import derive

__all__ = ["Problem", "problem"]


class Problem:
    """The mean loss of a model over data, as a function of some of its parameters. Made by :func:`problem`.

    Nothing is left on the model: weights, gradients, buffers, modes and random streams are as before after every
    call. Where the weights were changed in between, everything is computed anew.

    Attributes:
        model: The module.
        loss: Of outputs and targets; None is the model's own.
        batches: The data.
        parameters: What the loss is a function of, by name.
        settings: How it is looked at.
        budget: What all its operators may keep.
        weights: The parameters, in order.
        size: Numbers in them, P.
        dtype: Theirs.
        device: Theirs.
        warm: Vectors that iterations start from, by names of their own, left by the last of their kind.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss | None,
        batches: Batches,
        parameters: Mapping[str, nn.Parameter],
        settings: Settings,
        budget: Budget | None = None,
    ) -> None:
        self.model, self.loss, self.batches, self.settings = model, loss, batches, settings
        self.budget = Budget(settings.memory) if budget is None else budget
        self.parameters = dict(parameters)
        self.weights: list[Tensor] = list(parameters.values())
        self._sizes = [w.numel() for w in self.weights]
        self.size = sum(self._sizes)
        self.dtype, self.device = self.weights[0].dtype, self.weights[0].device
        self.warm: dict[str, Tensor] = {}

    def only(self, names: Collection[str]) -> "Problem":
        """The same loss as a function of fewer parameters; the memory is shared.

        Raises:
            LookupError: If a name is not among the parameters.
        """
        for name in names:
            if name not in self.parameters:
                raise LookupError(unknown("parameter", name, self.parameters))
        kept = {name: p for name, p in self.parameters.items() if name in set(names)}
        return Problem(self.model, self.loss, self.batches, kept, self.settings, self.budget)

    def split(self, v: Tensor) -> list[Tensor]:
        """A vector of length P as tensors of the parameters' shapes, not copied."""
        return [part.view(w.shape) for part, w in zip(v.split(self._sizes), self.weights, strict=True)]

    def join(self, parts: Parts, out: Tensor | None = None) -> Tensor:
        """Tensors of the parameters' shapes, None for zeros, as one vector of length P; in ``out`` if given."""
        pairs = zip(parts, self.weights, strict=True)
        flat = [w.new_zeros(w.numel()) if part is None else part.reshape(-1) for part, w in pairs]
        return torch.cat(flat, out=out)

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Inside, the model is in its mode and can be differentiated twice; see :func:`calm`.

        Raises:
            RuntimeError: If a parameter was exchanged or frozen since the problem was made.
        """
        modules = list(self.model.modules())
        current = {id(p) for module in modules for p in module._parameters.values()}
        for name, p in self.parameters.items():
            if id(p) not in current or not p.requires_grad:
                raise RuntimeError(
                    f"The parameters must be those that the problem was made with, got {name!r} exchanged or "
                    "frozen: make a new problem."
                )
        with calm(modules, self.settings.mode == "train"):
            yield

    def outputs(self, batch: Batch, at: Sequence[Tensor] | None = None) -> Any:  # noqa: ANN401 - the model's business
        """What the model answers to a batch, with the same random numbers every time; inside :meth:`calm`.

        Args:
            batch: The batch.
            at: Values in place of the parameters', which are then not touched.
        """
        seeded(devices(self.model.modules()), derive(self.settings.seed, "problem", batch.index))
        if self.settings.mode == "train":
            renew_buffers(self.model)
        precision = self.settings.autocast
        with nullcontext() if precision is None else torch.autocast(self.device.type, precision):
            if at is None:
                return forward(self.model, batch.inputs)
            return elsewhere(self.model, self.weights, at, batch.inputs)

    def value(self, batch: Batch, outputs: Any) -> Tensor:  # noqa: ANN401 - see outputs
        """The mean loss of a batch, a scalar.

        Raises:
            TypeError: If the loss gives no tensor.
            ValueError: If it gives another shape than a scalar's.
        """
        if self.loss is None:
            value = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
        else:
            value = self.loss(outputs, moved(batch.targets, self.device, None))
        return scalar(value)

    def gradient(self) -> Tensor:
        """The gradient of the mean loss, of length P."""
        with self.calm():
            mean = Mean(torch.empty(1, self.size, dtype=self.dtype, device=self.device), self.join)
            for batch in self.batches:
                loss = self.value(batch, self.outputs(batch))
                mean.add([torch.autograd.grad(loss, self.weights, allow_unused=True)], batch.count)
        return mean.result()[0]

    def mean_loss(self) -> float:
        """The mean loss over all examples."""
        total = 0.0
        with self.calm(), torch.no_grad():
            for batch in self.batches:
                total += batch.count * self.value(batch, self.outputs(batch)).item()
        return total / self.batches.examples

    @cached_property
    def gradient_seconds(self) -> float:
        """How long one gradient over the data takes; measured once."""
        start = time.perf_counter()
        self.gradient().sum().item()  # waits for the device
        return time.perf_counter() - start

    def stamp(self) -> Sequence[float]:
        """Numbers that differ after weights or buffers were changed, even where PyTorch's counter misses it."""
        parameters, buffers = (
            [t.detach() for t in own] for own in (self.model.parameters(), self.model.buffers())
        )
        both = [*parameters, *buffers]
        counters = [number for t in both for number in (0 if t.is_inference() else t._version, t.data_ptr())]
        norms = torch._foreach_norm([t for t in both if t.is_floating_point()])
        real = [torch.view_as_real(t) if t.is_complex() else t for t in buffers if t.layout == torch.strided]
        sums = [t.sum() for t in real]  # of whole numbers too; and sees signs, which norms do not
        return counters + torch.stack([number.to(self.weights[0]) for number in (*norms, *sums)]).tolist()


def problem(
    model: nn.Module,
    loss: Loss | None,
    data: Any,  # noqa: ANN401 - a loader, a list of batches or one batch
    params: str | Sequence[str] = "all",
    *,
    mode: Literal["eval", "train"] = "eval",
    engine: EngineName = "auto",
    memory: str | float = "2 GB",
    autocast: torch.dtype | None = None,
    count: Callable[[Any, Any], int] = count_of,
    check: bool = True,
    seed: int = 0,
) -> Problem:
    """The object that curvature is measured on: the mean loss over data, as a function of parameters.

    Args:
        model: Any module; compiled ones are run uncompiled.
        loss: ``loss(outputs, targets)``, the mean over the batch. For batches that are mappings, the whole batch
            takes the place of the targets. None takes the loss that the model itself gives, as ``outputs.loss``.
        data: A loader or list of batches, in the same order in every pass, or one batch. A batch is a pair
            (inputs, targets), or a mapping that becomes the model's keywords.
        params: ``"all"`` that are trainable, or patterns on their names such as ``"blocks.*"``.
        mode: ``"train"`` measures with batch statistics and dropout, with the same masks in every pass.
        engine: How second derivatives are taken: ``"double_backward"`` through graphs that are kept, exact, nearly
            everywhere; ``"finite_difference"``, rough, where that fails; ``"auto"`` chooses, and says why.
        memory: What kept graphs may take, such as ``"2 GB"``; the others are built anew for every product.
        autocast: A dtype to run forward passes in, such as ``torch.bfloat16``.
        count: How many examples a batch counts for, from its inputs and targets: for a loss that is a mean over
            tokens, the number of tokens.
        check: Whether an operator's first product is tested on the first batch: for symmetry, and in float64
            against finite differences. Takes a product, and four gradients in float64.
        seed: Of dropout in training mode.

    Returns:
        The problem, for :func:`hessian`, :func:`gauss_newton`, :func:`nme`, :func:`fisher`, :func:`jacobian`.

    Raises:
        TypeError: If data are not batches, the loss is no function or gives no tensor, or dtypes are mixed.
        LookupError: If a pattern matches no parameter.
        ValueError: If the loss is not the batch's mean, not finite, without gradient or another the second
            time, or nothing is trainable.
        MemoryError: If one batch's graph takes more than ``memory``.

    Cost:
        Two forward passes over the first batch.

    Example:
        >>> p = problem(nn.Linear(3, 1), nn.functional.mse_loss, (torch.eye(3), torch.ones(3, 1)))
        >>> p.size, p.gradient().shape
        (4, torch.Size([4]))
    """
    one_of("mode", mode, ["eval", "train"])
    one_of("engine", engine, ["auto", "double_backward", "finite_difference"])
    whole("seed", seed, low=0)
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be a function of outputs and targets, got {type(loss).__name__}.")
    if autocast is not None and not isinstance(autocast, torch.dtype):
        raise TypeError(f"autocast must be a dtype such as torch.bfloat16, got {autocast!r}.")
    settings = Settings(
        mode=mode, engine=engine, memory=bytes_of(memory), autocast=autocast, check=check, seed=seed
    )
    found = Problem(model, loss, Batches(data, count), chosen(model, params), settings)
    _look(found)
    return found


def _look(problem: Problem) -> None:
    """Run the first batch forward twice, and refuse what cannot be differentiated, held or repeated."""
    with problem.calm():
        batch = next(iter(problem.batches))
        with saved(problem.model.parameters()) as graph:
            outputs = problem.outputs(batch)
            loss = problem.value(batch, outputs)
        refuse_loss(loss, problem.weights)
        refuse_size(batch, graph.bytes, problem.settings.memory)
        if problem.loss is not None:
            refuse_sum(problem.value, batch, outputs, loss)
        with torch.no_grad():
            refuse_chance(loss, problem.value(batch, problem.outputs(batch)))
