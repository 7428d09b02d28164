"""The `llvm` dialect as LLVM IR text.

One row of `EMITTERS` per op, text straight from the ops (no llvmlite objects), because
a build emits tens of thousands of instructions. Constants, `zero`, `poison` and
`addressof` are written where they are used. The module serves every back end: what
differs is the data layout, the triple and the table of intrinsics.

Loops: an `llvm.br` or `llvm.cond_br` that closes a loop may carry the attribute
`llvm.unroll = n : i64`, which becomes `!llvm.loop.unroll.count` (`disable` for 1).
"""

from .module import emit_llvm_ir

__all__ = ["emit_llvm_ir"]
