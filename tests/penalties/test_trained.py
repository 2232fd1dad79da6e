"""Which parameters a penalty finds, and which it refuses."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor

from lowland.penalties.swa import SWA


def test_a_tied_parameter_is_found_once_under_its_first_name():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = SWA().bind(model, optimizer)
    optimizer.step()
    assert list(average.averages) == ["0.weight"]


def test_names_do_not_tell_whether_the_model_is_compiled():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = SWA().bind(torch.compile(model, backend="eager"), optimizer)
    optimizer.step()
    assert list(average.averages) == ["weight", "bias"]


def test_sharded_parameters_are_refused_by_words():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = nn.Module()
        model.weight = nn.Parameter(distribute_tensor(torch.ones(2), init_device_mesh("cpu", (1,))))
        with pytest.raises(NotImplementedError, match="do not support sharded parameters yet"):
            SWA().bind(model, torch.optim.SGD(model.parameters(), lr=0.1))
    finally:
        dist.destroy_process_group()
