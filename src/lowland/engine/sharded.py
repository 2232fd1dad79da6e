"""FSDP2: every process has a part of each parameter, and a share of the batch."""

from collections.abc import Collection, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.utils.hooks import RemovableHandle

from lowland.engine.alone import Alone

__all__ = ["Sharded"]


class Sharded(Alone):
    """Computes on the process's shards as if they were the parameters; norms and inner products are summed.

    FSDP itself reduces the gradients of every pass, and gathers the perturbed shards for the next one. The ascent
    is global, as the shards are of one set of weights, which can be in one place only.

    Args:
        model: The model; ``fully_shard`` was applied to it, or to modules that hold all its trainable parameters.

    Raises:
        NotImplementedError: If the parameters are laid out in another way than ``fully_shard`` does.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
        within = {id(below) for module in self._modules for below in module.modules() if below is not module}
        self._roots = [module for module in self._modules if id(module) not in within]
        self._hooks: list[RemovableHandle] = []
        self._ran = False
        self.settle()
        stores = [module._parameters for module in model.modules()]
        self._homes = [(store, name, p) for store in stores for name, p in store.items() if isinstance(p, DTensor)]
        self._plain = {name: p for name, p in model.named_parameters() if not isinstance(p, DTensor)}
        self.ready()
        self.total = _Total([p for _, _, p in self._homes])
        self.devices = (self.total.device,)

    def ready(self) -> None:
        """Shard what a forward pass without a backward has left whole.

        Raises:
            NotImplementedError: If a trainable parameter is not sharded.
        """
        self.settle()
        trained = [name for name, p in self._plain.items() if p.requires_grad]
        if trained:
            raise NotImplementedError(
                f"Every trainable parameter must be sharded, got plain ones such as {trained[0]!r}: apply "
                "fully_shard to the whole model as well, or freeze them."
            )

    def leave(self, failed: bool) -> None:
        """Bring FSDP back to where a step begins, if a pass was cut short."""
        self._unhook()
        if failed and self._ran:  # before its first pass FSDP has no state to reset
            for root in self._roots:
                getattr(root, "reset_iter_state", root.reshard)()
        if failed:
            self.settle()

    def known(self, parameters: Collection[nn.Parameter]) -> Collection[int]:
        """The shards, and the whole parameters that take their place while a module of FSDP runs."""
        found = {id(p) for p in parameters}

        def see(module: nn.Module, _: object) -> None:
            found.update(id(p) for p in module.parameters())

        self._hooks = [module.register_forward_pre_hook(see) for module in self._modules]
        return found

    def settle(self) -> None:
        """Shard all parameters, which a forward pass without a backward leaves whole in part."""
        for module in self._modules:
            module.reshard()

    def gradients(self, trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The shards of the gradients, which FSDP has reduced.

        Raises:
            RuntimeError: If FSDP was told not to reduce, or not to shard again.
        """
        self._unhook()
        self._ran = True
        if any(home[name] is not p for home, name, p in self._homes):
            raise RuntimeError(
                "FSDP must gather the weights anew for every pass, got set_reshard_after_backward(False): leave "
                "it True, or FSDP does not see that they moved."
            )
        found = {name: p.grad.to_local() for name, p in trained.items() if isinstance(p.grad, DTensor)}
        if not found:
            raise RuntimeError(
                "FSDP must reduce the gradients of every pass, got none, as set_requires_gradient_sync(False) or "
                "set_requires_all_reduce(False) leave them: leave both True; micro-batches add up all the same."
            )
        return found

    def weights(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The process's shards."""
        return {name: self.local(p) for name, p in parameters.items()}

    def local(self, tensor: Tensor) -> Tensor:
        """The process's shard."""
        data = tensor.data
        return data.to_local() if isinstance(data, DTensor) else data

    def spread(self, parts: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> Mapping[str, Tensor]:
        """Shards as tensors that are sharded like the parameters."""
        return {name: _spread(part, parameters[name]) for name, part in parts.items()}

    def cut(self, tensor: Tensor, parameter: Tensor) -> Tensor:
        """The process's shard of a tensor that is whole, or sharded in whatever way."""
        assert isinstance(parameter, DTensor)
        mesh, placements = parameter.device_mesh, parameter.placements
        if isinstance(tensor, DTensor):
            return tensor.redistribute(mesh, placements).to_local()
        return distribute_tensor(tensor, mesh, placements, src_data_rank=None).to_local().clone()

    def whole(self, tensor: Tensor) -> Tensor:
        """What was computed from a sharded parameter, in every process."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def _unhook(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def _spread(part: Tensor, parameter: Tensor) -> Tensor:
    assert isinstance(parameter, DTensor)
    return DTensor.from_local(
        part,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


class _Total:
    """Sums over the shards, in one precision for all: a process that holds nothing could not tell which."""

    def __init__(self, shards: Collection[DTensor]) -> None:
        kind = next(iter(shards)).device_mesh.device_type
        self._group = _group(shards)
        self._dtype = torch.float64 if any(p.dtype == torch.float64 for p in shards) else torch.float32
        self.device = torch.device(
            "cpu" if kind == "cpu" else f"{kind}:{torch.accelerator.current_device_index()}"
        )

    def __call__(self, own: Tensor) -> Tensor:
        """The sum of what the processes hold, entry by entry."""
        summed = own.to(self.device, self._dtype, copy=True)
        dist.all_reduce(summed, group=self._group)
        return summed


def _group(shards: Collection[DTensor]) -> dist.ProcessGroup:
    """The processes that hold one set of weights.

    Raises:
        NotImplementedError: If they are not the same for all parameters, or hold them in more ways than one.
    """
    groups = [_groups(p) for p in shards]
    sharing = {tuple(tuple(dist.get_process_group_ranks(group)) for group in own) for own in groups}
    if len(sharing) > 1 or len(groups[0]) != 1:
        shown = ", ".join(sorted({f"{p.placements} on a mesh of {p.device_mesh.shape}" for p in shards}))
        raise NotImplementedError(
            f"Parameters must be sharded by fully_shard alone, all on one mesh, got {shown}: leave out tensor "
            "parallelism and meshes of single modules."
        )
    return groups[0][0]


def _groups(parameter: DTensor) -> list[dist.ProcessGroup]:
    """The processes along each dimension of the mesh over which the parameter is spread."""
    spread = [at for at, place in enumerate(parameter.placements) if not isinstance(place, Replicate)]
    return [parameter.device_mesh.get_group(at) for at in spread]
