"""What a study's ``run`` is given beside its settings."""

from collections.abc import Callable
from pathlib import Path

__all__ = ["Context"]


class Context:
    """Where to compute, where to keep a checkpoint, and how to tell seconds and progress.

    Args:
        device: Name of the torch device for this run, such as ``cpu`` or ``cuda:0``.
        folder: Place of a folder for this run alone; see :attr:`folder`.
        tell: Receives the share of this run that is done, in [0, 1].
    """

    def __init__(self, device: str, folder: Path, tell: Callable[[float], None]) -> None:
        self.device = device
        self._folder = folder
        self.timings: dict[str, float] = {}
        self._tell = tell

    @property
    def folder(self) -> Path:
        """A folder for this run alone, made when first asked for.

        It survives a crash and is removed when the run is finished, so a checkpoint kept there lets a long run
        go on where it was stopped.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def timing(self, name: str, seconds: float) -> None:
        """Add seconds under a name.

        They go to ``timings.jsonl``, because rows must be the same in every run and seconds are not.
        """
        self.timings[name] = self.timings.get(name, 0.0) + seconds

    def progress(self, fraction: float) -> None:
        """Tell the share of this run that is done, in [0, 1]; as often as convenient."""
        self._tell(min(max(fraction, 0.0), 1.0))
