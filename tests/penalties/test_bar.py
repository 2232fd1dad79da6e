"""BAR balances what it should, by the papers' rules, and nothing else."""

import pytest
import torch
from torch import nn

import lowland
from lowland.penalties.bar import BAR
from references import penalties as ref


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.02)


def factors(rows=3, rank=2, columns=4):
    """A model of two factors, and a matrix to fit."""
    torch.manual_seed(0)
    model = nn.ParameterDict({"x": torch.randn(rows, rank), "y": 0.3 * torch.randn(rank, columns)}).double()
    return model, torch.randn(rows, columns, dtype=torch.float64)


def adapter(names):
    """A model that holds parameters of these names, each of one number and with a gradient."""
    model = nn.Module()
    for name in names:
        *path, last = name.split(".")
        home = model
        for part in path:
            if not hasattr(home, part):
                home.add_module(part, nn.Module())
            home = getattr(home, part)
        home.register_parameter(last, nn.Parameter(torch.ones(1)))
    return model


def balance(model):
    return 0.5 * (model["x"].square().sum() - model["y"].square().sum()).item()


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize(("preset", "rule"), [(BAR.as_nbar, ref.nbar), (BAR.as_obar, ref.obar)])
def test_follows_the_papers_rule_under_schedules_of_both_rates(preset, rule, optimizer):
    model, target = factors()
    x, y = (model[name].detach().clone().requires_grad_() for name in "xy")
    left, right = optimizer(model.parameters()), optimizer([x, y])
    schedules = [torch.optim.lr_scheduler.ExponentialLR(each, 0.9) for each in (left, right)]
    preset(mu=lowland.Cosine(2.0, 0.5, steps=15), pairs=[("x", "y")]).bind(model, left)
    for t in range(20):
        mu = 0.5 + 1.5 * (1 + torch.cos(torch.tensor(torch.pi * min(t / 15, 1), dtype=torch.float64))).item() / 2
        (model["x"] @ model["y"] - target).square().sum().backward()
        (x @ y - target).square().sum().backward()
        with torch.no_grad():
            new = rule(x, y, x.grad, y.grad, mu * right.param_groups[0]["lr"])
            x.copy_(new[0]), y.copy_(new[1])
        for each in (left, right, *schedules):
            each.step()
        left.zero_grad(), right.zero_grad()
    torch.testing.assert_close([model["x"], model["y"]], [x, y], rtol=1e-9, atol=1e-12)


def test_obar_shrinks_the_balancedness_that_gradient_descent_keeps():
    seen = {}
    for mu in (0.0, 2.0):
        model, target = factors(rank=1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        BAR.as_obar(mu=mu, pairs=[("x", "y")]).bind(model, optimizer)
        before = balance(model)
        for _ in range(2000):
            optimizer.zero_grad()
            (model["x"] @ model["y"] - target).square().sum().backward()
            optimizer.step()
        seen[mu] = abs(balance(model) / before)
    assert seen[0.0] == pytest.approx(1, abs=0.05)
    assert seen[2.0] < 0.01


def test_both_presets_agree_on_an_inner_product():
    """Its gradients are the other factor times one number, so that of the shorter factor is the longer."""
    seen = []
    for preset in (BAR.as_nbar, BAR.as_obar):
        torch.manual_seed(0)
        model = nn.ParameterDict({"x": torch.randn(5), "y": torch.randn(5)}).double()
        optimizer = sgd(model.parameters())
        preset(mu=0.5, pairs=[("x", "y")]).bind(model, optimizer)
        for _ in range(20):
            optimizer.zero_grad()
            (model["x"] @ model["y"] - 1).square().backward()
            optimizer.step()
        seen.append(model.state_dict())
    torch.testing.assert_close(*seen, rtol=0, atol=0)


def test_acts_on_the_weights_and_not_on_the_gradient_of_sam():
    model, target = factors()
    optimizer = torch.optim.SGD([{"params": [model["x"]], "lr": 0.1}, {"params": [model["y"]], "lr": 0.3}])
    BAR.as_obar(mu=0.5, pairs=[("x", "y")]).bind(model, optimizer)
    lowland.SAM(rho=0.1).bind(model).backward(lambda: (model["x"] @ model["y"] - target).square().sum())
    assert model["x"].norm() > model["y"].norm()
    x, y = ((1 - 0.05) * model["x"] - 0.1 * model["x"].grad, (1 + 0.15) * model["y"] - 0.3 * model["y"].grad)
    optimizer.step()
    torch.testing.assert_close([model["x"], model["y"]], [x, y], rtol=1e-12, atol=0)


def test_acts_once_after_the_closure_that_a_step_is_given():
    seen = []
    for given in (False, True):
        model, target = factors()
        optimizer = sgd(model.parameters())
        rule = BAR.as_nbar(mu=0.5, pairs=[("x", "y")]).bind(model, optimizer)

        def closure(model=model, target=target, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (model["x"] @ model["y"] - target).square().sum()
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure) if given else (closure(), optimizer.step())
        assert rule.count == 3
        seen.append(model.state_dict())
    torch.testing.assert_close(*seen, rtol=0, atol=0)


def test_leaves_a_pair_without_gradients_alone():
    model, _ = factors()
    optimizer, before = sgd(model.parameters()), [p.clone() for p in model.values()]
    BAR(pairs=[("x", "y")]).bind(model, optimizer)
    model["x"].grad = torch.zeros_like(model["x"])
    optimizer.step()
    torch.testing.assert_close(list(model.values()), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["q.lora_A.weight", "q.lora_B.weight"], [("q.lora_A.weight", "q.lora_B.weight")]),
        (["lora_A", "lora_B", "bias"], [("lora_A", "lora_B")]),
        (
            ["q.lora_A.one.weight", "q.lora_A.two.weight", "q.lora_B.two.weight", "q.lora_B.one.weight"],
            [(f"q.lora_A.{a}.weight", f"q.lora_B.{a}.weight") for a in ("one", "two")],
        ),
        (["e.lora_embedding_A.x", "e.lora_embedding_B.x"], [("e.lora_embedding_A.x", "e.lora_embedding_B.x")]),
    ],
)
def test_finds_adapters_by_their_names(names, pairs):
    model = adapter(names)
    assert BAR().bind(model, sgd(model.parameters())).pairs == tuple(pairs)


