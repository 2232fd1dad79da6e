import random
from math import log2

import pytest

from lowland.report.claim import judge_all
from lowland.runs.context import Context
from lowland.studies.smaller_perturbation_batches_forget_more import (
    CLAIMS,
    TINY,
    Config,
    cells,
    check,
    run,
    runs,
    same_networks,
)

CONFIG = Config(seeds=4, rhos=(0.1, 0.2))


def invented(size, noise=0.001, own_size=None):
    """Rows of the whole grid; ``size`` gives m what is forgotten, twice that by label; errors rise with m."""
    chance, found = random.Random(0), []
    for cell in cells(CONFIG):
        row = {**cell, "diverged": False, "test_error": 2 + 0.1 * log2(cell["m"]) + chance.gauss(0, noise)}
        for m in CONFIG.sizes if cell["m"] == CONFIG.batch else (cell["m"],):
            value = size(m) + chance.gauss(0, noise)
            row |= {f"forgetting/{m}": value, f"forgetting_given_label/{m}": 2 * value, f"divergence/{m}": 1.0}
            row[f"own_divergence/{m}"] = (own_size or size)(m) + chance.gauss(0, noise)
        found.append(row)
    return found


def verdicts(rows):
    return {verdict.claim.id: verdict.outcome for verdict in judge_all(CLAIMS, rows)}


def test_all_claims_hold_where_few_images_forget_more():
    assert set(verdicts(invented(lambda m: 1 / m)).values()) == {"holds"}


def test_claims_about_forgetting_fail_where_many_images_forget_more():
    found = verdicts(invented(lambda m: m / 100))
    assert found.pop("smaller_m_is_better") == "holds"
    assert found == dict.fromkeys(found, "fails")


def test_the_error_is_judged_by_itself():
    rows = [row | {"test_error": 5 - 0.1 * log2(row["m"])} for row in invented(lambda m: 1 / m)]
    assert verdicts(rows)["smaller_m_is_better"] == "fails"


def test_nothing_is_held_where_m_does_not_matter():
    assert "holds" not in set(verdicts([row | {"test_error": 2.0} for row in invented(lambda m: 1.0)]).values())


def test_a_network_of_many_images_may_forget_what_their_direction_does_not():
    rows = invented(lambda m: 1 / m)
    whole = [row for row in rows if row["m"] == CONFIG.batch]
    others = [row for row in rows if row["m"] != CONFIG.batch]
    turned = [{**row, **{f"forgetting/{m}": m / 1e5 for m in CONFIG.sizes}} for row in whole]
    found = verdicts(turned + others)
    assert found["smaller_m_forgets_more"] == "holds"
    assert found["on_one_network_smaller_m_forgets_more"] == "fails"


def test_what_is_special_is_the_own_divergence_over_that_of_others():
    rows = invented(lambda m: 1.0, noise=0, own_size=lambda m: 3.0)
    assert {row["special"] for row in (*runs(rows), *same_networks(rows))} == {3.0}


def test_the_same_networks_are_those_of_the_whole_batch_under_every_m():
    found = same_networks(invented(lambda m: float(m), noise=0))
    assert sorted({(row["m"], row["forgetting"]) for row in found}) == [
        (8, 8.0),
        (16, 16.0),
        (64, 64.0),
        (128, 128.0),
    ]
    assert len(found) == 2 * 2 * 4 * 4


def test_a_diverged_run_raises_a_doubt_where_it_counts():
    lost = {"m": 16, "rho": 0.1, "seed": 0, "method": "sam"}
    rows = [row | {"diverged": lost.items() <= row.items()} for row in invented(lambda m: 1 / m)]
    found = verdicts(rows)
    assert found["smaller_m_forgets_more"] == "inconclusive"
    assert found["on_one_network_smaller_m_forgets_more"] == "holds"


def test_the_whole_batch_is_looked_at_with_every_m_and_parts_with_their_own(tmp_path):
    def seen(m):
        cell = {"method": "obf_0", "m": m, "rho": 0.1, "seed": 0}
        (row,) = run(TINY, cell, Context("cpu", tmp_path / str(m), lambda share: None))
        return {name for name in row if name.startswith("forgetting/")}

    assert seen(32) == {"forgetting/32", "forgetting/8"}
    assert seen(8) == {"forgetting/8"}


def test_fewer_images_than_a_batch_are_refused_by_words():
    with pytest.raises(ValueError, match="batch must be at most 100, the training images, got 128"):
        check(Config(train=100))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"parts": (128, 64)}, r"parts must descend from below the batch, 128, .* got \(128, 64\)"),
        ({"parts": ()}, "parts must descend from below the batch"),
        ({"parts": (0,)}, "parts must be at least 1, got 0"),
        ({"held_out": 0}, "held_out must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_by_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        Config(**wrong)
