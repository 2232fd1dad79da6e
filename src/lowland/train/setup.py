"""The objects that train a model, as the recipe and your own parts have it."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lowland.engine.bind import Engine
from lowland.train import precision
from lowland.train.parts import Parts, Stateful
from lowland.train.recipe import Recipe
from lowland.train.schedule import schedule
from lowland.types import Criterion, State

__all__ = ["Setup", "assemble"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that takes part in an optimiser step.

    Attributes:
        forward: What is called on inputs: the model, or the model under autocast.
        parts: What was the user's own.
    """

    model: nn.Module
    device: torch.device
    recipe: Recipe
    parts: Parts
    engine: Engine
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: torch.amp.GradScaler | None
    forward: nn.Module
    criterion: Criterion

    @property
    def rate(self) -> float | Tensor:
        """The learning rate of the optimiser's first group, a tensor only if the optimiser keeps one."""
        rate = self.optimizer.param_groups[0]["lr"]
        return rate.clone() if isinstance(rate, Tensor) else rate

    def advance(self) -> None:
        """Step the scheduler, also when a gradient scaler has skipped the optimiser's step: time goes on."""
        if self.scaler is None:
            self.scheduler.step()
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            self.scheduler.step()

    def state_dict(self) -> State:
        """The state of all but the model."""
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: State) -> None:
        """Go on where the state was taken.

        Raises:
            ValueError: If the state does not fit; nothing is changed then but what fitted before it.
        """
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _stateful(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {"engine": self.engine, "optimizer": self.optimizer}
        parts["scheduler"] = self.scheduler
        parts |= {f"penalty {i}": penalty for i, penalty in enumerate(self.parts.penalties)}
        if self.scaler is not None:
            parts["scaler"] = self.scaler
        return parts


def assemble(model: nn.Module, recipe: Recipe, parts: Parts, steps: int) -> Setup:
    """Make what the recipe describes and the user has not brought.

    Args:
        model: Any module with trainable parameters, all of them on one device.
        recipe: The settings.
        parts: The user's own objects.
        steps: Optimiser steps of the whole training.

    Returns:
        All parts together.

    Raises:
        ValueError: If the model has nothing to train, or a part is not this model's.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(f"model must have trainable parameters, got {type(model).__name__} without any.")
    device = trained[0].device
    optimizer = parts.optimizer or _optimizer(recipe, trained)
    return Setup(
        model=model,
        device=device,
        recipe=recipe,
        parts=parts,
        engine=parts.engine or recipe.built().bind(model, optimizer=optimizer, seed=torch.initial_seed() % 2**63),
        optimizer=optimizer,
        scheduler=parts.scheduler or schedule(optimizer, recipe.schedule, max(1, steps), recipe.warmup),
        scaler=precision.scaler(recipe.amp, device),
        forward=precision.forward(model, recipe.amp, device),
        criterion=parts.criterion or nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing),
    )


def _optimizer(recipe: Recipe, trained: list[nn.Parameter]) -> Optimizer:
    """The recipe's optimiser; on CUDA the fused one, which lets a gradient scaler work without waiting."""
    rate, decay, fused = recipe.learning_rate, recipe.weight_decay, trained[0].is_cuda or None
    if recipe.optimizer == "sgd":
        return SGD(trained, rate, momentum=recipe.momentum, weight_decay=decay, fused=fused)
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(trained, rate, betas=(recipe.momentum, 0.999), weight_decay=decay, fused=fused)
