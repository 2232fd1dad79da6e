import pytest
import torch
from torch import nn

from lowland.observe.unfused import caller, unfused


def fused():
    return torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("before", [True, False])
def test_fused_attention_is_off_inside_and_as_it_was_after_exceptions_too(before):
    torch.backends.mha.set_fastpath_enabled(before)
    try:
        with pytest.raises(ZeroDivisionError), unfused():
            assert not fused()
            1 / 0  # noqa: B018
        assert fused() == before
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_padding_gives_no_nested_tensors_inside():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1).eval()
    mask = torch.tensor([[False, False, False], [False, False, True]])
    seen = []
    model.layers[0].register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad(), unfused():
        model(torch.randn(2, 3, 4), src_key_padding_mask=mask)
    assert [(x.is_nested, x.shape) for x in seen] == [(False, (2, 3, 4))]


def test_code_compiled_before_a_hook_was_set_calls_it_inside_and_not_after():
    torch._dynamo.reset()
    model, x, seen = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.randn(2, 3), []
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    hook = model[1].register_forward_hook(lambda module, args, output: seen.append(output))
    with unfused():
        compiled(x)
    hook.remove()
    compiled(x)
    assert len(seen) == 1


def test_a_layer_computes_when_it_is_called_but_for_the_projection_of_attention():
    attention = nn.MultiheadAttention(4, 2)
    model = nn.ModuleDict({"attention": attention, "out_proj": nn.Linear(2, 2)})
    assert caller(model, "attention.out_proj") is caller(attention, "out_proj") is attention
    assert caller(model, "out_proj") is model["out_proj"]
    assert caller(model, "attention") is attention
