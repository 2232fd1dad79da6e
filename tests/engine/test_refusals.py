"""What is refused, by its words, and that nothing is changed by it."""

import pytest
import torch
from torch import nn

import lowland
from rigs import assert_same, everything


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 1)).double()


def loss_of(model, scale=1.0):
    x = torch.arange(8.0, dtype=torch.float64).view(2, 4)
    return lambda: model(x).pow(2).mean() * scale


def test_refuses_a_model_without_parameters():
    with pytest.raises(ValueError, match="The model must have parameters, got ReLU without any"):
        lowland.SAM().bind(nn.ReLU())


@pytest.mark.parametrize("rho", [-0.1, float("nan"), float("inf")])
def test_refuses_a_radius_below_zero(rho):
    with pytest.raises(ValueError, match=r"rho must be a finite number >= 0, got"):
        lowland.SAM(rho=rho)


def test_refuses_a_radius_that_is_no_number():
    with pytest.raises(TypeError, match="rho must be a number, got 'big'"):
        lowland.SAM(rho="big")


def test_refuses_a_closure_that_calls_backward():
    model = linear()
    before = everything(model)

    def closure():
        loss = loss_of(model)()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="must not call backward itself"):
        lowland.SAM().bind(model).backward(closure)
    assert_same(everything(model), before)


def test_refuses_a_second_closure_that_adds_to_the_gradients_of_the_first():
    torch.manual_seed(0)
    model = nn.ModuleDict({"own": nn.Linear(4, 3), "both": nn.Linear(4, 1)}).double()
    x = torch.ones(2, 4).double()
    before = everything(model)

    def second():
        model["both"](x).sum().backward(inputs=[model["both"].weight])
        return model["both"](x).pow(2).mean()

    closures = [lambda: model["own"](x).mean() + model["both"](x).mean(), second]
    with pytest.raises(RuntimeError, match="must not call backward itself"):
        lowland.SAM().bind(model).backward_many(closures)
    assert_same(everything(model), before)


@pytest.mark.parametrize(
    ("closure", "error", "words"),
    [
        (
            lambda m: m(torch.ones(2, 4).double()),
            ValueError,
            r"scalar loss, got shape \(2, 1\): reduce it",
        ),
        (lambda m: 1.0, TypeError, "must return the loss, a tensor, got float"),
        (lambda m: m(torch.ones(1, 4).double()).sum().detach(), ValueError, "must depend on a trainable"),
    ],
)
def test_refuses_what_is_no_loss(closure, error, words):
    model = linear()
    before = everything(model)
    with pytest.raises(error, match=words):
        lowland.SAM().bind(model).backward(lambda: closure(model))
    assert_same(everything(model), before)


def test_refuses_a_loss_in_place_of_a_closure():
    model = linear()
    with pytest.raises(TypeError, match=r"compute the loss when called, got Tensor: write backward\(lambda"):
        lowland.SAM().bind(model).backward(loss_of(model)())


def test_refuses_no_closures():
    with pytest.raises(ValueError, match="at least one closure"):
        lowland.SAM().bind(linear()).backward_many([])


def test_refuses_a_bare_closure_for_a_method_that_needs_examples():
    model = linear()
    with pytest.raises(TypeError, match=r"needs its examples, got function: pass lowland.objective"):
        lowland.MSAM().bind(model).backward(loss_of(model))


def test_refuses_a_filter_that_picks_nothing():
    with pytest.raises(ValueError, match=r"got '0.weigth', which picks none. Near it: 0.weight"):
        lowland.SAM().bind(linear(), where="0.weigth")
    with pytest.raises(ValueError, match="got norm_only, which picks none"):
        lowland.SAMON().bind(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="leaves nothing"):
        lowland.SAMON().bind(linear(), where="0.*")


