"""Loads and stores between global memory and registers, through access maps.

A register's element lies at an address that is an index expression. Registers whose
addresses are provably consecutive and aligned, and whose guards hold or fail together,
move as one vector; what the algebra cannot prove is tested. A load whose test fails
reads the first element of its view, which may always be read, and takes the fill value;
stores whose tests are the same share one branch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.elements import (
    carrier_type,
    element_bytes,
    load_conversion,
    storage_type,
    store_conversion,
)
from stepwell.codegen.views import View, position
from stepwell.dialects import tile
from stepwell.dialects.dims import (
    Dim,
    DimExpr,
    divisor,
    product,
    substitute,
    symbol,
    symbols_of,
)
from stepwell.dialects.layouts import TileLayout
from stepwell.dialects.quasi_affine import INDIRECT, coefficient, is_indirect
from stepwell.errors import CompileError

from .atomics import accumulate
from .kernel import Kernel
from .positions import holders, is_holder, positions
from .registers import CARRIERS, Registers, layout_of, split, take, usual_lanes

WIDEST = 16
"""Bytes of the widest access of a thread: PTX ISA, "Vectors"."""

MOST_ELEMENTS = 1 << 31

Guard = tuple[Dim, Dim]


@dataclass(frozen=True)
class Access:
    """One access of consecutive registers.

    Attributes:
        registers: which they are.
        address: of the first one, in elements.
        guards: what is not proved.
    """

    registers: tuple[int, ...]
    address: Dim
    guards: tuple[Guard, ...]


class Transfer:
    """The accesses of one op between memory and registers of a layout.

    Args:
        most: registers that one access may move.
    """

    def __init__(
        self,
        k: Kernel,
        op: tile.LoadOp | tile.StoreOp | tile.AsyncLoadOp,
        layout: TileLayout,
        most: int = WIDEST,
    ) -> None:
        self.k, self.layout, self.most = k, layout, most
        self.view = k.view(op.view)
        self.kind = self.view.type.element_type
        self.storage = storage_type(self.kind, CARRIERS)
        self.bytes = element_bytes(self.kind)
        self.element = tile.storage_type(self.kind)
        _expect_small(self.view)
        space = k.space
        index = [k.dim(i) for i in op.indices]
        for dim, target in enumerate(op.spanned):
            index[target] = index[target] + symbol(position(dim))
        self.extents = {position(d): n for d, n in enumerate(layout.extents)}
        address, guards, self.indirects = self.view.element(index)
        self.address = space.simplify(address, self.extents)
        known = [
            (space.simplify(e, self.extents), size)
            for e, size in guards
            if not space.is_within(e, size, self.extents)
        ]
        self.guards = list(dict.fromkeys(known))
        self.places = [positions(k, layout, d) for d in range(len(layout.extents))]
        self._parts: dict[Dim, tuple[Sequence[tuple[Dim, int]], Dim]] = {}
        self._known: dict[tuple[Dim, Hashable], Dim] = {}

    def accesses(self) -> list[Access]:
        """All accesses, each as wide as can be proved."""
        own, _ = holders(self.layout)
        addresses = {r: self._at(self.address, r) for r in own}
        guards = {r: self._guards(r) for r in own}
        width = self._width(own, addresses, guards)
        return [
            Access(own[s : s + width], addresses[own[s]], guards[own[s]])
            for s in range(0, len(own), width)
        ]

    def _values(self, register: int) -> dict[str, Dim]:
        return {position(d): place[register] for d, place in enumerate(self.places)}

    def _at(self, expr: Dim, register: int) -> Dim:
        """An expression of positions, for one register."""
        if isinstance(expr, int):
            return expr
        if expr not in self._parts:
            self._parts[expr] = self._split(expr)
        linear, total = self._parts[expr]
        if not isinstance(total, int):
            total = self._substituted(total, register)
        for factor, dim in linear:
            total = total + factor * self.places[dim][register]
        return total

    def _split(self, expr: Dim) -> tuple[Sequence[tuple[Dim, int]], Dim]:
        """Factors of the positions that `expr` is linear in, and the rest."""
        linear: list[tuple[Dim, int]] = []
        for dim in range(len(self.places)):
            found = coefficient(expr, position(dim))
            if found is None or found[0] == 0:
                continue
            if any(n in self.extents or is_indirect(n) for n in symbols_of(found[0])):
                continue
            linear.append((found[0], dim))
            expr = found[1]
        return linear, expr

    def _substituted(self, expr: DimExpr, register: int) -> Dim:
        """What is not linear; registers at the same positions share it."""
        used = [
            place[register]
            for dim, place in enumerate(self.places)
            if position(dim) in expr.symbols
        ]
        per_register = self.indirects and any(map(is_indirect, expr.symbols))
        key = (expr, register if per_register else tuple(used))
        if key not in self._known:
            values = self._values(register)
            if per_register:
                values |= self._indirect(register)
            self._known[key] = self.k.space.simplify(substitute(expr, values))
        return self._known[key]

    def _guards(self, register: int) -> tuple[Guard, ...]:
        space = self.k.space
        found = [(self._at(e, register), size) for e, size in self.guards]
        return tuple((e, size) for e, size in found if not space.is_within(e, size))

    def _width(
        self,
        own: Sequence[int],
        addresses: Mapping[int, Dim],
        guards: Mapping[int, Sequence[Guard]],
    ) -> int:
        """Registers per access: a power of two, the same for all accesses."""
        width = 1
        while (
            2 * width * self.bytes <= WIDEST
            and 2 * width <= self.most
            and len(own) % (2 * width) == 0
            and all(
                self._is_vector(own[s : s + 2 * width], addresses, guards)
                for s in range(0, len(own), 2 * width)
            )
        ):
            width *= 2
        return width

    def _is_vector(
        self,
        group: Sequence[int],
        addresses: Mapping[int, Dim],
        guards: Mapping[int, Sequence[Guard]],
    ) -> bool:
        first, count = group[0], len(group)
        if divisor(addresses[first]) % count:
            return False
        if any(addresses[r] - addresses[first] != n for n, r in enumerate(group)):
            return False
        return all(
            self._holds_together(group, [self._at(e, r) for r in group], size)
            for e, size in self.guards
        )

    def _holds_together(
        self, group: Sequence[int], values: Sequence[Dim], size: Dim
    ) -> bool:
        """Whether a guard is true for all registers of a group or for none."""
        first = values[0]
        if all(v == first for v in values):
            return True
        space = self.k.space
        if all(space.is_within(v, size) for v in values):
            return True
        run = all(v - first == n for n, v in enumerate(values))
        count = len(group)
        return run and divisor(first) % count == 0 and divisor(size) % count == 0

    # ---- indirect terms ----

    def _indirect(self, register: int) -> dict[str, Dim]:
        """Leaves for the values that the index views hold for this register."""
        found: dict[str, Dim] = {}
        for number, (view, index) in enumerate(self.indirects):
            values = self._values(register)
            at = [self.k.space.simplify(substitute(e, values)) for e in index]
            found[f"{INDIRECT}{number}"] = read_index(self.k, view, at)
        return found

    # ---- code ----

    def pointer(self, address: Dim) -> SSAValue:
        """The root pointer plus `address` elements."""
        return self.k.space.pointer(self.view.root, address, self.storage)

    def align(self, count: int) -> int:
        """Bytes that an access of `count` elements is aligned to."""
        return self.bytes * count


def _expect_small(view: View) -> None:
    """Indices are 32 bits wide."""
    size = product(view.root_dims)
    if isinstance(size, int) and size >= MOST_ELEMENTS:
        raise CompileError(
            f"expected tensors of less than {MOST_ELEMENTS} elements on a GPU, got "
            f"{size}"
        )


def condition(k: Kernel, guards: Sequence[Guard]) -> SSAValue | None:
    """All guards as one `i1`; None where there is none."""
    total: SSAValue | None = None
    key = " & ".join(f"{e} < {size}" for e, size in guards)
    known = k.space.recall(f"all {key}")
    if isinstance(known, SSAValue):
        return known
    for expr, size in guards:
        one = _test(k, expr, size)
        total = one if total is None else k.b.binary("and", total, one)
    if total is not None:
        k.space.keep(f"all {key}", total)
    return total


def _test(k: Kernel, expr: Dim, size: Dim) -> SSAValue:
    key = f"guard {expr} < {size}"
    known = k.space.recall(key)
    if known is None:
        # Sizes are not negative, so one unsigned comparison tests both ends.
        known = k.b.icmp("ult", k.space.value(expr), k.space.value(size))
        k.space.keep(key, known)
    assert isinstance(known, SSAValue)
    return known


def read_index(k: Kernel, view: View, index: Sequence[Dim]) -> Dim:
    """The value of an integer view at an index, as a leaf; 0 outside of it."""
    address, guards, nested = view.element(index)
    if nested:
        raise CompileError("expected a direct index view, got an indirect one")
    space = k.space
    address = space.simplify(address)
    key = f"index {id(view.root)} {address}"
    known = space.recall(key)
    if known is None:
        open_guards = [(e, s) for e, s in guards if not space.is_within(e, s)]
        known = space.leaf("ix", _load_index(k, view, address, open_guards), None)
        space.keep(key, known)
    assert isinstance(known, int | DimExpr)
    return known


def _load_index(
    k: Kernel, view: View, address: Dim, guards: Sequence[tuple[Dim, Dim]]
) -> SSAValue:
    """The integer at an address, as an index; 0 where a guard fails."""
    space, b, kind = k.space, k.b, view.type.element_type
    storage = storage_type(kind, CARRIERS)
    inside = condition(k, guards)
    pointer = b.gep(view.root, space.emit(address), storage)
    if inside is not None:
        pointer = b.select(inside, pointer, view.root)
    value = b.load(pointer, storage, element_bytes(kind))
    value = _as_index(k, value, unsigned="ui" in str(kind))
    return value if inside is None else b.select(inside, value, k.number(0))


def _as_index(k: Kernel, value: SSAValue, *, unsigned: bool) -> SSAValue:
    kind, index = value.type, CARRIERS.index
    assert isinstance(kind, IntegerType)
    if kind.width.data > index.width.data:
        return k.b.cast("trunc", value, index)
    return k.b.cast("zext" if unsigned else "sext", value, index)


def load(k: Kernel, op: Operation) -> None:
    """`tile.load`."""
    assert isinstance(op, tile.LoadOp)
    kind = tile.tile_of(op.result)
    layout = layout_of(kind)
    transfer = Transfer(k, op, layout)
    fill = _fill(op, transfer.view)
    parts: dict[int, SSAValue] = {}
    width = 1
    for access in transfer.accesses():
        width = len(access.registers)
        parts[access.registers[0]] = _load(k, transfer, access, fill)
    k.bind(op.result, spread(k, kind, parts, width))


def spread(
    k: Kernel, kind: tile.TileType, parts: Mapping[int, SSAValue], width: int
) -> Registers:
    """Parts of `width` registers, by their first one; other registers repeat them."""
    layout = layout_of(kind)
    own, _ = holders(layout)
    held = Registers(kind, tuple(parts[own[s]] for s in range(0, len(own), width)))
    if len(own) == layout.registers:
        return held
    spare = layout.base.free_bits()["register"]
    count = layout.base.input_sizes["register"]
    at = {r: n for n, r in enumerate(own)}
    sources = [
        at[(r // count) * count + (r % count & ~spare)] for r in range(layout.registers)
    ]
    return reordered(k, held, kind, sources)


def reordered(
    k: Kernel, held: Registers, kind: tile.TileType, sources: Sequence[int]
) -> Registers:
    """A tile whose register r is register `sources[r]` of another one."""
    lanes = usual_lanes(kind)
    starts = range(0, len(sources), lanes)
    return Registers(
        kind, tuple(take(k.b, held, sources[s : s + lanes]) for s in starts)
    )


def _fill(op: tile.LoadOp, view: View) -> float:
    if op.fill is not None:
        assert isinstance(op.fill, FloatAttr | IntegerAttr)
        return op.fill.value.data
    if view.access is not None and view.access.fill is not None:
        return view.access.fill
    return 0


def fetch(k: Kernel, transfer: Transfer, access: Access, bits: int | None) -> SSAValue:
    """What lies in memory; where a guard fails the first element, or zero bits."""
    b, count = k.b, len(access.registers)
    pointer = transfer.pointer(access.address)
    inside = condition(k, access.guards)
    if inside is not None:
        pointer = b.select(inside, pointer, transfer.view.root)
    kind = vector(transfer.storage, count)
    stored = b.load(pointer, kind, transfer.align(count))
    if inside is None or bits is None:
        return stored
    return b.select(inside, stored, b.constant(bits, kind))


def _load(k: Kernel, transfer: Transfer, access: Access, fill: float) -> SSAValue:
    b, count = k.b, len(access.registers)
    stored = fetch(k, transfer, access, None)
    inside = condition(k, access.guards)
    value = load_conversion(b, stored, transfer.element, CARRIERS)
    if inside is None:
        return value
    other: Attribute = vector(carrier_type(transfer.element, CARRIERS), count)
    return b.select(inside, value, b.constant(fill, other))


def store(k: Kernel, op: Operation) -> None:
    """`tile.store`: one branch for all accesses with the same guards."""
    assert isinstance(op, tile.StoreOp)
    held = k.registers(op.tile)
    transfer = Transfer(k, op, held.layout)
    kind = None if op.accumulate is None else op.accumulate.data
    groups: dict[tuple[Guard, ...], list[Access]] = {}
    for access in transfer.accesses():
        groups.setdefault(access.guards, []).append(access)
    holder = is_holder(k, held.layout)
    for guards, accesses in groups.items():
        inside = condition(k, guards)
        if inside is not None and holder is not None:
            inside = k.b.binary("and", inside, holder)
        inside = holder if inside is None else inside
        if inside is None:
            _store_all(k, transfer, held, accesses, kind)
            continue
        with k.b.when(inside), k.space.scope():
            _store_all(k, transfer, held, accesses, kind)


def _store_all(
    k: Kernel,
    transfer: Transfer,
    held: Registers,
    accesses: Sequence[Access],
    kind: str | None,
) -> None:
    for access in accesses:
        value = take(k.b, held, access.registers)
        if kind is not None:
            pointer = transfer.pointer(access.address)
            for lane, one in enumerate(split(k.b, value, 1)):
                at = k.b.gep(pointer, lane, transfer.storage)
                accumulate(k, kind, one, at)
            continue
        value = store_conversion(k.b, value, transfer.element, CARRIERS)
        pointer = transfer.pointer(access.address)
        k.b.store(value, pointer, transfer.align(len(access.registers)))


Rule = Callable[[Kernel, Operation], None]


def access(k: Kernel, op: Operation) -> None:
    """A view is looked through where memory is read or written."""


RULES: dict[type[Operation], Rule] = {
    tile.AccessOp: access,
    tile.LoadOp: load,
    tile.StoreOp: store,
}
"""The rules of this file."""
