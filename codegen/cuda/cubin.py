"""PTX to machine code, without a GPU: by nvJitLink, or by `ptxas` where there is one.

nvJitLink is a library of `stepwell[cuda]` and needs no CUDA toolkit. It compiles as if
kernels were to be linked with others, and so ignores `setmaxnreg`: pipelined kernels of
Hopper are faster from `ptxas`, of a toolkit or of the package `nvidia-cuda-nvcc`.

Machine code is kept on disk under the hash of the PTX, the target and the assembler's
version: `$XDG_CACHE_HOME/stepwell/cubin`, by default in `~/.cache`. A directory that
cannot be written to is not an error: the code is then assembled each time.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
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
    path = (folder or cache_folder()) / f"{content_key(ptx, target)}.cubin"
    with suppress(OSError):
        return path.read_bytes()
    cubin, _ = assemble_with_log(ptx, target)
    _keep(path, cubin)
    return cubin


def content_key(ptx: str, target: Target) -> str:
    """The name of what an assembler makes of a PTX text.

    Raises:
        CompileError: there is no assembler.
    """
    tool = ptxas()
    maker = _version(str(tool)) if tool else f"nvJitLink {_linker().version()}"
    return hashlib.sha256(f"{maker} {target.name}\n{ptx}".encode()).hexdigest()


def assemble_with_log(ptx: str, target: Target) -> tuple[bytes, str]:
    """The cubin of a PTX text, and what the assembler says of it; nothing is kept.

    A kernel whose registers run out gives up blocks on a multiprocessor one by one: how
    many fit was estimated before there was code.

    Raises:
        CompileError: as `assemble`.
    """
    while True:
        cubin, log = _assemble_as_it_is(ptx, target)
        spilling = {name for name, taken in resources(log).items() if taken.spills}
        relaxed = with_fewer_blocks(ptx, spilling)
        if relaxed == ptx:
            return cubin, log
        ptx = relaxed


def _assemble_as_it_is(ptx: str, target: Target) -> tuple[bytes, str]:
    tool = ptxas()
    done = _run_ptxas(tool, ptx, target) if tool else None
    return _link(_linker(), ptx, target) if done is None else done


_ENTRY = re.compile(r"(?=^\.visible \.entry )", re.MULTILINE)
_NAME = re.compile(r"\.visible \.entry ([\w$]+)")
_BLOCKS = re.compile(r"(?<=\.minnctapersm )\d+")


def with_fewer_blocks(ptx: str, kernels: Container[str]) -> str:
    """PTX in which some kernels leave room for one block less, but for one at least.

    Kernels that move registers between their warps reckon with what they start with.
    """

    def relaxed(entry: str) -> str:
        name = _NAME.match(entry)
        if name is None or name[1] not in kernels or "setmaxnreg" in entry:
            return entry
        return _BLOCKS.sub(lambda n: str(max(1, int(n[0]) - 1)), entry, count=1)

    return "".join(map(relaxed, _ENTRY.split(ptx)))


def ptxas() -> Path | None:
    """NVIDIA's assembler, if there is one."""
    return nvidia_tool("ptxas")


def nvidia_tool(name: str) -> Path | None:
    """A program of NVIDIA's, on the path or in a Python package."""
    found = shutil.which(name)
    if found:
        return Path(found)
    package = importlib.util.find_spec("nvidia")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for path in sorted(Path(folder).glob(f"*/bin/{name}"), reverse=True):
            return path
    return None


@lru_cache
def _version(tool: str) -> str:
    done = subprocess.run(
        [tool, "--version"], capture_output=True, text=True, check=False
    )
    return done.stdout


def _run_ptxas(tool: Path, ptx: str, target: Target) -> tuple[bytes, str] | None:
    """The cubin and the log; None if this `ptxas` is too old for the PTX."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        source.write_text(ptx)
        command = [tool, *_options(target, "-v"), source, "-o", result]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (result.read_bytes(), done.stderr) if done.returncode == 0 else None


def _options(target: Target, verbose: str) -> list[str]:
    """Those of both assemblers: kernels are compiled on all cores."""
    return [f"-arch={target.name}", "-split-compile=0", verbose]


def _linker() -> Any:
    try:
        nvjitlink = importlib.import_module("cuda.bindings.nvjitlink")
        nvjitlink.version()
    except (ImportError, RuntimeError, OSError) as error:
        raise CompileError(
            "expected nvJitLink to assemble kernels for a GPU",
            notes=[str(error)],
            fix="pip install stepwell[cuda]",
        ) from None
    return nvjitlink


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a multiprocessor, a thread's part.

    Attributes:
        registers: 32-bit registers of a thread.
        spills: bytes that are written to memory because registers ran out.
        stack: bytes of local memory.
    """

    registers: int
    spills: int
    stack: int


_PROPERTIES = re.compile(
    r"Function properties for (\w+)\s+(?:ptxas[ .]*)?(\d+) bytes stack frame, "
    r"(\d+) bytes spill stores.*?Used (\d+) registers",
    re.DOTALL,
)


def resources(log: str) -> Mapping[str, Resources]:
    """What each kernel takes, by its symbol, read off the assembler's log."""
    return {
        name: Resources(int(registers), int(spills), int(stack))
        for name, stack, spills, registers in _PROPERTIES.findall(log)
    }


def _link(linker: Any, ptx: str, target: Target) -> tuple[bytes, str]:
    """The cubin and the assembler's log."""
    options = _options(target, "-verbose")
    handle = linker.create(len(options), options)
    data = ptx.encode() + b"\0"
    try:
        linker.add_data(handle, linker.InputType.PTX, data, len(data), "kernels")
        linker.complete(handle)
        cubin = bytearray(linker.get_linked_cubin_size(handle))
        linker.get_linked_cubin(handle, cubin)
        log = bytearray(linker.get_info_log_size(handle))
        if log:
            linker.get_info_log(handle, log)
    except linker.nvJitLinkError as error:
        log = bytearray(linker.get_error_log_size(handle))
        if log:
            linker.get_error_log(handle, log)
        raise CompileError(
            f"expected PTX that assembles for {target.name}",
            notes=[str(error), *_text(log).splitlines()],
        ) from None
    finally:
        linker.destroy(handle)
    return bytes(cubin), _text(log)


def _text(log: bytearray) -> str:
    return log.decode(errors="replace").strip("\0\n ")


def _keep(path: Path, cubin: bytes) -> None:
    """Write a file at once: a reader sees all of it or none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(cubin)
        os.replace(file.name, path)
