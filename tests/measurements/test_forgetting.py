import math

import pytest
import torch
from torch import nn

from lowland.measurements.forgetting import Forgetting
from lowland.measuring.output_bias import output_bias
from lowland.operators.problem import problem

N, K = 30, 3


class Fixed(nn.Module):
    """Scores that are the input times one parameter: at 1 it knows its input, at 0 it ignores it."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([scale], dtype=torch.float64))

    def forward(self, x):
        return self.scale * x


def of(model, x, y, batch=8):
    return problem(model, nn.functional.cross_entropy, list(zip(x.split(batch), y.split(batch), strict=True)))


def sure(classes):
    return 30.0 * nn.functional.one_hot(classes, K).double()


def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, K)).double()
    x, y = torch.randn(N, 5, dtype=torch.float64), torch.arange(N) % K
    descent = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(30):
        descent.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        descent.step()
    return of(model, x, y)


def read(p, **fields):
    return {reading.name: reading for reading in Forgetting(**fields).read(p)}


def test_a_model_that_knows_its_label_and_loses_it_forgets_that_much_and_nothing_beyond_it():
    y = torch.arange(N) % K
    found = read(of(Fixed(1.0), sure(y), y), rho=1.0, direction="gradient")
    assert found["forgetting"].settings["before"] == pytest.approx(math.log(K))
    assert found["forgetting"].settings["after"] == pytest.approx(0, abs=1e-9)
    assert found["forgetting"].value == pytest.approx(math.log(K))
    assert found["forgetting_given_label"].value == pytest.approx(0, abs=1e-9)
    assert found["nll_rise"].value == pytest.approx(math.log(K))
    assert found["divergence"].value == pytest.approx(math.log(K))


def test_what_outputs_tell_beyond_the_label_is_forgotten_too():
    y, x = torch.arange(N) % K, torch.arange(N) // K % 2
    found = read(of(Fixed(1.0), sure(x), y), rho=1.0)
    assert found["forgetting"].settings["before"] == pytest.approx(math.log(2))
    assert found["forgetting_given_label"].settings["before"] == pytest.approx(math.log(2), rel=0.01)


def test_a_model_that_ignores_its_input_has_nothing_to_forget():
    model = nn.Sequential(nn.Linear(5, K)).double()
    with torch.no_grad():
        model[0].weight.zero_()
    p = of(model, torch.zeros(N, 5, dtype=torch.float64), torch.arange(N) % K)
    for direction in ("gradient", "obf", "random"):
        found = read(p, rho=0.5, direction=direction)
        assert found["forgetting"].value == pytest.approx(0, abs=1e-12)
        assert found["forgetting_given_label"].value == pytest.approx(0, abs=1e-12)


def test_the_numbers_are_mutual_informations_by_their_entropies():
    p = net()
    with torch.no_grad():
        q = torch.cat([p.outputs(b).softmax(1) for b in p.batches])
        y = torch.cat([b.targets for b in p.batches])
    entropy = lambda r: -(r * r.log()).sum(-1)  # noqa: E731
    total = entropy(q.mean(0)) - entropy(q).mean()
    given = sum(
        (y == c).double().mean() * (entropy(q[y == c].mean(0)) - entropy(q[y == c]).mean()) for c in range(K)
    )
    found = read(p)
    assert found["forgetting"].settings["before"] == pytest.approx(total.item(), rel=1e-9)
    assert found["forgetting_given_label"].settings["before"] == pytest.approx(given.item(), rel=1e-9)
    assert found["nll_rise"].settings["before"] == pytest.approx(p.mean_loss(), rel=1e-9)


def test_along_the_gradient_the_loss_rises_more_than_along_a_random_direction():
    p = net()
    assert read(p, rho=0.1)["nll_rise"].value > abs(read(p, rho=0.1, direction="random")["nll_rise"].value)


def test_everything_grows_from_nothing_with_rho():
    readings = Forgetting(rho=(0.0, 0.1, 0.3)).read(net())
    for name in ("nll_rise", "divergence"):
        nothing, some, more = (reading.value for reading in readings if reading.name == name)
        assert nothing == 0 < some < more


def rows(p):
    batches = list(p.batches)
    return torch.cat([b.inputs for b in batches]), torch.cat([b.targets for b in batches])


def test_the_standard_error_falls_with_the_root_of_the_number_of_examples():
    p = net()
    x, y = rows(p)
    once, thrice = read(p), read(of(p.model, x.repeat(3, 1), y.repeat(3)))
    for name, reading in thrice.items():
        assert reading.value == pytest.approx(once[name].value, rel=1e-9)
        assert reading.stderr == pytest.approx(once[name].stderr / 3**0.5, rel=1e-9)


def test_what_is_perturbed_on_can_be_kept_apart_from_what_is_looked_at():
    p = net()
    x, y = rows(p)
    found = read(p, perturb_on=10)
    assert found["divergence"].settings["examples"] == N - 10
    order = [*range(10), *reversed(range(10, N))]
    other = read(of(p.model, x[order], y[order]), perturb_on=10)
    assert other["forgetting"].value == pytest.approx(found["forgetting"].value, rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("lam", [None, 0.0, 0.9])
def test_the_gradient_of_the_bias_loss_is_the_paper_s(gamma, lam):
    z, y = torch.randn(7, K, dtype=torch.float64, requires_grad=True), torch.arange(7) % K
    (g,) = torch.autograd.grad(output_bias(z, y, gamma, lam), z)
    p, unit = z.detach().softmax(1), nn.functional.one_hot(y, K).double()
    low = 1 / K if lam is None else lam
    alpha = gamma * ((1 - low / (p * unit).sum(1)) / (1 - low)).clamp(min=0)[:, None]
    torch.testing.assert_close(7 * g, 1 / K - alpha * p - (1 - alpha) * unit)
    torch.testing.assert_close(g.sum(1), torch.zeros(7, dtype=torch.float64))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rho": -1.0}, r"rho must be a finite number >= 0, got -1.0"),
        ({"direction": "down"}, r"direction must be one of gradient, obf, random, got 'down'"),
        ({"perturb_on": 0}, r"perturb_on must be at least 1, got 0"),
        ({"lam": 1.0}, r"lam must be in \[0, 1\), got 1.0"),
        ({"gamma": -1.0}, r"gamma must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        Forgetting(**fields)


def test_outputs_and_targets_that_are_no_classes_are_refused_by_words():
    x = torch.randn(6, 2)
    regression = problem(nn.Linear(2, 2), nn.functional.mse_loss, (x, x))
    with pytest.raises(TypeError, match=r"class labels as targets, got torch.float32"):
        read(regression)
    single = problem(nn.Linear(2, 1), lambda z, y: z.mean(), (x, torch.zeros(6, dtype=torch.long)))
    with pytest.raises(ValueError, match=r"shape \(n, k\) with k >= 2 .* got \(6, 1\) and \(6,\)"):
        read(single)
    strange = problem(nn.Linear(2, 2), lambda z, y: z.mean(), (x, torch.full((6,), 5)))
    with pytest.raises(ValueError, match=r"labels in 0 .. 1, as the model has 2 outputs, got 5 .. 5"):
        read(strange)
    pair = problem(Pair(), lambda z, y: z[0].mean(), (x, torch.zeros(6, dtype=torch.long)))
    with pytest.raises(TypeError, match=r"one tensor of class scores, got tuple"):
        read(pair)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x), x


def test_perturbing_on_all_leaves_nothing_to_look_at():
    with pytest.raises(ValueError, match=r"perturb_on must leave examples to look at"):
        read(net(), perturb_on=N)
