import json
import math

import pytest

from lowland.observe.reading import Reading, over_seeds


def reading(value, **more):
    return Reading(**{"name": "accuracy", "value": value, "unit": "fraction", **more})


def test_over_seeds_is_the_mean_with_its_standard_error():
    found = over_seeds([reading(v, stderr=0.5) for v in (1.0, 2.0, 6.0)])
    assert found.value == 3.0
    assert math.isclose(found.stderr, math.sqrt(7.0 / 3))


def test_over_seeds_keeps_the_settings_all_agree_on():
    found = over_seeds([reading(1.0, settings={"split": "test", "run": k}) for k in range(2)])
    assert found.settings == {"split": "test", "seeds": 2}


def test_over_seeds_refuses_a_single_seed_as_it_has_no_spread():
    with pytest.raises(ValueError, match=r"at least 2, one for each seed, got 1. One seed has no spread"):
        over_seeds([reading(1.0)])


def test_over_seeds_refuses_to_mix_quantities():
    with pytest.raises(ValueError, match=r"of one name, site and unit, got .*'1'.*'2'"):
        over_seeds([reading(1.0, site="1"), reading(1.0, site="2")])


def test_a_row_is_one_flat_line_of_json():
    row = reading(0.5, stderr=0.1, settings={"split": "test", "levels": [0, 1]}).row()
    assert json.loads(json.dumps(row)) == row
    assert row["split"] == "test"


def test_a_reading_prints_as_a_sentence_a_person_can_read():
    assert str(reading(0.5, site="conv1", stderr=0.25)) == "accuracy at conv1: 0.5 +- 0.25 fraction"
    assert str(Reading(name="brier", value=0.5)) == "brier: 0.5"
