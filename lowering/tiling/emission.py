"""From structured ops to tile ops: reads, bodies and writes at one frame.

`KernelProgram` knows where each tensor of a kernel is: in memory (a view), or held by
the program as a tile that an earlier op computed. The converters of the anchors decide
the loops; what happens at one place of the iteration space is written here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from stepwell.dialects.access import AccessMap
from stepwell.dialects.fusion import (
    Combine,
    DimOp,
    GenericOp,
    IndexOp,
    Iterator,
    KernelOp,
    StructuredOp,
)
from stepwell.dialects.quasi_affine import as_symbol, floor_divide, modulo
from stepwell.dialects.shapes import (
    Dim,
    Shape,
    dims_of,
    element_of,
    is_zero_or_more,
    substitute,
    symbols_of,
)
from stepwell.dialects.tile import (
    AccessOp,
    CombineKind,
    LoadOp,
    StoreOp,
    TileType,
    ViewType,
    storage_type,
    tile_of,
    view_of,
)
from stepwell.errors import CompileError

from .bodies import index_dims, kernel_symbols, needed_values, scalar_key
from .combines import combine_op, identity
from .frame import Frame
from .packed import apply_split, find_split
from .program import Program


@dataclass(frozen=True)
class Accumulator:
    """A tile that a value is combined into.

    Attributes:
        kind: how.
        element: the element type of the tensor that is accumulated.
        tile: the value so far.
        ragged: the dims along which the tile may reach past the size; what lies there
            does not count.
    """

    kind: Combine
    element: Attribute
    tile: SSAValue
    ragged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A view over a frame's dims, and where the frame stands in it."""

    view: SSAValue
    indices: tuple[Dim, ...]
    over: tuple[int, ...]


