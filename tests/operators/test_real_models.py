"""Models as people have them: Transformers with dicts for batches, compiled, checkpointed, under autocast."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lowland.models.resnet import ResNet
from lowland.models.vit import ViT
from lowland.operators.fisher import fisher
from lowland.operators.gauss_newton import gauss_newton
from lowland.operators.hessian import hessian
from lowland.operators.jacobian import jacobian
from lowland.operators.nme import nme
from lowland.operators.problem import problem
from operators.networks import case

CE = nn.functional.cross_entropy


def vector(p):
    return torch.randn(p.size, dtype=p.dtype, generator=torch.Generator().manual_seed(1))


def assert_splits(p, tolerance=1e-12):
    H, G, N = (make(p) @ vector(p) for make in (hessian, gauss_newton, nme))
    assert (H - G - N).norm() <= tolerance * H.norm()
    return H


def natively(p, v):
    """The Hessian's product by PyTorch's own second derivatives."""
    total = 0
    with p.calm():
        for batch in p.batches:
            loss = p.value(batch, p.outputs(batch))
            slopes = torch.autograd.grad(loss, p.weights, create_graph=True)
            total += batch.count * p.join(torch.autograd.grad(slopes, p.weights, p.split(v)))
    return total / p.batches.examples


def by_differences(p, v, step=1e-5):
    """The Hessian's product, from the gradients at two other points."""
    v = step * v
    own = p.join([w.detach().clone() for w in p.weights])
    gradients = []
    for w in (own + v, own - v, own):
        for p_, part in zip(p.weights, p.split(w), strict=True):
            p_.data.copy_(part)
        gradients.append(p.gradient())
    return (gradients[0] - gradients[1]) / (2 * step)


def resnet():
    return ResNet((1, 8, 8), 3, depth=10, width=2)


def vit():
    return ViT((1, 8, 8), 3, depth=2, width=8, heads=2)


@pytest.mark.parametrize("build", [resnet, vit])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_our_networks(build, mode):
    data = [(torch.randn(n, 1, 8, 8, dtype=torch.float64), torch.randint(3, (n,))) for n in (5, 3)]
    p = problem(build().double(), CE, data, mode=mode)
    H = assert_splits(p)
    torch.testing.assert_close(H, natively(p, vector(p)), rtol=1e-9, atol=1e-12)


# Transformers.


def words(n, length=6):
    ids = torch.randint(20, (n, length))
    mask = torch.ones(n, length, dtype=torch.int64)
    mask[:, length - 2 :] = torch.randint(2, (n, 2))
    return {"input_ids": ids, "attention_mask": mask}


def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=10,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config).double()


def gpt2():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=8, pad_token_id=0)
    return transformers.GPT2LMHeadModel(config).double()


def classified(n):
    return words(n) | {"labels": torch.randint(3, (n,))}


def continued(n):
    batch = words(n)
    return batch | {"labels": batch["input_ids"]}


def class_loss(outputs, batch):
    return CE(outputs.logits, batch["labels"])


def word_loss(outputs, batch):
    return CE(outputs.logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("build", "draw", "loss"), [(bert, classified, class_loss), (gpt2, continued, word_loss)])
def test_transformers(build, draw, loss, mode):
    model, data = build(), [draw(n) for n in (4, 2)]
    own, given = (problem(model, each, data, mode=mode) for each in (None, loss))
    H = assert_splits(given)
    assert (hessian(own) @ vector(own) - H).norm() < 1e-4 * H.norm()  # the model's own goes through float32
    assert own.batches.examples == 6


def test_the_padding_of_an_embedding_counts_as_frozen():
    p = problem(bert(), class_loss, classified(4))
    H = hessian(p)
    padding = p.join([torch.zeros_like(w) for w in p.weights])
    p.split(padding)[0][0] = 1  # the first of the word embeddings
    assert (H @ padding).norm() == 0
    v = vector(p)
    assert padding @ (H @ v) == 0
    v = v * (1 - padding)
    assert (H @ v - by_differences(p, v)).norm() < 1e-6 * (H @ v).norm()


