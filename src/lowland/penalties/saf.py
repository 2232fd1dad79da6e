"""Sharpness-aware training for free: the trajectory loss on remembered outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.checks import at_least, whole
from lowland.penalties._parts.bound import Bound
from lowland.penalties._parts.penalty import Penalty
from lowland.penalties._parts.trained import trained
from lowland.penalties._parts.trajectory import divergence
from lowland.types import State

__all__ = ["SAF", "BoundSAF"]


@dataclass(frozen=True, kw_only=True)
class SAF(Penalty):
    r"""Keep outputs near those of some epochs ago, :math:`\lambda\tau^2 KL(\sigma(v/\tau) \Vert \sigma(z/\tau))`.

    :math:`z` are a sample's logits, :math:`v` those it had ``lag`` visits ago and :math:`\sigma` the softmax; the
    mean over the batch is added to the loss. A loss that falls fast along the way has sharp surroundings, and
    outputs that change slowly keep it from falling fast. No weights are perturbed.

    An epoch is a visit of the sample, a visit a new optimiser step: all passes of one step, at the weights and
    beside them, see the same past, and the first records. Samples with too short a past add nothing.

    Attributes:
        strength: :math:`\lambda`, >= 0. The authors' command for ResNet-50 has 0.3.
        tau: Temperature, > 0.
        lag: Visits from the past to now, >= 1; the authors use 2 or 3.
        start: Visits of a sample before the term counts, >= 0; the authors advise 5, or 30 % of the training.
        dtype: What the outputs are remembered in: ``torch.float32`` or ``torch.float16``, for half the memory.

    Cost:
        No pass, no copy of the weights. A table of (lag + 1) x examples x classes numbers, where the first batch's
        outputs are; the slot that the lag would not need lets all passes of a step see the same past.

    References:
        Du, Zhou, Feng, Tan, Zhou, Sharpness-Aware Training for Free, NeurIPS 2022. https://arxiv.org/abs/2205.14083
        Defaults from the authors' README and commands.
    """

    strength: float = 0.3
    tau: float = 5.0
    lag: int = 2
    start: int = 5
    dtype: torch.dtype = torch.float32

    OFF: ClassVar = {"strength": 0.0}

    def __post_init__(self) -> None:
        at_least("strength", self.strength, 0)
        at_least("tau", self.tau, 0)
        if self.tau == 0:
            raise ValueError("tau must be above 0, got 0.")
        whole("lag", self.lag)
        whole("start", self.start, 0)
        if not self.dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating one, such as torch.float16, got {self.dtype}.")

    def bind(
        self, model: nn.Module, optimizer: Optimizer, examples: int, device: torch.device | str | None = None
    ) -> "BoundSAF":
        """Make the term; call it inside the closure: ``criterion(z, y) + saf(z, indices)``.

        Args:
            model: Gives the logits.
            optimizer: Trains it, and takes the steps.
            examples: Samples in the training set.
            device: Where outputs are remembered; None is where they are made. ``"cpu"`` for sets that are too
                large, at the price of waiting for the device.

        Returns:
            The term, which remembers outputs.

        Raises:
            ValueError: If there are no examples, or the optimiser trains none of the model's parameters.
        """
        trained(model, optimizer)  # another optimiser's steps would not be visits
        whole("examples", examples)
        return BoundSAF(self, optimizer, examples, device)


class BoundSAF(Bound[SAF]):
    """The trajectory loss with its memory of outputs."""

    def __init__(
        self, penalty: SAF, optimizer: Optimizer, examples: int, device: torch.device | str | None
    ) -> None:
        self._examples, self._device = examples, device
        self._past: Past | None = None
        super().__init__(penalty, optimizer)

    def __call__(self, outputs: Tensor, indices: Tensor) -> Tensor:
        """What to add to the mean loss of a batch, a scalar.

        Args:
            outputs: Logits, of shape ``(n, k)``.
            indices: Which samples they are of, whole numbers from 0 to below ``examples``, of shape ``(n,)``.

        Returns:
            The weighted mean divergence over all n examples.

        Raises:
            ValueError: If shapes fit neither each other nor earlier calls, or an index on the CPU is out of range.
        """
        self._check(outputs, indices)
        home = torch.device(self._device or outputs.device)
        if self._past is None:
            shape = (self._examples, self.penalty.lag + 1, outputs.shape[1])
            self._past = Past.empty(torch.zeros(shape, dtype=self.penalty.dtype, device=home))
        self._past = self._past.to(home)
        with torch.no_grad():
            past, visits = self._past.exchange(outputs.detach().to(home), indices.to(home), self.count)
            known = (visits > max(self.penalty.lag, self.penalty.start)) & torch.isfinite(past).all(-1)
            past = torch.where(known[:, None], past, 0)
        terms = divergence(outputs, past.to(outputs.device), self.penalty.tau)
        return self.penalty.strength * torch.where(known.to(outputs.device), terms, 0).mean()

    def act(self, optimizer: Optimizer) -> None:
        """Nothing: that a step was taken is all there is to know."""

    def memory(self) -> State:
        """Of each sample the last outputs, the visits, and the step of the last; None before the first call."""
        return {"past": None if self._past is None else dict(vars(self._past))}

    def recall(self, state: Mapping[str, Any]) -> None:
        """Bring the outputs back.

        Raises:
            ValueError: If they are of another number of samples, or of another lag.
        """
        kept = state["past"]
        if kept is not None and kept["outputs"].shape[:2] != (self._examples, self.penalty.lag + 1):
            raise ValueError(
                f"The state must be of {self._examples} examples and lag {self.penalty.lag}, got outputs of shape "
                f"{tuple(kept['outputs'].shape)}."
            )
        self._past = kept and Past(**{name: t.clone() for name, t in kept.items()})

    def _check(self, outputs: Tensor, indices: Tensor) -> None:
        if outputs.ndim != 2 or indices.shape != outputs.shape[:1]:
            raise ValueError(
                f"outputs must have shape (n, k) and indices (n,), got {tuple(outputs.shape)} and "
                f"{tuple(indices.shape)}."
            )
        if self._past is not None and outputs.shape[1] != self._past.outputs.shape[2]:
            raise ValueError(
                f"outputs must be of as many classes as before, {self._past.outputs.shape[2]}, "
                f"got {outputs.shape[1]}."
            )
        if indices.is_cpu and len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < self._examples:
            raise ValueError(f"indices must be from 0 to below {self._examples}, got {indices.tolist()}.")


@dataclass(frozen=True)
class Past:
    """Outputs of each sample's last visits, in a ring.

    Attributes:
        outputs: Of shape ``(examples, slots, k)``; the largest logit of each is 0, as a softmax does not mind.
        visits: So far, of shape ``(examples,)``.
        last: The step of the last visit, of shape ``(examples,)``.
    """

    outputs: Tensor
    visits: Tensor
    last: Tensor

    @classmethod
    def empty(cls, outputs: Tensor) -> "Past":
        """No visits yet."""
        visits = torch.zeros(len(outputs), dtype=torch.int64, device=outputs.device)
        return cls(outputs, visits, visits - 1)

    def to(self, device: torch.device) -> "Past":
        """On that device; itself if it is there."""
        if self.outputs.device == device:
            return self
        return Past(self.outputs.to(device), self.visits.to(device), self.last.to(device))

    def exchange(self, outputs: Tensor, indices: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Record a visit unless this step has recorded it, and give the outputs of as many visits ago as can be.

        Returns:
            The oldest outputs kept, of shape ``(n, k)``, and the visits of the samples, this one included.
        """
        new = self.last[indices] != step
        visits = self.visits[indices] + new
        slots = self.outputs.shape[1]
        here = (visits - 1) % slots
        before = self.outputs[indices, here]
        shifted = (outputs - outputs.amax(-1, keepdim=True)).to(before).clamp(min=torch.finfo(before.dtype).min)
        self.outputs[indices, here] = torch.where(new[:, None], shifted, before)
        self.visits[indices], self.last[indices] = visits, step
        return self.outputs[indices, visits % slots], visits
