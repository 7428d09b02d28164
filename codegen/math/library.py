"""The math functions a module calls, each made once per vector type.

A function is named `stepwell.<op>.<type>`, takes and gives vectors, and is always
inlined by LLVM: the IR of a kernel stays as small as its body. The f64 erf, and sin,
cos and tan of huge arguments, are the C library's, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.dialects.builtin import f32, f64, i1
from xdsl.dialects.llvm import FuncOp, LLVMFunctionType
from xdsl.ir import Attribute, Region, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import element_of, lanes_of
from stepwell.errors import CompileError

from . import exponential as e
from . import integers
from . import trigonometric as t
from .vectors import V

Function = Callable[..., V]

MATH_FUNCTIONS: dict[str, Function] = {
    "math.exp": e.exp,
    "math.exp2": e.exp2,
    "math.expm1": e.expm1,
    "math.log": e.log,
    "math.log2": e.log2,
    "math.log10": e.log10,
    "math.log1p": e.log1p,
    "math.tanh": e.tanh,
    "math.sinh": e.through_f64(e.sinh),
    "math.cosh": e.through_f64(e.cosh),
    "math.asinh": e.through_f64(e.asinh),
    "math.acosh": e.through_f64(e.acosh),
    "math.atanh": e.through_f64(e.atanh),
    "math.cbrt": e.through_f64(e.cbrt),
    "math.powf": e.through_f64(e.pow_f64),
    "math.sin": e.through_f64(t.sin),
    "math.cos": e.through_f64(t.cos),
    "math.tan": e.through_f64(t.tan),
    "math.asin": e.through_f64(t.asin),
    "math.acos": e.through_f64(t.acos),
    "math.atan": e.through_f64(t.atan),
    "math.atan2": e.through_f64(t.atan2),
    "math.erf": t.erf_f32,
    "math.ipowi": integers.ipow,
}
"""By name of the `math` op: the function of vectors of f32 or f64, or of integers."""

_LIBRARY_CALLS: Mapping[tuple[str, Attribute], str] = {("math.erf", f64): "erf"}
_PERIODIC = ("math.sin", "math.cos", "math.tan")
LARGEST_REDUCED = 2.0**40
"""Up to here the reduction by pi/2 keeps all bits of the result."""


class MathLibrary:
    """Collects the functions that one module needs."""

    def __init__(self) -> None:
        self.functions: dict[str, FuncOp] = {}
        self.needs_zeros = False
        self.needs_lock = False

    def call(self, b: Builder, op: str, operands: Sequence[SSAValue]) -> SSAValue:
        """A call of the function that computes `op`, e.g. "math.exp".

        Raises:
            CompileError: there is none for the type.
        """
        type_ = operands[0].type
        element = element_of(type_)
        if op != "math.ipowi" and element not in (f32, f64):
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
            args = inner.entry.args
            if (op, element) in _LIBRARY_CALLS:
                lanes = self._lane_by_lane(inner, _LIBRARY_CALLS[op, element], args[0])
                inner.ret(lanes)
            elif op in _PERIODIC:
                inner.ret(self._periodic(inner, op, args[0]))
            else:
                values = [V(inner, v) for v in args]
                inner.ret(MATH_FUNCTIONS[op](*values).value)
        result = b.call(name, operands, type_)
        assert result is not None
        return result

    def _periodic(self, b: Builder, op: str, x: SSAValue) -> SSAValue:
        """The polynomial, or the C library where an argument is too big to reduce."""
        usual = MATH_FUNCTIONS[op](V(b, x)).value
        wide = V(b, x)
        big = wide.abs().compare("ogt", LARGEST_REDUCED).value
        if lanes_of(x.type) > 1:
            name = f"llvm.vector.reduce.or.v{lanes_of(x.type)}i1"
            big = b.intrinsic(name, (big,), i1)
        rare, done = b.new_block(), b.new_block([x.type])
        b.cond_br(big, rare, (), done, (usual,))
        b.block = rare
        exact = wide if element_of(x.type) == f64 else wide.to_f64()
        called = V(b, self._lane_by_lane(b, op.removeprefix("math."), exact.value))
        if element_of(x.type) != f64:
            called = called.to_f32()
        b.br(done, called.value)
        b.block = done
        return done.args[0]

    def _lane_by_lane(self, b: Builder, name: str, x: SSAValue) -> SSAValue:
        element = element_of(x.type)
        if name not in self.functions:
            kind = LLVMFunctionType([element], element)
            self.functions[name] = FuncOp(name, kind, body=Region())
        if lanes_of(x.type) == 1:
            result = b.call(name, [x], element)
            assert result is not None
            return result
        total = b.poison(x.type)
        for lane in range(lanes_of(x.type)):
            item = b.call(name, [b.extract(x, lane)], element)
            assert item is not None
            total = b.insert_lane(total, item, lane)
        return total
