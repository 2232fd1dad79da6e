import json
import subprocess
import sys

from lowland.report.claim import Claim, judge, judge_all
from lowland.report.effect import Effect
from lowland.report.grid import Grid
from lowland.report.interval import Interval
from lowland.report.shape import trend


def effect(low, high, seeds=5):
    return Effect.of("x", Interval(value=(low + high) / 2, low=low, high=high, seeds=seeds), "above")


def claim(*effects):
    return Claim(id="c", text="It rises.", source="a paper", check=lambda rows: effects)


def outcome(*effects):
    return judge(claim(*effects), []).outcome


def test_every_effect_must_hold():
    assert outcome(effect(1, 2), effect(3, 4)) == "holds"
    assert outcome(effect(1, 2), effect(-1, 4)) == "inconclusive"
    assert outcome(effect(1, 2), effect(-1, 4), effect(-2, -1)) == "fails"


def test_the_decisive_effect_has_the_verdicts_outcome_and_the_least_margin():
    verdict = judge(claim(effect(3, 4), effect(1, 2), effect(5, 6)), [])
    assert verdict.decisive == effect(1, 2)
    assert judge(claim(effect(9, 9.5), effect(-2, -1)), []).decisive == effect(-2, -1)


def test_a_check_may_return_one_effect():
    one = Claim(id="c", text="", source="", check=lambda rows: effect(1, 2))
    assert judge(one, []).outcome == "holds"


def test_no_rows_are_inconclusive_with_the_reason():
    rising = Claim(
        id="c", text="", source="", check=lambda rows: Effect.of("x", trend(Grid.of(rows, "y")), "above")
    )
    verdict = judge(rising, [])
    assert (verdict.outcome, verdict.decisive) == ("inconclusive", None)
    assert "no rows" in verdict.record()["note"]


def test_an_unfinished_study_is_inconclusive_whatever_its_rows_say():
    verdict = judge(claim(effect(1, 2)), [], missing="2 of 30 runs failed.")
    assert verdict.outcome == "inconclusive"
    assert verdict.record()["note"] == "2 of 30 runs failed."


def test_a_check_without_effects_is_inconclusive():
    assert outcome() == "inconclusive"


def test_the_record_has_what_claims_json_needs():
    record = json.loads(json.dumps(judge(claim(effect(1, 2)), []).record(), allow_nan=False))
    wanted = {"id": "c", "text": "It rises.", "source": "a paper", "verdict": "holds", "effect": 1.5}
    assert wanted.items() <= record.items()
    assert (record["interval"], record["seeds"], len(record["effects"])) == ([1, 2], 5, 1)


def test_verdicts_come_in_the_order_of_the_claims(page):
    found = judge_all([verdict.claim for verdict in page.verdicts], [])
    assert [each.claim.id for each in found][:2] == ["rank_falls", "density_falls"]


def test_a_diverged_run_makes_its_claims_inconclusive(page):
    verdict = page.verdicts[0]
    assert verdict.outcome == "inconclusive"
    assert "1 of 30 runs missing or diverged (rho 0.8, seed 3 diverged)." in verdict.reasons


def test_importing_claims_loads_nothing_heavy():
    heavy = "{'torch', 'scipy', 'matplotlib', 'jinja2', 'numpy'}"
    script = f"import sys, lowland.report.claim; sys.exit(len({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], check=True)
