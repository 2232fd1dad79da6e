"""Makes a matplotlib SVG part of a page: its ids unique, its colours the page's, its meaning in words."""

import html
import re

from lowland.report.style import LIGHT

__all__ = ["inline"]

_NAMES = {value: name for name, value in LIGHT.items()}


def inline(svg: str, *, prefix: str, title: str, description: str) -> str:
    """An ``<svg>`` element to put into HTML.

    Prolog, metadata and style sheet go (the sheet would reach the whole page), width and height too, so that
    the picture takes the width of its place. Every colour of the palette becomes ``var(--name, #value)``.

    Args:
        svg: A whole SVG file drawn in the colours of :mod:`lowland.report.style`.
        prefix: Put before every id; must differ between the pictures of a page.
        title: Short text alternative.
        description: Long text alternative.

    Returns:
        The element, with the class ``plot``.

    Raises:
        ValueError: If ``svg`` is not an SVG file with a viewBox.
    """
    opening = re.search(r"<svg\b[^>]*?\bviewBox=\"([^\"]+)\"[^>]*>", svg, flags=re.DOTALL)
    if opening is None:
        raise ValueError(f"svg must hold an <svg> element with a viewBox, got {svg[:60]!r}.")
    body = svg[opening.end() :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r"\bid=\"", f'id="{prefix}-', body)
    body = re.sub(r"(url\(|href=\")#", rf"\g<1>#{prefix}-", body)
    body = re.sub(r"#[0-9a-f]{6}\b", _variable, body)
    head = (
        f'<svg class="plot" viewBox="{opening[1]}" role="img" '
        f'aria-labelledby="{prefix}-title" aria-describedby="{prefix}-desc">'
        f'<title id="{prefix}-title">{html.escape(title)}</title>'
        f'<desc id="{prefix}-desc">{html.escape(description)}</desc>'
    )
    return head + re.sub(r"\n\s*", "\n", body).strip()


def _variable(colour: re.Match[str]) -> str:
    name = _NAMES.get(colour[0])
    return f"var(--{name}, {colour[0]})" if name else colour[0]
