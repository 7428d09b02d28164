"""The devices that engines run on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepwell.errors import EngineFileError

from .cpu_executable import CpuExecutable
from .interface import Array, Executable

if TYPE_CHECKING:
    from stepwell.runtime.engine_file import EngineFile


def executable_of(
    contents: EngineFile, weights: Sequence[Array], threads: int
) -> Executable:
    """Load an engine's code and constants on its device."""
    target = contents.manifest.target
    if target.kind != "cpu":
        raise EngineFileError(
            f"expected an engine for the cpu, got one for {target.name}",
            fix=f"run it on a machine with {target.kind}, or build for the cpu",
        )
    return CpuExecutable(contents, weights, threads)
