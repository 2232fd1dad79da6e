"""The parameters that an optimiser trains, by their names in the model."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from lowland.engine.sites import sites

__all__ = ["fitting", "trained"]


def trained(model: nn.Module, optimizer: Optimizer) -> dict[str, nn.Parameter]:
    """The model's parameters that the optimiser has in its groups; a tied one goes by its first name.

    Raises:
        ValueError: If there are none.
        NotImplementedError: If they are sharded over several processes.
    """
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found = {name: site.parameter for name, site in sites(model).items() if id(site.parameter) in known}
    if not found:
        raise ValueError("The optimiser must train parameters of the model, got one that trains none of them.")
    if any(type(p.data).__name__ == "DTensor" for p in found.values()):
        raise NotImplementedError(
            "Penalties do not support sharded parameters yet: bind a model that is not sharded."
        )
    return found


def fitting(kept: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the kept tensors, on the devices of those that they belong to.

    Raises:
        ValueError: If names or shapes differ.
    """
    shapes = {name: t.shape for name, t in tensors.items()}
    odd = shapes.keys() ^ kept.keys() | {n for n, t in kept.items() if n in shapes and t.shape != shapes[n]}
    if odd:
        raise ValueError(f"The state must fit the model, got one that differs in {', '.join(sorted(odd))}.")
    return {name: t.to(tensors[name].device, copy=True) for name, t in kept.items()}
