import pytest
import torch

from lowland.experiments.bordered_images import BorderedImages
from lowland.experiments.support_setup import SupportSetup
from lowland.experiments.support_task import SupportTask

TASK = SupportTask(inputs=15, relevant=5, examples=1000, hidden=(20,), noise=1.0, learning_rate=0.01, steps=10)
IMAGES = BorderedImages(data="digits", train=40, border=1, noise=0.5)


def test_a_task_shows_each_network_its_own_examples():
    setup = SupportSetup.of_task(TASK, 8, [1, 2], "cpu")
    x, y = setup.seen
    assert x.shape == (2, 2000, 15)
    assert not torch.equal(x[0], x[1])
    inputs, _ = next(setup.batches)
    assert inputs.shape == (2, 8, 15)
    assert setup.loss(lambda x: x[:, :5].sum(1, keepdim=True), x[0], y[0]).item() == pytest.approx(1.0)
    assert setup.relevant == (True,) * 5 + (False,) * 10


def test_images_have_borders_that_do_not_matter():
    setup = SupportSetup.of_images(IMAGES, 6, 3, [1, 2], "cpu")
    inputs, labels = next(setup.batches)
    assert (inputs.shape, labels.shape) == ((2, 3, 100), (2, 3))
    assert sum(setup.relevant) == 64
    assert setup.loss(setup.models[0], inputs[0], labels[0]).shape == ()


@pytest.mark.parametrize("make", [SupportSetup.of_task, SupportSetup.of_images])
def test_a_network_depends_on_its_seed_alone(make):
    given = (TASK, 8) if make == SupportSetup.of_task else (IMAGES, 6, 3)
    both, one = make(*given, [1, 2], "cpu").models, make(*given, [2], "cpu").models
    assert torch.equal(both[1][0].weight, one[0][0].weight)
    assert not torch.equal(both[0][0].weight, one[0][0].weight)
