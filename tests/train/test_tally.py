import pytest
import torch

from lowland.train.tally import CHUNK, Tally

CPU = torch.device("cpu")


def losses(n=3 * CHUNK + 7):
    return torch.rand(n, generator=torch.Generator().manual_seed(0))


def counted(values, look=lambda tally: None):
    tally = Tally(CPU)
    for i, loss in enumerate(values):
        tally.add(loss, 3 + i % 2, 2.0)
        tally.judge(torch.eye(4)[: 3 + i % 2], torch.tensor([0, 1, 3, 3][: 3 + i % 2]))
        look(tally)
    return tally


def test_the_mean_counts_every_example():
    weights = 3.0 + torch.arange(len(losses())) % 2
    expected = (losses().double() * weights).sum() / weights.sum()
    assert counted(losses()).loss == pytest.approx(expected.item(), rel=1e-7)


def test_right_answers_are_counted():
    assert counted(losses(2)).accuracy == (2 + 3) / 7


def test_looking_changes_no_bit():
    looked = counted(losses(), lambda tally: (tally.loss, tally.accuracy, tally.finite, tally.state_dict()))
    assert looked.loss == counted(losses()).loss


@pytest.mark.parametrize("at", [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
def test_its_state_comes_back_to_the_bit(at):
    first, second = counted(losses()[:at]), Tally(CPU)
    second.load_state_dict(first.state_dict())
    for i, loss in enumerate(losses()[at:], at):
        second.add(loss, 3 + i % 2, 2.0)
    assert second.loss == counted(losses()).loss


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stays_visible(bad):
    values = losses()
    values[CHUNK // 2] = bad
    tally = counted(values)
    assert not tally.finite
    assert tally.loss is None


def test_scores_of_every_place_are_judged():
    tally = Tally(CPU)
    tally.judge(torch.eye(3).expand(2, 3, 3), torch.tensor([[0, 1, 2], [0, 2, 2]]))
    assert tally.accuracy == 5 / 6


@pytest.mark.parametrize(
    ("outputs", "y"),
    [(torch.rand(3, 2), torch.rand(3)), (torch.rand(3), torch.ones(3).long()), ({"y": 1}, torch.ones(3).long())],
)
def test_what_is_no_class_score_is_not_judged(outputs, y):
    tally = Tally(CPU)
    tally.judge(outputs, y)
    assert tally.accuracy is None


def test_a_new_epoch_begins_at_nothing():
    tally = counted(losses())
    tally.clear()
    assert (tally.loss, tally.accuracy, tally.steps, tally.passes) == (None, None, 0, 0.0)
