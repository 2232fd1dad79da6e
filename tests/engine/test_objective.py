import pytest
import torch
from torch import nn

import lowland
from rigs import net


class Doubled(nn.Module):
    """Takes keywords and gives a dict."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return {"logits": self.scale * x, "twice": 2 * x}


def test_is_the_closure_it_stands_for():
    model = net().eval()
    x, y = torch.randn(6, 1, 4, 4).double(), torch.arange(6) % 3
    goal = lowland.objective(model, nn.functional.cross_entropy, x, y)
    torch.testing.assert_close(goal(), nn.functional.cross_entropy(model(x), y))
    torch.testing.assert_close(goal(slice(1, 3)), nn.functional.cross_entropy(model(x[1:3]), y[1:3]))
    assert len(goal) == 6


@pytest.mark.parametrize("method", [lowland.SAM(rho=0.5), lowland.MSAM(m=4)])
def test_keeps_the_outputs_of_the_clean_pass(method):
    model, x = Doubled(), torch.arange(10.0)
    goal = lowland.objective(model, lambda out, y: (out["logits"] - y).pow(2).mean(), {"x": x}, torch.zeros(10))
    engine = method.bind(model)
    engine.backward(goal)
    engine.backward(goal)
    torch.testing.assert_close(goal.outputs, {"logits": x, "twice": 2 * x})
    assert not goal.outputs["logits"].requires_grad


def test_refuses_examples_that_do_not_pair():
    with pytest.raises(ValueError, match=r"same number of examples, at least 1, got \[3, 4\]"):
        lowland.objective(net(), nn.functional.cross_entropy, torch.ones(3), torch.ones(4))
    with pytest.raises(ValueError, match=r"at least 1, got \[0\]"):
        lowland.objective(net(), nn.functional.cross_entropy, torch.ones(0), torch.ones(0))
