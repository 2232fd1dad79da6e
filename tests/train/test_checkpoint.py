import json
import random
import resource
from contextlib import contextmanager

import pytest
import safetensors.torch
import torch
from torch import nn

from lowland.train import checkpoint
from lowland.train.checkpoint import load, read, save

STATE = {"step": 3, "momentum": {"a": torch.arange(3.0)}, "rows": [{"loss": 0.5, "name": "x"}, None]}


class Odd(nn.Module):
    """Tied weights, a view, a non-persistent buffer, extra state, an empty and a half-precision tensor."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight
        self.narrow = nn.Parameter(torch.randn(3).bfloat16())
        self.register_buffer("view", torch.arange(12.0).view(3, 4).t()[1:])
        self.register_buffer("empty", torch.empty(0))
        self.register_buffer("count", torch.randn(()), persistent=False)
        self.note = "first"

    def get_extra_state(self):
        return {"note": self.note}

    def set_extra_state(self, state):
        self.note = state["note"]


def weights(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def assert_same(one, other):
    for (name, a), (_, b) in zip(weights(one).items(), weights(other).items(), strict=True):
        assert torch.equal(a, b), name


def changed(path, content):
    path.write_bytes(content)
    return path


@contextmanager
def no_file_longer_than(size):
    """The system refuses to write more into any file of this process, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def saved(tmp_path):
    model = nn.Linear(2, 3)
    save(tmp_path, model, STATE)
    return tmp_path, model


def file(folder, beginning):
    return next(path for path in folder.iterdir() if path.name.startswith(beginning))


def test_every_bit_of_an_odd_model_comes_back(tmp_path):
    first, second = Odd(), Odd()
    first.note = "saved"
    save(tmp_path, first, {})
    load(tmp_path, second)
    assert_same(first, second)
    assert second.note == "saved"
    assert second.b.weight is second.a.weight


def test_the_state_comes_back(saved):
    state = load(saved[0], nn.Linear(2, 3))
    assert torch.equal(state["momentum"].pop("a"), torch.arange(3.0))
    assert state == {"step": 3, "momentum": {}, "rows": [{"loss": 0.5, "name": "x"}, None]}


def test_weights_are_a_plain_safetensors_file(saved):
    tensors = safetensors.torch.load_file(file(saved[0], "weights"))
    assert torch.equal(tensors["weight"], saved[1].weight)


def test_the_state_is_a_plain_file_that_loads_without_running_code(saved):
    state, _ = torch.load(file(saved[0], "state"), weights_only=True)
    assert state["step"] == 3


def test_a_state_that_needs_code_to_load_is_refused_before_anything_is_written(saved):
    before = sorted(saved[0].iterdir())
    with pytest.raises(TypeError, match=r"tensors, numbers, strings .*, got random.Random, which .* running code"):
        save(saved[0], saved[1], {"generator": random.Random()})
    assert sorted(saved[0].iterdir()) == before


def test_a_new_checkpoint_replaces_the_old_and_leaves_other_files_alone(saved):
    (saved[0] / "notes.txt").write_text("mine")
    save(saved[0], nn.Linear(2, 3), {"step": 4})
    assert read(saved[0]).state == {"step": 4}
    assert len(list(saved[0].iterdir())) == 4


def test_leftovers_of_a_killed_process_are_swept_by_the_next_checkpoint(saved):
    for name in (".manifest.json.half", f"weights-{'0' * 16}.safetensors", f".state-{'0' * 16}.pt.half"):
        (saved[0] / name).write_text("half")
    save(saved[0], saved[1], {})
    assert len(list(saved[0].iterdir())) == 3


@pytest.mark.parametrize("beginning", ["weights", "state", "manifest"])
def test_no_flipped_bit_goes_unnoticed(beginning, saved):
    path, draw = file(saved[0], beginning), random.Random(0)
    content = path.read_bytes()
    for _ in range(60):
        place, bit = draw.randrange(len(content)), draw.randrange(8)
        changed(path, content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        with pytest.raises(ValueError, match=rf"{path.name} is (damaged|of another|missing|trunc)|is missing"):
            read(saved[0])


@pytest.mark.parametrize("beginning", ["weights", "state", "manifest"])
@pytest.mark.parametrize("left", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused_by_name_and_nothing_is_changed(beginning, left, saved):
    path, model, before = file(saved[0], beginning), nn.Linear(2, 3), nn.Linear(2, 3)
    before.load_state_dict(model.state_dict())
    changed(path, path.read_bytes()[: int(left * path.stat().st_size)])
    with pytest.raises(
        ValueError, match=rf"{path.name} is (damaged|truncated).*Remove {saved[0]} to start afresh"
    ):
        load(saved[0], model)
    assert_same(model, before)


def test_a_missing_file_is_refused_by_name(saved):
    file(saved[0], "weights").unlink()
    with pytest.raises(ValueError, match=r"weights-.*safetensors is missing, though manifest.json names it"):
        read(saved[0])


@pytest.mark.parametrize("foreign", [{}, [], 3, {"sha256": "0"}, {"format": "other", "sha256": "0"}])
def test_a_foreign_manifest_is_refused(foreign, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(foreign))
    with pytest.raises(ValueError, match=r"manifest.json is damaged or"):
        read(tmp_path)


def test_a_folder_without_a_checkpoint_is_said_to_have_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        read(tmp_path)


OTHERS = {
    r"weight is \(3, 2\) torch.float32 there and \(3, 4\) torch.float32 here": nn.Linear(4, 3),
    r"weight is .*float32 there and .*float64 here": nn.Linear(2, 3, dtype=torch.float64),
    r"bias is \(3,\) torch.float32 there and missing here": nn.Linear(2, 3, bias=False),
    r"0.weight is missing there and \(3, 2\) torch.float32 here": nn.Sequential(nn.Linear(2, 3)),
}


@pytest.mark.parametrize("sentence", OTHERS)
def test_another_model_is_refused_by_the_first_difference_and_not_changed(sentence, saved):
    other = OTHERS[sentence]
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=sentence):
        load(saved[0], other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("size", [0, 100, 1000])
def test_a_full_disk_leaves_the_checkpoint_before_whole(size, saved):
    before = sorted(saved[0].iterdir())
    with (
        no_file_longer_than(size),
        pytest.raises(OSError, match=r"could not be written .* is still whole. Make room"),
    ):
        save(saved[0], nn.Linear(2, 3), {"padding": torch.zeros(1000)})
    assert sorted(saved[0].iterdir()) == before
    assert_same(saved[1], restored(saved[0]))


def restored(folder):
    model = nn.Linear(2, 3)
    load(folder, model)
    return model


def test_a_folder_that_cannot_be_made_is_refused_by_words(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match=r"checkpoint in .*taken/run could not be written \(Not a directory\)"):
        checkpoint.save(tmp_path / "taken" / "run", nn.Linear(1, 1), {})