class KernelProgram:
    """The program of one kernel while it is written.

    Attributes:
        program: the builder.
        views: the memory of each tensor that the kernel is given.
        outputs: the memory of each tensor that the kernel yields.
        tiles: the tensors that the program holds.
        shared: scalars of bodies that the program holds for a tile, by what they are.
    """

    def __init__(self, kernel: KernelOp, grid: Sequence[Dim], name: str) -> None:
        tensors = [*kernel.block.args, *kernel.outputs]
        types = [ViewType(dims_of(v), element_of(v)) for v in tensors]
        self.kernel = kernel
        self.program = Program(name, types, grid, kernel_symbols(kernel))
        arguments = self.program.func.args
        count = len(kernel.block.args)
        self.views: dict[SSAValue, SSAValue] = dict(
            zip(kernel.block.args, arguments[:count], strict=True)
        )
        named = [*kernel.inputs, *kernel.outputs]
        for argument, value in zip(arguments, named, strict=True):
            argument.name_hint = value.name_hint
        self.outputs: dict[SSAValue, list[SSAValue]] = {}
        self.tiles: dict[SSAValue, SSAValue] = {}
        self.shared: dict[Hashable, SSAValue] = {}
        for value, view in zip(kernel.yielded, arguments[count:], strict=True):
            self._bind_output(value, view)

    def _bind_output(self, value: SSAValue, view: SSAValue) -> None:
        """Let `view` be the memory of `value`, and of what it is written into."""
        self.outputs.setdefault(value, []).append(view)
        owner = value.owner
        if isinstance(owner, StructuredOp) and owner.dests:
            destination = owner.dests[owner.results.index(value)]
            if isinstance(destination.owner, StructuredOp):
                self._bind_output(destination, view)

    def memory_of(self, value: SSAValue) -> SSAValue:
        """The memory of a tensor.

        Raises:
            CompileError: it stands between two ops and was not kept as a tile.
        """
        if value in self.views:
            return self.views[value]
        if value in self.outputs:
            return self.outputs[value][0]
        raise CompileError(
            f"the schedule of {self.kernel.kernel_name.data} does not keep a tensor "
            "that one of its ops reads",
            where=str(self.kernel.location),
        )

    # Reads and writes.

    def read(self, op: StructuredOp, position: int, frame: Frame) -> SSAValue:
        """The tile of input `position` of `op`.

        Its extent is 1 along axes that the access map does not use.

        Raises:
            CompileError: it comes from another op of the kernel, and is read elsewhere
                than written: a tile has the value at the frame's own place only.
        """
        value = op.inputs[position]
        owner = value.owner
        if value in self.tiles:
            if isinstance(owner, StructuredOp):
                self._check_place(op, position, owner)
            return self.tiles[value]
        if isinstance(owner, GenericOp) and value not in self.views:
            self._check_place(op, position, owner)
            return self.compute(owner, frame)[owner.results.index(value)]
        access = op.in_maps[position].simplify(op.extents)
        extents = frame.extents_over(access.used_dims)
        kind = TileType(extents, storage_type(element_of(value)))
        place = self.place(op, self.memory_of(value), access, frame, reads=True)
        offsets = [self.program.offset(index) for index in place.indices]
        key = ("load", place, kind)
        return self.program.once(key, LoadOp, place.view, offsets, place.over, kind)

    def _check_place(
        self, op: StructuredOp, position: int, writer: StructuredOp
    ) -> None:
        """Refuse to read a result of `writer` anywhere but where it is written."""
        read = op.in_maps[position].simplify(op.extents)
        result = writer.results.index(op.inputs[position])
        written = writer.out_maps[result].simplify(writer.extents)
        if read.results == written.results and not read.guards and not read.indirects:
            return
        raise CompileError(
            f"kernel {self.kernel.kernel_name.data} writes a tensor at {written} and "
            f"reads it at {read}",
            notes=["between two ops of a kernel, a tensor is read where it is written"],
            where=str(op.location),
        )

    def write(
        self, op: StructuredOp, position: int, tile: SSAValue, frame: Frame
    ) -> None:
        """Store result `position` of `op` wherever the kernel yields it.

        A map into a destination combines with what is there.
        """
        access = op.out_maps[position].simplify(op.extents)
        kind = op.combines[position]
        combines = bool(op.dests) and kind is not Combine.SET
        accumulate = CombineKind(kind.value) if combines else None
        for target in self.outputs.get(op.outputs[position], ()):
            place = self.place(op, target, access, frame)
            offsets = [self.program.offset(index) for index in place.indices]
            store = StoreOp(tile, place.view, offsets, place.over, accumulate)
            self.program.insert(store)

    def place(
        self,
        op: StructuredOp,
        memory: SSAValue,
        access: AccessMap,
        frame: Frame,
        *,
        reads: bool = False,
    ) -> Place:
        """`memory` under `access` as a view, and the frame's place in it.

        A view that is only read reaches as far along parallel dims as the memory does:
        tiles at the end of a padded tensor then need no mask.
        """
        sizes = dict.fromkeys(frame.names, 1) | op.extents
        # A dim of size 1, or that the op does not have, stands at 0 in every frame.
        base = {n: 0 if sizes[n] == 1 else frame.base.get(n, 0) for n in sizes}
        axes = {name: name for name in frame.names}
        while (split := find_split(access, frame.axes, base)) is not None:
            access, sizes = apply_split(access, split, sizes, view_of(memory).dims)
            at = base[split.dim]
            base[split.outer] = floor_divide(at, split.factor, {})
            base[split.inner] = modulo(at, split.factor, {})
            axes[split.dim] = split.inner
        access, kept = _without_units(access, sizes, set(axes.values()))
        if not reads:
            sizes |= _clipped(access, sizes, view_of(memory).dims)
            # A result has one element along what was reduced, even if that was empty.
            beside = {axes[name] for name in frame.names} - access.used_dims
            sizes |= dict.fromkeys(beside, 1)
            base |= dict.fromkeys(beside, 0)
        if reads:
            parallel = set(op.dims_of_kind(Iterator.PARALLEL))
            shape = view_of(memory).dims
            sizes |= _reachable(access, sizes, shape, parallel & axes.keys())
        view = self._view(op, memory, access.with_dims(kept), [sizes[n] for n in kept])
        over = tuple(kept.index(axes[name]) for name in frame.names)
        return Place(view, tuple(base[name] for name in kept), over)

    def _view(
        self,
        op: StructuredOp,
        memory: SSAValue,
        access: AccessMap,
        sizes: Sequence[Dim],
    ) -> SSAValue:
        if access.is_identity and tuple(sizes) == view_of(memory).dims:
            return memory
        operands = list(dict.fromkeys(i.operand for i in access.indirects))
        indices = [self.memory_of(op.inputs[operand]) for operand in operands]
        access = access.shift_operands(operands.index)
        key = ("access", memory, access, tuple(sizes), *indices)
        return self.program.outermost(key, AccessOp, memory, access, sizes, indices)

    # Bodies.

    def compute(
        self,
        op: StructuredOp,
        frame: Frame,
        roots: Sequence[SSAValue] | None = None,
        accumulators: Sequence[Accumulator] = (),
    ) -> list[SSAValue]:
        """Scalars of the body of `op`, as tiles over the whole frame.

        Args:
            roots: the scalars; by default those that the body yields.
            accumulators: one for each root, or none at all.
        """
        roots = list(op.yielded if roots is None else roots)
        held = self._held(op, roots, frame)
        needed = needed_values(op, roots, held)
        positions = [n for n, arg in enumerate(op.block.args) if arg in needed]
        tiles = [self.read(op, n, frame) for n in positions]
        if not accumulators and _are_arguments(op, roots, positions):
            whole = [tiles[positions.index(_argument(r))] for r in roots]
            if all(tile_of(t).extents == frame.extents for t in whole):
                return whole
        wanted = index_dims(needed) | {d for a in accumulators for d in a.ragged}
        axes = [name for name in frame.names if name in wanted]
        inputs = [
            *tiles,
            *held.values(),
            *(a.tile for a in accumulators),
            *(
                self.program.positions(frame.extents, frame.names.index(n))
                for n in axes
            ),
        ]
        results = [TileType(frame.extents, root.type) for root in roots]
        with self.program.map(inputs, results) as body:
            scalars = iter(body.scalars)
            known: dict[SSAValue, SSAValue] = {}
            known |= {op.block.args[n]: next(scalars) for n in positions}
            known |= {value: next(scalars) for value in held}
            olds = [next(scalars) for _ in accumulators]
            places = self._places(frame, dict(zip(axes, scalars, strict=True)))
            self._copy(op, needed, known, places)
            values = [known.get(root, root) for root in roots]
            if accumulators:
                values = [
                    self._accumulate(one, old, value, op, places)
                    for one, old, value in zip(accumulators, olds, values, strict=True)
                ]
            body.yielded = values
        return body.results

    def share(self, op: StructuredOp, value: SSAValue, tile: SSAValue) -> None:
        """Let later bodies use `tile` where they compute the same scalar as `value`."""
        if not isinstance(value, BlockArgument):
            self.shared[scalar_key(op, value)] = tile

    def _held(
        self, op: StructuredOp, roots: Sequence[SSAValue], frame: Frame
    ) -> dict[SSAValue, SSAValue]:
        """Scalars of the body that a shared tile of the frame's shape holds."""
        if not self.shared:
            return {}
        found: dict[SSAValue, SSAValue] = {}
        for value in needed_values(op, roots):
            if isinstance(value, BlockArgument) or value.owner.parent is not op.block:
                continue
            tile = self.shared.get(scalar_key(op, value))
            if tile is not None and tile_of(tile).extents == frame.extents:
                found[value] = tile
        return found

    def _places(
        self, frame: Frame, positions: Mapping[str, SSAValue]
    ) -> dict[str, Dim]:
        """The index of an element along each dim, inside a map."""
        here = dict(frame.base)
        for name, position in positions.items():
            here[name] = here.get(name, 0) + self.program.local(name, position)
        return here

    def _copy(
        self,
        op: StructuredOp,
        needed: set[SSAValue],
        known: dict[SSAValue, SSAValue],
        places: Mapping[str, Dim],
    ) -> None:
        """Copy the needed ops of the body to where the builder stands."""
        for inner in op.block.ops:
            if not any(result in needed for result in inner.results):
                continue
            if all(result in known for result in inner.results):
                continue
            if isinstance(inner, IndexOp):
                here = {name: places.get(name, 0) for name in op.dim_names}
                known[inner.result] = self.program.index(substitute(inner.value, here))
            elif isinstance(inner, DimOp):
                known[inner.result] = self.program.index(inner.value)
            else:
                copy = inner.clone(known)
                self.program.insert(copy)
                known.update(zip(inner.results, copy.results, strict=True))

    def _accumulate(
        self,
        one: Accumulator,
        old: SSAValue,
        value: SSAValue,
        op: StructuredOp,
        places: Mapping[str, Dim],
    ) -> SSAValue:
        for name in one.ragged:
            inside = arith.CmpiOp(
                self.program.index(places[name]),
                self.program.index(op.extents[name]),
                "slt",
            )
            nothing = scalar_constant(identity(one.kind, one.element), value.type)
            operands = [self.program.value(inside), value, self.program.value(nothing)]
            value = self.program.value(arith.SelectOp(*operands))
        return self.program.value(combine_op(one.kind, one.element, old, value))


