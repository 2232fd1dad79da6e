import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh

from estimate.dense import Dense, Diagonal, outliers_over_a_bulk, rotated, rotation
from lowland.estimate.eigen_pairs import NotConvergedError
from lowland.estimate.top import top
from lowland.operators.operator import Operator

float32, float64 = torch.float32, torch.float64
ENDS = ("largest", "smallest", "magnitude")
SPECTRA = {
    "even": torch.linspace(-3, 5, 150),
    "indefinite": torch.cat([torch.tensor([9.0, 4.0, -6.0, -11.0]), torch.linspace(-1, 1, 146)]),
    "decaying": torch.cat([0.8 ** torch.arange(75.0), -0.7 * 0.8 ** torch.arange(75.0)]),
    "clustered": torch.cat([torch.tensor([5.0, 4.999, 4.99, 4.9]), torch.linspace(-1, 1, 146)]),
}


def outermost(values, k, which):
    key = {"largest": values, "smallest": -values, "magnitude": values.abs()}[which]
    return values[key.argsort(descending=True)[:k]].sort(descending=True).values


def assert_sure(operator, pairs):
    """Residuals measured anew are within the bounds, vectors orthonormal."""
    X = pairs.vectors.double()
    residuals = (operator.multiply(pairs.vectors).double() - X * pairs.values).norm(dim=0)
    assert (residuals <= 1.001 * pairs.bounds).all()
    slack = torch.finfo(pairs.vectors.dtype).eps ** 0.5
    torch.testing.assert_close(X.T @ X, torch.eye(X.shape[1], dtype=float64), rtol=0, atol=slack)


@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("name", SPECTRA)
def test_finds_the_eigenvalues_of_a_full_matrix(name, dtype, which):
    operator = Dense(rotated(SPECTRA[name]).to(dtype))
    pairs = top(operator, 4, which, tol=1e-4, block=2)
    true = outermost(torch.linalg.eigvalsh(operator.matrix.double()), 4, which)
    torch.testing.assert_close(pairs.values, true, rtol=1e-4, atol=0)
    assert pairs.converged
    assert_sure(operator, pairs)


@pytest.mark.parametrize("dtype", [float32, float64])
def test_five_outliers_take_few_products(dtype):
    operator = Diagonal(outliers_over_a_bulk(dtype=dtype))
    pairs = top(operator, 5)
    torch.testing.assert_close(pairs.values, operator.values[:5].double(), rtol=1e-3, atol=0)
    assert pairs.products == operator.products <= 16
    assert_sure(operator, pairs)


@pytest.mark.parametrize("tol", [1e-3, 1e-8])
def test_restarts_reach_the_edge_of_a_bulk_with_no_more_products_than_arpack(tol):
    operator, other = (Diagonal(outliers_over_a_bulk(500, (1.3, 1.2))) for _ in range(2))
    pairs = top(operator, 4, tol=tol, basis=20, max_products=1000)
    values = eigsh(other.to_scipy(), 4, which="LA", tol=tol, ncv=20, v0=rotation(500, 1)[:, 0].numpy())[0]
    torch.testing.assert_close(pairs.values, torch.tensor(values[::-1].copy()), rtol=2 * tol, atol=0)
    assert 20 < operator.products <= 1.1 * other.products
    assert_sure(operator, pairs)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=25), st.integers(1, 5), st.sampled_from(ENDS))
@settings(max_examples=60, deadline=None)
def test_every_value_is_an_eigenvalue_within_its_bound(values, k, which):
    k, true = min(k, len(values)), torch.tensor(values, dtype=float64)
    pairs = top(Dense(rotated(true)), k, which, tol=1e-6, strict=False)
    distances = (pairs.values[:, None] - true).abs().min(dim=1).values
    assert (distances <= pairs.bounds + 1e-12 * true.abs().max() + 1e-150).all()
    assert pairs.products <= len(values)


# Laws


def close(pairs, values):
    return bool(((pairs.values - values).abs() <= 2 * pairs.bounds + 1e-9).all())


