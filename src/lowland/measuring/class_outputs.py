"""The door of measurements that read class scores from a problem."""

from typing import Any

from torch import Tensor

from lowland.observe.forward import moved
from lowland.operators.batch import Batch

__all__ = ["class_outputs"]


def class_outputs(batch: Batch, outputs: Any, who: str) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - refuses others
    """Scores (n, k) and labels (n,) of a batch, on the scores' device.

    Raises:
        TypeError: If the outputs are not one tensor, or the targets no tensor of whole numbers.
        ValueError: If they are not one row of k >= 2 scores per label, or a label is not below k.
    """
    labels = batch.targets
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"{who} needs a model that gives one tensor of class scores, got {type(outputs).__name__}."
        )
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{who} needs batches (inputs, targets) with class labels as targets, got {kind}.")
    if outputs.ndim != 2 or outputs.shape[1] < 2 or labels.shape != outputs.shape[:1]:
        raise ValueError(
            f"{who} needs outputs of shape (n, k) with k >= 2 classes and targets of shape (n,), got "
            f"{tuple(outputs.shape)} and {tuple(labels.shape)}."
        )
    if ((labels < 0) | (labels >= outputs.shape[1])).any():
        raise ValueError(
            f"{who} needs labels in 0 .. {outputs.shape[1] - 1}, as the model has {outputs.shape[1]} outputs, "
            f"got {labels.min().item()} .. {labels.max().item()}."
        )
    return outputs, moved(labels, outputs.device, None).long()
