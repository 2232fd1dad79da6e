"""The algebra of the papers, plainly: one flat weight vector, a gradient function, no engine.

Each function takes the gradient function ``grad(w)`` and the weights and returns the direction.
"""

import torch


def sam(grad, w, rho):
    g = grad(w)
    return grad(w + rho * g / g.norm())


def asam(grad, w, rho, eta, scaled):
    g = grad(w)
    t = torch.where(scaled, w.abs() + eta, torch.ones_like(w))
    return grad(w + rho * t * t * g / (t * g).norm())


def gsam(grad, w, rho, alpha):
    g = grad(w)
    h = grad(w + rho * g / g.norm())
    unit = h / h.norm()
    return h - alpha * (g - (g @ unit) * unit)


def sam_on(grad, w, rho, mask):
    g = grad(w) * mask
    return grad(w + rho * g / g.norm())


def msam(grads, w, rho, sizes):
    parts = [size * sam(grad, w, rho) for grad, size in zip(grads, sizes, strict=True)]
    return sum(parts) / sum(sizes)
