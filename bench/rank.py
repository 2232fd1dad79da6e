"""What the feature rank of four layers costs: ours, a plain forward pass, and one pass for each layer, in one run.

    python bench/rank.py                    # or: --rounds 5 --images 2048 --setting ViT
    python bench/rank.py --memory           # peak memory for 1,000 and for 60,000 images

The arms take turns in a drawn order on one thread; a figure is the minimum and the median over the rounds, as a
ratio to a plain forward pass over the same images in the same run. The arm with a pass for each layer hooks one
layer at a time, keeps its features and decomposes them at the end, as most released code does; it takes part in
the first two rounds. Memory is the peak of tensors beyond the weights, over images made as they are needed.
"""

import argparse
import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import lowland
from ledger import Ledger
from lowland.measurements.feature_rank import FeatureRank
from lowland.models.resnet import ResNet
from lowland.models.vit import ViT
from lowland.observe.pooled import pooled
from lowland.report.table import Table

SHAPE, BATCH = (3, 32, 32), 64
STAGES, BLOCKS = ("stage1", "stage2", "stage3", "last"), ("blocks.0", "blocks.1", "blocks.2", "blocks.3")
RESNET = ResNet, {"depth": 10, "width": 16}
DEEPER = ResNet, {"depth": 18, "width": 32}
VIT = ViT, {"depth": 4, "width": 64, "heads": 4, "patch": 4}
PEER = "a pass for each layer"

SETTINGS = {
    "ResNet, mean over positions": (*RESNET, FeatureRank(layers=STAGES, pool="mean")),
    "ResNet, flattened, sketched to 512": (*RESNET, FeatureRank(layers=STAGES, limit=512)),
    "ViT, class token": (*VIT, FeatureRank(layers=BLOCKS, pool="first")),
    "ViT, every token a row": (*VIT, FeatureRank(layers=BLOCKS, pool="tokens")),
    "ViT, flattened, sketched to 512": (*VIT, FeatureRank(layers=BLOCKS, limit=512)),
    "ResNet-18, flattened, sketched to 512": (*DEEPER, FeatureRank(layers=STAGES, limit=512)),
    "ResNet, flattened, exact": (*RESNET, FeatureRank(layers=STAGES)),
}
"""Network, its size, and what is measured. Reading every number of four wide layers, as sketches must, is no small
thing beside the passes of a small network; and the last setting decomposes matrices with a side as long as there
are images, which costs more than all the passes, however the features are collected."""


class Images:
    """Batches of noise with labels, each made when it is asked for, or all once and for all."""

    def __init__(self, count, kept):
        self.indices = range(count // BATCH)
        self.kept = [self.batch(index) for index in self.indices] if kept else None

    def batch(self, index):
        draw = torch.Generator().manual_seed(index)
        return torch.randn(BATCH, *SHAPE, generator=draw), torch.arange(BATCH) % 10

    def __iter__(self):
        return iter(self.kept) if self.kept else map(self.batch, self.indices)


@dataclass
class Ways:
    """The ways to go over the same images."""

    model: nn.Module
    measurement: FeatureRank
    images: Images

    @torch.no_grad()
    def plain(self):
        for x, _ in self.images:
            self.model(x)

    def ours(self):
        return lowland.measure(self.model, None, self.images, self.measurement)

    def by_layer(self):
        for layer in self.measurement.layers:
            kept = []
            hook = self.model.get_submodule(layer).register_forward_hook(
                lambda module, args, output, kept=kept: kept.append(pooled(output, self.measurement.pool).clone())
            )
            self.plain()
            hook.remove()
            rows = torch.cat(kept)
            torch.linalg.svdvals(rows - rows.mean(0))

    def times(self, rounds) -> dict[str, np.ndarray]:
        """Seconds of processor time, way by way, after one round to warm up."""
        ways = {"plain forward": self.plain, "lowland, one pass": self.ours, PEER: self.by_layer}
        taken = {name: [] for name in ways}
        draw = random.Random(0)
        for number in range(rounds + 1):
            for name, way in draw.sample(list(ways.items()), len(ways)):
                if name == PEER and number not in (1, 2):
                    continue
                start = time.thread_time()
                way()
                if number:
                    taken[name].append(time.thread_time() - start)
        return {name: np.array(seconds) for name, seconds in taken.items()}


def ways(title, count, kept) -> Ways:
    network, size, measurement = SETTINGS[title]
    torch.manual_seed(0)
    return Ways(network(SHAPE, 10, **size).eval(), measurement, Images(count, kept))


def time_table(title, rounds, count) -> Table:
    """The table of one setting."""
    way = ways(title, count, kept=True)
    taken = way.times(rounds)
    low, middle = ({name: f(t) for name, t in taken.items()} for f in (np.min, np.median))
    plain = "plain forward"
    rows = [
        (
            name,
            f"{low[name]:.2f}",
            f"{low[name] / low[plain]:.3f}",
            f"{middle[name] / middle[plain]:.3f}",
            f"{np.ptp(t) / low[name]:.1%}",
        )
        for name, t in taken.items()
    ]
    weights = sum(p.numel() for p in way.model.parameters())
    heading = f"{title} ({weights:,} weights, 4 layers, {count} images, {rounds} rounds)"
    columns = ("way", "s, minimum", "/ plain, minimum", "/ plain, median", "spread")
    return Table(title=heading, columns=columns, rows=tuple(rows))


def memory_table(title, counts) -> Table:
    """Peak memory of a plain pass and of ours, beside what keeping the features would take."""
    seen = [r.settings for r in ways(title, BATCH, kept=False).ours() if r.name == "feature_rank"]
    numbers = sum(each["rows"] * each["width"] for each in seen) / BATCH
    rows = []
    for count in counts:
        way = ways(title, count, kept=False)
        bytes_each = (peak(way.plain), peak(way.ours), 4 * numbers * count)
        rows.append((f"{count:,}", *(f"{each / 2**20:.0f}" for each in bytes_each)))
    columns = ("images", "plain forward, MiB", "lowland, MiB", "all features, MiB")
    return Table(title=f"{title}: peak memory", columns=columns, rows=tuple(rows))


def peak(way) -> int:
    with Ledger() as ledger:
        way()
    return ledger.peak


def main():
    """Print a table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--setting", default="", help="only those whose title begins so, such as ViT")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for title in (each for each in SETTINGS if each.startswith(options.setting)):
        if options.memory:
            table = memory_table(title, (1000, 60000))
        else:
            table = time_table(title, options.rounds, options.images)
        print(f"{table.title}\n\n{table.markdown()}", flush=True)


if __name__ == "__main__":
    main()
