import numpy as np
import pytest
import torch
from torch import nn

from lowland.measurements import activation_sparsity
from lowland.measurements.activation_sparsity import ActivationSparsity, distinct
from lowland.measuring.measure import measure


def readings(rows, size=64, **fields):
    data = [(part, torch.zeros(len(part))) for part in rows.split(size)]
    return measure(nn.Sequential(nn.Identity()), None, data, ActivationSparsity(layers="0", **fields))


def values(rows, size=64, **fields):
    return {
        (r.name, r.settings["level"]) if "level" in r.settings else r.name: r.value
        for r in readings(rows, size, **fields)
    }


def greedy(correlation, threshold):
    """The released code's rule: delete unit i while a remaining one is a copy of it."""
    remaining = list(range(len(correlation)))
    for i in range(len(correlation)):
        if any(abs(correlation[i, j]) > threshold for j in remaining if j != i):
            remaining.remove(i)
    return remaining


def test_counts_units_by_how_many_examples_they_are_active_on():
    rows = torch.zeros(100, 4)
    rows[:1, 1], rows[:7, 2], rows[:, 3] = 1.0, 1.0, 1.0
    found = values(rows, duplicates=None)
    assert [found["active_units", q] for q in (0.0, 0.01, 0.05, 0.1)] == [3, 2, 2, 1]
    assert found["dead_units"] == 1
    assert abs(found["density"] - 108 / 400) < 1e-12


def test_density_has_the_standard_error_of_a_mean_over_examples():
    rows = torch.randn(200, 9)
    share = (rows > 0).double().mean(1)
    found = readings(rows)[0]
    assert abs(found.value - share.mean().item()) < 1e-6
    assert abs(found.stderr - share.std(correction=0).item() / 200**0.5) < 1e-6


@pytest.mark.parametrize(
    ("definition", "expected"), [("value", 0.25), ("magnitude", 0.5), ("share_of_max", 0.125)]
)
def test_the_threshold_may_be_a_value_a_magnitude_or_a_share_of_the_maximum(definition, expected):
    rows = torch.tensor([[0.0, 1.0, -1.0, 0.2], [0.6, -0.6, 0.0, 10.0 if definition == "share_of_max" else 0.0]])
    assert values(rows, size=1, threshold=0.5, definition=definition)["density"] == expected


def test_as_published_is_a_twentieth_of_the_maximum():
    published = ActivationSparsity.as_published(levels=(0.0,))
    assert (published.threshold, published.definition, published.levels) == (0.05, "share_of_max", (0.0,))


def test_copies_are_dropped_by_the_released_codes_rule():
    base = torch.randn(300, 6, dtype=torch.float64)
    rows = torch.cat(
        [base, -2 * base[:, :3] + 0.2 * torch.randn(300, 3), base[:, :1] + 0.3 * torch.randn(300, 1)], 1
    )
    correlation = np.corrcoef(rows.numpy(), rowvar=False)
    kept = distinct(torch.from_numpy(correlation), 0.95).nonzero()[:, 0].tolist()
    assert kept == greedy(correlation, 0.95)
    assert values(rows)["distinct_units"] == len(kept) < 10


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("n", [40, 1200])
def test_exact_copies_count_once_and_dead_or_constant_units_are_no_copies(n, offset):
    base = torch.rand(n, 5) + 0.1 + offset
    rows = torch.cat([base, 2 * base[:, :2], torch.zeros(n, 2), torch.full((n, 2), 0.1)], 1)
    found = values(rows)
    assert [found[k] for k in ("duplicate_units", "dead_units", "distinct_units")] == [2, 2, 7]


def test_density_over_distinct_units_leaves_copies_out():
    rows = (torch.arange(12)[:, None] < torch.tensor([3, 3, 6])).float()
    rows[:, 2] = rows[torch.randperm(12), 2]
    rows[:, 1] = rows[:, 0]
    found = values(rows)
    assert found["duplicate_units"] == 1
    assert abs(found["distinct_density"] - (3 + 6) / 24) < 1e-12


def test_order_and_size_of_batches_do_not_matter():
    rows = (torch.randn(700, 20) @ torch.randn(20, 20)).relu()
    for definition in ("value", "share_of_max"):
        one, other = values(rows, 7, definition=definition), values(rows.flip(0), 300, definition=definition)
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_layers_too_wide_for_correlations_have_no_readings_of_copies(monkeypatch):
    monkeypatch.setattr(activation_sparsity, "LIMIT", 3)
    found = readings(torch.randn(20, 4))
    assert {r.name for r in found} == {"density", "active_units", "dead_units"}
    assert {r.settings["duplicates"] for r in found} == {None}


def test_batches_of_different_width_are_refused_by_words():
    data = [(torch.randn(8, 4), torch.zeros(8)), (torch.randn(8, 3), torch.zeros(8))]
    with pytest.raises(ValueError, match=r"Layer '0' must answer with 4 features to every batch.*got 3"):
        measure(nn.Sequential(nn.Identity()), None, data, ActivationSparsity(layers="0"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"threshold": -1.0}, "threshold must be a finite number >= 0, got -1"),
        ({"definition": "max"}, "definition must be one of value, magnitude, share_of_max, got 'max'"),
        ({"levels": (1.0,)}, r"levels must be in \[0, 1\), got 1.0"),
        ({"duplicates": 0.0}, r"duplicates must be in \(0, 1\], got 0.0"),
        ({"pool": "x"}, "pool must be one of flatten, mean, first, got 'x'"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        ActivationSparsity(**fields)
