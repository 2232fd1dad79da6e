import torch

from lowland.seeds import derive, generator


def test_a_name_is_a_stream_of_its_own():
    seeds = {derive(seed, name, k) for seed in range(5) for name in ("order", "augment") for k in range(20)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_name_gives_the_same_numbers():
    a, b = (torch.rand(4, generator=generator(3, "order", 7)) for _ in range(2))
    assert torch.equal(a, b)
