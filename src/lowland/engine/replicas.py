"""Several networks of one shape that train as one: a grid of seeds and radii for the price of one run."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lowland.checks import whole
from lowland.engine.method import Method
from lowland.engine.replica_engine import ReplicaEngine
from lowland.engine.replica_step import joined
from lowland.engine.sites import Site, Where, select, sites

__all__ = ["Replicas"]

ACROSS = (torch.optim.Adafactor, torch.optim.LBFGS, torch.optim.Muon)
"""Optimisers that look at more than an entry's own gradient."""

Loss = Callable[..., Tensor]
"""``(model, *batch)`` to a scalar."""


class Replicas:
    """Networks of one architecture with weights of their own, stacked along a first axis and trained together.

    For small networks, whose steps cost Python more than arithmetic: all replicas take a step in little more time
    than one of them. Any method that asks for gradients of the whole loss trains them, unchanged; norms, inner
    products and radii are each replica's own. Any optimiser that works entry by entry will do (SGD, Adam and
    most others; not Muon or L-BFGS, nor clipping by the norm of all gradients). The result is that of separate
    runs, to rounding, and a replica that diverges leaves the others alone.

    Not for networks with buffers (batch norm) or dropout, nor for methods that work on parts of the batch or
    remember: these are refused by words. Everything that is no parameter, such as a number that ``forward`` reads,
    is the first model's in all replicas.

    Args:
        models: The networks, alike but for the values of their parameters; copied, and left alone.
        loss: ``loss(model, *batch)``, the scalar loss of one network, where ``model`` is one of them, with its own
            weights. Without side effects, and without branches on values.

    Raises:
        TypeError: If something is no module, or the loss cannot be called.
        ValueError: If there is no model, or they differ in more than values.
        NotImplementedError: If they have buffers or dropout; and later, if the loss draws random numbers, branches
            on values, or does something else that ``torch.vmap`` cannot.

    Cost:
        A step holds what the separate steps would hold together.

    Example:
        Five seeds by three radii of one network, each replica with batches of its own:

        >>> rhos, seeds = (0.0, 0.1, 0.2), range(5)
        >>> models = [nn.Linear(3, 1) for _ in rhos for _ in seeds]
        >>> def loss(model, x, y):
        ...     return (model(x) - y).square().mean()
        >>> replicas = Replicas(models, loss)
        >>> optimizer = torch.optim.SGD(replicas.parameters(), lr=0.1, momentum=0.9)
        >>> from lowland.methods.sam import SAM
        >>> sam = replicas.bind([SAM(rho=rho) for rho in rhos for _ in seeds], optimizer)
        >>> x, y = torch.randn(15, 8, 3), torch.randn(15, 8, 1)  # replicas first
        >>> for _ in range(10):
        ...     losses = sam.backward_each(x, y)  # sam.backward(x, y) shares one batch among all
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        >>> losses.shape, replicas.unstack(14)
        (torch.Size([15]), Linear(in_features=3, out_features=1, bias=True))
    """

    def __init__(self, models: Sequence[nn.Module], loss: Loss) -> None:
        models = list(models)
        if not models:
            raise ValueError("models must be at least one, got none.")
        if not callable(loss):
            raise TypeError(f"loss must be a function of a model and a batch, got {type(loss).__name__}.")
        self._sites = _alike(models)
        _refuse_kinds(models[0])
        self._skeleton = _Lossy(copy.deepcopy(models[0]), loss)
        self._weights = {name: _stacked(models, name) for name in self._sites}
        self._count = len(models)

    def __len__(self) -> int:
        return self._count

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights, of shape ``(replicas, ...)``, for the optimiser."""
        return iter(self._weights.values())

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights by name."""
        return iter(self._weights.items())

    def bind(
        self,
        methods: Method | Sequence[Method],
        optimizer: torch.optim.Optimizer | None = None,
        *,
        where: Where | None = None,
        seeds: int | Sequence[int] = 0,
    ) -> ReplicaEngine:
        """Make the object whose ``backward`` fills ``.grad`` of all replicas.

        Args:
            methods: One for all, or one per replica, of one kind and alike but for numbers that may follow a
                schedule, such as ``rho``.
            optimizer: The one that will take the steps, made of :meth:`parameters`, for schedules that follow its
                learning rate and methods that look at its momentum.
            where: Which parameters are perturbed, as in :meth:`lowland.Method.bind`.
            seeds: Of what the method draws: one for all, or one per replica.

        Returns:
            The bound method.

        Raises:
            TypeError: If the methods are of several kinds, or not methods.
            ValueError: If there are not as many as replicas, they differ in something else, or the optimiser
                trains other parameters or would mix the replicas.
        """
        own = [methods] * len(self) if isinstance(methods, Method) else list(methods)
        numbers = [seeds] * len(self) if isinstance(seeds, int) else list(seeds)
        for name, given in (("methods", own), ("seeds", numbers)):
            if len(given) != len(self):
                raise ValueError(f"{name} must be one, or one for each of {len(self)} replicas, got {len(given)}.")
        for seed in numbers:
            whole("seeds", seed, low=0)
        method = joined(own, next(self.parameters()))
        moved = select(self._sites, method.where) & select(self._sites, where)
        if not moved:
            raise ValueError("where must leave the method something to perturb, got a filter that leaves nothing.")
        if optimizer is not None:
            _refuse_strangers(optimizer, self)
        return ReplicaEngine(method, self._weights, self._losses, moved, optimizer, tuple(numbers))

    def losses(self, *batch: Any) -> Tensor:  # noqa: ANN401 - batches are the loss's business
        """The loss of every replica on one batch, of shape ``(replicas,)``, with its graph."""
        return self._losses(self._weights, batch, None)

    def losses_each(self, *batch: Any) -> Tensor:  # noqa: ANN401
        """The loss of every replica on a batch of its own; tensors are of shape ``(replicas, ...)``."""
        return self._losses(self._weights, batch, 0)

    def unstack(self, i: int) -> nn.Module:
        """Replica ``i`` as a network of its own, a copy.

        Raises:
            IndexError: If there is none.
        """
        model = copy.deepcopy(self._skeleton.model)
        with torch.no_grad():
            for name, w in model.named_parameters():
                w.copy_(self._weights[name][i])
        return model

    def _losses(self, weights: Mapping[str, Tensor], batch: Sequence[Any], axis: int | None) -> Tensor:
        """The losses at some weights; ``axis`` is that of the replicas in the batch, None if it is shared.

        Raises:
            NotImplementedError: If ``torch.vmap`` cannot compute the loss.
            RuntimeError: If the loss raises one.
        """
        named = {f"model.{name}": w for name, w in weights.items()}
        try:
            return torch.vmap(self._skeleton.call, in_dims=(0, *[axis] * len(batch)))(named, *batch)
        except RuntimeError as error:
            if "vmap" not in str(error):
                raise
            raise NotImplementedError(
                "The loss must be one that torch.vmap can compute, without random numbers and branches on values, "
                "got one that it cannot (see above): train each network by itself."
            ) from error


