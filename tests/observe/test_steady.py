"""Passes over batches draw the same each time, and move no generator."""

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from lowland.observe.steady import steady


class Noisy(TensorDataset):
    """Data with noise from torch's generator."""

    def __getitem__(self, i):
        return super().__getitem__(i)[0] + torch.rand(())


DATA = TensorDataset(torch.arange(60.0))


def loaders(draw):
    sampler = RandomSampler(DATA, replacement=True, generator=draw)
    return {
        "global": DataLoader(DATA, 10, shuffle=True),
        "its own": DataLoader(DATA, 10, shuffle=True, generator=draw),
        "its sampler's": DataLoader(DATA, 10, sampler=sampler),
        "its batch sampler's": DataLoader(DATA, batch_sampler=BatchSampler(sampler, 10, False)),
        "augmented": DataLoader(Noisy(*DATA.tensors), 10, shuffle=True),
    }


def seen(loader, meanwhile=lambda: None):
    found = []
    for batch in steady(loader):
        meanwhile()
        found.append(batch if isinstance(batch, torch.Tensor) else batch[0])
    return torch.cat(found)


@pytest.mark.parametrize("name", loaders(None))
def test_every_pass_is_the_same_whatever_is_drawn_before_and_meanwhile(name):
    draw = torch.Generator().manual_seed(7)
    loader = loaders(draw)[name]
    first = seen(loader)
    assert not torch.equal(first, first.sort().values)
    torch.rand(5), torch.rand(5, generator=draw)
    assert torch.equal(seen(loader, lambda: (torch.rand(3), torch.rand(3, generator=draw))), first)


@pytest.mark.parametrize("name", loaders(None))
def test_no_generator_moves_in_a_whole_pass_or_a_part_of_one(name):
    draw = torch.Generator().manual_seed(7)
    loader = loaders(draw)[name]
    before = torch.get_rng_state(), draw.get_state()
    seen(loader)
    next(steady(loader))
    with pytest.raises(ZeroDivisionError):
        seen(loader, lambda: 1 / 0)
    assert all(map(torch.equal, (torch.get_rng_state(), draw.get_state()), before))


def test_a_loader_that_is_being_read_goes_on_as_if_nothing_had_happened():
    draw = torch.Generator().manual_seed(7)
    sampler = RandomSampler(DATA, replacement=True, generator=draw)
    expected = [x.tolist() for (x,) in DataLoader(DATA, 10, sampler=sampler)]
    draw.manual_seed(7)
    loader, found = DataLoader(DATA, 10, sampler=sampler), []
    for (x,) in loader:
        seen(loader)
        found.append(x.tolist())
    assert found == expected


def test_lists_and_other_collections_pass_as_they_are():
    assert [list(steady(batches)) for batches in ([3, 1], (), range(2))] == [[3, 1], [], [0, 1]]
