import pytest

from lowland.commands.prose import flowing, readable


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("See :class:`lowland.SAM` and :func:`~lowland.fit`.", "See lowland.SAM and lowland.fit."),
        ("``rho`` or `rho`", "rho or rho"),
        (r":math:`\sum_i \sigma_i \le 1`", "Σ_i σ_i ≤ 1"),
        (r":math:`\lambda \ln 2`", "λ ln 2"),
        ("a `` alone", "a `` alone"),
    ],
)
def test_markup_is_taken_off(text, read):
    assert readable(text) == read


def test_paragraphs_flow_and_lists_stay():
    text = "One\nline.\n\nArgs below:\n\n* First\n  entry.\n* Second.\n\n    code\n"
    assert flowing(text) == "One line.\n\nArgs below:\n\n* First entry.\n* Second.\n\n    code\n"
