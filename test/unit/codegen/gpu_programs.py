"""Runs lower-half `tile` programs on the PTX emulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.codegen.cuda.convert_nvvm_to_llvm import ConvertNvvmToLlvmPass
from stepwell.codegen.cuda.convert_tile_to_nvvm import (
    SHARED_BYTES,
    ConvertTileToNvvmPass,
)
from stepwell.codegen.cuda.ptx import emit_ptx
from stepwell.dialects import tile
from stepwell.dialects.dims import product
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.shapes import evaluate
from stepwell.dialects.target import Target
from stepwell.lowering.tiling.plan_shared_memory import PlanSharedMemoryPass
from stepwell.runtime.devices.emulated import EmulatedDevice

Array = np.ndarray[Any, Any]


class Program:
    """One kernel, compiled to PTX."""

    def __init__(self, text: str, target: str = "sm_80") -> None:
        context = Context()
        register_dialects(context)
        module = Parser(context, text).parse_module()
        nested = [m for m in module.ops if isinstance(m, ModuleOp)]
        if nested:
            module = nested[0]
            module.detach()
        module.verify()
        (kernel,) = [op for op in module.ops if isinstance(op, tile.FuncOp)]
        launch = kernel.attributes[tile.LAUNCH_ATTRIBUTE]
        assert isinstance(launch, tile.LaunchAttr)
        self.name, self.threads = kernel.sym_name.data, 32 * launch.data.warps
        self.grid, self.symbols = kernel.grid.data, kernel.symbol_names
        PlanSharedMemoryPass().apply(context, module)
        ConvertTileToNvvmPass().apply(context, module)
        module.verify()
        sizes = [op.attributes.get(SHARED_BYTES) for op in module.ops]
        (self.shared,) = [s.value.data for s in sizes if s is not None]  # type: ignore
        ConvertNvvmToLlvmPass().apply(context, module)
        self.ptx = emit_ptx(module, Target.parse(target))

    def run(
        self,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        *,
        check: bool = True,
        **symbols: int,
    ) -> list[Array]:
        """The outputs after a launch; they start with the values given."""
        device = EmulatedDevice(check=check)
        arrays = [np.ascontiguousarray(a) for a in (*inputs, *outputs)]
        pointers = [device.upload(_padded(a)) for a in arrays]
        values = [symbols[name] for name in self.symbols]
        cells = evaluate(product(self.grid), symbols)
        device.load(self.ptx).launch(
            self.name,
            grid=cells,
            block=self.threads,
            shared=self.shared,
            args=[*pointers, *values],
        )
        found = zip(outputs, pointers[len(inputs) :], strict=True)
        return [device.download(p, a.shape, a.dtype) for a, p in found]


def _padded(array: Array) -> Array:
    """The bytes of an array and 16 more, which every buffer of the runtime has."""
    return np.concatenate([array.reshape(-1).view("u1"), np.zeros(16, "u1")])
