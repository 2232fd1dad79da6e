from dataclasses import replace

import pytest
import torch

from lowland.experiments.sparse_target import SparseTarget

TASK = SparseTarget(inputs=8, nonzero=2, examples=6, tests=50, steps=40)


def test_the_target_is_sparse_positive_and_of_unit_length():
    x, y, fresh, more = TASK.data(0)
    target = torch.linalg.lstsq(fresh, more).solution
    assert target.norm().item() == pytest.approx(1)
    assert (target[:2] > 0).all()
    torch.testing.assert_close(target[2:], torch.zeros(6, dtype=x.dtype), rtol=0, atol=1e-10)
    torch.testing.assert_close(x @ target, y)


def test_the_module_answers_as_the_replica():
    weights = [torch.randn(3, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))] * 2
    x = TASK.data(0)[0]
    expected = TASK.answers(weights, x.expand(3, -1, -1))[1]
    torch.testing.assert_close(TASK.network([w[1] for w in weights])(x)[:, 0], expected)


def test_it_starts_without_answers():
    x = TASK.data(0)[0]
    assert not TASK.network(TASK.start(0))(x).any()


def test_entries_in_use_are_those_of_the_product():
    weights = torch.tensor([[1.0, 1e-4, -2.0]]), torch.tensor([[1.0, 1.0, 1.0]])
    assert TASK.used(TASK.network(weights), torch.zeros(1, 3)) == {"entries": 2.0}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"inputs": 1}, "inputs must be at least 2, got 1"),
        ({"nonzero": 0}, "nonzero must be at least 1, got 0"),
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"tests": 0}, "tests must be at least 1, got 0"),
        ({"steps": 20}, "steps must be at least 40, got 20"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(TASK, **wrong)
