"""A program as users write it, under torchrun."""

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "several_processes.py"


def test_the_program_of_the_readme_trains_in_two_processes():
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(PROGRAM)]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert [re.match(r"process (\d): 4 steps, (\d+) bytes", line).groups() for line in lines] == [
        (rank, sent) for rank in "01" for sent in ("0", "7280")
    ]
