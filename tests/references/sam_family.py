"""The algebra of the papers, plainly: one flat weight vector, a gradient function, no engine.

Each rule takes the gradient function ``grad(w)`` and the weights and returns the direction. A rule with memory
also takes a dict that it keeps things in; one that draws takes its noise.
"""

import torch


def unit(v):
    return v / v.norm()


def across(v, u):
    """The part of ``v`` at right angles to ``u``."""
    return v - (v @ unit(u)) * unit(u)


def sam(grad, w, rho):
    return grad(w + rho * unit(grad(w)))


def sam_of_order(grad, w, rho, p):
    g, q = grad(w), 1.0 if p == float("inf") else p / (p - 1)
    return grad(w + rho * g.sign() * g.abs() ** (q - 1) / g.norm(q) ** (q - 1))


def sam_per_tensor(grad, w, rho, sizes):
    g = grad(w)
    e = [rho * v.norm() * unit(h) for v, h in zip(w.split(sizes), g.split(sizes), strict=True)]
    return grad(w + torch.cat(e))


def asam(grad, w, rho, eta, scaled):
    g = grad(w)
    t = torch.where(scaled, w.abs() + eta, torch.ones_like(w))
    return grad(w + rho * t * t * g / (t * g).norm())


def asam_without_order(grad, w, rho, eta, scaled):
    t = torch.where(scaled, w.abs() + eta, torch.ones_like(w))
    return grad(w + rho * t * grad(w).sign())


def usam(grad, w, rho):
    return grad(w + rho * grad(w))


def gsam(grad, w, rho, alpha):
    g, h = grad(w), sam(grad, w, rho)
    return h - alpha * across(g, h)


def sam_on(grad, w, rho, mask):
    return grad(w + rho * unit(grad(w) * mask))


def msam(grads, w, rho, sizes):
    parts = [size * sam(grad, w, rho) for grad, size in zip(grads, sizes, strict=True)]
    return sum(parts) / sum(sizes)


def gnp(grad, w, rho, alpha):
    return (1 - alpha) * grad(w) + alpha * sam(grad, w, rho)


def gradient_penalty(grad, product, w, rho):
    g = grad(w)
    return g + rho * product(w, unit(g))


def f_sam(grad, w, rho, sigma, lam, kept):
    g = grad(w)
    kept["m"] = lam * kept.get("m", 0.0) + (1 - lam) * g
    return grad(w + rho * unit(g - sigma * kept["m"]))


def vasso(grad, w, rho, theta, kept):
    g = grad(w)
    kept["d"] = (1 - theta) * kept["d"] + theta * g if "d" in kept else g
    return grad(w + rho * unit(kept["d"]))


def look_sam(grad, w, rho, k, alpha, kept):
    g, t = grad(w), kept.get("t", 0)
    kept["t"] = t + 1
    if t % k:
        return g + alpha * g.norm() * kept["v"]
    h = sam(grad, w, rho)
    kept["v"] = unit(across(h, g))
    return h


def bsam(grad, w, rho, rho_min):
    g = grad(w)
    above, below = grad(w + rho * unit(g)), grad(w - rho_min * unit(g))
    return above + g - above.norm() / below.norm() * below


def stale_sam(grad, w, rho, kept):
    g = grad(w)
    before, kept["g"] = kept.get("g", g), g
    return grad(w + rho * unit(before))


def ae_sam(grad, w, rho, c, delta, kept):
    g = grad(w)
    s = g @ g
    kept["mean"] = delta * kept["mean"] + (1 - delta) * s if "mean" in kept else s
    kept["var"] = delta * kept.get("var", 0.0) + (1 - delta) * (s - kept["mean"]) ** 2
    return sam(grad, w, rho) if s >= kept["mean"] + c * kept["var"] ** 0.5 else g


def imb_sam(head, tail, w, rho, weight):
    return head(w) + weight * sam(tail, w, rho)


def k_sam(losses, grad_on, w, rho, k):
    rows = losses(w).topk(k).indices
    return sam(lambda v: grad_on(v, rows), w, rho)


