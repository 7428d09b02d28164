"""The state of the conversion of one kernel: values, threads, shared memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import (
    IndexType,
    IntAttr,
    IntegerAttr,
    SymbolRefAttr,
    i8,
    i32,
)
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.indices import IndexSpace
from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.scalars.elements import carrier_type
from stepwell.codegen.views import View
from stepwell.dialects import nvvm
from stepwell.dialects.dims import Dim
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.target import Target
from stepwell.dialects.tile import (
    AccumulatorType,
    CursorType,
    Launch,
    SharedType,
    TileType,
)
from stepwell.dialects.tile.scratch import SHARED_REUSED, SHARED_STRIDE
from stepwell.errors import CompileError

from .registers import CARRIERS, Registers, layout_of, normal, usual_lanes

if TYPE_CHECKING:
    from .scalars import Scalars

SHARED = xllvm.LLVMPointerType(IntAttr(3))
CLUSTER = xllvm.LLVMPointerType(IntAttr(7))
GLOBAL = xllvm.LLVMPointerType(IntAttr(1))
SMEM = "smem"
"""The symbol of the dynamic shared memory."""


@dataclass(frozen=True)
class Shared:
    """A tile in shared memory, by its address."""

    kind: SharedType
    pointer: SSAValue


@dataclass(frozen=True)
class Ring:
    """Byte offsets of a ring: each tile's first stage, and the two barriers."""

    tiles: tuple[int, ...]
    full: int
    empty: int


@dataclass(frozen=True)
class Cursor:
    """Stage and phase."""

    stage: SSAValue
    phase: SSAValue


@dataclass(frozen=True)
class Plain:
    """A scalar, a tensor map's address, or an accumulator's registers."""

    value: SSAValue


Value: TypeAlias = Registers | Shared | Ring | Cursor | Plain


@dataclass(frozen=True)
class Group:
    """The threads that run now: a group of a role, or the whole block."""

    warps: int
    thread: SSAValue
    number: SSAValue | None = None
    """The group in the block; None for the whole block."""
    in_role: SSAValue | None = None
    """The group in its role."""


