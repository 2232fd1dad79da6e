import pytest
import torch

from lowland.observe.ordinary import as_ordinary, ordinary


def test_products_have_the_precision_of_their_factors_inside():
    A = torch.eye(2)
    with torch.autocast("cpu", torch.bfloat16):
        with ordinary():
            assert (A @ A).dtype == torch.float32
        assert (A @ A).dtype == torch.bfloat16


def test_what_is_made_inside_can_be_derived_and_what_was_made_outside_after_a_copy():
    with torch.inference_mode():
        x = torch.ones(2)
        with ordinary():
            w = torch.ones(2, requires_grad=True)
            (as_ordinary(x) * w).sum().backward()
        assert torch.is_inference_mode_enabled()
    assert torch.equal(w.grad, torch.ones(2))


def test_an_ordinary_tensor_is_not_copied():
    x = torch.ones(2)
    assert as_ordinary(x) is x


def test_all_comes_back_after_exceptions():
    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.inference_mode(),
        pytest.raises(ZeroDivisionError),
        ordinary(),
    ):
        1 / 0  # noqa: B018
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        with ordinary():
            assert not torch.is_autocast_enabled("cpu")
            assert torch.is_autocast_cache_enabled() is False
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_cache_enabled()
        assert torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_inference_mode_enabled()
