import pytest
import torch
from torch import nn

from lowland.measurements.gradient_noise import GradientNoise
from lowland.operators.problem import problem


def linear_model(n=40, bias=0.0):
    """A linear model, and each example's gradient in closed form."""
    x, y = torch.randn(n, 5, dtype=torch.float64) + bias, torch.randn(n, 1, dtype=torch.float64)
    model = nn.Linear(5, 1, bias=False).double()
    nn.init.constant_(model.weight, 0.5)
    gradients = (2 * x * (model(x) - y)).detach()
    return problem(model, nn.functional.mse_loss, list(zip(x.split(16), y.split(16), strict=True))), gradients


def read(p, **fields):
    return {reading.name: reading for reading in GradientNoise(**fields).read(p)}


def test_of_single_examples_is_the_mean_square_of_what_differs_from_the_mean():
    p, G = linear_model()
    found = read(p)
    assert found["gradient_noise"].value == pytest.approx((G - G.mean(0)).square().sum(1).mean().item(), rel=1e-9)
    assert found["gradient_norm"].value == pytest.approx(G.mean(0).norm().item(), rel=1e-9)


@pytest.mark.parametrize("m", [1, 4])
def test_the_noise_scale_is_the_ratio_of_the_two_unbiased_estimates(m):
    p, G = linear_model(bias=3.0)
    groups = G.view(-1, m, 5).mean(1)
    trace = m * groups.var(0).sum()
    signal = groups.mean(0).square().sum() - trace / len(G)
    assert read(p, m=m)["noise_scale"].value == pytest.approx((trace / signal).item(), rel=1e-9)


def test_is_without_bias_whatever_the_size_of_the_groups():
    found = []
    for seed in range(60):
        torch.manual_seed(seed)
        p, _ = linear_model()
        found.append(read(p, m=5)["gradient_noise"].value - read(p)["gradient_noise"].value)
    errors = torch.tensor(found)
    assert abs(errors.mean()) < 4 * errors.std() / 60**0.5


def test_the_standard_error_is_as_large_as_the_spread_over_data():
    values, errors = [], []
    for seed in range(60):
        torch.manual_seed(seed)
        reading = read(linear_model(bias=3.0)[0])["noise_scale"]
        values.append(reading.value)
        errors.append(reading.stderr)
    assert 0.5 < torch.tensor(errors).mean() / torch.tensor(values).std() < 2


def test_equal_examples_make_no_noise():
    x, y = torch.ones(6, 5, dtype=torch.float64), torch.ones(6, 1, dtype=torch.float64)
    found = read(problem(nn.Linear(5, 1).double(), nn.functional.mse_loss, (x, y)))
    assert found["gradient_noise"].value == pytest.approx(0, abs=1e-12)
    assert found["noise_scale"].value == pytest.approx(0, abs=1e-12)


def test_there_is_no_noise_scale_where_the_gradient_is_lost_in_noise():
    x = torch.randn(20, 5, dtype=torch.float64)
    y = torch.randn(20, 1, dtype=torch.float64)
    model = nn.Linear(5, 1, bias=False).double()
    model.weight.data = torch.linalg.lstsq(x, y).solution.T
    assert "noise_scale" not in read(problem(model, nn.functional.mse_loss, (x, y)))


def test_examples_that_fill_no_group_are_left_out():
    p, G = linear_model(n=42)
    found = read(p, m=10)
    assert found["gradient_norm"].settings["examples"] == 40
    assert found["gradient_norm"].value == pytest.approx(G[:40].mean(0).norm().item(), rel=1e-9)


def test_too_few_groups_are_refused_by_words():
    with pytest.raises(ValueError, match=r"m must leave 3 groups of examples or more, got 20, which leaves 2"):
        read(linear_model()[0], m=20)
    with pytest.raises(ValueError, match=r"m must be at most the number of examples, 40, got 50"):
        read(linear_model()[0], m=50)


def test_bad_fields_are_refused_by_words():
    with pytest.raises(ValueError, match=r"m must be at least 1, got 0"):
        GradientNoise(m=0)


def weighted(outputs, labels):
    return nn.functional.cross_entropy(outputs, labels, weight=torch.tensor([1.0, 5.0, 0.1]).double())


def ignoring(outputs, labels):
    return nn.functional.cross_entropy(outputs, labels, ignore_index=2)


def contrasting(outputs, labels):
    return nn.functional.cross_entropy(outputs @ outputs.T, torch.arange(len(outputs)))


@pytest.mark.parametrize("loss", [weighted, ignoring, contrasting])
def test_a_loss_that_is_no_mean_over_examples_has_no_gradient_of_one_and_is_refused(loss):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 4, generator=draw).double(), torch.randint(3, (12,), generator=draw)
    p = problem(nn.Linear(4, 3).double(), loss, (x, y))
    with pytest.raises(ValueError, match="The loss must be the mean of what single examples give"):
        GradientNoise().read(p)
