"""A study without training: every run is a chain of sums that takes a moment and is the same every time.

It says that digests are even half of the time. The environment variable ``TOY_TROUBLE`` makes the runs with
seed 1 go wrong, and ``TOY_MARKS`` names a folder in which every run leaves a mark.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

QUESTION = "Does a chain of digests end in an even number?"


@dataclass(frozen=True, kw_only=True)
class Salt:
    """What is added."""

    grains: int = 1
    """How often."""
    coarse: bool = False
    """Whether it is."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the chain."""

    data: str = "digits"
    """Stands for a data set."""
    seeds: int = 6
    """How many runs."""
    links: int = 40_000
    """Length of the chain."""
    kinds: tuple[str, ...] = ("plain", "salted")
    """Which chains."""
    salt: Salt = field(default_factory=Salt)
    """What is added."""

    def __post_init__(self):
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}.")


PAPER = Config(seeds=8, links=80_000, salt=Salt(grains=3))


def check(config):
    if config.data == "nowhere":
        raise FileNotFoundError("data must be on this machine, got 'nowhere'.")


def cells(config):
    return [{"kind": kind, "seed": seed} for kind in config.kinds for seed in range(config.seeds)]


def run(config, cell, context):
    if "TOY_MARKS" in os.environ:
        name = f"{cell['kind']}{cell['seed']}"
        with (Path(os.environ["TOY_MARKS"]) / name).open("a") as file:
            file.write("x")
    if cell["seed"] == 1:
        _make_trouble(os.environ.get("TOY_TROUBLE", ""), context)
    rows = [_row(config, cell, part, context) for part in range(4)]
    context.timing("thinking", 0.25)
    print("said", cell)
    return rows


def _row(config, cell, part, context):
    digest = f"{cell['kind']}/{cell['seed']}/{part}".encode()
    for _ in range(config.links // 4):
        digest = hashlib.sha256(digest).digest()
    context.progress((part + 1) / 4)
    order = list({"one", "two", "three", "four"})
    return {"part": part, "value": digest[0] / 3, "draw": random.random(), "order": order, "name": "\u2028é"}


def _make_trouble(kind, context):
    if kind == "raises":
        (context.folder / "left").touch()
        raise ValueError("the sum does not add up")
    if kind == "exits":
        os._exit(7)
    if kind == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "leaves a child":
        # The child inherits the pipe to the parent, which therefore does not close when we die.
        code = "import signal; signal.alarm(20); signal.pause()"
        subprocess.Popen([sys.executable, "-c", code], close_fds=False)
        os._exit(7)
    if kind == "hangs":
        signal.pause()
