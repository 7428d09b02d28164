"""Kernels of the lower half of `tile` to PTX and machine code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.dialects import tile
from stepwell.dialects.dims import Dim, product
from stepwell.dialects.provenance import location_names
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

from .convert_nvvm_to_llvm import ConvertNvvmToLlvmPass
from .convert_tile_to_nvvm import (
    SHARED_BYTES,
    SYMBOL,
    ConvertTileToNvvmPass,
    symbol_of,
)
from .cubin import assemble
from .kernel import integer
from .ptx import llvm_ir_of, ptx_of


@dataclass(frozen=True)
class KernelCode:
    """What a launch of a kernel needs to know.

    Attributes:
        name: of the `tile.func`.
        symbol: of the entry in the PTX and the cubin.
        params: "ptr", "tensor_map" or "i32", in order.
        shared_bytes: dynamic shared memory of a block.
        warps: of a block.
        cluster: blocks of a cluster.
        grid: number of blocks, all along x.
    """

    name: str
    symbol: str
    params: tuple[str, ...]
    shared_bytes: int
    warps: int
    cluster: int
    grid: Dim


@dataclass(frozen=True)
class CudaCode:
    """The machine code of kernels, and what it was made of."""

    ptx: str
    cubin: bytes
    kernels: Mapping[str, KernelCode]


def compile_cuda(module: ModuleOp, target: Target) -> CudaCode:
    """Compile the lower-half kernels of a module, which are taken out of it.

    Raises:
        CompileError: a kernel has no launch, or something in it no translation; or the
            assembler is missing.
    """
    ptx, kernels = compile_ptx(module, target)
    return CudaCode(ptx, assemble(ptx, target), kernels)


def compile_ptx(
    module: ModuleOp, target: Target
) -> tuple[str, Mapping[str, KernelCode]]:
    """The PTX of the kernels of a module, which are taken out of it.

    LLVM compiles a kernel while the next one is converted.

    Raises:
        CompileError: as `compile_cuda`, but for the assembler.
    """
    funcs = [op for op in module.ops if isinstance(op, tile.FuncOp)]
    launches = [_launch(func) for func in funcs]
    _tell_apart(funcs)
    nodes = {symbol_of(func): location_names(func) for func in funcs}
    kernels: dict[str, KernelCode] = {}
    texts: list[Future[str]] = []
    with ThreadPoolExecutor(1) as llvm:
        for func, launch in zip(funcs, launches, strict=True):
            text, code = _lowered(func, launch, target)
            kernels[code.name] = code
            texts.append(llvm.submit(ptx_of, text, target))
    return with_provenance(joined([text.result() for text in texts]), nodes), kernels


def _lowered(
    func: tile.FuncOp, launch: tile.Launch, target: Target
) -> tuple[str, KernelCode]:
    """The LLVM IR of one kernel, and what its launch needs to know."""
    name, symbol, params = func.sym_name.data, symbol_of(func), _params(func)
    grid = product(func.grid.data)
    func.detach()
    module = ModuleOp([func])
    target.attach(module)
    ConvertTileToNvvmPass().apply(Context(), module)
    ConvertNvvmToLlvmPass().apply(Context(), module)
    (shared,) = (
        integer(op, SHARED_BYTES) for op in module.ops if SHARED_BYTES in op.attributes
    )
    code = KernelCode(name, symbol, params, shared, launch.warps, launch.cluster, grid)
    return llvm_ir_of(module), code


def _tell_apart(funcs: Sequence[tile.FuncOp]) -> None:
    """Number the kernels whose names differ only in what PTX does not allow."""
    used: set[str] = set()
    for func in funcs:
        symbol = name = symbol_of(func)
        number = 2
        while symbol in used:
            symbol, number = f"{name}_{number}", number + 1
        used.add(symbol)
        if symbol != name:
            func.attributes[SYMBOL] = StringAttr(symbol)


def joined(texts: Sequence[str]) -> str:
    """Several PTX texts as one: the head of the first, the kernels of all."""
    end = re.compile(r"^\.extern \.shared .*$", re.MULTILINE)
    bodies: list[str] = []
    for text in texts:
        match = end.search(text)
        assert match is not None
        bodies.append(text[match.end() :])
    return texts[0][: len(texts[0]) - len(bodies[0])] + "".join(bodies)


def _launch(func: tile.FuncOp) -> tile.Launch:
    launch = func.attributes.get(tile.LAUNCH_ATTRIBUTE)
    if not isinstance(launch, tile.LaunchAttr):
        raise CompileError(
            "expected a kernel of the lower half of tile",
            where=func.sym_name.data,
            fix="run assign-layouts first",
        )
    return launch.data


def _params(func: tile.FuncOp) -> tuple[str, ...]:
    maps = [isinstance(a.type, tile.TensorMapType) for a in func.args]
    return (
        *("tensor_map" if is_map else "ptr" for is_map in maps),
        *("i32" for _ in func.symbol_names),
    )


_ENTRY = re.compile(r"^\.visible \.entry ([\w$]+)\(", re.MULTILINE)


def with_provenance(ptx: str, nodes: Mapping[str, Sequence[str]]) -> str:
    """PTX with a line `// node: NAME` for each source node in front of its kernel."""

    def comment(match: re.Match[str]) -> str:
        names = nodes.get(match[1], ())
        lines = [f"// node: {' '.join(name.split())}\n" for name in names]
        return "".join(lines) + match[0]

    return _ENTRY.sub(comment, ptx)
