import random

import pytest
import torch

from lowland.methods.sgd import SGD
from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.sam_operates_at_its_own_edge import (
    CLAIMS,
    TINY,
    Config,
    cells,
    descend,
    largest,
    run,
    settled,
    squared,
    start,
)
from lowland.theory.sam_edge import sam_edge

CONFIG = Config(seeds=4, steps=80, looks=8)


def invented(ratio, cosine=-0.9):
    """Rows of the whole grid; ``ratio`` is given the cell, and what it settles at is over its edge."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        edge = sam_edge(cell["learning_rate"], cell["rho"])
        for look in range(CONFIG.looks):
            value = ratio(cell) * edge * (1 + chance.gauss(0, 0.01)) if look > 3 else 99.0
            sizes = {"lambda_max": value, "ratio": value / edge, "edge": edge, "cosine": cosine, "loss": 0.1}
            found.append({**cell, "step": look, "diverged": False, "final": look == 7, **sizes})
    return found


def verdicts(rows):
    return [verdict.outcome for verdict in judge_all(CLAIMS, rows)]


def test_all_claims_hold_where_every_run_settles_at_its_edge():
    assert verdicts(invented(lambda cell: 1.0)) == ["holds", "holds", "holds"]


def test_usam_at_the_edge_of_gradient_descent_is_not_at_its_own():
    rows = invented(lambda cell: 2.0 / cell["learning_rate"] / sam_edge(cell["learning_rate"], cell["rho"]))
    assert verdicts(rows)[:2] == ["holds", "fails"]


def test_a_run_that_oscillates_below_its_edge_speaks_against_it():
    assert verdicts(invented(lambda cell: 0.8)) == ["fails", "fails", "holds"]


def test_a_run_whose_steps_go_on_is_held_by_no_edge_and_says_so():
    found = judge_all(CLAIMS, invented(lambda cell: 1.0, cosine=0.99))
    assert {verdict.outcome for verdict in found} == {"inconclusive"}
    assert "4 of 4 runs were not held by an edge" in found[1].reasons[0]


def test_a_claim_must_hold_at_every_radius_and_rate():
    assert verdicts(invented(lambda cell: 1.2 if cell["rho"] == 0.1 else 1.0))[1] == "fails"


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    lost = {"rho": 0.1, "seed": 0, "final": True}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(lambda cell: 1.0)]
    assert verdicts(rows) == ["holds", "inconclusive", "inconclusive"]


def test_only_the_last_quarter_counts():
    assert all(run["ratio"] < 1.1 for run in settled(invented(lambda cell: 1.0)))


def test_the_squared_loss_is_half_the_distance_to_the_target():
    loss = squared(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((0 + 4 + 0 + 1) / 2 / 2)


def test_the_largest_eigenvalue_is_that_of_the_dense_hessian():
    model, x, y = start(TINY, 0, "cpu")
    names, weights = zip(*model.named_parameters(), strict=True)

    def loss(*values):
        return squared(torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,)), y)

    rows = torch.autograd.functional.hessian(loss, weights)
    H = torch.cat(
        [torch.cat([part.reshape(w.numel(), -1) for part in row], 1) for row, w in zip(rows, weights, strict=True)]
    )
    found = largest(model, squared, (x, y), None).values[0].item()
    assert found == pytest.approx(torch.linalg.eigvalsh(H)[-1].item(), rel=1e-2)


@pytest.mark.parametrize(("curvature", "cosine"), [(1.5, 1.0), (12.0, -1.0)])
def test_steps_turn_where_the_learning_rate_is_beyond_half_the_edge(curvature, cosine):
    model = torch.nn.Linear(1, 1, bias=False).double()
    x = torch.full((1, 1), curvature**0.5, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = descend(SGD().bind(model), optimizer, lambda: model(x).square().mean() / 2, 5)
    assert found == pytest.approx(cosine)


def test_a_run_that_diverges_ends_in_a_row_that_says_so(tmp_path):
    cell = {"method": "sgd", "learning_rate": 1e4, "rho": 0.0, "seed": 0}
    rows = run(TINY, cell, Context("cpu", tmp_path, lambda share: None))
    assert rows[-1]["diverged"]
    assert rows[-1]["final"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"looks": 3}, "looks must be at least 4, got 3"),
        ({"steps": 100}, "steps must be at least 160, got 100"),
        ({"loss": "l1"}, "loss must be one of mse, ce, got 'l1'"),
        ({"rhos": (0.0, 0.1)}, r"rhos must ascend from above 0 and be at least one, got \(0.0"),
        ({"learning_rates": ()}, "learning_rates must ascend from above 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
