import pytest
import torch

from lowland.observe.class_scores import class_scores
from lowland.observe.measurement import Batch


def batch(values, targets):
    return Batch(split="test", site="", values=values, targets=targets)


def test_scores_are_in_double_precision_and_labels_whole():
    scores, labels = class_scores(batch(torch.ones(2, 3).half(), torch.tensor([0, 2], dtype=torch.uint8)), "It")
    assert (scores.dtype, labels.dtype) == (torch.float64, torch.int64)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (3, 4), (2, 3, 4)])
def test_outputs_that_are_not_class_scores_are_refused_by_words(shape):
    with pytest.raises(
        ValueError, match=r"It needs outputs of shape \(n, k\) with k >= 2 classes for 2 labels, got"
    ):
        class_scores(batch(torch.ones(shape), torch.tensor([0, 1])), "It")


@pytest.mark.parametrize("targets", [torch.ones(2), torch.ones(2, 2, dtype=torch.int64)])
def test_targets_that_are_not_labels_are_refused_by_words(targets):
    with pytest.raises(ValueError, match=r"It needs targets of shape \(n,\) that are class labels, got torch"):
        class_scores(batch(torch.ones(2, 3), targets), "It")


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_beyond_the_models_classes_are_refused_by_words(label):
    with pytest.raises(
        ValueError, match=r"labels in 0 \.\. 2, as the model has 3 outputs, got .* in split 'test'"
    ):
        class_scores(batch(torch.ones(2, 3), torch.tensor([1, label])), "It")
