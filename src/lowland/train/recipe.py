"""How to train: every setting that a result depends on and that must be recorded with it."""

from dataclasses import dataclass
from typing import Literal

from lowland.catalog import build
from lowland.checks import at_least, fraction, one_of, whole
from lowland.engine.method import Method
from lowland.train import precision, schedule

__all__ = ["OPTIMIZERS", "Recipe"]

OPTIMIZERS = ("sgd", "adam", "adamw")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training run; a value, so ``dataclasses.replace`` varies it.

    The batch size is not here: it is the batches' own. Objects of your own (an optimiser, a scheduler, a
    criterion, a bound method) go into :class:`~lowland.train.parts.Parts` and overrule what is said here.

    Attributes:
        method: A training method, or its spec such as ``"sam:rho=0.1"``.
        epochs: Passes over the data set, >= 0.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        learning_rate: The highest of the schedule, >= 0.
        momentum: Of SGD, in [0, 1); for the others the decay of the first moment (their beta 1).
        weight_decay: On all parameters, >= 0; an L2 gradient, in ``adamw`` decoupled.
        schedule: ``constant``, ``cosine`` to zero, or ``steps`` (a tenth at 50 % and again at 90 %).
        warmup: Share of the steps with linearly growing learning rate, in [0, 1).
        amp: ``off``; ``bf16``, autocast; ``fp16``, autocast with a gradient scaler.
        clip: Largest Euclidean norm of the gradient, > 0, applied after unscaling; None does not clip.
        accumulate: Batches per optimiser step, >= 1; the step's loss is the mean over all their examples.
        ascend: With ``accumulate``: ``each`` batch by itself (m-sharpness), or all ``together``, once, which
            keeps them all in memory.
        label_smoothing: Of the cross-entropy, in [0, 1].

    Raises:
        TypeError: If a setting is of the wrong kind.
        ValueError: If a setting is out of its range.
        LookupError: If the method's spec names an unknown method.

    Example:
        >>> Recipe(method="sam:rho=0.1", epochs=3).built()
        SAM(rho=0.1, p=2.0, per='model')
    """

    method: Method | str = "sgd"
    epochs: int = 10
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "steps"] = "cosine"
    warmup: float = 0.0
    amp: Literal["off", "bf16", "fp16"] = "off"
    clip: float | None = None
    accumulate: int = 1
    ascend: Literal["each", "together"] = "each"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, 0)
        whole("accumulate", self.accumulate)
        at_least("learning_rate", self.learning_rate, 0)
        at_least("weight_decay", self.weight_decay, 0)
        fraction("momentum", self.momentum, one=False)
        fraction("warmup", self.warmup, one=False)
        fraction("label_smoothing", self.label_smoothing)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("schedule", self.schedule, schedule.NAMES)
        one_of("amp", self.amp, precision.NAMES)
        one_of("ascend", self.ascend, ["each", "together"])
        _check_clip(self.clip)
        self.built()

    def built(self) -> Method:
        """The method itself, built from its spec where that is what was given.

        Raises:
            TypeError: If the method is neither a spec nor a method.
        """
        if isinstance(self.method, str):
            return build("methods", self.method)
        if not isinstance(self.method, Method):
            raise TypeError(f"method must be a training method or its spec, got {self.method!r}.")
        return self.method


def _check_clip(clip: float | None) -> None:
    if clip is None:
        return
    at_least("clip", clip, 0)
    if clip == 0:
        raise ValueError("clip must be above 0, got 0. Use None not to clip.")
