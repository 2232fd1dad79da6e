from dataclasses import replace

import pytest
import torch

from lowland.experiments.side_by_side import drawn
from lowland.experiments.support_run import support_run
from lowland.experiments.support_task import SupportTask
from lowland.runs.context import Context

TASK = SupportTask(inputs=4, relevant=2, examples=30, hidden=(3,), noise=0.5, learning_rate=0.01, steps=10)


def ran(folder, task=TASK, batch=5, seeds=(1, 2), **how):
    return support_run(task, batch, seeds, Context("cpu", folder, lambda share: None), looks=2, **how)


def test_the_first_look_is_at_the_start(tmp_path):
    first, second = ran(tmp_path)[:2]
    weights = drawn((4, 3, 1), (1, 2))[0].detach()
    assert (first["step"], first["seed"], second["seed"]) == (0, 0, 1)
    assert first["relevant"] == pytest.approx(weights[0, :, :2].norm().item())
    assert second["irrelevant"] == pytest.approx(weights[1, :, 2:].norm().item())


@pytest.mark.parametrize("batch", [0, 5])
def test_networks_side_by_side_are_those_by_themselves(tmp_path, batch):
    together, alone = ran(tmp_path, batch=batch), ran(tmp_path, batch=batch, seeds=(2,))
    for both, one in zip([row for row in together if row["seed"] == 1], alone, strict=True):
        assert both["loss"] == pytest.approx(one["loss"], rel=1e-12)
        assert (both["step"], both["final"]) == (one["step"], one["final"])


def test_training_lowers_the_loss_and_decay_the_weights(tmp_path):
    rows, decayed = ran(tmp_path, batch=0), ran(tmp_path, batch=0, decay=1.0)
    assert rows[-1]["loss"] < rows[1]["loss"]
    assert decayed[-1]["irrelevant"] < rows[-1]["irrelevant"]


def test_a_network_that_diverges_says_so_at_every_look_after(tmp_path):
    rows = ran(tmp_path, replace(TASK, learning_rate=1e6, steps=200))
    assert [row["diverged"] for row in rows] == [False, False, True, True, True, True]
    assert set(rows[-1]) == {"step", "final", "seed", "diverged"}


def test_rows_hold_plain_numbers(tmp_path):
    assert not any(isinstance(value, torch.Tensor) for row in ran(tmp_path) for value in row.values())
