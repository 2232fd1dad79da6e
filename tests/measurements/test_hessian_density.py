"""The spectrum of the Hessian as readings."""

import pytest
import torch
from torch import nn

from lowland.measurements.hessian_density import HessianDensity
from lowland.operators.hessian import hessian
from lowland.operators.problem import problem


@pytest.fixture
def p():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(20, 3).double(), torch.randint(2, (20,))
    return problem(model, nn.functional.cross_entropy, (x, y))


def test_outliers_are_eigenvalues_and_the_mean_is_the_traces(p):
    found = HessianDensity(probes=8, steps=20).read(p)
    values = torch.linalg.eigvalsh(hessian(p).dense())
    outliers = [r for r in found if r.name == "hessian_outlier"]
    assert outliers
    for reading in outliers:
        assert (values - reading.value).abs().min() <= reading.settings["bound"] + 1e-9
    (mean,) = [r for r in found if r.name == "hessian_mean_eigenvalue"]
    assert abs(mean.value - values.mean().item()) < 4 * mean.stderr
    assert torch.tensor(mean.settings["weights"]).sum(1) == pytest.approx(torch.ones(8), abs=1e-6)


@pytest.mark.parametrize("wrong", [{"probes": 1}, {"steps": 1}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        HessianDensity(**wrong)
