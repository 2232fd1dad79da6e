"""Which parameters a method perturbs: filters for ``bind(model, where=...)``."""

from torch import nn

from lowland.engine.sites import Site

__all__ = ["no_bias", "no_norm", "norm_only"]

NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,  # batch and instance normalisation of every dimension, synchronised too
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def norm_only(site: Site) -> bool:
    """Only the scales and shifts of normalisation layers.

    A layer counts if it is one of PyTorch's, or if its class name ends in ``Norm`` followed by nothing or
    by digits and letters such as ``2d``.
    """
    name = type(site.module).__name__.lower()
    return isinstance(site.module, NORMALISATIONS) or name.rstrip("0123456789d").endswith("norm")


def no_norm(site: Site) -> bool:
    """Everything but normalisation layers."""
    return not norm_only(site)


def no_bias(site: Site) -> bool:
    """Everything but biases, told by the last part of the name: ``bias``, ``in_proj_bias``, ``bias_hh_l0``."""
    last = site.name.rpartition(".")[2]
    return not (last.startswith("bias") or last.endswith("bias"))
