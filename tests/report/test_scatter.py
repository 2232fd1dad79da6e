import math
import re
from xml.etree import ElementTree

import pytest

from lowland.report.figure import Curve, Figure, Scatter
from lowland.report.page import Page, render
from lowland.report.plot import panel_svg, save
from lowland.report.style import LIGHT


def point(label, x, y, spread=0.1):
    return Curve(label=label, x=(x,), values=((y - spread, y, y + spread),))


def scatter(*points):
    return Scatter(x_label="cost", y_label="error", curves=points)


SGD, SAM, ESAM, SLOW = point("sgd", 1, 6), point("sam", 2, 4), point("esam", 1.8, 5), point("slow", 3, 5)


def test_the_front_holds_what_none_beats_in_both_respects():
    assert [curve.label for curve in scatter(SLOW, SAM, SGD, ESAM).front] == ["sgd", "esam", "sam"]


def test_of_equals_the_front_holds_one():
    assert [curve.label for curve in scatter(SGD, point("twin", 1, 6), point("worse", 1, 7)).front] == ["sgd"]


def test_a_point_of_which_every_seed_diverged_is_not_on_the_front():
    lost = Curve(label="lost", x=(0.5,), values=((math.nan, math.nan),))
    found = scatter(lost, SGD)
    assert [curve.label for curve in found.front] == ["sgd"]
    assert "lost" not in panel_svg(found)


def test_it_says_in_words_what_is_on_the_front():
    assert scatter(SGD, SAM, SLOW).description == (
        "error against cost. On the front: sgd: 6 at 1; sam: 4 at 2. 1 others."
    )


@pytest.mark.parametrize("points", [(), (Curve(label="line", x=(1.0, 2.0), values=((1.0,), (2.0,))),)])
def test_points_have_one_x_each(points):
    with pytest.raises(ValueError, match="curves must be points, at least one, with one x each"):
        scatter(*points)


def test_every_point_is_named_and_the_same_data_give_the_same_bytes(tmp_path):
    figure = Figure(title="Front", panels=(scatter(SGD, SAM, ESAM, SLOW),))
    first = [path.read_bytes() for path in save(figure, tmp_path / "a")]
    assert first == [path.read_bytes() for path in save(figure, tmp_path / "b")]
    words = {text.text for text in ElementTree.fromstring(panel_svg(figure.panels[0])).iter() if text.text}
    assert {"sgd", "sam", "esam", "slow"} <= words


def test_only_colours_of_the_palette_are_used():
    found = re.findall(r"#[0-9a-f]{6}\b", panel_svg(scatter(SGD, SAM, ESAM, SLOW, point("broken", 2, 90))))
    assert set(found) <= set(LIGHT.values())


def test_a_point_far_above_the_others_is_named_at_the_top_with_its_value():
    assert "broken (90)" in panel_svg(scatter(SGD, SAM, ESAM, SLOW, point("broken", 2, 90)))


def test_points_of_the_same_cost_stand_side_by_side():
    svg = panel_svg(scatter(SGD, *(point(f"m{at}", 2, 5 + at / 100) for at in range(8))))
    assert all(f"m{at}" in svg for at in range(8))


def test_the_page_has_a_line_for_every_point_and_explains_the_front():
    text = render(Page(title="t", question="q?", figures=(Figure(title="Front", panels=(scatter(SGD, SAM),)),)))
    assert "Blue and joined: the front" in text
    assert '<th scope="row" class="">sgd</th>' in text
