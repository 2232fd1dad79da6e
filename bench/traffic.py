"""What a step of SAM reduces over processes: local and global ascent beside a two-step loop under DDP.

    make traffic          # or: python bench/traffic.py --processes 4

Counts the bytes of gradients that each process gives into reductions, in units of one set of gradients. The
two-step loop lets the hooks of DDP reduce in both passes, as loops around first_step and second_step do.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

import lowland
from lowland.models.resnet import ResNet
from lowland.report.table import Table

STEPS = 5


def build():
    torch.manual_seed(0)
    model = ResNet(shape=(3, 32, 32), classes=10, depth=10, width=9)
    return DistributedDataParallel(model)


def batch(rank):
    draw = torch.Generator().manual_seed(rank)
    return torch.randn(16, 3, 32, 32, generator=draw), torch.randint(10, (16,), generator=draw)


def ours(rank, ascent, method):
    """Bytes per step that the engine gave into reductions."""
    model, (x, y) = build(), batch(rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    engine = method.bind(model, optimizer=optimizer, ascent=ascent)
    for _ in range(STEPS):
        engine.backward(lambda: nn.functional.cross_entropy(model(x), y))
        optimizer.step()
        optimizer.zero_grad()
    return engine.reduced_bytes / STEPS


def hooked(rank, passes):
    """Bytes per step that DDP's hooks reduced."""
    model, (x, y), reduced = build(), batch(rank), [0]

    def count(group, bucket):
        reduced[0] += bucket.buffer().numel() * bucket.buffer().element_size()
        return allreduce_hook(group, bucket)

    model.register_comm_hook(None, count)
    for _ in range(STEPS):
        for _ in range(passes):
            model.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
    return reduced[0] / STEPS


ARMS = {
    "plain gradient, DDP": partial(hooked, passes=1),
    "two-step loop, DDP": partial(hooked, passes=2),
    "lowland SAM, local ascent": partial(ours, ascent="local", method=lowland.SAM()),
    "lowland SAM, global ascent": partial(ours, ascent="global", method=lowland.SAM()),
    "lowland GSAM, local ascent": partial(ours, ascent="local", method=lowland.GSAM()),
    "lowland WSAM, local ascent": partial(ours, ascent="local", method=lowland.WSAM()),
}


def work(rank, processes, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=processes)
    torch.set_num_threads(1)
    taken = {name: arm(rank) for name, arm in ARMS.items()}
    if rank == 0:
        report(taken, processes)
    dist.destroy_process_group()


def report(taken, processes):
    """Print the table."""
    one = taken["plain gradient, DDP"]
    rows = tuple((name, f"{count / 2**10:.0f}", f"{count / one:.3f}") for name, count in taken.items())
    table = Table(
        title=f"Bytes that a process reduces in a step ({processes} processes, ResNet with 0.1M weights)",
        columns=("step", "KiB", "/ plain gradient"),
        rows=rows,
    )
    print(f"{table.title}\n\n{table.markdown()}", flush=True)


def main():
    """Start the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    processes = parser.parse_args().processes
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (processes, str(Path(folder, "store"))), processes)


if __name__ == "__main__":
    main()
