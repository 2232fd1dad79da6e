"""Names used by every file, and the letters of the formulas.

Inside a formula: ``w`` weights, ``g`` gradient, ``h`` gradient at the perturbed point, ``e`` perturbation,
``d`` the direction handed to the optimiser, ``n`` inputs (examples), ``k`` classes. A capital letter is a matrix.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["Batches", "Closure", "Criterion", "Row", "State"]

Closure = Callable[[], Tensor]
"""Computes the loss of one batch, a scalar, without calling backward."""

Criterion = Callable[[Any, Tensor], Tensor]
"""Maps the model's outputs and the targets to the mean loss of the batch, a scalar."""

Batches = Iterable[tuple[Any, Tensor]]
"""Pairs (inputs, targets); can be iterated more than once."""

Row = Mapping[str, Any]
"""One line of results: plain numbers, strings, lists and booleans, so that it is one line of JSON."""

State = dict[str, Any]
"""What a checkpoint holds; tensors, numbers, strings and containers of those."""
