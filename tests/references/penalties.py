"""The algebra of the penalties, plainly: explicit loops and sums, no hooks, no engine."""

import math


def nbar(x, y, gx, gy, step):
    """Both factors after nBAR's rule, ``step`` being mu times the learning rate."""
    sign = 1 if math.sqrt((gx**2).sum()) >= math.sqrt((gy**2).sum()) else -1
    return (1 + sign * step) * x, (1 - sign * step) * y


def obar(x, y, gx, gy, step):
    """Both factors after oBAR's rule."""
    sign = -1 if math.sqrt((x**2).sum()) >= math.sqrt((y**2).sum()) else 1
    return (1 + sign * step) * x, (1 - sign * step) * y


def equal_average(path):
    return sum(path) / len(path)


def moving_average(path, decay):
    average = path[0]
    for w in path[1:]:
        average = decay * average + (1 - decay) * w
    return average


def weighed_average(path, decay):
    """Bias-corrected as Adam's means are: from zero, divided by the sum of what was added."""
    average = 0 * path[0]
    for w in path:
        average = decay * average + (1 - decay) * w
    return average / (1 - decay ** len(path))


def divergence(z, v, tau):
    """The mean over the batch of tau^2 KL(softmax(v / tau) || softmax(z / tau)), from the definition."""
    total = 0.0
    for now, then in zip(z, v, strict=True):
        p, q = (then / tau).exp() / (then / tau).exp().sum(), (now / tau).exp() / (now / tau).exp().sum()
        total = total + tau**2 * (p * (p / q).log()).sum()
    return total / len(z)


def trajectory(memory, z, indices, epoch, lag, tau):
    """SAF's term before its strength; ``memory[epoch][sample]`` are logits, recorded here."""
    for sample, logits in zip(indices.tolist(), z, strict=True):
        memory.setdefault(epoch, {})[sample] = logits.detach().clone()
    total = 0.0
    for sample, logits in zip(indices.tolist(), z, strict=True):
        past = memory.get(epoch - lag, {}).get(sample)
        if past is not None:
            total = total + divergence(logits[None], past[None], tau)
    return total / len(z)
