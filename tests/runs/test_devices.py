import pytest

from lowland.runs.devices import devices


def test_there_are_as_many_as_asked_for():
    assert len(devices(5)) == 5


def test_there_is_at_least_one_by_default():
    assert len(devices()) >= 1


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_is_refused(workers):
    with pytest.raises(ValueError, match=f"workers must be at least 1, got {workers}"):
        devices(workers)
