import pytest
import torch
from torch import nn

from lowland.data.dataset import Split
from lowland.experiments.perturbed import PERTURBATIONS, Perturbed, forgotten, method_of, over_training
from lowland.measurements.forgetting import Forgetting
from lowland.measuring.measure import measure

RUN = {"method": "sam", "rho": 0.1, "seed": 0, "diverged": False}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def images(n, seed):
    draw = torch.Generator().manual_seed(seed)
    return Split(torch.randn(n, 1, 2, 2, generator=draw, dtype=torch.float64), torch.arange(n) % 3)


def test_looks_are_evenly_spread_and_the_last_epoch_is_one():
    assert Perturbed(epochs=20, looks=5).due == {4, 8, 12, 16, 20}
    assert Perturbed(epochs=2, looks=9).due == {1, 2}


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_what_parts_forget_is_the_mean_of_what_each_makes_the_others_forget(name):
    model, parts, others = net(), [images(6, 0), images(6, 1)], images(12, 2)
    found = forgotten(model, parts, others, name, 0.3)
    each = [forgotten_by_hand(model, part, others, name, i) for i, part in enumerate(parts)]
    assert found == {key: pytest.approx((each[0][key] + each[1][key]) / 2, rel=1e-9) for key in each[0]}


def forgotten_by_hand(model, part, others, name, seed):
    what = Forgetting(rho=0.3, perturb_on=6, seed=seed, **PERTURBATIONS[name])
    joined = [(torch.cat([part.x, others.x]), torch.cat([part.y, others.y]))]
    return {r.name: r.value for r in measure(model, nn.functional.cross_entropy, joined, what)}


def test_without_others_a_part_looks_at_itself():
    model, part = net(), images(6, 0)
    assert forgotten(model, [part], None, "sam", 0.1) == forgotten(model, [part], part, "sam", 0.1)


def test_a_length_of_zero_is_sgd_and_m_cuts_the_batch_inside_obf():
    assert type(method_of("obf_1", 0.0)).__name__ == "SGD"
    assert method_of("obf_1", 0.1, m=8).gamma == 1.0
    assert method_of("obf_1", 0.1, m=8).method == method_of("sam", 0.1, m=8)


def test_only_what_has_a_slash_is_averaged_over_the_looks():
    looks = [{**RUN, "error": e, "kl/own": kl} for e, kl in ((9.0, 1.0), (2.0, 3.0))]
    (row,) = over_training(looks)
    assert (row["error"], row["kl/own"]) == (2.0, 2.0)


def test_a_diverged_run_stays_one():
    (row,) = over_training([{**RUN, "kl/own": 1.0}, {**RUN, "diverged": True}])
    assert row["diverged"]
    assert "kl/own" not in row


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"looks": 0}, "looks must be at least 1, got 0"),
        ({"rhos": (0.0, 0.1)}, r"rhos must ascend from above 0 and be at least one, got \(0.0"),
        ({"rhos": (0.2, 0.1)}, "rhos must ascend from above 0"),
        ({"rhos": (-0.1,)}, "rhos must be a finite number >= 0, got -0.1"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Perturbed(**wrong)
