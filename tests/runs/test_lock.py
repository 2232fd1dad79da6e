import os
import signal
import subprocess
import sys

import pytest

from lowland.runs.lock import lock

HOLD = (
    "import signal, sys, pathlib\n"
    "from lowland.runs.lock import lock\n"
    "with lock(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    signal.pause()"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_it(tmp_path, holder):
    with (
        pytest.raises(RuntimeError, match=f"is being written by process {holder.pid} on .* Wait for it"),
        lock(tmp_path),
    ):
        pass


def test_a_dead_process_holds_nothing(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".holder").exists()
    with lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".holder").read_text()


def test_it_is_let_go_on_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    with lock(tmp_path):
        assert True
