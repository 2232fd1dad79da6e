"""The README's program for several processes: ``torchrun --nproc-per-node 2 several_processes.py``."""

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import lowland


def train(wrap):
    torch.manual_seed(0)
    model = wrap(torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = torch.nn.CrossEntropyLoss()
    data = TensorDataset(torch.randn(64, 10), torch.randint(3, (64,)))
    loader = DataLoader(data, batch_size=8, sampler=DistributedSampler(data))

    sam = lowland.SAM(rho=0.05).bind(model, optimizer=optimizer)
    for x, y in loader:
        loss = sam.backward(lambda: criterion(model(x), y))  # noqa: B023 - called at once
        optimizer.step()
        optimizer.zero_grad()
    if dist.get_rank() == 0:
        print(f"{wrap.__name__}: {sam.count} steps, {sam.reduced_bytes} bytes reduced, loss {loss.item():.3f}")


if __name__ == "__main__":
    dist.init_process_group("gloo")  # "nccl" on GPUs
    train(DistributedDataParallel)  # every process ascends on its own share of the batch
    train(fully_shard)  # all ascend together
    dist.destroy_process_group()
