"""Under Lightning: training with a method, automatic optimisation kept, and measuring meanwhile; callbacks."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchmetrics import Metric

from lowland.engine.bind import Engine
from lowland.engine.method import Method
from lowland.integrations.check_method import check_method
from lowland.integrations.fresh import fresh
from lowland.integrations.probes import check_probes, load_probes
from lowland.integrations.substituted import substituted
from lowland.measuring.probe import Probe
from lowland.types import State

__all__ = ["MethodCallback", "ProbeCallback"]


class MethodCallback(Callback):
    """Trains with a method: ``Trainer(callbacks=[MethodCallback(lowland.SAM(rho=0.05))])``.

    ``training_step`` is called once per pass, so twice per batch for SAM, on the same batch, with the same dropout
    masks. Only what the first call hands to ``self.log`` and to metrics of torchmetrics counts; what a call
    writes elsewhere, every call writes. Accumulation (each batch ascends by itself), clipping, mixed precision,
    schedulers, the count of steps and checkpoints stay Lightning's, and its checkpoints hold the method's state. A
    batch that ``training_step`` skips by returning None leaves no trace. Several processes train under DDP.

    The passes run where Lightning calls ``training_step``: ``optimizer_zero_grad`` is called before them as well,
    the hooks around ``backward`` after them.

    Args:
        method: Any method that needs no parts of the batch, as :class:`lowland.MSAM` does.
        options: For :meth:`lowland.Method.bind`: ``where``, ``radii``, ``buffers``, ``rng``, ``watch``,
            ``ascent``.

    Attributes:
        engine: The method bound to the module, from the start of training; None before. Its ``telemetry`` says
            what the last step did.

    Raises:
        TypeError: If ``method`` is none, or an option is unknown.

    Example:
        >>> import lowland
        >>> callback = MethodCallback(lowland.SAM(rho=0.05), where=lowland.no_bias)
    """

    def __init__(self, method: Method, **options: Any) -> None:  # noqa: ANN401 - they are those of bind
        check_method(method, options)
        self.method, self.options = method, options
        self.engine: Engine | None = None
        self._state: State = {}
        self._gradients: list[tuple[nn.Parameter, Tensor | None]] = []
        self._changes = ExitStack()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bind the method, and take over training steps and backward passes until training ends.

        Raises:
            NotImplementedError: If optimisation is not automatic, or several processes train otherwise than under
                DDP.
            TypeError: If the module has a backward of its own, or its training_step draws the batches itself.
        """
        _refuse(trainer, pl_module)
        model = trainer.strategy.model or pl_module
        engine = self.method.bind(model, optimizer=trainer.optimizers[0], **self.options)
        if self._state:
            engine.load_state_dict(self._state)
        self.engine, self._state = engine, {}
        step = trainer.strategy.training_step

        def training_step(*inputs: object) -> object:
            return self._take_passes(engine, trainer, pl_module, lambda: step(*fresh(inputs)))

        self._changes.enter_context(substituted(trainer.strategy, "training_step", training_step))
        self._changes.enter_context(substituted(trainer.precision_plugin, "backward", self._hand_over))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the training steps back."""
        self._changes.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the training steps back."""
        self._changes.close()

    def state_dict(self) -> State:
        """The method's state, in every process that of all."""
        return self._state if self.engine is None else self.engine.state_dict(gathered=True)

    def load_state_dict(self, state_dict: State) -> None:
        """Keep the method's state until training starts."""
        self._state = state_dict

    def _take_passes(
        self, engine: Engine, trainer: Trainer, module: LightningModule, step: Callable[[], object]
    ) -> object:
        """What the first pass's ``training_step`` returned; the gradients wait for Lightning's backward."""
        loop, share = trainer.fit_loop, trainer.accumulate_grad_batches
        if loop._skip_backward:  # Lightning wants nothing but batch-norm statistics
            return step()
        if loop.batch_idx % share == 0:
            module.optimizer_zero_grad(trainer.current_epoch, loop.batch_idx, trainer.optimizers[0])
        outputs = []

        def closure() -> Tensor:
            if outputs:
                with _unheard(module):
                    return _loss(step()) / share
            outputs.append(step())
            return _loss(outputs[0]) / share

        try:
            engine.backward(closure, scaler=getattr(trainer.precision_plugin, "scaler", None))
        except _NoLossError:
            return None
        self._gradients = [(p, p.grad) for p in module.parameters()]
        for p, _ in self._gradients:
            p.grad = None  # out of reach of Lightning's zero_grad, which comes next
        return outputs[0]

    def _hand_over(self, *_: object, **__: object) -> None:
        for p, grad in self._gradients:
            p.grad = grad
        self._gradients = []


class ProbeCallback(Callback):
    """Measures while Lightning trains: ``Trainer(callbacks=[ProbeCallback(lowland.probe(module.net, ...))])``.

    Steps are the optimiser's; ``probe.step(0)`` before training measures the start. Checkpoints hold where the
    probes are, and a resumed run goes on in their files.

    Args:
        probes: One or several, made by :func:`lowland.probe`, of the module that trains or of a part of it.

    Raises:
        TypeError: If one is no probe, or there is none.
    """

    def __init__(self, *probes: Probe) -> None:
        check_probes(probes)
        self.probes = probes

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        """Measure where it is due."""
        for probe in self.probes if trainer.global_step else ():
            probe.step(trainer.global_step)

    def state_dict(self) -> State:
        """Where the probes are."""
        return {"probes": [probe.state_dict() for probe in self.probes]}

    def load_state_dict(self, state_dict: State) -> None:
        """Go on from there."""
        load_probes(self.probes, state_dict["probes"])


class _NoLossError(Exception):
    """There is no loss for this batch."""


def _loss(output: Any) -> Tensor:  # noqa: ANN401 - what a training_step returned
    if output is None:
        raise _NoLossError
    return output["loss"] if isinstance(output, Mapping) else output  # the engine refuses what is no loss


@contextmanager
def _unheard(module: LightningModule) -> Iterator[None]:
    """What the module logs inside the block goes nowhere, and its metrics do not change."""
    metrics = [part for part in module.modules() if isinstance(part, Metric)]
    before = [dict(vars(metric)) for metric in metrics]
    for metric in metrics:
        for name, value in metric.metric_state.items():
            setattr(metric, name, list(value) if isinstance(value, list) else value.clone())
    try:
        with substituted(module, "log", lambda *_, **__: None):
            yield
    finally:
        for metric, held in zip(metrics, before, strict=True):
            vars(metric).update(held)


def _refuse(trainer: Trainer, module: LightningModule) -> None:
    if not module.automatic_optimization:
        raise NotImplementedError(
            "The callback needs automatic optimisation, got automatic_optimization=False: bind the method in "
            "on_train_start, and call engine.backward(closure) in place of self.manual_backward(loss)."
        )
    replicated = isinstance(trainer.strategy.model, DistributedDataParallel)
    if trainer.strategy.handles_gradient_accumulation or (trainer.world_size > 1 and not replicated):
        raise NotImplementedError(
            "Several processes must train replicas under Lightning, got "
            f'{type(trainer.strategy).__name__}: use Trainer(strategy="ddp").'
        )
    if type(module).backward.__module__.split(".")[0] not in ("lightning", "pytorch_lightning"):
        raise TypeError(
            f"{type(module).__name__} must not have a backward of its own, got one: it would not be called."
        )
    if "dataloader_iter" in inspect.signature(module.training_step).parameters:
        raise TypeError(
            "training_step must take a batch, got one that takes dataloader_iter: every pass would draw another."
        )
