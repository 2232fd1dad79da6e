import math

import numpy as np
import pytest
import torch
from torch import nn

from lowland.measurements.calibration import Calibration
from lowland.measuring.measure import measure


def readings(scores, labels, size=64, **fields):
    data = list(zip(scores.split(size), labels.split(size), strict=True))
    return {r.name: r for r in measure(nn.Identity(), None, data, Calibration(**fields))}


def reference(scores, labels, bins):
    """Guo et al., equation (3), and the textbook formulas of the other two, with numpy."""
    e = np.exp(scores.double().numpy())
    p, y = e / e.sum(1, keepdims=True), labels.numpy()
    confidence, right, ece = p.max(1), p.argmax(1) == y, 0.0
    for low, high in zip(np.arange(bins) / bins, np.arange(1, bins + 1) / bins, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    brier = ((p - np.eye(p.shape[1])[y]) ** 2).sum(1).mean()
    return {"ece": ece, "nll": -np.log(p[np.arange(len(y)), y]).mean(), "brier": brier}


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_equals_the_formulas_written_with_numpy(bins):
    scores, labels = torch.randn(500, 4) * 2, torch.randint(4, (500,))
    found = {name: r.value for name, r in readings(scores, labels, bins=bins).items()}
    torch.testing.assert_close(found, reference(scores, labels, bins), rtol=1e-9, atol=1e-12, check_dtype=False)


def test_a_sure_and_right_model_scores_zero():
    found = readings(1e4 * torch.eye(3), torch.arange(3))
    assert [r.value for r in found.values()] == [0.0, 0.0, 0.0]


def test_a_sure_and_wrong_model_scores_worst():
    found = readings(1e4 * torch.eye(3), torch.tensor([1, 2, 0]))
    assert (found["ece"].value, found["brier"].value) == (1.0, 2.0)
    assert math.isclose(found["nll"].value, 1e4)


def test_standard_errors_are_the_spread_over_fresh_samples():
    generator = torch.Generator().manual_seed(0)
    scores = torch.tensor([[2.0, 0.0], [0.5, 0.0], [0.0, 3.0]]).repeat(200, 1)
    found = []
    for _ in range(60):
        labels = (torch.rand(600, generator=generator) < 0.5).long()
        found.append(readings(scores, labels, size=600))
    for name in ("ece", "nll", "brier"):
        spread = np.std([r[name].value for r in found], ddof=1)
        assert 0.7 < spread / np.mean([r[name].stderr for r in found]) < 1.4


def test_bins_must_be_a_positive_whole_number():
    with pytest.raises(ValueError, match=r"bins must be at least 1, got 0"):
        Calibration(bins=0)
