"""The corpus: CUDA C++ kernels with the PTX that nvcc made of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for planted.py
CORPUS = Path(__file__).resolve().parents[3] / "data" / "ptx"


OPTIONS = {"debugged": ("-G",)}
"""How a theme is compiled, where not with -O2."""


@lru_cache
def fresh(theme: str) -> str | None:
    """The theme's PTX, compiled now; None where there is no nvcc."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"{theme}.ptx"
        options = OPTIONS.get(theme, ("-O2",))
        command = [nvcc, "-arch=sm_90a", "--ptx", "-w", *options, "-o", str(made)]
        source = str(CORPUS / f"{theme}.cu")
        done = subprocess.run([*command, source], capture_output=True, timeout=600)
        return made.read_text() if done.returncode == 0 else None


def without_paths(ptx: str) -> str:
    """PTX without the lines that say where its source lies."""
    return "\n".join(line for line in ptx.splitlines() if ".file" not in line)


@pytest.fixture(params=["kept", "fresh"])
def corpus(request: pytest.FixtureRequest):
    """How to get a theme's PTX: the file that is kept, or by nvcc."""

    def get(theme: str) -> str:
        if request.param == "kept":
            return (CORPUS / f"{theme}.ptx").read_text()
        text = fresh(theme)
        if text is None:
            pytest.skip("no nvcc that compiles for sm_90a")
        if without_paths(text) == without_paths((CORPUS / f"{theme}.ptx").read_text()):
            pytest.skip("nvcc makes the PTX that is kept")
        return text

    return get
