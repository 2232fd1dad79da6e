import pytest
import torch


@pytest.fixture(autouse=True)
def plain_attention():
    """The fast path of attention has no second derivative, which the references need; other tests have it back."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)
