"""One group of processes for all tests of a session."""

import pytest

from distributed.group import Group


@pytest.fixture(scope="session")
def group():
    """Two processes."""
    made = Group()
    yield made
    made.stop()
