"""A layer whose factors act one after the other: linear over-parameterisation in activation space."""

import copy
import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import pad
from torch.nn.modules.conv import _ConvNd

from lowland.layers.chain import Chain
from lowland.layers.compose import compose

__all__ = ["KINDS", "Expanded"]

NORMS = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""By the number of dimensions of the kernel."""

KINDS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""What can be expanded in activation space."""


class Expanded(nn.Module):
    """Linear or convolutional factors in a row, with batch norm between them if asked for.

    All padding is in front of the first factor and the stride is in the last, so that the row equals one layer up
    to the border. In a transposed convolution the stride is in the first, and the padding cuts behind the last.
    The bias of the layer is added at the end. Every factor has the layer's dilation and groups.

    ``weight`` and ``bias`` are those of the one layer that this is when batch norm uses its running statistics;
    gradients go through them. Its settings, such as ``in_features`` or ``stride``, can be read here too.

    Args:
        layer: The plain layer that this stands for.
        chain: What the factors are.
        factors: Their weights, as stored; several layers may share them.
        batch_norm: Whether to normalise after every factor but the last; begins as the identity in evaluation,
            frozen if the factors are.
    """

    def __init__(
        self, layer: nn.Module, chain: Chain, factors: Sequence[nn.Parameter], batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.chain = chain
        self.plain = (copy.deepcopy(layer).to("meta"),)  # in a tuple, so that its parameters are not ours
        self.factors = nn.ModuleList(_factor(layer, chain, at, weight) for at, weight in enumerate(factors))
        self.norms = nn.ModuleList(_norm(chain, factors[0]) for _ in range(chain.depth - 1) if batch_norm)
        self.register_parameter("own_bias", layer._parameters["bias"])
        self.border = _border(layer)
        mode = str(getattr(layer, "padding_mode", "zeros"))
        self.fill = "constant" if mode == "zeros" else mode
        for name in getattr(layer, "__constants__", ()):
            setattr(self, name, getattr(layer, name))
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer answers."""
        h = x if self.chain.transposed else self._bordered(x)
        for at, factor in enumerate(self.factors):
            y = factor(h)
            y = self._normalised(at, y) if at < len(self.norms) else y
            h = y + self._skipped(at, h) if self.chain.skips[at] else y
        h = self._bordered(h) if self.chain.transposed else h
        bias = self._parameters["own_bias"]
        return h if bias is None else h + bias.view(-1, *(1 for _ in self.chain.kernels[0]))

    @property
    def weight(self) -> Tensor:
        """The weight of the one layer."""
        return self.chain.stored(reduce(compose, reversed(self._folded())))

    @property
    def bias(self) -> Tensor | None:
        """The bias of the one layer; None without a bias of its own and without batch norm."""
        bias = self._parameters["own_bias"]
        if not self.norms:
            return bias
        shift = torch.zeros((), dtype=self.weight.dtype, device=self.weight.device)
        for at, blocks in enumerate(self._folded()):
            shift = blocks.flatten(2).unflatten(2, (blocks.shape[2], -1)).sum(3) @ shift if at else shift
            shift = shift + self._line(at)[1] if at < len(self.norms) else shift
        return shift.flatten() if bias is None else shift.flatten() + bias

    def collapsed(self) -> nn.Module:
        """The plain layer, of the class and with the settings that it had."""
        layer = copy.deepcopy(self.plain[0]).train(self.training)
        with torch.enable_grad():
            weight, bias = self.weight, self.bias
        layer.register_parameter("weight", nn.Parameter(weight.detach().clone(), weight.requires_grad))
        if bias is not None:
            own = self._parameters["own_bias"]
            trains = bias.requires_grad if own is None else own.requires_grad
            layer.register_parameter("bias", nn.Parameter(bias.detach().clone(), trains))
        return layer

    def extra_repr(self) -> str:
        """How wide."""
        return f"widths={self.chain.widths}"

    def _bordered(self, x: Tensor) -> Tensor:
        return pad(x, self.border, self.fill) if any(self.border) else x

    def _normalised(self, at: int, y: Tensor) -> Tensor:
        """Batch norm over all dimensions but the channels'; an input without a batch is a batch of one."""
        kernel = self.chain.kernels[0]
        batch = y[None] if y.ndim == len(kernel) + 1 else y
        return self.norms[at](batch if kernel else batch.flatten(0, -2)).view_as(y)

    def _skipped(self, at: int, h: Tensor) -> Tensor:
        """The input of a factor where its kernel's centre falls, at its stride."""
        factor = self.factors[at]
        if math.prod((*self.chain.kernels[at], *getattr(factor, "stride", ()))) == 1:
            return h
        identity = self.chain.stored(self.chain.skip(at, h))
        return functional_call(factor, {"weight": identity}, (h,))

    def _folded(self) -> list[Tensor]:
        """The factors as blocks, with batch norm's scales and the skips."""
        found = []
        for at, factor in enumerate(self.factors):
            blocks = self.chain.blocks(factor.weight)  # pyright: ignore[reportArgumentType] - a tensor
            if at < len(self.norms):
                blocks = self._line(at)[0].view(*blocks.shape[:2], *[1] * (blocks.ndim - 2)) * blocks
            found.append(blocks + self.chain.skip(at, blocks) if self.chain.skips[at] else blocks)
        return found

    def _line(self, at: int) -> tuple[Tensor, Tensor]:
        """What batch norm multiplies every channel with, and what it adds, (g, h, 1) each."""
        norm: nn.BatchNorm2d = self.norms[at]  # pyright: ignore[reportAssignmentType] - they differ in nothing here
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # pyright: ignore[reportOptionalOperand] - tracked
        shift = norm.bias - scale * norm.running_mean  # pyright: ignore[reportOperatorIssue] - tracked
        return scale.view(self.chain.groups, -1, 1), shift.view(self.chain.groups, -1, 1)


def _factor(layer: nn.Module, chain: Chain, at: int, weight: nn.Parameter) -> nn.Module:
    """A plain layer without bias and padding; the stride is in the last, in the first if transposed."""
    g, o, i, *k = chain.shape(at)
    made = nn.Linear(i, o, bias=False, device="meta") if not k else copy.deepcopy(layer).to("meta")
    if isinstance(made, _ConvNd):
        made.in_channels, made.out_channels, made.kernel_size = g * i, g * o, tuple(k)
        made.padding, made.padding_mode, made.bias = (0,) * len(k), "zeros", None
        if at != (0 if chain.transposed else chain.depth - 1):
            made.stride, made.output_padding = (1,) * len(k), (0,) * len(k)
    made.weight = weight
    return made


def _norm(chain: Chain, like: Tensor) -> nn.Module:
    norm = NORMS[len(chain.kernels[0])](chain.groups * chain.widths[1], dtype=like.dtype, device=like.device)
    nn.init.constant_(norm.weight, math.sqrt(1 + norm.eps))  # with it evaluation begins as the identity
    return norm.requires_grad_(like.requires_grad)


def _border(layer: nn.Module) -> list[int]:
    """How much to add at the ends of every dimension, the last first; cut off if negative."""
    if not isinstance(layer, _ConvNd):
        return []
    sign = -1 if layer.transposed else 1
    return [sign * width for width in layer._reversed_padding_repeated_twice]