@given(st.floats(-50, 50), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_a_multiple_of_the_identity_shifts_all(shift, seed):
    matrix = rotated(SPECTRA["indefinite"], seed)
    pairs = top(Dense(matrix), 3, tol=1e-6)
    shifted = top(Dense(matrix + shift * torch.eye(150, dtype=float64)), 3, tol=1e-6, strict=False)
    assert close(shifted, pairs.values + shift)


@given(st.floats(1e-6, 1e6), st.sampled_from(ENDS))
@settings(max_examples=20, deadline=None)
def test_scaling_scales_and_takes_as_many_products(factor, which):
    matrix = rotated(SPECTRA["indefinite"])
    pairs, scaled = top(Dense(matrix), 3, which), top(Dense(factor * matrix), 3, which)
    torch.testing.assert_close(scaled.values, factor * pairs.values, rtol=1e-9, atol=0)
    assert scaled.products == pairs.products


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_rotation_changes_nothing(seed):
    pairs = top(Dense(rotated(SPECTRA["indefinite"], seed)), 4, "magnitude", tol=1e-6)
    torch.testing.assert_close(
        pairs.values, torch.tensor([9.0, 4.0, -6.0, -11.0], dtype=float64), rtol=1e-6, atol=0
    )


def test_the_smallest_are_the_largest_of_the_negative():
    matrix = rotated(SPECTRA["indefinite"])
    smallest, largest = top(Dense(matrix), 3, "smallest"), top(Dense(-matrix), 3, "largest")
    torch.testing.assert_close(smallest.values, -largest.values.flip(0), rtol=1e-12, atol=0)


def test_the_same_seed_gives_the_same_bits_and_another_the_same_values():
    one, same, other = (top(Diagonal(outliers_over_a_bulk(2000)), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.values, same.values)
    assert torch.equal(one.vectors, same.vectors)
    assert not torch.equal(one.vectors, other.vectors)
    torch.testing.assert_close(one.values, other.values, rtol=1e-3, atol=0)


# Spectra that end a Krylov space early


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("which", ENDS)
def test_there_may_be_fewer_eigenvalues_than_are_asked_for(which, dtype):
    values = torch.zeros(1000, dtype=dtype)
    values[7] = -3.0
    pairs = top(Diagonal(values), 4, which)
    true = outermost(values.double(), 4, which)
    torch.testing.assert_close(pairs.values, true, rtol=1e-5, atol=1e-5)
    assert pairs.products <= 6


@pytest.mark.parametrize("dtype", [float32, float64])
def test_repeated_eigenvalues_of_few_points_are_found_as_often_as_they_are(dtype):
    values = torch.ones(1000, dtype=dtype)
    values[:3] = 5.0
    for k in (1, 2, 3, 5):
        expected = torch.tensor([5.0, 5.0, 5.0, 1.0, 1.0], dtype=float64)[:k]
        torch.testing.assert_close(top(Diagonal(values), k).values, expected, rtol=1e-5, atol=0)


def test_a_pair_of_equal_outliers_over_a_bulk_takes_a_block_of_two():
    values = outliers_over_a_bulk(2000, (10.0, 10.0, 6.0, 6.0, 3.0))
    twice = top(Diagonal(values), 5, block=2)
    torch.testing.assert_close(twice.values, values[:5], rtol=1e-3, atol=0)
    once = top(Diagonal(values), 2)
    torch.testing.assert_close(once.values, torch.tensor([10.0, 6.0], dtype=float64), rtol=1e-3, atol=0)


def test_zero_and_one_by_one():
    zero = top(Diagonal(torch.zeros(500)), 3)
    assert zero.values.tolist() == zero.bounds.tolist() == [0, 0, 0]
    assert top(Dense(torch.full((1, 1), -2.0)), 1).values.tolist() == [-2]
    assert top(Dense(torch.zeros(1, 1)), 1).products == 1


def test_all_eigenvalues_can_be_asked_for():
    matrix = rotated(torch.linspace(-1, 1, 12))
    pairs = top(Dense(matrix), 12, tol=1e-9)
    torch.testing.assert_close(pairs.values, torch.linalg.eigvalsh(matrix).flip(0), rtol=0, atol=1e-12)


# Warm starts


def test_the_largest_of_a_similar_matrix_takes_three_products():
    values = outliers_over_a_bulk(2000)
    old = top(Diagonal(values), 1)
    drift = 0.05 * torch.randn(2000, dtype=float64, generator=torch.Generator().manual_seed(0))
    new = top(Diagonal(values + drift), 1, warm=old)
    assert new.products == 3 < old.products
    torch.testing.assert_close(new.values, (values + drift).max()[None], rtol=1e-3, atol=0)


@pytest.mark.parametrize("form", ["pairs", "vectors"])
def test_five_of_a_similar_matrix_take_fewer_products(form):
    matrix = torch.diag(outliers_over_a_bulk(500))
    change = 0.01 * torch.randn(500, 500, dtype=float64, generator=torch.Generator().manual_seed(0))
    cold = top(Dense(matrix))
    similar = Dense(matrix + (change + change.T) / 2)
    warm = top(similar, warm=cold if form == "pairs" else cold.vectors)
    torch.testing.assert_close(warm.values, torch.linalg.eigvalsh(similar.matrix)[-5:].flip(0), rtol=1e-3, atol=0)
    assert warm.products < top(similar).products


@pytest.mark.parametrize("which", ENDS)
def test_a_warm_start_takes_the_outermost_of_more_pairs_than_needed(which):
    operator = Dense(rotated(SPECTRA["indefinite"]))
    many = top(operator, 4, which)
    assert top(operator, 1, which, warm=many).products == 3
    assert top(operator, 1, which, warm=many).values[0] == pytest.approx(
        float(outermost(SPECTRA["indefinite"], 1, which)), rel=1e-3
    )


def test_an_eigenvalue_without_a_part_in_the_start_is_found_all_the_same():
    values = outliers_over_a_bulk(2000)
    warm = torch.zeros(2000, 4, dtype=float64)
    warm[1:5] = torch.eye(4)
    torch.testing.assert_close(top(Diagonal(values), 4, warm=warm).values, values[:4], rtol=1e-3, atol=0)


# What it cost


def test_the_cost_is_that_of_this_call():
    operator = Dense(rotated(SPECTRA["even"]))
    operator @ torch.ones(150, dtype=float64)
    pairs = top(operator, 2)
    assert pairs.products == operator.products - 1
    assert pairs.gradients == 2 * pairs.products
    assert top(Diagonal(torch.ones(50)), 1).gradients is None


# Refusals


class Jittery(Diagonal):
    """Another matrix each time, as with dropout left on."""

    def multiply(self, block):
        return super().multiply(block) * (1 + 0.1 * torch.randn(len(block), 1, dtype=block.dtype))


@pytest.mark.parametrize("kind", ["jittery", "not symmetric"])
def test_products_that_contradict_each_other_are_said_so(kind):
    matrix = rotated(SPECTRA["indefinite"])
    skew = torch.triu(0.1 * torch.ones(150, 150, dtype=float64), 1)
    operator: Operator = Jittery(SPECTRA["indefinite"].double()) if kind == "jittery" else Dense(matrix + skew)
    with pytest.raises(
        NotConvergedError, match=r"must be sure to tol=0\.001 .* got \d of 3 so after \d+ products"
    ):
        top(operator, 3)
    pairs = top(operator, 3, strict=False)
    assert not pairs.converged


def test_a_contradiction_names_its_remedy():
    matrix = rotated(SPECTRA["indefinite"])
    matrix[:, 0] += 0.1
    with pytest.raises(
        NotConvergedError, match=r"contradict each other, so make sure that the matrix is symmetric"
    ):
        top(Dense(matrix), 3)


def test_what_did_not_converge_is_never_returned_unasked():
    operator = Diagonal(outliers_over_a_bulk(2000, (3.0,)))
    with pytest.raises(
        NotConvergedError, match=r"got 1 of 3 so after 30 products, 3 ± .*: raise max_products"
    ) as caught:
        top(operator, 3, max_products=30)
    pairs = top(operator, 3, max_products=30, strict=False)
    assert not pairs.converged
    assert torch.equal(caught.value.pairs.values, pairs.values)
    assert (pairs.bounds / pairs.values < 1e-3).tolist() == [True, False, False]
    assert_sure(operator, pairs)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_products_that_are_not_finite_are_refused(bad):
    values = torch.ones(100)
    values[50] = bad
    with pytest.raises(ValueError, match=r"must be finite, got nan or inf in product 1: look for it"):
        top(Diagonal(values), 2)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"k": 2.0}, TypeError, "k must be a whole number, got 2.0"),
        ({"k": 11}, ValueError, "k must be at most the operator's side 10, got 11"),
        ({"tol": 0.0}, ValueError, r"tol must be at least 4e-14 in torch.float64, got 0: use float64"),
        ({"tol": -1.0}, ValueError, r"tol must be a finite number >= 0, got -1"),
        ({"which": "biggest"}, LookupError, "no end of the spectrum called 'biggest'.* There are: largest"),
        ({"which": "smalest"}, LookupError, "Did you mean smallest"),
        ({"block": 0}, ValueError, "block must be at least 1, got 0"),
        ({"basis": 4}, ValueError, "basis must be at least 5, got 4"),
        ({"max_products": 1}, ValueError, "max_products must be at least 2, got 1"),
        ({"warm": torch.ones(9, 2)}, ValueError, r"warm must hold vectors of length 10, got shape \(9, 2\)"),
        ({"warm": torch.ones(10, 0)}, ValueError, r"warm must hold vectors of length 10, got shape \(10, 0\)"),
        ({"warm": torch.zeros(10)}, ValueError, r"warm must be finite and not zero, got lengths \[0.0\]"),
        ({"warm": torch.full((10, 1), float("nan"))}, ValueError, r"finite and not zero, got lengths \[nan\]"),
        ({"warm": "last"}, TypeError, "warm must be eigenpairs or a tensor of vectors, got str"),
    ],
)
def test_bad_input_is_refused_by_words(change, kind, words):
    with pytest.raises(kind, match=words):
        top(Dense(rotated(torch.arange(10))), **{"k": 2, **change})


def test_operators_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="operator must be an Operator, got Tensor"):
        top(torch.eye(3), 1)
    with pytest.raises(ValueError, match=r"must be square, got shape \(3, 4\)"):
        top(Dense(torch.ones(3, 4), symmetric=False), 1)
    with pytest.raises(ValueError, match=r"must be symmetric, got a Dense that is not: take half the sum"):
        top(Dense(torch.ones(3, 3), symmetric=False), 1)
    with pytest.raises(TypeError, match=r"must be float32 or float64, got torch.bfloat16"):
        top(Dense(torch.ones(3, 3, dtype=torch.bfloat16)), 1)
