"""LLVM IR to PTX, by LLVM's NVPTX back end."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llvmlite import binding
from xdsl.dialects.builtin import ModuleOp

from stepwell.codegen.llvm_ir import emit_llvm_ir
from stepwell.dialects.target import Target

from .intrinsics import CUDA_INTRINSICS

TRIPLE = "nvptx64-nvidia-cuda"

LONG = 1000
"""Lines of LLVM IR above which LLVM's own passes cost more than they bring.

Their time grows with the square of a block's length; the assembler does the same work
again. Registers and code size of such kernels differ by a few percent (measured). Only
products of warpgroups need LLVM to keep their sums in place.
"""


@lru_cache
def _machine(cpu: str, ptx: int, level: int) -> Any:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    # `div.full` within 2 ulp and `sqrt.approx` within 1 (PTX ISA, "div" and "sqrt"):
    # with correct rounding both call a subroutine.
    binding.set_option("", "-nvptx-prec-divf32=1")
    binding.set_option("", "-nvptx-prec-sqrtf32=0")
    target = binding.Target.from_triple(TRIPLE)
    return target.create_target_machine(cpu=cpu, features=f"+ptx{ptx}", opt=level)


def emit_ptx(module: ModuleOp, target: Target) -> str:
    """The PTX of a module of `llvm` ops.

    Raises:
        CompileError: an op or an intrinsic has no translation.
    """
    return ptx_of(llvm_ir_of(module), target)


def llvm_ir_of(module: ModuleOp) -> str:
    """LLVM IR of a module of `llvm` ops, with nothing in it that LLVM cannot select.

    Raises:
        CompileError: as `emit_ptx`.
    """
    return emit_llvm_ir(module, triple=TRIPLE, intrinsics=CUDA_INTRINSICS)


def ptx_of(text: str, target: Target) -> str:
    """The PTX of LLVM IR; other threads of Python run meanwhile."""
    parsed = binding.parse_assembly(text)
    parsed.verify()
    if text.count("\n") <= LONG or "wgmma." in text:
        return str(_machine(target.name, target.ptx, 3).emit_assembly(parsed))
    machine = _machine(target.name, target.ptx, 0)
    options = binding.create_pipeline_tuning_options(speed_level=0)
    passes = binding.create_new_module_pass_manager()
    passes.add_new_gvn_pass()
    passes.run(parsed, binding.create_pass_builder(machine, options))
    return str(machine.emit_assembly(parsed))
