import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from lowland.models.vit import ViT
from lowland.observe.weights import weights


def shapes(model, layers=None):
    return {w.name: tuple(w.matrix.shape) for w in weights(model, layers)}


def test_linear_weights_and_kernels_are_matrices_and_vectors_are_not():
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(4, 2))
    assert shapes(model) == {"0.weight": (8, 75), "2.weight": (8, 9), "3.weight": (2, 4)}


def test_kernels_say_their_own_shape():
    (found,) = weights(nn.Conv1d(3, 4, 5))
    assert (found.name, found.shape, tuple(found.matrix.shape)) == ("weight", (4, 3, 5), (4, 15))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_the_matrix_of_the_convolution_it_turns_round(groups):
    layer = nn.ConvTranspose2d(4, 6, 1, groups=groups, bias=False).double()
    (found,) = weights(layer)
    x = torch.randn(5, 4, 1, 1, dtype=torch.float64)
    blocks = found.matrix.split(6 // groups)
    expected = torch.cat(
        [part @ block.T for part, block in zip(x[..., 0, 0].split(4 // groups, 1), blocks, strict=True)], 1
    )
    torch.testing.assert_close(layer(x)[..., 0, 0], expected)


def test_attention_embeddings_and_recurrent_weights_are_matrices():
    model = nn.ModuleList([nn.MultiheadAttention(4, 2), nn.Embedding(7, 4), nn.LSTM(3, 2)])
    found = shapes(model)
    assert found["0.in_proj_weight"] == (12, 4)
    assert found["0.out_proj.weight"] == (4, 4)
    assert found["1.weight"] == (7, 4)
    assert found["2.weight_hh_l0"] == (8, 2)


def test_class_tokens_are_no_matrices_but_positions_and_stacks_are():
    found = shapes(ViT((1, 8, 8), 3, depth=1, width=8, heads=2, patch=4))
    assert "token" not in found
    assert found["positions"] == (5, 8)
    stack = nn.Module()
    stack.experts = nn.Parameter(torch.ones(3, 4, 5))
    assert shapes(stack) == {"experts": (12, 5)}


def test_a_parametrised_weight_is_read_as_the_layer_uses_it():
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Linear(4, 2))
    assert shapes(model) == {"0.weight": (4, 4), "1.weight": (2, 4)}
    torch.testing.assert_close(weights(model)[0].matrix, model[0].weight.detach())


def test_a_shared_weight_appears_once():
    model = nn.ModuleDict({"in": nn.Embedding(7, 4), "out": nn.Linear(4, 7)})
    model["out"].weight = model["in"].weight
    assert shapes(model) == {"in.weight": (7, 4)}


def test_whole_numbers_are_no_weights():
    model = nn.Linear(2, 2)
    model.table = nn.Parameter(torch.ones(3, 3, dtype=torch.int64), requires_grad=False)
    assert shapes(model) == {"weight": (2, 2)}


def test_a_named_layer_stands_for_all_inside_it():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), "ab": nn.Linear(2, 2)})
    assert list(shapes(model, "a")) == ["a.0.weight", "a.2.weight"]
    assert list(shapes(model, ("ab", "a.2"))) == ["a.2.weight", "ab.weight"]


def test_bad_names_and_weights_are_refused_by_words():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(LookupError, match="no layer called '3'"):
        weights(model, "3")
    with pytest.raises(LookupError, match="Layer '1' must hold a weight matrix, got none"):
        weights(model, ("0", "1"))
    nn.init.constant_(model[0].weight, float("inf"))
    with pytest.raises(
        ValueError, match=r"Weight '0.weight' must be finite, got inf or nan. Has training diverged"
    ):
        weights(model)
