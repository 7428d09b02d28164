"""What a tile program computes: the upper half of `tile`, run on NumPy arrays.

So do programs of the lower half that no thread acts in by itself: a layout says where
an element is held, not what it is.

Every cell of the grid runs in turn; a tile is an array, a view is an array seen through
access maps. The runs are slow and strict: an element read outside its tensor, or two
cells that meet in one element, is an error here and undefined behaviour on a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import (
    Interpreter,
    InterpreterFunctions,
    PythonValues,
    ReturnedValues,
    impl,
    impl_terminator,
    register_impls,
)
from xdsl.interpreters.scf import ScfFunctions
from xdsl.ir import Operation, Region, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import evaluate
from stepwell.dialects.tile import CombineKind, TileType, tile_of, view_of
from stepwell.errors import InputError

from .scalars import SCALAR_OPS, Array, evaluate_op, run_body
from .tile_memory import UFUNCS, Index, Memory, View


def identity(kind: CombineKind, dtype: np.dtype[Any]) -> Any:
    """The value that `kind` leaves every other one as it is with."""
    integer = np.issubdtype(dtype, np.integer)
    match kind:
        case CombineKind.ADD | CombineKind.OR:
            value: Any = 0
        case CombineKind.MUL:
            value = 1
        case CombineKind.MAX:
            value = np.iinfo(dtype).min if integer else -np.inf
        case CombineKind.MIN:
            value = np.iinfo(dtype).max if integer else np.inf
        case CombineKind.AND:
            value = -1 if integer else True
    if dtype == np.bool_ and kind in (CombineKind.MAX, CombineKind.MIN):
        value = kind is CombineKind.MIN
    return np.asarray(value).astype(dtype)


def _scalar_impl(kind: type[Operation]) -> Callable[..., PythonValues]:
    """`arith` or `math` on single numbers: whole numbers stay Python's."""

    @impl(kind)
    def run(
        self: InterpreterFunctions,
        interpreter: Interpreter,
        op: Operation,
        args: PythonValues,
    ) -> PythonValues:
        typed = [
            np.asarray(arg).astype(numpy_dtype(operand.type))
            for arg, operand in zip(args, op.operands, strict=True)
        ]
        result = evaluate_op(op, typed)
        return (result.item() if result.dtype.kind in "bi" else result[()],)

    return run


ScalarFunctions: type[InterpreterFunctions] = register_impls(
    type(
        "ScalarFunctions",
        (InterpreterFunctions,),
        {f"run_{kind.name}": _scalar_impl(kind) for kind in SCALAR_OPS},
    )
)
"""All ops that scalar bodies may hold, for the interpreter."""


