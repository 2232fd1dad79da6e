"""The one training loop."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from lowland.train.display import Display
from lowland.train.epochs import Epochs
from lowland.train.history import History
from lowland.train.hooks import Hook
from lowland.train.interrupt import Interrupt
from lowland.train.keep import Keep, Keeper
from lowland.train.loop import Loop
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from lowland.train.setup import assemble

__all__ = ["fit"]


def fit(
    model: nn.Module,
    batches: Epochs,
    recipe: Recipe | None = None,
    *,
    parts: Parts | None = None,
    keep: Keep | str | Path | None = None,
    hooks: Sequence[Hook] = (),
    progress: bool = True,
) -> History:
    """Train ``model`` in place on ``batches`` as ``recipe`` says.

    With ``keep`` the run is resumable: killed at any moment and started again by the same call, it goes on
    from its last checkpoint and ends in the same weights and rows, bit for bit (same machine, same software).
    A finished run is read back, not run again. Ctrl-C finishes the step, writes a checkpoint, and raises
    KeyboardInterrupt; a second Ctrl-C interrupts at once. A loss or weights that are not finite end the
    training with a row that says so.

    Args:
        model: Any module that maps a batch's inputs to outputs for the criterion. Put into training mode if
            its own flag is off; layers that you have set to evaluation by themselves stay so.
        batches: The data, on the model's device; see :class:`lowland.data.batches.Batches`.
        recipe: The settings; None takes the defaults.
        parts: Your own optimiser, scheduler, criterion or bound method, instead of the recipe's.
        keep: A folder for checkpoints, or a :class:`~lowland.train.keep.Keep` that also says how often.
        hooks: Called after every epoch as ``hook(model, moment)``; the numbers they return join the epoch's
            row. What they do to the model and the random streams is undone.
        progress: Whether to show progress on standard error.

    Returns:
        One row per epoch, and the seconds they took.

    Raises:
        TypeError: If ``batches`` cannot be had again from any point, as those of a DataLoader.
        ValueError: If there is nothing to train or no data, parts do not belong together, or ``keep`` holds a
            damaged checkpoint or one of another run; the model is unchanged then.
        OSError: If a checkpoint cannot be written; the one before is still whole.
        KeyboardInterrupt: If Ctrl-C was pressed.

    Cost:
        What the method's passes and the optimiser cost. The device is waited for once in 100 steps, and on a
        terminal four times a second for the progress line.

    Example:
        >>> import torch
        >>> from lowland.data.batches import Batches
        >>> from lowland.data.dataset import Split
        >>> x = torch.randn(64, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        >>> split = Split(x, (x.sum((1, 2, 3)) > 0).long())
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> recipe = Recipe(method="sam:rho=0.05", epochs=5)
        >>> history = fit(model, Batches(split, 16, seed=0), recipe, progress=False)
        >>> history.last["passes"], history.last["accuracy"] > 0.9
        (2.0, True)
    """
    recipe = recipe or Recipe()
    if not callable(getattr(batches, "epoch", None)):
        raise TypeError(
            f"batches must have epoch(k, start), to be resumable, got {type(batches).__name__}: use "
            "lowland.data.batches.Batches, or bind a method and write your own loop."
        )
    steps = recipe.epochs * _steps_per_epoch(batches, recipe)
    setup = assemble(model, recipe, parts or Parts(), steps)
    loop = Loop(setup, batches, hooks)
    keeper = Keeper(Keep(folder=keep) if isinstance(keep, str | Path) else keep, loop)
    keeper.resume()
    with Interrupt() as interrupt, Display(recipe.epochs, steps, progress) as display:
        loop.run(keeper, interrupt, display)
    return History(rows=tuple(loop.position.rows), seconds=tuple(loop.position.seconds))


def _steps_per_epoch(batches: Epochs, recipe: Recipe) -> int:
    if len(batches) == 0:
        raise ValueError("batches must hold at least one batch, got none.")
    return -(-len(batches) // recipe.accumulate)
