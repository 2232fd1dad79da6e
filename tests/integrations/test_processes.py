"""In several processes a host under DDP is a loop by hand under DDP, bit for bit."""

import pytest

from distributed.group import Group
from integrations import jobs
from integrations.by_hand import METHODS, SETTINGS
from integrations.recalling import Recalling
from rigs import assert_same

settings = pytest.mark.parametrize("setting", [SETTINGS["plain"], SETTINGS["all"]], ids=["plain", "all"])


@pytest.fixture(scope="module")
def group():
    made = Group()
    yield made
    made.stop()


@settings
def test_lightning_equals_a_loop_by_hand(group, setting):
    first, second = group(jobs.under_lightning, METHODS[0], setting)
    assert_same(first, group(jobs.alone, METHODS[0], setting, False)[0])
    assert_same(dict(weights(first)), dict(weights(second)))


@settings
def test_the_trainer_equals_a_loop_by_hand(group, setting, tmp_path):
    first, second = group(jobs.under_transformers, METHODS[0], setting, tmp_path)
    assert_same(first, group(jobs.alone, METHODS[0], setting, True)[0])
    assert_same(dict(weights(first)), dict(weights(second)))


# Not "all": Accelerate advances a schedule once per process.
@pytest.mark.parametrize("setting", [SETTINGS["plain"], SETTINGS["both"]], ids=["plain", "both"])
def test_accelerate_equals_a_loop_by_hand(group, setting):
    first, second = group(jobs.under_accelerate, METHODS[0], setting)
    assert_same(first, group(jobs.alone, METHODS[0], setting, False)[0])
    assert_same(dict(weights(first)), dict(weights(second)))


def weights(state):
    """Without the statistics of batch norm, which every process has of its own."""
    return ((name, tensor) for name, tensor in state.items() if "running" not in name)


def test_every_process_resumes_with_its_own_memory(group, tmp_path):
    for job, more in [(jobs.under_lightning, ()), (jobs.under_transformers, (True,)), (jobs.under_accelerate, ())]:
        for straight, resumed in group(job, Recalling(), {}, tmp_path / job.__name__, *more):
            assert_same(straight, resumed)