def scalar_constant(value: float, type_: Attribute) -> Operation:
    """`arith.constant` of a float, an integer or an index."""
    from stepwell.dialects.tile.assembly import scalar_attr

    return arith.ConstantOp(scalar_attr(value, type_))


def _without_units(
    access: AccessMap, sizes: Mapping[str, Dim], axes: set[str]
) -> tuple[AccessMap, list[str]]:
    """The map without dims that it does not use or that have one index only."""
    units = {n: 0 for n in access.dims if sizes[n] == 1 and n not in axes}
    access = access.substitute(units, access.dims)
    beside = [n for n in sizes if n in axes and n not in access.dims]
    kept = [n for n in access.dims if n in access.used_dims or n in axes]
    return access, [*kept, *beside]


def _clipped(
    access: AccessMap, sizes: Mapping[str, Dim], shape: Shape
) -> dict[str, Dim]:
    """The sizes of dims along which a result is shorter than the space (top-k)."""
    axes = zip(map(as_symbol, access.results), shape, strict=True)
    return {
        name: size
        for name, size in axes
        if name in access.dims and size != sizes[name]
        if is_zero_or_more(sizes[name] - size)
    }


def _reachable(
    access: AccessMap, sizes: Mapping[str, Dim], shape: Shape, dims: set[str]
) -> dict[str, Dim]:
    """The sizes of `dims` that walk along an axis of a longer tensor by themselves."""
    longer: dict[str, Dim] = {}
    for expr, size in zip(access.results, shape, strict=True):
        name = as_symbol(expr)
        if name in dims and is_zero_or_more(size - sizes[name]) and size != sizes[name]:
            longer[name] = size
    alone = {n: sum(n in symbols_of(e) for e in access.results) for n in longer}
    guarded = {n for g in access.guards for n in symbols_of(g.expr)}
    return {n: s for n, s in longer.items() if alone[n] == 1 and n not in guarded}


def _argument(value: SSAValue) -> int:
    return value.index if isinstance(value, BlockArgument) else -1


def _are_arguments(
    op: StructuredOp, roots: Sequence[SSAValue], positions: Sequence[int]
) -> bool:
    return all(root in op.block.args for root in roots) and bool(positions)
