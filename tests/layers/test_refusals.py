import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from lowland.layers.expand import expand


def net():
    return nn.ModuleDict({"body": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "head": nn.Linear(4, 2)})


def hooked():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def old_kind(norm, **settings):
    """Weight norm or pruning by hooks, beside a layer to expand."""
    return nn.Sequential(norm(nn.Linear(2, 2), name="weight", **settings), nn.Linear(2, 2))


def filled(value):
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, value)
    return nn.Sequential(layer)


def tied(*layers):
    for layer in layers[1:]:
        layer.weight = layers[0].weight
    return nn.Sequential(*layers)


class Own(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Gained(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self.gain, self.norm = nn.Parameter(torch.ones(2)), nn.LayerNorm(2)
        self.register_buffer("seen", torch.zeros(2))


class Zero(nn.Module):
    def forward(self, x):
        return 0 * x


ACTIVATION = {"mode": "activation"}


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (net, {"depth": 0}, "depth must be at least 1, got 0"),
        (net, {"width": 0}, "width must be a finite number above 0, got 0"),
        (net, {"width": float("inf")}, "width must be a finite number above 0, got inf"),
        (net, {"mode": "both"}, "mode must be one of weight, activation, got 'both'"),
        (net, {"init": "zero"}, "init must be one of preserve, kaiming, got 'zero'"),
        (net, {"batch_norm": True}, "batch_norm must be False in weight space, got True.*mode='activation'"),
        (net, {"exclude": ["body", "head"]}, "exclude must leave a layer to expand"),
        (net, {"kernel_sizes": (3,)}, r"kernel_sizes must be one for each of the 2 factors, got \[3\]"),
        (
            net,
            {"kernel_sizes": (3, 3)},
            r"make the kernel \(3, 3\) of layer 'body.0', got \[3, 3\], which make \(5, 5\)",
        ),
        (net, {"kernel_sizes": (0, 4)}, "kernel_sizes must be at least 1, got 0"),
        (net, {"kernel_sizes": ((3,), (1,))}, "kernel_sizes must have 2 numbers for each factor"),
        (net, {"kernel_sizes": (2, 2)}, "kernel_sizes must be 1 but for the first factor or the last to preserve"),
        (net, {"kernel_sizes": (3, 1), "include": "head"}, "for convolutions only"),
        (net, {"width": 0.5}, r"width must leave at least 4 hidden units.*got 2: widen, or start anew"),
        (net, {"residual": True, "width": 2}, "residual must find a factor that maps a space to itself.*'body.0'"),
        (Zero, {}, "must have linear or convolutional layers, got Zero without"),
        (lambda: nn.LazyLinear(3), {}, "Weight 'weight' must be initialised.*run a forward first"),
        (lambda: expand(nn.Linear(2, 2)), {}, "must not be expanded or parametrised already"),
        (lambda: expand(nn.Linear(2, 2), **ACTIVATION), {}, "must not be expanded or parametrised already"),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)), {}, "parametrised already"),
        (lambda: nn.Linear(2, 2, dtype=torch.complex64), {}, "must be of real numbers, got torch.complex64"),
        (
            lambda: torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)),
            {},
            "must not be compiled, traced or scripted",
        ),
        (lambda: torch.compile(nn.Linear(2, 2)), {}, "must not be compiled, traced or scripted"),
        (lambda: tied(nn.Linear(2, 2), nn.Linear(2, 2)), {"exclude": "1"}, "'0' and '1' share their weight"),
        (lambda: tied(nn.Linear(2, 2), nn.Linear(2, 2)), {"batch_norm": True, **ACTIVATION}, "must not share"),
        (lambda: tied(nn.Linear(2, 2), nn.Embedding(2, 2)), ACTIVATION, "'1' must be a plain .* got Embedding"),
        (
            lambda: tied(nn.Embedding(3, 2, max_norm=1.0), nn.Linear(2, 3)),
            {},
            "Embedding '0', which shares its weight with '1', must have neither .* got max_norm=1.0, sparse=False",
        ),
        (
            lambda: tied(nn.Linear(2, 3), nn.EmbeddingBag(3, 2, sparse=True)),
            {},
            "max_norm=None, sparse=True: exclude",
        ),
        (lambda: filled(float("nan")), {}, "must be finite to be preserved, got 4 values such as nan: mend it"),
        (lambda: nn.Linear(2, 2, device="meta"), {}, "must have values to be preserved, got the meta device"),
        (
            lambda: nn.Linear(64, 50257, device="meta"),
            {},
            "width must leave factors .* got 1.0, which makes one of 2.5e.09 entries for the 3.2e.06 of layer ''",
        ),
        (
            lambda: old_kind(nn.utils.weight_norm),
            {"exclude": "0"},
            "'0' must hold no tensor .* got 'weight'.*hook off",
        ),
        (lambda: old_kind(prune.l1_unstructured, amount=1), ACTIVATION, "which has no copy: .* prune.remove"),
        (
            lambda: nn.Sequential(torch.compile(nn.Linear(2, 2), backend="eager")),
            {},
            "'0' must not be compiled by itself",
        ),
        (lambda: tied(nn.Conv1d(2, 4, 3), nn.ConvTranspose1d(2, 4, 3)), ACTIVATION, "'1' must not share"),
        (lambda: nn.MultiheadAttention(4, 2), ACTIVATION, "must be a plain .* got MultiheadAttention"),
        (lambda: Own(2, 2), ACTIVATION, "must be a plain .* got Own: exclude it or give mode='weight'"),
        (
            Gained,
            ACTIVATION,
            "'' must have a weight and a bias alone in activation space, got gain, seen, norm too",
        ),
        (hooked, ACTIVATION, "must have no hooks, which would be lost"),
        (
            lambda: nn.ConvTranspose1d(2, 2, 3),
            {"batch_norm": True, "kernel_sizes": (1, 3), **ACTIVATION},
            "kernel_sizes must be 1 after the first for batch norm in the transposed",
        ),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning", "ignore:`torch.nn.utils.weight_norm:FutureWarning"
)
def test_what_cannot_be_done_is_refused_by_words(model, settings, words):
    model = model()
    with pytest.raises(ValueError, match=words):
        expand(model, **settings)


@pytest.mark.parametrize("side", ["include", "exclude"])
def test_an_unknown_layer_is_refused_with_the_nearest(side):
    with pytest.raises(LookupError, match=r"called 'haed'. Did you mean head\?.* There are: body.0, head"):
        expand(net(), **{side: "haed"})


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (net(), {"depth": 2.0}, "depth must be a whole number, got 2.0"),
        (net(), {"width": "wide"}, "width must be a number, got 'wide'"),
        (net(), {"kernel_sizes": (2.0, 2.0)}, "kernel_sizes must be"),
        (net(), {"kernel_sizes": 3}, "kernel_sizes must be a list with a size for each factor, got 3"),
        (net(), {"include": 0}, "include must be a pattern such as 'blocks.*', or a list of them, got 0"),
        (net(), {"exclude": [1]}, r"exclude must be a pattern such as .*, got \[1\]"),
        ("net", {}, "model must be a torch.nn.Module, got str"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_by_words(model, settings, words):
    with pytest.raises(TypeError, match=words):
        expand(model, **settings)


def test_a_weight_that_cannot_be_preserved_is_named():
    with pytest.raises(ValueError, match="This is the weight of layer '0'"):
        expand(filled(float("inf")))


def test_new_factors_need_no_values():
    expand(nn.Linear(2, 2, device="meta"), init="kaiming")
    expand(filled(float("nan")), init="kaiming")
    expand(nn.Linear(64, 50257, device="meta"), width=0.001, init="kaiming")
