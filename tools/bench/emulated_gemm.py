"""The Hopper GEMM of `gemm_program` on the emulated GPU: its PTX, and its maps."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.codegen.cuda.convert_nvvm_to_llvm import ConvertNvvmToLlvmPass
from stepwell.codegen.cuda.convert_tile_to_nvvm import ConvertTileToNvvmPass
from stepwell.codegen.cuda.ptx import emit_ptx
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.runtime.devices.emulated import encode_tensor_map

from .gemm_program import GemmConfig, gemm_program


def gemm_ptx(config: GemmConfig) -> str:
    """The PTX of a GEMM, by the project's own code generator."""
    context = StepwellContext()
    register_dialects(context)
    outer = Parser(context, gemm_program(config)).parse_module()
    first = outer.body.block.first_op
    module = first if isinstance(first, ModuleOp) else outer
    ConvertTileToNvvmPass().apply(context, module)
    ConvertNvvmToLlvmPass().apply(context, module)
    return emit_ptx(module, Target.parse("sm_90a"))


def matrix_map(pointer: int, shape: Sequence[int], rows: int, columns: int) -> bytes:
    """A tensor map of a row-major matrix of halves, in boxes of rows by columns."""
    height, width = shape
    return encode_tensor_map(
        "float16",
        pointer,
        [width, height],
        [2 * width],
        [columns, rows],
        swizzle=f"{2 * columns}B",
    )
