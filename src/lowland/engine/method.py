"""A training method: a frozen value with one generator that reads like the algorithm box of its paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from lowland.engine.answer import Policy
from lowland.engine.bind import Engine
from lowland.engine.masters import Masters
from lowland.engine.request import Direction
from lowland.engine.sites import Where
from lowland.engine.step import Step

__all__ = ["Method"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """Base of all training methods.

    A method asks for gradients by yielding ``step.gradient(...)`` and returns the direction that goes to the
    optimiser. It sees no parameters, devices, scalers or batch norm: the engine owns those.

    Attributes:
        PASSES: Forward-backward passes over the batch in one step.
        FORWARDS: Forward passes over the batch without a backward in one step.
        COPIES: Extra copies of the weights that are held at once within a step, beside what a plain one holds.
        KEEPS: Copies of the weights that are remembered between steps, within those.
        VARIES: Whether chance or the gradients decide how many passes a step takes.
        WAITS: Whether a step reads a value from the device, to decide on the host.
        CLEAN: Whether a step takes a pass at the weights themselves, and so knows the loss there.
        SHARDED: Whether it works where every process has but a part of the weights: if it takes only norms, inner
            products and entry-by-entry functions of vectors.
        REDUCES_TO: Methods that this one becomes, with the settings at which it does.
    """

    PASSES: ClassVar[float] = 1
    FORWARDS: ClassVar[float] = 0
    COPIES: ClassVar[float] = 0
    KEEPS: ClassVar[float] = 0
    VARIES: ClassVar[bool] = False
    WAITS: ClassVar[bool] = False
    CLEAN: ClassVar[bool] = True
    SHARDED: ClassVar[bool] = True
    REDUCES_TO: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def direction(self, step: Step) -> Direction:
        """The algorithm of one step."""
        raise NotImplementedError

    @property
    def passes(self) -> float:
        """Forward-backward passes per step, on average."""
        return self.PASSES

    @property
    def forwards(self) -> float:
        """Forward passes without a backward per step, on average."""
        return self.FORWARDS

    @property
    def sharded(self) -> bool:
        """Whether it works where every process has but a part of the weights."""
        return self.SHARDED

    @property
    def where(self) -> Where | None:
        """Which parameters the method perturbs; None is all."""
        return None

    def bind(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        where: Where | None = None,
        radii: Mapping[str, float] | None = None,
        buffers: Literal["clean", "every"] = "clean",
        rng: Literal["same", "fresh"] = "same",
        watch: bool = False,
        ascent: Literal["local", "global"] | None = None,
        masters: Masters | None = None,
        seed: int = 0,
    ) -> Engine:
        """Make the object that trains ``model`` with this method.

        Args:
            model: Any module with parameters; every module that the loss trains must be inside. In several
                processes, ``DistributedDataParallel`` around it, or one that ``fully_shard`` was applied to.
            optimizer: The optimiser that will take the steps: its steps are counted, and schedules may follow
                its learning rate. None counts calls of ``backward``.
            where: Which parameters are perturbed: a pattern on the name (``"blocks.*"``) or a predicate such as
                :func:`lowland.norm_only`. The others still get their gradient.
            radii: Factors on the radius by pattern, such as ``{"head.*": 0.5}``; the norm stays one norm over all
                that is perturbed.
            buffers: ``"clean"`` lets only the first pass over the data update buffers such as batch-norm
                statistics; ``"every"`` lets all passes.
            rng: ``"same"`` repeats the random numbers (dropout masks) of the first pass in later ones.
            watch: Also measure the cosine between the clean gradient and the direction, and the realised length
                of the perturbation; costs one more copy of the gradient.
            ascent: In several processes, ``"local"`` lets each ascend on its own share of the batch (m-sharpness)
                and reduces the directions once; ``"global"`` lets all ascend together, as one process with the
                whole batch would, and reduces the gradient of every pass. None is local under
                ``DistributedDataParallel``; under ``fully_shard`` there is but global. A single process has no
                choice.
            masters: The float32 weights behind a model in bfloat16 or float16: :class:`lowland.Masters`.
            seed: Of what the method draws, such as noise; kept in its state. The same in all processes.

        Returns:
            The engine, whose ``backward(closure)`` stands in for ``loss.backward()``.

        Raises:
            ValueError: If the model has no parameters, a filter picks none of them, or the optimiser trains
                parameters that are not the model's.
            NotImplementedError: If the model is wrapped for several processes in a way that is not known.
        """
        policy = Policy(buffers, rng, watch)
        return Engine(
            self,
            model,
            optimizer=optimizer,
            where=where,
            radii=radii,
            policy=policy,
            ascent=ascent,
            masters=masters,
            seed=seed,
        )
