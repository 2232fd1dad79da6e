"""What is kept between products: no more than allowed, given back, and thrown away when the weights change."""

import gc

import pytest
import torch
from torch import nn

from ledger import Ledger
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.memory import bytes_of, readable, saved
from lowland.operators.nme import nme
from lowland.operators.problem import problem
from operators.networks import case

MAKES = [hessian, gauss_newton, nme, jacobian]


def of(memory="1 GB"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 3)).double()
    data = [(torch.randn(n, 5, dtype=torch.float64), torch.randint(3, (n,))) for n in (30, 50, 40, 20)]
    return problem(model, nn.functional.cross_entropy, data, memory=memory)


def vector(A):
    return torch.randn(A.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", MAKES)
def test_less_memory_gives_the_same_product_and_keeps_no_more_than_allowed(make):
    A = make(of())
    expected, full = A @ vector(A), A.problem.budget.held
    for share in (0.8, 0.4, 0.3):
        B = make(of(share * full))
        for _ in range(3):
            torch.testing.assert_close(B @ vector(B), expected, rtol=1e-13, atol=1e-15)
            assert 0 < B.problem.budget.held <= share * full
        assert 0 < B.kept < 4


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("name", ["residual, batch norm", "attention, train", "lstm"])
def test_what_is_counted_is_what_tensors_take(make, name):
    found = case(name)
    p = found.problem(check=False)
    A = make(p)
    with Ledger() as ledger:
        product = A @ vector(A)
        taken = ledger.held - product.untyped_storage().nbytes()
    data = sum(x.nbytes + y.nbytes for x, y in found.data)  # counted too, as a loader's would be
    assert 0.99 * taken <= p.budget.held <= 1.01 * taken + data


def test_two_operators_of_one_problem_share_its_memory():
    p = of()
    H, G = hessian(p), gauss_newton(p)
    H @ vector(H)
    first = p.budget.held
    G @ vector(G)
    assert (H.kept, G.kept) == (4, 4)
    del G
    assert p.budget.held == first
    del H
    assert p.budget.held == 0


@pytest.mark.parametrize("make", MAKES)
def test_graphs_are_freed_with_the_operator_at_once(make):
    p = of()
    gc.collect()
    gc.disable()
    try:
        A = make(p)
        A @ vector(A)
        del A
        assert p.budget.held == 0
        with saved([]) as nothing:
            pass
        assert nothing.bytes == 0
    finally:
        gc.enable()


def change_by_step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()


def change_by_loading(model):
    model.load_state_dict({name: 2 * t for name, t in model.state_dict().items()})


def change_by_data(model):
    model[0].weight.data.mul_(1.5)


def change_by_pointing(model):
    model[0].bias.data = model[0].bias.data + 1


@pytest.mark.parametrize("memory", ["1 GB", "50 KB"])
@pytest.mark.parametrize("change", [change_by_step, change_by_loading, change_by_data, change_by_pointing])
@pytest.mark.parametrize("make", MAKES)
def test_changed_weights_are_noticed(make, change, memory):
    p = of(memory)
    A = make(p)
    before = A @ vector(A)
    A @ vector(A)
    change(p.model)
    fresh = make(p)
    torch.testing.assert_close(A @ vector(A), fresh @ vector(A), rtol=1e-13, atol=1e-15)
    assert (A @ vector(A) - before).norm() > 1e-3 * before.norm()


def test_changed_batch_norm_statistics_are_noticed():
    found = case("residual, batch norm")
    H = hessian(found.problem())
    before = H @ vector(H)
    found.model.train()(found.data[0][0])
    torch.testing.assert_close(H @ vector(H), hessian(found.problem()) @ vector(H), rtol=1e-13, atol=1e-15)
    assert (H @ vector(H) - before).norm() > 1e-6 * before.norm()


class Buffered(nn.Module):
    """Buffers of all kinds in the way from inputs to outputs."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.register_buffer("shift", torch.tensor([1.0, -2.0, 0.5]))
        self.register_buffer("turn", torch.tensor([2, 0, 1]))
        self.register_buffer("mask", torch.tensor([True, False, True]), persistent=False)
        self.register_buffer("phase", torch.tensor([1.0 + 1j, 2.0, 1j]))

    def forward(self, x):
        return self.inner(((x + self.shift + self.phase.imag) * self.mask)[:, self.turn])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("shift", lambda t: t.add_(3)),
        ("shift", lambda t: t.neg_()),
        ("turn", lambda t: t.copy_(torch.tensor([0, 0, 1]))),
        ("mask", lambda t: t.fill_(True)),
        ("phase", lambda t: t.mul_(2)),
    ],
)
def test_buffers_changed_behind_the_counter_are_noticed(name, change):
    torch.manual_seed(0)
    model, data = Buffered(), (torch.randn(6, 3), torch.arange(6) % 2)
    H = hessian(problem(model, nn.functional.cross_entropy, data))
    before = H @ torch.ones(8)
    change(model.get_buffer(name).data)
    after = hessian(problem(model, nn.functional.cross_entropy, data)) @ torch.ones(8)
    assert torch.equal(H @ torch.ones(8), after)
    assert not torch.equal(after, before)


def test_a_buffer_that_was_made_in_inference_mode_is_no_hindrance():
    model, data = Buffered(), (torch.randn(6, 3), torch.arange(6) % 2)
    expected = hessian(problem(model, nn.functional.cross_entropy, data)) @ torch.ones(8)
    with torch.inference_mode():
        model.mask = model.mask.clone()
    H = hessian(problem(model, nn.functional.cross_entropy, data))
    assert torch.equal(H @ torch.ones(8), expected)
    assert torch.equal(H @ torch.ones(8), expected)


@pytest.mark.parametrize(
    ("amount", "expected"), [("2 GB", 2e9), ("1.5mb", 1.5e6), (" 3 b ", 3), (7, 7), (2.5, 2.5)]
)
def test_amounts_are_read(amount, expected):
    assert bytes_of(amount) == expected


@pytest.mark.parametrize(
    ("amount", "expected"), [(3, "3 B"), (2.14e9, "2.14 GB"), (5.5e12, "5.5 TB"), (1000, "1 KB")]
)
def test_amounts_are_readable(amount, expected):
    assert readable(amount) == expected


def test_what_was_changed_in_place_is_refused_though_hooks_are_on():
    w = torch.ones(3, requires_grad=True)
    with saved([]):
        y = w.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="needed for the way back was changed by an operation in place"):
        y.sum().backward()
