import io

import pytest
from rich.console import Console

from lowland.runs.process import Event
from lowland.runs.progress import GridProgress

CELL = {"method": "sam[x]", "seed": 0}


@pytest.fixture(params=[False, True], ids=["piped", "terminal"])
def shown(request):
    """A grid of three runs, one there already, one done, one failed; what is shown of it."""
    console = Console(file=io.StringIO(), force_terminal=request.param, width=200)
    with GridProgress(console) as progress:
        progress.begin(3, 1)
        for kind in ("started", "advanced", "done"):
            progress.see(Event(kind, "a", share=0.5), CELL)
        progress.see(Event("failed", "b", text="Traceback\nValueError: no [b]sum[/b]"), CELL)
    return request.param, console.file.getvalue()


def test_reused_and_failed_runs_are_said(shown):
    assert "1 of 3 runs were there already." in shown[1]
    assert "failed: method sam[x], seed 0: ValueError: no [b]sum[/b]" in shown[1]


def test_a_pipe_gets_plain_lines(shown):
    terminal, text = shown
    assert ("2/3  method sam[x], seed 0" in text) != terminal
    assert ("\x1b" in text) == terminal


def test_the_time_left_follows_from_the_pace():
    progress = GridProgress(Console(file=io.StringIO()))
    progress.begin(10, 4)
    assert progress.left() == ""
    progress.start -= 60
    progress.see(Event("advanced", "a", share=0.5), CELL)
    assert progress.left() == "about 11 min left"
    progress.see(Event("done", "a"), CELL)
    assert progress.left() == "about 5 min left"
