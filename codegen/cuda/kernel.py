"""The state of the conversion of one kernel: values, threads, shared memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import IndexType, IntAttr, SymbolRefAttr
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder, i8, i32
from stepwell.dialects import nvvm
from stepwell.dialects.access import AccessMap
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import LayoutAttr
from stepwell.dialects.tile import (
    AccumulatorType,
    CursorType,
    Launch,
    SharedType,
    TileType,
    ViewType,
)
from stepwell.errors import CompileError

SHARED = xllvm.LLVMPointerType(IntAttr(3))
CLUSTER = xllvm.LLVMPointerType(IntAttr(7))
GLOBAL = xllvm.LLVMPointerType(IntAttr(1))
SMEM = "smem"
"""The symbol of the dynamic shared memory."""


@dataclass(frozen=True)
class Registers:
    """A tile: what this thread holds, one value per register of the layout."""

    kind: TileType
    values: tuple[SSAValue, ...]


@dataclass(frozen=True)
class Shared:
    """A tile in shared memory, by its address."""

    kind: SharedType
    pointer: SSAValue


@dataclass(frozen=True)
class View:
    """Global memory, maybe through an access map."""

    kind: ViewType
    pointer: SSAValue
    access: AccessMap | None = None
    source: ViewType | None = None


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


Value: TypeAlias = Registers | Shared | View | Ring | Cursor | Plain


@dataclass(frozen=True)
class Group:
    """The threads that run now: a group of a role, or the whole block."""

    warps: int
    thread: SSAValue
    number: SSAValue | None = None
    """The group in the block; None for the whole block."""


@dataclass
class Kernel:
    """What the rules share."""

    b: Builder
    launch: Launch
    group: Group
    convert: Callable[[Kernel, Operation], None]
    values: dict[SSAValue, Value] = field(default_factory=dict[SSAValue, Value])
    offsets: dict[Operation, int | Ring] = field(
        default_factory=dict[Operation, "int | Ring"]
    )

    # ---- values ----

    def scalar(self, value: SSAValue) -> SSAValue:
        """The LLVM value of a scalar, a tensor map or an accumulator."""
        known = self.values[value]
        if not isinstance(known, Plain):
            raise CompileError(f"expected a scalar, got {value.type}")
        return known.value

    def index(self, value: SSAValue | int) -> SSAValue:
        """An index as an i32."""
        return self.number(value) if isinstance(value, int) else self.scalar(value)

    def bind(self, value: SSAValue, to: Value | SSAValue) -> None:
        """Say what a value has become."""
        self.values[value] = Plain(to) if isinstance(to, SSAValue) else to

    def flatten(self, values: Sequence[SSAValue]) -> list[SSAValue]:
        """The LLVM values that make up tile values, for a loop."""
        flat: list[SSAValue] = []
        for value in values:
            known = self.values[value]
            match known:
                case Plain():
                    flat.append(known.value)
                case Cursor():
                    flat += [known.stage, known.phase]
                case Registers():
                    flat += known.values
                case Shared():
                    flat.append(known.pointer)
                case _:
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
                count = registers_of(kind)
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


def registers_of(kind: TileType) -> int:
    """The number of registers that a thread holds of a tile.

    Raises:
        CompileError: the tile has no layout.
    """
    if not isinstance(kind.layout, LayoutAttr):
        raise CompileError(f"expected a tile with a layout, got {kind}")
    return kind.layout.data.registers


def llvm_type(kind: Attribute) -> Attribute:
    """The LLVM type of one value of a scalar type."""
    return i32 if isinstance(kind, IndexType) else kind


def accumulator_struct(kind: AccumulatorType) -> Attribute:
    """The LLVM type of an accumulator: its registers."""
    return nvvm.struct_of(kind.element_type, kind.registers)


def bytes_of(kind: Attribute, count: int = 1) -> int:
    """The size of `count` elements."""
    return bit_width(kind) * count // 8
