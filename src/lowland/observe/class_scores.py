"""The door of every measurement that reads class scores."""

from torch import Tensor

from lowland.observe.measurement import Batch

__all__ = ["class_labels", "class_scores"]


def class_scores(batch: Batch, who: str) -> tuple[Tensor, Tensor]:
    """Scores (n, k) in float64 and labels (n,) of a batch, after a look at both.

    Args:
        batch: What the pass showed.
        who: The measurement's name, for the sentences.

    Returns:
        Outputs and targets.

    Raises:
        ValueError: If outputs are not one row of k >= 2 scores per label, or a label is not below k.
    """
    labels = class_labels(batch, who)
    scores = batch.values
    if scores.ndim != 2 or len(scores) != len(labels) or scores.shape[1] < 2:
        raise ValueError(
            f"{who} needs outputs of shape (n, k) with k >= 2 classes for {len(labels)} labels, "
            f"got {tuple(scores.shape)} in split {batch.split!r}."
        )
    if ((labels < 0) | (labels >= scores.shape[1])).any():
        raise ValueError(
            f"{who} needs labels in 0 .. {scores.shape[1] - 1}, as the model has {scores.shape[1]} outputs, "
            f"got {labels.min().item()} .. {labels.max().item()} in split {batch.split!r}."
        )
    return scores.double(), labels


def class_labels(batch: Batch, who: str) -> Tensor:
    """Labels (n,) of a batch.

    Raises:
        ValueError: If the targets are not one whole number per example.
    """
    labels = batch.targets
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(
            f"{who} needs targets of shape (n,) that are class labels, got {labels.dtype} "
            f"of shape {tuple(labels.shape)} in split {batch.split!r}."
        )
    return labels.long()
