"""Adds the ops of a Hopper program to blocks, and copies those of the old kernel."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

INDEX = IndexType()


@dataclass
class Emitter:
    """Adds ops to a block; `values` maps those of the old program to new ones."""

    block: Block
    values: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])

    def add(self, op: Operation) -> Operation:
        """Add an op."""
        self.block.add_op(op)
        return op

    def value(self, op: Operation) -> SSAValue:
        """Add an op and give its first result."""
        return self.add(op).results[0]

    def number(self, value: int) -> SSAValue:
        """A constant index."""
        return self.value(arith.ConstantOp(IntegerAttr(value, INDEX)))

    def nested(self, block: Block) -> Emitter:
        """An emitter into a block inside of this one."""
        return Emitter(block, dict(self.values))

    def old(self, value: SSAValue) -> SSAValue:
        """The new value of an old one; arithmetic is copied where it is first used."""
        if value not in self.values:
            assert isinstance(value.owner, Operation)
            self.copy(value.owner)
        return self.values[value]

    def index(self, value: SSAValue | int) -> SSAValue | int:
        """The new value of an index; a number stays one."""
        return value if isinstance(value, int) else self.old(value)

    def copy(self, op: Operation) -> None:
        """A copy of an op and of what it is computed from."""
        for inner in op.walk():
            for operand in inner.operands:
                if not _is_inside(operand, op):
                    self.old(operand)
        self.add(op.clone(self.values))

    def plus(self, index: SSAValue | int, offset: SSAValue | int) -> SSAValue | int:
        """The sum of two indices."""
        if isinstance(index, int) and isinstance(offset, int):
            return index + offset
        if 0 in (index, offset):
            return offset if index == 0 else index
        left, right = (
            self.number(v) if isinstance(v, int) else v for v in (index, offset)
        )
        return self.value(arith.AddiOp(left, right))


def _is_inside(value: SSAValue, op: Operation) -> bool:
    """Whether a value is defined in a region of `op`."""
    owner = value.owner
    block = owner if isinstance(owner, Block) else owner.parent
    while block is not None:
        parent = block.parent_op()
        if parent is op:
            return True
        block = None if parent is None else parent.parent
    return False


@contextmanager
def for_loop(
    e: Emitter,
    bounds: tuple[SSAValue, SSAValue, SSAValue],
    carried: Sequence[SSAValue],
) -> Generator[Loop]:
    """An `scf.for`: set `yielded` inside, read `results` behind it."""
    body = Block(arg_types=[INDEX, *(v.type for v in carried)])
    loop = Loop(e.nested(body), tuple(body.args))
    yield loop
    body.add_op(scf.YieldOp(*loop.yielded))
    op = e.add(scf.ForOp(*bounds, list(carried), body))
    loop.results = tuple(op.results)


@dataclass
class Loop:
    """A loop under construction."""

    body: Emitter
    args: tuple[SSAValue, ...]
    yielded: tuple[SSAValue, ...] = ()
    results: tuple[SSAValue, ...] = ()