@register_impls
@dataclass
class TileFunctions(InterpreterFunctions):
    """The upper half of `tile`; the state is the cell that runs."""

    symbols: Mapping[str, int]
    cell: int = 0

    @impl(tile.DimOp)
    def run_dim(
        self, interpreter: Interpreter, op: tile.DimOp, args: PythonValues
    ) -> PythonValues:
        return (evaluate(op.dim, self.symbols),)

    @impl(tile.AccessOp)
    def run_access(
        self, interpreter: Interpreter, op: tile.AccessOp, args: PythonValues
    ) -> PythonValues:
        source: View = args[0]
        sizes = [evaluate(d, self.symbols) for d in view_of(op.result).dims]
        view = View(
            tuple(sizes), source.memory, op.access, source, args[1:], self.symbols
        )
        return (view,)

    @impl(tile.LoadOp)
    def run_load(
        self, interpreter: Interpreter, op: tile.LoadOp, args: PythonValues
    ) -> PythonValues:
        view: View = args[0]
        kind = tile_of(op.result)
        dtype = numpy_dtype(kind.element_type)
        index = _element_index(op.indices, args[1:], op.spanned, kind)
        mask = np.broadcast_to(view.inside(index), kind.extents)
        values = np.broadcast_to(view.read(index, mask, self.cell), kind.extents)
        values = values.view(dtype) if values.dtype.kind in "iu" else values
        fill = view.fill if op.fill is None else op.fill.value.data
        return (np.where(mask, values, np.asarray(fill).astype(dtype)),)

    @impl(tile.StoreOp)
    def run_store(
        self, interpreter: Interpreter, op: tile.StoreOp, args: PythonValues
    ) -> PythonValues:
        values: Array = args[0]
        view: View = args[1]
        kind = tile_of(op.tile)
        index = _element_index(op.indices, args[2:], op.spanned, kind)
        mask = np.broadcast_to(view.inside(index), kind.extents)
        place, mask = view.locate(index, mask, self.cell)
        dtype = view.memory.array.dtype
        values = values.view(dtype) if values.dtype.kind in "iu" else values
        kind = None if op.accumulate is None else op.accumulate.data
        view.memory.write(place, values, mask, self.cell, kind)
        return ()

    @impl(tile.FullOp)
    def run_full(
        self, interpreter: Interpreter, op: tile.FullOp, args: PythonValues
    ) -> PythonValues:
        kind = tile_of(op.result)
        dtype = numpy_dtype(kind.element_type)
        return (np.full(kind.extents, np.asarray(op.value.value.data).astype(dtype)),)

    @impl(tile.IotaOp)
    def run_iota(
        self, interpreter: Interpreter, op: tile.IotaOp, args: PythonValues
    ) -> PythonValues:
        kind, dim = tile_of(op.result), op.dim.value.data
        line = np.arange(kind.extents[dim], dtype=numpy_dtype(kind.element_type))
        shape = [-1 if d == dim else 1 for d in range(len(kind.extents))]
        return (np.broadcast_to(line.reshape(shape), kind.extents),)

    @impl(tile.MapOp)
    def run_map(
        self, interpreter: Interpreter, op: tile.MapOp, args: PythonValues
    ) -> PythonValues:
        values: dict[SSAValue, Any] = dict(zip(op.body.block.args, args, strict=True))
        for value in _captured(op.body):
            values[value] = interpreter.get_values((value,))[0]
        extents = tile_of(op.outputs[0]).extents
        results = run_body(op.body.block, values)
        return tuple(np.broadcast_to(result, extents) for result in results)

    @impl(tile.DotOp)
    def run_dot(
        self, interpreter: Interpreter, op: tile.DotOp, args: PythonValues
    ) -> PythonValues:
        return (_dot(op, *args),)

    @impl(tile.MmaOp)
    def run_mma(
        self, interpreter: Interpreter, op: tile.MmaOp, args: PythonValues
    ) -> PythonValues:
        return (_dot(op, *args),)

    @impl(tile.ConvertLayoutOp)
    def run_convert_layout(
        self, interpreter: Interpreter, op: tile.ConvertLayoutOp, args: PythonValues
    ) -> PythonValues:
        return args

    @impl(tile.ReduceOp)
    def run_reduce(
        self, interpreter: Interpreter, op: tile.ReduceOp, args: PythonValues
    ) -> PythonValues:
        x: Array = args[0]
        wide = _accumulator(x, op.kind.data)
        result = UFUNCS[op.kind.data].reduce(wide, op.dim.value.data, keepdims=True)
        return (result.astype(x.dtype),)

    @impl(tile.ArgReduceOp)
    def run_arg_reduce(
        self, interpreter: Interpreter, op: tile.ArgReduceOp, args: PythonValues
    ) -> PythonValues:
        x: Array = args[0]
        dim = op.dim.value.data
        pick = np.argmax if op.kind.data is CombineKind.MAX else np.argmin
        if op.last is None:
            index = pick(x, dim, keepdims=True)
        else:
            index = x.shape[dim] - 1 - pick(np.flip(x, dim), dim, keepdims=True)
        value = np.take_along_axis(x, index, dim)
        return value, index.astype(numpy_dtype(tile_of(op.index).element_type))

    @impl(tile.ScanOp)
    def run_scan(
        self, interpreter: Interpreter, op: tile.ScanOp, args: PythonValues
    ) -> PythonValues:
        x: Array = args[0]
        dim, kind = op.dim.value.data, op.kind.data
        x = np.flip(x, dim) if op.reverse is not None else x
        result = UFUNCS[kind].accumulate(_accumulator(x, kind), dim).astype(x.dtype)
        if op.exclusive is not None:
            first = np.full_like(np.take(result, [0], dim), identity(kind, x.dtype))
            body = np.take(result, range(x.shape[dim] - 1), dim)
            result = np.concatenate([first, body], dim)
        return (np.flip(result, dim) if op.reverse is not None else result,)

    @impl(tile.SortOp)
    def run_sort(
        self, interpreter: Interpreter, op: tile.SortOp, args: PythonValues
    ) -> PythonValues:
        keys: Array = args[0]
        dim = op.dim.value.data
        if op.descending is None:
            order = np.argsort(keys, dim, kind="stable")
        else:
            reversed_order = np.argsort(np.flip(keys, dim), dim, kind="stable")
            order = keys.shape[dim] - 1 - np.flip(reversed_order, dim)
        return tuple(np.take_along_axis(x, order, dim) for x in args)

    @impl(tile.TransposeOp)
    def run_transpose(
        self, interpreter: Interpreter, op: tile.TransposeOp, args: PythonValues
    ) -> PythonValues:
        return (np.transpose(args[0], op.perm.get_values()),)

    @impl(tile.BroadcastOp)
    def run_broadcast(
        self, interpreter: Interpreter, op: tile.BroadcastOp, args: PythonValues
    ) -> PythonValues:
        return (np.broadcast_to(args[0], tile_of(op.result).extents),)

    @impl(tile.ReshapeOp)
    def run_reshape(
        self, interpreter: Interpreter, op: tile.ReshapeOp, args: PythonValues
    ) -> PythonValues:
        return (np.reshape(args[0], tile_of(op.result).extents),)

    @impl(tile.ExtractOp)
    def run_extract(
        self, interpreter: Interpreter, op: tile.ExtractOp, args: PythonValues
    ) -> PythonValues:
        offsets = op.offsets.get_values()
        if not isinstance(op.result.type, TileType):
            return (args[0][tuple(offsets)],)
        extents = op.result.type.extents
        where = [slice(o, o + n) for o, n in zip(offsets, extents, strict=True)]
        return (args[0][tuple(where)],)

    @impl_terminator(tile.ReturnOp)
    def run_return(
        self, interpreter: Interpreter, op: tile.ReturnOp, args: PythonValues
    ) -> tuple[ReturnedValues, PythonValues]:
        return ReturnedValues(()), ()


