"""The loop that every host must equal, and what is trained in it."""

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lowland

COUNT, SIZE = 7, 6
SETTINGS = {
    "plain": {},
    "clip": {"clip": 0.1},
    "accumulate": {"accumulate": 3},
    "both": {"accumulate": 3, "clip": 0.1},
    "schedule": {"scheduled": True},
    "all": {"accumulate": 3, "clip": 0.1, "scheduled": True},
}
METHODS = [lowland.SAM(rho=0.1), lowland.GSAM(rho=0.1, alpha=0.3)]


class Net(nn.Module):
    """Batch norm and dropout; called with a batch it gives the loss as models of Transformers do."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        )
        self.calls = 0

    def forward(self, x, labels=None):
        self.calls += 1
        logits = self.layers(x).float()
        return (
            logits if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}
        )


def net():
    torch.manual_seed(1)
    return Net()


def examples(ranks=1):
    draw = torch.Generator().manual_seed(2)
    count = COUNT * SIZE * ranks
    return torch.randn(count, 5, generator=draw), torch.randint(3, (count,), generator=draw)


def batches(rank=0, ranks=1):
    """Every process's turn, as hosts deal batches out."""
    x, y = (part.split(SIZE)[rank::ranks] for part in examples(ranks))
    return [{"x": one, "labels": other} for one, other in zip(x, y, strict=True)]


def optimiser(model, scheduled=False):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.8**step if scheduled else 1.0)


def by_hand(method, model, loss_of, data, *, clip=None, by="norm", accumulate=1, scheduled=False, scaler=None):
    """Train ``model``; the clean loss of every batch.

    ``loss_of(model, batch, group)`` is what one batch of a group that is accumulated adds to the step's loss. The
    n-th batch is seeded with n.
    """
    optimizer, scheduler = optimiser(model, scheduled)
    engine = method.bind(model, optimizer=optimizer)
    model.train()
    losses = []
    for group in (data[i : i + accumulate] for i in range(0, len(data), accumulate)):
        for batch in group:
            torch.manual_seed(len(losses))
            with unreduced(model) if batch is not group[-1] else nullcontext():
                losses.append(engine.backward(lambda b=batch, g=group: loss_of(model, b, g), scaler=scaler))
        stepped = step(model, engine, optimizer, clip, by, scaler or torch.amp.GradScaler("cpu", enabled=False))
        if stepped:
            scheduler.step()
        optimizer.zero_grad()
    return losses


def unreduced(model):
    """Only the last batch of a group is reduced over processes, if there are several."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def step(model, engine, optimizer, clip, by, scaler):
    """Whether the scaler let the optimiser step."""
    scaler.unscale_(optimizer)
    if clip is not None and by == "norm":
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    elif clip is not None:
        nn.utils.clip_grad_value_(model.parameters(), clip)
    before = engine.count
    scaler.step(optimizer)
    scaler.update()
    return engine.count > before


def mean_over(accumulate):
    """Every batch counts alike, whether its group is full or not."""
    return lambda model, batch, group: model(**batch)["loss"] / accumulate
