"""Models as people have them: every measurement reads the layers that a reference computes by hand."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from lowland.measurements.accuracy import Accuracy
from lowland.measurements.balancedness import Balancedness
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.linear_probe import LinearProbe
from lowland.measurements.neural_collapse import NeuralCollapse
from lowland.measurements.support import Support, focus_map
from lowland.measurements.weight_rank import WeightRank
from lowland.measuring.measure import measure
from lowland.models.mlp import MLP
from lowland.models.vit import ViT

BATCHES = 5
SIZE = 8


def effective_ranks(model, data, layers, **fields):
    found = measure(model, None, data, FeatureRank(layers=layers, **fields))
    return {r.site: r.value for r in found if r.name == "effective_rank"}


def by_hand(rows):
    """Effective rank of centred rows (n, d)."""
    rows = rows.detach().double().numpy()
    sigma = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    q = sigma / sigma.sum()
    return float(np.exp(-(q[q > 0] * np.log(q[q > 0])).sum()))


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0)


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def labels():
    return torch.arange(SIZE) % 3


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture
def bert(transformers):
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config).eval()


def sentences():
    """Batches as a tokenizer makes them: ids and masks, by name."""
    mask = torch.ones(SIZE, 7, dtype=torch.int64)
    mask[::2, 5:] = 0
    return [
        ({"input_ids": torch.randint(50, (SIZE, 7)), "attention_mask": mask}, labels()) for _ in range(BATCHES)
    ]


def images(channels=1, side=8):
    return [(torch.randn(SIZE, channels, side, side), labels()) for _ in range(BATCHES)]


def test_a_transformer_from_transformers_with_batches_by_name(bert):
    data, sites = sentences(), ("bert.encoder.layer.0", "bert.encoder.layer.1")
    with torch.no_grad():
        outputs = [bert(**inputs, output_hidden_states=True).hidden_states[1:] for inputs, _ in data]
    hidden = {site: torch.cat(parts) for site, parts in zip(sites, zip(*outputs, strict=True), strict=True)}
    poolings = {"first": lambda x: x[:, 0], "mean": lambda x: x.mean(1), "tokens": lambda x: x.flatten(0, 1)}
    for pool, rows in poolings.items():
        assert_same(
            effective_ranks(bert, data, sites, pool=pool), {k: by_hand(rows(x)) for k, x in hidden.items()}
        )


def test_every_kind_of_measurement_reads_it(bert):
    data = {"train": sentences(), "test": sentences()}
    layers = ("bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.0.intermediate.intermediate_act_fn")
    found = measure(
        bert,
        None,
        data,
        [
            Accuracy(),
            NeuralCollapse(on="train"),
            LinearProbe(layers=layers, pool="mean"),
            FeatureRank(on="test"),
            WeightRank(),
            Balancedness(layers=("bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.0.output.dense")),
        ],
    )
    sites = {(r.name, r.site) for r in found}
    assert {("probe_accuracy", layer) for layer in layers} <= sites
    assert ("nc1", "classifier") in sites
    assert ("weight_rank", "bert.encoder.layer.1.output.dense.weight") in sites
    assert ("feature_rank", layers[1]) in sites  # an activation of theirs is read by default as one of torch is


INSIDE = {
    "lowland": {
        "residual": "blocks.0",
        "attention": "blocks.0.attention",
        "before GELU": "blocks.0.expand",
        "after GELU": "blocks.0.activation",
        "MLP": "blocks.0.contract",
    },
    "transformers": {
        "residual": "vit.layers.0",
        "attention": "vit.layers.0.attention",
        "before GELU": "vit.layers.0.mlp.fc1",
        "after GELU": "vit.layers.0.mlp.activation_fn",
        "MLP": "vit.layers.0.mlp",
    },
    "timm": {
        "residual": "blocks.0",
        "attention": "blocks.0.attn",
        "before GELU": "blocks.0.mlp.fc1",
        "after GELU": "blocks.0.mlp.act",
        "MLP": "blocks.0.mlp",
    },
}


def vision_transformer(whose):
    if whose == "lowland":
        return ViT((1, 8, 8), 3, depth=2, width=16, heads=2, patch=4)
    if whose == "timm":
        timm = pytest.importorskip("timm", exc_type=ImportError)
        sizes = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 3, "embed_dim": 16, "depth": 2}
        return timm.models.VisionTransformer(**sizes, num_heads=2)
    library = pytest.importorskip("transformers")
    sizes = {"image_size": 8, "patch_size": 4, "num_channels": 1, "num_labels": 3, "hidden_size": 16}
    blocks = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return library.ViTForImageClassification(library.ViTConfig(**sizes, **blocks))


@pytest.mark.parametrize("whose", INSIDE)
def test_the_inside_of_a_vision_transformers_block_is_read_by_name(whose):
    model, data, sites = vision_transformer(whose).eval(), images(), INSIDE[whose]
    seen = {}
    for site in sites.values():
        model.get_submodule(site).register_forward_hook(
            lambda m, a, y, site=site: seen.setdefault(site, []).append(y)
        )
    with torch.no_grad():
        [model(x) for x, _ in data]
    rows = {site: torch.cat([y[0] if isinstance(y, tuple) else y for y in parts]) for site, parts in seen.items()}
    assert {k: x.shape[1:] for k, x in rows.items()} == {
        s: (5, 64 if "GELU" in k else 16) for k, s in sites.items()
    }
    found = effective_ranks(model, data, tuple(sites.values()), pool="tokens")
    assert_same(found, {site: by_hand(x.flatten(0, 1)) for site, x in rows.items()})


class Exits(nn.Module):
    """Goes through its layer until the batch is calm: how often depends on the data."""

    def __init__(self):
        super().__init__()
        self.step, self.act, self.head = nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)

    def forward(self, x):
        rounds = 0
        while x.abs().max().item() > 0.9 or rounds < 1:
            x, rounds = 0.8 * self.act(self.step(x)), rounds + 1
        return self.head(x)


def test_a_model_whose_control_flow_depends_on_the_data():
    model, data = Exits(), [(2 * torch.randn(SIZE, 6), labels()) for _ in range(BATCHES)]
    with pytest.raises(Exception, match="symbolically traced"):
        torch.fx.symbolic_trace(model)
    rows = torch.cat([model.act(model.step(x)) for x, _ in data])
    assert_same(effective_ranks(model, data, "act"), {"act": by_hand(rows)})


class Recurrent(nn.Module):
    """Answers with several tensors, as its layer does."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        states, (last, _) = self.lstm(x)
        return {"loss": None, "logits": self.head(last[0]), "states": [states]}


