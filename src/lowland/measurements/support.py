"""Support: which inputs the first layer looks at, and whether they are the relevant ones."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowland.checks import fraction
from lowland.observe.measurement import WeightMeasurement
from lowland.observe.reading import Reading
from lowland.observe.weights import Weight, weights

__all__ = ["Support", "focus_map"]

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, kw_only=True)
class Support(WeightMeasurement):
    r"""What the first layer's weights W, of shape (h, d), spend on each of its d inputs.

    An input is in use if its column's norm :math:`c_j = \|W_{:, j}\|` exceeds ``threshold`` times the largest.

    * ``support_size``: how many inputs are in use.

    Where it is known which inputs are relevant, also

    * ``relevant_norm`` r and ``irrelevant_norm`` i: Frobenius norms of the columns of each kind;
    * ``relevant_mass``: :math:`r^2 / (r^2 + i^2)`; 0 if W vanishes;
    * ``support_f1``: inputs both in use and relevant, over the mean of how many are in use and are relevant;
    * ``support_auroc``: probability that a relevant column is longer than an irrelevant one, equals counting half;
      no reading if all inputs are relevant.

    The inputs of a convolution are the taps of its kernel, in the order channel, row, column. :func:`focus_map`
    gives the :math:`c_j` as a picture.

    Cost:
        No pass: h d multiplications.

    References:
        Beneventano, Pinto, Poggio, How neural networks learn the support is an implicit regularization effect of
        SGD, 2024, for ``irrelevant_norm`` and the picture; the other numbers are ours.
    """

    relevant: tuple[int, ...] | tuple[bool, ...] | None = None
    """Indices of the relevant inputs, from 0, or one truth value for each input; None: not known."""
    threshold: float = 0.1
    """Share of the longest column that a column must exceed for its input to be in use, in [0, 1)."""
    layers: str | None = None
    """Name of the layer; None: the model's first linear layer or convolution."""

    def __post_init__(self) -> None:
        fraction("threshold", self.threshold, one=False)
        if self.relevant is not None and not (isinstance(self.relevant, tuple) and _is_one_kind(self.relevant)):
            raise TypeError(
                f"relevant must be a tuple of indices or of truth values, got {self.relevant!r}. "
                "Make one with tuple(mask.flatten().tolist())."
            )

    def read(self, model: nn.Module) -> list[Reading]:
        """The numbers of the first layer.

        Raises:
            LookupError: If the layer is unknown, or there is none.
            ValueError: If ``relevant`` does not fit its inputs, or a weight is not finite.
        """
        weight = _first(model, self.layers)
        columns = weight.matrix.double().norm(dim=0)
        used = columns > self.threshold * columns.max()
        numbers = [("support_size", float(used.sum()), "inputs")]
        relevant = None if self.relevant is None else _mask(self.relevant, len(columns))
        numbers += [] if relevant is None else _against(relevant.to(columns.device), columns, used)
        settings = {**self.settings(), "inputs": len(columns)}
        return [
            Reading(name=name, site=weight.name, value=value, unit=unit, settings=settings)
            for name, value, unit in numbers
        ]


def focus_map(model: nn.Module, layer: str | None = None, shape: tuple[int, ...] | None = None) -> Tensor:
    """How much weight the first layer spends on each input: the norm of its columns, as a picture.

    Args:
        model: Any module.
        layer: Name of a linear layer or convolution; None: the model's first.
        shape: Shape of an input, such as ``(1, 28, 28)`` for images that the model flattens; None: that of the
            layer's own inputs, ``(d,)``, or ``(c, k, k)`` for a kernel.

    Returns:
        Norms in float64, of that shape, not negative.

    Raises:
        LookupError: If the layer is unknown, or there is none.
        ValueError: If ``shape`` has not as many inputs as the layer, or a weight is not finite.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).requires_grad_(False)
        >>> _ = model[1].weight.copy_(torch.tensor([[0.0, -2.0, 0.0, 1.0]]))
        >>> focus_map(model, shape=(2, 2))
        tensor([[0., 2.],
                [0., 1.]], dtype=torch.float64)
    """
    weight = _first(model, layer)
    columns = weight.matrix.double().norm(dim=0)
    wanted = weight.shape[1:] if shape is None else shape
    if torch.Size(wanted).numel() != len(columns):
        raise ValueError(f"shape must have the layer's {len(columns)} inputs, got {tuple(wanted)}.")
    return columns.reshape(wanted)


def _first(model: nn.Module, layer: str | None) -> Weight:
    """The weight of the layer, or of the first linear layer or convolution.

    Raises:
        LookupError: If there is none.
    """
    found = [weight for weight in weights(model, layer) if isinstance(weight.layer, KINDS)]
    if not found:
        raise LookupError("Support needs a linear layer or a convolution, got none. Name another layer.")
    return found[0]


def _mask(relevant: tuple[int, ...] | tuple[bool, ...], inputs: int) -> Tensor:
    """The relevant inputs as truth values (d,).

    Raises:
        ValueError: If they are not of d inputs, or none.
    """
    if all(isinstance(each, bool) for each in relevant):
        if len(relevant) != inputs:
            raise ValueError(
                f"relevant must have one truth value for each of {inputs} inputs, got {len(relevant)}."
            )
        mask = torch.tensor(relevant)
    else:
        if any(not 0 <= index < inputs for index in relevant):
            raise ValueError(
                f"relevant must be indices in 0 .. {inputs - 1}, got {min(relevant)} .. {max(relevant)}."
            )
        mask = torch.zeros(inputs, dtype=torch.bool).index_fill_(0, torch.tensor(relevant), True)
    if not mask.any():
        raise ValueError("relevant must hold at least one input, got none. None leaves it unknown.")
    return mask


def _against(relevant: Tensor, columns: Tensor, used: Tensor) -> list[tuple[str, float, str]]:
    inside, outside = columns[relevant], columns[~relevant]
    energy = columns.square().sum()
    mass = inside.square().sum() / energy if energy > 0 else energy
    f1 = 2 * int((used & relevant).sum()) / int(used.sum() + relevant.sum())
    numbers = [
        ("relevant_norm", inside.norm().item(), ""),
        ("irrelevant_norm", outside.norm().item(), ""),
        ("relevant_mass", mass.item(), "fraction"),
        ("support_f1", f1, ""),
    ]
    return numbers if relevant.all() else [*numbers, ("support_auroc", _auroc(inside, outside), "fraction")]


def _auroc(inside: Tensor, outside: Tensor) -> float:
    outside = outside.sort().values
    shorter, not_longer = (torch.searchsorted(outside, inside, right=right) for right in (False, True))
    return (shorter + not_longer).double().mean().item() / (2 * len(outside))


def _is_one_kind(relevant: tuple[int, ...] | tuple[bool, ...]) -> bool:
    truths = sum(isinstance(each, bool) for each in relevant)
    return all(isinstance(each, int) for each in relevant) and truths in (0, len(relevant))
