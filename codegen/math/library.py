"""The math functions a module calls, each made once per vector type.

A function is named `stepwell.<op>.<type>`, takes and gives vectors, and is always
inlined by LLVM: the IR of a kernel stays as small as its body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.dialects.llvm import FuncOp
from xdsl.ir import SSAValue

from stepwell.codegen.llvm_builder import Builder, element_of, f32, f64
from stepwell.codegen.llvm_ir import type_suffix
from stepwell.errors import CompileError

MathBody = Callable[[Builder, Sequence[SSAValue]], SSAValue]

MATH_FUNCTIONS: dict[str, Mapping[object, MathBody]] = {}
"""By name of the `math` op: the body for f32 and for f64."""


class MathLibrary:
    """Collects the functions that one module needs."""

    def __init__(self) -> None:
        self.functions: dict[str, FuncOp] = {}
        self.needs_zeros = False

    def call(self, b: Builder, op: str, operands: Sequence[SSAValue]) -> SSAValue:
        """A call of the function that computes `op`, e.g. "math.exp".

        Raises:
            CompileError: there is none for the type.
        """
        type_ = operands[0].type
        element = element_of(type_)
        body = MATH_FUNCTIONS[op].get(element)
        if body is None or element not in (f32, f64):
            raise CompileError(f"expected f32 or f64 for {op}, got {element}")
        name = f"stepwell.{op.removeprefix('math.')}.{type_suffix(type_)}"
        if name not in self.functions:
            inner = Builder.function(
                name,
                [v.type for v in operands],
                type_,
                linkage="internal",
                attributes=["alwaysinline"],
            )
            self.functions[name] = inner.func
            inner.ret(body(inner, inner.entry.args))
        result = b.call(name, operands, type_)
        assert result is not None
        return result
