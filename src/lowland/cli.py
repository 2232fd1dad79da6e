"""The command line, ``lowland``. Everything heavy is imported when its verb is used."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from rich.markup import escape

from lowland import __version__
from lowland.commands.kinds import studies
from lowland.commands.prose import flowing

__all__ = ["main"]

HELP = """Train with and without sharpness-aware minimisation, measure every layer, and check published findings.

A study trains a grid of networks, measures them and says claim by claim: holds, fails or inconclusive.
Its page is one HTML file. A study that was stopped goes on where it was when the same command is given again.
"""

EXAMPLES = """Examples:

  lowland study sam_lowers_feature_rank     train, measure, judge
  lowland compare --methods sgd sam:rho=0.1 --data digits --seeds 3
  lowland measure weights.pt --model conv --data digits --what rank curvature
  lowland list                              what there is
  lowland show sam                          one thing: settings, how to use it
  lowland runs --verdict fails              past runs in which a claim failed
  lowland data                              which data sets are on this machine
"""

STUDY_HELP = """Run a study: train a grid of networks, measure them, judge the claims, write a page.

Give the name of a study, or the path of a Python file of your own. The settings of a study are its
flags: see `lowland study NAME --help`.
"""

STUDY_EXAMPLES = """Examples:

  lowland study sam_lowers_feature_rank
  lowland study sam_lowers_feature_rank --help
  lowland study sam_lowers_feature_rank --data fashion-mnist --seeds 5
  lowland study sam_lowers_feature_rank --paper --out /big/disk/runs
  lowland study ./my_study.py --workers 4
  lowland study --all                       every study, and a table of all findings
"""


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line and exit; ``tokens`` replaces what was typed."""
    words = list(sys.argv[1:] if tokens is None else tokens)
    app = _app()
    _mount(app, words)
    app(words)


def _app() -> App:
    app = App(
        name="lowland",
        version=__version__,
        help=flowing(HELP),
        help_format="plaintext",
        help_epilogue=EXAMPLES,
        error_formatter=_sentence,
    )
    study = App(name="study", help=flowing(STUDY_HELP), help_format="plaintext", help_epilogue=STUDY_EXAMPLES)
    for name in studies():
        study.command(_never, name=name, help=_summary(name))
    app.command(study)
    app.command(_never, name="compare", help="Compare any methods on any data and model, over seeds; no claims.")
    app.command(
        "lowland.commands.measure:measure_checkpoint",
        name="measure",
        help="Measure a trained network; write a page.",
    )
    app.command(
        "lowland.commands.measure:compare_checkpoints",
        name="compare-checkpoints",
        help="Measure two trained networks side by side; write a page.",
    )
    app.command("lowland.commands.listing:list_things", name="list", help="List what there is, one line each.")
    app.command("lowland.commands.show:show", name="show", help="Say what one thing is and how to use it.")
    app.command("lowland.commands.past:list_runs", name="runs", help="List past runs and their verdicts.")
    app.command("lowland.commands.data:data_app", name="data", help="Say what data there is; fetch; verify.")
    return app


def _mount(app: App, words: list[str]) -> None:
    """Put the command of the study that is asked for in its place; its flags are known only to itself."""
    if words[:1] == ["study"] and (len(words) == 1 or words[1].startswith("-")):
        from lowland.commands.every_study import every_study

        app["study"].default(every_study)
    if words[:1] == ["compare"]:
        _put(app, "compare", words[1:], "compare")
    if words[:1] == ["study"] and len(words) > 1 and not words[1].startswith("-"):
        words[1] = words[1] if words[1].endswith(".py") else words[1].replace("-", "_")
        _put(app["study"], words[1], words[2:], f"study {words[1]}")


def _put(app: App, reference: str, tokens: Sequence[str], verb: str) -> None:
    from lowland.commands.study import study_app

    command = study_app(reference, tokens, verb)
    if reference in app:
        del app[reference]
    app.command(command)


def _sentence(error: CycloptsError) -> str:
    """Errors of ours and of cyclopts look alike."""
    return f"[bold red]error[/] {escape(str(error))}"


def _summary(study: str) -> str:
    from lowland.commands.source import read

    return read(f"lowland.studies.{study}").summary


def _never() -> None:
    """Stands for a command until it is asked for; see :func:`_mount`."""
