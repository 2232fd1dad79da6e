"""Linear over-parameterisation of a model: every weight becomes a product."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import parametrize

from lowland.checks import one_of
from lowland.layers.chain import Chain
from lowland.layers.copied import copied
from lowland.layers.expanded import KINDS, Expanded
from lowland.layers.kaiming import kaiming
from lowland.layers.plan import Plan
from lowland.layers.preserve import preserve
from lowland.layers.product import Product, lists
from lowland.layers.replaced import replaced
from lowland.layers.targets import Target, targets

__all__ = ["expand"]

INITS = {"preserve": preserve, "kaiming": kaiming}


def expand(
    model: nn.Module,
    depth: int = 2,
    width: float = 1.0,
    kernel_sizes: Sequence[int | Sequence[int]] | None = None,
    residual: bool = False,
    batch_norm: bool = False,
    init: Literal["preserve", "kaiming"] = "preserve",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    mode: Literal["weight", "activation"] = "weight",
    generator: torch.Generator | None = None,
) -> nn.Module:
    r"""A copy of ``model`` in which every linear map is a product, :math:`W = W_d \cdots W_1`.

    The same functions in another parametrisation, which trains differently. At any time
    :func:`lowland.layers.collapse.collapse` makes one layer of the factors again. Expanded are linear layers,
    convolutions and transposed convolutions of 1 to 3 dimensions with any groups, stride, dilation and padding,
    and the projections of ``nn.MultiheadAttention`` (queries, keys and values each by themselves). Biases stay as
    they are. The factors are ordinary parameters: make the optimiser afterwards. Frozen weights have frozen
    factors and batch norm, tied ones share them.

    * ``mode="weight"``: the product is taken at each use of the weight (``torch.nn.utils.parametrize``). The
      layers stay what they are, and the cost does not depend on the batch. Save the ``state_dict``: PyTorch
      pickles no parametrised module.
    * ``mode="activation"``: the factors are layers in a row, with room for batch norm between them. Padding is in
      front of the first and the stride in the last, which makes the row exactly one layer.

    Without batch norm both give the same outputs and gradients. Weight decay w on balanced factors is
    :math:`\frac{w}{2} d \sum_i \sigma_i^{2/d}` in the singular values of W: the nuclear norm for two factors, and
    a way to low rank of its own.

    Args:
        model: Any module; it is not changed.
        depth: The number d of factors, >= 1.
        width: Hidden channels per channel of the output, > 0. The hidden width is that of the OUTPUT: for a layer
            with few inputs and many outputs, such as the head of a language model, give less than 1.
        kernel_sizes: For convolutions, one size (or one for each dimension) per factor; they must make the layer's
            kernel, :math:`\sum_j k_j - d + 1`. None: the layer's in the first, then 1.
        residual: Whether the identity is added to factors that map a space to itself: :math:`W_j + I`.
        batch_norm: Whether to normalise after every factor but the last, in activation space.
        init: ``preserve``: the product is the weight there is, in balanced factors
            (:func:`lowland.layers.preserve.preserve`), for outputs as before, with batch norm in evaluation;
            ``kaiming``: random factors (:func:`lowland.layers.kaiming.kaiming`).
        include: Patterns for the names of layers or of what they are in, such as ``"blocks.*"``; empty: all.
        exclude: Patterns of layers to leave as they are.
        mode: ``weight`` or ``activation``.
        generator: Source of randomness of the factors; None: PyTorch's own.

    Returns:
        The expanded copy; another module if ``model`` is itself a layer.

    Raises:
        TypeError: If an argument is of the wrong kind.
        LookupError: If a pattern fits no layer; says the nearest.
        ValueError: If an argument is out of its range or does not fit the model, or a factor would be vast: of
            more than 2^27 entries and more than 32 times those of the weight.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> wide = expand(model, depth=3, width=2, exclude="2")
        >>> [tuple(p.shape) for p in wide[0].parametrizations.weight.parameters()]
        [(16, 4), (16, 16), (8, 16)]
        >>> x = torch.randn(5, 4)
        >>> torch.allclose(wide(x), model(x), atol=1e-5)
        True

    Cost:
        At each use d - 1 products of matrices (weight space), or d layers in place of one (activation space).
        To begin with, one singular value decomposition per weight.

    Limits:
        In activation space the projections of ``nn.MultiheadAttention`` are refused, since it reads their weights;
        so are layers with a ``forward``, hooks, parameters, buffers or parts of their own, and transposed
        convolutions take no ``output_size``. With batch norm the row is one layer in evaluation only. An embedding
        that shares a weight must have no ``max_norm`` and no sparse gradients.

    References:
        Huh, Mobahi, Zhang, Cheung, Agrawal, Isola, The low-rank simplicity bias in deep networks, TMLR 2023.
        https://arxiv.org/abs/2103.10427
        Arora, Cohen, Hazan, On the optimization of deep networks: implicit acceleration by overparameterization,
        ICML 2018. https://arxiv.org/abs/1802.06509
    """
    plan = Plan(depth=depth, width=width, kernel_sizes=kernel_sizes, residual=residual)
    one_of("mode", mode, ("weight", "activation"))
    one_of("init", init, INITS)
    _refuse(model, mode, batch_norm)
    include, exclude = _patterns("include", include), _patterns("exclude", exclude)
    model = copied(model)
    found = targets(model, include, exclude)
    if kernel_sizes is not None and not any(_is_kernel(places[0]) for places in found):
        raise ValueError("kernel_sizes must be given for convolutions only, got a model without one to expand.")
    for places in found:
        first = places[0]
        weight, chain = first.layer.get_parameter(first.attribute), plan.chain(first)
        factors = _factors(first, chain, init, generator)
        if mode == "weight":
            _in_weight_space(places, chain, factors)
            continue
        parameters = [nn.Parameter(factor, weight.requires_grad) for factor in factors]
        for place in places:
            _refuse_in_a_row(place, chain, plan, batch_norm, tied=len(places) > 1)
            model = replaced(model, place.layer, Expanded(place.layer, chain, parameters, batch_norm))
    return model


def _factors(place: Target, chain: Chain, init: str, generator: torch.Generator | None) -> list[torch.Tensor]:
    try:
        return INITS[init](place.layer.get_parameter(place.attribute), chain, generator)
    except ValueError as fault:
        fault.add_note(f"This is the weight of layer {place.name!r}.")
        raise


def _in_weight_space(places: Sequence[Target], chain: Chain, factors: Sequence[torch.Tensor]) -> None:
    """Every place gets the same list of factors."""
    shared = None
    for place in places:
        parametrize.register_parametrization(place.layer, place.attribute, Product(chain, factors))
        shared = shared or lists(place.layer)[place.attribute]
        lists(place.layer)[place.attribute] = shared


def _patterns(name: str, given: str | Sequence[str]) -> list[str]:
    found = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    for each in found:
        if not isinstance(each, str):
            raise TypeError(f"{name} must be a pattern such as 'blocks.*', or a list of them, got {given!r}.")
    return found


def _is_kernel(place: Target) -> bool:
    return place.layer.get_parameter(place.attribute).ndim > 2


def _refuse(model: nn.Module, mode: str, batch_norm: bool) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"The model must be a torch.nn.Module, got {type(model).__name__}.")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise ValueError("The model must not be compiled, traced or scripted yet: expand it first.")
    if batch_norm and mode == "weight":
        raise ValueError(
            "batch_norm must be False in weight space, got True: it acts on activations. Give mode='activation'."
        )


def _refuse_in_a_row(place: Target, chain: Chain, plan: Plan, batch_norm: bool, *, tied: bool) -> None:
    """Refuse what cannot be done in activation space.

    Raises:
        ValueError: If it cannot.
    """
    layer, name = place.layer, place.name
    _refuse_more_than_plain(layer, name)
    if tied and (batch_norm or plan.chain(place) != chain):
        raise ValueError(
            f"Layer {name!r} must not share its weight in activation space with batch norm or with a layer of "
            "another kind: give mode='weight' or exclude it."
        )
    if batch_norm and chain.transposed and any(k > 1 for kernel in chain.kernels[1:] for k in kernel):
        raise ValueError(
            f"kernel_sizes must be 1 after the first for batch norm in the transposed convolution {name!r}, got "
            f"{chain.kernels}: its border would be another."
        )


def _refuse_more_than_plain(layer: nn.Module, name: str) -> None:
    if not any(type(layer).forward is kind.forward for kind in KINDS) or isinstance(
        layer, nn.modules.linear.NonDynamicallyQuantizableLinear
    ):
        raise ValueError(
            f"Layer {name!r} must be a plain linear or convolutional layer in activation space, got "
            f"{type(layer).__name__}: exclude it or give mode='weight'."
        )
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
        raise ValueError(f"Layer {name!r} must have no hooks, which would be lost: remove them or exclude it.")
    more = [key for key in (*layer._parameters, *layer._buffers, *layer._modules) if key not in ("weight", "bias")]
    if more:
        raise ValueError(
            f"Layer {name!r} must have a weight and a bias alone in activation space, got {', '.join(more)} too, "
            "which would be lost: exclude it or give mode='weight'."
        )
