import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lowland.engine.shield import Shield


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
    program = Path(__file__).parent / "interrupted_steps.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "interrupted" in done.stdout
