"""Which devices a grid computes on, one entry per process."""

import os
import sys

from lowland.checks import whole

__all__ = ["devices"]


def devices(workers: int | None = None) -> list[str]:
    """A torch device name for every process.

    The GPUs in turn where there are some, one process each unless told otherwise; else one process per core.
    A study that did not load torch has no use for a GPU.

    Args:
        workers: How many processes, at least 1; refused otherwise. None chooses.

    Example:
        >>> len(devices(3))
        3
    """
    if workers is not None:
        whole("workers", workers)
    torch = sys.modules.get("torch")
    gpus = torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0
    names = [f"cuda:{i}" for i in range(gpus)] or ["cpu"]
    return [names[i % len(names)] for i in range(workers or gpus or _cores())]


def _cores() -> int:
    """Cores this process may use, which a container or a batch system can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
