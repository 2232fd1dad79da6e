"""A published claim, and the verdict that the effects found in a study's rows pass on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lowland.report.effect import Effect, Outcome, sentences
from lowland.report.grid import IncompleteError

if TYPE_CHECKING:
    from lowland.types import Row

__all__ = ["Claim", "Verdict", "judge", "judge_all"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence of a paper that a study can check.

    Attributes:
        id: Short name, such as ``"rank_falls"``; stays the same for ever.
        text: The claim, as a sentence.
        source: Where it is stated: paper, section, table or figure.
        check: From the study's rows to the effect, or to several that must all support the claim.
    """

    id: str
    text: str
    source: str
    check: "Callable[[Sequence[Row]], Effect | Sequence[Effect]]"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rows say about a claim.

    Attributes:
        claim: The claim.
        effects: Its effects; empty if none could be computed.
        note: Why no verdict can be given whatever the effects say; empty if it can.
    """

    claim: Claim
    effects: tuple[Effect, ...] = ()
    note: str = ""

    @property
    def outcome(self) -> Outcome:
        """*holds* if every effect does, *fails* if one fails, else *inconclusive*."""
        outcomes = {effect.outcome for effect in self.effects}
        if self.note or not outcomes:
            return "inconclusive"
        if "fails" in outcomes:
            return "fails"
        return "holds" if outcomes == {"holds"} else "inconclusive"

    @property
    def decisive(self) -> Effect | None:
        """The effect that the outcome hangs on: of those with that outcome, the one with the least margin."""
        same = [effect for effect in self.effects if effect.outcome == self.outcome] or list(self.effects)
        return min(same, key=lambda effect: effect.margin, default=None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every different sentence about what stands in the way, or is to be known about the effects."""
        said = [self.note, *(text for effect in self.effects for text in (effect.note, effect.reason))]
        return tuple(dict.fromkeys(text for text in said if text))

    def record(self) -> dict[str, Any]:
        """As one entry of ``claims.json``: the decisive effect, then all of them under ``effects``."""
        found = self.decisive.record() if self.decisive else {}
        return {
            "id": self.claim.id,
            "text": self.claim.text,
            "source": self.claim.source,
            "verdict": self.outcome,
            "measured": found.get("name", ""),
            "effect": found.get("value"),
            "interval": [found.get("low"), found.get("high")],
            "seeds": found.get("seeds", 0),
            "unit": found.get("unit", ""),
            "note": sentences(*self.reasons),
            "effects": [each.record() for each in self.effects],
        }


def judge(claim: Claim, rows: "Sequence[Row]", *, missing: str = "") -> Verdict:
    """Let a claim's check look at the rows.

    Args:
        claim: The claim.
        rows: Every row of the study.
        missing: What the grid did not finish, as a sentence; then every verdict is *inconclusive*.

    Returns:
        The verdict; *inconclusive* with the reason if the check raises :class:`IncompleteError`.
    """
    try:
        found = claim.check(rows)
    except IncompleteError as error:
        return Verdict(claim=claim, note=sentences(missing, str(error)))
    effects = (found,) if isinstance(found, Effect) else tuple(found)
    return Verdict(claim=claim, effects=effects, note=missing)


def judge_all(claims: "Sequence[Claim]", rows: "Sequence[Row]", *, missing: str = "") -> tuple[Verdict, ...]:
    """The verdicts of several claims, in their order; see :func:`judge`."""
    return tuple(judge(claim, rows, missing=missing) for claim in claims)
