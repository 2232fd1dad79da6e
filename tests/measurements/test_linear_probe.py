import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from lowland.measurements.linear_probe import LinearProbe, probed_classes
from lowland.measuring.measure import measure

SEEDS = st.integers(0, 2**31)


def clouds(n, seed=0, classes=4, d=6, spread=1.5):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=g)
    return torch.randn(n, d, generator=g, dtype=torch.float64) + spread * torch.eye(d)[labels], labels


def reading(train, test, size=64, **fields):
    splits = {"train": train, "test": test}
    data = {name: list(zip(x.split(size), y.split(size), strict=True)) for name, (x, y) in splits.items()}
    return measure(nn.Sequential(nn.Identity()), None, data, LinearProbe(layers="0", **fields))[0]


def test_agrees_with_scikit_learns_pipeline():
    (x, y), (queries, _) = clouds(200), clouds(500, 1)
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, tol=1e-6, max_iter=1000)).fit(x, y)
    found, converged = probed_classes(x, y, queries, penalty=2.0)
    assert torch.equal(found, torch.from_numpy(peer.predict(queries)))
    assert converged


def test_reads_the_layer_of_both_splits_with_a_binomial_error():
    train, test = clouds(120), clouds(80, 1)
    found = reading(train, test)
    p = (probed_classes(*train, test[0])[0] == test[1]).double().mean().item()
    assert math.isclose(found.value, p)
    assert math.isclose(found.stderr, math.sqrt(p * (1 - p) / 80))
    facts = {"split": "train/test", "examples": 80, "train_examples": 120, "width": 6, "converged": True}
    assert facts.items() <= found.settings.items()


def test_classes_far_apart_are_told_apart_perfectly_and_labels_by_chance_are_not():
    assert reading(clouds(100, spread=100.0), clouds(100, 1, spread=100.0)).value == 1.0
    x, _ = clouds(400)
    guess = reading((x[:200], torch.arange(200) % 4), (x[200:], torch.arange(200) % 4))
    assert abs(guess.value - 0.25) < 4 * guess.stderr


def test_a_class_that_the_first_split_lacks_is_never_right():
    x, y = clouds(100, spread=100.0)
    assert reading((x[y < 3], y[y < 3]), (x, y)).value == (y < 3).double().mean().item()


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(1e-2, 1e2), st.floats(-10, 10), st.integers(1, 150))
def test_units_may_be_scaled_moved_or_permuted_and_batches_cut_anyhow(seed, scale, offset, size):
    (x, y), (queries, asked) = clouds(150, seed), clouds(150, seed + 1)
    units = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(150, generator=torch.Generator().manual_seed(seed))
    other = reading(
        (scale * x[order][:, units] + offset, y[order]), (scale * queries[:, units] + offset, asked), size
    )
    assert abs(other.value - reading((x, y), (queries, asked)).value) <= 1 / 150


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_repeating_the_data_is_a_smaller_penalty(seed):
    (x, y), (queries, _) = clouds(60, seed), clouds(100, seed + 1)
    twice, _ = probed_classes(x.repeat(2, 1), y.repeat(2), queries, penalty=2.0)
    assert (twice == probed_classes(x, y, queries, penalty=1.0)[0]).double().mean() >= 0.99


def test_units_that_are_constant_do_not_matter():
    (x, y), (queries, asked) = clouds(100), clouds(50, 1)
    wide = [torch.cat([z, torch.full((len(z), 2), 0.1)], 1) for z in (x, queries)]
    assert reading((wide[0], y), (wide[1], asked)).value == reading((x, y), (queries, asked)).value


def test_a_fit_that_did_not_converge_says_so():
    assert not reading(clouds(100), clouds(50, 1), iterations=1).settings["converged"]


def test_tokens_are_pooled():
    (x, y), (queries, asked) = clouds(100), clouds(50, 1)
    tokens = [torch.stack([z, torch.zeros_like(z)], 1) for z in (x, queries)]
    first = reading((tokens[0], y), (tokens[1], asked), pool="first")
    assert first.value == reading((x, y), (queries, asked)).value


def test_bad_input_is_refused_by_words():
    x, y = clouds(40)
    with pytest.raises(ValueError, match=r"LinearProbe needs 2 classes or more in split 'train', got 1"):
        reading((x, torch.zeros_like(y)), (x, y))
    with pytest.raises(ValueError, match=r"LinearProbe needs targets .* class labels, got torch.float64"):
        reading((x, y.double()), (x, y))
    with pytest.raises(LookupError, match=r"LinearProbe needs the splits 'train', 'test' .*got 'data'"):
        measure(nn.Identity(), None, [(x, y)], LinearProbe())
    with pytest.raises(ValueError, match=r"Layer '0' must answer with 6 features to every batch.*got 5"):
        reading((x, y), (x[:, :5], y))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"penalty": -1.0}, "penalty must be a finite number >= 0, got -1"),
        ({"penalty": 0.0}, "penalty must be above 0, got 0. Separable data have no best classifier"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"pool": "tokens"}, "pool must be one of flatten, mean, first, got 'tokens'"),
    ],
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        LinearProbe(**fields)
