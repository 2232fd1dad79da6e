from dataclasses import replace

import pytest
import torch

from lowland.experiments.bordered_images import BorderedImages
from lowland.experiments.bordered_run import BorderedTask, bordered_run
from lowland.runs.context import Context

IMAGES = BorderedImages(data="digits", train=60, border=1, noise=0.5)
TASK = BorderedTask(images=IMAGES, hidden=4, learning_rate=0.05, steps=6)


def ran(folder, task=TASK, seeds=(1, 2)):
    return bordered_run(task, 5, seeds, Context("cpu", folder, lambda share: None), looks=2)


def test_the_loss_is_the_distance_to_the_one_hot_target_or_the_cross_entropy():
    found, y = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]]), torch.tensor([[0, 1]])
    assert TASK.losses(found, y).tolist() == pytest.approx([(0 + 4 + 0 + 1) / 2])
    expected = torch.nn.functional.cross_entropy(found[0], y[0]).item()
    assert replace(TASK, entropy=True).losses(found, y).tolist() == pytest.approx([expected])


def test_all_is_over_what_it_was_at_the_start(tmp_path):
    first = ran(tmp_path)[0]
    assert [first[name] for name in ("border", "image", "top", "log")] == [1, 1, 1, 0]
    assert first["rings"] == [1] * 5  # of a digit of 8 x 8 in a border of 1


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_networks_side_by_side_are_those_by_themselves(tmp_path, relu, entropy):
    task = replace(TASK, relu=relu, entropy=entropy)
    together, alone = ran(tmp_path, task), ran(tmp_path, task, seeds=(2,))
    for both, one in zip([row for row in together if row["seed"] == 1], alone, strict=True):
        assert both["border"] == pytest.approx(one["border"], rel=1e-4)
        assert both["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
        assert both["step"] == one["step"]


def test_a_network_that_diverges_says_so(tmp_path):
    last = ran(tmp_path, replace(TASK, learning_rate=1e30))[-1]
    assert last["diverged"]
    assert "border" not in last


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(TASK, **wrong)
