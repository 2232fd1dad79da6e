import pytest
import torch

from lowland.measuring.ball import Ball

NORMS = {"l2": 2, "linf": float("inf")}


def draws(n=50):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(n)]


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_point_is_inside_and_nearer_than_other_points_inside(norm):
    ball = Ball(norm, 0.7)
    for u, v in zip(draws()[:25], draws()[25:], strict=True):
        near, other = ball.nearest(u), ball.nearest(v)
        assert torch.linalg.vector_norm(near, NORMS[norm]) <= 0.7 + 1e-12
        assert (u - near).norm() <= (u - other).norm()


@pytest.mark.parametrize("norm", NORMS)
def test_points_inside_are_their_own_nearest(norm):
    u = Ball(norm, 0.7).random(6, torch.Generator().manual_seed(0)) * 0.99
    torch.testing.assert_close(Ball(norm, 0.7).nearest(u), u, rtol=0, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_no_point_inside_is_further_along(norm):
    ball = Ball(norm, 0.7)
    for g, v in zip(draws()[:25], draws()[25:], strict=True):
        assert g.dot(ball.furthest(g)) >= g.dot(ball.nearest(v))
        assert ball.gap(ball.nearest(v), g) >= 0
        assert ball.gap(ball.furthest(g), g) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_of_a_zero_gradient_nothing_is_further(norm):
    assert not Ball(norm, 0.7).furthest(torch.zeros(6)).any()
