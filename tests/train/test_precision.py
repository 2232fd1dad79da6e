import pytest
import torch
from torch import nn

from lowland.train.precision import forward, scaler

CPU = torch.device("cpu")


class Narrow(nn.Linear):
    """Remembers in which type it computed, and gives a structure of outputs."""

    def forward(self, x):
        y = super().forward(x)
        self.seen = y.dtype
        return {"y": y, "count": torch.tensor(3), "name": "n"}


@pytest.mark.parametrize(("amp", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_the_model_computes_narrowly_and_the_loss_is_wide(amp, dtype):
    model = Narrow(4, 2)
    outputs = forward(model, amp, CPU)(torch.randn(3, 4))
    assert model.seen == dtype
    assert outputs["y"].dtype == torch.float32
    assert outputs["count"].dtype == torch.int64
    assert outputs["name"] == "n"


def test_weights_that_moved_in_place_are_cast_anew():
    model, x = nn.Linear(4, 2), torch.randn(3, 4)
    narrow = forward(model, "bf16", CPU)
    first = narrow(x)
    with torch.no_grad():
        model.weight.mul_(3)
    assert not torch.equal(narrow(x), first)


def test_off_is_the_model_itself():
    model = nn.Linear(4, 2)
    assert forward(model, "off", CPU) is model


@pytest.mark.parametrize(("amp", "scaled"), [("off", False), ("bf16", False), ("fp16", True)])
def test_only_float16_needs_a_scaler(amp, scaled):
    assert (scaler(amp, CPU) is not None) == scaled