def test_a_model_and_a_layer_with_several_outputs():
    model, data = Recurrent(), [(torch.randn(SIZE, 9, 4), labels()) for _ in range(BATCHES)]
    states = torch.cat([model.lstm(x)[0] for x, _ in data])
    assert_same(effective_ranks(model, data, "lstm", pool="mean"), {"lstm": by_hand(states.mean(1))})
    right = torch.cat([model(x)["logits"].argmax(1) == y for x, y in data]).double().mean()
    assert measure(model, None, data, Accuracy())[0].value == right.item()


INDUCTOR = pytest.param(
    "inductor", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="compiles with a C++ compiler")
)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch imports its own
@pytest.mark.parametrize("backend", ["eager", INDUCTOR])
@pytest.mark.parametrize("compile_with", ["torch.compile", "Module.compile", "inner"])
def test_a_compiled_model_is_measured_as_the_model_it_was_compiled_from(backend, compile_with):
    torch._dynamo.reset()
    model, data = MLP((1, 8, 8), 3, widths=(12, 10)).eval(), images()
    kinds = [FeatureRank(), NeuralCollapse(), Accuracy(), WeightRank(), Support()]
    expected = measure(model, None, data, kinds)
    if compile_with == "torch.compile":
        compiled = torch.compile(model, backend=backend)
    elif compile_with == "Module.compile":
        model.compile(backend=backend)
        compiled = model
    else:
        model.blocks[0].compile(backend=backend)
        compiled = model
    before = compiled(data[0][0])  # compiled before there were hooks
    assert measure(compiled, None, data, kinds) == expected
    torch.testing.assert_close(compiled(data[0][0]), before)
    assert torch.equal(focus_map(compiled, "blocks.0.0"), focus_map(model))


@pytest.mark.parametrize("padded", [False, True])
def test_an_encoder_of_torch_in_eval_mode(padded):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

        def forward(self, x, mask=None):
            return self.head(self.encoder(x, src_key_padding_mask=mask)[:, 0])

    mask = torch.zeros(SIZE, 6, dtype=torch.bool)
    mask[::2, 4:] = True
    model = Encoder()
    xs = [torch.randn(SIZE, 6, 8) for _ in range(BATCHES)]
    data = [((x, mask) if padded else x, labels()) for x in xs]
    layers = (
        "encoder.layers.0.self_attn.out_proj",
        "encoder.layers.0.linear1",
        "encoder.layers.0.linear2",
        "encoder.layers.1",
    )
    found = effective_ranks(model.eval(), data, layers, pool="first")
    first, second = model.train().encoder.layers  # in train mode nothing is fused
    rows = {layer: [] for layer in layers}
    for x in xs:
        key = mask if padded else None
        attended = first.self_attn(x, x, x, key_padding_mask=key)[0]
        narrow = first.norm1(x + attended)
        wide = first.linear1(narrow)
        out = first.linear2(wide.relu())
        last = second(first.norm2(narrow + out), src_key_padding_mask=key)
        for layer, value in zip(layers, (attended, wide, out, last), strict=True):
            rows[layer].append(value[:, 0])
    assert_same(found, {layer: by_hand(torch.cat(parts)) for layer, parts in rows.items()})
    assert torch.backends.mha.get_fastpath_enabled()
