"""Training under Lightning is a loop by hand, bit for bit."""

import lightning.pytorch as lightning
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import ModelParallelStrategy
from torchmetrics import CatMetric, MeanMetric, MetricCollection, SumMetric

import lowland
from integrations.by_hand import COUNT, METHODS, SETTINGS, batches, by_hand, mean_over, net, optimiser
from integrations.recalling import Recalling
from lowland.integrations.lightning import MethodCallback
from rigs import assert_same

ALL = {**SETTINGS, "clip by value": {"clip": 0.01, "by": "value"}}
settings = pytest.mark.parametrize("setting", ALL.values(), ids=ALL)
methods = pytest.mark.parametrize("method", METHODS, ids=repr)


class Batches:
    """A list of batches would be taken for a list of loaders."""

    def __init__(self, *share):
        self.batches = batches(*share)

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return COUNT


class Steps:
    """A module's hooks, for either name of the host."""

    def __init__(self, scheduled=False):
        super().__init__()
        self.net, self.scheduled = net(), scheduled
        self.calls = self.validations = 0

    def on_train_batch_start(self, batch, batch_idx):
        torch.manual_seed(batch_idx)

    def training_step(self, batch, batch_idx):
        self.calls += 1
        return self.net(**batch)["loss"]

    def configure_optimizers(self):
        optimizer, scheduler = optimiser(self.net, self.scheduled)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Module(Steps, lightning.LightningModule):
    pass


class Unscheduled(Module):
    def configure_optimizers(self):
        return optimiser(self.net)[0]


def trainer(*callbacks, host=lightning, clip=None, by="norm", accumulate=1, scheduled=False, **options):
    quiet = ("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger")
    return host.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        gradient_clip_val=clip,
        gradient_clip_algorithm=by,
        accumulate_grad_batches=accumulate,
        **{"max_epochs": 1, **dict.fromkeys(quiet, False), **options},
    )


def fit(method, module=None, *, data=None, resume=None, **options):
    """The trained module, its trainer and the callback; a method of None is Lightning by itself."""
    module = module or Module(options.get("scheduled", False))
    callback = method and MethodCallback(method)
    host = trainer(*[callback] if callback else [], **options)
    host.fit(module, data or Batches(), ckpt_path=resume)
    return module, host, callback


def hand(method, loss_of=None, data=None, **setting):
    """The weights and the clean losses of a loop by hand."""
    model = net()
    loss_of = loss_of or mean_over(setting.get("accumulate", 1))
    losses = by_hand(method, model, loss_of, data or batches(), **setting)
    return model.state_dict(), losses


@settings
@methods
def test_equals_a_loop_by_hand(method, setting):
    weights, _ = hand(method, **setting)
    chance = torch.get_rng_state()
    module, _, _ = fit(method, **setting)
    assert_same(module.net.state_dict(), weights)
    assert_same(torch.get_rng_state(), chance)


@methods
@pytest.mark.parametrize(("name", "dtype"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)])
def test_equals_a_loop_by_hand_in_mixed_precision(method, name, dtype):
    def scaler():  # the first steps overflow
        return torch.amp.GradScaler("cpu", init_scale=2.0**22) if dtype == torch.float16 else None

    def cast(model, batch, _):
        with torch.autocast("cpu", dtype):
            return model(**batch)["loss"]

    setting, plugin = SETTINGS["clip"], MixedPrecision(name, device="cpu", scaler=scaler())
    module, _, callback = fit(method, Unscheduled(), plugins=plugin, **setting)
    assert_same(module.net.state_dict(), hand(method, cast, **setting, scaler=scaler())[0])
    assert (callback.engine.count < COUNT) == (dtype == torch.float16)


@settings
def test_with_sgd_it_is_lightning_itself(setting):
    assert_same(fit(lowland.SGD(), **setting)[0].state_dict(), fit(None, **setting)[0].state_dict())


def test_serves_the_host_under_its_older_name():
    class Older(Steps, pytorch_lightning.LightningModule):
        pass

    module, _, _ = fit(METHODS[0], Older(), host=pytorch_lightning)
    assert_same(module.net.state_dict(), hand(METHODS[0])[0])


@pytest.mark.parametrize(("accumulate", "steps"), [(1, COUNT), (3, 3)])
def test_takes_two_passes_a_batch_and_counts_steps_as_ever(accumulate, steps):
    module, host, callback = fit(METHODS[0], accumulate=accumulate)
    assert (module.calls, callback.engine.passes) == (2 * COUNT, 2 * COUNT)
    assert (host.global_step, callback.engine.count) == (steps, steps)


