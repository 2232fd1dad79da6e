"""The README's diffs as code before and after the change, and what SAM is, by hand."""

import re
from pathlib import Path

import torch
from torch import nn

import lowland

README = Path(__file__).parent.parent.parent / "README.md"
BLOCKS = re.findall(r"```diff\n(.*?)```", README.read_text(), re.DOTALL)
PLAIN, PRECISION, PROCESSES, LIGHTNING, TRANSFORMERS = range(5)


def before(number):
    """The user's own code."""
    return "\n".join(line[2:] for line in BLOCKS[number].splitlines() if not line.startswith("+"))


def after(number):
    """The same with the change."""
    return "\n".join(line[2:] for line in BLOCKS[number].splitlines() if not line.startswith("-"))


def problem(share=slice(None)):
    """What the code finds; ``share`` is a process's part of every batch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    draw = torch.Generator().manual_seed(1)
    pairs = [(torch.randn(16, 10, generator=draw), torch.randint(3, (16,), generator=draw)) for _ in range(6)]
    return {
        "torch": torch,
        "lowland": lowland,
        "model": model,
        "loader": [(x[share], y[share]) for x, y in pairs],
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "criterion": nn.CrossEntropyLoss(),
        "device": "cpu",
    }


def run(code, found):
    """The weights after the code."""
    exec(compile(code, "README.md", "exec"), found)
    return [p.detach().clone() for p in found["model"].parameters()]


def plain(model, loss):
    """Fill .grad with the gradient."""
    loss().backward()


def sam(model, loss, rho=0.05):
    """Fill .grad with SAM's gradient, without an engine."""
    own, old = [p.grad for p in model.parameters()], [p.detach().clone() for p in model.parameters()]
    gradients = torch.autograd.grad(loss(), list(model.parameters()))
    length = torch.cat([g.reshape(-1) for g in gradients]).norm()
    for p, g in zip(model.parameters(), gradients, strict=True):
        p.data.add_(rho * g / length)
    beside = torch.autograd.grad(loss(), list(model.parameters()))
    for p, w, g, before in zip(model.parameters(), old, beside, own, strict=True):
        p.data.copy_(w)
        p.grad = g if before is None else before + g


def by_hand(gradient, every=1, clip=None, shares=(slice(None),)):
    """The weights after a loop in one process; gradients of ``shares`` of every batch are averaged."""
    found = problem()
    model, optimizer, criterion = found["model"], found["optimizer"], found["criterion"]
    for step, (x, y) in enumerate(found["loader"]):
        for one in shares:
            gradient(model, lambda x=x[one], y=y[one]: criterion(model(x), y) / every / len(shares))
        if step % every == every - 1:
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return [p.detach() for p in model.parameters()]


def near(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
