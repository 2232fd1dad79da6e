import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from lowland.measurements.knn_transfer import KnnTransfer, knn_classes
from lowland.measuring.measure import measure


def clouds(n, classes=4, d=6):
    labels = torch.randint(classes, (n,))
    return torch.randn(n, d) + 1.5 * torch.eye(d)[labels], labels


def reading(bank, query, size=64, **fields):
    batched = {name: [(bank_or_query[0], bank_or_query[1])] for name, bank_or_query in (("a", bank), ("b", query))}
    return measure(nn.Sequential(nn.Identity()), None, batched, KnnTransfer(layers="0", on=("a", "b"), **fields))[
        0
    ]


def test_agrees_with_scikit_learn():
    bank, query = clouds(300), clouds(1500)
    peer = KNeighborsClassifier(n_neighbors=10, metric="cosine").fit(bank[0].numpy(), bank[1].numpy())
    expected = torch.from_numpy(peer.predict(query[0].numpy()))
    assert (knn_classes(*bank, query[0], 10) == expected).float().mean() > 0.998


def test_equal_votes_go_to_the_smallest_label():
    bank, labels = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]]), torch.tensor([7, 3, 0])
    assert knn_classes(bank, labels, torch.tensor([[1.0, 0.05]]), k=2).item() == 3


def test_neighbours_as_near_as_the_last_vote_too_so_the_order_of_the_bank_does_not_matter():
    bank, labels = torch.tensor([[1.0, 0.0]] * 5), torch.tensor([2, 1, 2, 1, 2])
    for order in (torch.arange(5), torch.tensor([1, 3, 0, 2, 4])):
        assert knn_classes(bank[order], labels[order], torch.ones(1, 2), k=2).item() == 2


def test_only_the_direction_of_features_counts():
    bank, query = clouds(50), clouds(40)
    lengths = torch.rand(50, 1) + 0.1
    assert torch.equal(knn_classes(*bank, query[0], 5), knn_classes(bank[0] * lengths, bank[1], 9 * query[0], 5))


def test_reads_the_layer_of_both_splits_with_a_binomial_error():
    bank, query = clouds(60), clouds(80)
    found = reading(bank, query, k=3)
    p = (knn_classes(*bank, query[0], 3) == query[1]).double().mean().item()
    assert math.isclose(found.value, p)
    assert math.isclose(found.stderr, math.sqrt(p * (1 - p) / 80))
    assert {
        "split": "a/b",
        "examples": 80,
        "bank_examples": 60,
        "width": 6,
        "k": 3,
    }.items() <= found.settings.items()


def test_perfectly_separated_classes_transfer_perfectly():
    features = torch.eye(3).repeat(20, 1)
    assert reading((features, torch.arange(3).repeat(20)), (features[:9], torch.arange(3).repeat(3))).value == 1.0


def test_more_neighbours_than_examples_are_refused_by_words():
    with pytest.raises(ValueError, match=r"k must be at most the 5 examples of the bank, got 10"):
        reading(clouds(5), clouds(5))


def test_splits_of_different_width_are_refused_by_words():
    (x, y), query = clouds(40), clouds(30)
    with pytest.raises(ValueError, match=r"Layer '0' must answer with 5 features to every batch.*got 6"):
        reading((x[:, :5], y), query)


def test_missing_splits_are_refused_by_words():
    with pytest.raises(LookupError, match=r"KnnTransfer needs the splits 'bank', 'query' .*got 'data'"):
        measure(nn.Identity(), None, [clouds(20)], KnnTransfer())


@pytest.mark.parametrize(
    ("fields", "words"), [({"k": 0}, "k must be at least 1"), ({"pool": "x"}, "pool must be one")]
)
def test_bad_fields_are_refused_by_words(fields, words):
    with pytest.raises(ValueError, match=words):
        KnnTransfer(**fields)
