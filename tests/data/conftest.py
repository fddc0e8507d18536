"""Fixtures of all tests of data sets."""

import pytest

from jaxcap.data import locations


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Looks for data and keeps prepared sets below the test's own folder only."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locations, "KAGGLE", tmp_path / "kaggle")


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def file(tmp_path):
    def write(content, name="captions.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