def test_takes_only_adapters_that_are_trained():
    model = adapter([f"q.lora_{m}.{a}.weight" for m in "AB" for a in ("one", "two")])
    optimizer = sgd([p for name, p in model.named_parameters() if "two" in name])
    assert BAR().bind(model, optimizer).pairs == (("q.lora_A.two.weight", "q.lora_B.two.weight"),)


def test_balances_the_adapters_of_peft():
    peft = pytest.importorskip("peft")
    body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model = peft.get_peft_model(body, peft.LoraConfig(target_modules=["0", "2"], r=2, init_lora_weights=False))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    rule = BAR.as_obar(mu=5.0).bind(model, optimizer)
    assert [tuple(name.split(".")[-4:-1]) for pair in rule.pairs for name in pair] == [
        (layer, f"lora_{which}", "default") for layer in "02" for which in "AB"
    ]
    parameters, x = dict(model.named_parameters()), torch.randn(6, 4)
    gaps = []
    for _ in range(20):
        gaps.append(sum((parameters[a].norm() - parameters[b].norm()).abs().item() for a, b in rule.pairs))
        lowland.SAM().bind(model).backward(lambda: model(x).square().mean())
        optimizer.step()
        optimizer.zero_grad()
    assert gaps[-1] < 0.5 * gaps[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mu": -1.0}, "mu must be a finite number >= 0, got -1"),
        ({"pairs": "LoRA"}, "pairs must be 'lora' or pairs of two parameter names, got 'LoRA'"),
        ({"pairs": []}, r"pairs must be 'lora' or pairs of two parameter names, got \[\]"),
        ({"pairs": ["xy"]}, "pairs must be 'lora' or pairs of two parameter names"),
        ({"pairs": [("x", "x")]}, "pairs must be 'lora' or pairs of two parameter names"),
    ],
)
def test_wrong_settings_are_refused_by_words(settings, words):
    with pytest.raises(ValueError, match=words):
        BAR(**settings)


def test_wrong_models_are_refused_by_words():
    model, _ = factors()
    optimizer = sgd(model.parameters())
    with pytest.raises(ValueError, match=r"must find lora_A and lora_B .* got none: bind after the adapters"):
        BAR().bind(model, optimizer)
    with pytest.raises(ValueError, match=r"must name parameters that the optimiser trains, got 'xx'\. Near it: x"):
        BAR(pairs=[("xx", "y")]).bind(model, optimizer)
    with pytest.raises(ValueError, match="must name parameters that the optimiser trains, got 'y'"):
        BAR(pairs=[("x", "y")]).bind(model, sgd([model["x"]]))
    with pytest.raises(
        ValueError, match="The optimiser must train parameters of the model, got one that trains non"
    ):
        BAR(pairs=[("x", "y")]).bind(model, sgd(nn.Linear(1, 1).parameters()))


def test_a_step_that_would_turn_a_factor_round_is_refused():
    model, target = factors()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    BAR(mu=2.0, pairs=[("x", "y")]).bind(model, optimizer)
    (model["x"] @ model["y"] - target).square().sum().backward()
    with pytest.raises(ValueError, match="mu times the learning rate must be below 1, got 1: lower mu"):
        optimizer.step()
