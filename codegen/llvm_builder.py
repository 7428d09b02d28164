"""Builds functions of the `llvm` dialect, with constants folded as they are made.

A kernel has hundreds of instructions, and creating an op through its constructor costs
more than emitting it: the builder creates ops directly, shares types, constants and
property attributes, and stamps each op with the current location.

Scalars are `Value = int | SSAValue`: arithmetic on two Python ints makes no op.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolRefAttr,
    VectorType,
    f32,
    f64,
    i1,
    i8,
    i32,
    i64,
)
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.dialects import llvm

from .llvm_text import is_float, type_suffix

Value = int | SSAValue

PTR = xllvm.LLVMPointerType()
CONTRACT = xllvm.FastMathAttr([FastMathFlag.ALLOW_CONTRACT])
PLAIN = xllvm.FastMathAttr(None)
_CCC = xllvm.CallingConventionAttr("ccc")
_NO_TAIL = xllvm.TailCallKindAttr(xllvm.TailCallKind.NONE)
_NO_BUNDLES = DenseArrayBase.from_list(i32, ())

__all__ = [
    "CONTRACT",
    "PLAIN",
    "PTR",
    "Builder",
    "Value",
    "f32",
    "f64",
    "i1",
    "i8",
    "i32",
    "i64",
    "is_float",
    "lanes_of",
    "vector",
]


@lru_cache(maxsize=1024)
def vector(element: Attribute, lanes: int) -> Attribute:
    """`lanes` elements as one value; the element type itself for one lane."""
    return element if lanes == 1 else VectorType(element, [lanes])


@lru_cache(maxsize=1024)
def _number(value: int, type_: IntegerType) -> IntegerAttr:
    return IntegerAttr(value, type_)


@lru_cache(maxsize=1024)
def _string(text: str) -> StringAttr:
    return StringAttr(text)


def lanes_of(type_: Attribute) -> int:
    """Lanes of a vector type, 1 for a scalar."""
    return type_.get_shape()[0] if isinstance(type_, VectorType) else 1


def element_of(type_: Attribute) -> Attribute:
    """A vector's element type, or the scalar type itself."""
    return type_.element_type if isinstance(type_, VectorType) else type_


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
_OPS: dict[str, type[Operation]] = {
    op.name.removeprefix("llvm."): op for op in llvm.LLVM.operations
}
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


