"""Where readings go while they are taken: lines of a file, and TensorBoard."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import distributed

from lowland.files import write_whole
from lowland.measuring.repeated import Taken

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["Record"]


class Record:
    """Writes what was measured, step after step; of several processes the first one alone writes.

    Args:
        file: One line of JSON for each reading is appended: ``step``, ``name``, ``site``, ``value``, ``stderr``,
            ``unit``, ``settings``, ``seconds``. None writes none.
        tensorboard: A folder, or a SummaryWriter; tags are name, site, and split if there are several. None
            writes there nothing.

    Raises:
        ImportError: If TensorBoard is wanted and not installed.
        OSError: If the file's folder cannot be made.
        ValueError: If ``file`` is a folder.
    """

    def __init__(self, file: str | Path | None, tensorboard: "str | Path | SummaryWriter | None") -> None:
        self.file = None if file is None else Path(file)
        if self.file is not None and self.file.is_dir():
            raise ValueError(f"file must be a file's path, got the folder {file}: name a file in it.")
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        self._own = isinstance(tensorboard, str | Path)
        self._writer = _writer(tensorboard) if isinstance(tensorboard, str | Path) else tensorboard

    def write(self, step: int, taken: Sequence[Taken]) -> None:
        """Add what was taken after ``step`` steps."""
        if not _first():
            return
        if self.file is not None:
            with self.file.open("a", encoding="utf-8", newline="\n") as file:
                file.write("".join(_lines(step, taken)))
        if self._writer is not None:
            for tag, value in _scalars(taken):
                self._writer.add_scalar(tag, value, step)
            self._writer.flush()

    def rewind(self, step: int) -> None:
        """Take the last lines of the file away that are of later steps, which will be measured again.

        Raises:
            ValueError: If the file holds lines of another kind.
        """
        if not _first() or self.file is None or not self.file.exists():
            return
        *whole, _ = self.file.read_text(encoding="utf-8").split("\n")  # the last was cut short, or is empty
        while whole and self._step(whole[-1]) > step:
            whole.pop()
        write_whole(self.file, "".join(f"{line}\n" for line in whole))

    def close(self) -> None:
        """Close TensorBoard's writer, if it was opened here."""
        if self._own and self._writer is not None:
            self._writer.close()

    def _step(self, line: str) -> int:
        try:
            return json.loads(line)["step"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self.file} must hold a probe's lines only, got {line[:60]!r}: name another file."
            ) from error


def _first() -> bool:
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0


def _writer(folder: str | Path) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard= needs the package tensorboard, which is not installed: "
            "pip install 'lowland[tensorboard]'."
        ) from error
    return SummaryWriter(str(folder))


def _lines(step: int, taken: Sequence[Taken]) -> list[str]:
    return [
        json.dumps(
            {
                "step": step,
                "name": r.name,
                "site": r.site,
                "value": r.value,
                "stderr": r.stderr,
                "unit": r.unit,
                "settings": dict(r.settings),
                "seconds": round(one.seconds, 6),
            }
        )
        + "\n"
        for one in taken
        for r in one.readings
    ]


def _scalars(taken: Sequence[Taken]) -> list[tuple[str, float]]:
    """Tags with values; a tag that comes again, as of another radius, is numbered."""
    readings = [r for one in taken for r in one.readings]
    several = len({r.settings["split"] for r in readings if "split" in r.settings}) > 1
    found, times = [], Counter[str]()
    for r in readings:
        parts = (r.name, r.site, r.settings.get("split") if several else "")
        tag = "/".join(part for part in parts if part)
        times[tag] += 1
        found.append((tag if times[tag] == 1 else f"{tag}/{times[tag]}", r.value))
    return found
