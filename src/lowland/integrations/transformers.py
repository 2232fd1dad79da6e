"""Under the Trainer of Hugging Face Transformers: training with a method, and measuring meanwhile."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lowland.engine.bind import Engine
from lowland.engine.method import Method
from lowland.integrations.accelerate import backward, bind
from lowland.integrations.check_method import check_method
from lowland.integrations.fresh import fresh
from lowland.integrations.probes import check_probes, load_probes
from lowland.integrations.substituted import substituted
from lowland.measuring.probe import Probe
from lowland.types import State

__all__ = ["MethodTrainer", "ProbeCallback"]

FILE = "lowland.pt"
"""The method's state, in a checkpoint's folder."""

PROBES = "lowland-probes.pt"
"""Where the probes are, likewise."""


class MethodTrainer(Trainer):
    """A ``Trainer`` that trains with a method: ``MethodTrainer(model, args, method=lowland.SAM(rho=0.05), ...)``.

    Other trainers take it as their first base: ``class Ours(MethodTrainer, Seq2SeqTrainer)``.

    ``compute_loss`` is called once per pass, so twice per micro-batch for SAM, on the same examples, with the
    same dropout masks; each micro-batch ascends by itself. The loss that is reported is the clean one, and what
    later passes hand to ``self.log`` is dropped; what a ``compute_loss`` of your own collects elsewhere, it
    collects in every pass. Accumulation, normalisation by tokens, label smoothing, clipping, mixed precision,
    schedulers and checkpoints stay the Trainer's, and its checkpoints hold the method's state. Frozen parameters,
    such as those below an adapter of PEFT, are not perturbed. Several processes train under DDP.

    Args:
        method: Any method that needs no parts of the batch, as :class:`lowland.MSAM` does.
        method_options: For :meth:`lowland.Method.bind`: ``where``, ``radii``, ``buffers``, ``rng``, ``watch``,
            ``ascent``.

    Attributes:
        engine: The method bound to the model, from the start of training; None before. Its ``telemetry`` says
            what the last step did.

    Raises:
        TypeError: If ``method`` is none, or an option is unknown.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the Trainer's
        method: Method,
        method_options: Mapping[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401 - the Trainer's
    ) -> None:
        self.method, self.method_options = method, dict(method_options or {})
        check_method(method, self.method_options)
        self.engine: Engine | None = None
        self._state: State = {}
        super().__init__(*args, **kwargs)
        self.add_callback(_BindAtStart(self))

    def bind_method(self) -> Engine:
        """Bind the method to the prepared model and optimiser; called when training begins."""
        prepared: Any = (self.model_wrapped, self.optimizer)
        engine = bind(self.accelerator, self.method, *prepared, keep=False, **self.method_options)
        if self._state:
            engine.load_state_dict(self._state)
        self.engine, self._state = engine, {}
        return engine

    def training_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        """Take the method's passes over a micro-batch.

        Returns:
            The clean loss, as the Trainer itself reports it.

        Raises:
            RuntimeError: If a step of the Trainer's does not call ``accelerator.backward`` once.
        """
        engine = self.engine or self.bind_method()
        step, reported, losses = super().training_step, [], []

        def closure() -> Tensor:
            losses.clear()
            with substituted(self, "log", _nothing) if reported else nullcontext():
                reported.append(step(model, fresh(inputs), *args, **kwargs))
            return _only(losses)

        with substituted(self.accelerator, "backward", lambda loss, **_: losses.append(loss)):
            backward(self.accelerator, engine, closure)
        return reported[0]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.engine is not None:
            state = self.engine.state_dict(gathered=True)  # in every process: they all take part
            if self.args.should_save:
                torch.save(state, Path(output_dir, FILE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and Path(checkpoint, FILE).exists():
            self._state = torch.load(Path(checkpoint, FILE), map_location="cpu", weights_only=True)


class ProbeCallback(TrainerCallback):
    """Measures while a ``Trainer`` trains: ``Trainer(..., callbacks=[ProbeCallback(lowland.probe(model, ...))])``.

    Steps are the optimiser's; ``probe.step(0)`` before training measures the start. Checkpoints hold where the
    probes are, and a resumed run goes on in their files.

    Args:
        probes: One or several, made by :func:`lowland.probe`, of the model that trains.

    Raises:
        TypeError: If one is no probe, or there is none.
    """

    def __init__(self, *probes: Probe) -> None:
        check_probes(probes)
        self.probes = probes

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **__: object) -> None:
        """Go on from the checkpoint; where it holds no probes, from its step."""
        file = _probes_file(args, state)
        if file.exists():
            load_probes(self.probes, torch.load(file, map_location="cpu", weights_only=True))
        elif state.global_step:
            for probe in self.probes:
                probe.rewind(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: object, **__: object) -> None:
        """Measure where it is due."""
        for probe in self.probes:
            probe.step(state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Keep where the probes are beside the checkpoint."""
        if state.is_world_process_zero:
            torch.save([probe.state_dict() for probe in self.probes], _probes_file(args, state))


def _probes_file(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or "", f"checkpoint-{state.global_step}", PROBES)


class _BindAtStart(TrainerCallback):
    def __init__(self, trainer: MethodTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, *_: object, **__: object) -> None:
        self._trainer.bind_method()


def _only(losses: Sequence[Tensor]) -> Tensor:
    if len(losses) != 1:
        raise RuntimeError(
            f"The Trainer's training_step must call accelerator.backward once, got {len(losses)} calls: a method "
            "needs one loss per micro-batch."
        )
    return losses[0]


def _nothing(*_: object, **__: object) -> None:
    return
