"""A training run under way: epochs of steps, with a look at the clock, the loss and Ctrl-C in between."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from lowland.train.display import Display
from lowland.train.epochs import Epochs
from lowland.train.hooks import Hook, Moment, look
from lowland.train.interrupt import Interrupt
from lowland.train.keep import Keeper
from lowland.train.position import Position
from lowland.train.setup import Setup
from lowland.train.step import take
from lowland.train.tally import Tally

__all__ = ["Loop"]

LOOK_EVERY = 100
"""Optimiser steps between two looks at whether the loss is still finite."""


class Loop:
    """A training run under way.

    Attributes:
        position: Where it is, and its rows so far.
        tally: Loss and accuracy of the epoch so far.
    """

    def __init__(self, setup: Setup, batches: Epochs, hooks: Sequence[Hook]) -> None:
        self.setup, self.batches, self.hooks = setup, batches, hooks
        self.position, self.tally = Position(), Tally(setup.device)

    def run(self, keeper: Keeper, interrupt: Interrupt, display: Display) -> None:
        """Train from where the position is to the end."""
        if self._done:
            return
        display.begin(self.position)
        self.setup.optimizer.zero_grad()
        while not self._done:
            if not self.setup.model.training:
                self.setup.model.train()
            self._train_epoch(keeper, interrupt, display)
            if interrupt.asked:
                self._give_up(keeper, display)
            self._close_epoch()
            display.epoch(self.position)
            if self._done or keeper.due(time.monotonic()):
                keeper.save()
        if interrupt.asked:
            self._give_up(keeper, display)

    @property
    def _done(self) -> bool:
        return self.position.stopped or self.position.epoch >= self.setup.recipe.epochs

    def _train_epoch(self, keeper: Keeper, interrupt: Interrupt, display: Display) -> None:
        """Take the epoch's remaining steps, or those up to Ctrl-C."""
        position, tally = self.position, self.tally
        began = time.monotonic() - position.elapsed
        for group in self._groups():
            position.rate = self.setup.rate
            take(self.setup, group, tally)
            position.batch += len(group)
            position.step += 1
            now = time.monotonic()
            position.elapsed = now - began
            if keeper.due(now):
                keeper.save()
            if display.due(now):
                display.update(position, tally)
            if interrupt.asked:
                return

    def _groups(self) -> Iterator[list[tuple[Any, Tensor]]]:
        """The batches of the remaining steps; none after a loss that is not finite.

        Looked for at fixed steps and before a step, so that a resumed run sees it at the same one.
        """
        batches = self.batches.epoch(self.position.epoch, start=self.position.batch)
        while self.position.step % LOOK_EVERY or self.tally.finite:
            group = list(islice(batches, self.setup.recipe.accumulate))
            if not group:
                return
            yield group

    def _close_epoch(self) -> None:
        position, tally = self.position, self.tally
        row = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "loss": tally.loss,
            "accuracy": tally.accuracy,
            "learning_rate": float(position.rate),
            "passes": tally.passes / tally.steps,
            "diverged": not (tally.finite and _finite(self.setup.model)),
        }
        if self.setup.parts.scheduler_every == "epoch":
            self.setup.advance()
        if not row["diverged"]:
            moment = Moment(epoch=row["epoch"], epochs=self.setup.recipe.epochs, row=row)
            row = look(self.hooks, self.setup.model, moment)
        position.next_epoch(row)
        tally.clear()

    def _give_up(self, keeper: Keeper, display: Display) -> None:
        keeper.save()
        keep, position = keeper.keep, self.position
        how = "nothing was kept: give keep= a folder to be able to go on"
        if keep is not None:
            how = f"kept in {keep.folder}: run the same again to go on from there"
        sentence = f"Stopped after step {position.step}, in epoch {position.epoch + 1}; {how}."
        display.say(sentence)
        raise KeyboardInterrupt(sentence)


def _finite(model: nn.Module) -> bool:
    """Whether all trained weights are; waits for the device once."""
    norms = torch._foreach_norm([p.detach() for p in model.parameters() if p.requires_grad])
    return bool(torch.isfinite(torch.stack(norms)).all())
