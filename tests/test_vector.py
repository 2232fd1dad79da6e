import pytest
import torch

from lowland.vector import Vector, norm, ratio


def pair():
    g = Vector({"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([1.0])})
    h = Vector({"b": torch.tensor([2.0]), "c": torch.tensor([[5.0]])})
    return g, h


def dense(v):
    return {name: part.tolist() for name, part in v.parts.items()}


def test_a_missing_name_counts_as_zero():
    g, h = pair()
    assert dense(g + h) == {"a": [3, 4], "b": [3], "c": [[5]]}
    assert dense(g - h) == {"a": [3, 4], "b": [-1], "c": [[-5]]}
    assert dense(g * h) == {"b": [2]}
    assert g.dot(h).item() == 2


def test_scaling_keeps_the_dtype():
    v = Vector({"a": torch.ones(2, dtype=torch.bfloat16)})
    factors = (0.5, torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64))
    assert {(factor * v if isinstance(factor, float) else v * factor).parts["a"].dtype for factor in factors} == {
        torch.bfloat16
    }


def test_half_precision_is_summed_in_float32():
    big = Vector({"a": torch.full((4,), 300.0, dtype=torch.float16)})
    assert big.norm().item() == 600
    assert big.dot(big).item() == 360000
    assert norm([]).item() == 0


def test_rejection_is_at_right_angles_and_keeps_the_rest():
    g, h = pair()
    part = g.rejected_from(h)
    assert part.dot(h).abs().item() < 1e-6
    torch.testing.assert_close((part + ratio(g.dot(h), h.dot(h)) * h).parts, (g + 0.0 * h).parts)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_ratio_is_zero_where_it_cannot_be_taken(bad):
    assert ratio(2.0, torch.tensor(bad)).item() == 0
    assert ratio(2.0, torch.tensor(4.0)).item() == 0.5


def test_what_was_given_away_cannot_be_used():
    g, _ = pair()
    assert set(g.give_away()) == {"a", "b"}
    with pytest.raises(RuntimeError, match="given away with spend="):
        g.norm()


def test_empty_vectors_are_zero():
    assert Vector().norm().item() == Vector().dot(Vector()).item() == 0
    assert dense(2.0 * Vector() + Vector()) == {}
