import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from lowland.report.figure import Curve, Figure, Panel
from lowland.report.plot import panel_svg, save
from lowland.report.style import DARK, LIGHT


def panel(*curves, **more):
    return Panel(x_label="ρ", y_label="error", curves=curves or (line("a"), line("b")), **more)


def line(label, *, top=3.0, x=(1.0, 2.0, 4.0)):
    return Curve(label=label, x=x, values=tuple((top - at, top + 0.5 * at, top) for at in x))


def test_the_same_data_gives_the_same_bytes(tmp_path):
    figure = Figure(title="Errors", panels=(panel(),))
    first = [path.read_bytes() for path in save(figure, tmp_path / "a")]
    assert first == [path.read_bytes() for path in save(figure, tmp_path / "b")]


def test_files_for_papers_need_no_fonts_of_the_reader(tmp_path):
    svg, pdf, data = save(Figure(title="Errors", panels=(panel(),)), tmp_path)
    assert "<text" not in svg.read_text()
    assert b"/FontFile2" in pdf.read_bytes()
    assert b"CreationDate" not in pdf.read_bytes()
    assert data.name == "errors.csv"


def test_the_page_gets_text_and_only_colours_of_the_palette():
    svg = panel_svg(panel(palette="ordered"))
    assert "<text" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= set(LIGHT.values())


@pytest.mark.parametrize("x_scale", ["linear", "log", "even"])
@pytest.mark.parametrize("spread", ["bars", "band"])
def test_every_kind_of_panel_is_drawn(x_scale, spread):
    ElementTree.fromstring(panel_svg(panel(line("a"), x_scale=x_scale, spread=spread)))


def test_lost_and_single_seeds_are_drawn_without_complaint():
    lost = Curve(label="lost", x=(1.0,), values=((math.nan,),))
    alone = Curve(label="alone", x=(1.0, 2.0), values=((1.0,), (2.0,)))
    assert "alone" in panel_svg(panel(lost, alone))


def test_labels_of_close_curves_do_not_cover_each_other():
    svg = panel_svg(panel(*(line(f"layer {at}", top=3 + at / 1000) for at in range(8))))
    labels = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    heights = sorted(float(each.get("y") or "nan") for each in labels if "layer" in "".join(each.itertext()))
    assert min(b - a for a, b in pairwise(heights)) > 10


def test_drawing_changes_no_setting_of_the_user():
    before = dict(mpl.rcParams)
    panel_svg(panel())
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_lines_have_a_contrast_of_three_and_text_of_four_and_a_half(colours):
    for name, colour in colours.items():
        least = {"paper": 0, "line": 0, "ink": 7}.get(name, 3 if name.startswith("q") else 4.5)
        assert contrast(colour, colours["paper"]) >= least, name


def contrast(one, other):
    dim, bright = sorted(luminance(colour) for colour in (one, other))
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
