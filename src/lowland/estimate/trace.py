"""The sum of the diagonal of a matrix that can only be multiplied with."""

from collections.abc import Callable, Sequence
from typing import Literal, overload

from lowland.checks import unknown, whole
from lowland.estimate.check import check
from lowland.estimate.estimate import Estimate
from lowland.estimate.hutch_plus_plus import hutch_plus_plus
from lowland.estimate.hutchinson import hutchinson
from lowland.estimate.xtrace import xtrace
from lowland.observe.ordinary import ordinary
from lowland.operators.operator import Operator

__all__ = ["trace"]

Method = Literal["hutchinson", "hutch++", "xtrace"]

METHODS: dict[str, Callable[[Operator, int, int], Estimate[float]]] = {
    "hutchinson": hutchinson,
    "hutch++": hutch_plus_plus,
    "xtrace": xtrace,
}


@overload
def trace(
    operators: Operator, probes: int = 30, method: Method = "hutchinson", seed: int = 0
) -> Estimate[float]: ...


@overload
def trace(
    operators: Sequence[Operator], probes: int = 30, method: Method = "hutchinson", seed: int = 0
) -> list[Estimate[float]]: ...


@ordinary()
def trace(
    operators: Operator | Sequence[Operator], probes: int = 30, method: Method = "hutchinson", seed: int = 0
) -> Estimate[float] | list[Estimate[float]]:
    """The trace, unbiased, with its standard error.

    Args:
        operators: A square matrix; or several of one side, which then get the same random vectors. Hutchinson's
            estimates of G and G + N then differ by that of N.
        probes: Products with each matrix, at least 2; for the other two methods at least 4 and at most its side.
        method: ``"hutchinson"``, best where no few eigenvalues dominate; ``"hutch++"`` or ``"xtrace"``, which take
            large eigenvalues out of the chance; of these xtrace is nearer, and holds three times the memory.
        seed: Of the random vectors.

    Returns:
        One estimate, or a list of one for each matrix.

    Raises:
        LookupError: If there is no such method.
        ValueError: If ``probes`` is out of range, a matrix is not square, sides differ, or products are nan
            or inf.

    Example:
        >>> import torch
        >>> from lowland.operators.hessian import hessian
        >>> from lowland.operators.problem import problem
        >>> data = torch.diag(torch.tensor([1.0, 2.0])), torch.ones(2, 1)
        >>> H = hessian(problem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data))
        >>> trace(H).value
        5.0

    Cost:
        As many products with each matrix as ``probes``.
    """
    several = [operators] if isinstance(operators, Operator) else list(operators)
    _refuse(several, probes, method)
    estimates = [METHODS[method](operator, probes, seed) for operator in several]
    return estimates[0] if isinstance(operators, Operator) else estimates


def _refuse(operators: list[Operator], probes: int, method: str) -> None:
    for operator in operators:
        check(operator)
    sides = {operator.shape[0] for operator in operators}
    if len(sides) != 1:
        raise ValueError(
            f"operators must be some of one side, to share random vectors, got sides {sorted(sides)}."
        )
    if method not in METHODS:
        raise LookupError(unknown("method for a trace", method, METHODS))
    whole("probes", probes, 2 if method == "hutchinson" else 4)
    if method != "hutchinson" and probes > min(sides):
        raise ValueError(
            f"probes must be at most the operator's side {min(sides)} for {method}, got {probes}: "
            "as many products as the side give the matrix itself, with .dense()."
        )