def test_a_transformers_fisher_and_jacobian():
    p = problem(bert(), class_loss, [classified(n) for n in (4, 2)])
    J, v = jacobian(p), vector(p)
    u = torch.randn(J.shape[0], dtype=p.dtype)
    torch.testing.assert_close(u @ (J @ v), (J.T @ u) @ v, rtol=1e-10, atol=1e-12)
    assert v @ (fisher(p, "empirical") @ v) > 0
    with pytest.raises(ValueError, match="must be a function of the outputs to be split from them"):
        fisher(problem(bert(), None, classified(2)), "empirical")


def test_tokens_can_be_counted():
    model, data = gpt2(), [continued(4), continued(2)]
    data[1] = {name: t[:, :4] for name, t in data[1].items()}

    def tokens(inputs, targets):
        return inputs["labels"][:, 1:].numel()

    def total(outputs, batch):
        return word_loss(outputs, batch) * tokens(batch, None)

    p = problem(model, word_loss, data, count=tokens)
    assert p.batches.examples == 4 * 5 + 2 * 3
    model.eval()
    expected = sum(total(model(**batch), batch).item() for batch in data) / 26
    assert p.mean_loss() == pytest.approx(expected, rel=1e-12)


# Wrapped models.


class Checkpointed(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return checkpoint(self.model, x, use_reentrant=False)


class Reentrant(Checkpointed):
    def forward(self, x):
        return checkpoint(self.model, x.requires_grad_(), use_reentrant=True)


@pytest.mark.parametrize("name", ["residual, batch norm", "residual, batch norm, train", "attention, train"])
def test_checkpointed_layers(name):
    plain, saving = case(name), case(name)
    saving.model = Checkpointed(saving.model)
    v = vector(plain.problem())
    for make in (hessian, gauss_newton, nme):
        A, B = make(saving.problem()), make(plain.problem())
        torch.testing.assert_close(A @ v, B @ v, rtol=1e-10, atol=1e-12)
        assert A.engine == "double_backward"


def test_reentrant_checkpoints_are_refused():
    found = case("mlp, own loss")
    found.model = Reentrant(found.model)
    with pytest.raises(
        ValueError, match="got use_reentrant=True, which hides their parameters: pass use_reentrant=F"
    ):
        found.problem()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_models_run_uncompiled():
    plain, compiled = case("layer norm"), case("layer norm")
    compiled.model = torch.compile(compiled.model, backend="eager")
    compiled.model(compiled.data[0][0])
    p, q = plain.problem(), compiled.problem(params=["0.*", "3.*"])
    assert list(q.parameters) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert (hessian(compiled.problem()) @ vector(p) - hessian(p) @ vector(p)).norm() == 0
    compiled.model(compiled.data[0][0]).sum().backward()


def test_autocast_is_roughly_right():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 3))
    data = torch.randn(64, 8), torch.randint(3, (64,))
    exact, rough = problem(model, CE, data), problem(model, CE, data, autocast=torch.bfloat16)
    for make in (hessian, gauss_newton, nme):
        A, B = make(exact) @ vector(exact), make(rough) @ vector(exact)
        assert B.dtype == torch.float32
        assert 0 < (A - B).norm() < 0.1 * A.norm()
    assert (exact.gradient() - rough.gradient()).norm() < 0.05 * exact.gradient().norm()


def test_bfloat16_weights_multiply():
    found = case("layer norm")
    exact = hessian(found.problem())
    v = vector(exact.problem)
    expected = exact @ v
    found.model.bfloat16()
    found.data = [(x.bfloat16(), y) for x, y in found.data]
    assert (hessian(found.problem()) @ v.bfloat16() - expected).norm() < 0.2 * expected.norm()


def test_the_users_own_modes_do_not_matter():
    found = case("attention")
    p = found.problem()
    expected = hessian(p) @ vector(p)
    with torch.no_grad():
        torch.testing.assert_close(hessian(p) @ vector(p), expected, rtol=0, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(hessian(p) @ vector(p), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(hessian(p) @ vector(p), expected, rtol=0, atol=0)
