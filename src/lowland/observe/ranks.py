"""Ranks of a matrix from its singular values: how many directions it needs, by several definitions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "alpha_req",
    "effective_rank_entropy",
    "participation_ratio",
    "rank",
    "rank_me",
    "ranks",
    "several",
    "stable_rank",
]

Number = tuple[str, float, str, dict[str, float]]
"""Name, value, unit and settings of a reading."""

ROUNDING = 1e-9

EPSILON = 1e-7
"""Added to every share by RankMe: the paper's constant, as its public implementations have it."""

FEWEST = 3
"""Points without which no line is fitted."""


def rank(sigma: Tensor, threshold: float) -> int:
    r"""The smallest k with :math:`\sum_{i \le k} \sigma_i^2 > p \sum_i \sigma_i^2`; 0 if all vanish.

    A share that only reaches the threshold does not exceed it, as in the paper's code, which counts the shares up
    to and including it and adds one. Shares within 1e-9 of the threshold count as only reaching it, so that
    rounding does not decide.

    Args:
        sigma: Singular values in falling order, shape (k,).
        threshold: Share p of the energy, in (0, 1).

    Returns:
        The rank, at most k.

    Example:
        >>> rank(torch.tensor([3.0, 1.0]), 0.9), rank(torch.tensor([3.0, 1.0]), 0.89), rank(torch.zeros(2), 0.9)
        (2, 1, 0)
    """
    energy = sigma.double().square().cumsum(0)
    total = energy[-1].item()
    if total == 0:
        return 0
    reached = int((energy <= (threshold + ROUNDING) * total).sum())
    return min(reached + 1, len(sigma))


def effective_rank_entropy(sigma: Tensor) -> float:
    r"""Entropy :math:`-\sum_i q_i \ln q_i` of :math:`q = \sigma / \sum_j \sigma_j`, in nats; 0 if all vanish.

    Example:
        >>> round(effective_rank_entropy(torch.ones(10)), 4)
        2.3026
    """
    return torch.special.entr(_shares(sigma)).sum().item()


def rank_me(sigma: Tensor) -> float:
    r"""RankMe :math:`e^{-\sum_i q_i \ln q_i}`, :math:`q = \sigma / \sum_j \sigma_j + 10^{-7}`; 0 if all vanish.

    The effective rank, but for the epsilon: every singular value that vanishes adds 1.6e-6 to the entropy.

    Example:
        >>> round(rank_me(torch.ones(10)), 3)
        10.0
    """
    return math.exp(torch.special.entr(_shares(sigma) + EPSILON).sum().item()) if sigma.any() else 0.0


def stable_rank(sigma: Tensor) -> float:
    r""":math:`\sum_i \sigma_i^2 / \sigma_1^2`, between 1 and the rank; 0 if all vanish.

    Example:
        >>> stable_rank(torch.tensor([2.0, 1.0, 1.0]))
        1.5
    """
    return _relative(sigma).square().sum().item()


def participation_ratio(sigma: Tensor) -> float:
    r""":math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2` with :math:`\lambda = \sigma^2`; 0 if all vanish.

    Example:
        >>> participation_ratio(torch.tensor([1.0, 1.0, 0.0]))
        2.0
    """
    energy = _relative(sigma).square()
    return (energy.sum().square() / energy.square().sum()).item() if sigma.any() else 0.0


def alpha_req(sigma: Tensor, first: int = 11, last: int = 100) -> float | None:
    r"""The decay :math:`\alpha` of :math:`\lambda_i = \sigma_i^2 \propto i^{-\alpha}`, by least squares.

    The line is fitted to :math:`\ln \lambda_i` against :math:`\ln i`, every i from ``first`` to ``last`` with
    :math:`\lambda_i > 0` having the same weight.

    Args:
        sigma: Singular values in falling order, shape (k,).
        first: First i, from 1.
        last: Last i, included.

    Returns:
        The exponent, at least 0; None if fewer than three eigenvalues are left to fit.

    Example:
        >>> round(alpha_req(torch.arange(1.0, 51) ** -1.0), 6)
        2.0
    """
    fitted = sigma.double()[first - 1 : last]
    fitted = fitted[fitted > 0]
    if len(fitted) < FEWEST:
        return None
    x = torch.arange(first, first + len(fitted), dtype=torch.float64, device=sigma.device).log()
    x = x - x.mean()
    return max(0.0, -2 * (x.dot(fitted.log()) / x.dot(x)).item())


def ranks(sigma: Tensor, threshold: float | Sequence[float], name: str) -> list[Number]:
    """The rank at every threshold, called ``name``, and the ranks that need none."""
    entropy = effective_rank_entropy(sigma)
    return [
        *((name, float(rank(sigma, p)), "directions", {"threshold": p}) for p in several(threshold)),
        ("effective_rank_entropy", entropy, "nats", {}),
        ("effective_rank", math.exp(entropy) if sigma.any() else 0.0, "directions", {}),
        ("stable_rank", stable_rank(sigma), "directions", {}),
        ("participation_ratio", participation_ratio(sigma), "directions", {}),
    ]


def several(threshold: float | Sequence[float]) -> tuple[float, ...]:
    """One threshold or several, as a tuple."""
    return tuple(threshold) if isinstance(threshold, Sequence) else (threshold,)


def _shares(sigma: Tensor) -> Tensor:
    return sigma.double() / sigma.double().sum().clamp(min=torch.finfo(torch.float64).tiny)


def _relative(sigma: Tensor) -> Tensor:
    """Over the largest, so that no square underflows; zeros if there is none."""
    largest = sigma.double().max() if len(sigma) else 0.0
    return sigma.double() / largest if largest else torch.zeros_like(sigma, dtype=torch.float64)
