"""What the caller has switched on, autocast or inference mode, does not reach what is computed."""

import pytest
import torch
from torch import nn

from lowland.estimate.diagonal import diagonal
from lowland.estimate.frobenius import frobenius
from lowland.estimate.spectral_norm import spectral_norm
from lowland.estimate.top import top
from lowland.estimate.trace import trace
from lowland.measurements.feature_rank import FeatureRank
from lowland.measurements.forgetting import Forgetting
from lowland.measurements.gradient_noise import GradientNoise
from lowland.measurements.hessian_density import HessianDensity
from lowland.measurements.hessian_split import HessianSplit
from lowland.measurements.jacobian_rank import JacobianRank
from lowland.measurements.knn_transfer import KnnTransfer
from lowland.measurements.landscape import Landscape
from lowland.measurements.layer_hessian_norms import LayerHessianNorms
from lowland.measurements.sharpness import Sharpness
from lowland.measurements.top_eigenvalues import TopEigenvalues
from lowland.measuring.measure import measure
from lowland.measuring.probe import probe
from lowland.operators.fisher import fisher
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.problem import problem

CE = nn.functional.cross_entropy
AMBIENT = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
}
MEASUREMENTS = [
    FeatureRank(),
    Forgetting(),
    GradientNoise(),
    HessianDensity(probes=2, steps=4),
    HessianSplit(probes=2),
    JacobianRank(),
    KnnTransfer(on=("data", "data"), k=3),
    Landscape(points=3, buffers="renew"),
    LayerHessianNorms(probes=2),
    Sharpness(steps=3),
    TopEigenvalues(k=2),
]
PRODUCTS = {
    "hessian": lambda p: hessian(p) @ torch.ones(p.size),
    "gauss_newton": lambda p: gauss_newton(p) @ torch.ones(p.size, 2),
    "fisher": lambda p: fisher(p) @ torch.ones(p.size),
    "difference": lambda p: (hessian(p) - gauss_newton(p)) @ torch.ones(p.size),
    "jacobian": lambda p: jacobian(p) @ torch.ones(p.size),
    "transpose": lambda p: jacobian(p).T @ torch.ones(jacobian(p).shape[0]),
    "gradient": lambda p: p.gradient(),
    "top": lambda p: top(hessian(p), 2).vectors,
    "diagonal": lambda p: diagonal(hessian(p), 4).value,
}
NUMBERS = {
    "mean loss": lambda p: p.mean_loss(),
    "hutchinson": lambda p: trace(hessian(p), 6).value,
    "hutch++": lambda p: trace(hessian(p), 6, "hutch++").value,
    "xtrace": lambda p: trace(hessian(p), 6, "xtrace").value,
    "frobenius": lambda p: frobenius(hessian(p), 4).value,
    "spectral norm": lambda p: spectral_norm(jacobian(p)).value,
}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def batches():
    draw = torch.Generator().manual_seed(1)
    return [(torch.randn(n, 3, generator=draw), torch.arange(n) % 3) for n in (12, 7)]


def of(model, **how):
    return problem(model, CE, batches(), **how)


@pytest.mark.parametrize("ambient", AMBIENT)
@pytest.mark.parametrize("one", MEASUREMENTS, ids=lambda one: type(one).__name__)
def test_a_measurement_reads_the_same_with_it_and_without(one, ambient):
    model = net()
    expected = measure(model, CE, batches(), one)
    with AMBIENT[ambient]():
        assert measure(model, CE, batches(), one) == expected
        made = probe(model, CE, batches(), one, every=1).step()
    assert made == expected


@pytest.mark.parametrize("ambient", AMBIENT)
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_the_same_with_it_and_without(name, ambient):
    model = net()
    expected = PRODUCTS[name](of(model))
    with AMBIENT[ambient]():
        found = PRODUCTS[name](of(model))
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("ambient", AMBIENT)
@pytest.mark.parametrize("name", NUMBERS)
def test_an_estimate_is_the_same_with_it_and_without(name, ambient):
    model = net()
    expected = NUMBERS[name](of(model))
    with AMBIENT[ambient]():
        assert NUMBERS[name](of(model)) == expected


@pytest.mark.parametrize("engine", ["double_backward", "finite_difference"])
def test_autocast_around_keeps_no_casts_of_weights_from_one_place_to_another(engine):
    model = net()
    how = {"autocast": torch.bfloat16, "engine": engine, "check": False}

    def found():
        losses = [r.value for r in Landscape(points=3).read(of(model, **how))]
        return losses, (hessian(of(model, **how)) @ torch.ones(of(model).size)).tolist()

    expected = found()
    with torch.autocast("cpu", torch.bfloat16):
        model.eval()(batches()[0][0])  # leaves casts of its weights
        assert found() == expected


def test_a_landscape_that_is_read_by_hand_is_the_same_under_autocast():
    model = net()
    expected = Landscape(points=3).read(of(model))
    with torch.autocast("cpu", torch.bfloat16):
        assert Landscape(points=3).read(of(model)) == expected
