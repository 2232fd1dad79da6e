"""``lowland study``: train, measure, and say what became of the claims."""

import argparse
import inspect
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclopts import App
from cyclopts.config import Yaml

from lowland.commands.carry_out import Order, carry_out
from lowland.commands.door import door
from lowland.commands.flags import command_line, parameters, rebuild
from lowland.commands.prose import flowing, readable
from lowland.commands.source import sections
from lowland.runs.study import Study

__all__ = ["elsewhere", "study_app"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """How to run a study; none of it changes the rows."""

    out: Path = Path("runs")
    """Folder of all runs; this one goes to OUT/STUDY/ID, where ID follows from the settings."""
    workers: int | None = None
    """Processes at a time. By default one per GPU, or one per core without GPUs."""
    paper: bool = False
    """Start from the full-size settings of the paper instead of the quick ones."""
    config: Path | None = None
    """A YAML file with settings, such as `seeds: 5`; flags go before it."""
    fresh: bool = False
    """Do finished runs anew instead of taking them as they are."""


def study_app(reference: str, tokens: Sequence[str], verb: str) -> App:
    """The command of one study: its settings are its flags.

    Args:
        reference: The study's name or file.
        tokens: What follows on the command line; ``--paper`` and ``--config`` decide the defaults of the rest.
        verb: What is typed to get here, such as ``study sam_lowers_feature_rank``.

    Returns:
        An app to be mounted under the last word of ``verb``.
    """
    early = _peek(tokens)
    with door():
        study = Study(reference)
        base = _base(study, early.paper)
        file = _existing(early.config)
    return App(
        name=verb.split()[-1],
        default_command=_command(study, base, verb),
        config=Yaml(file, must_exist=True, use_commands_as_keys=False) if file else None,
        help=_help(study),
        help_format="plaintext",
        help_epilogue="",
    )


def elsewhere(out: Path) -> str:
    """The flag for a folder of all runs that is not the usual one, else nothing."""
    return "" if out == Running().out else shlex.join(["--out", str(out)])


def _peek(tokens: Sequence[str]) -> Running:
    """The two flags that must be known before the others can have defaults."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--config", nargs="?", type=Path)
    found, _ = parser.parse_known_args(list(tokens))
    return Running(paper=found.paper, config=found.config)


def _base(study: Study, paper: bool) -> object:
    if not paper:
        return study.module.Config()
    base = study.part("PAPER", None)
    if base is None:
        raise ValueError(f"{study.name} has no full-size settings: leave out --paper.")
    return base


def _existing(file: Path | None) -> Path | None:
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"--config must name a YAML file, got {file}: no such file.")
    return file


def _command(study: Study, base: object, verb: str) -> Callable[..., int]:
    """A function whose keyword arguments are the study's settings and how to run it."""

    def command(**values: object) -> int:
        running = rebuild(Running(), {name: v for name, v in values.items() if name in _NAMES})
        with door():
            config = rebuild(base, {name: v for name, v in values.items() if name not in _NAMES})
        words = ["lowland", verb, "--paper" if running.paper else "", command_line(base, config)]
        words.append(elsewhere(running.out))
        order = Order(
            study=study,
            config=config,
            command=" ".join(word for word in words if word),
            out=running.out,
            workers=running.workers,
            fresh=running.fresh,
        )
        return carry_out(order)

    running = parameters(Running(), "Running", order=1, negative=False)
    command.__signature__ = inspect.Signature([*parameters(base), *running])  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


_NAMES = frozenset(parameter.name for parameter in parameters(Running(), "Running"))


def _help(study: Study) -> str:
    _, _, about = sections(study.module.__doc__ or "")[""].partition("\n\n")
    return f"{study.module.QUESTION}\n\n{flowing(readable(about))}".strip()
