"""Balancedness: how far consecutive linear layers share their weight evenly."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lowland.observe.features import ACTIVATIONS, refuse_unknown
from lowland.observe.measurement import WeightMeasurement
from lowland.observe.reading import Reading

__all__ = ["Balancedness"]

BETWEEN = (*ACTIVATIONS, nn.Identity, nn.Dropout, nn.AlphaDropout)
"""What may stand between two layers that follow each other."""


@dataclass(frozen=True, kw_only=True)
class Balancedness(WeightMeasurement):
    r"""How far consecutive linear layers are from balanced, :math:`D = W_{l+1}^\top W_{l+1} - W_l W_l^\top = 0`.

    * ``imbalance``: :math:`\|D\|_F`, in units of the weights squared;
    * ``relative_imbalance``: :math:`\|D\|_F / (\|W_{l+1}^\top W_{l+1}\|_F + \|W_l W_l^\top\|_F)`, from 0 to 1, 0
      if both vanish;
    * ``unit_imbalance``: :math:`\|\operatorname{diag} D\|_2`, what leaves each unit less what enters it.

    Gradient flow keeps D where nothing stands between the layers, and its diagonal where a ReLU does; in both laws
    the lower layer's bias counts as one more column of :math:`W_l` (``bias=True``). Weight decay, finite steps and
    the noise of small batches do not keep it. The site is the lower layer; the settings say which is ``next``.

    Cost:
        No pass: h^2 (m + n) multiplications in float64 for h hidden units between m and n others.

    Limits:
        Without ``layers``, only those inside an ``nn.Sequential`` with nothing but activations and dropout between
        them are known to follow each other; where there are none, there is no reading.

    References:
        Arora, Cohen, Hazan, On the optimization of deep networks: implicit acceleration by overparameterization,
        2018. Du, Hu, Lee, Algorithmic regularization in learning deep homogeneous models, 2018.
    """

    layers: tuple[str, ...] | None = None
    """Names of linear layers that follow each other, two or more; None: those inside an ``nn.Sequential``."""
    bias: bool = False
    """Whether the lower layer's bias, if it has one, counts as one more column of its weights."""

    def __post_init__(self) -> None:
        if self.layers is not None and (isinstance(self.layers, str) or len(self.layers) < 2):
            raise ValueError(f"layers must be two or more layers that follow each other, got {self.layers!r}.")

    def read(self, model: nn.Module) -> list[Reading]:
        """The imbalance of every pair of layers that follow each other.

        Raises:
            LookupError: If a layer is unknown.
            TypeError: If a layer is not linear.
            ValueError: If the outputs of a layer are not as many as the inputs of the next, or one is not finite.
        """
        pairs = list(pairwise(self.layers)) if self.layers else [p for run in _runs(model) for p in pairwise(run)]
        refuse_unknown(model, [name for pair in pairs for name in pair])
        return [reading for lower, upper in pairs for reading in self._readings(model, lower, upper)]

    def _readings(self, model: nn.Module, lower: str, upper: str) -> list[Reading]:
        below, above = _linear(model, lower), _linear(model, upper)
        if below.out_features != above.in_features:
            raise ValueError(
                f"Layer {upper!r} must take the {below.out_features} outputs of {lower!r}, "
                f"got {above.in_features} inputs. Name layers that follow each other."
            )
        numbers = _imbalance(_incoming(below, self.bias), above.weight.detach().double())
        if not torch.isfinite(numbers).all():
            raise ValueError(f"Weights of {lower!r} and {upper!r} must be finite, got inf or nan.")
        settings = {**self.settings(), "next": upper, "units": below.out_features}
        names = ("imbalance", "relative_imbalance", "unit_imbalance")
        return [
            Reading(name=name, site=lower, value=value, settings=settings)
            for name, value in zip(names, numbers.tolist(), strict=True)
        ]


def _imbalance(lower: Tensor, upper: Tensor) -> Tensor:
    """The three numbers for weights (h, m) and (n, h)."""
    outgoing, incoming = upper.T @ upper, lower @ lower.T  # (h, h)
    D, size = outgoing - incoming, outgoing.norm() + incoming.norm()
    return torch.stack([D.norm(), torch.where(size == 0, 0.0, D.norm() / size), D.diagonal().norm()])


def _incoming(layer: nn.Linear, bias: bool) -> Tensor:
    columns = [layer.weight, layer.bias[:, None]] if bias and layer.bias is not None else [layer.weight]
    return torch.cat(columns, 1).detach().double()


def _linear(model: nn.Module, name: str) -> nn.Linear:
    layer = model.get_submodule(name)
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"Layer {name!r} must be nn.Linear, got {type(layer).__name__}. Name linear layers.")
    return layer


def _runs(model: nn.Module) -> Iterator[list[str]]:
    """Names of linear layers that follow each other, run by run."""
    inner = {id(child) for m in model.modules() if isinstance(m, nn.Sequential) for child in m}
    for name, module in model.named_modules():
        if isinstance(module, nn.Sequential) and id(module) not in inner:
            yield from _cut(list(_steps(module, name)))


def _steps(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """What an ``nn.Sequential`` calls, nested ones in their place."""
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for key, child in module._modules.items():  # named_children would leave a layer out that is called again
        yield from _steps(child, f"{name}.{key}".removeprefix("."))


def _cut(steps: list[tuple[str, nn.Module]]) -> Iterator[list[str]]:
    run: list[str] = []
    for name, module in steps:
        if isinstance(module, nn.Linear):
            run.append(name)
        elif not isinstance(module, BETWEEN):
            yield run
            run = []
    yield run
