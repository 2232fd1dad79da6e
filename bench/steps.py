"""What a training step costs: our methods, a plain two-step loop and pytorch_optimizer, side by side in one run.

    make bench            # or: python bench/steps.py --rounds 100 --device cuda

All arms take turns in a drawn order, one step each a round, on one thread; a figure is the minimum and the
lower quartile over the rounds, as a ratio to two bare passes and one optimiser step of the same run. Memory is the
peak of a step beyond a plain step's, in units of the trainable weights.
"""

import argparse
import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytorch_optimizer
import torch
from torch import nn

import lowland
from ledger import Ledger
from lowland.models.mlp import MLP
from lowland.models.resnet import ResNet
from lowland.models.vit import ViT
from lowland.report.table import Table

SETTINGS = {
    "MLP, 1.8M weights, batch 128": (MLP, {"shape": (1, 28, 28), "widths": (1024, 1000)}, 128),
    "ResNet, 0.1M weights, batch 64": (ResNet, {"shape": (3, 32, 32), "depth": 10, "width": 9}, 64),
    "ViT, 0.1M weights, batch 64": (
        ViT,
        {"shape": (3, 32, 32), "depth": 4, "width": 48, "heads": 4, "patch": 4},
        64,
    ),
}

METHODS = {
    "lowland SAM": lowland.SAM(rho=0.05),
    "lowland ASAM": lowland.ASAM(),
    "lowland GSAM": lowland.GSAM(),
    "lowland SAM-ON": lowland.SAMON(),
    "lowland mSAM, m = 32": lowland.MSAM(m=32),
    "lowland USAM": lowland.USAM(),
    "lowland GNP": lowland.GNP(),
    "lowland WSAM": lowland.WSAM(),
    "lowland F-SAM": lowland.FSAM(),
    "lowland VaSSO": lowland.VaSSO(),
    "lowland OBF": lowland.OBF(),
    "lowland BSAM": lowland.BSAM(),
    "lowland ESAM": lowland.ESAM(),
    "lowland K-SAM": lowland.KSAM(),
    "lowland Momentum-SAM": lowland.MomentumSAM(),
    "lowland LookSAM, k = 10": lowland.LookSAM(k=10),
    "lowland SAM every 10th step": lowland.Every(method="sam", k=10),
    "lowland SGD": lowland.SGD(),
}
"""Those worth timing: every kind of arithmetic, and all that skip passes."""


class TwoStepSAM:
    """SAM as most loops have it: a clone, an addition and a pointer swap per parameter."""

    def __init__(self, parameters, base, rho):
        self.parameters, self.base, self.rho, self.old = list(parameters), base, rho, {}

    @torch.no_grad()
    def first_step(self):
        norm = torch.norm(torch.stack([p.grad.norm(p=2) for p in self.parameters]), p=2)
        for p in self.parameters:
            self.old[p] = p.data.clone()
            p.add_(p.grad * (self.rho / (norm + 1e-12)))
        self.base.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for p in self.parameters:
            p.data = self.old[p]
        self.base.step()
        self.base.zero_grad()


