"""Memory-efficient sharpness-aware training: the trajectory loss with an averaged teacher."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.calling import call
from lowland.checks import at_least, fraction, whole
from lowland.observe.forward import first_tensor
from lowland.penalties._parts.bound import Bound
from lowland.penalties._parts.hooks import taken
from lowland.penalties._parts.lerp import lerp_
from lowland.penalties._parts.penalty import Penalty
from lowland.penalties._parts.trained import fitting, trained
from lowland.penalties._parts.trajectory import divergence
from lowland.types import State

__all__ = ["MESA", "BoundMESA"]


@dataclass(frozen=True, kw_only=True)
class MESA(Penalty):
    r"""Keep outputs near those of averaged weights, :math:`\lambda\tau^2 KL(\sigma(v/\tau) \Vert \sigma(z/\tau))`.

    :math:`z` are a sample's logits, :math:`v` those of a teacher and :math:`\sigma` the softmax; the mean over the
    batch is added to the loss. The teacher's weights are the exponential moving average of the model's,
    :math:`\bar w \leftarrow \beta\bar w + (1 - \beta) w` after every step. It is
    :class:`~lowland.penalties.saf.SAF` without the table: it needs no indices, and the teacher sees the batch as
    the model does, augmentations included.

    The teacher is in evaluation mode throughout: it drops nothing and uses batch-norm statistics that are averaged
    like the weights. Frozen parameters are not copied but shared.

    Attributes:
        strength: :math:`\lambda`, >= 0. The authors' command for ResNet-50 has 0.8.
        tau: Temperature, > 0.
        decay: :math:`\beta`, in [0, 1); the default of the authors' script.
        start: Optimiser steps before the term counts, >= 0; the authors advise those of 5 epochs, or 30 % of the
            training. The teacher learns from the first.

    Cost:
        One forward pass without gradient per call, from ``start`` on; under a method that calls the closure twice,
        two a step. One copy of the trained weights and of the buffers.

    References:
        Du, Zhou, Feng, Tan, Zhou, Sharpness-Aware Training for Free, NeurIPS 2022. https://arxiv.org/abs/2205.14083
        Defaults from the authors' README, command and script.
    """

    strength: float = 0.8
    tau: float = 5.0
    decay: float = 0.9998
    start: int = 0

    COPIES: ClassVar = 1
    FORWARDS: ClassVar = 1
    OFF: ClassVar = {"strength": 0.0}

    def __post_init__(self) -> None:
        at_least("strength", self.strength, 0)
        at_least("tau", self.tau, 0)
        if self.tau == 0:
            raise ValueError("tau must be above 0, got 0.")
        fraction("decay", self.decay, one=False)
        whole("start", self.start, 0)

    def bind(self, model: nn.Module, optimizer: Optimizer) -> "BoundMESA":
        """Make the term; call it inside the closure: ``criterion(z, y) + mesa(z, x)``.

        Args:
            model: Gives the logits; where several processes each hold all of it, the bare one.
            optimizer: Takes the steps.

        Returns:
            The term, with its teacher.

        Raises:
            ValueError: If the optimiser trains none of the model's parameters.
            TypeError: If weights are in half precision, in which the average would stand still.
            NotImplementedError: If parameters are sharded.
        """
        return BoundMESA(self, model, optimizer)


class BoundMESA(Bound[MESA]):
    """The trajectory loss with its teacher.

    Attributes:
        teacher: The model with averaged weights, in evaluation mode.
    """

    def __init__(self, penalty: MESA, model: nn.Module, optimizer: Optimizer) -> None:
        _refuse_half(trained(model, optimizer))
        self._model = model
        frozen = {id(p): p for p in model.parameters() if not p.requires_grad}
        self.teacher = copy.deepcopy(model, frozen).eval().requires_grad_(False)
        self._averaged = [name for name, p in model.named_parameters() if p.requires_grad]
        super().__init__(penalty, optimizer)

    def __call__(self, outputs: Tensor, inputs: Any) -> Tensor:  # noqa: ANN401 - inputs are the model's business
        """What to add to the mean loss of a batch, a scalar.

        Args:
            outputs: The model's logits, of shape ``(n, k)``.
            inputs: What it was given for them: a dict is passed on as keywords, a list or tuple as positions.

        Returns:
            The weighted mean divergence; 0 before ``start``.

        Raises:
            ValueError: If the teacher's outputs have another shape.
        """
        if self.count < self.penalty.start:
            return outputs.new_zeros(())
        with torch.no_grad():
            past = first_tensor(call(self.teacher, inputs), "the teacher")
        if past.shape != outputs.shape:
            raise ValueError(
                f"outputs must be the model's own, of shape {tuple(past.shape)}, got {tuple(outputs.shape)}."
            )
        return self.penalty.strength * divergence(outputs, past, self.penalty.tau).mean()

    def act(self, optimizer: Optimizer) -> None:
        """Move the teacher towards the model."""
        own, latest = self._kept(self.teacher), self._kept(self._model)
        floating = [name for name, t in own.items() if t.is_floating_point()]
        share = (1 - self.penalty.decay) * taken(optimizer)
        lerp_([own[name] for name in floating], [latest[name] for name in floating], share)
        for name in own.keys() - set(floating):
            own[name].copy_(latest[name])

    def memory(self) -> State:
        """The teacher's averaged weights and its buffers."""
        return {"teacher": self._kept(self.teacher)}

    def recall(self, state: Mapping[str, Any]) -> None:
        """Bring the teacher back."""
        own = self._kept(self.teacher)
        for name, kept in fitting(state["teacher"], own).items():
            own[name].copy_(kept)

    def _kept(self, model: nn.Module) -> dict[str, Tensor]:
        """What the teacher has of its own, by name."""
        parameters = dict(model.named_parameters())
        return {name: parameters[name].detach() for name in self._averaged} | dict(model.named_buffers())


def _refuse_half(parameters: Mapping[str, nn.Parameter]) -> None:
    for name, p in parameters.items():
        if torch.finfo(p.dtype).bits < 32:
            raise TypeError(
                f"MESA needs weights of at least float32, got {name!r} in {p.dtype}: keep them in float32 and use "
                "torch.autocast."
            )
