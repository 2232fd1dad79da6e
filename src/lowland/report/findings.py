"""What all studies found, as one Markdown table: a line for every claim."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowland.report.interval import Interval
from lowland.report.table import Table

__all__ = ["Found", "findings"]

HEAD = """# Findings

What the studies found with their quick settings, claim by claim. `lowland study --all` runs them and writes this
file; a study that is finished is not run again. Small networks on small data: a verdict is about what was run
here. A study's page says what that was, what was tried, and what the papers published.

A claim *holds* if the whole 95 % t-interval of every effect is on the stated side of its bound, *fails* if one
lies on the other side, and is *inconclusive* otherwise. Shown is the effect that the verdict hangs on. Time is
that of all runs of a study, one after the other: with a run on each of two cores about half of it passes.
"""

COLUMNS = ("study", "claim", "verdict", "effect", "mean [95 % interval]", "seeds", "time", "page")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one study found.

    Attributes:
        study: Its name.
        claims: The entries of its ``claims.json``.
        seconds: That its runs took, one after the other.
        page: Address of its page, from where the table stands.
        figure: Address of its first figure; empty if it has none.
    """

    study: str
    claims: Sequence[Mapping[str, Any]]
    seconds: float
    page: str
    figure: str = ""


def findings(found: Sequence[Found], missing: Sequence[str] = ()) -> str:
    """A Markdown page with one table.

    Args:
        found: What the studies found, in the order of the lines.
        missing: Studies that could not be run.

    Example:
        >>> claim = {"text": "It falls.", "verdict": "holds", "measured": "slope", "unit": ""}
        >>> claim |= {"effect": -1.0, "interval": [-1.2, -0.8], "seeds": 5}
        >>> print(findings([Found(study="falling", claims=[claim], seconds=90, page="f.html")]).splitlines()[-1])
        | falling | It falls. | holds | slope | −1.00 [−1.20, −0.80] | 5 | 1.5 min | [page](f.html) |
    """
    lines = [_line(one, claim) for one in found for claim in one.claims]
    counts = Counter(str(claim["verdict"]) for one in found for claim in one.claims)
    said = ", ".join(f"*{word}* {counts[word]}" for word in ("holds", "fails", "inconclusive"))
    absent = f"Could not be run, or failed: {', '.join(missing)}." if missing else ""
    total = f"Of {len(lines)} claims in {len(found)} studies: {said}. {absent}".strip()
    table = Table(title="Findings", columns=COLUMNS, rows=tuple(lines)).markdown()
    links = re.sub(r"\]\([^)]*\)", lambda link: link[0].replace("\\", ""), table)
    return f"{HEAD}\n{total}\n\n{links}"


def _line(one: Found, claim: Mapping[str, Any]) -> tuple[str, ...]:
    figure = f", [figure]({one.figure})" if one.figure else ""
    return (
        one.study,
        str(claim["text"]),
        str(claim["verdict"]),
        str(claim["measured"]),
        _size(claim),
        str(claim["seeds"]),
        f"{one.seconds / 60:.1f} min" if one.seconds >= 60 else f"{one.seconds:.0f} s",
        f"[page]({one.page}){figure}",
    )


def _size(claim: Mapping[str, Any]) -> str:
    """Mean, interval and unit; empty where there is no effect."""
    (low, high), value = claim["interval"], claim["effect"]
    if value is None:
        return ""
    ends = (float("-inf") if low is None else low, float("inf") if high is None else high)
    size = Interval(value=value, low=ends[0], high=ends[1], seeds=claim["seeds"])
    return f"{size} {claim['unit']}".strip()
