"""What normal noise on the weights adds to the loss, and what a penalty in its place must be."""

from lowland.checks import at_least, finite

__all__ = ["noise_vs_penalty", "widest_noise"]

SHARE = 0.1
"""The largest part of the second-order term that the next one may be."""


def noise_vs_penalty(sigma: float, gauss_newton: float, nme: float = 0.0, fourth: float = 0.0) -> float:
    r"""The rise of the mean loss, :math:`\tfrac{\sigma^2}{2} (\operatorname{tr} G + \operatorname{tr} N)`.

    With noise :math:`\varepsilon \sim N(0, \sigma^2 1)` on all weights, a Taylor expansion has means
    :math:`E[\varepsilon_i] = E[\varepsilon_i \varepsilon_j \varepsilon_k] = 0`,
    :math:`E[\varepsilon_i \varepsilon_j] = \sigma^2 \delta_{ij}` and
    :math:`E[\varepsilon_i \varepsilon_j \varepsilon_k \varepsilon_l] = \sigma^4 (\delta_{ij} \delta_{kl} +
    \delta_{ik} \delta_{jl} + \delta_{il} \delta_{jk})`, so

    .. math:: E\, L(w + \varepsilon) - L(w) = \tfrac{\sigma^2}{2} \operatorname{tr} H
        + \tfrac{\sigma^4}{8} \Delta^2 L + O(\sigma^6), \qquad \Delta^2 L = \sum_{ij} \partial_i^2 \partial_j^2 L.

    On a quadratic loss the first term is all there is. The Hessian of a loss of outputs z is
    :math:`H = G + N`, the Gauss-Newton matrix :math:`G = J^\top (\partial^2 L / \partial z^2) J` and the nonlinear
    modelling error :math:`N = \sum_k (\partial L / \partial z_k) \nabla^2 z_k`. Bishop's equivalence of noise and
    a penalty keeps G alone, whose trace is not below 0 for convex losses; that of N may have either sign, so noise
    can also lower the mean loss.

    Args:
        sigma: Standard deviation of the noise on every weight, >= 0.
        gauss_newton: The trace of G, in units of the loss per squared weight.
        nme: The trace of N, likewise; 0 is Bishop's penalty.
        fourth: :math:`\Delta^2 L`, in units of the loss per fourth power of a weight; 0 on a quadratic.

    Returns:
        The rise, in units of the loss, to second order.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If one is not finite, or sigma below 0, or so wide that the next order is above a tenth of the
            result.

    Example:
        >>> noise_vs_penalty(0.5, gauss_newton=6.0, nme=-2.0)
        0.5

    References:
        Bishop, Training with noise is equivalent to Tikhonov regularization, 1995.
        Dauphin, Agarwala, Mobahi, Neglected Hessian component explains mysteries in sharpness regularization,
        NeurIPS 2024. https://arxiv.org/abs/2401.10809
    """
    at_least("sigma", sigma, 0)
    for name, value in (("gauss_newton", gauss_newton), ("nme", nme), ("fourth", fourth)):
        finite(name, value)
    trace = gauss_newton + nme
    if sigma > 0 and sigma**2 / 4 * abs(fourth) > SHARE * abs(trace):
        widest = widest_noise(trace, fourth)
        raise ValueError(f"sigma must be at most {widest:.3g} for the second order to be enough, got {sigma}.")
    return sigma**2 / 2 * trace


def widest_noise(trace: float, fourth: float) -> float:
    r"""The sigma up to which the fourth-order term is at most a tenth of the second-order one.

    :math:`\tfrac{\sigma^4}{8} |\Delta^2 L| \le \tfrac{1}{10} \tfrac{\sigma^2}{2} |\operatorname{tr} H|`, so
    :math:`\sigma \le \sqrt{0.4\, |\operatorname{tr} H| / |\Delta^2 L|}`.

    Args:
        trace: Of the Hessian.
        fourth: :math:`\Delta^2 L`.

    Returns:
        The standard deviation; infinity where the loss is quadratic.

    Example:
        >>> widest_noise(10.0, 4.0), widest_noise(10.0, 0.0)
        (1.0, inf)
    """
    return (4 * SHARE * abs(trace) / abs(fourth)) ** 0.5 if fourth else float("inf")