class Logging(Module):
    """Logs the loss, and tells metrics of every kind of it."""

    def __init__(self):
        super().__init__()
        self.mean, self.all = MeanMetric(), CatMetric()
        self.group = MetricCollection({"sum": SumMetric(), "mean": MeanMetric()})

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=1)
        self.mean(loss)
        self.all.update(loss)
        self.log("metric", self.mean, on_step=False, on_epoch=True)
        self.log_dict(self.group(loss))
        return loss

    def on_train_epoch_end(self):
        self.group_after = self.group.compute()
        self.all_after = self.all.compute()


def test_logs_and_measures_the_clean_pass_only():
    module, host, _ = fit(METHODS[0], Logging())
    weights, losses = hand(METHODS[0])
    losses = torch.stack(losses)
    assert_same(module.net.state_dict(), weights)
    assert_same(module.all_after, losses)
    assert_same(module.group_after["sum"], losses.cumsum(0)[-1])
    torch.testing.assert_close(host.callback_metrics["loss"], losses.mean())
    torch.testing.assert_close(host.callback_metrics["metric"], losses.mean())


class Validating(Module):
    def validation_step(self, batch, batch_idx):
        self.validations += 1


def test_validation_takes_no_passes():
    module, host = Validating(), trainer(MethodCallback(METHODS[0]))
    host.fit(module, Batches(), Batches())
    assert (module.calls, module.validations) == (2 * COUNT, COUNT + host.num_sanity_val_steps)


def test_a_resumed_run_is_the_same_run(tmp_path):
    straight, _, _ = fit(Recalling(), max_epochs=2)
    _, half, _ = fit(Recalling())
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _, callback = fit(Recalling(), max_epochs=2, resume=tmp_path / "half.ckpt")
    assert_same(resumed.state_dict(), straight.state_dict())
    assert (resumed.calls, callback.engine.count) == (2 * COUNT, 2 * COUNT)


class Skipping(Module):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return None if batch_idx == COUNT - 1 else {"loss": loss}


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`:UserWarning")
def test_a_skipped_batch_leaves_no_trace():
    module, _, _ = fit(METHODS[0], Skipping())
    assert_same(module.net.state_dict(), hand(METHODS[0], data=batches()[:-1])[0])


def test_a_pass_of_lightnings_own_stays_one_pass():
    average = StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=1)
    module = Unscheduled()
    trainer(MethodCallback(METHODS[0]), average, max_epochs=2).fit(module, Batches())
    assert module.calls == (2 + 2 + 1) * COUNT  # a third epoch refreshes batch-norm statistics


class Popping(Module):
    def training_step(self, batch, batch_idx):
        return super().training_step({"x": batch.pop("x"), "labels": batch.pop("labels")}, batch_idx)


def test_a_step_may_take_its_batch_apart():
    assert_same(fit(METHODS[0], Popping())[0].net.state_dict(), hand(METHODS[0])[0])


class Failing(Module):
    def training_step(self, batch, batch_idx):
        if self.calls == 3:
            raise ArithmeticError("in the second pass")
        return super().training_step(batch, batch_idx)


def test_gives_the_host_back_after_an_error():
    callback, module = MethodCallback(METHODS[0]), Failing()
    host = trainer(callback)
    with pytest.raises(ArithmeticError, match="in the second pass"):
        host.fit(module, Batches())
    left = {*vars(host.strategy), *vars(host.precision_plugin), *vars(module)}
    assert not {"training_step", "backward", "log"} & left
    assert callback.engine.count == 1


class Manual(Module):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False


class Backward(Module):
    def backward(self, loss):
        loss.backward()


class Drawing(Module):
    def training_step(self, dataloader_iter):
        return super().training_step(*next(dataloader_iter)[:2])


REFUSED = [
    (Manual, {}, NotImplementedError, r"got automatic_optimization=False: bind the method in on_train_start"),
    (Backward, {}, TypeError, r"Backward must not have a backward of its own, got one"),
    (Drawing, {}, TypeError, r"training_step must take a batch, got one that takes dataloader_iter"),
    (
        Module,
        {"strategy": ModelParallelStrategy(), "devices": 2},
        NotImplementedError,
        r"got ModelParallelStrategy: use .*strategy=.ddp",
    ),
]


@pytest.mark.parametrize(("module", "options", "error", "words"), REFUSED)
def test_refuses_by_words(module, options, error, words):
    callback = MethodCallback(METHODS[0])
    with pytest.raises(error, match=words):
        callback.on_train_start(trainer(callback, **options), module())


def test_refuses_what_is_no_method():
    with pytest.raises(TypeError, match=r"method must be a method such as lowland.SAM\(rho=0.05\), got SAM"):
        MethodCallback(lowland.SAM)
    with pytest.raises(TypeError, match=r"The options must be of .*, got optimizer, wher"):
        MethodCallback(lowland.SAM(), wher="net.*", optimizer=None)
