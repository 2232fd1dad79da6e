"""What an estimate can be made of, checked at the door."""

import torch

from lowland.operators.operator import Operator

__all__ = ["check"]

PRECISIONS = (torch.float32, torch.float64)


def check(operator: Operator, *, square: bool = True, symmetric: bool = False) -> None:
    """Refuse what is no operator, or not one of the kind asked for.

    Raises:
        TypeError: If it is no operator, or of a precision in which its products could not be added up.
        ValueError: If it is not square or not symmetric where it must be, or empty.
    """
    if not isinstance(operator, Operator):
        raise TypeError(f"operator must be an Operator, got {type(operator).__name__}.")
    if operator.dtype not in PRECISIONS:
        raise TypeError(
            f"The operator must be float32 or float64, got {operator.dtype}: convert the model with .to()."
        )
    if min(operator.shape) < 1:
        raise ValueError(f"The operator must have at least one row and column, got shape {operator.shape}.")
    if square and operator.shape[0] != operator.shape[1]:
        raise ValueError(f"The operator must be square, got shape {operator.shape}.")
    if symmetric and not operator.symmetric:
        raise ValueError(
            f"The operator must be symmetric, got a {type(operator).__name__} that is not: "
            "take half the sum of it and its transpose .T."
        )
