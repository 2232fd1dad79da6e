"""The eigenpairs of a large matrix as far as a small basis knows them."""

from typing import NamedTuple

import numpy as np

__all__ = ["Ritz"]


class Ritz(NamedTuple):
    """What the basis knows of the spectrum, for m basis vectors multiplied so far."""

    values: np.ndarray
    """Approximate eigenvalues, of shape ``(m,)``, rising."""

    vectors: np.ndarray
    """Their vectors in the basis, of shape ``(m, m)``, one a column."""

    residuals: np.ndarray
    """Length of A x - theta x outside the basis, of shape ``(m,)``."""

    noise: np.ndarray
    """Length of A x - theta x inside it, of shape ``(m,)``: by how much products contradict each other."""
