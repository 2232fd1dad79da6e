"""Weights of anybody's, into a model."""

import pytest
import safetensors.torch
import torch
from torch import nn

from lowland.train import checkpoint
from lowland.train.weights import load_weights
from rigs import assert_same


def net(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def saved(model, how, folder):
    file = folder / f"weights.{'safetensors' if how == 'safetensors' else 'pt'}"
    state = model.state_dict()
    match how:
        case "folder":
            checkpoint.save(folder / "kept", model, {})
            return folder / "kept"
        case "safetensors":
            safetensors.torch.save_file(state, file)
        case "plain":
            torch.save(state, file)
        case "compiled under DDP":
            torch.save({f"module._orig_mod.{name}": t for name, t in state.items()}, file)
        case _:
            torch.save({how: state, "epoch": 3}, file)
    return file


HOWS = ["folder", "safetensors", "plain", "state_dict", "model_state_dict", "model", "compiled under DDP"]


@pytest.mark.parametrize("how", HOWS)
def test_weights_come_from_every_kind_of_file(how, tmp_path):
    there, here = net(), net()
    load_weights(saved(there, how, tmp_path), here)
    assert_same(here.state_dict(), there.state_dict())


@pytest.mark.parametrize("how", ["safetensors", "plain"])
def test_another_model_is_refused_by_words_and_unchanged(how, tmp_path):
    here = net()
    before = {name: t.clone() for name, t in here.state_dict().items()}
    with pytest.raises(ValueError, match=r"got one of another: 0\.bias is \(4,\) there and \(3,\) here"):
        load_weights(saved(net(4), how, tmp_path), here)
    assert_same(here.state_dict(), before)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must exist, got .*nowhere"):
        load_weights(tmp_path / "nowhere", net())


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "torn.pt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="got a file that does not load"):
        load_weights(tmp_path / "torn.pt", net())
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="must hold a state dict, got list"):
        load_weights(tmp_path / "list.pt", net())