class Builder:
    """Appends ops to the current block of one `llvm.func`."""

    def __init__(self, func: xllvm.FuncOp) -> None:
        self.func = func
        self.region: Region = func.body
        self.entry = func.body.blocks[0]
        self.block: Block = self.entry
        self.location = func.location
        self.anchor: Operation | None = None
        self.index_type: IntegerType = i64
        self._constants: dict[tuple[object, ...], SSAValue] = {}

    @staticmethod
    def function(
        name: str,
        inputs: Sequence[Attribute],
        output: Attribute | None = None,
        *,
        linkage: str = "external",
        attributes: Sequence[str] = (),
    ) -> Builder:
        """A builder at the start of a new function."""
        kind = xllvm.LLVMFunctionType(list(inputs), output)
        other: dict[str, Attribute | None] = {}
        if attributes:
            from xdsl.dialects.builtin import ArrayAttr

            other["passthrough"] = ArrayAttr([StringAttr(a) for a in attributes])
        func = xllvm.FuncOp(
            name,
            kind,
            linkage=xllvm.LinkageAttr(linkage),
            body=Region(Block(arg_types=list(inputs))),
            other_props=other,
        )
        return Builder(func)

    # ---- ops ----

    def insert(
        self,
        op: type[Operation],
        operands: Sequence[SSAValue],
        result: Attribute | None = None,
        properties: dict[str, Attribute] | None = None,
        successors: Sequence[Block] = (),
        attributes: dict[str, Attribute] | None = None,
    ) -> Operation:
        """Append an op, created without its constructor."""
        made = op.create(
            operands=operands,
            result_types=() if result is None else (result,),
            properties=properties or {},
            attributes=attributes or {},
            successors=successors,
            location=self.location,
        )
        if self.anchor is None:
            self.block.add_op(made)
        else:
            self.block.insert_op_before(made, self.anchor)
        return made

    @contextmanager
    def before(self, anchor: Operation) -> Generator[None]:
        """Straight-line code in front of an op that was emitted before."""
        block = anchor.parent_block()
        assert block is not None
        kept = self.block, self.anchor
        self.block, self.anchor = block, anchor
        yield
        self.block, self.anchor = kept

    def make(
        self,
        name: str,
        operands: Sequence[SSAValue],
        result: Attribute,
        properties: dict[str, Attribute] | None = None,
    ) -> SSAValue:
        """Append `llvm.<name>` and give its result."""
        return self.insert(_OPS[name], operands, result, properties).results[0]

    def constant(self, value: float, type_: Attribute) -> SSAValue:
        """A constant of a scalar type, or the splat of one; one op per function."""
        key = (repr(value), type_)
        known = self._constants.get(key)
        if known is None:
            op = xllvm.ConstantOp.create(
                properties={"value": _constant_attr(value, type_)},
                result_types=(type_,),
            )
            known = self._put_in_entry(key, op)
        return known

    def constants(self, values: Sequence[float], element: Attribute) -> SSAValue:
        """A vector of given lanes."""
        key = (tuple(values), element)
        known = self._constants.get(key)
        if known is None:
            type_ = VectorType(element, [len(values)])
            attr = _dense(type_, values)
            op = xllvm.ConstantOp.create(
                properties={"value": attr}, result_types=(type_,)
            )
            known = self._put_in_entry(key, op)
        return known

    def poison(self, type_: Attribute) -> SSAValue:
        """A value nobody looks at."""
        key = ("poison", type_)
        known = self._constants.get(key)
        if known is None:
            op = llvm.PoisonOp.create(result_types=(type_,))
            known = self._put_in_entry(key, op)
        return known

    def null(self) -> SSAValue:
        """The null pointer."""
        key = ("null", PTR)
        known = self._constants.get(key)
        if known is None:
            known = self._put_in_entry(key, xllvm.ZeroOp.create(result_types=(PTR,)))
        return known

    def address_of(self, name: str) -> SSAValue:
        """The address of a global or function."""
        key = ("address", name)
        known = self._constants.get(key)
        if known is None:
            op = xllvm.AddressOfOp.create(
                properties={"global_name": SymbolRefAttr(name)}, result_types=(PTR,)
            )
            known = self._put_in_entry(key, op)
        return known

    def _put_in_entry(self, key: tuple[object, ...], op: Operation) -> SSAValue:
        first = self.entry.first_op
        if first is None:
            self.entry.add_op(op)
        else:
            self.entry.insert_op_before(op, first)
        self._constants[key] = op.results[0]
        return op.results[0]

    def value(self, value: Value, type_: Attribute | None = None) -> SSAValue:
        """A Python int as a constant, by default an index; an SSA value as it is."""
        if isinstance(value, SSAValue):
            return value
        return self.constant(value, type_ or self.index_type)

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
        properties: dict[str, Attribute] = {"predicate": _number(_ICMP[predicate], i64)}
        return self.make("icmp", (a, b), vector(i1, lanes_of(a.type)), properties)

    def fcmp(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """Float comparison, lane by lane."""
        properties: dict[str, Attribute] = {
            "predicate": _number(_FCMP[predicate], i64),
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
            "intrin": _string(name),
            "fastmathFlags": PLAIN,
            "op_bundle_sizes": _NO_BUNDLES,
            "operandSegmentSizes": _segments(len(args), 0),
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
            "operandSegmentSizes": _segments(len(args), 0),
        }
        op = self.insert(xllvm.CallOp, args, result, properties)
        return op.results[0] if result is not None else None

    # ---- vectors ----

    def splat(self, scalar: SSAValue, lanes: int) -> SSAValue:
        """A scalar in every lane."""
        if lanes == 1:
            return scalar
        owner = scalar.owner
        if isinstance(owner, xllvm.ConstantOp):
            attr = owner.value
            assert isinstance(attr, FloatAttr | IntegerAttr)
            return self.constant(attr.value.data, vector(scalar.type, lanes))
        type_ = vector(scalar.type, lanes)
        zero = self.constant(0, i32)
        first = self.make("insertelement", (self.poison(type_), scalar, zero), type_)
        return self.shuffle(first, self.poison(type_), [0] * lanes)

    def shuffle(self, a: SSAValue, b: SSAValue, mask: Sequence[int]) -> SSAValue:
        """Lanes of `a` then `b` chosen by number."""
        type_ = vector(element_of(a.type), len(mask))
        properties: dict[str, Attribute] = {
            "mask": DenseArrayBase.from_list(i32, list(mask))
        }
        return self.make("shufflevector", (a, b), type_, properties)

    def extract(self, vector_: SSAValue, lane: Value) -> SSAValue:
        """One lane."""
        index = self.value(lane, i32)
        return self.make("extractelement", (vector_, index), element_of(vector_.type))

    def insert_lane(self, vector_: SSAValue, item: SSAValue, lane: Value) -> SSAValue:
        """The vector with one lane replaced."""
        index = self.value(lane, i32)
        return self.make("insertelement", (vector_, item, index), vector_.type)

    def iota(self, lanes: int, element: Attribute = i64) -> SSAValue:
        """`0, 1, 2, ...`."""
        if lanes == 1:
            return self.constant(0, element)
        return self.constants(range(lanes), element)

    # ---- memory ----

    def gep(self, base: SSAValue, index: Value, element: Attribute) -> SSAValue:
        """`base + index * sizeof(element)`."""
        if isinstance(index, int):
            if index == 0:
                return base
            if not -(2**31) < index < 2**31:
                return self.gep(base, self.constant(index, i64), element)
            indices, operands = (index,), (base,)
        else:
            indices, operands = (xllvm.GEP_USE_SSA_VAL,), (base, index)
        type_ = base.type
        if isinstance(index, SSAValue) and isinstance(index.type, VectorType):
            type_ = VectorType(PTR, index.type.shape)
        return self.make("getelementptr", operands, type_, _gep(indices, element))

    def load(self, pointer: SSAValue, type_: Attribute, align: int) -> SSAValue:
        """Read memory."""
        properties: dict[str, Attribute] = {
            "ordering": _number(0, i64),
            "alignment": _number(align, i64),
        }
        return self.make("load", (pointer,), type_, properties)

    def load_relaxed(self, pointer: SSAValue, type_: Attribute, align: int) -> SSAValue:
        """Read memory that others may be writing."""
        properties: dict[str, Attribute] = {
            "ordering": _number(2, i64),
            "alignment": _number(align, i64),
        }
        return self.make("load", (pointer,), type_, properties)

    def store(self, value: SSAValue, pointer: SSAValue, align: int) -> None:
        """Write memory."""
        properties: dict[str, Attribute] = {
            "ordering": _number(0, i64),
            "alignment": _number(align, i64),
        }
        self.insert(xllvm.StoreOp, (value, pointer), None, properties)

    def store_release(self, value: SSAValue, pointer: SSAValue, align: int) -> None:
        """Write memory after all that was written before."""
        properties: dict[str, Attribute] = {
            "ordering": _number(5, i64),
            "alignment": _number(align, i64),
        }
        self.insert(xllvm.StoreOp, (value, pointer), None, properties)

    def exchange(self, pointer: SSAValue, value: SSAValue) -> SSAValue:
        """Write memory and give the old value, before all that comes after."""
        properties: dict[str, Attribute] = {
            "bin_op": _string("xchg"),
            "ordering": _string("acquire"),
        }
        return self.make("atomicrmw", (pointer, value), value.type, properties)

    def alloca(self, element: Attribute, count: int, align: int = 64) -> SSAValue:
        """Stack memory, made once on entry of the function."""
        size = self.constant(count, i64)
        op = xllvm.AllocaOp.create(
            operands=(size,),
            properties={"alignment": IntegerAttr(align, 64), "elem_type": element},
            result_types=(PTR,),
            location=self.location,
        )
        assert isinstance(size.owner, Operation)
        self.entry.insert_op_after(op, size.owner)
        return op.results[0]

    # ---- control ----

    def new_block(self, arg_types: Sequence[Attribute] = ()) -> Block:
        """A new block at the end of the function."""
        block = Block(arg_types=arg_types)
        self.region.add_block(block)
        return block

    def br(self, to: Block, *args: SSAValue) -> Operation:
        """Branch."""
        return self.insert(xllvm.BrOp, args, None, None, (to,))

    def cond_br(
        self,
        cond: SSAValue,
        then: Block,
        then_args: Sequence[SSAValue],
        other: Block,
        other_args: Sequence[SSAValue],
        unroll: int | None = None,
    ) -> Operation:
        """Branch on an `i1`; `unroll` is the hint of the loop it closes."""
        properties: dict[str, Attribute] = {
            "operandSegmentSizes": _segments(1, len(then_args), len(other_args))
        }
        return self.insert(
            xllvm.CondBrOp,
            (cond, *then_args, *other_args),
            None,
            properties,
            (then, other),
            None if unroll is None else {llvm.UNROLL: _number(unroll, i64)},
        )

    @contextmanager
    def loop(
        self,
        trip: Value,
        carried: Sequence[SSAValue] = (),
        unroll: int | None = None,
        *,
        at_least_once: bool | None = None,
    ) -> Generator[Loop]:
        """A counted loop, tested at its end.

        ```python
        with b.loop(n, [zero]) as loop:
            loop.results = [b.binary("fadd", loop.args[0], x(loop.index))]
        total = loop.results[0]
        ```
        """
        if at_least_once is None:
            at_least_once = isinstance(trip, int) and trip > 0
        types = [v.type for v in carried]
        body = self.new_block([self.index_type, *types])
        zero = self.constant(0, self.index_type)
        done: Block | None = None
        if at_least_once:
            entry = self.br(body, zero, *carried)
        else:
            done = Block(arg_types=types)
            some = self.compare("sgt", trip, 0)
            entry = self.cond_br(some, body, (zero, *carried), done, carried)
        self.block = body
        state = Loop(body.args[0], list(body.args[1:]), [], entry)
        yield state
        if len(state.results) != len(carried):
            raise ValueError(
                f"expected {len(carried)} loop results, got {len(state.results)}"
            )
        step = self.binary("add", state.index, self.constant(1, self.index_type))
        more = self.compare("slt", step, trip)
        if done is None:
            # The body's own values are visible below it: no block arguments needed.
            done = self.new_block()
            self.cond_br(more, body, (step, *state.results), done, (), unroll)
        else:
            self.region.add_block(done)
            self.cond_br(
                more, body, (step, *state.results), done, state.results, unroll
            )
            state.results = list(done.args)
        self.block = done

    @contextmanager
    def when(self, cond: SSAValue) -> Generator[None]:
        """Ops that run only where `cond` holds."""
        then, done = self.new_block(), Block()
        self.cond_br(cond, then, (), done, ())
        self.block = then
        yield
        self.br(done)
        self.region.add_block(done)
        self.block = done

    def ret(self, value: SSAValue | None = None) -> None:
        """Return."""
        self.insert(xllvm.ReturnOp, () if value is None else (value,))


@dataclass
class Loop:
    """A loop under construction: its counter, its carried values, their next values.

    `entry` is the branch that enters it.
    """

    index: SSAValue
    args: Sequence[SSAValue]
    results: Sequence[SSAValue]
    entry: Operation


@lru_cache(maxsize=256)
def _segments(*sizes: int) -> DenseArrayBase:
    return DenseArrayBase.from_list(i32, sizes)


@lru_cache(maxsize=4096)
def _gep_cached(indices: tuple[int, ...], element: Attribute) -> dict[str, Attribute]:
    return {
        "rawConstantIndices": DenseArrayBase.from_list(i32, indices),
        "elem_type": element,
        "noWrapFlags": IntegerAttr(0, 32),
    }


def _gep(indices: tuple[int, ...], element: Attribute) -> dict[str, Attribute]:
    return dict(_gep_cached(indices, element))


_FLOATS = (BFloat16Type, Float16Type, Float32Type, Float64Type)


def _constant_attr(value: float, type_: Attribute) -> Attribute:
    element = element_of(type_)
    if isinstance(type_, VectorType):
        return _dense(type_, [value])
    if isinstance(element, IntegerType):
        return IntegerAttr(_wrapped(int(value), element), element)
    assert isinstance(element, _FLOATS)
    return FloatAttr(float(value), element)


def _dense(type_: VectorType, values: Sequence[float]) -> Attribute:
    element = type_.element_type
    if len(values) == 1:
        values = list(values) * type_.get_shape()[0]
    if isinstance(element, IntegerType):
        numbers = [_wrapped(int(v), element) for v in values]
        of_integers = VectorType(element, type_.shape)
        return DenseIntOrFPElementsAttr.from_list(of_integers, numbers)
    assert isinstance(element, _FLOATS)
    of_floats = VectorType(element, type_.shape)
    return DenseIntOrFPElementsAttr.from_list(of_floats, [float(v) for v in values])


def _wrapped(value: int, type_: IntegerType) -> int:
    """The value's bits as a signed number of the type's width."""
    width = type_.width.data
    value &= (1 << width) - 1
    if width == 1:
        return value
    return value - (1 << width) if value >> (width - 1) else value