@dataclass
class Kernel:
    """What the rules share."""

    b: Builder
    target: Target
    launch: Launch
    group: Group
    space: IndexSpace
    scalars: Scalars
    convert: Callable[[Kernel, Operation], None]
    roots: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    deferred: dict[SSAValue, Callable[[], None]] = field(
        default_factory=dict[SSAValue, Callable[[], None]]
    )
    values: dict[SSAValue, Value] = field(default_factory=dict[SSAValue, Value])
    offsets: dict[Operation, int | Ring] = field(
        default_factory=dict[Operation, "int | Ring"]
    )

    # ---- values ----

    def scalar(self, value: SSAValue) -> SSAValue:
        """The LLVM value of a scalar, a tensor map or an accumulator."""
        if isinstance(value.type, IndexType):
            return self.space.value(self.space.of(value))
        known = self.values[value]
        if not isinstance(known, Plain):
            raise CompileError(f"expected a scalar, got {value.type}")
        return known.value

    def index(self, value: SSAValue | int) -> SSAValue:
        """An index as an i32."""
        return self.number(value) if isinstance(value, int) else self.scalar(value)

    def dim(self, value: SSAValue | int) -> Dim:
        """An index as an expression."""
        return self.space.of(value)

    def bind(self, value: SSAValue, to: Value | SSAValue) -> None:
        """Say what a value has become."""
        if isinstance(value.type, IndexType) and isinstance(to, SSAValue):
            self.space.bind(value, self.space.leaf("v", to, None))
        else:
            self.values[value] = Plain(to) if isinstance(to, SSAValue) else to

    def registers(self, value: SSAValue) -> Registers:
        """What this thread holds of a tile."""
        waiting = self.deferred.pop(value, None)
        if waiting is not None:
            waiting()
        known = self.values[value]
        assert isinstance(known, Registers)
        return known

    def shared(self, value: SSAValue) -> Shared:
        """A tile in shared memory."""
        known = self.values[value]
        assert isinstance(known, Shared)
        return known

    def view(self, value: SSAValue) -> View:
        """The view behind a value."""
        return View(self.space, value, self.roots)

    def flatten(self, values: Sequence[SSAValue]) -> list[SSAValue]:
        """The LLVM values that make up tile values, for a loop."""
        flat: list[SSAValue] = []
        for value in values:
            if isinstance(value.type, TileType):
                self.registers(value)
            known = self.values.get(value)
            match known:
                case None:
                    flat.append(self.scalar(value))
                case Plain():
                    flat.append(known.value)
                case Cursor():
                    flat += [known.stage, known.phase]
                case Registers():
                    flat += normal(self.b, known).pieces
                case Shared():
                    flat.append(known.pointer)
                case Ring():
                    raise CompileError(f"a loop cannot carry {value.type}")
        return flat

    def unflatten(self, values: Sequence[SSAValue], flat: Sequence[SSAValue]) -> None:
        """The inverse of `flatten`, for values of the same types."""
        queue = iter(flat)
        for value in values:
            kind = value.type
            if isinstance(kind, CursorType):
                self.bind(value, Cursor(next(queue), next(queue)))
            elif isinstance(kind, TileType):
                count = layout_of(kind).registers // usual_lanes(kind)
                parts = tuple(next(queue) for _ in range(count))
                self.bind(value, Registers(kind, parts))
            elif isinstance(kind, SharedType):
                self.bind(value, Shared(kind, next(queue)))
            else:
                self.bind(value, next(queue))

    # ---- instructions ----

    def number(self, value: int) -> SSAValue:
        """A constant i32."""
        return self.b.constant(value, i32)

    def arith(self, name: str, a: SSAValue, value: int | SSAValue) -> SSAValue:
        """An i32 operation, left out where it changes nothing."""
        if isinstance(value, int):
            if (value == 0 and name in ("add", "sub", "shl", "lshr", "xor")) or (
                value == 1 and name in ("mul", "udiv")
            ):
                return a
            value = self.number(value)
        return self.b.binary(name, a, value)

    def nvvm(self, op: Operation) -> SSAValue | None:
        """Append an op of `nvvm`; its result if it has one."""
        op.location = self.b.location
        self.b.block.add_op(op)
        return op.results[0] if op.results else None

    def at(self, offset: int | SSAValue) -> SSAValue:
        """The address `offset` bytes into shared memory."""
        base = self.b.insert(
            xllvm.AddressOfOp,
            (),
            SHARED,
            {"global_name": SymbolRefAttr(SMEM)},
        ).results[0]
        return self.offset(base, offset)

    def offset(self, pointer: SSAValue, offset: int | SSAValue) -> SSAValue:
        """`pointer` moved by bytes."""
        return self.b.gep(pointer, offset, i8)

    def scratch(self, op: Operation) -> SSAValue:
        """The address of an op's scratch; the group meets first if it may be in use."""
        if SHARED_REUSED in op.attributes:
            self.group_barrier()
        return self.place(op)

    def place(self, op: Operation) -> SSAValue:
        """The address of the shared memory planned for an op, that of the own group."""
        start = self.offsets[op]
        assert isinstance(start, int)
        if SHARED_STRIDE not in op.attributes or self.group.number is None:
            return self.at(start)
        stride = integer(op, SHARED_STRIDE)
        own = self.arith("mul", self.group.in_role or self.group.number, stride)
        return self.at(self.arith("add", own, start))

    def is_leader(self) -> SSAValue:
        """Whether this is the first thread of the group."""
        return self.b.icmp("eq", self.group.thread, self.number(0))

    def group_barrier(self) -> None:
        """All threads of the group meet; barrier 0 is the block's."""
        group = self.group
        if group.number is None:
            self.nvvm(nvvm.BarrierOp())
            return
        barrier = self.arith("add", group.number, 1)
        self.nvvm(nvvm.BarrierOp(barrier, self.number(32 * group.warps)))


def integer(op: Operation, name: str) -> int:
    """An integer attribute of an op."""
    value = op.attributes[name]
    assert isinstance(value, IntegerAttr)
    return value.value.data


def llvm_type(kind: Attribute) -> Attribute:
    """The LLVM type of one value of a scalar type."""
    return carrier_type(kind, CARRIERS)


def accumulator_struct(kind: AccumulatorType) -> Attribute:
    """The LLVM type of an accumulator: its registers."""
    return nvvm.struct_of(kind.element_type, kind.registers)


def bytes_of(kind: Attribute, count: int = 1) -> int:
    """The size of `count` elements."""
    return bit_width(kind) * count // 8
