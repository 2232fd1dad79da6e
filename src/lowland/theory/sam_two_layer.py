r"""SAM's gradient of a two-layer ReLU network on one example, to first order in the radius.

The network is :math:`f(x) = c + \sum_j a_j \sigma(u_j)` with pre-activations :math:`u_j = \langle w_j, x \rangle
+ b_j` and :math:`\sigma` the ReLU, the loss :math:`\ell = \frac12 (f - y)^2`, the residual :math:`r = f - y`. Then
:math:`\nabla \ell = r \nabla f` and :math:`\nabla^2 \ell = \nabla f \nabla f^\top + r \nabla^2 f`, so SAM's
gradient :math:`\nabla \ell(\theta + \rho \nabla\ell / \|\nabla\ell\|)` is, to first order,

.. math:: \nabla\ell + \rho\, \nabla^2\ell\, \frac{\nabla\ell}{\|\nabla\ell\|}
    = (r + \rho \operatorname{sign}(r) \|\nabla f\|)\, \nabla f
    + \rho\, \frac{|r|}{\|\nabla f\|}\, \nabla^2 f\, \nabla f,

where, with :math:`s^2 = \|x\|^2 + 1` and :math:`1_j` for :math:`u_j > 0`,

.. math:: \|\nabla f\|^2 = 1 + \sum_j \left[ \sigma(u_j)^2 + a_j^2\, s^2\, 1_j \right].

The first term is the plain gradient of a larger step. The second, as :math:`\nabla^2 f` couples only a unit's two
layers, is :math:`\sigma(u_j)\, x` for :math:`w_j`, :math:`\sigma(u_j)` for :math:`b_j`, :math:`a_j s^2 1_j` for
:math:`a_j` and 0 for c. Descending it with step :math:`\eta` moves a pre-activation by

.. math:: \Delta u_j = -\eta\, \rho\, \frac{|r|}{\|\nabla f\|}\, \sigma(u_j)\, s^2 \le 0:

always down, active units only, and as long as the example is not fitted. Units are so switched off on one example
after the other. The gradient of :math:`\ell + \rho \|\nabla\ell\|` is the same expression.

The error is of order :math:`\rho^2` as long as no unit switches off between the weights and the perturbed ones,
which :func:`reach` says. Of :math:`(f - y)^2`, without the half, SAM's gradient is twice as large, at the same
radius.

References:
    Andriushchenko, Bahri, Mobahi, Flammarion, Sharpness-aware minimization leads to low-rank features, NeurIPS
    2023, proposition 1. https://arxiv.org/abs/2305.16292 Theirs has no biases; derived here with them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lowland.checks import at_least, finite

__all__ = ["TwoLayer", "pull", "reach", "sam_two_layer"]


@dataclass(frozen=True)
class TwoLayer:
    """Parameters of a two-layer network with m units and d inputs, or a gradient by them.

    Attributes:
        w: First layer, of shape ``(m, d)``.
        b: Its biases, of shape ``(m,)``.
        a: Second layer, of shape ``(m,)``.
        c: Its bias, a scalar.
    """

    w: Tensor
    b: Tensor
    a: Tensor
    c: Tensor

    def before(self, x: Tensor) -> Tensor:
        """Pre-activations on one input of shape ``(d,)``, of shape ``(m,)``."""
        return self.w @ x + self.b

    def __call__(self, x: Tensor) -> Tensor:
        """The output on one input, a scalar."""
        return self.a @ self.before(x).relu() + self.c


def sam_two_layer(net: TwoLayer, x: Tensor, y: float, rho: float) -> TwoLayer:
    r"""SAM's gradient of :math:`\frac12 (f(x) - y)^2` to first order in :math:`\rho`.

    Args:
        net: The weights.
        x: One example, of shape ``(d,)``.
        y: Its target.
        rho: Radius, in [0, :func:`reach`], in the units of the weights.

    Returns:
        The gradient by every parameter.

    Raises:
        ValueError: If the radius is out of range, or the example is fitted exactly, where SAM has no direction.

    Example:
        >>> net = TwoLayer(torch.tensor([[2.0]]), torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor(0.0))
        >>> sam_two_layer(net, torch.tensor([1.0]), 1.0, 0.0).w  # the plain gradient, r a x
        tensor([[1.]])
    """
    at_least("rho", rho, 0)
    far = reach(net, x, y)
    if rho > far:
        raise ValueError(f"rho must be at most {far:.3g}, where a unit switches off, got {rho}.")
    r, u, s2 = net(x) - y, net.before(x), x @ x + 1
    on, size = (u > 0).to(u), _slope(net, x)
    fit = r + rho * r.sign() * size
    down = rho * r.abs() / size
    return TwoLayer(
        w=torch.outer(fit * net.a * on + down * u.relu(), x),
        b=fit * net.a * on + down * u.relu(),
        a=fit * u.relu() + down * net.a * on * s2,
        c=fit,
    )


def pull(net: TwoLayer, x: Tensor, y: float, rho: float) -> Tensor:
    r"""How far a step of SAM moves each pre-activation beyond fitting the data, over the learning rate.

    :math:`-\rho |r| \sigma(u_j) s^2 / \|\nabla f\|`, never above 0.

    Args:
        net: The weights.
        x: One example, of shape ``(d,)``.
        y: Its target.
        rho: Radius, >= 0.

    Returns:
        Of shape ``(m,)``.

    Raises:
        ValueError: If the radius is below 0.

    Example:
        >>> w, b, a = torch.tensor([[2.0], [-2.0]]), torch.zeros(2), torch.tensor([2.0, 2.0])
        >>> pull(TwoLayer(w, b, a, torch.tensor(0.0)), torch.tensor([1.0]), 1.0, 0.1)
        tensor([-0.3328, -0.0000])
    """
    at_least("rho", rho, 0)
    return -rho * (net(x) - y).abs() * net.before(x).relu() * (x @ x + 1) / _slope(net, x)


def reach(net: TwoLayer, x: Tensor, y: float) -> float:
    r"""The radius at which SAM's perturbation first switches a unit off on the example; infinite if none does.

    It moves the pre-activation of an active unit by :math:`\rho \operatorname{sign}(r)\, a_j s^2 / \|\nabla f\|`,
    exactly, and that of an inactive one not at all.

    Args:
        net: The weights.
        x: One example, of shape ``(d,)``.
        y: Its target.

    Returns:
        The radius, in the units of the weights.

    Raises:
        ValueError: If the target is not finite, or the example is fitted exactly.

    Example:
        >>> w, b, a = torch.tensor([[2.0]]), torch.zeros(1), torch.tensor([1.0])
        >>> round(reach(TwoLayer(w, b, a, torch.tensor(0.0)), torch.tensor([1.0]), 3.0), 4)
        2.6458
        >>> reach(TwoLayer(w, b, a, torch.tensor(0.0)), torch.tensor([1.0]), 1.0)
        inf
    """
    finite("y", float(y))
    r, u = net(x) - y, net.before(x)
    if r == 0:
        raise ValueError("y must differ from the output, got the output itself: SAM has no direction there.")
    speed = -r.sign() * net.a * (x @ x + 1) / _slope(net, x)
    falling = (u > 0) & (speed > 0)
    return float((u[falling] / speed[falling]).min()) if falling.any() else torch.inf


def _slope(net: TwoLayer, x: Tensor) -> Tensor:
    """The norm of the gradient of the output."""
    u = net.before(x)
    return (1 + u.relu().square().sum() + (x @ x + 1) * net.a[u > 0].square().sum()).sqrt()
