"""A study: a module that asks one question, lists the runs that answer it, and does one run at a time."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from lowland import catalog

__all__ = ["Study"]

NEEDED = ("QUESTION", "Config", "cells", "run")


class Study:
    """What the runner, the report and the command line may ask of a study.

    A study's module has ``QUESTION`` (one sentence), ``Config`` (a frozen dataclass whose defaults are
    quick on two CPU cores), ``cells(config)`` (the runs to do: flat dicts of plain values, all different) and
    ``run(config, cell, context)`` (the rows of one run: plain values, the same bits every time).
    It may have ``PAPER`` (a Config of full size), ``CLAIMS``, ``figures(config, rows)``, ``tables(config, rows)``,
    ``timed_figures(config, rows, timings)``, which are also given the seconds of each run, and ``check(config)``,
    which refuses by words what would make every run fail, such as missing data.

    Args:
        reference: A name in ``studies/``, or the path of a Python file of your own.

    Raises:
        TypeError: If the module lacks a part; the sentence names it.
    """

    def __init__(self, reference: str) -> None:
        self.reference = _absolute(reference)
        self.module = catalog.module("studies", self.reference)
        self.name = Path(self.reference).stem
        lacking = [part for part in NEEDED if not hasattr(self.module, part)]
        if lacking:
            raise TypeError(
                f"The study {self.name} must define {', '.join(NEEDED)}; it lacks {', '.join(lacking)}."
            )

    def check(self, config: object) -> None:
        """Let the study refuse settings before anything is run."""
        check = self.part("check", None)
        if callable(check):
            check(config)

    def cells(self, config: object) -> list[Mapping[str, object]]:
        """The runs to do, in the order of ``rows.jsonl``."""
        return list(self.module.cells(config))

    def part(self, name: str, otherwise: object = ()) -> object:
        """A part that a study may leave out, such as ``CLAIMS``."""
        return getattr(self.module, name, otherwise)

    def source(self) -> str:
        """Digest of the study's code, to notice that it changed between two runs."""
        file = self.module.__file__
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else ""


def _absolute(reference: str) -> str:
    return str(Path(reference).resolve()) if reference.endswith(".py") else reference
