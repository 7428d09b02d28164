"""The corpus: CUDA C++ kernels by theme, with the PTX that nvcc made of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[3] / "data" / "ptx"
THEMES = sorted(path.stem for path in CORPUS.glob("*.cu"))
OPTIONS = {"debugged": ("-G",)}
"""How a theme is compiled, where not with -O2."""
RELEASE = re.compile(r"Cuda compilation tools, release .*")


def kept(theme: str) -> str:
    """The theme's PTX, as it lies there."""
    return (CORPUS / f"{theme}.ptx").read_text()


@lru_cache
def fresh(theme: str) -> str | None:
    """The theme's PTX, compiled now; None if nvcc cannot."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"{theme}.ptx"
        options = OPTIONS.get(theme, ("-O2",))
        command = ["nvcc", "-arch=sm_90a", "--ptx", "-w", *options, "-o", str(made)]
        command.append(f"{theme}.cu")  # `__FILE__` is without a folder
        done = subprocess.run(command, cwd=CORPUS, capture_output=True, timeout=600)
        return made.read_text() if done.returncode == 0 else None


@lru_cache
def installed_release() -> str | None:
    """What nvcc says it is; None if there is none."""
    if shutil.which("nvcc") is None:
        return None
    told = subprocess.run(["nvcc", "--version"], capture_output=True, text=True)
    return release_in(told.stdout)


@lru_cache
def kept_releases() -> set[str | None]:
    """What each theme's PTX says of the nvcc that made it."""
    return {release_in(kept(theme)) for theme in THEMES}


def release_in(text: str) -> str | None:
    """The line that names a release of nvcc."""
    found = RELEASE.search(text)
    return found and found[0]
