"""What is trained: a model's parts, gathered once, and checked at the door."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from lowland.engine.alone import Alone
from lowland.engine.buffers import Buffers
from lowland.engine.masters import Masters
from lowland.engine.processes import processes
from lowland.engine.sites import Site, Where, factors, select, sites
from lowland.vector import Vector

__all__ = ["Subject", "subject"]


@dataclass(frozen=True)
class Subject:
    """What is trained: a model's parts, gathered once.

    Attributes:
        parameters: The model's own.
        leaves: What the optimiser trains and perturbations move: the parameters, or their masters.
    """

    parameters: Mapping[str, nn.Parameter]
    leaves: Mapping[str, nn.Parameter]
    modules: Sequence[nn.Module]
    buffers: Buffers
    moved: frozenset[str]
    factors: Mapping[str, float]
    homes: Sequence[tuple[Mapping[str, object], str, object]]
    processes: Alone
    masters: Masters | None = None
    _looked: set[bool] = field(default_factory=set)

    def stretched(self, vector: Vector) -> Vector:
        """The entries of those parameters that are perturbed, longer or shorter as their perturbation is."""
        kept = vector.only(self.moved).parts
        longer = {name: self.factors[name] * part for name, part in kept.items() if name in self.factors}
        return Vector({**kept, **longer}, vector.total)

    def push(self) -> None:
        """Let the model follow its masters, if it has any."""
        if self.masters is not None:
            self.masters.push()

    def unseen(self, own: bool) -> Collection[int] | None:
        """Addresses of the parameters, until a loss was seen to depend on nothing else; None afterwards.

        Args:
            own: Whether it is the user's loss, and not one of the method's.
        """
        return None if own in self._looked else self.processes.known(self.parameters.values())

    def saw(self, own: bool, inputs: bool) -> None:
        """A loss depends on no other parameters; ``inputs`` with gradients must be looked for in every pass."""
        if not inputs:
            self._looked.add(own)

    def refuse_changes(self) -> None:
        """Refuse a model whose modules or parameters are no longer those that were bound.

        Raises:
            RuntimeError: If one was exchanged.
        """
        self.processes.ready()
        for home, name, thing in self.homes:
            if home.get(name) is not thing:
                raise RuntimeError(
                    "The model must keep the parameters and modules that it was bound with, got another "
                    f"{name!r}: bind it again."
                )
        if self._grown():
            raise RuntimeError(
                "The model must keep the parameters that it was bound with, got more: bind it again."
            )

    def _grown(self) -> bool:
        """Whether there are parameters that were not bound; cheap while nothing was added anywhere."""
        stores = (store for module in self.modules for store in (module._parameters, module._modules))
        if sum(map(len, stores)) == len(self.homes):
            return False
        known = {id(p) for p in self.parameters.values()}
        return any(id(p) not in known for module in self.modules for p in module.parameters())


def subject(
    model: nn.Module,
    ours: Where | None,
    users: Where | None,
    radii: Mapping[str, float] | None,
    ascent: str | None = None,
    masters: Masters | None = None,
) -> Subject:
    """Gather a model's parts.

    Args:
        model: Any module with parameters.
        ours: Which parameters the method perturbs.
        users: Which of those the user wants perturbed.
        radii: Factors on the radius, by pattern.
        ascent: Whether several processes ascend by themselves or together; see :func:`processes`.
        masters: The float32 weights behind the model's, if there are any.

    Returns:
        The parts.

    Raises:
        ValueError: If the filters leave nothing, or the user's nothing but frozen parameters.
        NotImplementedError: If a sharded model is to have masters.
    """
    trained, others = processes(model, ascent)
    found = sites(trained)
    _refuse_kinds(found)
    _refuse_hooks(found)
    moved = select(found, ours) & select(found, users)
    if not moved:
        raise ValueError("where must leave the method something to perturb, got a filter that leaves nothing.")
    if users is not None and not any(found[name].parameter.requires_grad for name in moved):
        raise ValueError(
            f"where must pick a trainable parameter, got a filter that picks frozen ones only, such as "
            f"{min(moved)!r}: unfreeze them before you bind, or pick others."
        )
    parameters = {name: site.parameter for name, site in found.items()}
    leaves = parameters if masters is None else {name: masters.of(p) for name, p in parameters.items()}
    if masters is not None and others.total is not None:
        raise NotImplementedError(
            "Masters must be of a model that is not sharded, got one that fully_shard was applied to: shard "
            "float32 weights, with MixedPrecisionPolicy(param_dtype=torch.bfloat16)."
        )
    modules = list(model.modules())
    stores = [store for module in modules for store in (module._parameters, module._modules)]
    homes = [(store, name, thing) for store in stores for name, thing in store.items()]
    return Subject(
        parameters, leaves, modules, Buffers(model), moved, factors(found, radii), homes, others, masters
    )


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