@dataclass
class Bench:
    """One network with its batch; makes an arm's step function on a fresh copy."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor

    def bare(self, passes) -> Callable[[], None]:
        model, optimizer = self.fresh()

        def step():
            for _ in range(passes):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(self.x), self.y).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def ours(self, method) -> Callable[[], None]:
        model, optimizer = self.fresh()
        engine = method.bind(model, optimizer=optimizer)

        def step():
            engine.backward(lowland.objective(model, nn.functional.cross_entropy, self.x, self.y))
            optimizer.step()
            optimizer.zero_grad()

        return step

    def two_step(self, build) -> Callable[[], None]:
        model, base = self.fresh()
        optimizer = build(model, base)

        def step():
            nn.functional.cross_entropy(model(self.x), self.y).backward()
            optimizer.first_step()
            nn.functional.cross_entropy(model(self.x), self.y).backward()
            optimizer.second_step()

        return step

    def fresh(self):
        model = copy.deepcopy(self.model)
        return model, torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def arms(self) -> dict[str, Callable[[], None]]:
        arms = {"two passes + step": self.bare(2), "base step": self.bare(1)}
        normed = any(isinstance(module, nn.BatchNorm2d | nn.LayerNorm) for module in self.model.modules())
        arms |= {name: self.ours(m) for name, m in METHODS.items() if normed or not isinstance(m, lowland.SAMON)}
        arms["plain two-step loop"] = self.two_step(lambda m, base: TwoStepSAM(m.parameters(), base, 0.05))
        arms["pytorch_optimizer SAM"] = self.two_step(peer)
        return arms


def peer(model, base):
    optimizer = pytorch_optimizer.SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=1e-3, momentum=0.9)
    first, second = optimizer.first_step, optimizer.second_step
    optimizer.first_step, optimizer.second_step = lambda: first(True), lambda: second(True)
    return optimizer


def clock(step, device) -> float:
    """Seconds of processor time on the CPU, where other processes must not count; wall time elsewhere."""
    if device == "cpu":
        start = time.thread_time()
        step()
        return time.thread_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def times(arms, rounds, device) -> dict[str, np.ndarray]:
    """Seconds of every step, arm by arm; an arm that skips passes is timed over ten steps at once."""
    taken = {name: [] for name in arms}
    draw = random.Random(0)
    for number in range(rounds + 3):
        for name, step in draw.sample(list(arms.items()), len(arms)):  # no arm always follows the same other one
            repeat = getattr(METHODS.get(name), "k", 1)
            if repeat > 1 and (number - 3) % 5:
                continue
            seconds = sum(clock(step, device) for _ in range(repeat)) / repeat
            if number >= 3:
                taken[name].append(seconds)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def peak(step) -> int:
    """Most bytes held at once within a step, beyond what is held between steps."""
    step()
    with Ledger() as ledger:
        step()
    return ledger.peak


def measure(title, rounds, device) -> Table:
    """The table of one network."""
    build, settings, size = SETTINGS[title]
    torch.manual_seed(0)
    model = build(classes=10, **settings).to(device)
    x = torch.randn(size, *settings["shape"], device=device)
    bench = Bench(model, x, torch.randint(10, (size,), device=device))
    taken, memory = times(bench.arms(), rounds, device), {name: peak(step) for name, step in bench.arms().items()}
    counts = {name: method.passes + method.forwards / 3 for name, method in METHODS.items()}
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    low, quartile = ({name: f(t) for name, t in taken.items()} for f in (np.min, lambda t: np.quantile(t, 0.25)))
    rows = [
        {
            "step": name,
            "ms, minimum": f"{1e3 * low[name]:.2f}",
            "/ two passes, minimum": f"{low[name] / low['two passes + step']:.3f}",
            "/ two passes, quartile": f"{quartile[name] / quartile['two passes + step']:.3f}",
            "spread": f"{np.quantile(t, 0.75) / quartile[name] - 1:.1%}",
            "/ base step": f"{low[name] / low['base step']:.3f}",
            "/ own count": own_count(name, low, counts),
            "extra memory / weights": f"{(memory[name] - memory['base step']) / weights:.3f}",
        }
        for name, t in taken.items()
    ]
    heading = f"{title} ({weights // 4:,} weights, {rounds} rounds, {device})"
    return Table(title=heading, columns=tuple(rows[0]), rows=tuple(tuple(row.values()) for row in rows))


def own_count(name, low, counts) -> str:
    """The step's time over what its passes alone would take; a forward pass counts as a third."""
    if name not in counts:
        return ""
    one_pass = low["two passes + step"] - low["base step"]
    return f"{low[name] / (low['base step'] + (counts[name] - 1) * one_pass):.3f}"


def main():
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--network", default="", help="only those whose title begins so, such as MLP")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for title in (each for each in SETTINGS if each.startswith(options.network)):
        table = measure(title, options.rounds, options.device)
        print(f"{table.title}\n\n{table.markdown()}", flush=True)


if __name__ == "__main__":
    main()
