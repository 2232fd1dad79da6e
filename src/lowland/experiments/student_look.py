"""What a two-layer student has become: its losses, its norm, and the rank and units of its hidden layer."""

import math

import torch
from torch import nn

from lowland.experiments.teacher_student import Lesson, squared
from lowland.measurements.activation_sparsity import ActivationSparsity
from lowland.measurements.feature_rank import FeatureRank
from lowland.measuring.measure import measure
from lowland.types import Row

__all__ = ["LARGE", "POSITIVE", "student_look"]

POSITIVE = ActivationSparsity(layers=("units",), duplicates=0.999, levels=(0.0,))
"""Counts units that are above 0 on any example, and those that are left when copies of others are dropped."""

LARGE = ActivationSparsity(
    layers=("units",), duplicates=0.999, levels=(0.0,), definition="magnitude", threshold=0.05
)
"""The same of units that are beyond 0.05 in magnitude on any example."""

RANK = FeatureRank(layers=("units",), centre="none", threshold=(0.9, 0.95, 0.99, 0.9999))


@torch.no_grad()
def student_look(student: nn.Module, lesson: Lesson, units: ActivationSparsity) -> Row:
    """Look at a student on its examples.

    Args:
        student: Of any activation.
        lesson: Its examples, and the fresh ones for its test loss.
        units: How units are counted.

    Returns:
        ``train_loss`` and ``test_loss``, mean squared errors; ``norm`` of all weights; ``rank``, the singular
        values that hold 99.99 % of the energy of features as they are, and ``rank_0.9``, ``rank_0.95``,
        ``rank_0.99``, for other shares; ``effective_rank``, ``stable_rank``; ``active`` and ``distinct`` units.
    """
    readings = measure(student, None, [(lesson.x, lesson.y)], [RANK, units])
    ranks = {each.settings["threshold"]: each.value for each in readings if each.name == "feature_rank"}
    found = {each.name: each.value for each in readings}
    return {
        "train_loss": squared(student, lesson.x, lesson.y).item(),
        "test_loss": squared(student, lesson.fresh_x, lesson.fresh_y).item(),
        "norm": math.sqrt(sum(w.square().sum().item() for w in student.parameters())),
        "rank": ranks[0.9999],
        **{f"rank_{p:g}": ranks[p] for p in (0.9, 0.95, 0.99)},
        **{name: found[name] for name in ("effective_rank", "stable_rank")},
        "active": found["active_units"],
        "distinct": found["distinct_units"],
    }
