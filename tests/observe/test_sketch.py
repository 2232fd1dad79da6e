import torch

from lowland.observe.sketch import Sketch


def test_is_linear_and_the_same_for_the_same_seed_and_name():
    rows = torch.randn(3, 100, dtype=torch.float64)
    first, again = (Sketch(100, 16, seed=0, name="conv1") for _ in range(2))
    torch.testing.assert_close(first(rows), again(rows), rtol=0, atol=0)
    torch.testing.assert_close(first(rows[:1]) + first(rows[1:2]), first(rows[:1] + rows[1:2]))


def test_differs_between_layers_and_seeds():
    rows = torch.randn(3, 100)
    others = [Sketch(100, 16, seed=0, name="conv2"), Sketch(100, 16, seed=1, name="conv1")]
    assert not any(torch.equal(Sketch(100, 16, seed=0, name="conv1")(rows), other(rows)) for other in others)


def test_inner_products_are_right_on_average_and_their_error_is_as_stated():
    x, y = torch.randn(2, 300, dtype=torch.float64)
    errors = [
        s[0] @ s[1] - x @ y for k in range(400) for s in [Sketch(300, 32, seed=k, name="a")(torch.stack([x, y]))]
    ]
    errors = torch.stack(errors) / (x.norm() * y.norm())
    assert errors.mean().abs() < 4 * errors.std() / 20
    assert errors.std() <= (2 / 32) ** 0.5


def test_a_width_that_is_no_multiple_of_the_size_loses_no_column():
    sketch = Sketch(37, 10, seed=0, name="a")
    assert (sketch(torch.eye(37)) != 0).sum(1).tolist() == [1] * 37
