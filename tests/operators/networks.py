"""Small float64 networks of every kind with a loss and three unequal batches, and their matrices, plainly."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd import functional
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from lowland.operators.problem import problem
from lowland.seeds import derive

SIZES = (4, 7, 2)


class Residual(nn.Module):
    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.norm1, self.norm2 = norm(2), norm(2)
        self.conv = nn.Conv2d(2, 2, 3, padding="same", groups=2)
        self.down = nn.Conv2d(2, 3, 2, stride=2, dilation=2)
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.conv(torch.relu_(self.norm1(x)))
        return self.head(torch.tanh(self.down(self.norm2(x))).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 3, batch_first=True)
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.mix = nn.Embedding(5, 4), nn.Linear(4, 4)
        self.out = nn.Linear(4, 5, bias=False)
        self.out.weight = self.words.weight
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.out(torch.tanh(self.mix(self.words(x).mean(1))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class Sequences(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3, affine=False)
        self.back = nn.ConvTranspose1d(3, 2, 2)
        self.volume = nn.Conv3d(1, 2, (1, 2, 2))

    def forward(self, x):
        x = self.back(torch.tanh(self.norm(self.conv(x))))
        return self.volume(x[:, None, :, None].expand(-1, -1, -1, 2, -1)).mean((2, 3))[:, :, 0].tanh()


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 1)

    def forward(self, x):
        return {"mean": torch.tanh(self.a(x)), "rest": (self.b(x).sin(), None)}


def mlp(out=3):
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace=True), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, out))


def group_norm(channels):
    return nn.GroupNorm(1, channels)


def both(outputs, y):
    return (outputs["mean"] - y).square().mean() + outputs["rest"][0].exp().mean()


def log_cosh(z, y):
    return (z - y).cosh().log().sum(1).mean()


def images(n):
    return torch.randn(n, 1, 5, 5)


def rows(n):
    return torch.randn(n, 3)


def series(n):
    return torch.randn(n, 4, 3)


def signals(n):
    return torch.randn(n, 2, 6)


def tokens(n):
    return torch.randint(5, (n, 3))


def letters(n):
    return torch.randn(n, 3, 4)


def classes(n):
    return torch.randint(3, (n,))


def coins(n):
    return torch.randint(2, (n, 2)).double()


def pairs(n):
    return torch.randn(n, 2)


CE, MSE, BCE = nn.functional.cross_entropy, nn.functional.mse_loss, nn.functional.binary_cross_entropy_with_logits

NETWORKS = {
    "mlp, cross-entropy": (mlp, CE, rows, classes),
    "mlp, squared error": (lambda: mlp(2), MSE, rows, pairs),
    "mlp, binary cross-entropy": (lambda: mlp(2), BCE, rows, coins),
    "mlp, own loss": (lambda: mlp(2), log_cosh, rows, pairs),
    "residual, batch norm": (Residual, CE, images, classes),
    "residual, batch norm, train": (Residual, CE, images, classes),
    "residual, group norm": (lambda: Residual(group_norm), CE, images, classes),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 3)),
        CE,
        rows,
        classes,
    ),
    "attention": (Attention, CE, letters, classes),
    "attention, train": (Attention, CE, letters, classes),
    "lstm": (Recurrent, CE, series, classes),
    "tied": (Tied, CE, tokens, lambda n: torch.randint(5, (n,))),
    "signals": (Sequences, MSE, signals, pairs),
    "two outputs": (Two, both, rows, pairs),
}


@dataclass
class Case:
    model: nn.Module
    loss: Any
    data: list
    mode: str = "eval"

    def problem(self, **how):
        return problem(self.model, self.loss, self.data, **{"mode": self.mode} | how)

    def hessian(self):
        """By differentiating all of the loss twice, through the operations that the user wrote."""
        return self._mean(lambda x, y: functional.hessian(lambda w: self.loss(self._outputs(w, x), y), self.w))

    def gauss_newton(self):
        """The outputs' Jacobian, times the loss's Hessian in them, times the Jacobian."""

        def one(x, y):
            J = functional.jacobian(lambda w: flat(self._outputs(w, x)), self.w)
            given = self._outputs(self.w, x)
            B = functional.hessian(lambda z: self.loss(shaped(z, given), y), flat(given).detach())
            return J.T @ B @ J

        return self._mean(one)

    def jacobian(self):
        pieces = []
        for i, (x, _) in enumerate(self.data):
            self.index = i
            pieces.append(functional.jacobian(lambda w, x=x: flat(self._outputs(w, x)), self.w))
        return torch.cat(pieces)

    @property
    def w(self):
        return torch.cat([p.detach().flatten() for p in self._parameters().values()])

    def _parameters(self):
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _outputs(self, w, x):
        parameters, buffers = self._parameters(), {n: b.clone() for n, b in self.model.named_buffers()}
        parts = w.split([p.numel() for p in parameters.values()])
        named = {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}
        torch.manual_seed(derive(0, "problem", self.index))
        with sdpa_kernel(SDPBackend.MATH):
            return functional_call(self.model.train(self.mode == "train"), named | buffers, (x,))

    def _mean(self, one):
        total = 0
        for i, (x, y) in enumerate(self.data):
            self.index = i
            total = total + len(x) * one(x, y)
        return total / sum(len(x) for x, _ in self.data)


def flat(outputs):
    if isinstance(outputs, torch.Tensor):
        return outputs.flatten()
    return torch.cat([outputs["mean"].flatten(), outputs["rest"][0].flatten()])


def shaped(z, like):
    if isinstance(like, torch.Tensor):
        return z.view_as(like)
    n = like["mean"].numel()
    return {"mean": z[:n].view_as(like["mean"]), "rest": (z[n:].view_as(like["rest"][0]), None)}


def case(name, sizes=SIZES):
    """The network after its batch norms have seen something, and its data."""
    torch.manual_seed(1)
    build, loss, inputs, targets = NETWORKS[name]
    model = build().double()
    draw = [(inputs(n), targets(n)) for n in sizes]
    data = [
        (x.double() if x.is_floating_point() else x, y.double() if y.is_floating_point() else y) for x, y in draw
    ]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
        model.train()(torch.cat([x for x, _ in data]))
    return Case(model, loss, data, "train" if name.endswith("train") else "eval")
