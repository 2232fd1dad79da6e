import signal

import pytest

from lowland.train.checkpoint import read
from lowland.train.interrupt import Interrupt
from lowland.train.recipe import Recipe
from train.problem import Stopping, assert_same_training, trained


def test_the_first_ctrl_c_is_remembered_and_the_second_interrupts():
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_afterwards_ctrl_c_is_what_it_was():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_where_ctrl_c_is_ignored_it_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert not interrupt.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_step_under_way_is_finished_and_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"Stopped after step 10, in epoch 2; kept in"):
        trained(Recipe(epochs=3), Stopping(9), keep=tmp_path)
    assert read(tmp_path).about["reached"] == {"epoch": 1, "batch": 3, "step": 10}


def test_without_a_folder_it_says_that_nothing_was_kept():
    with pytest.raises(KeyboardInterrupt, match="nothing was kept: give keep= a folder"):
        trained(Recipe(epochs=3), Stopping(9))


def test_ctrl_c_in_a_hook_is_not_lost_and_loses_nothing(tmp_path):
    def press(model, moment):
        if moment.epoch == moment.epochs and not read_back:
            signal.raise_signal(signal.SIGINT)
        return {"seen": moment.epoch}

    read_back = []
    with pytest.raises(KeyboardInterrupt, match="Stopped after step 14"):
        trained(Recipe(epochs=2), hooks=[press], keep=tmp_path)
    read_back.append(True)
    resumed = trained(Recipe(epochs=2), seed=1, hooks=[press], keep=tmp_path)
    assert_same_training(resumed, trained(Recipe(epochs=2), hooks=[press]))
