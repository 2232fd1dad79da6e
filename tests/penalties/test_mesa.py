"""MESA's teacher is the average of the model, and asking it leaves no trace."""

import copy

import pytest
import torch
from torch import nn

from lowland.penalties.mesa import MESA
from references import penalties as ref
from rigs import assert_same, everything


def net(frozen=False):
    torch.manual_seed(0)
    body = nn.Linear(4, 6).requires_grad_(not frozen)
    return nn.Sequential(body, nn.BatchNorm1d(6), nn.Dropout(0.3), nn.ReLU(), nn.Linear(6, 3)).double()


def train(model, steps=10, **settings):
    """The bound term; weights and statistics along the way; of each step term, logits and teacher's logits."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.2)
    mesa = MESA(**settings).bind(model, optimizer)
    path, terms = [_floats(model)], []
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(8, 4, generator=draw, dtype=torch.float64)
        z = model(x)
        terms.append((mesa(z, x), z.detach(), copy.deepcopy(mesa.teacher)(x)))
        (z.square().mean() + terms[-1][0]).backward()
        optimizer.step(), optimizer.zero_grad()
        path.append(_floats(model))
    return mesa, path, terms


def _floats(model):
    return {name: t.clone() for name, t in model.state_dict().items() if t.is_floating_point()}


def test_the_teacher_is_the_moving_average_of_weights_and_statistics():
    mesa, path, _ = train(net(), decay=0.8)
    expected = {name: ref.moving_average([floats[name] for floats in path], 0.8) for name in path[0]}
    torch.testing.assert_close(_floats(mesa.teacher), expected, rtol=1e-12, atol=1e-14)


def test_the_term_is_that_of_the_definition():
    _, _, terms = train(net(), decay=0.8, strength=0.6, tau=2.0)
    for term, z, past in terms:
        torch.testing.assert_close(
            term, 0.6 * ref.divergence(z, past, 2.0), rtol=1e-9, atol=1e-15, check_dtype=False
        )
    assert terms[-1][0] > 0


def test_the_term_counts_from_the_step_it_says():
    _, _, terms = train(net(), decay=0.8, start=4)
    assert [term.item() > 0 for term, _, _ in terms] == [False] * 4 + [True] * 6


def test_asking_the_teacher_leaves_no_trace():
    model = net()
    mesa = MESA().bind(model, torch.optim.SGD(model.parameters(), lr=0.1))
    before = [everything(model), everything(mesa.teacher)]
    mesa(torch.randn(8, 3).double(), torch.ones(8, 4, dtype=torch.float64))
    before[0]["random"] = before[1]["random"] = torch.get_rng_state()
    assert_same([everything(model), everything(mesa.teacher)], before)
    assert not any(module.training for module in mesa.teacher.modules())


def test_asking_the_teacher_draws_no_random_numbers():
    model = net()
    mesa = MESA().bind(model, torch.optim.SGD(model.parameters(), lr=0.1))
    z, before = torch.randn(8, 3).double(), torch.get_rng_state()
    before = torch.get_rng_state()
    mesa(z, torch.ones(8, 4, dtype=torch.float64))
    assert_same(torch.get_rng_state(), before)


def test_frozen_weights_are_shared_and_not_kept():
    model = net(frozen=True)
    mesa, _, _ = train(model, steps=2)
    assert mesa.teacher[0].weight is model[0].weight
    assert mesa.teacher[4].weight is not model[4].weight
    assert "0.weight" not in mesa.state_dict()["teacher"]


def test_inputs_reach_the_teacher_as_they_reach_the_model():
    model = nn.Bilinear(2, 3, 4)
    mesa = MESA().bind(model, torch.optim.SGD(model.parameters(), lr=0.1))
    a, b = torch.ones(5, 2), torch.ones(5, 3)
    for inputs in ((a, b), {"input1": a, "input2": b}):
        assert mesa(model(a, b), inputs).item() == pytest.approx(0, abs=1e-6)


def test_misuse_is_refused_by_words():
    model = net()
    mesa = MESA().bind(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"the model's own, of shape \(8, 3\), got \(8, 2\)"):
        mesa(torch.zeros(8, 2), torch.ones(8, 4, dtype=torch.float64))
    half = nn.Linear(2, 2, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"at least float32, got 'weight' in torch.bfloat16: keep them in float32"):
        MESA().bind(half, torch.optim.SGD(half.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="must fit the model, got one that differs in"):
        mesa.load_state_dict({**mesa.state_dict(), "teacher": {}})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strength": -1}, "strength must be a finite number >= 0, got -1"),
        ({"tau": 0}, "tau must be above 0, got 0"),
        ({"decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
        ({"start": -1}, "start must be at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused_by_words(settings, words):
    with pytest.raises(ValueError, match=words):
        MESA(**settings)
