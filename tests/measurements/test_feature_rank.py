import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowland.measurements.feature_rank import FeatureRank
from lowland.measuring.measure import measure

SHAPES = {"rows < width": (30, 70), "rows > width": (600, 40), "square": (40, 40), "one row": (1, 5)}
SEEDS = st.integers(0, 2**31)
NAMES = (
    "feature_rank",
    "effective_rank_entropy",
    "effective_rank",
    "stable_rank",
    "participation_ratio",
    "rank_me",
)
POWERS = (2, 6)


def readings(rows, size=17, **fields):
    """The ranks of the features ``rows``, through a model that shows them as they are."""
    data = [(part, torch.zeros(len(part))) for part in rows.split(size)]
    return measure(nn.Sequential(nn.Identity()), None, data, FeatureRank(layers=("0",), powers=POWERS, **fields))


def ranks(rows, size=17, **fields):
    return {r.name: r.value for r in readings(rows, size, **fields)}


def reference(rows, threshold, centre):
    """The paper's released algebra, with numpy."""
    rows = rows.double().numpy()
    axis = {"feature": 0, "example": 1}.get(centre)
    rows = rows if axis is None else rows - rows.mean(axis, keepdims=True)
    sigma = np.linalg.svd(rows, compute_uv=False)
    if not sigma.any():
        return dict.fromkeys(NAMES, 0.0)
    q, energy = sigma / sigma.sum(), sigma**2
    entropy = -(q[q > 0] * np.log(q[q > 0])).sum()
    values = (
        ((np.cumsum(energy) / energy.sum()) <= threshold).sum() + 1,
        entropy,
        np.exp(entropy),
        energy.sum() / energy[0],
        energy.sum() ** 2 / (energy**2).sum(),
        np.exp(-((q + 1e-7) * np.log(q + 1e-7)).sum()),
    )
    return dict(zip(NAMES, map(float, values), strict=True)) | slope(energy)


def slope(energy):
    """The exponent that numpy fits to the eigenvalues that are not zero but for rounding."""
    i = np.arange(POWERS[0], POWERS[1] + 1)
    i = i[i <= (energy > 1e-24 * energy[0]).sum()]
    return {"alpha_req": -np.polyfit(np.log(i), np.log(energy[i - 1]), 1)[0]} if len(i) > 2 else {}


def with_spectrum(sigma, n, d):
    """An n x d matrix with these singular values and zero column means."""
    k = len(sigma)
    left = torch.linalg.qr(torch.cat([torch.ones(n, 1), torch.randn(n, k)], 1).double())[0][:, 1:]
    right = torch.linalg.qr(torch.randn(d, k).double())[0]
    return (left * torch.tensor(sigma, dtype=torch.float64)) @ right.T


