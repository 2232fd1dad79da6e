"""Matrices that a formula gives."""

import pytest
import torch
from torch import nn

from lowland.operators.fisher import fisher
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.nme import nme
from lowland.operators.problem import problem


class Weights(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.w = nn.Parameter(torch.randn(n, dtype=torch.float64))

    def forward(self, x):
        return self.w.expand(len(x), -1)


def same(A, B):
    torch.testing.assert_close(A, B, rtol=1e-12, atol=1e-13)


def test_of_a_quadratic():
    A = torch.randn(4, 4, dtype=torch.float64)
    A = A + A.T
    p = problem(
        Weights(4), lambda w, b: (w @ A * w).sum(1).mean() / 2 - (w * b).mean(), [torch.zeros(2, 2, 4)] * 2
    )
    same(hessian(p).dense(), A)
    same(gauss_newton(p).dense(), A)
    same(nme(p).dense(), torch.zeros_like(A))


def linear(k):
    torch.manual_seed(0)
    x = torch.randn(9, 3, dtype=torch.float64)
    model = nn.Linear(3, k, bias=False, dtype=torch.float64)
    return model, x, (x[:5], x[5:])


def test_of_linear_regression():
    model, x, parts = linear(2)
    p = problem(model, nn.functional.mse_loss, [(part, torch.ones(len(part), 2).double()) for part in parts])
    block = x.T @ x / 9  # 2 / k of the mean over k = 2 outputs
    same(hessian(p).dense(), torch.block_diag(block, block))
    same(
        jacobian(p).dense(),
        torch.cat([torch.kron(part, torch.eye(2)).view(-1, 3, 2).mT.reshape(-1, 6) for part in parts]),
    )


def test_of_logistic_regression():
    model, x, parts = linear(1)
    y = torch.tensor([0.0, 1, 1, 0, 1, 0, 0, 1, 1], dtype=torch.float64)[:, None]
    loss = nn.functional.binary_cross_entropy_with_logits
    p = problem(model, loss, list(zip(parts, (y[:5], y[5:]), strict=True)))
    q = torch.sigmoid(x @ model.weight.detach().T)
    same(hessian(p).dense(), x.T @ (q * (1 - q) * x) / 9)
    same(fisher(p, "empirical").dense(), x.T @ ((q - y) ** 2 * x) / 9)
    same(p.gradient(), (x.T @ (q - y)).flatten() / 9)


def test_of_softmax_regression():
    model, x, parts = linear(3)
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    p = problem(model, nn.functional.cross_entropy, list(zip(parts, (y[:5], y[5:]), strict=True)))
    q = (x @ model.weight.detach().T).softmax(1)
    B = torch.diag_embed(q) - q[:, :, None] * q[:, None, :]
    same(hessian(p).dense(), torch.einsum("nij,nk,nl->ikjl", B, x, x).reshape(9, 9) / 9)


def test_the_gradient_and_loss_of_unequal_batches_are_those_of_all_examples():
    model, x, parts = linear(2)
    y = torch.randn(9, 2, dtype=torch.float64)
    p = problem(model, nn.functional.mse_loss, list(zip(parts, (y[:5], y[5:]), strict=True)))
    loss = nn.functional.mse_loss(model(x), y)
    same(p.gradient(), torch.autograd.grad(loss, model.weight)[0].flatten())
    assert p.mean_loss() == pytest.approx(loss.item(), rel=1e-14)


def test_counts_weigh_the_batches():
    model, _, parts = linear(2)
    data = [(part, torch.zeros(len(part), 2).double()) for part in parts]
    alone = [hessian(problem(model, nn.functional.mse_loss, [batch])).dense() for batch in data]
    H = hessian(problem(model, nn.functional.mse_loss, data, count=lambda x, y: 1)).dense()
    same(H, (alone[0] + alone[1]) / 2)