class _Lossy(nn.Module):
    """The loss of one network, whose parameters ``call`` exchanges."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, *batch: Any) -> Tensor:  # noqa: ANN401
        loss = self._loss(self.model, *batch)
        if not isinstance(loss, Tensor):
            raise TypeError(f"The loss must be a tensor, got {type(loss).__name__}.")
        if loss.ndim:
            raise ValueError(f"The loss must be a scalar, got shape {tuple(loss.shape)}: take its mean.")
        return loss

    def call(self, weights: dict[str, Tensor], *batch: Any) -> Tensor:  # noqa: ANN401
        return torch.func.functional_call(self, weights, batch)


def _alike(models: Sequence[nn.Module]) -> dict[str, Site]:
    """Where the parameters of the first sit.

    Raises:
        ValueError: If another has others.
    """
    first = sites(models[0])
    for i, model in enumerate(models[1:], 1):
        if repr(model) != repr(models[0]) or _kinds(sites(model)) != _kinds(first):
            raise ValueError(f"models must be alike but for values, got another network at {i} than at 0.")
    return first


def _kinds(found: Mapping[str, Site]) -> dict[str, tuple[object, ...]]:
    weights = {name: site.parameter for name, site in found.items()}
    return {name: (w.shape, w.dtype, w.device, w.requires_grad) for name, w in weights.items()}


def _refuse_kinds(model: nn.Module) -> None:
    buffers = [name for name, _ in model.named_buffers()]
    if buffers:
        raise NotImplementedError(
            f"models must have no buffers, such as batch norm's, got {buffers[0]!r}: train each by itself, or "
            "normalise over the example, as LayerNorm and GroupNorm do."
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p:
            raise NotImplementedError(f"models must draw no dropout masks, got {name!r}: train each by itself.")


def _refuse_strangers(optimizer: torch.optim.Optimizer, replicas: Replicas) -> None:
    if isinstance(optimizer, ACROSS):
        raise ValueError(
            f"The optimiser must work entry by entry, got {type(optimizer).__name__}: it would mix the replicas."
        )
    known = {id(p) for p in replicas.parameters()}
    count = sum(id(p) not in known for group in optimizer.param_groups for p in group["params"])
    if count:
        raise ValueError(
            f"The optimiser must train the replicas, got {count} other parameters: make it of "
            "replicas.parameters()."
        )


def _stacked(models: Sequence[nn.Module], name: str) -> nn.Parameter:
    own = [model.get_parameter(name) for model in models]
    return nn.Parameter(torch.stack([w.detach() for w in own]), requires_grad=own[0].requires_grad)
