import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from estimate.dense import Dense, Diagonal, rotated
from lowland.estimate.trace import trace

float64 = torch.float64
METHODS = ("hutchinson", "hutch++", "xtrace")
SIDE = 80
NOISE = torch.randn(SIDE, SIDE, dtype=float64, generator=torch.Generator().manual_seed(0))
MATRICES = {
    "flat": (NOISE + NOISE.T) / 2,
    "decaying": rotated(1 / (1 + torch.arange(SIDE))),
    "outliers": rotated(torch.cat([torch.tensor([50.0, 30.0, -20.0]), torch.linspace(-1, 1, SIDE - 3)])),
    "not symmetric": NOISE,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MATRICES)
def test_is_unbiased_and_its_error_covers(name, method):
    operator = Dense(MATRICES[name])
    true, many = float(operator.matrix.trace()), 300
    estimates = [trace(operator, 30, method, seed) for seed in range(many)]
    values = torch.tensor([e.value for e in estimates], dtype=float64)
    errors = torch.tensor([e.stderr for e in estimates], dtype=float64)
    spread = (values - true).square().mean().sqrt()
    z = (values - true) / errors
    assert abs(values.mean() - true) < 4 * values.std() / many**0.5
    assert 0.85 < errors.square().mean().sqrt() / spread < 1.6
    assert (z.abs() > 2).double().mean() < 0.12
    assert 0.6 < z.std() < 1.3


@pytest.mark.parametrize("method", ["hutch++", "xtrace"])
def test_a_matrix_of_low_rank_is_left_to_no_chance(method):
    operator = Dense(rotated(torch.cat([torch.tensor([5.0, -2.0, 1.0]), torch.zeros(77)])))
    estimate = trace(operator, 24, method)
    assert estimate.value == pytest.approx(4, abs=1e-9)
    assert estimate.stderr < 1e-9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, float64])
def test_zero_is_exactly_zero(method, dtype):
    estimate = trace(Dense(torch.zeros(20, 20, dtype=dtype)), 8, method)
    assert (estimate.value, estimate.stderr) == (0, 0)


def test_random_signs_leave_nothing_to_chance_on_a_diagonal():
    estimate = trace(Diagonal(torch.linspace(-1, 2, 20, dtype=float64)), 8)
    assert estimate.value == pytest.approx(10)
    assert estimate.stderr < 1e-12


@pytest.mark.parametrize("method", ["hutch++", "xtrace"])
def test_outliers_are_taken_out_of_the_error(method):
    operator = Dense(MATRICES["outliers"])
    assert trace(operator, 30, method).stderr < 0.3 * trace(operator, 30).stderr


def test_the_same_probes_serve_all_matrices():
    """So Hutchinson's estimates add up as the matrices do."""
    G, N = MATRICES["outliers"], MATRICES["flat"]
    h, g, n = trace([Dense(G + N), Dense(G), Dense(N)])
    assert h.value == pytest.approx(g.value + n.value, rel=1e-12)
    assert trace(Dense(G)) == g


@given(st.sampled_from(METHODS), st.floats(-1e3, 1e3), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_scaling_the_matrix_scales_the_estimate(method, factor, seed):
    matrix = MATRICES["outliers"]
    one, other = trace([Dense(matrix), Dense(factor * matrix)], 12, method, seed)
    assert other.value == pytest.approx(factor * one.value, rel=1e-6, abs=1e-12)
    assert other.stderr == pytest.approx(abs(factor) * one.stderr, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_cost_is_the_number_of_probes(method):
    operator = Dense(MATRICES["flat"])
    estimate = trace(operator, 30, method)
    assert (estimate.products, estimate.gradients) == (operator.products, 2 * 30) == (30, 60)
    assert estimate.probes == {"hutchinson": 30, "hutch++": 10, "xtrace": 15}[method]
    assert trace(Diagonal(torch.ones(50)), 30, method).gradients is None


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_agrees_with_double(method):
    one, other = (
        trace(Dense(MATRICES["outliers"].float()), 30, method),
        trace(Dense(MATRICES["outliers"]), 30, method),
    )
    assert one.value == pytest.approx(other.value, abs=1e-3)


def test_bad_input_is_refused_by_words():
    operator = Dense(MATRICES["flat"])
    with pytest.raises(LookupError, match=r"no method for a trace called 'hutch'. Did you mean hutch\+\+"):
        trace(operator, method="hutch")
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        trace(operator, 1)
    with pytest.raises(ValueError, match="probes must be at least 4, got 3"):
        trace(operator, 3, "xtrace")
    with pytest.raises(ValueError, match=r"at most the operator's side 80 for hutch\+\+, got 81: .* \.dense\(\)"):
        trace(operator, 81, "hutch++")
    with pytest.raises(ValueError, match=r"must be square, got shape \(3, 4\)"):
        trace(Dense(torch.ones(3, 4), symmetric=False))
    with pytest.raises(ValueError, match=r"of one side, to share random vectors, got sides \[3, 80\]"):
        trace([operator, Dense(torch.eye(3))])
    with pytest.raises(ValueError, match=r"of one side, to share random vectors, got sides \[\]"):
        trace([])
    with pytest.raises(TypeError, match="operator must be an Operator, got Tensor"):
        trace([torch.eye(3)])


@pytest.mark.parametrize("method", METHODS)
def test_products_that_are_not_finite_are_refused(method):
    with pytest.raises(ValueError, match="must be finite, got"):
        trace(Diagonal(torch.full((50,), float("nan"))), 12, method)
