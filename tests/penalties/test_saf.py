"""SAF compares with the outputs of as many epochs ago as it says."""

import pytest
import torch
from torch import nn

import lowland
from lowland.penalties.saf import SAF
from references import penalties as ref

EXAMPLES, CLASSES = 12, 3


def net():
    torch.manual_seed(0)
    return nn.Linear(4, CLASSES).double()


def epochs(count):
    """Shuffled batches of sample numbers, epoch by epoch."""
    draw = torch.Generator().manual_seed(1)
    for epoch in range(count):
        for indices in torch.randperm(EXAMPLES, generator=draw).split(5):
            yield epoch, indices


def bound(dtype=torch.float64, lr=0.0, **settings):
    """A term, the optimiser whose steps it follows, and the model."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return SAF(dtype=dtype, **settings).bind(model, optimizer, examples=EXAMPLES), optimizer, model


@pytest.mark.parametrize(("lag", "start"), [(1, 0), (2, 0), (3, 5)])
@pytest.mark.parametrize("method", [lowland.SGD(), lowland.SAM(rho=0.3)], ids=["sgd", "sam"])
def test_follows_the_definition(lag, start, method):
    torch.manual_seed(2)
    x, memory = torch.randn(EXAMPLES, 4, dtype=torch.float64), {}
    saf, optimizer, model = bound(lr=0.2, strength=0.7, tau=2.0, lag=lag, start=start)
    engine = method.bind(model)
    for epoch, indices in epochs(8):
        seen = []

        def closure(indices=indices, seen=seen):
            z = model(x[indices])
            seen.append((z.detach(), saf(z, indices)))
            return z.square().mean() + seen[-1][1]

        engine.backward(closure)
        optimizer.step(), optimizer.zero_grad()
        for z, term in seen[::-1]:  # the first pass is the one that is remembered
            expected = 0.7 * ref.trajectory(memory, z, indices, epoch, lag, tau=2.0) if epoch >= start else 0.0
            assert term.item() == pytest.approx(float(expected), rel=1e-9, abs=1e-15)
        ref.trajectory(memory, seen[0][0], indices, epoch, lag, tau=2.0)
    assert term.item() > 0


def test_its_gradient_is_that_of_the_definition():
    saf, optimizer, _ = bound(lag=1, start=0, strength=1.0, tau=3.0)
    past = torch.randn(4, CLASSES, dtype=torch.float64)
    z = torch.randn(4, CLASSES, dtype=torch.float64, requires_grad=True)
    saf(past, torch.arange(4))
    optimizer.step()
    (ours,) = torch.autograd.grad(saf(z, torch.arange(4)), z)
    (plain,) = torch.autograd.grad(ref.divergence(z, past, 3.0), z)
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)


def test_a_sample_with_too_short_a_past_adds_nothing():
    saf, optimizer, _ = bound(lag=1, start=0, strength=1.0)
    z = torch.randn(4, CLASSES, dtype=torch.float64)
    assert saf(z[:2], torch.tensor([0, 1])) == 0
    optimizer.step()
    both, known = saf(2 * z, torch.arange(4)), ref.divergence(2 * z[:2], z[:2], 5.0)
    torch.testing.assert_close(both, known * 2 / 4, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_logits_of_any_size_give_a_finite_term_and_gradient(dtype):
    saf, optimizer, _ = bound(dtype, lag=1, start=0)
    z = torch.tensor([[1e6, -1e6, 0.0], [1e30, 0.0, 1.0]])
    for now in (z, z.flip(1)):
        now.requires_grad_()
        term = saf(now, torch.arange(2))
        assert torch.isfinite(term)
        assert torch.isfinite(torch.autograd.grad(term, now)[0]).all()
        optimizer.step()


def test_outputs_that_were_not_finite_are_no_past():
    saf, optimizer, _ = bound(lag=1, start=0)
    saf(torch.full((1, CLASSES), torch.nan, dtype=torch.float64), torch.tensor([0]))
    optimizer.step()
    z = torch.randn(1, CLASSES, dtype=torch.float64, requires_grad=True)
    term = saf(z, torch.tensor([0]))
    term.backward()
    assert (term.item(), z.grad.abs().sum().item()) == (0, 0)


def test_half_precision_memory_changes_little_and_halves_the_table():
    terms, sizes = [], []
    for dtype in (torch.float32, torch.float16):
        saf, optimizer, _ = bound(dtype, lag=2, start=0)
        for scale in (1.0, 2.0, 3.0):
            torch.manual_seed(0)
            term = saf(scale * 5 * torch.randn(EXAMPLES, CLASSES), torch.arange(EXAMPLES))
            optimizer.step()
        terms.append(term.item())
        sizes.append(saf.state_dict()["past"]["outputs"].nbytes)
    assert terms[1] == pytest.approx(terms[0], rel=0.01)
    assert sizes == [(2 + 1) * EXAMPLES * CLASSES * size for size in (4, 2)]


def test_wrong_calls_are_refused_by_words():
    saf, _, model = bound()
    with pytest.raises(ValueError, match="must train parameters of the model, got one that trains none"):
        SAF().bind(model, torch.optim.SGD(net().parameters()), examples=EXAMPLES)
    with pytest.raises(ValueError, match="examples must be at least 1, got 0"):
        SAF().bind(model, torch.optim.SGD(model.parameters()), examples=0)
    z, rows = torch.zeros(2, CLASSES), torch.arange(2)
    with pytest.raises(ValueError, match=r"shape \(n, k\) and indices \(n,\), got \(2, 3\) and \(3,\)"):
        saf(z, torch.arange(3))
    with pytest.raises(ValueError, match=r"indices must be from 0 to below 12, got \[0, 12\]"):
        saf(z, torch.tensor([0, 12]))
    saf(z, rows)
    with pytest.raises(ValueError, match="as many classes as before, 3, got 4"):
        saf(torch.zeros(2, 4), rows)


def test_the_memory_of_another_data_set_is_refused_by_words():
    saf, optimizer, model = bound(lag=2)
    saf(torch.zeros(2, CLASSES), torch.arange(2))
    other = SAF(lag=3).bind(model, optimizer, examples=9)
    with pytest.raises(ValueError, match=r"of 9 examples and lag 3, got outputs of shape \(12, 3, 3\)"):
        other.load_state_dict(saf.state_dict())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strength": -1}, "strength must be a finite number >= 0, got -1"),
        ({"tau": 0}, "tau must be above 0, got 0"),
        ({"lag": 0}, "lag must be at least 1, got 0"),
        ({"start": -1}, "start must be at least 0, got -1"),
        ({"dtype": torch.int32}, "dtype must be a floating one, such as torch.float16, got torch.int32"),
    ],
)
def test_wrong_settings_are_refused_by_words(settings, words):
    with pytest.raises(ValueError, match=words):
        SAF(**settings)
