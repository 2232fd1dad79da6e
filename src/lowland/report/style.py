"""The look of every figure: colours that colour-blind readers tell apart, on white and on dark pages.

Each colour has a name and two values. Figures are drawn with the light one; on the page it becomes the CSS
variable ``--<name>``, so a reader's dark mode needs no second drawing.
"""

from collections.abc import Sequence

__all__ = ["DARK", "LIGHT", "MARKERS", "RC", "distinct", "ordered"]

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1c2026",
    "soft": "#5b6470",
    "line": "#dfe3e8",
    "c1": "#0068a8",
    "c2": "#c8500a",
    "c3": "#00805c",
    "c4": "#a83f86",
    "c5": "#8a6500",
    "c6": "#3f4a59",
    "c7": "#7a4fd0",
    "c8": "#b3243f",
    "q1": "#c58400",
    "q2": "#c9720c",
    "q3": "#c35a23",
    "q4": "#b84638",
    "q5": "#a83547",
    "q6": "#952654",
    "q7": "#7f1b5d",
    "q8": "#671264",
    "q9": "#4f0867",
    "q10": "#360264",
}
"""Colours on white, ``c`` for kinds (after Okabe and Ito), ``q`` for an order; contrast 4.5 and 3 at least."""

DARK = {
    "paper": "#14171c",
    "ink": "#e8eaed",
    "soft": "#a3acb8",
    "line": "#30363f",
    "c1": "#62b6f0",
    "c2": "#ff9a5c",
    "c3": "#45cf9f",
    "c4": "#ee9bd0",
    "c5": "#f0cb52",
    "c6": "#b9c4d2",
    "c7": "#b9a0ff",
    "c8": "#ff8795",
    "q1": "#7b5aae",
    "q2": "#955fad",
    "q3": "#b167ab",
    "q4": "#ca70a5",
    "q5": "#e17c9d",
    "q6": "#f58a94",
    "q7": "#fda091",
    "q8": "#fdb99a",
    "q9": "#ffcfa8",
    "q10": "#fee4c1",
}
"""The same names on a dark page."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""One per curve, so that colour is never the only difference."""

RC: dict[str, object] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.labelcolor": LIGHT["ink"],
    "axes.edgecolor": LIGHT["soft"],
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.7,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "lowland",
}
"""Settings for matplotlib; PDF files embed their fonts as TrueType, which conferences ask for."""


def distinct(count: int) -> Sequence[str]:
    """Colours for ``count`` kinds of things without order; repeated after eight.

    Example:
        >>> distinct(2)
        ['#0068a8', '#c8500a']
    """
    return [LIGHT[f"c{1 + at % 8}"] for at in range(count)]


def ordered(count: int) -> Sequence[str]:
    """Colours for ``count`` steps of one quantity, from faint to strong; neighbours repeat beyond ten.

    Example:
        >>> ordered(3)[0] == LIGHT["q1"], ordered(3)[-1] == LIGHT["q10"]
        (True, True)
    """
    return [LIGHT[f"q{1 + round(9 * at / max(1, count - 1))}"] for at in range(count)]
