"""Integers that fold, operations on values of any type, and calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import DenseArrayBase, SymbolRefAttr, i1, i32, i64
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import lanes_of, vector

from .attributes import number, segments, string
from .inserter import Inserter, Value

CONTRACT = xllvm.FastMathAttr([FastMathFlag.ALLOW_CONTRACT])
PLAIN = xllvm.FastMathAttr(None)
_CCC = xllvm.CallingConventionAttr("ccc")
_NO_TAIL = xllvm.TailCallKindAttr(xllvm.TailCallKind.NONE)
_NO_BUNDLES = DenseArrayBase.from_list(i32, ())

_INT_FOLDS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "udiv": lambda a, b: a // b,
    "urem": lambda a, b: a % b,
}
_COMPARES: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "slt": lambda a, b: a < b,
    "sle": lambda a, b: a <= b,
    "sgt": lambda a, b: a > b,
    "sge": lambda a, b: a >= b,
}
_ICMP = {flag.value: flag.to_int() for flag in xllvm.ICmpPredicateFlag}
_FCMP = {flag.value: flag.to_int() for flag in xllvm.FCmpPredicateFlag}
_INT_BINARY = frozenset(
    [
        "add",
        "sub",
        "mul",
        "udiv",
        "sdiv",
        "urem",
        "srem",
        "and",
        "or",
        "xor",
        "shl",
        "lshr",
        "ashr",
    ]
)


class Arithmetic(Inserter):
    """What computes one value from others."""

    # ---- integers ----

    def ibin(self, name: str, a: Value, b: Value) -> Value:
        """An integer operation, folded where both sides are known."""
        if isinstance(a, int) and isinstance(b, int):
            return _INT_FOLDS[name](a, b)
        if isinstance(b, int) and (
            (b == 0 and name in ("add", "sub")) or (b == 1 and name in ("mul", "udiv"))
        ):
            return a
        if isinstance(a, int) and (
            (a == 0 and name == "add") or (a == 1 and name == "mul")
        ):
            return b
        if (a == 0 or b == 0) and name == "mul":
            return 0
        other = a if isinstance(a, SSAValue) else b
        assert isinstance(other, SSAValue)
        kind = other.type
        return self.binary(name, self.value(a, kind), self.value(b, kind))

    def add(self, a: Value, b: Value) -> Value:
        """`a + b`."""
        return self.ibin("add", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        """`a * b`."""
        return self.ibin("mul", a, b)

    def compare(self, predicate: str, a: Value, b: Value) -> SSAValue:
        """An `i1`, e.g. `compare("slt", a, b)`, of i64 or equally typed values."""
        if isinstance(a, int) and isinstance(b, int):
            return self.constant(int(_COMPARES[predicate](a, b)), i1)
        other = a if isinstance(a, SSAValue) else b
        assert isinstance(other, SSAValue)
        return self.icmp(
            predicate, self.value(a, other.type), self.value(b, other.type)
        )

    # ---- values of any type ----

    def binary(
        self, name: str, a: SSAValue, b: SSAValue, flags: xllvm.FastMathAttr = PLAIN
    ) -> SSAValue:
        """`llvm.<name>` on two values of one type."""
        properties: dict[str, Attribute] = {}
        if name not in _INT_BINARY:
            properties["fastmathFlags"] = flags
        return self.make(name, (a, b), a.type, properties)

    def icmp(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """Integer comparison, lane by lane."""
        properties: dict[str, Attribute] = {"predicate": number(_ICMP[predicate], i64)}
        return self.make("icmp", (a, b), vector(i1, lanes_of(a.type)), properties)

    def fcmp(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """Float comparison, lane by lane."""
        properties: dict[str, Attribute] = {
            "predicate": number(_FCMP[predicate], i64),
            "fastmathFlags": PLAIN,
        }
        return self.make("fcmp", (a, b), vector(i1, lanes_of(a.type)), properties)

    def select(self, cond: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
        """`a` where `cond`, else `b`."""
        return self.make("select", (cond, a, b), a.type, {"fastmathFlags": PLAIN})

    def cast(self, name: str, a: SSAValue, type_: Attribute) -> SSAValue:
        """`trunc`, `sext`, `fpext`, `bitcast`, ...; nothing where the type is same."""
        return a if a.type == type_ else self.make(name, (a,), type_)

    def fneg(self, a: SSAValue) -> SSAValue:
        """`-a`."""
        return self.make("fneg", (a,), a.type, {"fastmathFlags": PLAIN})

    def fma(self, a: SSAValue, b: SSAValue, c: SSAValue) -> SSAValue:
        """`a * b + c`, rounded once."""
        return self.intrinsic(f"llvm.fma.{type_suffix(a.type)}", (a, b, c), a.type)

    # ---- calls ----

    def intrinsic(
        self, name: str, args: Sequence[SSAValue], result: Attribute
    ) -> SSAValue:
        """A call of an intrinsic that gives a value."""
        op = self._intrinsic(name, args, result)
        return op.results[0]

    def intrinsic_void(self, name: str, args: Sequence[SSAValue]) -> None:
        """A call of an intrinsic without result."""
        self._intrinsic(name, args, None)

    def _intrinsic(
        self, name: str, args: Sequence[SSAValue], result: Attribute | None
    ) -> Operation:
        properties: dict[str, Attribute] = {
            "intrin": string(name),
            "fastmathFlags": PLAIN,
            "op_bundle_sizes": _NO_BUNDLES,
            "operandSegmentSizes": segments(len(args), 0),
        }
        return self.insert(xllvm.CallIntrinsicOp, args, result, properties)

    def call(
        self, name: str, args: Sequence[SSAValue], result: Attribute | None = None
    ) -> SSAValue | None:
        """A direct call of a function of the module."""
        properties: dict[str, Attribute] = {
            "callee": SymbolRefAttr(name),
            "fastmathFlags": PLAIN,
            "CConv": _CCC,
            "TailCallKind": _NO_TAIL,
            "op_bundle_sizes": _NO_BUNDLES,
            "operandSegmentSizes": segments(len(args), 0),
        }
        op = self.insert(xllvm.CallOp, args, result, properties)
        return op.results[0] if result is not None else None
