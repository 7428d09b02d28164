"""What structured ops compute: bodies run on whole index grids, in NumPy.

Functions take `(environment, op, inputs, dests)` and return the result arrays, as all
semantic functions do (`environment.py`). Sums and products of floats are accumulated in
f64 and rounded once. Where no point writes, a result without destination is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Iterator as Iter
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.interpreter import InterpreterFunctions
from xdsl.ir import Operation

from stepwell.dialects.access import AccessMap
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.engine import CopyOp, EmptyOp
from stepwell.dialects.fusion import (
    DimOp,
    GenericOp,
    IndexOp,
    InsertOp,
    KernelOp,
    ScanOp,
    SortOp,
    YieldOp,
)
from stepwell.dialects.fusion.structured import (
    Combine,
    Iterator,
    StructuredOp,
)
from stepwell.dialects.quasi_affine import evaluate_grid
from stepwell.dialects.shapes import element_of
from stepwell.errors import ShapeError

from .environment import Array, Environment, Table
from .nn_functions import TableFunctions, YieldFunctions
from .scalars import Handlers, run_body

CHUNK = 1 << 22
"""The most points of a space that are evaluated at once."""

Grid = dict[str, Any]

_UFUNCS: dict[Combine, np.ufunc] = {
    Combine.ADD: np.add,
    Combine.MUL: np.multiply,
    Combine.MAX: np.maximum,
    Combine.MIN: np.minimum,
    Combine.AND: np.bitwise_and,
    Combine.OR: np.bitwise_or,
}


def run_kernel(environment: Environment, op: KernelOp, inputs: list[Array]) -> Any:
    """The results of the ops inside; tied operands are not changed."""
    return environment.run(op.body, inputs)


def run_generic(
    environment: Environment, op: GenericOp, inputs: list[Array], dests: list[Array]
) -> tuple[Array, ...]:
    """Evaluate the body over the space and combine what it yields into the results."""
    sizes = environment.sizes(op.dim_sizes)
    results = [
        _start(environment, op, number, dests) for number in range(len(op.outputs))
    ]
    for grid, shape in _chunks(op.dim_names, sizes):
        values = _evaluate(environment, op, inputs, grid, shape)
        for number, value in enumerate(values):
            where = _at(environment, op.out_maps[number], inputs, grid)
            _combine(results[number], where, value, op.combines[number], shape)
    return tuple(_round(op, n, result) for n, result in enumerate(results))


def run_scan(
    environment: Environment, op: ScanOp, inputs: list[Array], dests: list[Array]
) -> tuple[Array, ...]:
    """Evaluate the body over the space and accumulate along the scan dim."""
    grid, shape = _whole(environment, op)
    values = _evaluate(environment, op, inputs, grid, shape)
    axis = op.kinds.index(Iterator.SCAN)
    found: list[Array] = []
    for number, value in enumerate(values):
        kind = op.combines[number]
        wide = _widened(value, kind)
        total = _UFUNCS[kind].accumulate(wide, axis=axis)
        if op.exclusive is not None:
            total = _shifted(total, axis, _identity(kind, wide.dtype))
        result = _start(environment, op, number, dests)
        where = _at(environment, op.out_maps[number], inputs, grid)
        _combine(result, where, total.astype(value.dtype), Combine.SET, shape)
        found.append(_round(op, number, result))
    return tuple(found)


def run_sort(
    environment: Environment, op: SortOp, inputs: list[Array], dests: list[Array]
) -> tuple[Array, ...]:
    """Sort the body's values along the sort dim; values and indices, cut to fit."""
    grid, shape = _whole(environment, op)
    (keys,) = _evaluate(environment, op, inputs, grid, shape)
    keys = _as_element(keys, op.outputs[0].type)
    axis = op.kinds.index(Iterator.SORT)
    order = stable_order(keys, axis, descending=op.descending is not None)
    made = (np.take_along_axis(keys, order, axis), order)
    found: list[Array] = []
    for number, value in enumerate(made):
        result = _start(environment, op, number, dests)
        index, _ = _at(environment, op.out_maps[number], inputs, grid)
        inside: Any = True
        for at, size in zip(index, result.shape, strict=True):
            inside = inside & (np.asarray(at) < size)
        _combine(result, (index, inside), value, Combine.SET, shape)
        found.append(_round(op, number, result))
    return tuple(found)


def stable_order(keys: Array, axis: int, *, descending: bool) -> Array:
    """Indices that sort `keys`; ties keep their order, NaN counts as the largest."""
    if keys.dtype.kind not in "biuf":
        keys = keys.astype(np.float32)
    if not descending:
        return np.argsort(keys, axis=axis, kind="stable")
    flipped = np.flip(keys, axis)
    order = np.argsort(flipped, axis=axis, kind="stable")
    return keys.shape[axis] - 1 - np.flip(order, axis)


