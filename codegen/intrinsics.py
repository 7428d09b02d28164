"""Which LLVM intrinsics each back end can select: the guard before LLVM sees them.

LLVM ends the process when it meets an intrinsic the target cannot select, or one that
becomes a call of a library the object does not have. So a call of an intrinsic is
checked against a table first, and what is not in it is a `CompileError`.

A table maps the name up to the type suffixes to a pattern that the suffixes must match
in full: `llvm.fma` with `F32_F64` admits `llvm.fma.v16f32` but not `llvm.fma.f16`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_VECTOR = r"(v\d+)?"
F32_F64 = rf"\.{_VECTOR}f(32|64)"
FLOAT = rf"\.{_VECTOR}(f16|bf16|f32|f64)"
INTEGER = rf"\.{_VECTOR}i(8|16|32|64)"
_MASKED = r"\.v\d+(i1|i8|i16|i32|i64|f16|bf16|f32|f64)"

CPU_INTRINSICS: Mapping[str, str] = {
    # One instruction, or a short sequence, on every x86-64 level.
    **dict.fromkeys(("llvm.sqrt", "llvm.fma", "llvm.fmuladd"), F32_F64),
    **dict.fromkeys(("llvm.fabs", "llvm.copysign"), FLOAT),
    **dict.fromkeys(
        ("llvm.floor", "llvm.ceil", "llvm.trunc", "llvm.rint", "llvm.roundeven"),
        F32_F64,
    ),
    **dict.fromkeys(("llvm.minnum", "llvm.maxnum"), F32_F64),
    **dict.fromkeys(("llvm.minimum", "llvm.maximum"), F32_F64),
    **dict.fromkeys(("llvm.smin", "llvm.smax", "llvm.umin", "llvm.umax"), INTEGER),
    **dict.fromkeys(("llvm.abs", "llvm.ctpop", "llvm.ctlz", "llvm.cttz"), INTEGER),
    "llvm.is.fpclass": FLOAT,
    "llvm.fptosi.sat": INTEGER + FLOAT,
    "llvm.fptoui.sat": INTEGER + FLOAT,
    "llvm.masked.load": _MASKED + r"\.p0",
    "llvm.masked.store": _MASKED + r"\.p0",
    "llvm.masked.gather": _MASKED + r"\.v\d+p0",
    "llvm.masked.scatter": _MASKED + r"\.v\d+p0",
    "llvm.vector.reduce.fadd": F32_F64,
    "llvm.vector.reduce.fmul": F32_F64,
    **{
        f"llvm.vector.reduce.{kind}": r"\.v\d+i(1|8|16|32|64)"
        for kind in ("add", "mul", "and", "or", "xor", "smax", "smin", "umax", "umin")
    },
    **dict.fromkeys(
        ("llvm.vector.reduce.fmaximum", "llvm.vector.reduce.fminimum"), F32_F64
    ),
    "llvm.memcpy": r"\.p0\.p0\.i64",
    "llvm.memset": r"\.p0\.i64",
    "llvm.prefetch": r"\.p0",
    "llvm.assume": r"",
    "llvm.stacksave": r"\.p0",
    "llvm.stackrestore": r"\.p0",
    "llvm.x86.sse2.pause": r"",
    "llvm.x86.avx512.vpdpbusd": r"\.(128|256|512)",
}


def is_known(name: str, table: Mapping[str, str]) -> bool:
    """Whether `name`, with its type suffixes, is an entry of `table`."""
    base = name
    while base:
        pattern = table.get(base)
        if pattern is not None and re.fullmatch(pattern, name[len(base) :]):
            return True
        base = base.rpartition(".")[0]
    return False
