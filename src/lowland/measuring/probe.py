"""Measuring during training, every so many steps."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from lowland.checks import whole
from lowland.measuring.record import Record
from lowland.measuring.repeated import Measurable, Repeated
from lowland.observe.reading import Reading
from lowland.types import Batches, Row, State

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["Probe", "probe"]


def probe(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor] | None,
    data: Batches | Mapping[str, Batches],
    measurements: Measurable | str | Sequence[Measurable | str],
    every: int = 100,
    *,
    file: str | Path | None = None,
    tensorboard: "str | Path | SummaryWriter | None" = None,
    params: str | Sequence[str] = "all",
    memory: str | float = "2 GB",
) -> "Probe":
    """Measure ``model`` while it trains, after every so many steps.

    Training goes the same way with a probe and without, bit for bit: weights, buffers, gradients, modes and random
    streams are as before. Eigenvalues start from the eigenvectors of the last time.

    Args:
        model: Any module; the one that trains.
        loss: ``loss(outputs, targets)``, as for :func:`lowland.measure`.
        data: Batches, the same ones every time, or a mapping from split to batches. A loader that shuffles by a
            generator of PyTorch's gives one order every time; not one with persistent workers that training is
            reading just then.
        measurements: One or several, made or by name, such as ``"sharpness:rho=0.1"``.
        every: Steps from one time to the next, >= 1.
        file: Path of a file; a line of JSON for each reading is appended.
        tensorboard: A folder or a SummaryWriter that also gets the values; needs ``lowland[tensorboard]``.
        params: What measurements of the loss are about; patterns on names of parameters.
        memory: What graphs of those may take.

    Returns:
        The probe. Call its ``step()`` after each of the optimiser's; or give it to the ``ProbeCallback`` of
        :mod:`lowland.integrations`; or as a hook to :func:`lowland.fit`, which measures at the ends of those
        epochs in which it became due.

    Raises:
        ImportError: If TensorBoard is wanted and not installed.
        LookupError: If a split, a layer or a parameter is unknown.
        OSError: If the file's folder cannot be made.
        TypeError: If the model, the data, a measurement or ``every`` are of another kind.
        ValueError: If ``every`` is below 1, ``file`` is a folder, nothing is trainable, or memory is no amount.

    Cost:
        Every ``every`` steps that of the measurements; nothing in between.

    Example:
        >>> import torch
        >>> from lowland.measurements.accuracy import Accuracy
        >>> batches = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> watch = probe(nn.Linear(2, 2), nn.functional.cross_entropy, batches, Accuracy(), every=2)
        >>> [watch.step() is not None for _ in range(4)]
        [False, True, False, True]
    """
    whole("every", every)
    return Probe(Repeated(model, loss, data, measurements, params, memory), Record(file, tensorboard), every)


class Probe:
    """Measures when it is due. Made by :func:`probe`.

    Attributes:
        every: Steps from one time to the next.
        count: Steps seen.
    """

    def __init__(self, repeated: Repeated, record: Record, every: int) -> None:
        self.every, self.count = every, 0
        self._repeated, self._record = repeated, record
        self._measured: int | None = None
        self._began = False

    def step(self, count: int | None = None) -> list[Reading] | None:
        """To be called after every step of the optimiser; ``step(0)`` before the first measures the start.

        Args:
            count: Steps done so far, all in all; None is one more than last time. Those left out are caught up
                with, and one that comes again is not measured again.

        Returns:
            The readings, if a multiple of ``every`` was reached; else None.

        Raises:
            TypeError: If ``count`` is not a whole number.
            ValueError: If it is below 0, or the model cannot be measured.
        """
        count = self.count + 1 if count is None else count
        whole("count", count, low=0)
        if count < self.count:  # another training
            self._measured = None
        self._began, self.count = True, count
        if not self._due:
            return None
        taken = self._repeated.take()
        self._record.write(count, taken)
        self._measured = count
        return [reading for one in taken for reading in one.readings]

    @property
    def _due(self) -> bool:
        start = self.count == 0 and self._measured is None
        return start or self.count // self.every > (self._measured or 0) // self.every

    def rewind(self, step: int) -> None:
        """Go on after ``step`` steps: the file's last lines, of later ones, are taken away, to be measured again.

        Raises:
            ValueError: If the file holds lines of another kind.
        """
        self._record.rewind(step)
        self.count, self._measured, self._began = step, step or None, True

    def state_dict(self) -> State:
        """The count, and what the next time starts from; for a checkpoint."""
        warm = {split: dict(kept) for split, kept in self._repeated.warm.items()}
        return {"count": self.count, "measured": self._measured, "warm": warm}

    def load_state_dict(self, state: State) -> None:
        """Go on where the checkpoint was, and :meth:`rewind` the file to there.

        Raises:
            ValueError: If the file holds lines of another kind.
        """
        self.rewind(state["count"])
        self._measured = state["measured"]
        self._repeated.forget()
        self._repeated.warm = {split: dict(kept) for split, kept in state["warm"].items()}

    def __call__(self, model: nn.Module, moment: "Moment") -> None:
        """Step as a hook of :func:`lowland.fit`; a resumed run goes on in the file, its eigenvalues from anew."""
        step = moment.row["step"]
        if moment.epoch > 1 and not self._began:
            self.rewind(step // moment.epoch * (moment.epoch - 1))
        self.step(step)

    def close(self) -> None:
        """Close what was opened for TensorBoard."""
        self._record.close()

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Moment(Protocol):
    """What a hook is told of the moment."""

    @property
    def epoch(self) -> int:
        """Epochs done."""
        ...

    @property
    def row(self) -> Row:
        """The epoch's row so far."""
        ...
