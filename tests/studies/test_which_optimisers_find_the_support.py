import math
import random
from itertools import islice

import pytest
import torch

from lowland.report.claim import judge_all
from lowland.studies.which_optimisers_find_the_support import (
    BASES,
    CLAIMS,
    LINEAR,
    Config,
    cells,
    chosen,
    linear_setup,
    looked,
    network,
    stepper,
)

CONFIG = Config(seeds=4)
AS_PUBLISHED = {"SGD": 0.3, "momentum": 0.3, "Adam": 0.6, "AdamW": 0.4, "Muon": 1.3, "SAM": 0.2}


def invented(sizes, loss=lambda name, factor: 1.0, diverged=lambda cell, seed: False):
    """Rows of the whole grid; ``sizes`` are reached at the largest learning rate, elsewhere nothing happens."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        name, factor = cell["optimiser"], cell["learning_rate"] / BASES[cell["optimiser"]]
        for seed in range(CONFIG.seeds):
            size = (sizes[name] if round(factor) == 4 else 1.0) * (1 + chance.gauss(0, 0.01))
            facts = {"final": True, "step": CONFIG.steps, "diverged": diverged(cell, seed)}
            more = {"loss": loss(name, round(factor)), "irrelevant": size, "log": math.log(size)}
            found.append({**cell, **facts, "seed": seed, **more})
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_all_is_as_published_and_sam_helps():
    assert set(verdicts(invented(AS_PUBLISHED)).values()) == {"holds"}


def test_all_claims_fail_where_all_is_the_other_way_round():
    found = verdicts(invented({name: 1 / (3 * size) for name, size in AS_PUBLISHED.items()}))
    assert set(found.values()) == {"fails"}


def test_an_optimiser_is_compared_at_the_largest_rate_that_fits_as_well():
    rows = invented(
        AS_PUBLISHED, loss=lambda name, factor: {1: 1.0, 2: 1.05, 4: 1.2 if name == "SGD" else 1.1}[factor]
    )
    assert chosen(rows, LINEAR) == pytest.approx({n: b * (2 if n == "SGD" else 4) for n, b in BASES.items()})
    assert verdicts(rows)["sgd_finds_the_support"] == "fails"


def test_a_rate_at_which_a_run_diverges_is_not_chosen():
    rows = invented(AS_PUBLISHED, diverged=lambda cell, seed: cell["learning_rate"] == 0.08 and seed == 1)
    assert chosen(rows, LINEAR)["SAM"] == 0.04


def test_an_optimiser_that_always_diverges_leaves_claims_open():
    rows = invented(AS_PUBLISHED, diverged=lambda cell, seed: cell["optimiser"] == "Muon")
    (note,) = {verdict.note for verdict in judge_all(CLAIMS, rows)}
    assert note == "Muon diverged at every learning rate."


@pytest.mark.parametrize("name", list(BASES))
def test_a_replica_is_stepped_as_a_network_of_its_own(name):
    def gradients(weights):
        return [torch.sin(w * (i + 1)) for i, w in enumerate(weights)]

    def walked(weights):
        step = stepper(name, weights, 0.01)
        for _ in range(4):
            for weight, grad in zip(weights, gradients(weights), strict=True):
                weight.grad = grad.detach()
            step()
        return weights

    torch.manual_seed(0)
    start = [torch.randn(3, 4, 5, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)]
    together = walked([torch.nn.Parameter(w.clone()) for w in start])
    alone = walked([torch.nn.Parameter(w[1:2].clone()) for w in start])
    for all_of_them, one in zip(together, alone, strict=True):
        torch.testing.assert_close(all_of_them[1:2], one, rtol=1e-9, atol=1e-12)


def test_muon_takes_orthogonal_steps():
    weight = torch.nn.Parameter(torch.zeros(2, 4, 8))
    step = stepper("Muon", [weight], 1.0)
    weight.grad = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    step()
    singular = torch.linalg.svdvals(weight.detach())
    assert (singular.max() / singular.min()).item() < 2
    assert weight.grad is None


def test_the_linear_task_shows_each_network_its_own_examples():
    setup = linear_setup(CONFIG, [1, 2], "cpu")
    x, y = setup.seen
    assert x.shape == (2, 2000, 15)
    assert not torch.equal(x[0], x[1])
    ((inputs, _),) = islice(setup.batches, 1)
    assert inputs.shape == (2, 8, 15)
    assert setup.loss(lambda x: x[:, :5].sum(1, keepdim=True), x[0], y[0]).item() == pytest.approx(1.0)


def test_norms_are_over_those_at_the_start_and_divergence_is_said():
    model, relevant = network((3, 2, 1), False, 0), (True, False, False)
    found = looked(model, 1.0, {"irrelevant_norm": 1.0, "relevant_norm": 1.0}, relevant)
    assert found["irrelevant"] == pytest.approx(model[0].weight[:, 1:].norm().item())
    assert looked(model, math.nan, {}, relevant) == {"diverged": True}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"examples": 15}, "examples must be at least 16, got 15"),
        ({"rho": 0.0}, "rho must be above 0, got 0: SAM would be SGD"),
        ({"factors": (2.0, 4.0)}, r"factors must ascend from 1, got \(2.0, 4.0\)"),
        ({"noise": -1.0}, "noise must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
