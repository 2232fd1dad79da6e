"""The probes of a callback: checked at the door, and brought back from a checkpoint."""

from collections.abc import Sequence

from lowland.measuring.probe import Probe
from lowland.types import State

__all__ = ["check_probes", "load_probes"]


def check_probes(probes: Sequence[object]) -> None:
    """Refuse what are no probes.

    Raises:
        TypeError: If it is so, or there is none.
    """
    kinds = [type(one).__name__ for one in probes if not isinstance(one, Probe)]
    if kinds or not probes:
        given = ", ".join(kinds) or "none"
        raise TypeError(f"probes must be made by lowland.probe(model, loss, data, measurements), got {given}.")


def load_probes(probes: Sequence[Probe], states: Sequence[State]) -> None:
    """Let every probe go on where it was.

    Raises:
        ValueError: If there are not as many states as probes.
    """
    if len(states) != len(probes):
        raise ValueError(
            f"The callback must have as many probes as its checkpoint, got {len(probes)} and {len(states)}: "
            "give it the same ones in the same order."
        )
    for probe, state in zip(probes, states, strict=True):
        probe.load_state_dict(state)
