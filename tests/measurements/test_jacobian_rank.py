import pytest
import torch
from torch import nn

from lowland.measurements.jacobian_rank import JacobianRank
from lowland.observe.ranks import stable_rank
from lowland.operators.jacobian import jacobian
from lowland.operators.problem import problem


class Diagonal(nn.Module):
    """A diagonal linear network, <u * v, x>."""

    def __init__(self, u, v):
        super().__init__()
        self.u, self.v = nn.Parameter(u), nn.Parameter(v)

    def forward(self, x):
        return x @ (self.u * self.v)


def net(n=12, batch=5, **how):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(n, 4, dtype=torch.float64), torch.arange(n) % 3
    return problem(
        model, nn.functional.cross_entropy, list(zip(x.split(batch), y.split(batch), strict=True)), **how
    )


def read(p, **fields):
    return {reading.name: reading.value for reading in JacobianRank(**fields).read(p)}


def test_of_a_linear_model_is_the_rank_of_its_inputs_once_for_each_output():
    x = torch.randn(20, 3, dtype=torch.float64) @ torch.randn(3, 8, dtype=torch.float64)
    p = problem(nn.Linear(8, 2, bias=False).double(), nn.functional.cross_entropy, (x, torch.arange(20) % 2))
    sigma = torch.linalg.svdvals(torch.kron(x, torch.eye(2, dtype=torch.float64)))
    found = read(p)
    assert found["jacobian_rank"] == 6
    assert found["jacobian_stable_rank"] == pytest.approx(stable_rank(sigma), rel=1e-9)


def test_of_a_diagonal_network_is_at_most_the_number_of_inputs_it_uses():
    u = torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    x, y = torch.randn(9, 5, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    p = problem(Diagonal(u, u.clone()), nn.functional.mse_loss, (x, y))
    assert read(p)["jacobian_rank"] == 2


def test_are_those_of_the_whole_matrix():
    p = net()
    sigma = torch.linalg.svdvals(jacobian(p).dense())
    q = sigma / sigma.sum()
    found = read(p)
    assert found["jacobian_rank"] == (sigma > 1e-4 * sigma[0]).sum()
    assert found["jacobian_effective_rank"] == pytest.approx((-(q * q.log()).sum()).exp().item(), rel=1e-6)
    assert found["jacobian_stable_rank"] == pytest.approx((sigma.square().sum() / sigma[0] ** 2).item(), rel=1e-9)


def test_memory_does_not_matter():
    whole = net()
    rows = {"memory": 2 * 4 * 3 * 8 * whole.size}
    pieces = problem(whole.model, whole.loss, [(b.inputs, b.targets) for b in whole.batches], **rows)
    assert read(pieces) == pytest.approx(read(whole), rel=1e-9)


def test_only_the_first_examples_count_and_all_of_them_where_they_are_fewer():
    p = net()
    assert JacobianRank(examples=2).read(p)[0].settings["rows"] == 6
    assert JacobianRank(examples=99).read(p)[0].settings["examples"] == 12


def test_a_kernel_too_large_is_refused_by_words():
    with pytest.raises(
        ValueError, match=r"12 examples with 3 outputs each must have at most 20 rows, got 36: take 6"
    ):
        read(net(), limit=20)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"examples": 0}, r"examples must be at least 1, got 0"),
        ({"tol": 0.0}, r"tol must be in \(0, 1\), got 0.0"),
        ({"limit": 0}, r"limit must be at least 1, got 0"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        JacobianRank(**fields)
