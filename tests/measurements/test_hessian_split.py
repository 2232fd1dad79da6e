import pytest
import torch
from torch import nn

from lowland.measurements.hessian_split import HessianSplit
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.nme import nme
from lowland.operators.problem import problem


def of(activation=nn.Tanh, batch=7):
    model = nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 3)).double()
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 3
    return problem(model, nn.functional.cross_entropy, list(zip(x.split(batch), y.split(batch), strict=True)))


def read(p, **fields):
    return {(r.name, r.site, r.settings.get("along")): r for r in HessianSplit(**fields).read(p)}


def dense(p):
    return {"hessian": hessian(p).dense(), "gauss_newton": gauss_newton(p).dense(), "nme": nme(p).dense()}


def test_largest_eigenvalues_are_within_their_bounds():
    p = of()
    found = read(p, tol=1e-6)
    for name, A in dense(p).items():
        reading = found[f"{name}_lambda_max", "", None]
        assert reading.settings["converged"]
        assert abs(reading.value - torch.linalg.eigvalsh(A)[-1]) <= reading.settings["bound"] + 1e-12


def test_traces_are_right_within_their_errors_and_add_up():
    p = of()
    found = read(p, probes=200)
    for name, A in dense(p).items():
        reading = found[f"{name}_trace", "", None]
        assert abs(reading.value - A.trace()) < 4 * reading.stderr
    h, g, n = (found[f"{name}_trace", "", None].value for name in ("hessian", "gauss_newton", "nme"))
    assert h == pytest.approx(g + n, rel=1e-9)


def test_ratios_along_the_top_are_those_of_the_rows_of_each_layer():
    p = of()
    found, matrices = read(p, tol=1e-9), dense(p)
    v = torch.linalg.eigh(matrices["hessian"]).eigenvectors[:, -1]
    Gv, Nv = matrices["gauss_newton"] @ v, matrices["nme"] @ v
    for site, rows in (("", slice(0, 31)), ("0", slice(0, 16)), ("2", slice(16, 31))):
        truth = (Nv[rows].norm() / Gv[rows].norm()).item()
        assert found["nme_ratio", site, "top"].value == pytest.approx(truth, rel=1e-6)


def test_ratios_along_random_vectors_are_near_the_ratio_of_the_norms():
    p = of()
    reading, matrices = read(p, probes=100)["nme_ratio", "", "random"], dense(p)
    assert reading.value == pytest.approx(
        (matrices["nme"].norm() / matrices["gauss_newton"].norm()).item(), rel=0.2
    )
    assert reading.stderr < 0.1 * reading.value


def test_of_a_linear_model_nothing_is_neglected():
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    found = read(problem(nn.Linear(3, 1).double(), nn.functional.mse_loss, (x, y)))
    assert found["nme_trace", "", None].value == 0
    assert found["nme_lambda_max", "", None].value == pytest.approx(0, abs=1e-12)
    assert {r.value for key, r in found.items() if key[0] == "nme_ratio"} == {0.0}


def test_there_is_no_ratio_of_a_layer_that_does_not_count():
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)}).double()
    model.forward = lambda x: model["used"](x) + 0 * model["idle"](x)
    p = problem(model, nn.functional.cross_entropy, (torch.randn(6, 3).double(), torch.arange(6) % 2))
    assert {site for name, site, _ in read(p) if name == "nme_ratio"} == {"", "used"}


def test_a_loss_inside_the_model_is_refused_by_words():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x):
            return {"loss": self.layer(x).square().mean()}

    with pytest.raises(ValueError, match=r"pass loss="):
        read(problem(Inner(), None, {"x": torch.randn(3, 2)}))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"probes": 1}, r"probes must be at least 2, got 1"),
        ({"tol": -1.0}, r"tol must be a finite number >= 0, got -1.0"),
        ({"seed": -1}, r"seed must be at least 0, got -1"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        HessianSplit(**fields)
