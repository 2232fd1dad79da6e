"""Layers of every kind, in float64, with an input for each."""

import torch
from torch import nn

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (3, 6)),
    "linear of sequences, growing": (lambda: nn.Linear(4, 9), (3, 2, 4)),
    "linear without bias": (lambda: nn.Linear(5, 5, bias=False), (3, 5)),
    "strided, dilated, grouped, not square": (
        lambda: nn.Conv2d(4, 6, (1, 7), (2, 3), (2, 3), (1, 2), groups=2, padding_mode="circular"),
        (2, 4, 9, 15),
    ),
    "padding same": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2, padding_mode="reflect"), (2, 4, 7, 8)),
    "padding valid": (lambda: nn.Conv2d(3, 4, 3, padding="valid"), (2, 3, 6, 5)),
    "depthwise": (lambda: nn.Conv1d(4, 8, 3, 2, 2, groups=4, bias=False), (2, 4, 11)),
    "three dimensions": (lambda: nn.Conv3d(4, 4, 3, 2, 1, padding_mode="replicate"), (2, 4, 5, 4, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 4, 5)),
    "transposed, dilated": (lambda: nn.ConvTranspose1d(4, 6, 3, 3, 0, 2, dilation=2), (2, 4, 5)),
    "transposed, three dimensions": (lambda: nn.ConvTranspose3d(4, 4, 2, 2, 1), (2, 4, 3, 2, 3)),
}

SETTINGS = {
    "one": {"depth": 1},
    "two": {},
    "deep and wide": {"depth": 4, "width": 2},
    "residual": {"depth": 3, "residual": True},
}


def case(name):
    """A fresh layer and an input."""
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    return make().double(), torch.randn(shape, dtype=torch.float64)


def factors(model):
    """All parameters but biases, in the order of their names, which both modes share."""
    found = dict(model.named_parameters())
    return [found[name] for name in sorted(found) if not name.endswith("bias")]
