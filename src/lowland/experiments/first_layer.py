"""What a first layer spends on inputs that matter and on others, over what it spent at the start."""

import math

from torch import Tensor, nn

from lowland.measurements.support import Support

__all__ = ["as_layer", "over_start"]


def over_start(model: nn.Module, start: nn.Module, relevant: tuple[bool, ...]) -> dict[str, float]:
    """Norms of the first layer's weights on either kind of input, over those at the start.

    Args:
        model: The network, its weights finite.
        start: The same before training.
        relevant: Which inputs are, (d,), some and not all.

    Returns:
        ``irrelevant`` and ``relevant``, ``log``, the logarithm of the first, and ``auroc``, the chance that a
        relevant input has a longer column than an irrelevant one.
    """
    support = Support(relevant=relevant)
    now, then = ({reading.name: reading.value for reading in support.read(net)} for net in (model, start))
    outside, inside = (now[name] / then[name] for name in ("irrelevant_norm", "relevant_norm"))
    return {
        "irrelevant": outside,
        "log": math.log(outside),
        "relevant": inside,
        "auroc": now["support_auroc"],
    }


def as_layer(weight: Tensor) -> nn.Linear:
    """A layer without bias that has this weight (h, d)."""
    found = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    found.weight = nn.Parameter(weight, requires_grad=False)
    return found
