import io
import re

import pytest
import torch
from rich.console import Console

from lowland.train.display import Display
from lowland.train.fit import fit
from lowland.train.position import Position
from lowland.train.recipe import Recipe
from lowland.train.tally import Tally
from train.problem import batches, model

LINE = r"epoch 3/3  step 21/21  ETA 00:00  loss \d\.\d+  accuracy \d+\.\d%  2 passes/step\n"


def console(terminal, width=120):
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, soft_wrap=True)


def row(**changes):
    return {"epoch": 1, "loss": 0.25, "accuracy": None, "passes": 1.5, "diverged": False, **changes}


def test_where_there_is_no_terminal_the_last_epoch_is_a_plain_line(capsys):
    fit(model(), batches(), Recipe(method="sam", epochs=3))
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(LINE + "$", err)


def test_without_progress_nothing_is_shown(capsys):
    fit(model(), batches(), Recipe(epochs=1), progress=False)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_line_is_redrawn_in_place():
    screen, position = console(True), Position(epoch=0, batch=2, step=2)
    with Display(4, 40, console=screen) as display:
        display.begin(position)
        position.next_epoch(row())
        display.epoch(position)
    assert re.search(r"━+.*epoch 1/4 .*step 2/40 .*ETA .*loss 0.25 .*1.5 passes/step", screen.file.getvalue())


def test_within_an_epoch_the_line_shows_the_means_so_far():
    screen, tally = console(True), Tally(torch.device("cpu"))
    tally.add(torch.tensor(0.5), 8, 2.0)
    tally.judge(torch.eye(2), torch.tensor([0, 0]))
    with Display(4, 40, console=screen) as display:
        display.update(Position(epoch=1, batch=3, step=13), tally)
    assert re.search(r"epoch 2/4 .*step 13/40 .*loss 0.5 .*accuracy 50.0% .*2 passes/step", screen.file.getvalue())


def test_on_a_narrow_terminal_every_number_is_seen():
    screen, position = console(True, width=80), Position(step=2000)
    with Display(200, 40000, console=screen) as display:
        position.next_epoch(row(accuracy=0.1))
        display.epoch(position)
    assert re.search(r"accuracy 10.0%\s+1.5\s+passes/step", screen.file.getvalue())


def test_a_loss_that_is_not_finite_is_said_by_words():
    screen, position = console(False), Position(step=2)
    with Display(4, 40, console=screen) as display:
        position.next_epoch(row(loss=None, diverged=True))
        display.epoch(position)
    assert "epoch 1/4  step 2/40  ETA" in screen.file.getvalue()
    assert "loss not finite  1.5 passes/step" in screen.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sentence_is_a_line_of_its_own(terminal):
    screen = console(terminal)
    with Display(4, 40, console=screen) as display:
        display.say("Stopped [really] after step 3.")
    assert "Stopped [really] after step 3.\n" in screen.file.getvalue()
