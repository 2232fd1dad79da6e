import random
from itertools import combinations

import pytest

from lowland.report.labels import overlap, place

FRAME = (0.0, 0.0, 600.0, 400.0)


def marks(points):
    return [(x - 4, y - 4, 8.0, 8.0) for x, y in points]


@pytest.mark.parametrize("seed", range(5))
def test_thirty_names_cover_neither_each_other_nor_a_point_nor_the_edge(seed):
    chance = random.Random(seed)
    points = [(chance.uniform(150, 450), chance.uniform(50, 350)) for _ in range(30)]
    boxes = place(points, [(60.0, 10.0)] * 30, FRAME, marks(points))
    assert all(overlap(one, other) == 0 for one, other in combinations(boxes, 2))
    assert all(overlap(box, mark) == 0 for box in boxes for mark in marks(points))
    assert all(overlap(box, FRAME) == pytest.approx(600) for box in boxes)


def test_a_lonely_name_stands_at_the_right_and_at_the_edge_inside():
    assert place([(100.0, 100.0)], [(60.0, 10.0)], FRAME, [])[0] == (105.0, 95.0, 60.0, 10.0)
    (box,) = place([(598.0, 100.0)], [(60.0, 10.0)], FRAME, [])
    assert box[0] + box[2] <= 600


def test_the_same_points_give_the_same_places():
    points = [(100.0, 100.0), (101.0, 100.0), (100.0, 101.0)]
    assert place(points, [(50.0, 9.0)] * 3, FRAME, []) == place(points, [(50.0, 9.0)] * 3, FRAME, [])


def test_boxes_that_touch_do_not_overlap():
    assert overlap((0, 0, 2, 2), (2, 0, 2, 2)) == 0
    assert overlap((0, 0, 2, 2), (1, 1, 2, 2)) == 1
