"""A program as users write it, under torchrun."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "several_processes.py"


def test_the_program_of_the_readme_trains_in_two_processes():
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(PROGRAM)]
    done = subprocess.run(launch, capture_output=True, text=True, timeout=300)
    lines = [line.partition(", loss")[0] for line in done.stdout.splitlines()]
    expected = ["DistributedDataParallel: 4 steps, 7280 bytes reduced", "fully_shard: 4 steps, 0 bytes reduced"]
    assert lines == expected, done.stderr  # not its exit code: gloo's threads may abort after the end
