"""What products with curvature cost, and numbers made of them: ours and other libraries', side by side in one run.

    make curvature        # or: python bench/curvature.py --rounds 10 --device cuda

Everything is a ratio to one gradient of the same data in the same run, on one thread: gradient and arms take turns
in a drawn order, and a figure is the ratio of their minima over the rounds. Setting up is making the operator and
its first product. Memory is what tensors take at once beyond what was there before, set-up included, in units of a
gradient's. Errors are those of the worst of the eigenvalues, against ours to 1e-4.

The others are optional: python -m pip install --no-deps --requirement bench/peers.txt
"""

import argparse
import random
import warnings

import numpy as np
import torch
from torch import nn

import peers
from ledger import Ledger
from lowland.estimate.top import top
from lowland.estimate.trace import trace
from lowland.models.mlp import MLP
from lowland.models.resnet import ResNet
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import problem
from lowland.report.table import Table
from steps import clock

NETWORKS = {
    "MLP": (MLP, {"shape": (1, 28, 28), "widths": (450, 300, 100)}),
    "ResNet": (ResNet, {"shape": (3, 32, 32), "depth": 10, "width": 16}),
}
EXAMPLES = {"MLP": (512, 512), "ResNet": (512, 64)}
"""For products, and for numbers: a peer's trace of the ResNet with 512 would take 20 GB."""
LIMITS = {
    "MLP": {"lowland H": 1.6, "lowland G": 1.35, "top-5: lowland": 60, "trace: lowland": 55},
    "ResNet": {"lowland H": 2.5, "lowland G": 1.5, "top-5: lowland": 50, "trace: lowland": 95},
}
TOL, PROBES = 1e-3, 30


class Bench:
    """A network after a few steps on a noisy linear teacher, in eval mode, and the batch."""

    def __init__(self, network, examples, device):
        torch.manual_seed(0)
        build, settings = NETWORKS[network]
        self.model = build(classes=10, **settings).to(device)
        self.x = torch.randn(examples, *settings["shape"], device=device)
        teacher = torch.randn(self.x[0].numel(), 10, device=device)
        noise = torch.randn(examples, 10, device=device)
        self.y = (self.x.flatten(1) @ teacher / teacher.shape[0] ** 0.5 + noise).argmax(1)
        self.train(12)
        self.model.eval()

    def train(self, steps, rate=0.05):
        optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)
        for _ in range(steps):
            self.loss().backward()
            optimizer.step()
            optimizer.zero_grad()

    def loss(self):
        return nn.functional.cross_entropy(self.model(self.x), self.y)

    def gradient(self):
        return torch.autograd.grad(self.loss(), list(self.model.parameters()))

    def hessian(self):
        return hessian(problem(self.model, nn.functional.cross_entropy, (self.x, self.y)))

    def operators(self):
        """For each arm a function that sets an operator up and gives one that multiplies."""
        v = torch.randn(sum(p.numel() for p in self.model.parameters()), device=self.x.device)

        def arm(make):
            A = make(problem(self.model, nn.functional.cross_entropy, (self.x, self.y)))
            return lambda: A @ v

        ours = {"lowland H": hessian, "lowland N": nme, "lowland G": gauss_newton}
        arms = {name: lambda make=make: arm(make) for name, make in ours.items()}
        return arms | peers.operators(self.model, self.x, self.y, v)

    def estimates(self):
        """For each arm a function that gives a number or numbers, setting up included."""
        ours = {
            "top-5: lowland": lambda: top(self.hessian(), 5, tol=TOL).values,
            "trace: lowland": lambda: trace(self.hessian(), PROBES).value,
        }
        return ours | peers.estimates(self.model, self.x, self.y, PROBES, TOL)


def seconds(arms, rounds, device) -> dict[str, float]:
    """The least time of each arm; all take turns, none always after the same other one."""
    least = dict.fromkeys(arms, np.inf)
    draw = random.Random(0)
    for _ in range(rounds):
        for name, step in draw.sample(list(arms.items()), len(arms)):
            least[name] = min(least[name], clock(step, device))
    return least


