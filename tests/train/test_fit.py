import dataclasses
import json
import threading

import pytest
import torch
from torch import nn

from lowland.data.batches import Batches
from lowland.train.fit import fit
from lowland.train.history import History
from lowland.train.keep import Keep
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from train.problem import EPOCHS, PER_EPOCH, RECIPES, assert_same_training, batches, model, split, trained, whole


def by_hand(recipe):
    """The plain loop that everybody writes."""
    net, source = model(), batches()
    optimizer = torch.optim.SGD(net.parameters(), recipe.learning_rate, momentum=recipe.momentum)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 ** (step // 4))
    for k in range(recipe.epochs):
        for x, y in source.epoch(k):
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return net


def halved(net, recipe):
    optimizer = torch.optim.SGD(net.parameters(), recipe.learning_rate, momentum=recipe.momentum)
    return Parts(
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 ** (step // 4)),
    )


def test_is_the_plain_loop_bit_for_bit():
    recipe = Recipe(epochs=2)
    net, _ = trained(recipe, parts=lambda net: halved(net, recipe))
    for a, b in zip(net.state_dict().values(), by_hand(recipe).state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_seed_gives_the_same_bits(name):
    assert_same_training(trained(RECIPES[name]), whole(name))


@pytest.mark.parametrize("name", ["sgd, momentum, cosine", "sam, warm-up, decay"])
def test_it_learns(name):
    losses = trained(dataclasses.replace(RECIPES[name], epochs=10))[1].column("loss")
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", RECIPES)
def test_rows_are_json_and_say_where_training_is(name):
    history = whole(name)[1]
    steps = -(-PER_EPOCH // RECIPES[name].accumulate)
    assert json.loads(json.dumps(history.rows)) == list(history.rows)
    assert history.column("epoch") == [1, 2, 3]
    assert history.column("step") == [steps, 2 * steps, 3 * steps]
    assert len(history.seconds) == EPOCHS
    assert not history.diverged


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("sgd, momentum, cosine", 1),
        ("each micro-batch", 2),
        ("micro-batches together", 2),
        ("m-sharpness, adam", 2),
    ],
)
def test_passes_are_those_of_the_method_however_batches_are_grouped(name, passes):
    assert whole(name)[1].column("passes") == pytest.approx([passes] * EPOCHS)


def test_the_first_row_holds_the_loss_and_accuracy_met_on_the_way():
    net, source = model().eval(), batches()
    net[1].train()
    outputs = [(net(x), y) for x, y in source.epoch(0)]
    n, right = len(split()), sum((o.argmax(1) == y).sum().item() for o, y in outputs)
    loss = sum(nn.functional.cross_entropy(o, y, reduction="sum").item() for o, y in outputs) / n
    frozen = model()
    frozen[3].eval()
    row = fit(frozen, source, Recipe(epochs=1, learning_rate=0.0), progress=False).last
    assert row["accuracy"] == right / n
    assert row["loss"] == pytest.approx(loss)


def test_layers_set_to_evaluation_stay_so():
    net = model()
    net[1].eval()
    before = net[1].running_mean.clone()
    fit(net, batches(), Recipe(epochs=1), progress=False)
    assert torch.equal(net[1].running_mean, before)


def test_a_model_in_evaluation_mode_is_put_into_training_mode():
    net = model().eval()
    fit(net, batches(), Recipe(epochs=1), progress=False)
    assert net[1].num_batches_tracked == PER_EPOCH


def test_frozen_parameters_stay():
    net = model()
    net[0].requires_grad_(False)
    before = net[0].weight.clone()
    fit(net, batches(), Recipe(epochs=1, method="sam", weight_decay=0.1), progress=False)
    assert torch.equal(net[0].weight, before)


@pytest.mark.parametrize("at", [1, 40, 150])
def test_divergence_ends_training_with_a_row_and_no_error(at):
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1e30 if step >= at else 1.0)
    parts = Parts(optimizer=optimizer, scheduler=scheduler)
    history = fit(net, batches(), Recipe(epochs=60), parts=parts, hooks=[lambda *_: {"seen": 1}], progress=False)
    assert history.diverged
    assert [row["diverged"] for row in history.rows[:-1]] == [False] * (len(history.rows) - 1)
    assert history.last["loss"] is None
    assert "seen" not in history.last
    assert len(history.rows) <= at // PER_EPOCH + 2


def test_weights_that_blow_up_in_the_very_last_step_count_as_divergence():
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    last = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: float("inf") if step == PER_EPOCH - 1 else 1.0
    )
    history = fit(
        net, batches(), Recipe(epochs=1), parts=Parts(optimizer=optimizer, scheduler=last), progress=False
    )
    assert history.diverged
    assert history.last["loss"] is not None


def test_divergence_within_an_epoch_is_seen_within_a_hundred_steps():
    source = Batches(split(), 1, seed=0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    recipe = Recipe(epochs=9, learning_rate=1e38, schedule="constant")
    assert fit(net, source, recipe, progress=False).last["step"] == 100


def test_a_diverged_run_is_read_back_as_diverged(tmp_path):
    recipe = Recipe(epochs=9, learning_rate=1e38, schedule="constant")
    first = trained(recipe, keep=tmp_path)[1]
    assert trained(recipe, seed=1, keep=tmp_path)[1] == first
    assert first.diverged


def test_no_epochs_train_nothing():
    net, history = trained(Recipe(epochs=0))
    assert history == History()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), model().parameters(), strict=True))
    with pytest.raises(LookupError, match="no rows"):
        _ = history.last


def test_targets_that_are_no_classes_have_no_accuracy():
    net, parts = model(), Parts(criterion=lambda outputs, y: (outputs.mean(1) - y).square().mean())
    source = Batches(dataclasses.replace(split(), y=torch.rand(108)), 16, seed=0)
    assert fit(net, source, Recipe(epochs=1), parts=parts, progress=False).last["accuracy"] is None


def test_a_model_without_anything_to_train_is_refused():
    with pytest.raises(ValueError, match="model must have trainable parameters, got Sequential without any"):
        fit(model().requires_grad_(False), batches(), progress=False)


def test_batches_that_cannot_be_had_again_are_refused():
    with pytest.raises(TypeError, match=r"batches must have epoch\(k, start\), to be resumable, got list"):
        fit(model(), [], progress=False)


def test_batches_without_a_batch_are_refused():
    class Empty:
        def __len__(self):
            return 0

        def epoch(self, k, start=0):
            return iter(())

    with pytest.raises(ValueError, match="batches must hold at least one batch"):
        fit(model(), Empty(), progress=False)


def test_trains_outside_the_main_thread(tmp_path):
    results = []
    worker = threading.Thread(target=lambda: results.append(trained(Recipe(epochs=1), keep=tmp_path)))
    worker.start()
    worker.join()
    assert results[0][1].last["epoch"] == 1


def test_checkpoints_are_as_rare_as_asked(tmp_path):
    times = []
    source = batches()
    hook = lambda *_: times.append(len(list(tmp_path.iterdir())))  # noqa: E731
    fit(model(), source, Recipe(epochs=2), keep=Keep(folder=tmp_path, seconds=3600), hooks=[hook], progress=False)
    assert times == [0, 0]
    assert len(list(tmp_path.iterdir())) == 3
