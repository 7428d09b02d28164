"""A module: its functions and globals, and what they share."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute

from stepwell.codegen.intrinsics import CPU_INTRINSICS
from stepwell.codegen.llvm_text import constant_text, quoted, type_text

from .function import FunctionWriter, no_translation


def emit_llvm_ir(
    module: ModuleOp,
    *,
    triple: str = "",
    data_layout: str = "",
    intrinsics: Mapping[str, str] = CPU_INTRINSICS,
) -> str:
    """The module's text.

    Args:
        module: `llvm.func` and `llvm.mlir.global` ops only.
        triple: LLVM's target triple, left out when empty.
        data_layout: LLVM's data layout string, left out when empty.
        intrinsics: what `llvm.call_intrinsic` may call (see `intrinsics.py`).

    Raises:
        CompileError: an op, type or intrinsic that has no translation.
    """
    return ModuleWriter(intrinsics).write(module, triple, data_layout)


class ModuleWriter:
    """Collects what functions share: declarations, metadata, type names."""

    def __init__(self, intrinsics: Mapping[str, str]) -> None:
        self.intrinsics = intrinsics
        self.declarations: dict[str, str] = {}
        self.defined: set[str] = set()
        self.metadata: list[str] = []
        self._types: dict[int, tuple[Attribute, str]] = {}

    def write(self, module: ModuleOp, triple: str, data_layout: str) -> str:
        parts = [f'target triple = "{triple}"'] if triple else []
        parts += [f'target datalayout = "{data_layout}"'] if data_layout else []
        for op in module.ops:
            if isinstance(op, xllvm.FuncOp):
                parts.append(FunctionWriter(self, op).write())
            elif isinstance(op, xllvm.GlobalOp):
                parts.append(self._global(op))
            else:
                raise no_translation(op)
        parts += [t for n, t in self.declarations.items() if n not in self.defined]
        return "\n".join(parts + self.metadata) + "\n"

    def type(self, type_: Attribute) -> str:
        """LLVM's spelling of a type; the memory of it spares hashing attributes."""
        known = self._types.get(id(type_))
        if known is None:
            known = self._types[id(type_)] = (type_, type_text(type_))
        return known[1]

    def loop(self, unroll: int) -> str:
        """The metadata of one loop, as a suffix of the branch that closes it."""
        n = len(self.metadata)
        hint = (
            '!"llvm.loop.unroll.disable"'
            if unroll <= 1
            else f'!"llvm.loop.unroll.count", i32 {unroll}'
        )
        self.metadata.append(f"!{n} = distinct !{{!{n}, !{n + 1}}}")
        self.metadata.append(f"!{n + 1} = !{{{hint}}}")
        return f", !llvm.loop !{n}"

    def _global(self, op: xllvm.GlobalOp) -> str:
        kind = "constant" if op.constant is not None else "global"
        type_ = self.type(op.global_type)
        space = int(op.addr_space.value.data)
        where = f"addrspace({space}) " if space else ""
        if isinstance(op.value, StringAttr):
            value = " c" + quoted(op.value.data)
        elif op.value is not None:
            value = " " + constant_text(op.global_type, op.value)
        else:
            value = "" if op.linkage.linkage.data == "external" else " undef"
        align = f", align {op.alignment.value.data}" if op.alignment else ""
        linkage = op.linkage.linkage.data
        return f"@{op.sym_name.data} = {linkage} {where}{kind} {type_}{value}{align}"
