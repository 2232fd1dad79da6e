"""Names that are safe in file systems, links and ids."""

import re
import unicodedata

__all__ = ["slug"]


def slug(text: str) -> str:
    """Lower-case letters, digits and underscores that remind of ``text``; never empty.

    Example:
        >>> slug("Test error (%) against ρ")
        'test_error_against_rho'
    """
    spelled = text.replace("ρ", "rho").replace("σ", "sigma")
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "unnamed"
