"""A structured op taken apart, so that passes can change it and build it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr, StringAttr, TensorType
from xdsl.ir import Attribute, Block, BlockArgument, Region, SSAValue

from stepwell.dialects.access import AccessMap, Indirect
from stepwell.dialects.dims import Dim, substitute
from stepwell.dialects.fusion import GenericOp, IndexOp, KernelOp
from stepwell.dialects.fusion.structured import (
    Combine,
    Iterator,
    StructuredOp,
    storage_type,
)
from stepwell.dialects.quasi_affine import simplify
from stepwell.dialects.shapes import element_of

SHARED = ("dims", "sizes", "iterators", "input_maps", "output_maps", "combine")


@dataclass
class Nest:
    """The parts of a structured op; `build` puts the changed op in its place.

    `block` stays that of the op until then: its arguments follow `inputs`.
    """

    op: StructuredOp
    space: list[tuple[str, Dim, Iterator]]
    inputs: list[SSAValue]
    in_maps: list[AccessMap]
    out_maps: list[AccessMap]
    types: list[Attribute]
    combines: list[Combine]
    dests: list[SSAValue]
    results: list[SSAValue]
    changed: bool = False

    @staticmethod
    def of(op: StructuredOp) -> Nest:
        """Take `op` apart."""
        return Nest(
            op,
            list(op.space),
            list(op.inputs),
            list(op.in_maps),
            list(op.out_maps),
            list(op.outputs.types),
            list(op.combines),
            list(op.dests),
            list(op.results),
        )

    @property
    def block(self) -> Block:
        """The body."""
        return self.op.block

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the dims."""
        return tuple(name for name, _, _ in self.space)

    @property
    def extents(self) -> dict[str, Dim]:
        """The size of each dim, by name."""
        return {name: size for name, size, _ in self.space}

    def add_input(
        self, value: SSAValue, access: AccessMap, position: int | None = None
    ) -> BlockArgument:
        """One more input, the last, or at a position that has room; its scalar."""
        at = len(self.inputs) if position is None else position
        self.inputs.insert(at, value)
        self.in_maps.insert(at, access)
        self.changed = True
        return self.block.insert_arg(storage_type(element_of(value)), at)

    def make_room(self, position: int, count: int) -> None:
        """Renumber what indirect terms read, for `count` inputs added at `position`."""
        shift = self.after_room(position, count)
        self.in_maps = [access.shift_operands(shift) for access in self.in_maps]
        self.out_maps = [access.shift_operands(shift) for access in self.out_maps]

    @staticmethod
    def after_room(position: int, count: int) -> Callable[[int], int]:
        """The number an input has after `make_room` and the inputs added."""
        return lambda number: number + count if number >= position else number

    def remove_inputs(self, positions: Sequence[int]) -> None:
        """Drop inputs whose scalars have no uses; indirect terms are renumbered."""
        gone = set(positions)
        if not gone:
            return
        kept = [n for n in range(len(self.inputs)) if n not in gone]
        place = {old: new for new, old in enumerate(kept)}
        for position in sorted(gone, reverse=True):
            self.block.erase_arg(self.block.args[position])
        self.inputs = [self.inputs[n] for n in kept]
        self.in_maps = [self.in_maps[n].shift_operands(place.__getitem__) for n in kept]
        self.out_maps = [m.shift_operands(place.__getitem__) for m in self.out_maps]
        self.changed = True

    def index_operands(self) -> set[int]:
        """The inputs that indirect terms read."""
        return {
            indirect.operand
            for access in (*self.in_maps, *self.out_maps)
            for indirect in access.indirects
        }

    def map_indirects(self, change: Callable[[Indirect], Indirect]) -> None:
        """Apply `change` to every indirect term."""

        def over(access: AccessMap) -> AccessMap:
            moved = tuple(change(i) for i in access.indirects)
            return replace(access, indirects=moved) if access.indirects else access

        self.in_maps = [over(m) for m in self.in_maps]
        self.out_maps = [over(m) for m in self.out_maps]
        self.changed = True

    def reindex(
        self,
        values: Mapping[str, Dim],
        space: Sequence[tuple[str, Dim, Iterator]],
    ) -> None:
        """Iterate over `space` instead, with each old dim an expression of the new."""
        self.space = list(space)
        extents = self.extents

        def over(access: AccessMap) -> AccessMap:
            return access.substitute(values, self.names).simplify(extents)

        self.in_maps = [over(m) for m in self.in_maps]
        self.out_maps = [over(m) for m in self.out_maps]
        for op in list(self.block.ops):
            if isinstance(op, IndexOp):
                set_index(op, simplify(substitute(op.value, values), extents))
        self.changed = True

    def prune(self) -> None:
        """Merge inputs read alike, and drop those that nothing uses."""
        seen: dict[tuple[int, AccessMap], int] = {}
        for position, value in enumerate(self.inputs):
            key = (id(value), self.in_maps[position])
            first = seen.setdefault(key, position)
            if first != position:
                args = self.block.args
                args[position].replace_all_uses_with(args[first])
                if position in self.index_operands():
                    self.map_indirects(
                        lambda i, old=position, new=first: (
                            Indirect(new, i.index) if i.operand == old else i
                        )
                    )
        used = self.index_operands()
        dead = [
            n
            for n, argument in enumerate(self.block.args)
            if argument.first_use is None and n not in used
        ]
        self.remove_inputs(dead)

    def build(self) -> StructuredOp:
        """The op of these parts, in the old one's place; the old one if unchanged."""
        if not self.changed:
            return self.op
        old = self.op
        body = old.body
        new = type(old)(
            self.space,
            self.inputs,
            self.in_maps,
            self.out_maps,
            self.types,
            self.combines,
            dests=self.dests,
            body=Region(body.detach_block(0)),
            properties={k: v for k, v in old.properties.items() if _is_own(k)},
        )
        new.location = old.location
        new.attributes.update(old.attributes)
        parent = old.parent
        assert parent is not None
        parent.insert_op_before(new, old)
        for before, after in zip(self.results, new.results, strict=True):
            after.name_hint = before.name_hint
            before.replace_all_uses_with(after)
        old.detach()
        old.erase()
        self.op, self.results, self.changed = new, list(new.results), False
        return new


