import pytest
import torch
from torch import nn

from lowland.measurements.layer_hessian_norms import MATRICES, LayerHessianNorms
from lowland.operators.problem import problem

LAYERS = {"0": slice(0, 16), "2": slice(16, 31)}


def of(activation=nn.Tanh, batch=7, examples=20):
    model = nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 3)).double()
    x, y = torch.randn(examples, 3, dtype=torch.float64), torch.arange(examples) % 3
    return problem(model, nn.functional.cross_entropy, list(zip(x.split(batch), y.split(batch), strict=True)))


def read(p, **fields):
    return {(r.name, r.site): r for r in LayerHessianNorms(**fields).read(p)}


@pytest.mark.parametrize("matrix", MATRICES)
def test_are_those_of_the_blocks_of_the_whole_matrix(matrix):
    p = of()
    found, whole = read(p, matrix=matrix, probes=200, tol=1e-6), MATRICES[matrix](p).dense()
    for site, rows in LAYERS.items():
        block = whole[rows, rows]
        assert found[f"{matrix}_spectral_norm", site].value == pytest.approx(
            torch.linalg.matrix_norm(block, 2).item(), rel=1e-5
        )
        for name, truth in (("trace", block.trace()), ("frobenius_norm", block.norm())):
            reading = found[f"{matrix}_{name}", site]
            assert abs(reading.value - truth) <= 4 * reading.stderr


def test_parameters_may_stand_for_layers():
    assert {site for _, site in read(of(), by="parameter")} == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_of_one_example_in_a_relu_net_is_the_product_of_its_factors():
    """|G_k| = (|x_k|^2 + 1) |J_k' H_z J_k| for a dense layer with bias."""
    p = of(nn.ReLU, examples=1)
    (batch,) = p.batches
    hidden = p.model[1](p.model[0](batch.inputs)).detach()
    q = p.model(batch.inputs).softmax(1).detach()[0]
    curve = torch.diag(q) - torch.outer(q, q)
    truth = (hidden.square().sum() + 1) * torch.linalg.matrix_norm(curve, 2)
    found = read(p, matrix="gauss_newton", tol=1e-9)["gauss_newton_spectral_norm", "2"]
    assert found.value == pytest.approx(truth.item(), rel=1e-6)


def test_an_idle_layer_has_no_curvature():
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)}).double()
    model.forward = lambda x: model["used"](x) + 0 * model["idle"](x)
    p = problem(model, nn.functional.cross_entropy, (torch.randn(6, 3).double(), torch.arange(6) % 2))
    found = read(p)
    assert {r.value for (_, site), r in found.items() if site == "idle"} == {0.0}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"matrix": "fisher"}, r"matrix must be one of hessian, gauss_newton, nme, got 'fisher'"),
        ({"by": "block"}, r"by must be one of layer, parameter, got 'block'"),
        ({"probes": 1}, r"probes must be at least 2, got 1"),
        ({"tol": -1.0}, r"tol must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        LayerHessianNorms(**fields)
