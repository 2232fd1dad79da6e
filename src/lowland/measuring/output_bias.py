"""The loss whose ascent makes outputs forget their bias."""

from torch import Tensor, nn

__all__ = ["output_bias"]


def output_bias(z: Tensor, y: Tensor, gamma: float = 1.0, lam: float | None = None) -> Tensor:
    r"""A loss whose gradient in an example's scores is :math:`u - \alpha p - (1 - \alpha) y`, mean over examples.

    :math:`p` is the softmax of the scores, :math:`u = 1/k`, :math:`y` the label as a unit vector, and
    :math:`\alpha = \gamma \max(0, (1 - \lambda / p_y) / (1 - \lambda))`, held constant, as p is.

    Args:
        z: Scores, shape ``(n, k)``.
        y: Labels, shape ``(n,)``.
        gamma: Largest alpha, >= 0.
        lam: Probability of the label up to which alpha is 0, in [0, 1); None: 1 / k.

    References:
        Vani, Tung, Oliveira, Sharifi, Forget sharpness: perturbed forgetting of model biases within SAM dynamics,
        2024.
    """
    k = z.shape[1]
    lam = 1 / k if lam is None else lam
    p, y = z.detach().softmax(1), nn.functional.one_hot(y, k).to(z)
    alpha = gamma * ((1 - lam / (p * y).sum(1, keepdim=True)) / (1 - lam)).clamp(min=0)
    return ((1 / k - alpha * p - (1 - alpha) * y) * z).sum(1).mean()
