"""What is no problem is refused by words, and what happens to the data meanwhile is noticed."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.problem import problem
from operators.networks import mlp

CE = nn.functional.cross_entropy


def batch(n=4):
    return torch.randn(n, 3), torch.randint(3, (n,))


def ones(p):
    return torch.ones(p.size, dtype=p.dtype)


def product(p):
    return hessian(p) @ ones(p)


# The loss.


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (
            nn.CrossEntropyLoss(reduction="none"),
            ValueError,
            r"must be a scalar, the mean .*got shape \(4,\): use reduction=",
        ),
        (
            nn.CrossEntropyLoss(reduction="sum"),
            ValueError,
            "must be the mean over the batch, got one that sums: use red",
        ),
        (
            lambda z, y: CE(z.detach(), y),
            ValueError,
            "must depend on the parameters, got one that does not: is it",
        ),
        (
            lambda z, y: CE(z, y) * float("nan"),
            ValueError,
            "must be finite, got nan on the first batch. Has training",
        ),
        (lambda z, y: CE(z, y) + float("inf"), ValueError, "must be finite, got inf on the first batch"),
        (lambda z, y: 1.0, TypeError, "must be a tensor, got float: pass loss=, of outputs and targets"),
        (None, TypeError, "must be a tensor, got NoneType: pass loss="),
        ("ce", TypeError, "loss must be a function of outputs and targets, got str"),
    ],
)
def test_losses_that_cannot_be_measured(loss, error, words):
    with pytest.raises(error, match=words):
        problem(mlp(), loss, batch())


def test_a_loss_that_overflows_only_in_its_derivative():
    p = problem(
        nn.Linear(3, 1), lambda z, y: (z - z.detach()).abs().sqrt().mean(), (torch.randn(4, 3), torch.ones(4))
    )
    with pytest.raises(
        ValueError, match=r"hessian's product must be finite, got inf or nan\. Has training diverged"
    ):
        product(p)
    H = hessian(p)
    for _ in range(3):
        with pytest.raises(ValueError, match="product must be finite"):
            H @ ones(p)


def test_a_model_that_draws_from_elsewhere():
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1 + 0.1 * torch.rand((), generator=self.draw))

    model = Noisy(3, 3)
    model.draw = torch.Generator().manual_seed(0)
    with pytest.raises(
        ValueError, match=r"must be the same in every pass, got .* for one batch: does the model draw"
    ):
        problem(model, CE, batch())


# The parameters.


def frozen():
    return mlp().requires_grad_(False)


def mixed():
    model = mlp()
    model[0].double()
    return model


def whole_numbers():
    model = nn.Module()
    model.w = nn.Parameter(torch.arange(3), requires_grad=False)
    return model


@pytest.mark.parametrize(
    ("model", "params", "error", "words"),
    [
        (
            frozen(),
            "all",
            ValueError,
            "must match trainable parameters, got frozen ones only, such as '0.weight': call requi",
        ),
        (whole_numbers(), "all", ValueError, "got frozen ones only, such as 'w'"),
        (
            mixed(),
            "all",
            TypeError,
            "of one real dtype, got torch.float32, torch.float64: choose some with params=",
        ),
        (nn.Linear(3, 3, dtype=torch.complex64), "all", TypeError, "of one real dtype, got torch.complex64"),
        (mlp(), "0.wieght", LookupError, "There is no parameter called '0.wieght'. Did you mean 0.weight"),
        (mlp(), ["0.*", "head.*"], LookupError, "There is no parameter called 'head.*'"),
        ([torch.ones(3)], "all", TypeError, "model must be a torch.nn.Module, got list"),
        (nn.ReLU(), "all", ValueError, "model must have parameters, got ReLU without any"),
    ],
)
def test_parameters_that_cannot_be_measured(model, params, error, words):
    with pytest.raises(error, match=words):
        problem(model, CE, batch(), params)


def test_patterns_choose_in_the_models_order():
    p = problem(mlp(), CE, batch(), ["4.*", "0.weight"])
    assert list(p.parameters) == ["0.weight", "4.weight", "4.bias"]
    with pytest.raises(LookupError, match="There is no parameter called 'nonsense'"):
        p.only(["nonsense"])


@pytest.mark.parametrize("change", ["exchange", "freeze"])
def test_parameters_that_are_no_longer_the_models(change):
    model = mlp()
    p = problem(model, CE, batch())
    if change == "exchange":
        model[0] = nn.Linear(3, 5)
    else:
        model[0].weight.requires_grad_(False)
    with pytest.raises(RuntimeError, match=r"made with, got '0\.weight' exchanged or frozen: make a new problem"):
        product(p)


# The data.


class Growing:
    def __init__(self):
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        torch.manual_seed(0)
        return iter([batch() for _ in range(1 + self.passes)])


class Stream(IterableDataset):
    def __init__(self):
        self.left = [batch() for _ in range(3)]

    def __iter__(self):
        while self.left:
            yield self.left.pop()


class Batch(dict):
    pass


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (
            (batch() for _ in range(2)),
            TypeError,
            "passed over several times, got generator, which can be read only once",
        ),
        ([], ValueError, "must hold at least one example, got none"),
        ([(torch.ones(0, 3), torch.ones(0))], ValueError, "must hold at least one example, got none"),
        ([(*batch(), 1)], TypeError, r"must be a pair \(inputs, targets\) or a mapping, got tuple of 3"),
        ([torch.ones(4, 3)], TypeError, r"must be a pair \(inputs, targets\) or a mapping, got Tensor"),
        ([("a", "b")], TypeError, "must hold a tensor with one row for each example, got none"),
        (3, TypeError, "must be a loader, a list of batches or one batch, got int"),
    ],
)
def test_data_that_cannot_be_measured(data, error, words):
    with pytest.raises(error, match=words):
        problem(mlp(), CE, data)


@pytest.mark.parametrize("own", [True, False])
def test_a_loader_that_shuffles_gives_one_order_and_its_generator_does_not_move(own):
    draw = torch.Generator().manual_seed(3) if own else torch.default_generator
    data = TensorDataset(*batch(12))
    p = problem(mlp(), CE, DataLoader(data, batch_size=4, shuffle=True, generator=draw if own else None))
    before, first = draw.get_state(), product(p)
    p.mean_loss()
    assert torch.equal(draw.get_state(), before)
    torch.rand(3, generator=draw)
    assert torch.equal(product(p), first)


def test_a_loader_that_flips_images():
    class Flipping(TensorDataset):
        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return (x.flip(0) if torch.rand((), generator=draw) > 0.5 else x), y

    draw = torch.Generator().manual_seed(0)
    p = problem(mlp(), CE, DataLoader(Flipping(*batch(12)), batch_size=12))
    with pytest.raises(ValueError, match="got another batch 0 than before: pass a loader without"):
        product(p)


def test_data_that_grow():
    p = problem(mlp(), CE, Growing())
    with pytest.raises(ValueError, match="must be the same in every pass, got another batch 3 than before"):
        [p.gradient() for _ in range(3)]


def test_data_that_can_be_passed_over_once_only():
    p = problem(mlp(), CE, DataLoader(Stream(), batch_size=None))
    with pytest.raises(ValueError, match="must be the same in every pass, got another batch 0 than before"):
        p.gradient()


def test_data_that_shrink():
    data = [batch() for _ in range(3)]
    p = problem(mlp(), CE, data)
    p.gradient()
    data.pop()
    with pytest.raises(
        ValueError, match="must be the same in every pass, got 2 batches after 3 before: pass a list"
    ):
        p.mean_loss()


def test_a_shuffling_loader_that_shuffles_the_same_way_is_fine():
    loader = DataLoader(TensorDataset(*batch(12)), batch_size=5, shuffle=True)
    p = problem(mlp(), CE, loader)
    torch.testing.assert_close(product(p), product(p))
    assert (p.batches.examples, len(p.batches)) == (12, 3)


def test_one_batch_may_come_in_any_container():
    x, y = batch()
    found = [problem(mlp(), CE, data).batches.examples for data in ((x, y), [x, y], [(x, y)], ((x,), y))]
    assert found == [4] * 4


# The rest.


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"mode": "test"}, ValueError, "mode must be one of eval, train, got 'test'"),
        (
            {"engine": "jvp"},
            ValueError,
            "engine must be one of auto, double_backward, finite_difference, got 'jvp'",
        ),
        ({"memory": "much"}, ValueError, "memory must be a size such as '2 GB' or a number of bytes, got 'much'"),
        ({"memory": "1.2.3 GB"}, ValueError, "got '1.2.3 GB'"),
        ({"memory": None}, ValueError, "got None"),
        ({"memory": 0}, ValueError, "got 0"),
        ({"autocast": True}, TypeError, "autocast must be a dtype such as torch.bfloat16, got True"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        (
            {"memory": "100 B"},
            MemoryError,
            r"of a batch of 4 must fit into memory='100 B', got \d+ B for the forward pass",
        ),
    ],
)
def test_settings_that_make_no_sense(how, error, words):
    with pytest.raises(error, match=words):
        problem(mlp(), CE, batch(), **how)


def test_the_models_own_loss_cannot_be_split():
    class Own(nn.Linear):
        def forward(self, x, y):
            return {"loss": CE(super().forward(x), y)}

    p = problem(Own(3, 3), None, [dict(zip("xy", batch(), strict=True))])
    assert product(p).norm() > 0
    with pytest.raises(
        ValueError, match=r"function of the outputs to be split from them, got loss=None.*pass loss="
    ):
        gauss_newton(p)


def test_outputs_without_tensors():
    class Silent(nn.Linear):
        def forward(self, x):
            return Box(super().forward(x))

    class Box:
        def __init__(self, z):
            self.z = z

    p = problem(Silent(3, 3), lambda box, y: CE(box.z, y), batch())
    with pytest.raises(TypeError, match="must be tensors in tuples, lists or mappings, got Box"):
        gauss_newton(p) @ ones(p)
