"""Docstrings as terminal text: markup taken off, formulas in letters."""

import re

__all__ = ["flowing", "readable"]

SYMBOLS = {
    r"\rho": "ρ",
    r"\Gamma": "Γ",
    r"\Sigma": "Σ",
    r"\alpha": "α",
    r"\beta": "β",
    r"\lambda": "λ",
    r"\sigma": "σ",
    r"\epsilon": "ε",
    r"\eta": "η",
    r"\gamma": "γ",
    r"\delta": "δ",
    r"\theta": "θ",
    r"\mu": "μ",
    r"\tau": "τ",
    r"\partial": "∂",
    r"\perp": "⊥",
    r"\top": "T",
    r"\langle": "⟨",
    r"\rangle": "⟩",
    r"\Vert": "‖",
    r"\pm": "±",
    r"\mp": "∓",
    r"\sim": "~",
    r"\propto": "∝",
    r"\leftarrow": "←",
    r"\lceil": "⌈",
    r"\rceil": "⌉",
    r"\ell": "ℓ",
    r"\operatorname": "",
    r"\nabla": "∇",
    r"\lVert": "‖",
    r"\rVert": "‖",
    r"\|": "‖",
    r"\odot": "⊙",
    r"\cdot": "·",
    r"\times": "×",
    r"\le": "≤",
    r"\ge": "≥",
    r"\in": "∈",
    r"\sum": "Σ",
    r"\max": "max",
    r"\min": "min",
    r"\ln": "ln",
    r"\log": "log",
    r"\sqrt": "√",
    r"\,": " ",
    r"\ ": " ",
}


def readable(text: str) -> str:
    r"""Text with roles, backticks and simple LaTeX replaced by what they mean.

    Example:
        >>> readable(r"the ball :math:`\rho\, g / \lVert g \rVert_2` of ``SAM``")
        'the ball ρ g / ‖ g ‖_2 of SAM'
    """
    text = re.sub(r":math:`([^`]*)`", lambda found: _formula(found[1]), text)
    text = re.sub(r":\w+:`~?([^`]*)`", r"\1", text)
    return re.sub(r"`{1,2}([^`]+)`{1,2}", r"\1", text)


def flowing(text: str) -> str:
    r"""Text whose lines were broken by hand, one line per paragraph or list entry.

    Example:
        >>> flowing("One\nline.\n\n* First\n  entry.\n* Second.")
        'One line.\n\n* First entry.\n* Second.'
    """
    return re.sub(r"(?<=\S)\n *(?=\S)(?![*-]|\d+\.|>>>)", " ", text)


def _formula(latex: str) -> str:
    latex = re.sub(r"\\hat\s*\{?([A-Za-z])\}?", "\\1\u0302", latex)
    for command in sorted(SYMBOLS, key=len, reverse=True):
        ending = r"(?![A-Za-z])" if command[-1].isalpha() else ""
        latex = re.sub(re.escape(command) + ending, SYMBOLS[command], latex)
    return " ".join(latex.replace("{", "").replace("}", "").split())
