import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lowland.shield import Shield


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_waits_until_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt), Shield():
        press()
        done.append("after")
    assert done == ["after"]


def test_ctrl_c_passes_where_it_is_opened_and_what_follows_is_not_cut_short():
    done = []
    with pytest.raises(KeyboardInterrupt), Shield() as shield:
        try:
            with shield.opened():
                press()
                done.append("never")
        finally:
            press()
            done.append("put back")
    assert done == ["put back"]


def test_what_waited_is_delivered_at_the_next_opening():
    done = []
    with pytest.raises(KeyboardInterrupt), Shield() as shield:
        press()
        with shield.opened():
            done.append("never")
    assert done == []


class Edge:
    """A with block at whose beginning Ctrl-C is pressed."""

    def __init__(self):
        self.entered = self.left = False

    def __enter__(self):
        self.entered = True
        press()

    def __exit__(self, *_):
        self.left = True


def test_ctrl_c_where_a_with_block_is_entered_waits_so_that_its_end_is_not_left_out():
    edge, done = Edge(), []
    with pytest.raises(KeyboardInterrupt), Shield() as shield, shield.opened():
        with edge:
            done.append("inside")
        done.append("after")
    assert edge.left
    assert done == ["inside", "after"]


def test_what_waited_at_an_edge_is_delivered_at_the_next_opening_of_an_inner_shield():
    edge, done = Edge(), []
    with pytest.raises(KeyboardInterrupt), Shield() as outer, outer.opened(), edge:
        done.append("inside")
        with Shield() as inner, inner.opened():
            done.append("never")
    assert edge.left
    assert done == ["inside"]


def test_a_second_ctrl_c_is_delivered_at_once():
    edge, done = Edge(), []
    with pytest.raises(KeyboardInterrupt), Shield() as shield, shield.opened(), edge:
        press()
        done.append("never")
    assert edge.left
    assert done == []


def test_ctrl_c_while_an_object_is_freed_is_not_lost():
    class Freed:
        def __del__(self):
            press()

    with pytest.raises(KeyboardInterrupt), Shield() as shield, shield.opened():
        Freed()


def test_a_handler_that_does_not_raise_is_called_every_time():
    calls = []
    before = signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    try:
        with Shield() as shield, shield.opened():
            press()
            press()
        assert len(calls) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone():
    found = []
    thread = threading.Thread(target=lambda: found.append(Shield().__enter__()._previous))
    thread.start()
    thread.join()
    assert found == [{}]


def test_a_step_is_whole_or_undone_wherever_ctrl_c_falls():
    program = Path(__file__).parent / "engine" / "interrupted_steps.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "interrupted" in done.stdout
