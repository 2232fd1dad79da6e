"""The smallest model of a loss that hovers while steps are large."""

from math import sqrt

from lowland.checks import at_least

__all__ = ["stabilised_loss"]


def stabilised_loss(rate: float) -> float:
    r"""Where gradient descent on :math:`(y - \theta^2)^2 / 4` settles, over :math:`y^2`: :math:`(1 - a^{-2}) / 8`.

    With steps of :math:`\eta` and :math:`x = \theta / \sqrt y`, a step is
    :math:`x \leftarrow (1 + a) x - a x^3` with :math:`a = \eta y`, and the loss over :math:`y^2` is
    :math:`(1 - x^2)^2 / 4`. At the minimum 1 its slope is :math:`1 - 2a`, so up to a = 1 it converges there.

    Two points that are mapped to each other have, from the sum and the difference of the two equations, the
    product :math:`1 / a` and the sum :math:`\sqrt{1 + 3/a}`: they are two from a = 1 on. The slope of two steps is
    :math:`9 - 2(1 + a)^2`, above -1 up to :math:`a = \sqrt 5 - 1`, where the cycle doubles. The mean of the loss
    over the two is the value above: it does not fall, however long training takes.

    Beyond, cycles double to chaos, which stays bounded up to a = 2: there the largest value that the map takes
    reaches :math:`\sqrt{1 + 2/a}`, from where steps only grow.

    Args:
        rate: :math:`a = \eta y`, the size of a step over half of where the minimum loses its stability, >= 0.

    Returns:
        The mean loss in the long run over :math:`y^2`; 0 up to a = 1.

    Raises:
        ValueError: If ``rate`` is below 0, or not below :math:`\sqrt 5 - 1`, where there is no cycle of two.

    Example:
        >>> stabilised_loss(0.9), round(stabilised_loss(1.2), 4)
        (0.0, 0.0382)

    References:
        Andriushchenko, Varre, Pillaud-Vivien, Flammarion, SGD with large step sizes learns sparse features, ICML
        2023, for the model; values as derived here. https://arxiv.org/abs/2210.05337
    """
    at_least("rate", rate, 0)
    if rate >= sqrt(5) - 1:
        raise ValueError(
            f"rate must be below sqrt(5) - 1 = 1.236, got {rate}: beyond, the loss settles on no cycle of two."
        )
    return (1 - rate**-2) / 8 if rate > 1 else 0.0