def esam(losses, grad_on, w, rho, beta, gamma, mask, n):
    g = grad_on(w, torch.arange(n)) * mask
    there = w + rho / beta * unit(g)
    rows = (losses(there) - losses(w)).topk(round(gamma * n)).indices
    return grad_on(there, rows)


def forgetting(p, y, gamma, lam):
    """The gradient of output bias forgetting in the outputs of one example, from its probabilities."""
    k = len(p)
    alpha = gamma * max(0.0, (1 - lam / float(p[y])) / (1 - lam))
    return 1 / k - alpha * p - (1 - alpha) * torch.eye(k, dtype=p.dtype)[y]


def obf(grad, ascent, w, rho):
    return grad(w + rho * unit(ascent(w)))


def obf_gsam(grad, ascent, w, rho, alpha):
    g = ascent(w)
    h = grad(w + rho * unit(g))
    return h - alpha * across(g, h)


def cr_sam(grad, w, rho, gamma, beta):
    g = grad(w)
    above, below = grad(w + rho * unit(g)), grad(w - rho * unit(g))
    return above + gamma * (above - 2 * g + below) + beta * (above - below)


def gam(grad, w, rho_1, rho_2, beta, gamma):
    g0 = grad(w)
    g1 = grad(w + rho_1 * unit(g0))
    v = w + rho_2 * unit(g1 - g0)
    g2 = grad(v)
    g3 = grad(v + rho_1 * unit(g2))
    q, p = beta[0] * g1 + beta[2] * g3, g0 + beta[1] * g2
    return q - gamma * across(p, q)


def fisher_sam(grad, w, rho, eta):
    g = grad(w)
    inverse = torch.diag(1 / (1 + eta * g**2))
    return grad(w + rho * inverse @ g / (g @ inverse @ g).sqrt())


def sparse_sam(grad, grad_of, w, rho, s, k, samples, kept):
    g, t = grad(w), kept.get("t", 0)
    kept["t"] = t + 1
    if t % k == 0:
        scores = sum(grad_of(i)(w) ** 2 for i in range(samples))
        order = scores.argsort()
        kept["mask"] = torch.ones_like(w)
        kept["mask"][order[: int(s * len(w))]] = 0.0
    return grad(w + rho * kept["mask"] * g / g.norm())


def multi_step_sam(grad, w, rho, steps, stretch):
    v = w
    for _ in range(steps):
        v = v + rho * stretch / steps * unit(grad(v))
        if (v - w).norm() > rho:
            v = w + rho * unit(v - w)
    return grad(v)


def functional_sam(grad, carried, w, rho):
    """``carried(v, w)``: the transposed Jacobian at ``v`` times the loss's derivative at the outputs of ``w``."""
    return carried(w + rho * unit(grad(w)), w)


def eigen_sam(grad, w, noise, rho, alpha, k, iterations, r, kept):
    g, t = grad(w), kept.get("t", 0)
    kept["t"] = t + 1
    if t % k == 0:
        v = unit(kept.get("v", noise))
        for _ in range(iterations):
            v = unit((grad(w + r * v) - g) / r)
        kept["v"] = v
    v = kept["v"]
    return grad(w + rho * (unit(g) + alpha * (g @ v).sign() * across(v, g)))


def momentum_sam(grad, w, rho, v):
    return grad(w) if v is None else grad(w - rho * unit(v))


def filter_norms(w, shapes):
    """For each weight the norm of its filter, or of its whole tensor if that is no convolution's."""
    norms, start = [], 0
    for shape in shapes:
        tensor = w[start : start + shape.numel()].view(shape)
        filters = list(tensor) if len(shape) > 2 else [tensor]
        norms += [f.pow(2).sum().sqrt().expand(f.numel()) for f in filters]
        start += shape.numel()
    return torch.cat(norms)


def beside(grad, w, e):
    return grad(w + e)


def rwp(grad, w, e, lam):
    return (1 - lam) * grad(w) + lam * grad(w + e)
