"""Balancedness-aware regularisation: SAM's pull on two factors, without SAM."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.blocks.radius import check_radius
from lowland.checks import nearest
from lowland.engine.step import Schedule
from lowland.penalties._parts.bound import Bound
from lowland.penalties._parts.hooks import before_steps, taken
from lowland.penalties._parts.penalty import Penalty
from lowland.penalties._parts.trained import trained

__all__ = ["BAR", "BoundBAR", "by_gradients", "by_weights"]

Tensors = Sequence[Tensor]

Grows = Callable[[Tensors, Tensors], Tensor]
"""Of each pair (x, y), whether x is to grow and y to shrink: booleans of shape ``(pairs,)``, on the device."""


def by_gradients(xs: Tensors, ys: Tensors) -> Tensor:
    """The one with the longer gradient grows: nBAR."""
    return _norms([x.grad for x in xs]) >= _norms([y.grad for y in ys])


def by_weights(xs: Tensors, ys: Tensors) -> Tensor:
    """The shorter one grows: oBAR."""
    return _norms(xs) < _norms(ys)


@dataclass(frozen=True, kw_only=True)
class BAR(Penalty):
    r"""One factor grows, the other shrinks, :math:`x \leftarrow (1 \pm \mu\eta)x, y \leftarrow (1 \mp \mu\eta)y`.

    For weights that a model uses as a product, such as LoRA's A and B. Rescaling one factor against the other
    leaves the function as it is; SAM nevertheless draws :math:`(\lVert x \rVert^2 - \lVert y \rVert^2) / 2`, the
    balancedness, to zero, and this does so explicitly. It acts like decoupled weight decay: before the optimiser's
    update, in proportion to the learning rate :math:`\eta` of each factor's own group.

    :meth:`as_nbar` is for products :math:`x y^\top`, as LoRA's: x grows where :math:`\lVert g_x \rVert \ge
    \lVert g_y \rVert`. :meth:`as_obar` is for :math:`x^\top y`: x shrinks where :math:`\lVert x \rVert \ge
    \lVert y \rVert`. Pairs of which a factor has no gradient are left alone.

    Attributes:
        mu: Strength, >= 0, a number or a schedule; mu times the learning rate must stay below 1. The authors
            schedule it, and begin with 0.2 to 2 for few examples, 0.05 to 1 for GLUE, 0.1 to 0.3 for GPT-2.
        pairs: Pairs of parameter names, or ``"lora"`` for all adapters that the optimiser trains: what is called
            ``lora_A`` and ``lora_B`` (of embeddings ``lora_embedding_A`` and ``_B``) in the same place.
        grows: Tells which of the two does.

    Cost:
        No pass, no memory; two norms and two products per pair. Weights should be float32: in bfloat16, where
        mu times the learning rate is below 0.002, every product rounds back.

    References:
        Li, Zhang, He, Implicit Regularization of Sharpness-Aware Minimization for Scale-Invariant Problems,
        NeurIPS 2024. https://arxiv.org/abs/2410.14802
    """

    mu: Schedule = 0.2
    pairs: Literal["lora"] | Sequence[tuple[str, str]] = "lora"
    grows: Grows = by_gradients

    OFF: ClassVar = {"mu": 0.0}

    def __post_init__(self) -> None:
        check_radius("mu", self.mu)
        if self.pairs != "lora":
            object.__setattr__(self, "pairs", _checked(self.pairs))

    @classmethod
    def as_nbar(cls, mu: Schedule = 0.2, pairs: Literal["lora"] | Sequence[tuple[str, str]] = "lora") -> "BAR":
        """For outer products, as LoRA's: compares the gradients."""
        return cls(mu=mu, pairs=pairs, grows=by_gradients)

    @classmethod
    def as_obar(cls, mu: Schedule = 0.2, pairs: Literal["lora"] | Sequence[tuple[str, str]] = "lora") -> "BAR":
        """For inner products: compares the weights."""
        return cls(mu=mu, pairs=pairs, grows=by_weights)

    def bind(self, model: nn.Module, optimizer: Optimizer) -> "BoundBAR":
        """Balance pairs of ``model`` in every step of ``optimizer``.

        Args:
            model: Any module; where several processes each hold all of it, the bare one.
            optimizer: Trains both of every pair.

        Returns:
            The rule at work; the optimiser keeps it so whether or not you keep it.

        Raises:
            ValueError: If there are no pairs, or a name is not that of a trained parameter.
            NotImplementedError: If parameters are sharded.
        """
        return BoundBAR(self, model, optimizer)


@dataclass(frozen=True)
class Moment:
    """When the schedule of mu is asked."""

    count: int
    learning_rate: float | Tensor


class BoundBAR(Bound[BAR]):
    """BAR at work.

    Attributes:
        pairs: The names of the pairs that are balanced.
    """

    def __init__(self, penalty: BAR, model: nn.Module, optimizer: Optimizer) -> None:
        parameters = trained(model, optimizer)
        self.pairs = _lora(parameters) if penalty.pairs == "lora" else _known(penalty.pairs, parameters)
        self._factors = [(parameters[x], parameters[y]) for x, y in self.pairs]
        super().__init__(penalty, optimizer, before_steps)

    def act(self, optimizer: Optimizer) -> None:
        """Scale both factors of every pair."""
        pairs = [pair for pair in self._factors if all(p.grad is not None for p in pair)]
        if not pairs:
            return
        xs, ys = zip(*pairs, strict=True)
        mu = self.penalty.mu
        mu = mu(Moment(self.count, optimizer.param_groups[0]["lr"])) if callable(mu) else mu
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        signs = torch.where(self.penalty.grows(xs, ys), 1, -1) * taken(optimizer)
        _scale(xs + ys, torch.cat([signs, -signs]), [mu * rates[id(p)] for p in xs + ys])


def _scale(tensors: Tensors, signs: Tensor, steps: list[float | Tensor]) -> None:
    """Multiply each tensor by ``1 + sign * step``.

    Raises:
        ValueError: If a factor would not stay above 0.
    """
    for step in steps:
        if not isinstance(step, Tensor) and step >= 1:
            raise ValueError(f"mu times the learning rate must be below 1, got {step:g}: lower mu.")
    signs_there = [sign.to(t.device, _wide([t])) for sign, t in zip(signs.unbind(), tensors, strict=True)]
    torch._foreach_mul_(list(tensors), [1 + sign * step for sign, step in zip(signs_there, steps, strict=True)])


def _norms(tensors: Sequence[Tensor | None]) -> Tensor:
    """Of each tensor, in at least float32, of shape ``(tensors,)``, on the first one's device."""
    there = [t for t in tensors if t is not None]
    norms = torch._foreach_norm(there, 2, dtype=_wide(there))
    return torch.stack([norm.to(there[0].device) for norm in norms])


def _wide(tensors: Tensors) -> torch.dtype:
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def _checked(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if isinstance(pairs, str) or not pairs or any(isinstance(pair, str) or len(set(pair)) != 2 for pair in pairs):
        raise ValueError(f"pairs must be 'lora' or pairs of two parameter names, got {pairs!r}.")
    return tuple((x, y) for x, y in pairs)


def _known(
    pairs: Sequence[tuple[str, str]], parameters: Mapping[str, nn.Parameter]
) -> tuple[tuple[str, str], ...]:
    for name in (name for pair in pairs for name in pair):
        if name not in parameters:
            close = nearest(name, parameters)
            hint = f" Near it: {', '.join(close)}." if close else ""
            raise ValueError(f"pairs must name parameters that the optimiser trains, got {name!r}.{hint}")
    return tuple(pairs)


def _lora(parameters: Mapping[str, nn.Parameter]) -> tuple[tuple[str, str], ...]:
    pairs = tuple((a, b) for a in parameters for b in _partners(a) if b in parameters)
    if not pairs:
        raise ValueError(
            "pairs='lora' must find lora_A and lora_B among the parameters that the optimiser trains, got none: "
            "bind after the adapters were added, or name the pairs."
        )
    return pairs


def _partners(name: str) -> Iterator[str]:
    """The name of B if this is one of A, part by part, as in ``q.lora_A.default.weight``."""
    parts = name.split(".")
    for a in {"lora_A", "lora_embedding_A"} & set(parts):
        yield ".".join(a[:-1] + "B" if part == a else part for part in parts)
