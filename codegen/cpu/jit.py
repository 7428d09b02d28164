"""Compiles one `tile.func` and runs it on NumPy arrays: what tests and tools need."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence

import numpy as np
from llvmlite import binding

from stepwell.dialects import tile
from stepwell.dialects.dims import evaluate
from stepwell.dialects.target import Target

from .objects import compile_object, parse_ir, target_machine

Kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class LoadedKernel:
    """A compiled `tile.func`, callable on arrays."""

    def __init__(self, func: tile.FuncOp, target: Target | None = None) -> None:
        self.func = func
        target = target or Target.host()
        self.object = compile_object([func], target)
        machine = target_machine(target)
        self._engine = binding.create_mcjit_compiler(parse_ir(""), machine)
        self._engine.add_object_file(binding.ObjectFileRef.from_data(self.object.data))
        self._engine.finalize_object()
        address = self._engine.get_function_address(func.sym_name.data)
        self.kernel = Kernel(address)

    def cells(self, symbols: Mapping[str, int]) -> int:
        """Cells of the grid for actual sizes."""
        return math.prod(evaluate(dim, symbols) for dim in self.func.grid.data)

    def words(
        self, arrays: Sequence[np.ndarray], symbols: Mapping[str, int]
    ) -> np.ndarray:
        """The argument array of the ABI."""
        pointers = [a.ctypes.data for a in arrays]
        values = [symbols[name] for name in self.func.symbol_names]
        return np.array([*pointers, *values], dtype=np.uint64)

    def __call__(
        self, arrays: Sequence[np.ndarray], symbols: Mapping[str, int] | None = None
    ) -> None:
        """Runs all cells on the arrays, one per view argument, in place."""
        words = self.words(arrays, symbols or {})
        self.kernel(words.ctypes.data, 0, self.cells(symbols or {}))


def run_tile_func(
    func: tile.FuncOp,
    arrays: Sequence[np.ndarray],
    symbols: Mapping[str, int] | None = None,
    target: Target | None = None,
) -> None:
    """Compiles and runs a `tile.func` once; the arrays are changed in place.

    Raises:
        CompileError: the function cannot be lowered.
    """
    LoadedKernel(func, target)(arrays, symbols)
