"""The outermost eigenvalues of a symmetric matrix, with their vectors."""

import torch
from torch import Tensor

from lowland.checks import at_least, unknown, whole
from lowland.estimate.check import check
from lowland.estimate.eigen_pairs import EigenPairs, NotConvergedError
from lowland.estimate.lanczos import ROUNDINGS, Lanczos
from lowland.estimate.meter import Meter
from lowland.estimate.outermost import ENDS, End, Outermost
from lowland.estimate.warm_start import warm_start
from lowland.observe.ordinary import ordinary
from lowland.operators.operator import Operator

__all__ = ["top"]

CHANCE = 0.1
"""Share of a random vector in a warm start, so that no eigenvector is invisible from it."""


@ordinary()
def top(
    operator: Operator,
    k: int = 5,
    which: End = "largest",
    tol: float = 1e-3,
    *,
    warm: EigenPairs | Tensor | None = None,
    seed: int = 0,
    block: int = 1,
    basis: int | None = None,
    max_products: int | None = None,
    strict: bool = True,
) -> EigenPairs:
    r"""The k outermost eigenvalues, by Lanczos' method with thick restarts.

    A value :math:`\theta` with vector x is accepted once :math:`r = \|Ax - \theta x\| \le tol\,|\theta|`. Then an
    eigenvalue is as near as that, whatever the matrix. After a warm start :math:`\min(r, r^2 / gap)` decides, the
    gap being that to the other values found: half the products, but two eigenvalues nearer than about
    ``sqrt(tol)`` of themselves may be taken for one between them. r is read off the products already made; added
    to it is by how much these contradict each other, which is how a matrix that is not symmetric, or not the
    same each time, shows.

    Args:
        operator: A symmetric matrix of side n.
        k: How many, at most n.
        which: ``"largest"``, ``"smallest"`` (most negative) or ``"magnitude"`` (largest absolute value).
        tol: Relative to each value, but no less than 200 rounding errors of the whole matrix.
        warm: Where to start: the pairs of a similar matrix, as of the last checkpoint, of which the outermost k
            count, or vectors of shape ``(n, any)``. What has overtaken them meanwhile can be missed.
        seed: Of the random start.
        block: Random vectors to start from. One sees a repeated eigenvalue, or a pair nearer than ``tol``, once,
            unless the spectrum is few points; b see it b times. Two take a half more products.
        basis: Vectors held, beside k results; None is ``max(2 k + 10, 40)``.
        max_products: None is ten times the basis.
        strict: Whether to raise when they do not suffice; else the pairs say ``converged=False``.

    Returns:
        The pairs, values falling.

    Raises:
        ValueError: If an argument is out of range, the matrix is not symmetric, or products are not finite.
        NotConvergedError: If ``max_products`` were not enough.

    Example:
        >>> import torch
        >>> from lowland.operators.hessian import hessian
        >>> from lowland.operators.problem import problem
        >>> data = torch.diag(torch.tensor([1.0, 2.0])), torch.ones(2, 1)
        >>> H = hessian(problem(torch.nn.Linear(2, 1, bias=False), torch.nn.functional.mse_loss, data))
        >>> top(H, 2).values
        tensor([4.0000, 1.0000], dtype=torch.float64)

    Cost:
        For 5 eigenvalues well above a bulk about 13 products, for a small network's Hessian 12 to 40, after a warm
        start 15 to 25; for the largest alone about 10, after a warm start 3. Memory ``(basis + block + k) n``.

    References:
        Wu, Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, 2000. Parlett, The
        symmetric eigenvalue problem, 1998, section 11.7 (the bounds).
    """
    check(operator, symmetric=True)
    whole("k", k)
    n = operator.shape[0]
    basis = max(2 * k + 10, 40) if basis is None else basis
    limit = 10 * basis if max_products is None else max_products
    _refuse(operator, k, which, tol, block, basis, limit)
    meter = Meter(operator)
    lanczos = Lanczos(meter, min(basis, n), block, seed)
    _begin(lanczos, None if warm is None else warm_start(warm, operator, k, which), min(block, n))
    invariant = None
    while True:
        lanczos.step()
        found = Outermost.of(lanczos, k, which, tol, sharp=warm is not None)
        surprise = lanczos.exhausted and not found.like(invariant)
        if lanczos.done == n or meter.products >= limit or (found.near(k) and not surprise):
            break
        invariant = found if lanczos.exhausted else invariant
        _make_room(lanczos, k, which)
    pairs = _pairs(lanczos, found)
    if strict and not pairs.converged:
        raise NotConvergedError(_sentence(found, pairs, k, which, tol), pairs)
    return pairs


def _refuse(operator: Operator, k: int, which: str, tol: float, block: int, basis: int, limit: int) -> None:
    n, finest = operator.shape[0], ROUNDINGS * torch.finfo(operator.dtype).eps
    whole("block", block)
    whole("basis", basis, k + 3)
    whole("max_products", limit, k)
    at_least("tol", tol, 0.0)
    if k > n:
        raise ValueError(f"k must be at most the operator's side {n}, got {k}.")
    if which not in ENDS:
        raise LookupError(unknown("end of the spectrum", which, ENDS))
    if tol < finest:
        raise ValueError(f"tol must be at least {finest:.1g} in {operator.dtype}, got {tol:g}: use float64.")


def _begin(lanczos: Lanczos, warm: Tensor | None, block: int) -> None:
    """Let the vectors wait that the basis starts from."""
    if warm is not None:
        z = lanczos.random()
        lanczos.add(warm / warm.norm() + CHANCE * z / z.norm())
    while lanczos.filled < block:
        lanczos.draw()


def _make_room(lanczos: Lanczos, k: int, which: End) -> None:
    """See to it that a vector waits, and that there is a place for its product."""
    if lanczos.done == lanczos.size:
        lanczos.restart(Outermost.of(lanczos, (k + lanczos.size) // 2, which).coordinates)
    if lanczos.exhausted:
        lanczos.draw()


def _pairs(lanczos: Lanczos, found: Outermost) -> EigenPairs:
    return EigenPairs(
        values=torch.tensor(found.values),
        vectors=lanczos.vectors(found.coordinates),
        bounds=torch.tensor(found.bounds),
        converged=bool(found.sound.all()),
        products=lanczos.operator.products,
        gradients=lanczos.operator.gradients,
    )


def _sentence(found: Outermost, pairs: EigenPairs, k: int, which: str, tol: float) -> str:
    values = ", ".join(f"{v:.5g} ± {b:.1g}" for v, b in zip(pairs.values, pairs.bounds, strict=True))
    remedy = "raise max_products or tol, ask for fewer, or take them as they are with strict=False."
    if found.near(k):
        remedy = (
            "the products contradict each other, so make sure that the matrix is symmetric and the same each time "
            "(no dropout), use float64, or raise tol."
        )
    return (
        f"The {k} eigenvalues ({which}) must be sure to tol={tol:g} of themselves, got {found.sound.sum()} of {k} "
        f"so after {pairs.products} products, {values}: {remedy}"
    )
