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


@lru_cache
def _machine(cpu: str, ptx: int) -> Any:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    # Division of f32 as `div.full`, within 2 ulp (PTX ISA, "div").
    binding.set_option("", "-nvptx-prec-divf32=1")
    target = binding.Target.from_triple(TRIPLE)
    return target.create_target_machine(cpu=cpu, features=f"+ptx{ptx}", opt=3)


def emit_ptx(module: ModuleOp, target: Target) -> str:
    """The PTX of a module of `llvm` ops.

    Raises:
        CompileError: an op or an intrinsic has no translation.
    """
    machine = _machine(target.name, target.ptx)
    text = emit_llvm_ir(module, triple=TRIPLE, intrinsics=CUDA_INTRINSICS)
    parsed = binding.parse_assembly(text)
    parsed.verify()
    return str(machine.emit_assembly(parsed))
