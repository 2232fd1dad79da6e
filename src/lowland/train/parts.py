"""Your own objects, in place of those that a recipe would make."""

from dataclasses import dataclass
from typing import Literal, Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lowland.checks import one_of
from lowland.engine.bind import Engine
from lowland.types import Criterion, State

__all__ = ["Parts", "Stateful"]


class Stateful(Protocol):
    """What checkpoints keep."""

    def state_dict(self) -> State:
        """All that a resumed run needs."""
        ...

    def load_state_dict(self, state: State, /) -> None:
        """Go on where ``state_dict`` was taken."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Objects that overrule the recipe; None lets the recipe make them.

    Their state is kept in checkpoints and brought back, and checkpoints of others are refused. An own
    criterion must be stateless.

    Attributes:
        optimizer: Any PyTorch optimiser over the model's parameters.
        scheduler: Any scheduler of ``optimizer`` whose ``step()`` takes no argument.
        scheduler_every: After what the scheduler's ``step()`` is called: every optimiser ``step`` or ``epoch``.
        criterion: Maps outputs and targets to the mean loss of a batch.
        engine: A method bound to the model and ``optimizer``, such as
            ``SAM().bind(model, optimizer=optimizer, where="blocks.*")``.
        penalties: Bound penalties, such as ``SWA(start=1000).bind(model, optimizer)``; a loss term is called in
            your criterion.

    Raises:
        ValueError: If a part needs another one that is missing or is not this one.
        TypeError: If the scheduler needs a metric.

    Example:
        >>> from torch import nn, optim
        >>> adam = optim.Adam(nn.Linear(2, 1).parameters())
        >>> every_30_epochs = optim.lr_scheduler.StepLR(adam, 30)
        >>> parts = Parts(optimizer=adam, scheduler=every_30_epochs, scheduler_every="epoch")
    """

    optimizer: Optimizer | None = None
    scheduler: LRScheduler | None = None
    scheduler_every: Literal["step", "epoch"] = "step"
    criterion: Criterion | None = None
    engine: Engine | None = None
    penalties: tuple[Stateful, ...] = ()

    def __post_init__(self) -> None:
        one_of("scheduler_every", self.scheduler_every, ["step", "epoch"])
        if isinstance(self.scheduler, ReduceLROnPlateau):
            raise TypeError(
                "scheduler must step without a metric, got ReduceLROnPlateau. "
                "Use a schedule that depends on the step alone."
            )
        if self.scheduler is not None and self.scheduler.optimizer is not self.optimizer:
            raise ValueError(
                "scheduler must be that of optimizer, got one of another. Pass both: "
                "Parts(optimizer=optimizer, scheduler=scheduler)."
            )
        for name in ("engine", "penalties"):
            if getattr(self, name) and self.optimizer is None:
                raise ValueError(
                    f"{name} must come with its optimizer, got none. Pass both: "
                    f"Parts(optimizer=optimizer, {name}={name})."
                )
