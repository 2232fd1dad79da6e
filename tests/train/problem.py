"""A small training problem with everything that makes resuming hard, shared by the tests of the loop."""

import signal
from functools import cache

import torch
from torch import nn

from lowland.data.augment import Augment
from lowland.data.batches import Batches
from lowland.data.dataset import Split
from lowland.train.fit import fit
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe

EPOCHS = 3
PER_EPOCH = 7

RECIPES = {
    "sgd, momentum, cosine": Recipe(epochs=EPOCHS),
    "sam, warm-up, decay": Recipe(method="sam:rho=0.05", warmup=0.2, weight_decay=1e-3, epochs=EPOCHS),
    "adamw, clipped": Recipe(method="gsam", optimizer="adamw", learning_rate=0.01, clip=0.5, epochs=EPOCHS),
    "each micro-batch": Recipe(method="sam:rho=0.05", accumulate=3, epochs=EPOCHS),
    "micro-batches together": Recipe(method="sam", accumulate=3, ascend="together", epochs=EPOCHS),
    "m-sharpness, adam": Recipe(method="msam:m=4", optimizer="adam", learning_rate=0.01, epochs=EPOCHS),
    "bf16": Recipe(method="sam:rho=0.05", amp="bf16", schedule="steps", epochs=EPOCHS),
    "fp16, scaled, clipped": Recipe(method="sam", amp="fp16", clip=1.0, accumulate=2, epochs=EPOCHS),
    "sam on some steps": Recipe(method="every:method=sam,k=3", epochs=EPOCHS),
}


def split(n=108):
    draw = torch.Generator().manual_seed(7)
    x = torch.randn(n, 1, 6, 6, generator=draw)
    return Split(x, (2 * x.mean((1, 2, 3)) * 6).round().long().clamp(-1, 1) + 1)


def batches(size=16, seed=3):
    """Seven batches, the last one smaller, augmented."""
    return Batches(split(), size, seed=seed, augment=Augment(padding=1))


def model(seed=0, width=4):
    """With batch norm and dropout."""
    torch.manual_seed(seed)
    body = [nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(16 * width, 3))


def trained(recipe, source=None, seed=0, parts=None, **settings):
    """A model trained from ``seed``, and its history."""
    net = model(seed)
    own = parts(net) if parts else None
    return net, fit(net, source or batches(), recipe, progress=False, parts=own, **settings)


def own_parts(net):
    """An optimiser with two groups, stepped by the epoch."""
    groups = [
        {"params": net[0].parameters(), "lr": 0.05},
        {"params": [*net[1].parameters(), *net[5].parameters()]},
    ]
    optimizer = torch.optim.NAdam(groups, lr=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    return Parts(optimizer=optimizer, scheduler=scheduler, scheduler_every="epoch")


@cache
def whole(name):
    """The same for one of the recipes, uninterrupted; trained once."""
    return trained(RECIPES[name])


class Stopping:
    """Batches that raise, or press Ctrl-C, when the one numbered ``at`` (in all epochs) is drawn."""

    def __init__(self, at, error=None, inner=None):
        self.inner, self.at, self.error = inner or batches(), at, error

    def __len__(self):
        return len(self.inner)

    def epoch(self, k, start=0):
        for i, batch in enumerate(self.inner.epoch(k, start), start):
            if k * len(self) + i == self.at:
                self.stop()
            yield batch

    def stop(self):
        if self.error is not None:
            raise self.error
        signal.raise_signal(signal.SIGINT)


def assert_same_training(one, other):
    """The same weights, buffers and rows, bit for bit."""
    (net, history), (net2, history2) = one, other
    for (name, a), (name2, b) in zip(net.state_dict().items(), net2.state_dict().items(), strict=True):
        assert name == name2
        assert torch.equal(a, b), name
    assert history.rows == history2.rows
