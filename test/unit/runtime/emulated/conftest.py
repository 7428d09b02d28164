"""Tests of the corpus run on the PTX that is kept, and on what another nvcc makes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for kept_ptx.py and planted.py

from kept_ptx import fresh, installed_release, kept, kept_releases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The nvcc that made the kept PTX makes it again (`test_kept_ptx`): once is enough.

    Another nvcc makes other PTX, which runs as well.
    """
    if "corpus" in metafunc.fixturenames:
        is_other = {installed_release()} - kept_releases() - {None}
        versions = ["kept", "fresh"] if is_other else ["kept"]
        metafunc.parametrize("corpus", versions, indirect=True)


@pytest.fixture
def corpus(request: pytest.FixtureRequest):
    """How to get a theme's PTX."""

    def get(theme: str) -> str:
        if request.param == "kept":
            return kept(theme)
        text = fresh(theme)
        if text is None:
            pytest.skip("nvcc does not compile for sm_90a")
        return text

    return get
