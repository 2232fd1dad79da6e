import pytest
import torch

from lowland.train.schedule import Factor, schedule


def rates(name, steps=10, warmup=0.0, rate=0.5):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
    scheduler, seen = schedule(optimizer, name, steps, warmup), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_constant_stays():
    assert rates("constant") == [0.5] * 10


def test_steps_fall_to_a_tenth_at_half_and_again_at_nine_tenths():
    assert rates("steps", rate=1.0) == [1.0] * 5 + [0.1] * 4 + [0.01]


def test_cosine_is_that_of_pytorch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for rate in rates("cosine"):
        assert rate == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("name", ["constant", "cosine"])
def test_warm_up_grows_on_a_line_to_the_highest_rate(name):
    torch.testing.assert_close(rates(name, warmup=0.4, rate=1.0)[:5], [0.25, 0.5, 0.75, 1.0, 1.0])


def test_cosine_after_warm_up_is_a_shorter_cosine():
    assert [Factor("cosine", 8, 3)(i) for i in range(3, 8)] == [Factor("cosine", 5)(i) for i in range(5)]


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_no_factor_leaves_the_unit_interval(steps):
    factors = [Factor(name, steps, warm)(i) for name in ("cosine", "steps") for warm in (0, 1) for i in range(9)]
    assert all(0 <= factor <= 1 for factor in factors)


def test_its_state_comes_back():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    first, second = schedule(optimizer, "cosine", 9), schedule(optimizer, "cosine", 9)
    for _ in range(4):
        optimizer.step()
        first.step()
    second.load_state_dict(first.state_dict())
    assert second.get_last_lr() == first.get_last_lr()
    assert second.last_epoch == 4


@pytest.mark.parametrize(
    ("name", "steps", "warmup", "sentence"),
    [
        ("linear", 5, 0.0, "schedule must be one of constant, cosine, steps, got 'linear'"),
        ("cosine", 0, 0.0, "steps must be at least 1, got 0"),
        ("cosine", 5, 1.0, r"warmup must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(name, steps, warmup, sentence):
    with pytest.raises(ValueError, match=sentence):
        schedule(torch.optim.SGD([torch.zeros(1)]), name, steps, warmup)