def _start(
    environment: Environment, op: StructuredOp, number: int, dests: list[Array]
) -> Array:
    """A result before any point has written: the destination, or the identity."""
    if dests:
        return dests[number].copy()
    kind = op.outputs[number].type
    shape = environment.shape(kind)
    dtype = numpy_dtype(element_of(kind))
    combine = op.combines[number]
    if combine is Combine.SET or isinstance(op, ScanOp):
        return np.zeros(shape, dtype)
    return np.full(shape, _identity(combine, _wide_dtype(dtype, combine)))


def _identity(kind: Combine, dtype: np.dtype[Any]) -> Any:
    is_integer = np.issubdtype(dtype, np.integer)
    match kind:
        case Combine.ADD | Combine.OR | Combine.SET:
            value: Any = 0
        case Combine.MUL:
            value = 1
        case Combine.AND:
            value = -1 if is_integer else True
        case Combine.MAX:
            value = np.iinfo(dtype).min if is_integer else -np.inf
        case Combine.MIN:
            value = np.iinfo(dtype).max if is_integer else np.inf
    if dtype == np.bool_ and kind in (Combine.MAX, Combine.MIN):
        value = kind is Combine.MIN
    return np.asarray(value).astype(dtype)


def _wide_dtype(dtype: np.dtype[Any], kind: Combine) -> np.dtype[Any]:
    sums = kind in (Combine.ADD, Combine.MUL)
    is_real = dtype.kind == "f" or dtype.kind == "V"
    return np.dtype(np.float64) if sums and is_real else dtype


def _widened(value: Array, kind: Combine) -> Array:
    return value.astype(_wide_dtype(value.dtype, kind))


def _whole(environment: Environment, op: StructuredOp) -> tuple[Grid, tuple[int, ...]]:
    shape = environment.sizes(op.dim_sizes)
    indices = np.indices(shape, sparse=True)
    return dict(zip(op.dim_names, indices, strict=True)), shape


