import pytest
import torch
from torch import nn

from lowland.methods.sam import SAM
from lowland.train.parts import Parts
from lowland.train.recipe import Recipe
from lowland.train.setup import assemble


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("epochs", -1, "epochs must be at least 0, got -1"),
        ("accumulate", 0, "accumulate must be at least 1, got 0"),
        ("learning_rate", -0.1, "learning_rate must be a finite number >= 0, got -0.1"),
        ("learning_rate", float("nan"), "learning_rate must be a finite number >= 0, got nan"),
        ("weight_decay", -1.0, "weight_decay must be a finite number >= 0"),
        ("momentum", 1.0, r"momentum must be in \[0, 1\), got 1.0"),
        ("warmup", 1.5, r"warmup must be in \[0, 1\), got 1.5"),
        ("label_smoothing", -0.5, r"label_smoothing must be in \[0, 1\], got -0.5"),
        ("optimizer", "lion", "optimizer must be one of sgd, adam, adamw, got 'lion'"),
        ("schedule", "linear", "schedule must be one of constant, cosine, steps, got 'linear'"),
        ("amp", "fp8", "amp must be one of off, bf16, fp16, got 'fp8'"),
        ("ascend", "both", "ascend must be one of each, together, got 'both'"),
        ("clip", 0.0, "clip must be above 0, got 0. Use None not to clip"),
        ("clip", -1.0, "clip must be a finite number >= 0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_words(setting, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        Recipe(**{setting: value})


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(LookupError, match=r"no method called 'samm'. Did you mean"):
        Recipe(method="samm")


def test_what_is_no_method_is_refused():
    with pytest.raises(TypeError, match="method must be a training method or its spec, got 3"):
        Recipe(method=3)


@pytest.mark.parametrize("epochs", ["3", 2.0, True])
def test_epochs_are_a_whole_number(epochs):
    with pytest.raises(TypeError, match="epochs must be a whole number"):
        Recipe(epochs=epochs)


def test_a_spec_and_a_method_are_the_same():
    assert Recipe(method="sam:rho=0.2").built() == Recipe(method=SAM(rho=0.2)).built()


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimiser_is_the_one_named_with_its_settings(name, kind):
    recipe = Recipe(optimizer=name, learning_rate=0.3, momentum=0.8, weight_decay=0.01, schedule="constant")
    optimizer = assemble(nn.Linear(2, 1), recipe, Parts(), 5).optimizer
    group = optimizer.param_groups[0]
    assert type(optimizer) is kind
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.01)
    assert 0.8 in (group.get("momentum"), group.get("betas", (None,))[0])


def test_label_smoothing_reaches_the_loss():
    criterion = assemble(nn.Linear(2, 1), Recipe(label_smoothing=0.2), Parts(), 5).criterion
    assert criterion.label_smoothing == 0.2


def other():
    return torch.optim.SGD(nn.Linear(2, 1).parameters(), 0.1)


def test_a_scheduler_of_another_optimiser_is_refused():
    scheduler = torch.optim.lr_scheduler.StepLR(other(), 3)
    with pytest.raises(ValueError, match="scheduler must be that of optimizer, got one of another"):
        Parts(optimizer=other(), scheduler=scheduler)


def test_a_scheduler_that_needs_a_metric_is_refused():
    optimizer = other()
    with pytest.raises(TypeError, match="scheduler must step without a metric, got ReduceLROnPlateau"):
        Parts(optimizer=optimizer, scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer))


def test_an_engine_without_its_optimiser_is_refused():
    with pytest.raises(ValueError, match="engine must come with its optimizer, got none"):
        Parts(engine=SAM().bind(nn.Linear(2, 1)))


def test_an_optimiser_of_another_model_is_refused():
    with pytest.raises(ValueError, match="optimiser must train only the model's parameters"):
        assemble(nn.Linear(2, 1), Recipe(), Parts(optimizer=other()), 5)