def interpret_tile(
    func: tile.FuncOp,
    arrays: Sequence[Array],
    symbols: Mapping[str, int] | None = None,
    *,
    check: bool = True,
) -> None:
    """Run all cells of a kernel; results are written into their arrays.

    Args:
        func: the kernel.
        arrays: one per view argument, of the argument's shape and dtype.
        symbols: the values of the kernel's symbols.
        check: fail when cells meet in one element, except by accumulation.

    Raises:
        InputError: an array does not fit its argument.
        CompileError: the program reads or writes where it must not.
    """
    symbols = dict(symbols or {})
    views = [
        _bind(position, argument, array, symbols, check)
        for position, (argument, array) in enumerate(
            zip(func.args, arrays, strict=True)
        )
    ]
    functions = TileFunctions(symbols)
    interpreter = _interpreter(functions)
    grid = [evaluate(size, symbols) for size in func.grid.data]
    for cell, ids in enumerate(np.ndindex(*grid)):
        functions.cell = cell
        interpreter.run_ssacfg_region(func.body, (*views, *ids), func.sym_name.data)


def _interpreter(functions: TileFunctions) -> Interpreter:
    interpreter = Interpreter(ModuleOp([]))
    interpreter.register_implementations(functions)
    interpreter.register_implementations(ScfFunctions())
    interpreter.register_implementations(ScalarFunctions())
    return interpreter


def _bind(
    position: int,
    argument: SSAValue,
    array: Array,
    symbols: Mapping[str, int],
    check: bool,
) -> View:
    name = argument.name_hint or f"argument {position}"
    kind = view_of(argument)
    sizes = tuple(evaluate(dim, symbols) for dim in kind.dims)
    dtype = numpy_dtype(kind.element_type)
    if array.shape != sizes or array.dtype != dtype:
        raise InputError(
            f"expected {list(sizes)} of {dtype}, got {list(array.shape)} of "
            f"{array.dtype}",
            where=name,
        )
    owners = np.full(sizes, -1, np.int64) if check else None
    return View(sizes, Memory(name, array, owners))


def _element_index(
    indices: Sequence[SSAValue | int],
    dynamic: Sequence[int],
    spanned: Sequence[int],
    kind: TileType,
) -> Index:
    """For each dim of the view, the index of each element of the tile."""
    numbers = iter(dynamic)
    result: list[Array | int] = [
        i if isinstance(i, int) else int(next(numbers)) for i in indices
    ]
    for position, (dim, extent) in enumerate(zip(spanned, kind.extents, strict=True)):
        shape = [-1 if d == position else 1 for d in range(len(kind.extents))]
        result[dim] = result[dim] + np.arange(extent).reshape(shape)
    return tuple(result)


def _captured(region: Region) -> list[SSAValue]:
    """The values that a region's ops use from outside of it."""
    found: dict[SSAValue, None] = {}
    for op in region.walk():
        for operand in op.operands:
            owner = operand.owner
            block = owner.parent if isinstance(owner, Operation) else owner
            if block is not region.block:
                found[operand] = None
    return list(found)


def _dot(op: tile.DotOp | tile.MmaOp, lhs: Array, rhs: Array, acc: Array) -> Array:
    wide = np.float64 if acc.dtype.kind not in "iu" else np.int64
    lhs = _unsigned(lhs) if op.lhs_unsigned is not None else lhs
    rhs = _unsigned(rhs) if op.rhs_unsigned is not None else rhs
    with np.errstate(all="ignore"):
        product = np.matmul(lhs.astype(wide), rhs.astype(wide))
        return (product + acc.astype(wide)).astype(acc.dtype)


def _unsigned(x: Array) -> Array:
    return x.view(f"u{x.dtype.name}")


def _accumulator(x: Array, kind: CombineKind) -> Array:
    """Sums and products of narrow floats are held in float32."""
    folds = kind in (CombineKind.ADD, CombineKind.MUL)
    if folds and x.dtype.kind not in "biu" and x.itemsize < 4:
        return x.astype(np.float32)
    return x
