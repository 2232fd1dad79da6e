"""Activations by name."""

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from lowland.catalog import parse
from lowland.checks import one_of
from lowland.models._activations.ablated_gelu import AblatedGELU
from lowland.models._activations.augmented_relu import AugmentedReLU
from lowland.models._activations.beta_gelu import BetaGELU

__all__ = ["ACTIVATIONS", "Make", "activation_maker"]

Make = Callable[[], nn.Module]
"""Makes a new activation in each call."""

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "beta_gelu": BetaGELU,
    "ablated_gelu": AblatedGELU,
    "augmented_relu": AugmentedReLU,
}


def activation_maker(spec: str) -> Make:
    """What makes the activation that a spec describes, with its arguments checked.

    Args:
        spec: A name, with arguments if it takes any: ``gelu``, ``beta_gelu:beta=8``,
            ``augmented_relu:bump=bgelu,width=0.5``.

    Returns:
        What makes a new one in each call.

    Raises:
        TypeError: If the activation takes no such argument.
        ValueError: If there is no such name, or an argument is out of its range.

    Example:
        >>> activation_maker("beta_gelu:beta=8")()
        BetaGELU(beta=8)
    """
    name, _, arguments = parse(spec)
    one_of("activation", name, ACTIVATIONS)
    taken = list(inspect.signature(ACTIVATIONS[name]).parameters)
    for argument in arguments:
        if argument not in taken:
            raise TypeError(
                f"{name} must be given arguments that it takes ({', '.join(taken)}), got {argument!r}."
            )
    make = partial(ACTIVATIONS[name], **arguments)
    make()
    return make