def test_refuses_wrong_radii_and_policies():
    with pytest.raises(ValueError, match=r"radii\['0.\*'\] must be a finite number >= 0, got -1"):
        lowland.SAM().bind(linear(), radii={"0.*": -1})
    with pytest.raises(ValueError, match="buffers must be one of clean, every, got 'none'"):
        lowland.SAM().bind(linear(), buffers="none")
    with pytest.raises(ValueError, match="rng must be one of same, fresh, got 'new'"):
        lowland.SAM().bind(linear(), rng="new")


def test_refuses_an_optimiser_of_other_parameters():
    model, other = linear(), nn.Linear(1, 1)
    opt = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)
    with pytest.raises(ValueError, match="only the model's parameters, got 2 of others"):
        lowland.SAM().bind(model, optimizer=opt)


def test_refuses_a_state_of_another_method_or_model():
    state = lowland.SAM().bind(linear()).state_dict()
    with pytest.raises(ValueError, match="must be this method's, GSAM, got one of SAM"):
        lowland.GSAM().bind(linear()).load_state_dict(state)
    state["memory"] = {"mean": {"9.weight": torch.ones(1)}}
    with pytest.raises(ValueError, match=r"must fit the model, got memory of 9.weight"):
        lowland.SAM().bind(linear()).load_state_dict(state)


def test_refuses_to_descend_after_a_step_that_no_optimiser_takes():
    model = linear()
    with pytest.raises(RuntimeError, match=r"also descends after the optimiser's step: bind\(model, optimizer="):
        lowland.WSAM().bind(model).backward(lambda: model(torch.ones(2, 4).double()).sum())


def test_refuses_momentum_sam_with_an_optimiser_that_keeps_no_momentum():
    model = linear()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    engine = lowland.MomentumSAM().bind(model, opt)
    with pytest.raises(ValueError, match=r"must keep a momentum, got SGD without: give SGD momentum=0\.9"):
        engine.backward(lambda: model(torch.ones(2, 4).double()).sum())


def test_refuses_outputs_that_are_not_one_tensor_where_a_method_needs_them():
    model = linear()
    goal = lowland.objective(model, lambda out, y: out["z"].sum(), torch.ones(2, 4).double(), torch.zeros(2))
    model.register_forward_hook(lambda module, x, z: {"z": z})
    with pytest.raises(TypeError, match="must give one tensor of outputs, got dict"):
        lowland.OBF().bind(model).backward(goal)


def test_refuses_a_filter_that_picks_frozen_parameters_only():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[0].requires_grad_(False)
    with pytest.raises(ValueError, match=r"must pick a trainable parameter, got .* such as '0\.bias'"):
        lowland.SAM().bind(model, where="0.*")


def test_refuses_parameters_in_place_of_their_module():
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got generator"):
        lowland.SAM().bind(linear().parameters())


def test_refuses_a_list_of_patterns():
    with pytest.raises(TypeError, match="must be a pattern or a predicate, got list"):
        lowland.SAM().bind(linear(), where=["weight"])


def test_a_module_in_place_of_its_parameters_is_pointed_out():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"picks none\. Near it: 0\.\*"):
        lowland.SAM().bind(model, where="0")


def test_a_closure_that_runs_out_of_batches_says_so_itself():
    model, batches = linear(), iter([])
    with pytest.raises(StopIteration):
        lowland.SAM().bind(model).backward(lambda: model(next(batches)).sum())


def test_closures_may_come_from_a_generator():
    model = linear()
    x = torch.ones(2, 4).double()
    loss = lowland.SAM().bind(model).backward_many(lambda: model(x).square().mean() for _ in range(2))
    assert loss.item() == pytest.approx(2 * model(x).square().mean().item())


def test_refuses_what_is_no_optimiser():
    model = linear()
    with pytest.raises(TypeError, match=r"must be a torch\.optim\.Optimizer, got str: make it first"):
        lowland.SAM().bind(model, "sgd")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_refuses_a_traced_model():
    model = torch.jit.trace(linear(), torch.ones(2, 4).double())
    with pytest.raises(NotImplementedError, match="must not be traced or scripted: bind the module"):
        lowland.SAM().bind(model)
