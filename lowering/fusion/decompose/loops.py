"""Emits structured ops in place of an `nn` op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects.access import AccessMap, Fill, Guard, Indirect
from stepwell.dialects.dims import Dim, symbol, symbols_of
from stepwell.dialects.fusion import GenericOp, YieldOp
from stepwell.dialects.fusion.structured import Combine, Iterator, StructuredOp
from stepwell.dialects.shapes import Shape, dims_of, element_of, tensor_type

from .scalars import Scalar, Scalars

Body = Callable[..., Scalar | Sequence[Scalar]]


@dataclass(frozen=True)
class Axis:
    """One dim of an iteration space."""

    name: str
    size: Dim
    kind: Iterator = Iterator.PARALLEL

    @property
    def var(self) -> Dim:
        """The dim as an expression; a dim of extent 1 is always 0."""
        return 0 if self.size == 1 else symbol(self.name)

    def reduced(self) -> Axis:
        """The same dim, reduced over."""
        return Axis(self.name, self.size, Iterator.REDUCTION)


@dataclass(frozen=True)
class Read:
    """How a structured op reads one tensor."""

    value: SSAValue
    index: Sequence[Dim]
    guards: Sequence[Guard] = ()
    fill: Fill | None = None
    indirects: Sequence[Indirect] = ()

    def access(self, dims: tuple[str, ...]) -> AccessMap:
        """The map over `dims`."""
        return AccessMap(
            dims,
            tuple(self.index),
            tuple(self.guards),
            self.fill if self.guards else None,
            tuple(self.indirects),
        )


@dataclass(frozen=True)
class Write:
    """Where a structured op writes a result, and how it combines values."""

    type: TensorType
    index: Sequence[Dim]
    combine: Combine = Combine.SET
    guards: Sequence[Guard] = ()
    indirects: Sequence[Indirect] = ()
    into: SSAValue | None = None

    def access(self, dims: tuple[str, ...]) -> AccessMap:
        """The map over `dims`."""
        return AccessMap(
            dims,
            tuple(self.index),
            tuple(self.guards),
            indirects=tuple(self.indirects),
        )


class Loops:
    """Inserts structured ops before `op`.

    Names of dims avoid the symbols in the types of `op`, and repeat within it only for
    the same dim.
    """

    def __init__(self, op: Operation) -> None:
        self.op = op
        self._taken = frozenset().union(
            *(symbols_of(d) for v in (*op.operands, *op.results) for d in _dims(v))
        )

    def name(self, base: str) -> str:
        """`base`, changed if it is a symbol of the model."""
        while base in self._taken:
            base += "_"
        return base

    def axis(self, base: str, size: Dim, kind: Iterator = Iterator.PARALLEL) -> Axis:
        """A dim with a name near `base`."""
        return Axis(self.name(base), size, kind)

    def axes(self, shape: Shape, prefix: str = "d") -> list[Axis]:
        """Parallel dims `d0, d1, ...` over a shape."""
        return [self.axis(f"{prefix}{n}", size) for n, size in enumerate(shape)]

    def generic(
        self,
        space: Sequence[Axis],
        reads: Sequence[Read],
        write: Write,
        body: Body,
        *,
        raw: bool = False,
    ) -> SSAValue:
        """A `fusion.generic` with one result; its value.

        `body` gets a `Scalars` and one `Scalar` per read, and returns the value to
        write, which is cast to the result's element type. Unless `raw`, narrow floats
        arrive as f32.
        """
        return self.structured(GenericOp, space, reads, [write], body, raw=raw)[0]

    def structured(
        self,
        kind: type[StructuredOp],
        space: Sequence[Axis],
        reads: Sequence[Read],
        writes: Sequence[Write],
        body: Body,
        *,
        raw: bool = False,
        properties: dict[str, Attribute | None] | None = None,
    ) -> Sequence[SSAValue]:
        """A structured op of any kind, inserted before the `nn` op; its results."""
        space = [axis for axis in space if axis.size != 1 or axis.kind in _KEPT]
        dims = tuple(axis.name for axis in space)
        op = kind(
            [(axis.name, axis.size, axis.kind) for axis in space],
            [read.value for read in reads],
            [_settled(read.access(dims), space) for read in reads],
            [_settled(write.access(dims), space) for write in writes],
            [write.type for write in writes],
            [write.combine for write in writes],
            dests=[write.into for write in writes if write.into is not None],
            properties=properties,
        )
        fill_body(op.block, [element_of(r.value) for r in reads], writes, body, raw)
        op.location = self.op.location
        block = self.op.parent
        assert block is not None
        block.insert_op_before(op, self.op)
        return op.results


def _settled(access: AccessMap, space: Sequence[Axis]) -> AccessMap:
    """The map without guards that always hold."""
    if not access.guards:
        return access
    return access.simplify({axis.name: axis.size for axis in space})


_KEPT = (Iterator.SCAN, Iterator.SORT)


def fill_body(
    block: Block,
    elements: Sequence[Attribute],
    writes: Sequence[Write],
    body: Body,
    raw: bool,
) -> None:
    """Build the scalar code of a structured op."""
    scalars = Scalars(block)
    pairs = zip(block.args, elements, strict=True)
    arguments = [Scalar(value, element) for value, element in pairs]
    if not raw:
        arguments = [scalars.widen(argument) for argument in arguments]
    made = body(scalars, *arguments)
    results = [made] if isinstance(made, Scalar) else list(made)
    targets = [write.type.element_type for write in writes]
    block.add_op(
        YieldOp(
            *(
                scalars.cast(result, element).value
                for result, element in zip(results, targets, strict=False)
            )
        )
    )


def broadcast_index(axes: Sequence[Axis], shape: Shape) -> list[Dim]:
    """The index of a tensor of `shape` that broadcasts to the space of `axes`."""
    aligned = axes[len(axes) - len(shape) :]
    return [
        0 if size == 1 else axis.var for axis, size in zip(aligned, shape, strict=True)
    ]


def variables(axes: Sequence[Axis]) -> list[Dim]:
    """The axes as index expressions."""
    return [axis.var for axis in axes]


def accumulator(shape: Shape, element: Attribute) -> TensorType[Any]:
    """The type of a contraction's or reduction's own result."""
    return tensor_type(shape, element)


def _dims(value: SSAValue) -> Sequence[Dim]:
    return dims_of(value) if isinstance(value.type, TensorType) else ()


def replace(op: Operation, *values: SSAValue) -> None:
    """Replace `op`'s results by `values` and erase it."""
    for old, new in zip(op.results, values, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    op.detach()
    op.erase()
