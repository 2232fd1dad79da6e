"""The mean of tensors over processes, in few large reductions."""

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["average"]

BUCKET = 25 * 2**20
"""Bytes that are reduced at once, or those of one larger tensor; as many as DistributedDataParallel's."""


def average(
    parts: Mapping[str, Tensor], shapes: Mapping[str, Tensor], group: dist.ProcessGroup | None
) -> tuple[dict[str, Tensor], int]:
    """The mean over the processes of a group, in place.

    A name that a process lacks counts as zero there; one that all lack stays out, and to know that, a process that
    lacks one waits for the device. Every process must call it with the same ``shapes``.

    Args:
        parts: The process's tensors by name.
        shapes: A tensor of the same shape, dtype and device for every name that any process may have; not empty.
        group: The processes.

    Returns:
        The means, the same bits in every process, and the bytes that were reduced.

    Cost:
        One more copy of the tensors while it runs.
    """
    present = torch.ones(len(shapes), dtype=(first := next(iter(shapes.values()))).dtype, device=first.device)
    lacking = {name: torch.zeros_like(like) for name, like in shapes.items() if name not in parts}
    for at, name in enumerate(shapes):
        if name in lacking:
            present[at] = 0
    means = {name: lacking[name] if name in lacking else parts[name] for name in shapes}
    reduced = _reduce([present, *means.values()], group)
    if lacking:
        somewhere = (present > 0).tolist()
        means = {name: mean for (name, mean), found in zip(means.items(), somewhere, strict=True) if found}
    return means, reduced


def _reduce(tensors: Sequence[Tensor], group: dist.ProcessGroup | None) -> int:
    """Turn tensors into their means, in place; divided first, as a sum of half-precision numbers may overflow."""
    running = []
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket]).div_(dist.get_world_size(group))
        running.append((bucket, flat, dist.all_reduce(flat, group=group, async_op=True)))
    for bucket, flat, work in running:
        work.wait()
        means = flat.split([tensor.numel() for tensor in bucket])
        torch._foreach_copy_(bucket, [mean.view_as(tensor) for mean, tensor in zip(means, bucket, strict=True)])
    return sum(flat.numel() * flat.element_size() for _, flat, _ in running)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one kind together, in order, up to the limit."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for alike in kinds.values():
        bucket, filled = [], 0
        for tensor in alike:
            size = tensor.numel() * tensor.element_size()
            if bucket and filled + size > BUCKET:
                yield bucket
                bucket, filled = [], 0
            bucket.append(tensor)
            filled += size
        yield bucket
