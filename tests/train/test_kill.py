import os
import signal
import subprocess
import sys
from pathlib import Path

from lowland.train.checkpoint import read
from train import killed
from train.problem import whole

HERE = Path(__file__).parent


def run(script, *arguments, **settings):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", HERE / script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=-1, stderr=-1, **settings)


def test_killed_again_and_again_it_ends_in_the_same_bits(tmp_path):
    out, errors = run("killed.py", tmp_path, 12).communicate()
    assert out, errors
    died, digest = out.split()
    assert digest == killed.digest(*whole("sam, warm-up, decay"))
    assert int(died) >= 3
    assert len(list(tmp_path.iterdir())) == 3, "manifest, weights and state; nothing half-written is left"


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(tmp_path):
    process = run("interrupted.py", tmp_path)
    assert process.stdout.readline() == "trained\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    reached = read(tmp_path).about["reached"]
    assert f"KeyboardInterrupt: Stopped after step {reached['step']}" in errors
    assert f"kept in {tmp_path}: run the same again to go on from there." in errors
    assert process.returncode == -signal.SIGINT
