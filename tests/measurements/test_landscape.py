import copy

import numpy as np
import pytest
import torch
from torch import nn

from lowland.measurements.landscape import Landscape, grid
from lowland.operators.problem import problem


def data(batch=8):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(24, 4, generator=generator, dtype=torch.float64)
    return list(zip(x.split(batch), (torch.arange(24) % 3).split(batch), strict=True))


def net(norm=True, seed=0):
    """A network that has seen some data."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8) if norm else nn.Tanh(), nn.ReLU(), nn.Linear(8, 3)
    ).double()
    descent = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in data():
        descent.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        descent.step()
    return model


def of(model, **how):
    return problem(model, nn.functional.cross_entropy, data(), **how)


def losses(p, **fields):
    return grid(Landscape(**fields).read(p))[2]


def test_the_middle_is_the_loss_of_the_model_itself():
    p = of(net())
    assert losses(p)[0, 5] == pytest.approx(p.mean_loss(), rel=1e-12)
    assert losses(p, dimensions=2, points=3)[1, 1] == pytest.approx(p.mean_loss(), rel=1e-12)


def test_of_a_quadratic_loss_is_a_parabola():
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    p = problem(nn.Linear(3, 1).double(), nn.functional.mse_loss, (x, y))
    found = losses(p, points=6, span=(-2.0, 3.0))[0]
    assert np.diff(found, n=3) == pytest.approx(0, abs=1e-12)
    assert (np.diff(found, n=2) > 0).all()


def test_a_line_of_the_plane_is_the_slice_of_one_dimension():
    p = of(net())
    assert losses(p, dimensions=2, points=5)[2] == pytest.approx(losses(p, points=5)[0], rel=1e-12)


def test_does_not_change_when_a_pair_of_layers_is_rescaled():
    one, other = net(norm=False), net(norm=False)
    one[1], other[1] = nn.Identity(), nn.Identity()
    with torch.no_grad():
        for parameter, factor in zip(other.parameters(), (5, 5, 1 / 5, 1), strict=True):
            parameter *= factor
    assert losses(of(other)) == pytest.approx(losses(of(one)), rel=1e-9)


@pytest.mark.parametrize("buffers", ["keep", "renew"])
def test_the_way_to_a_checkpoint_begins_and_ends_at_the_two(buffers):
    here, there = net(seed=0), net(seed=1)
    found = losses(of(here), to=there.state_dict(), points=3, buffers=buffers)[0]
    ends = [of(model) for model in (here, there)]
    if buffers == "keep":
        assert found[[0, -1]] == pytest.approx([end.mean_loss() for end in ends], rel=1e-9)
    else:
        assert found[[0, -1]] == pytest.approx([renewed(end) for end in ends], rel=1e-9)


def renewed(p):
    """The loss with batch statistics that are plain means over the batches."""
    model = copy.deepcopy(p.model)
    model[1].reset_running_stats()
    model[1].momentum = None
    model.train()
    for x, _ in data():
        model(x)
    return of(model.eval()).mean_loss()


def test_halfway_the_weights_are_the_mean_of_the_two():
    here, there, middle = net(False, 0), net(False, 1), net(False)
    with torch.no_grad():
        for m, a, b in zip(middle.parameters(), here.parameters(), there.parameters(), strict=True):
            m.copy_((a + b) / 2)
    assert losses(of(here), to=there.state_dict(), points=3)[0, 1] == pytest.approx(
        of(middle).mean_loss(), rel=1e-9
    )


def test_to_itself_the_way_is_flat():
    model = net()
    found = losses(of(model), to=model.state_dict())
    assert found == pytest.approx(np.full((1, 11), of(model).mean_loss()), rel=1e-12)


def test_beside_the_way_to_a_checkpoint_the_plane_goes_in_a_random_direction():
    here, there = net(seed=0), net(seed=1)
    plane = losses(of(here), to=there.state_dict(), dimensions=2, points=3)
    assert plane[1] == pytest.approx(losses(of(here), to=there.state_dict(), points=3)[0], rel=1e-12)
    assert plane[0] != pytest.approx(plane[1])


def test_a_checkpoint_of_the_compiled_model_is_one_of_the_model():
    state = {f"_orig_mod.{name}": t for name, t in net(seed=1).state_dict().items()}
    p = of(net())
    assert losses(p, to=state) == pytest.approx(losses(p, to=net(seed=1).state_dict()), rel=1e-12)


def test_statistics_and_momentum_come_back():
    model = net()
    before = copy.deepcopy(model.state_dict())
    losses(of(model), buffers="renew", points=2)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert model[1].momentum == 0.1
    assert model[1].training


def test_arrays_have_an_axis_for_each_direction():
    alphas, betas, found = grid(Landscape(dimensions=2, points=3, span=(-1.0, 2.0)).read(of(net())))
    assert alphas.tolist() == betas.tolist() == [-1.0, 0.5, 2.0]
    assert found.shape == (3, 3)
    alphas, betas, found = grid(Landscape(points=2).read(of(net())))
    assert (alphas.tolist(), betas.tolist(), found.shape) == ([-1.0, 1.0], [0.0], (1, 2))


def test_readings_of_two_landscapes_are_refused_by_words():
    readings = Landscape(points=2).read(of(net()))
    with pytest.raises(ValueError, match=r"readings must be those of one landscape on one split, got 4 readings"):
        grid([*readings, *readings])
    with pytest.raises(ValueError, match=r"got 0 readings"):
        grid([])


def test_checkpoints_of_another_model_are_refused_by_words():
    state = net().state_dict()
    missing = {name: t for name, t in state.items() if name != "3.weight"}
    with pytest.raises(LookupError, match=r"no parameter in the checkpoint called '3.weight'"):
        losses(of(net()), to=missing)
    with pytest.raises(ValueError, match=r"'3.weight' must be of shape \(3, 8\), got \(2, 8\)"):
        losses(of(net()), to={**state, "3.weight": torch.zeros(2, 8)})
    with pytest.raises(ValueError, match=r"'3.bias' must equal the model's, as it is frozen or left out"):
        losses(of(net(), params="*.weight"), to={**state, "3.bias": torch.ones(3)})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dimensions": 3}, r"dimensions must be 1 or 2, got 3"),
        ({"dimensions": 0}, r"dimensions must be at least 1, got 0"),
        ({"points": 1}, r"points must be at least 2, got 1"),
        ({"span": (1.0, -1.0)}, r"span must rise, got \(1.0, -1.0\)"),
        ({"buffers": "drop"}, r"buffers must be one of keep, renew, got 'drop'"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        Landscape(**fields)
