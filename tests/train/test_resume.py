import random
from dataclasses import replace

import pytest
import torch

import lowland
from lowland.data.batches import Batches
from lowland.train.fit import fit
from lowland.train.keep import Keep
from lowland.train.recipe import Recipe
from rigs import assert_same
from train.problem import (
    EPOCHS,
    PER_EPOCH,
    RECIPES,
    Stopping,
    assert_same_training,
    batches,
    model,
    own_parts,
    split,
    trained,
    whole,
)

POINTS = random.Random(5).sample(range(1, EPOCHS * PER_EPOCH), 2)


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("name", RECIPES)
def test_a_run_stopped_by_ctrl_c_goes_on_bit_for_bit(name, at, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="run the same again"):
        trained(RECIPES[name], Stopping(at), keep=tmp_path)
    resumed = trained(RECIPES[name], seed=1, keep=tmp_path)
    assert_same_training(resumed, whole(name))


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("name", RECIPES)
def test_a_run_that_died_goes_on_from_its_last_checkpoint_bit_for_bit(name, every, tmp_path):
    keep, at = Keep(folder=tmp_path, steps=every), 1 + 3 * every
    with pytest.raises(OSError, match="power cut"):
        trained(RECIPES[name], Stopping(at, OSError("power cut")), keep=keep)
    assert_same_training(trained(RECIPES[name], seed=1, keep=keep), whole(name))


def test_a_run_stopped_again_and_again_goes_on_bit_for_bit(tmp_path):
    name = "fp16, scaled, clipped"
    for at in range(1, EPOCHS * PER_EPOCH, 4):
        with pytest.raises(KeyboardInterrupt):
            trained(RECIPES[name], Stopping(at), keep=tmp_path)
    assert_same_training(trained(RECIPES[name], seed=1, keep=tmp_path), whole(name))


@pytest.mark.parametrize("at", POINTS)
def test_own_parts_resume_bit_for_bit(at, tmp_path):
    recipe = Recipe(epochs=EPOCHS, method="sam")
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, Stopping(at), parts=own_parts, keep=tmp_path)
    resumed = trained(recipe, seed=1, parts=own_parts, keep=tmp_path)
    assert_same_training(resumed, trained(recipe, parts=own_parts))


def test_checkpoints_change_nothing(tmp_path):
    name = "sam, warm-up, decay"
    kept = trained(RECIPES[name], keep=Keep(folder=tmp_path, steps=1, seconds=0))
    assert_same_training(kept, whole(name))


def test_a_finished_run_is_read_back_and_not_run_again(tmp_path):
    recipe = RECIPES["sgd, momentum, cosine"]
    first = trained(recipe, keep=tmp_path)
    again = trained(recipe, Stopping(1, OSError("a step was taken")), seed=1, keep=tmp_path)
    assert_same_training(first, again)
    assert first[1].seconds == again[1].seconds


def test_a_run_stopped_in_the_step_of_its_divergence_goes_on_to_the_same_end(tmp_path):
    source, recipe = Batches(split(400), 1, seed=0), Recipe(epochs=9, learning_rate=1e38, schedule="constant")
    with pytest.raises(KeyboardInterrupt, match="after step 100"):
        trained(recipe, Stopping(99, inner=source), keep=tmp_path)
    resumed, whole = trained(recipe, source, seed=1, keep=tmp_path)[1], trained(recipe, source)[1]
    assert resumed.rows == whole.rows
    assert whole.last["step"] == 100


def test_a_run_with_another_hook_is_refused(tmp_path):
    def probe(net, moment):
        return None

    trained(Recipe(epochs=1), keep=tmp_path)
    with pytest.raises(ValueError, match=r"hooks.* was absent and is <function .*probe>"):
        trained(Recipe(epochs=1), keep=tmp_path, hooks=[probe])


def test_random_numbers_go_on_where_they_were(tmp_path):
    recipe = RECIPES["sgd, momentum, cosine"]
    trained(recipe)
    expected = torch.rand(3)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, Stopping(9), keep=tmp_path)
    trained(recipe, seed=1, keep=tmp_path)
    assert torch.equal(torch.rand(3), expected)


REFUSED = {
    "recipe.learning_rate was 0.1 and is 0.2": {"learning_rate": 0.2},
    "recipe.epochs was 3 and is 4": {"epochs": 4},
    r"method was SGD\(\) and is SAM\(rho=0.1, ": {"method": "sam:rho=0.1"},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_checkpoint_of_another_recipe_is_refused_by_the_difference(sentence, tmp_path):
    trained(Recipe(epochs=3), keep=tmp_path)
    net = model(1)
    with pytest.raises(ValueError, match=sentence):
        fit(net, batches(), Recipe(**{"epochs": 3, **REFUSED[sentence]}), keep=tmp_path, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), model(1).parameters(), strict=True))


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    trained(Recipe(epochs=1), keep=tmp_path)
    with pytest.raises(ValueError, match=r"data.first batch was"):
        trained(Recipe(epochs=1), batches(seed=4), keep=tmp_path)


def test_a_checkpoint_of_a_model_that_only_computes_differently_is_refused(tmp_path):
    trained(Recipe(epochs=1), keep=tmp_path)
    other = model()
    other[3].p = 0.5
    with pytest.raises(ValueError, match=r"model.4 was .*Dropout\(p=0.3.* and is .*Dropout\(p=0.5"):
        fit(other, batches(), Recipe(epochs=1), keep=tmp_path, progress=False)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    trained(Recipe(epochs=1), keep=tmp_path)
    with pytest.raises(ValueError, match=r"0.weight is \(4, 1, 3, 3\) torch.float32 there and \(5, 1, 3, 3\)"):
        fit(model(width=5), batches(), Recipe(epochs=1), keep=tmp_path, progress=False)


def test_a_checkpoint_of_another_optimiser_is_refused(tmp_path):
    trained(Recipe(epochs=1), parts=own_parts, keep=tmp_path)
    other = model()
    parts = own_parts(other)
    parts.optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    with pytest.raises(ValueError, match=r"settings.0.betas.0 was 0.9 and is 0.5"):
        fit(other, batches(), Recipe(epochs=1), parts=parts, keep=tmp_path, progress=False)


def test_what_penalties_remember_is_kept_and_brought_back(tmp_path):
    """An average of weights that was interrupted ends in the same average."""
    averages = []

    def averaged(net):
        parts = own_parts(net)
        averages.append(lowland.SWA(start=3, every=2).bind(net, parts.optimizer))
        return replace(parts, penalties=(averages[-1],))

    recipe = Recipe(epochs=EPOCHS)
    trained(recipe, parts=averaged)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, Stopping(7), parts=averaged, keep=tmp_path)
    trained(recipe, seed=1, parts=averaged, keep=tmp_path)
    assert_same(averages[-1].memory(), averages[0].memory())
