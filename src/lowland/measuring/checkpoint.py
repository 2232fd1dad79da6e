"""The way from a model's weights to those of another checkpoint of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from lowland.checks import unknown
from lowland.engine.sites import sites
from lowland.operators.problem import Problem

__all__ = ["buffers_on_the_way", "direction_to"]


def direction_to(problem: Problem, state: Mapping[str, Tensor]) -> Tensor:
    """The checkpoint's parameters less the model's, of length P.

    Raises:
        LookupError: If the checkpoint lacks a parameter.
        ValueError: If one has another shape, or one that the problem leaves out has another value.
    """
    other = {name.replace("_orig_mod.", ""): t for name, t in state.items()}
    for name, site in sites(problem.model).items():
        w = site.parameter.detach()
        if name not in other:
            raise LookupError(unknown("parameter in the checkpoint", name, other))
        if other[name].shape != w.shape:
            raise ValueError(
                f"The checkpoint's {name!r} must be of shape {tuple(w.shape)}, got {tuple(other[name].shape)}."
            )
        if name not in problem.parameters and not torch.equal(other[name].to(w), w):
            raise ValueError(
                f"The checkpoint's {name!r} must equal the model's, as it is frozen or left out, got another: "
                "call requires_grad_(True) on it."
            )
    return problem.join([other[name].to(p) - p.detach() for name, p in problem.parameters.items()])


@contextmanager
def buffers_on_the_way(problem: Problem, state: Mapping[str, Tensor], alpha: float) -> Iterator[None]:
    """Inside, floating buffers are on the line from the model's (0) to the checkpoint's (1)."""
    other = {name.replace("_orig_mod.", ""): t for name, t in state.items()}
    with problem.calm():
        for path, own in list(problem.model.named_buffers(remove_duplicate=False)):
            end = other.get(path.replace("_orig_mod.", ""))
            if own.is_floating_point() and end is not None:
                prefix, _, name = path.rpartition(".")
                problem.model.get_submodule(prefix)._buffers[name] = torch.lerp(own, end.to(own), alpha)
        yield
