from itertools import count

import pytest

from lowland.experiments.course import course
from lowland.runs.context import Context


def context(folder, told=None):
    return Context("cpu", folder, (lambda share: None) if told is None else told.append)


@pytest.mark.parametrize(("steps", "looks", "at"), [(6, 2, [0, 3, 6]), (7, 3, [0, 2, 4, 6]), (1, 1, [0, 1])])
def test_looks_are_evenly_spread_from_the_start_on(tmp_path, steps, looks, at):
    found = list(course(context(tmp_path), zip(count()), lambda batch: None, steps=steps, looks=looks))
    assert [look["step"] for look in found] == at
    assert [look["final"] for look in found] == [False] * looks + [True]


def test_a_look_sees_the_steps_that_were_taken(tmp_path):
    taken, seen = [], []
    for look in course(context(tmp_path), zip(count()), taken.append, steps=6, looks=2):
        seen.append((look["step"], len(taken)))
    assert seen == [(0, 0), (3, 3), (6, 6)]
    assert taken == [0, 1, 2, 3, 4, 5]


def test_progress_and_seconds_are_told(tmp_path):
    told = []
    where = context(tmp_path, told)
    list(course(where, zip(count()), lambda batch: None, steps=4, looks=2))
    assert told == [0.0, 0.5, 1.0]
    assert where.timings["training"] > 0
