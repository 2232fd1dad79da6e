"""How many processes train a model, and what each of them holds of it."""

import sys

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lowland.checks import one_of
from lowland.engine.alone import Alone
from lowland.engine.sites import refuse_non_module

__all__ = ["processes"]


def processes(model: nn.Module, ascent: str | None) -> tuple[nn.Module, Alone]:
    """Look at how a model is wrapped.

    Args:
        model: Any module; ``DistributedDataParallel`` around all of it, and ``fully_shard`` on it, are known.
        ascent: ``"local"``, every process by itself, or ``"global"``, all together; None is local where every
            process has all parameters, global where it has parts. Of no account in a single process.

    Returns:
        The module whose parameters are trained, and what to do about other processes.

    Raises:
        TypeError: If the model is no module.
        ValueError: If ``ascent`` is another word.
        NotImplementedError: If the model is wrapped in another way, or sharded and the ascent local.
    """
    refuse_non_module(model)
    if ascent is not None:
        one_of("ascent", ascent, ["local", "global"])
    bare = getattr(model, "_orig_mod", model)  # as torch.compile wraps it
    if isinstance(bare, DistributedDataParallel):
        from lowland.engine.replicated import Replicated

        _refuse_wrappers(bare.module)
        _refuse_tensors(bare.module)
        return bare.module, Replicated(bare, together=ascent == "global")
    _refuse_wrappers(bare)
    fsdp = sys.modules.get("torch.distributed.fsdp")  # if it is not there, nothing was sharded
    if fsdp is None or not any(isinstance(module, fsdp.FSDPModule) for module in model.modules()):
        _refuse_tensors(bare)
        return model, Alone()
    if ascent == "local":
        raise NotImplementedError(
            "ascent must be 'global' under fully_shard, got 'local': processes that hold parts of one set of "
            "weights can only move together. For an ascent on fewer examples take micro-batches, or lowland.MSAM."
        )
    from lowland.engine.sharded import Sharded

    return model, Sharded(model)


def _refuse_wrappers(model: nn.Module) -> None:
    """Refuse what trains over several devices in ways that are not known."""
    remedies = {
        "DataParallel": "use DistributedDataParallel, with one process per device",
        "FullyShardedDataParallel": "use torch.distributed.fsdp.fully_shard",
        "DistributedDataParallel": "wrap the whole model, and bind the wrapper",
    }
    for module in model.modules():
        if (kind := type(module).__name__) in remedies:
            raise NotImplementedError(
                f"Training over several processes is not supported with {kind} here: {remedies[kind]}."
            )


def _refuse_tensors(model: nn.Module) -> None:
    for name, p in model.named_parameters():
        if type(p.data).__name__ == "DTensor":
            raise NotImplementedError(
                f"Parameters must be plain tensors, or sharded by fully_shard alone, got a DTensor, {name!r}."
            )
