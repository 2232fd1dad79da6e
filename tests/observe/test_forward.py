import pytest
import torch
from torch import nn

from lowland.observe.forward import first_tensor, forward


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b


def test_a_mapping_is_passed_by_keyword_and_a_tuple_by_position():
    a, b = torch.ones(2), torch.full((2,), 2.0)
    torch.testing.assert_close(forward(Sum(), {"b": b, "a": a}), a + b)
    torch.testing.assert_close(forward(Sum(), (a, b)), a + b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_inputs_follow_the_models_dtype(dtype):
    assert forward(nn.Linear(3, 2).to(dtype), torch.ones(4, 3)).dtype == dtype


def test_token_ids_stay_whole_numbers():
    assert forward(nn.Embedding(5, 3), torch.tensor([[1, 2]])).shape == (1, 2, 3)


def test_inputs_that_are_not_tensors_reach_the_model_as_they_are():
    assert forward(Sum(), {"a": 1, "b": 2}) == 3


@pytest.mark.parametrize("output", [(None, torch.ones(2)), {"loss": None, "out": [torch.ones(2)]}, torch.ones(2)])
def test_the_first_tensor_is_found_however_deep(output):
    torch.testing.assert_close(first_tensor(output, "it"), torch.ones(2))


def test_an_output_without_a_tensor_is_refused_by_words():
    with pytest.raises(TypeError, match=r"output of layer 'a' must be a tensor.*got dict. Name another layer"):
        first_tensor({"a": 1}, "layer 'a'")