def assert_same(found, expected, rtol=1e-9, atol=1e-9):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def rank_me(sigma, n, d):
    """RankMe's number of the singular values, zeros included."""
    q = [s / sum(sigma) + 1e-7 for s in (*sigma, *[0.0] * (min(n, d) - len(sigma)))]
    return math.exp(-sum(each * math.log(each) for each in q))


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("centre", ["feature", "example", "none"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_equals_numpys_svd_for_every_centring(shape, centre, offset):
    rows = torch.randn(shape, dtype=torch.float64) * torch.linspace(0.1, 2, shape[1]) + offset
    assert_same(ranks(rows, centre=centre), reference(rows, 0.99, centre))


@pytest.mark.parametrize("centre", ["example", "none"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_equals_numpys_svd_when_every_feature_has_its_own_huge_mean(shape, centre):
    rows = torch.randn(shape, dtype=torch.float64) + 1e6 * torch.rand(shape[1], dtype=torch.float64)
    assert_same(ranks(rows, centre=centre), reference(rows, 0.99, centre))


@pytest.mark.parametrize("centre", ["feature", "example", "none"])
@pytest.mark.parametrize("shape", [(60, 200), (900, 100)])
def test_single_precision_features_agree_with_double(shape, centre):
    rows = (torch.randn(shape) @ torch.randn(shape[1], shape[1])).relu()
    assert_same(ranks(rows, centre=centre), reference(rows, 0.99, centre), rtol=1e-5)


@pytest.mark.parametrize("shape", [(30, 70), (700, 40)])
def test_spectra_known_in_closed_form(shape):
    ones = ranks(with_spectrum([1.0] * 10, *shape), threshold=0.85)
    values = 9.0, math.log(10), 10.0, 10.0, 10.0, rank_me([1.0] * 10, *shape)
    assert_same(ones, dict(zip(NAMES, values, strict=True)) | {"alpha_req": 0.0})
    sigma = [2.0**-k for k in range(4)]
    entropy = -sum(w * math.log(w) for w in (8 / 15, 4 / 15, 2 / 15, 1 / 15))
    values = 2.0, entropy, math.exp(entropy), 85 / 64, 85**2 / 4369, rank_me(sigma, *shape)
    halves = ranks(with_spectrum(sigma, *shape), threshold=0.9)
    del halves["alpha_req"]
    assert_same(halves, dict(zip(NAMES, values, strict=True)))


@pytest.mark.parametrize("shape", [(30, 70), (700, 40)])
@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_a_power_law_has_its_own_exponent(alpha, shape):
    found = ranks(with_spectrum([i ** (-alpha / 2) for i in range(1, 11)], *shape))
    assert math.isclose(found["alpha_req"], alpha, rel_tol=1e-9)


@pytest.mark.parametrize("shape", [(30, 70), (700, 40)])
def test_one_direction_has_rank_one_by_every_definition(shape):
    values = 1.0, 0.0, 1.0, 1.0, 1.0, rank_me([3.0], *shape)
    assert_same(ranks(with_spectrum([3.0], *shape)), dict(zip(NAMES, values, strict=True)))


@pytest.mark.parametrize("centre", ["feature", "example", "none"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_zero_features_have_rank_zero(shape, centre):
    assert set(ranks(torch.zeros(shape), centre=centre).values()) == {0.0}


def test_constant_features_have_rank_zero_once_centred():
    assert set(ranks(torch.full((20, 5), 0.1)).values()) == {0.0}
    assert ranks(torch.full((20, 5), 0.1), centre="none")["feature_rank"] == 1.0


def test_a_share_that_only_reaches_the_threshold_does_not_exceed_it():
    assert ranks(with_spectrum([1.0] * 10, 40, 20), threshold=0.9)["feature_rank"] == 10.0


def test_several_thresholds_give_one_rank_each():
    found = [(r.name, r.settings.get("threshold")) for r in readings(torch.randn(50, 9), threshold=(0.5, 0.9))]
    names = [*NAMES[1:], "alpha_req"]
    assert found == [("feature_rank", 0.5), ("feature_rank", 0.9), *((name, None) for name in names)]


def test_settings_say_all_one_needs_to_measure_again():
    reading = readings(torch.randn(50, 9))[0]
    facts = {
        "split": "data",
        "examples": 50,
        "rows": 50,
        "width": 9,
        "powers": [2, 6],
        "sketched": False,
        "threshold": 0.99,
        "centre": "feature",
    }
    assert facts.items() <= reading.settings.items()
    assert (reading.site, reading.stderr, reading.unit) == ("0", None, "directions")


def random_rows(seed, n=24, d=10):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(d, generator=generator, dtype=torch.float64) + 0.1
    return torch.randn(n, d, generator=generator, dtype=torch.float64) * scale, generator


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(["feature", "none"]), st.sampled_from([6, 24]))
def test_does_not_change_under_rotation_of_the_features(seed, centre, n):
    rows, generator = random_rows(seed, n)
    rotation = torch.linalg.qr(torch.randn(10, 10, generator=generator, dtype=torch.float64))[0]
    assert_same(ranks(rows @ rotation, centre=centre), ranks(rows, centre=centre))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(["feature", "example", "none"]), st.floats(1e-6, 1e6))
def test_does_not_change_under_scaling(seed, centre, scale):
    rows, _ = random_rows(seed)
    assert_same(ranks(-scale * rows, centre=centre), ranks(rows, centre=centre))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(["feature", "example", "none"]), st.integers(1, 40), st.sampled_from([6, 24]))
def test_does_not_change_with_order_or_size_of_batches_or_order_of_features(seed, centre, size, n):
    rows, generator = random_rows(seed, n)
    mixed = rows[torch.randperm(n, generator=generator)][:, torch.randperm(10, generator=generator)]
    assert_same(ranks(mixed, size, centre=centre), ranks(rows, 7, centre=centre))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(["feature", "example", "none"]), st.integers(2, 4))
def test_does_not_change_when_the_data_are_repeated(seed, centre, times):
    rows, _ = random_rows(seed, 12)
    assert_same(ranks(rows.repeat(times, 1), centre=centre), ranks(rows, centre=centre))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(-1e6, 1e6))
def test_a_common_offset_does_not_matter_when_each_feature_is_centred(seed, offset):
    rows, _ = random_rows(seed)
    assert_same(ranks(rows + offset), ranks(rows), rtol=1e-7)


@pytest.mark.parametrize("decay", [0.8, 0.9])
def test_a_sketched_rank_below_an_eighth_of_the_limit_is_low_by_a_tenth_at_most(decay):
    rows = (torch.randn(500, 100) * decay ** torch.arange(100)) @ torch.randn(100, 3000)
    exact, sketched = ranks(rows, threshold=0.95), ranks(rows, threshold=0.95, limit=256)
    assert exact["feature_rank"] < 256 / 8
    assert 0.9 * exact["feature_rank"] - 1 <= sketched["feature_rank"] <= exact["feature_rank"]
    assert abs(sketched["stable_rank"] / exact["stable_rank"] - 1) < 0.15


def test_the_settings_say_when_features_were_sketched():
    assert {r.settings["sketched"] for r in readings(torch.randn(40, 30), limit=20)} == {True}


def tokens(n=30, t=5, d=8):
    """Tokens in double precision, of which some directions are weak."""
    return torch.randn(n, t, d, dtype=torch.float64) * torch.logspace(0, -1, d)


@pytest.mark.parametrize("centre", ["feature", "example", "none"])
def test_tokens_are_pooled_or_are_rows_by_themselves(centre):
    x = tokens()
    matrices = {"flatten": x.flatten(1), "mean": x.mean(1), "first": x[:, 0], "tokens": x.reshape(-1, 8)}
    for pool, rows in matrices.items():
        assert_same(ranks(x, centre=centre, pool=pool), reference(rows, 0.99, centre))


def test_positions_of_maps_are_rows_by_themselves():
    maps = torch.randn(20, 6, 3, 2, dtype=torch.float64)
    assert_same(ranks(maps, pool="tokens"), reference(maps.permute(0, 2, 3, 1).reshape(-1, 6), 0.99, "feature"))


def test_settings_tell_examples_from_rows():
    found = readings(tokens(), pool="tokens")[0].settings
    assert (found["examples"], found["rows"], found["width"]) == (30, 150, 8)


def test_the_order_of_tokens_does_not_matter_when_each_is_a_row():
    x = tokens()
    assert_same(ranks(x[:, torch.randperm(5)], pool="tokens"), ranks(x, pool="tokens"))


def test_sequences_of_different_lengths_are_pooled_but_not_flattened():
    model, parts = nn.Sequential(nn.Identity()), [tokens(t=5), tokens(t=3)]
    data = [(part, torch.zeros(30)) for part in parts]
    found = measure(model, None, data, FeatureRank(layers="0", pool="tokens", powers=POWERS))
    rows = torch.cat([part.reshape(-1, 8) for part in parts])
    assert_same({r.name: r.value for r in found}, reference(rows, 0.99, "feature"))
    with pytest.raises(
        ValueError, match=r"Layer '0' must answer with 40 features to every batch.*got 24.*pool='mean'"
    ):
        measure(model, None, data, FeatureRank(layers="0"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"threshold": 1.0}, r"threshold must be in \(0, 1\), got 1.0"),
        ({"threshold": (0.9, 0)}, r"threshold must be in \(0, 1\), got 0"),
        ({"centre": "row"}, r"centre must be one of feature, example, none, got 'row'"),
        ({"pool": "max"}, r"pool must be one of flatten, mean, first, tokens, got 'max'"),
        ({"limit": 0}, r"limit must be at least 1, got 0"),
        ({"powers": (0, 9)}, r"the first of powers must be at least 1, got 0"),
        ({"powers": (5, 6)}, r"the last of powers must be at least 7, got 6"),
        ({"powers": (5,)}, r"powers must be a first and a last i, got \(5,\)"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        FeatureRank(**fields)
