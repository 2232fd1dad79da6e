import pytest
import torch
from torch import nn

from lowland.observe.features import default_layers, features, layer_of


def seen_by(model, layers, x):
    found = {}
    with features(model, layers, lambda site, value, _: found.update({site: value.clone()})):
        model(*x) if isinstance(x, tuple) else model(x)
    return found


class Looping(nn.Module):
    def __init__(self):
        super().__init__()
        self.step, self.act = nn.Linear(3, 3), nn.ReLU()

    def forward(self, x):
        rounds = 2 if x.sum() > 0 else 3
        for _ in range(rounds):
            x = self.act(self.step(x))
        return {"hidden": (None, x), "rounds": rounds}


def test_reads_what_the_layers_compute():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(5, 3)
    found = seen_by(model, ["0", "1"], x)
    torch.testing.assert_close(found, {"0": model[0](x).detach(), "1": model[:2](x).detach()})


def test_reads_before_a_later_layer_works_in_place():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)), torch.randn(5, 3)
    assert (seen_by(model, ["0"], x)["0"] < 0).any()


def test_reads_every_call_of_a_layer_under_any_control_flow():
    assert list(seen_by(Looping(), ["act"], torch.ones(1, 3))) == ["act", "act#2"]
    assert list(seen_by(Looping(), ["act"], -torch.ones(1, 3))) == ["act", "act#2", "act#3"]


def test_reads_the_first_tensor_of_tuples():
    model = nn.Sequential(nn.LSTM(3, 4, batch_first=True))
    assert seen_by(model, ["0"], torch.randn(2, 5, 3))["0"].shape == (2, 5, 4)


def test_reads_inside_a_transformer_whose_fast_path_skips_modules():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with torch.no_grad():
        assert set(seen_by(model, ["linear1", "norm2"], torch.randn(2, 3, 8))) == {"linear1", "norm2"}


def test_reads_the_projection_that_attention_multiplies_by_without_calling_it():
    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    model, x = Self().eval(), torch.randn(2, 3, 8)
    with torch.no_grad():
        torch.testing.assert_close(seen_by(model, ["attention.out_proj"], x)["attention.out_proj"], model(x))
        assert set(seen_by(model.attention, ["out_proj"], (x, x, x))) == {"out_proj"}


def test_hands_over_what_the_layer_was_given():
    given, model, x = [], nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(5, 3)
    with features(model, ["1"], lambda site, value, inputs: given.append(inputs)):
        model(x)
    torch.testing.assert_close(given, [model[0](x).detach()])


def test_no_hook_is_left_after_an_exception():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied"):
        seen_by(model, ["0", "1"], torch.randn(5, 7))
    assert not any(m._forward_hooks for m in model.modules())


def test_an_unknown_layer_is_refused_with_the_nearest():
    model = nn.ModuleDict({"conv1": nn.ReLU(), "head": nn.ReLU()})
    with pytest.raises(LookupError, match=r"no layer called 'cnov1'. Did you mean conv1.*conv1, head"):
        seen_by(model, ["cnov1"], None)


def test_no_hook_is_left_after_an_unknown_layer():
    model = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(LookupError):
        seen_by(model, ["0", "9"], None)
    assert not model[0]._forward_hooks


def test_default_layers_are_those_the_model_states():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model.layers = ("1",)
    assert default_layers(model) == ["1"]


def test_default_layers_are_else_activations_and_layers_with_parameters():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU(), nn.Dropout(), nn.Flatten())
    model.layers = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.Identity())])
    assert default_layers(model) == ["0", "1", "2", "layers.0.0"]


def test_the_layer_behind_a_site_is_its_name_without_the_call():
    assert (layer_of("a.b#2"), layer_of("a.b")) == ("a.b", "a.b")