def peak(step) -> int:
    """The most bytes that tensors take at once within ``step``."""
    with Ledger() as ledger:
        kept = step()
    del kept
    return ledger.peak


def products(bench, network, rounds, device) -> Table:
    """What one product costs, by operator."""
    arms = bench.operators()

    def begin(make):
        multiply = make()
        multiply()
        return multiply

    started, ready = {"gradient": bench.gradient}, {"gradient": bench.gradient}
    for name, make in arms.items():
        ready[name] = begin(make)
        started[name] = lambda make=make: begin(make)
    setup = seconds(started, max(2, rounds // 5), device)
    taken = seconds(ready, rounds, device)
    memory = {name: peak(step) for name, step in started.items()}
    rows = [
        (
            name,
            f"{taken[name] / taken['gradient']:.2f}",
            str(LIMITS[network].get(name, "")),
            f"{setup[name] / setup['gradient']:.1f}",
            f"{memory[name] / memory['gradient']:.1f}",
        )
        for name in ready
    ]
    heading = f"{network}, {len(bench.x)} examples: one product, in gradients of {1e3 * taken['gradient']:.0f} ms"
    return Table(
        title=heading, columns=("operator", "product", "limit", "set-up", "peak memory"), rows=tuple(rows)
    )


def numbers(bench, network, rounds, device) -> Table:
    """What eigenvalues and traces cost."""
    found = {}

    def keep(name, compute):
        def step():
            found[name] = np.sort(np.asarray(compute(), dtype=float).reshape(-1))[::-1]

        return step

    arms = {"gradient": bench.gradient} | {name: keep(name, f) for name, f in bench.estimates().items()}
    taken = seconds(arms, rounds, device)
    taken["gradient"] = min(taken["gradient"], *seconds({"gradient": bench.gradient}, 10, device).values())
    memory = {name: peak(step) for name, step in arms.items()}
    true = np.asarray(top(bench.hessian(), 5, tol=1e-4).values, dtype=float)
    rows = [
        (
            name,
            f"{taken[name] / taken['gradient']:.0f}",
            str(LIMITS[network].get(name, "")),
            f"{np.abs(found[name] / true - 1).max():.0e}" if name.startswith("top-5") else "",
            f"{memory[name] / memory['gradient']:.1f}",
        )
        for name in found
    ]
    heading = (
        f"{network}, {len(bench.x)} examples: five largest eigenvalues to {TOL:g}, trace from {PROBES} probes"
    )
    return Table(title=heading, columns=("what", "gradients", "limit", "error", "peak memory"), rows=tuple(rows))


def counts(bench) -> str:
    """How many products eigenvalues take, cold and from the pair before a training step."""
    five, pairs = top(bench.hessian(), 5, tol=TOL), top(bench.hessian(), 1, tol=TOL)
    said = f"Products with H: {five.products} for five eigenvalues, {pairs.products} for one"
    warm = []
    for _ in range(5):
        bench.train(1)
        pairs = top(bench.hessian(), 1, tol=TOL, warm=pairs)
        warm.append(str(pairs.products))
    return f"{said}, then {', '.join(warm)} after one more step of SGD each (limit 3)."


def main():
    """Print the tables of each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--network", default="", help="only this one, such as MLP")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the peers'
    for network in (each for each in NETWORKS if each.startswith(options.network)):
        for measure, examples, rounds in zip(
            (products, numbers), EXAMPLES[network], (options.rounds, 2), strict=True
        ):
            bench = Bench(network, examples, options.device)
            table = measure(bench, network, rounds, options.device)
            print(f"{table.title}\n\n{table.markdown()}\n", flush=True)
        print(f"{counts(bench)}\n", flush=True)


if __name__ == "__main__":
    main()
