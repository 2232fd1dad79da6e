"""The edge of stability of sharpness-aware minimisation without normalisation."""

from math import sqrt

from lowland.checks import at_least

__all__ = ["sam_edge"]


def sam_edge(learning_rate: float, rho: float) -> float:
    r"""The largest curvature at which USAM is stable, :math:`(\sqrt{1 + 8\rho/\eta} - 1) / (2\rho)`.

    On the quadratic :math:`\lambda w^2 / 2` the gradient is :math:`\lambda w`, and that at the perturbed weights
    :math:`w + \rho\lambda w` is :math:`\lambda(1 + \rho\lambda) w`. A step is therefore
    :math:`w \leftarrow (1 - \eta\lambda(1 + \rho\lambda))\, w`, and does not grow iff
    :math:`\eta\lambda(1 + \rho\lambda) \le 2`: quadratic in :math:`\lambda > 0`, with equality at the value above.
    Without perturbation it is gradient descent's edge, :math:`2/\eta`; with one it is lower. Several directions of
    curvature do not disturb each other, so the largest decides.

    Of SAM, which normalises the gradient, the edge is that of :math:`\rho / \lVert g \rVert`, and falls as the
    gradient vanishes.

    Computed as :math:`4 / (\eta (1 + \sqrt{1 + 8\rho/\eta}))`, the same, which loses no digits where rho is small.

    Args:
        learning_rate: Of the step, > 0.
        rho: Factor on the gradient, >= 0, in units of the learning rate.

    Returns:
        The curvature, in units of one over the learning rate.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> sam_edge(0.5, 0.0), round(sam_edge(0.5, 0.3), 3)
        (4.0, 2.347)

    References:
        Agarwala, Dauphin, SAM operates far from home, ICML 2023. https://arxiv.org/abs/2302.08692
        Long, Bartlett, Sharpness-aware minimization and the edge of stability, JMLR 2024.
        https://arxiv.org/abs/2309.12488
    """
    at_least("learning_rate", learning_rate, 0)
    at_least("rho", rho, 0)
    if learning_rate == 0:
        raise ValueError("learning_rate must be above 0, got 0: without steps every curvature is stable.")
    return 4 / (learning_rate * (1 + sqrt(1 + 8 * rho / learning_rate)))
