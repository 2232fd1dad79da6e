"""Training under Accelerate is a loop by hand, bit for bit."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lowland
from integrations.by_hand import (
    COUNT,
    METHODS,
    SETTINGS,
    SIZE,
    batches,
    by_hand,
    examples,
    mean_over,
    net,
    optimiser,
)
from integrations.recalling import Recalling
from lowland.integrations.accelerate import backward, bind
from rigs import assert_same

settings = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
methods = pytest.mark.parametrize("method", METHODS, ids=repr)


class Run:
    """A model in training under Accelerate; a method of None is Accelerate by itself."""

    def __init__(self, method, clip=None, accumulate=1, scheduled=False, scaler=None, ranks=1, **options):
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate, **options)
        if scaler is not None:  # what Accelerate does for float16, which it refuses on the CPU
            accelerator.scaler, accelerator.native_amp = scaler, True
            accelerator.state._mixed_precision = "fp16"
        model = net()
        loader = DataLoader(TensorDataset(*examples(ranks)), batch_size=SIZE)
        self.parts = accelerator.prepare(model, *optimiser(model, scheduled), loader)
        self.engine = method and bind(accelerator, method, *self.parts[:2])
        self.accelerator, self.clip, self.losses = accelerator, clip, []

    def train(self):
        model, optimizer, scheduler, data = self.parts
        for index, (x, y) in enumerate(data):
            torch.manual_seed(index)
            with self.accelerator.accumulate(model):
                self.backward(lambda x=x, y=y: nn.functional.cross_entropy(model(x), y))
                if self.clip and self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(model.parameters(), self.clip)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        return self

    def backward(self, closure):
        if self.engine is None:
            self.accelerator.backward(closure())
        else:
            self.losses.append(backward(self.accelerator, self.engine, closure))

    @property
    def weights(self):
        return self.accelerator.unwrap_model(self.parts[0]).state_dict()


def hand(method, loss_of=None, **setting):
    model = net()
    losses = by_hand(method, model, loss_of or mean_over(setting.get("accumulate", 1)), batches(), **setting)
    return model.state_dict(), losses


@settings
@methods
def test_equals_a_loop_by_hand(method, setting):
    weights, losses = hand(method, **setting)
    run = Run(method, **setting).train()
    assert_same(run.weights, weights)
    assert_same(run.losses, [loss * setting.get("accumulate", 1) for loss in losses])


def cast(dtype, accumulate):
    def loss_of(model, batch, _):
        with torch.autocast("cpu", dtype):
            logits = model(batch["x"])
        return nn.functional.cross_entropy(logits, batch["labels"]) / accumulate

    return loss_of


@methods
@pytest.mark.parametrize("setting", [SETTINGS["clip"], SETTINGS["accumulate"]], ids=["clip", "accumulate"])
def test_equals_a_loop_by_hand_in_float16(method, setting):
    ours, theirs = (torch.amp.GradScaler("cpu", init_scale=2.0**18) for _ in range(2))  # the first steps overflow
    weights, _ = hand(method, cast(torch.float16, setting.get("accumulate", 1)), **setting, scaler=theirs)
    run = Run(method, **setting, scaler=ours).train()
    assert_same(run.weights, weights)
    assert ours.get_scale() == theirs.get_scale() < 2.0**18
    assert run.engine.count > 0


@methods
def test_equals_a_loop_by_hand_in_bfloat16(method):
    weights, _ = hand(method, cast(torch.bfloat16, 3), **SETTINGS["all"])
    assert_same(Run(method, **SETTINGS["all"], mixed_precision="bf16").train().weights, weights)


@settings
def test_with_sgd_it_is_accelerate_itself(setting):
    assert_same(Run(lowland.SGD(), **setting).train().weights, Run(None, **setting).train().weights)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_objective_knows_its_examples_and_is_left_as_it_was(accumulate):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    models, (x, y) = [net(), net()], batches()[0].values()
    ours, theirs = (lowland.objective(model, nn.functional.cross_entropy, x, y) for model in models)
    engines = [lowland.MSAM(rho=0.1, m=2).bind(model) for model in models]
    torch.manual_seed(1)
    backward(accelerator, engines[0], ours)
    theirs.scale = 1 / accumulate
    torch.manual_seed(1)
    engines[1].backward(theirs)
    assert_same(*[[p.grad for p in model.parameters()] for model in models])
    assert ours.scale == 1


def test_a_resumed_run_is_the_same_run(tmp_path):
    run = Run(Recalling())
    run.train().accelerator.save_state(tmp_path)
    run.train()
    resumed = Run(Recalling())
    resumed.accelerator.load_state(tmp_path)
    assert_same(resumed.train().weights, run.weights)
    assert resumed.engine.count == 2 * COUNT


def test_refuses_by_words():
    accelerator, model = Accelerator(cpu=True), net()
    optimizer = optimiser(model)[0]
    with pytest.raises(TypeError, match=r"method must be a method such as lowland.SAM\(rho=0.05\), got SAM"):
        bind(accelerator, lowland.SAM, model, optimizer)
    with pytest.raises(TypeError, match=r"The options must be of .*, got wher"):
        bind(accelerator, METHODS[0], model, optimizer, wher="net.*")
    accelerator.has_lomo_optimizer = True
    with pytest.raises(NotImplementedError, match="The optimiser must step after the backward pass, got LOMO"):
        bind(accelerator, METHODS[0], model, optimizer)
    accelerator.state.distributed_type = DistributedType.DEEPSPEED
    with pytest.raises(NotImplementedError, match=r"Several processes must train replicas .*, got DEEPSPEED"):
        bind(accelerator, METHODS[0], model, optimizer)
