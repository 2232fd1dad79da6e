"""The four signs of neural collapse, from all features at once: numpy, float64, a dense pseudo-inverse."""

import numpy as np


def neural_collapse(H, y, W, decided):
    """The signs of features H (n, d) with labels y, a head's weights W (k, d) and its decisions (n,), by name."""
    classes = np.unique(y)
    C = len(classes)
    centres = np.stack([H[y == c].mean(0) for c in classes])
    middle = centres.mean(0)
    within = sum(np.outer(h - centres[i], h - centres[i]) for i, c in enumerate(classes) for h in H[y == c]) / len(
        H
    )
    between = sum(np.outer(m - middle, m - middle) for m in centres) / C
    M, W = centres - middle, W[classes]
    nearest = np.array([classes[np.linalg.norm(h - centres, axis=1).argmin()] for h in H])
    return {
        "nc1": np.trace(within @ np.linalg.pinv(between, rcond=1e-12, hermitian=True)) / C,
        "nc2_norms means": norms(M),
        "nc2_angles means": angles(M),
        "nc2_norms weights": norms(W),
        "nc2_angles weights": angles(W),
        "nc3": np.linalg.norm(W / np.linalg.norm(W) - M / np.linalg.norm(M)),
        "nc4": (nearest != decided).mean(),
    }


def norms(rows):
    length = np.linalg.norm(rows, axis=1)
    return length.std() / length.mean()


def angles(rows):
    C = len(rows)
    cosines = [
        rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j]) for i in range(C) for j in range(i)
    ]
    return np.abs(np.array(cosines) + 1 / (C - 1)).mean()
