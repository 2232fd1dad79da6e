"""Data tests see an empty cache, and make the small files they need."""

import hashlib

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lowland"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that LOWLAND_DATA names."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("LOWLAND_DATA", str(folder))
    return folder


@pytest.fixture
def sha():
    """SHA-256 of an array or of bytes."""
    return lambda content: hashlib.sha256(
        np.ascontiguousarray(content) if hasattr(content, "dtype") else content
    ).hexdigest()


@pytest.fixture
def idx():
    """The bytes of an idx file that holds an array of unsigned bytes."""

    def encode(array):
        return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()

    return encode