def _is_own(name: str) -> bool:
    return name not in SHARED and name != "operandSegmentSizes"


def set_index(op: IndexOp, value: Dim) -> None:
    """Give an index op another expression; a constant one becomes `arith.constant`."""
    if not isinstance(value, int):
        op.expression = StringAttr(str(value))
        return
    constant = arith.ConstantOp(IntegerAttr(value, IndexType()))
    constant.location = op.location
    block = op.parent
    assert block is not None
    block.insert_op_before(constant, op)
    op.result.replace_all_uses_with(constant.result)
    op.detach()
    op.erase()


def structured_ops(kernel: KernelOp) -> list[StructuredOp]:
    """The structured ops of a kernel, in order."""
    return [op for op in kernel.block.ops if isinstance(op, StructuredOp)]


def is_map(op: object) -> bool:
    """Whether an op is a generic of parallel dims that overwrites its results."""
    return (
        isinstance(op, GenericOp)
        and all(kind is Iterator.PARALLEL for kind in op.kinds)
        and all(kind is Combine.SET for kind in op.combines)
        and not op.dests
    )


def is_final_map(op: object) -> bool:
    """Whether an op is a map, or one that writes into a part of a larger tensor."""
    if is_map(op):
        return True
    return (
        isinstance(op, GenericOp)
        and all(kind is Iterator.PARALLEL for kind in op.kinds)
        and all(kind is Combine.SET for kind in op.combines)
        and not any(access.indirects for access in op.out_maps)
    )


def tensor(kind: Attribute) -> TensorType:
    """`kind`, known to be a tensor type."""
    assert isinstance(kind, TensorType)
    return kind
