"""PTX to machine code, by nvJitLink: in this process, without a GPU or a CUDA toolkit.

Machine code is kept on disk under the hash of the PTX, the target and the assembler's
version: `$XDG_CACHE_HOME/stepwell/cubin`, by default in `~/.cache`. A directory that
cannot be written to is not an error: the code is then assembled each time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from stepwell.dialects.target import Target
from stepwell.errors import CompileError


def cache_folder() -> Path:
    """Where machine code is kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "stepwell" / "cubin"


def assemble(ptx: str, target: Target, folder: Path | None = None) -> bytes:
    """The cubin of a PTX text.

    Args:
        folder: the cache; the user's by default.

    Raises:
        CompileError: nvJitLink is not installed, or refuses the text.
    """
    linker = _linker()
    version = ".".join(map(str, linker.version()))
    key = hashlib.sha256(f"{version} {target.name}\n{ptx}".encode()).hexdigest()
    path = (folder or cache_folder()) / f"{key}.cubin"
    with suppress(OSError):
        return path.read_bytes()
    cubin = _link(linker, ptx, target)
    _keep(path, cubin)
    return cubin


def _linker() -> Any:
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
    except (ImportError, RuntimeError, OSError) as error:
        raise CompileError(
            "expected nvJitLink to assemble kernels for a GPU",
            notes=[str(error)],
            fix="pip install stepwell[cuda]",
        ) from None
    return nvjitlink


def _link(linker: Any, ptx: str, target: Target) -> bytes:
    options = [f"-arch={target.name}"]
    handle = linker.create(len(options), options)
    data = ptx.encode() + b"\0"
    try:
        linker.add_data(handle, linker.InputType.PTX, data, len(data), "kernels")
        linker.complete(handle)
        cubin = bytearray(linker.get_linked_cubin_size(handle))
        linker.get_linked_cubin(handle, cubin)
    except linker.nvJitLinkError as error:
        log = bytearray(linker.get_error_log_size(handle))
        if log:
            linker.get_error_log(handle, log)
        text = log.decode(errors="replace").strip("\0\n ")
        raise CompileError(
            f"expected PTX that assembles for {target.name}",
            notes=[str(error), *text.splitlines()],
        ) from None
    finally:
        linker.destroy(handle)
    return bytes(cubin)


def _keep(path: Path, cubin: bytes) -> None:
    """Write a file at once: a reader sees all of it or none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(cubin)
        os.replace(file.name, path)