def _chunks(
    names: Sequence[str], sizes: tuple[int, ...]
) -> Iter[tuple[Grid, tuple[int, ...]]]:
    """The space in slabs of its first dim, as sparse index arrays."""
    if 0 in sizes:
        return
    total = int(np.prod(sizes, dtype=np.int64))
    if not sizes or total <= CHUNK:
        yield dict(zip(names, np.indices(sizes, sparse=True), strict=True)), sizes
        return
    step = max(1, CHUNK // (total // sizes[0]))
    for start in range(0, sizes[0], step):
        count = min(step, sizes[0] - start)
        for grid, shape in _rest_chunks(names, (count, *sizes[1:])):
            grid[names[0]] = grid[names[0]] + start
            yield grid, shape


def _rest_chunks(
    names: Sequence[str], sizes: tuple[int, ...]
) -> Iter[tuple[Grid, tuple[int, ...]]]:
    if sizes[0] > 1 or len(sizes) == 1:
        yield dict(zip(names, np.indices(sizes, sparse=True), strict=True)), sizes
        return
    for grid, shape in _chunks(names[1:], sizes[1:]):
        inner = {name: index[None] for name, index in grid.items()}
        zero = np.zeros((1,) * len(sizes), np.int64)
        yield {names[0]: zero, **inner}, (1, *shape)


def _at(
    environment: Environment, access: AccessMap, inputs: list[Array], grid: Grid
) -> tuple[tuple[Any, ...], Any]:
    values: Mapping[str, Any] = {**environment.symbols, **grid}

    def read(operand: int, index: tuple[Any, ...]) -> Array:
        array = inputs[operand]
        return np.asarray(array[index if index else ()], np.int64)

    return access.evaluate(values, read)


def _evaluate(
    environment: Environment,
    op: StructuredOp,
    inputs: list[Array],
    grid: Grid,
    shape: tuple[int, ...],
) -> list[Array]:
    """What the body yields at each point of the grid, without rounding to storage."""
    values: dict[Any, Any] = {}
    for argument, array, access in zip(op.block.args, inputs, op.in_maps, strict=True):
        where = _at(environment, access, inputs, grid)
        loaded = _load(array, where, access, op)
        values[argument] = _as_storage(loaded, argument.type)
    names: Mapping[str, Any] = {**environment.symbols, **grid}

    def index(inner: Operation, operands: Sequence[Array]) -> Array:
        assert isinstance(inner, IndexOp | DimOp)
        return np.asarray(evaluate_grid(inner.value, names))

    handlers: Handlers = {IndexOp: index, DimOp: index}
    made = run_body(op.block, values, handlers)
    return [np.broadcast_to(value, shape) for value in made]


def _load(
    array: Array, where: tuple[tuple[Any, ...], Any], access: AccessMap, op: Operation
) -> Array:
    index, inside = where
    if access.guards:
        index = tuple(np.where(inside, at, 0) for at in index)
    for at, size in zip(index, array.shape, strict=True):
        at = np.asarray(at)
        if at.size and array.size and (at.min() < 0 or at.max() >= size):
            raise ShapeError(
                f"{op.name} reads outside of its operand", notes=[str(access)]
            )
    if array.size == 0:
        shape = np.broadcast_shapes(*(np.shape(at) for at in index), np.shape(inside))
        return np.full(shape, access.fill or 0).astype(array.dtype)
    loaded = array[index]
    if not access.guards:
        return loaded
    fill = np.asarray(access.fill).astype(array.dtype)
    return np.where(inside, loaded, fill)


def _combine(
    result: Array,
    where: tuple[tuple[Any, ...], Any],
    value: Array,
    kind: Combine,
    shape: tuple[int, ...],
) -> None:
    index, inside = where
    both_integers = value.dtype.kind in "iu" and result.dtype.kind in "iu"
    if both_integers and value.dtype.itemsize == result.dtype.itemsize:
        value = value.view(result.dtype)
    if kind is Combine.SET:
        _write(result, index, inside, value, shape)
        return
    value = value.astype(result.dtype)
    free = _free_axes(index, inside, shape)
    if free:
        value = _UFUNCS[kind].reduce(value, axis=free, keepdims=True)
    full = np.broadcast_shapes(value.shape, *(np.shape(at) for at in index))
    keep = np.broadcast_to(inside, full)
    if not index:
        result[()] = _UFUNCS[kind](result, value[keep].reshape(()))
        return
    at = tuple(np.broadcast_to(i, full)[keep] for i in index)
    _UFUNCS[kind].at(result, at, np.broadcast_to(value, full)[keep])


def _free_axes(
    index: tuple[Any, ...], inside: Any, shape: tuple[int, ...]
) -> tuple[int, ...]:
    """The axes of the grid on which the place written does not depend."""
    extents = np.broadcast_shapes(
        (1,) * len(shape), np.shape(inside), *(np.shape(at) for at in index)
    )
    return tuple(n for n, extent in enumerate(extents) if extent == 1)


def _write(
    result: Array,
    index: tuple[Any, ...],
    inside: Any,
    value: Array,
    shape: tuple[int, ...],
) -> None:
    keep = np.broadcast_to(inside, shape)
    at = tuple(np.broadcast_to(i, shape)[keep] for i in index)
    result[at] = value[keep] if shape else value[()]


def _as_storage(array: Array, kind: Any) -> Array:
    """Unsigned numbers as the signless ones of the same bits."""
    dtype = numpy_dtype(kind)
    return array.view(dtype) if array.dtype.kind == "u" else array.astype(dtype)


def _as_element(array: Array, kind: Any) -> Array:
    """The body's number as one of the tensor's element type."""
    assert isinstance(kind, TensorType)
    dtype = numpy_dtype(kind.element_type)
    if dtype.kind == "u" and array.dtype.kind == "i":
        return array.view(dtype)
    return array.astype(dtype)


def _round(op: StructuredOp, number: int, result: Array) -> Array:
    return result.astype(numpy_dtype(element_of(op.outputs[number])), copy=False)


def _shifted(total: Array, axis: int, first: Any) -> Array:
    shifted = np.roll(total, 1, axis)
    head = [slice(None)] * total.ndim
    head[axis] = slice(0, 1)
    shifted[tuple(head)] = first
    return shifted


def _run_copy(environment: Environment, op: CopyOp, source: Array) -> Array:
    return source


def _run_empty(environment: Environment, op: EmptyOp) -> Array:
    """Zeros stand for unspecified contents."""
    kind = op.output.type
    return np.zeros(environment.shape(kind), numpy_dtype(element_of(kind)))


def _run_insert(
    environment: Environment, op: InsertOp, piece: Array, dest: Array
) -> Array:
    result = dest.copy()
    starts = environment.sizes(op.offsets.data)
    window = (slice(at, at + n) for at, n in zip(starts, piece.shape, strict=True))
    result[tuple(window)] = piece
    return result


FUSION: Table = {
    InsertOp: _run_insert,
    CopyOp: _run_copy,
    EmptyOp: _run_empty,
    KernelOp: run_kernel,
    GenericOp: run_generic,
    ScanOp: run_scan,
    SortOp: run_sort,
}
"""The semantic function of each op of `fusion`."""


class _YieldFunctions(YieldFunctions):
    """`fusion.yield`: the values go to the kernel around it."""

    def _impls(self) -> Iterable[tuple[type[Operation], Any]]:  # pyright: ignore
        return [(YieldOp, YieldFunctions._yield)]  # pyright: ignore


def functions(environment: Environment) -> list[InterpreterFunctions]:
    """What the interpreter needs for modules with kernels."""
    return [TableFunctions(FUSION, environment), _YieldFunctions()]
