"""Decides which ops become one kernel.

One sweep over the ops of a straight-line stretch, in program order. An op joins the
kernel of one of its producers when that is legal and no cycle arises, else it opens a
kernel. Ops that only move data (`Role.MOVEMENT`) belong to nobody: every kernel that
can read through them takes a copy, and one is *materialised* (becomes a kernel of its
own, or stays a reshape outside kernels) only when something needs its result in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from xdsl.ir import Operation, SSAValue

from stepwell.dialects.dims import Dim
from stepwell.dialects.shapes import dims_of, num_elements

from .decompose.elementwise import CHEAP
from .roles import INDEXED, SEVERAL_PASSES, WINDOWED, Role, role_of

FOLLOWED_BY_POINTWISE = (
    Role.MAP,
    Role.POINTWISE,
    Role.CONTRACTION,
    Role.REDUCTION,
    Role.SCAN,
)
"""Kernels that take pointwise ops behind their anchor."""

PREFERENCE = (
    Role.CONTRACTION,
    Role.REDUCTION,
    Role.ATTENTION,
    Role.SCAN,
    Role.MAP,
    Role.POINTWISE,
)


DIRECT = frozenset({"nn.reshape", "nn.transpose", "nn.slice", "nn.broadcast_to"})
"""Movement that neither fills nor looks up: an index operand is read through it."""


KEPT_OUT: dict[Role, frozenset[str]] = {
    Role.CONTRACTION: frozenset({"nn.resize"}),
    # Their one dim cannot be read in two: a reshape in memory costs nothing.
    Role.SCAN: frozenset({"nn.reshape"}),
    Role.SORT: frozenset({"nn.reshape"}),
}
"""Movement that kernels around an anchor do not read through."""

NEVER_LOOKED_UP = frozenset({"nn.iota", "nn.pad"})
"""What must lie in memory before places in it are computed: a count has no memory, and
a margin no place in the memory of what it surrounds."""


UPDATES = 2
"""The operand of a scatter that holds what it writes."""

INSERTING = (Role.MAP, Role.POINTWISE, Role.CONTRACTION)
"""Kernels that can write their one result into a part of a larger tensor."""

BIJECTIVE = frozenset({"nn.reshape", "nn.transpose"})
"""Movement that keeps every element once."""


@dataclass(eq=False)
class Unit:
    """A kernel in the making, or one op outside kernels.

    Attributes:
        number: position among the units; the bit that stands for it.
        role: the anchor's role; `HOST` for an op outside kernels.
        ops: its ops, in program order.
        pulled: sources and movement ops it takes a copy of.
        needs: bits of the units it depends on, directly or not.
        reasons: why neighbours did not join.
    """

    number: int
    role: Role
    ops: list[Operation]
    pulled: dict[Operation, None] = field(default_factory=dict)
    needs: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def bit(self) -> int:
        """The unit as a bit of `needs`."""
        return 1 << self.number

    @property
    def space(self) -> tuple[Dim, ...]:
        """The shape of what the last op yields."""
        return dims_of(self.ops[-1].results[0])

    @property
    def is_kernel(self) -> bool:
        """Whether the unit becomes a `fusion.kernel`."""
        return self.role is not Role.HOST


class Partitioner:
    """Groups `ops`, a straight-line stretch of one block in program order."""

    def __init__(self, ops: Sequence[Operation]) -> None:
        self.ops = ops
        self.roles = {op: role_of(op) for op in ops}
        self.units: list[Unit] = []
        self.owner: dict[Operation, Unit] = {}
        self.recomputed: set[Operation] = set()

    def run(self, live_out: Iterable[SSAValue]) -> list[Unit]:
        """The units, each after those it depends on.

        Args:
            live_out: values needed in memory after the stretch.
        """
        for op in self.ops:
            if self.roles[op] is Role.MOVEMENT:
                self._sink(op)
            elif self.roles[op] is not Role.SOURCE:
                self._place(op)
        for value in live_out:
            self._materialise_value(value)
        return self._ordered([unit for unit in self.units if unit.ops])

    def _place(self, op: Operation) -> None:
        role = self.roles[op]
        if role is Role.HOST:
            unit = self._open(Role.HOST, op, pulls=False)
            unit.ops = [op]
            return
        if role is Role.POINTWISE:
            if self._join_producer(op):
                return
            if _is_one_cheap_number(op):
                self.recomputed.add(op)
                return
        if op.name == "nn.reduce" and self._join_sibling(op):
            return
        if role is Role.INSERT and self._insert_from_producer(op):
            return
        unit = self._open(role, op, pulls=True)
        if role in (Role.REDUCTION, Role.SCAN, Role.SORT):
            self._absorb_producers(unit, op)

    def _insert_from_producer(self, op: Operation) -> bool:
        """Let the kernel that makes a piece write it where it belongs."""
        piece, dest = op.operands
        unit = self._unit_of(piece)
        if unit is None or unit.role not in INSERTING or not piece.has_one_use():
            return False
        others = (r for o in unit.ops for r in o.results if r is not piece)
        if any(use.operation not in unit.ops for r in others for use in r.uses):
            return False
        before = self._unit_of(dest)
        if before is None or before is unit or before.needs & unit.bit:
            return False
        unit.ops.append(op)
        unit.role = Role.INSERT
        self.owner[op] = unit
        self._depend(unit, dest)
        self._spread(unit)
        return True

    def _join_sibling(self, op: Operation) -> bool:
        """Reduce the same rows of the same tensor in one kernel."""
        value = op.operands[0]
        for use in value.uses:
            other = use.operation
            unit = self.owner.get(other)
            if unit is not None and other.name == op.name and _same_rows(op, other):
                unit.ops.append(op)
                self.owner[op] = unit
                return True
        return False

    def _sink(self, op: Operation) -> None:
        """Let attention write its result where a movement op puts it."""
        value = op.operands[0] if op.operands else None
        unit = None if value is None else self._unit_of(value)
        if unit is None or unit.role is not Role.ATTENTION or op.name not in BIJECTIVE:
            return
        if value is not None and value.has_one_use():
            unit.ops.append(op)
            self.owner[op] = unit

    def _open(self, role: Role, op: Operation, *, pulls: bool) -> Unit:
        """A new unit of one op, its operands in memory or pulled in."""
        pulled: dict[Operation, None] = {}
        leaves = self._leaves(op, role, pulled) if pulls else self._materialised(op)
        unit = Unit(len(self.units), role, [op], pulled)
        self.units.append(unit)
        self.owner[op] = unit
        for leaf in leaves:
            self._depend(unit, leaf)
        return unit

    def _materialised(self, op: Operation) -> list[SSAValue]:
        values = [*op.operands, *_captured(op)]
        for value in values:
            self._materialise_value(value)
        return values

    def _leaves(
        self,
        op: Operation,
        anchor: Role,
        pulled: dict[Operation, None],
        *,
        direct: bool = False,
        looked_up: bool = False,
    ) -> list[SSAValue]:
        """The values `op`, in a kernel around `anchor`, reads from memory.

        It pulls in what it can. With `direct` the values are indices of a lookup, which
        themselves are not looked up. With `looked_up` the places are computed: a count
        of places must then lie in memory.
        """
        found: list[SSAValue] = []
        for position, value in enumerate(op.operands):
            source = self._lazy(value)
            as_index = direct or (op.name in INDEXED and position > 0)
            is_table = looked_up or (op.name in INDEXED and position == 0)
            if (
                source is not None
                and source.name not in KEPT_OUT.get(anchor, ())
                and not (is_table and source.name in NEVER_LOOKED_UP)
                and self._may_pull(op, position, source, as_index)
            ):
                found += self._leaves(
                    source, anchor, pulled, direct=as_index, looked_up=is_table
                )
                pulled[source] = None
            else:
                self._materialise_value(value)
                found.append(value)
        return found

    def _lazy(self, value: SSAValue) -> Operation | None:
        """The movement or source op that defines `value` and belongs to no unit."""
        op = value.owner
        if not isinstance(op, Operation) or op in self.owner:
            return None
        is_lazy = self.roles.get(op) in (Role.SOURCE, Role.MOVEMENT)
        return op if is_lazy or op in self.recomputed else None

    def _may_pull(
        self, op: Operation, position: int, source: Operation, as_index: bool
    ) -> bool:
        if as_index:
            return source.name in DIRECT
        role = self.roles[op]
        if self.roles[source] is Role.SOURCE:
            # What a scatter writes into, and where, is read from memory.
            return role is not Role.SCATTER or position == UPDATES
        if role is Role.CONTRACTION:
            return self._contraction_may_pull(op, position, source)
        if role is Role.SCATTER or (role is Role.INSERT and position == 1):
            return False
        if op.name in WINDOWED:
            return source.name in ("nn.pad", "nn.slice")
        return True

    def _contraction_may_pull(
        self, op: Operation, position: int, source: Operation
    ) -> bool:
        """Whether the operand's last dim stays the contiguous one."""
        if source.name in ("nn.slice", "nn.pad", "nn.broadcast_to"):
            return True
        if source.name == "nn.transpose":
            perm = source.value("perm")  # pyright: ignore[reportAttributeAccessIssue]
            keeps_last = perm[-1] == len(perm) - 1
            return keeps_last or (op.name == "nn.matmul" and position == 0)
        return source.name == "nn.reshape" and op.name == "nn.matmul"

    def _join_producer(self, op: Operation) -> bool:
        """Append a pointwise op to the kernel of one of its producers."""
        candidates = {
            unit.number: unit
            for value in op.operands
            if (unit := self._unit_of(value)) is not None and unit.is_kernel
        }
        ranked = sorted(candidates.values(), key=lambda u: _rank(u.role))
        for unit in ranked:
            reason = self._refusal(unit, op)
            if reason is None:
                self._join(unit, op)
                return True
            note = f"{op.name} does not join: {reason}"
            if note not in unit.reasons:
                unit.reasons.append(note)
        return False

    def _refusal(self, unit: Unit, op: Operation) -> str | None:
        """Why `op` cannot be the next pointwise op of `unit`; None if it can."""
        if unit.role not in FOLLOWED_BY_POINTWISE:
            return f"nothing follows {unit.role} in a kernel"
        space = dims_of(op.results[0])
        if space != unit.space:
            return f"its shape {_shape(space)} is not {_shape(unit.space)}"
        own = [value for value in op.operands if self._unit_of(value) is unit]
        if any(dims_of(value) != space for value in own):
            return "it broadcasts a result of the kernel"
        for value in op.operands:
            other = self._unit_through(value)
            if other is not None and other is not unit and other.needs & unit.bit:
                return "another operand depends on this kernel"
            source = self._lazy(value)
            if source is not None and self._reads_unit(source, unit):
                return "it reads the kernel's result at other places too"
        if not all(map(self._ends_in_pointwise, own)):
            return "its operand has other users"
        return None

    def _ends_in_pointwise(self, value: SSAValue) -> bool:
        """Whether all users of a kernel's result may join the kernel."""
        users = {use.operation for use in value.uses}
        return len(users) == 1 or all(
            self.roles.get(user) is Role.POINTWISE
            and dims_of(user.results[0]) == dims_of(value)
            for user in users
        )

    def _reads_unit(self, source: Operation, unit: Unit) -> bool:
        """Whether movement ops lead from `unit` to `source`."""
        for value in source.operands:
            lazy = self._lazy(value)
            if self._unit_of(value) is unit:
                return True
            if lazy is not None and self._reads_unit(lazy, unit):
                return True
        return False

    def _unit_through(self, value: SSAValue) -> Unit | None:
        """The unit behind `value`, or behind the movement ops it comes through."""
        source = self._lazy(value)
        if source is None or not source.operands:
            return self._unit_of(value)
        units = [self._unit_through(operand) for operand in source.operands]
        known = [unit for unit in units if unit is not None]
        return max(known, key=lambda unit: unit.number, default=None)

    def _join(self, unit: Unit, op: Operation) -> None:
        leaves = self._leaves(op, unit.role, unit.pulled)
        unit.ops.append(op)
        self.owner[op] = unit
        before = unit.needs
        for leaf in leaves:
            self._depend(unit, leaf)
        if unit.needs != before:
            self._spread(unit)

    def _absorb_producers(self, unit: Unit, op: Operation) -> None:
        """Merge pointwise kernels that nobody but `op` reads into its kernel."""
        for value in op.operands:
            producer = self._unit_of(value)
            if producer is None or producer is unit:
                continue
            reason = self._absorb_refusal(producer, op)
            if reason is None:
                self._merge(producer, unit)
            elif producer.is_kernel:
                producer.reasons.append(f"{op.name} does not take it in: {reason}")

    def _absorb_refusal(self, producer: Unit, op: Operation) -> str | None:
        if producer.role is not Role.POINTWISE:
            return f"it is a kernel around {producer.role}"
        kept_out = KEPT_OUT.get(self.roles[op], frozenset())
        if any(source.name in kept_out for source in producer.pulled):
            return "it reads through a reshape"
        members = set(producer.ops)
        for member in producer.ops:
            for result in member.results:
                if any(u.operation not in members | {op} for u in result.uses):
                    return "its result has other users"
        if op.name in WINDOWED:
            return "each element is read several times"
        cheap = all(member.name in CHEAP for member in producer.ops)
        if op.name in SEVERAL_PASSES and not cheap:
            return "it would be computed once per pass"
        return None

    def _merge(self, producer: Unit, unit: Unit) -> None:
        unit.ops = [*producer.ops, *unit.ops]
        unit.pulled = {**producer.pulled, **unit.pulled}
        unit.reasons = [*producer.reasons, *unit.reasons]
        unit.needs = (unit.needs | producer.needs) & ~producer.bit
        for op in producer.ops:
            self.owner[op] = unit
        producer.ops = []
        self._spread(unit)

    def _materialise_value(self, value: SSAValue) -> None:
        source = self._lazy(value)
        if source is None:
            return
        if self.roles[source] is Role.SOURCE or source.name == "nn.reshape":
            is_constant = source.name in ("nn.constant", "nn.reshape")
            role = Role.HOST if is_constant else Role.MAP
            self._open(role, source, pulls=not is_constant)
        else:
            is_number = source in self.recomputed
            self._open(Role.POINTWISE if is_number else Role.MAP, source, pulls=True)

    def _unit_of(self, value: SSAValue) -> Unit | None:
        op = value.owner
        return self.owner.get(op) if isinstance(op, Operation) else None

    def _depend(self, unit: Unit, value: SSAValue) -> None:
        other = self._unit_of(value)
        if other is not None and other is not unit:
            unit.needs |= other.bit | other.needs

    def _spread(self, unit: Unit) -> None:
        """Tell the units that depend on `unit` what it depends on."""
        for other in self.units:
            if other.needs & unit.bit:
                other.needs |= unit.needs

    def _ordered(self, units: list[Unit]) -> list[Unit]:
        """Topological order, early ops first."""
        position = {op: n for n, op in enumerate(self.ops)}
        alive = sum(unit.bit for unit in units)
        waiting = sorted(units, key=lambda unit: position[unit.ops[-1]])
        done = 0
        ordered: list[Unit] = []
        while waiting:
            ready = next(u for u in waiting if not u.needs & alive & ~done)
            waiting.remove(ready)
            ordered.append(ready)
            done |= ready.bit
        return ordered


def _is_one_cheap_number(op: Operation) -> bool:
    """Whether a pointwise op makes one element, better recomputed than stored."""
    cheap = op.name in CHEAP or op.name == "nn.div"
    return cheap and all(num_elements(result) == 1 for result in op.results)


def _same_rows(left: Operation, right: Operation) -> bool:
    return all(
        left.properties.get(name) == right.properties.get(name)
        for name in ("axes", "keepdims")
    )


def _rank(role: Role) -> int:
    return PREFERENCE.index(role) if role in PREFERENCE else len(PREFERENCE)


def _captured(op: Operation) -> list[SSAValue]:
    """Values from outside that the regions of `op` use."""
    inside = {inner for region in op.regions for inner in region.walk()}
    values: dict[SSAValue, None] = {}
    for inner in inside:
        for value in inner.operands:
            owner = value.owner
            owner_op = owner if isinstance(owner, Operation) else owner.parent_op()
            if owner_op is not op and owner_op not in inside:
                values[value] = None
    return list(values)


def _shape(dims: Sequence[Dim]) -> str:
    return f"[{', '.join(map(str, dims))}]"
