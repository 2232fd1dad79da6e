r"""How fast, and how far, small batches shrink the first layer's weights on inputs that do not matter.

A linear network :math:`f(x) = w^\top W x` with one output is trained on :math:`(f(x) - y)^2`, mean over a batch,
with steps of size :math:`\eta`. Its d inputs are centred, of variance one and uncorrelated. At the best fit it is
wrong by residuals r of variance :math:`s^2`, independent of the inputs, such as noise on the labels.

**Rate.** A step changes W by :math:`-\eta w g^\top` and w by :math:`-\eta W g`, with
:math:`g = \frac2b \sum_{i \in \text{batch}} r_i x_i`. What is of first order in :math:`\eta` cancels in

.. math:: \Delta(W W^\top - w w^\top) = \eta^2 (\|g\|^2 w w^\top - W g g^\top W^\top),

so gradient flow conserves :math:`W W^\top - w w^\top`, and gradient descent, whose g vanishes at the fit, stops
changing it. A batch of b independent examples has :math:`E\, g g^\top = \frac{4 s^2}{b} I`, hence

.. math:: E\,\Delta(W W^\top - w w^\top) = \frac{4 \eta^2 s^2}{b} (d\, w w^\top - W W^\top).

At the fit, :math:`W_{\text{irr}}^\top w = 0` for the columns of W that belong to irrelevant inputs: they are
orthogonal to w, where the right-hand side only shrinks. Their squared norm therefore loses the share
:math:`4 \eta^2 s^2 / b` in every step, their norm half of it.

**Floor.** The same batches push :math:`v = W_{\text{irr}}^\top w` away from 0, to where the pull back balances
them: the variance of each entry is :math:`\eta \|w\|^2 s^2 / b` to first order in :math:`\eta`. The part of
:math:`W_{\text{irr}}` along w, which has norm :math:`\|v\| / \|w\|`, therefore does not vanish.

**Penalty.** Gradient descent on the loss and :math:`\frac\lambda2 \|W\|^2` shrinks the same columns at the same
rate if :math:`\eta \lambda = 2 \eta^2 s^2 / b`. It shrinks the relevant ones as well.

For a loss with a factor 1/2, which halves g, take half the step.

References:
    Beneventano, Pinto, Poggio, How neural networks learn the support is an implicit regularization effect of SGD,
    2024, for the effect; rate, floor and penalty as derived here. https://arxiv.org/abs/2406.11110
    Smith, Dherin, Barrett, De, On the origin of implicit regularization in stochastic gradient descent, ICLR 2021,
    for the penalty on the variance of the batches' gradients. https://arxiv.org/abs/2101.12176
"""

from math import exp, inf, sqrt

from lowland.checks import at_least, whole

__all__ = ["matched_penalty", "sgd_support", "support_floor", "support_rate"]


def sgd_support(steps: float, learning_rate: float, noise: float, batch: int, examples: float = inf) -> float:
    r"""Norm of the irrelevant columns over that at the fit, :math:`\exp(-2 \eta^2 s^2 t / b)`.

    Args:
        steps: Since the fit, >= 0.
        learning_rate: Size of a step, > 0.
        noise: Standard deviation s of the residuals at the fit, >= 0.
        batch: Examples in a step, b.
        examples: As :func:`support_rate` takes it.

    Returns:
        A share, in (0, 1].

    Raises:
        ValueError: If an argument is out of range; see :func:`support_rate`.

    Example:
        >>> round(sgd_support(40_000, 0.01, 1.0, 8), 3), sgd_support(40_000, 0.01, 0.0, 8)
        (0.368, 1.0)

    Limits:
        Of first order in the size of the step: noise of its own adds :math:`\eta \operatorname{tr}(M) / b` times
        itself to the variance of the residuals, with the trace of M being
        :math:`\|W\|_F^2 + d \|w\|^2`. Holds while the norm is well above :func:`support_floor`.
    """
    at_least("steps", steps, 0)
    return exp(-support_rate(learning_rate, noise, batch, examples) * steps)


def support_rate(learning_rate: float, noise: float, batch: int, examples: float = inf) -> float:
    r"""Share of their norm that irrelevant columns lose in a step, :math:`2 \eta^2 s^2 / b`.

    Args:
        learning_rate: Size of a step, > 0.
        noise: Standard deviation s of the residuals at the fit, >= 0.
        batch: Examples in a step, b.
        examples: Examples n that a batch is drawn from, none of them twice, >= b. The rate is then lower by
            (n - b) / (n - 1), and 0 for gradient descent. Infinity: each is drawn from all.

    Returns:
        The rate per step, in [0, 1/2).

    Raises:
        ValueError: If an argument is out of range, or a step would take more than all of the squared norm.

    Example:
        >>> f"{support_rate(0.01, 1.0, 8):.2e}", support_rate(0.01, 1.0, 500, examples=500)
        ('2.50e-05', 0.0)
    """
    at_least("learning_rate", learning_rate, 0)
    at_least("noise", noise, 0)
    whole("batch", batch)
    if learning_rate == 0:
        raise ValueError("learning_rate must be above 0, got 0: without steps nothing shrinks.")
    if not isinstance(examples, int | float) or not examples >= batch:
        raise ValueError(f"examples must be at least the batch of {batch}, got {examples}.")
    left = 1.0 if examples == inf else (examples - batch) / max(examples - 1, 1)
    rate = 2 * learning_rate**2 * noise**2 / batch * left
    if 2 * rate >= 1:
        raise ValueError(
            f"4 learning_rate^2 noise^2 / batch must be below 1, got {2 * rate:g}: "
            "the law is of small steps; take a smaller learning_rate or a larger batch."
        )
    return rate


def matched_penalty(learning_rate: float, noise: float, batch: int) -> float:
    r"""The weight decay on W that shrinks irrelevant columns as fast, :math:`\lambda = 2 \eta s^2 / b`.

    Args:
        learning_rate: As of :func:`support_rate`.
        noise: As of :func:`support_rate`.
        batch: As of :func:`support_rate`.

    Returns:
        The factor :math:`\lambda` on :math:`\|W\|^2 / 2`.

    Raises:
        ValueError: If an argument is out of range; see :func:`support_rate`.

    Example:
        >>> matched_penalty(0.01, 1.0, 8)
        0.0025
    """
    return support_rate(learning_rate, noise, batch) / learning_rate


def support_floor(learning_rate: float, noise: float, batch: int, irrelevant: int) -> float:
    r"""The norm that irrelevant columns hover at, :math:`s \sqrt{\eta\, d_{\text{irr}} / b}`.

    Args:
        learning_rate: As of :func:`support_rate`.
        noise: As of :func:`support_rate`.
        batch: As of :func:`support_rate`.
        irrelevant: How many inputs are irrelevant.

    Returns:
        The root of the mean squared norm, in units of the weights.

    Raises:
        ValueError: If an argument is out of range; see :func:`support_rate`.

    Example:
        >>> round(support_floor(0.01, 1.0, 8, irrelevant=10), 3)
        0.112

    Limits:
        Of first order in the size of the step, as :func:`sgd_support` is; from below.
    """
    support_rate(learning_rate, noise, batch)
    whole("irrelevant", irrelevant)
    return noise * sqrt(learning_rate * irrelevant / batch)
