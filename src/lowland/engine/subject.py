"""What is trained: a model's parts, gathered once, and checked at the door."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from lowland.engine.buffers import Buffers
from lowland.engine.sites import Site, Where, factors, select, sites

__all__ = ["Subject", "subject"]


@dataclass(frozen=True)
class Subject:
    """What is trained: a model's parts, gathered once."""

    parameters: Mapping[str, nn.Parameter]
    modules: Sequence[nn.Module]
    buffers: Buffers
    moved: frozenset[str]
    factors: Mapping[str, float]
    homes: Sequence[tuple[Mapping[str, object], str, object]]
    _looked: list[bool] = field(default_factory=list)

    def unseen(self) -> set[int] | None:
        """Addresses of the parameters, the first time, to see if a loss depends on others; None afterwards."""
        if self._looked:
            return None
        self._looked.append(True)
        return {id(p) for p in self.parameters.values()}

    def refuse_changes(self) -> None:
        """Refuse a model whose modules or parameters are no longer those that were bound.

        Raises:
            RuntimeError: If one was exchanged.
        """
        for home, name, thing in self.homes:
            if home.get(name) is not thing:
                raise RuntimeError(
                    "The model must keep the parameters and modules that it was bound with, got another "
                    f"{name!r}: bind it again."
                )


def subject(
    model: nn.Module, ours: Where | None, users: Where | None, radii: Mapping[str, float] | None
) -> Subject:
    """Gather a model's parts.

    Args:
        model: Any module with parameters.
        ours: Which parameters the method perturbs.
        users: Which of those the user wants perturbed.
        radii: Factors on the radius, by pattern.

    Returns:
        The parts.

    Raises:
        ValueError: If the filters leave nothing.
    """
    found = sites(model)
    _refuse_wrapped(model, found)
    _refuse_kinds(found)
    _refuse_hooks(found)
    moved = select(found, ours) & select(found, users)
    if not moved:
        raise ValueError("where must leave the method something to perturb, got a filter that leaves nothing.")
    parameters = {name: site.parameter for name, site in found.items()}
    modules = list(model.modules())
    stores = [store for module in modules for store in (module._parameters, module._modules)]
    homes = [(store, name, thing) for store in stores for name, thing in store.items()]
    return Subject(parameters, modules, Buffers(model), moved, factors(found, radii), homes)


def _refuse_hooks(found: Mapping[str, Site]) -> None:
    for name, site in found.items():
        if getattr(site.parameter, "_post_accumulate_grad_hooks", None):
            raise ValueError(
                f"Parameters must have no post-accumulate-grad hooks, got one on {name!r}: it would run in every "
                "pass. Step the optimiser after backward."
            )


def _refuse_kinds(found: Mapping[str, Site]) -> None:
    for name, site in found.items():
        if site.parameter.is_complex():
            raise TypeError(f"Parameters must be real, got a complex one, {name!r}.")


def _refuse_wrapped(model: nn.Module, found: Mapping[str, Site]) -> None:
    sharded = any(type(site.parameter.data).__name__ == "DTensor" for site in found.values())
    wrapped = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")
    if sharded or any(type(module).__name__ in wrapped for module in model.modules()):
        raise NotImplementedError(
            "Training over several processes is not supported yet, got a distributed model: "
            "bind the bare module in one process."
        )
