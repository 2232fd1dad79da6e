"""Text that LaTeX typesets as it was written, with Greek letters and signs as mathematics."""

__all__ = ["escape"]

_SPECIAL = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "[": "{[}",  # else LaTeX reads a row that starts so as the height of the line before
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "\N{MINUS SIGN}": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "∞": r"$\infty$",
    "–": "--",
    "\u2009": r"\,",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
}


def escape(text: str) -> str:
    r"""Escape what LaTeX reads as commands; other letters stay as they are, in UTF-8.

    Example:
        >>> print(escape("error (%) at ρ_max"))
        error (\%) at $\rho$\_max
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
