import pytest
import torch

from lowland.methods.sam import SAM
from lowland.theory.sam_two_layer import TwoLayer, pull, reach, sam_two_layer

M, D = 9, 4
FINITE = (0, 2, 3, 4, 5)
"""Seeds of networks in which SAM's perturbation switches a unit off, if it is long enough."""


def draw(seed, reaching=0.02):
    """A network and an example on which no unit switches off within a radius."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        w, b, a, c, x, y = (
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in ((M, D), (M,), (M,), (), (D,), ())
        )
        net = TwoLayer(w, b, a, c)
        if reach(net, x, y.item()) > reaching:
            return net, x, y.item()


class Module(torch.nn.Module):
    """The same network, for autograd and for the method."""

    def __init__(self, net):
        super().__init__()
        self.w, self.b, self.a, self.c = (
            torch.nn.Parameter(part.clone()) for part in (net.w, net.b, net.a, net.c)
        )

    def forward(self, x):
        return TwoLayer(self.w, self.b, self.a, self.c)(x)


def by_autograd(net, x, y, rho):
    """The gradient that the method SAM leaves, by every parameter."""
    model = Module(net)
    SAM(rho=rho).bind(model).backward(lambda: (model(x) - y).square() / 2)
    return [p.grad for p in (model.w, model.b, model.a, model.c)]


def error(net, x, y, rho):
    found = sam_two_layer(net, x, y, rho)
    pairs = zip((found.w, found.b, found.a, found.c), by_autograd(net, x, y, rho), strict=True)
    return max((ours - theirs).abs().max().item() for ours, theirs in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_without_a_radius_it_is_the_gradient(seed):
    assert error(*draw(seed), 0.0) < 1e-13


@pytest.mark.parametrize("seed", range(5))
def test_the_error_falls_with_the_square_of_the_radius(seed):
    net, x, y = draw(seed)
    errors = [error(net, x, y, rho) for rho in (1e-2, 1e-3, 1e-4)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(100, rel=0.05)
    assert errors[0] < 1e-2  # about 6e-4 where it was first tried


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_of_loss_and_gradient_norm_is_the_same(seed):
    net, x, y = draw(seed)
    model = Module(net)
    loss = (model(x) - y).square() / 2
    weights = (model.w, model.b, model.a, model.c)
    g = torch.autograd.grad(loss, weights, create_graph=True)
    length = torch.cat([part.reshape(-1) for part in g]).norm()
    expected = torch.autograd.grad(loss + 0.01 * length, weights)
    found = sam_two_layer(net, x, y, 0.01)
    for ours, theirs in zip((found.w, found.b, found.a, found.c), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_sam_pulls_active_units_down_and_leaves_the_others(seed):
    net, x, y = draw(seed)
    moved = pull(net, x, y, 0.01)
    on = net.before(x) > 0
    assert (moved[on] < 0).all()
    assert (moved[~on] == 0).all()


def test_the_pull_is_what_is_left_when_the_plain_gradients_share_is_taken_off():
    net, x, y = draw(0)
    plain, sam = sam_two_layer(net, x, y, 0.0), sam_two_layer(net, x, y, 0.01)
    larger = (sam.c / plain.c).item()  # the output's bias is only fitted
    step_w, step_b = sam.w - larger * plain.w, sam.b - larger * plain.b
    torch.testing.assert_close(-(step_w @ x + step_b), pull(net, x, y, 0.01), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", FINITE)
def test_at_its_reach_the_perturbation_switches_the_first_unit_off(seed):
    net, x, y = draw(seed)
    far = reach(net, x, y)
    assert switched_off(net, x, y, 0.999 * far) == 0
    assert switched_off(net, x, y, 1.001 * far) == 1


def switched_off(net, x, y, rho):
    model = Module(net)
    weights = (model.w, model.b, model.a, model.c)
    g = torch.autograd.grad((model(x) - y).square() / 2, weights)
    length = torch.cat([part.reshape(-1) for part in g]).norm()
    there = TwoLayer(*(p + rho * part / length for p, part in zip(weights, g, strict=True)))
    return int(((net.before(x) > 0) & (there.before(x) <= 0)).sum())


def test_bad_arguments_are_refused_by_words():
    net, x, y = draw(0)
    with pytest.raises(ValueError, match=r"rho must be a finite number >= 0, got -0\.1"):
        sam_two_layer(net, x, y, -0.1)
    with pytest.raises(ValueError, match=r"rho must be a finite number >= 0, got -0\.1"):
        pull(net, x, y, -0.1)
    with pytest.raises(ValueError, match=r"rho must be at most .*, where a unit switches off, got 1000"):
        sam_two_layer(*draw(FINITE[0]), 1000.0)
    with pytest.raises(ValueError, match="y must differ from the output, got the output itself"):
        reach(net, x, net(x))


def test_a_target_that_is_no_number_is_refused_by_words():
    net = TwoLayer(torch.ones(2, 3), torch.zeros(2), torch.ones(2), torch.tensor(0.0))
    with pytest.raises(ValueError, match="y must be a finite number, got nan"):
        sam_two_layer(net, torch.ones(3), float("nan"), 0.1)
