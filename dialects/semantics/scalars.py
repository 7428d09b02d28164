"""Scalar bodies on whole arrays: what each `arith` and `math` op means, in NumPy.

The bodies of `fusion.generic` and `tile.map` are scalar programs. Here they run once on
arrays instead of once per element. Integers wrap and are signless: an op that reads its
operands as unsigned says so (`arith.divui`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import erf
from typing import Any, TypeAlias

import numpy as np
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects.dtypes import is_float, numpy_dtype
from stepwell.errors import UnsupportedError

Array: TypeAlias = np.ndarray[Any, Any]
Handler: TypeAlias = Callable[[Operation, Sequence[Array]], Array]
Handlers: TypeAlias = Mapping[type[Operation], Handler]


def run_body(
    block: Block, values: dict[SSAValue, Any], extra: Handlers | None = None
) -> list[Array]:
    """Run all ops of `block` but its terminator; the terminator's operands.

    Args:
        block: a body of scalar ops with one result each.
        values: the arrays of the block's arguments and of values from outside; they
            broadcast against each other. Extended in place.
        extra: what ops beside `arith` and `math` mean.

    Raises:
        UnsupportedError: an op has no meaning here.
    """
    with np.errstate(all="ignore"):
        for op in block.ops:
            if op is block.last_op:
                break
            operands = [np.asarray(values[operand]) for operand in op.operands]
            values[op.results[0]] = evaluate_op(op, operands, extra)
    assert block.last_op is not None
    return [np.asarray(values[operand]) for operand in block.last_op.operands]


def evaluate_op(
    op: Operation, operands: Sequence[Array], extra: Handlers | None = None
) -> Array:
    """The result of one scalar op, in the dtype of its result type."""
    handler = (extra or {}).get(type(op)) or _HANDLERS.get(type(op))
    if handler is None:
        raise UnsupportedError(f"the interpreter has no meaning for {op.name}")
    result = np.asarray(handler(op, operands))
    return result.astype(numpy_dtype(op.results[0].type), copy=False)


def _plain(function: Callable[..., Any]) -> Handler:
    """On floats, narrow ones are computed in float32 and rounded once."""

    def run(op: Operation, operands: Sequence[Array]) -> Array:
        if is_float(op.operands[0].type):
            operands = [_wide(x) for x in operands]
        return function(*operands)

    return run


def _wide(x: Array) -> Array:
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def _unsigned(function: Callable[..., Any]) -> Handler:
    def run(op: Operation, operands: Sequence[Array]) -> Array:
        return function(*(_as_unsigned(x) for x in operands))

    return run


def _as_unsigned(x: Array) -> Array:
    if x.dtype == np.bool_:
        return x.astype(np.uint8)
    return x.astype(f"u{x.dtype.name}")


def _as_signed(x: Array) -> Array:
    return -x.astype(np.int8) if x.dtype == np.bool_ else x


def _truncating_div(a: Array, b: Array) -> Array:
    safe = np.where(b == 0, 1, b)
    quotient = np.abs(a) // np.abs(safe)
    return np.where((a < 0) != (b < 0), -quotient, quotient)


def _remainder(a: Array, b: Array) -> Array:
    return a - _truncating_div(a, b) * b


def _by_non_zero(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    return lambda a, b: function(a, np.where(b == 0, b.dtype.type(1), b))


def _shift(function: Callable[..., Array], past: str) -> Callable[..., Array]:
    """Shifts by the width or more give 0, or the sign."""

    def run(a: Array, b: Array) -> Array:
        width = a.dtype.itemsize * 8
        inside = (b >= 0) & (b < width)
        filled = np.where(a < 0, -1, 0) if past == "sign" else 0
        return np.where(inside, function(a, np.where(inside, b, 0)), filled)

    return run


def _constant(op: Operation, operands: Sequence[Array]) -> Array:
    assert isinstance(op, arith.ConstantOp)
    value = op.value
    if isinstance(value, DenseIntOrFPElementsAttr):
        return np.array(value.get_values())
    assert isinstance(value, FloatAttr | IntegerAttr)
    return np.asarray(value.value.data)


_INTEGER_PREDICATES: tuple[Callable[[Array, Array], Array], ...] = (
    np.equal,
    np.not_equal,
    lambda a, b: _as_signed(a) < _as_signed(b),
    lambda a, b: _as_signed(a) <= _as_signed(b),
    lambda a, b: _as_signed(a) > _as_signed(b),
    lambda a, b: _as_signed(a) >= _as_signed(b),
    lambda a, b: _as_unsigned(a) < _as_unsigned(b),
    lambda a, b: _as_unsigned(a) <= _as_unsigned(b),
    lambda a, b: _as_unsigned(a) > _as_unsigned(b),
    lambda a, b: _as_unsigned(a) >= _as_unsigned(b),
)


def _compare_integers(op: Operation, operands: Sequence[Array]) -> Array:
    assert isinstance(op, arith.CmpiOp)
    return _INTEGER_PREDICATES[op.predicate.value.data](*operands)


def _unordered(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


_FLOAT_PREDICATES: tuple[Callable[[Array, Array], Array], ...] = (
    lambda a, b: np.zeros(np.broadcast_shapes(a.shape, b.shape), np.bool_),
    np.equal,
    np.greater,
    np.greater_equal,
    np.less,
    np.less_equal,
    lambda a, b: (a != b) & ~_unordered(a, b),
    lambda a, b: ~_unordered(a, b),
    lambda a, b: (a == b) | _unordered(a, b),
    lambda a, b: (a > b) | _unordered(a, b),
    lambda a, b: (a >= b) | _unordered(a, b),
    lambda a, b: (a < b) | _unordered(a, b),
    lambda a, b: (a <= b) | _unordered(a, b),
    np.not_equal,
    _unordered,
    lambda a, b: np.ones(np.broadcast_shapes(a.shape, b.shape), np.bool_),
)


def _compare_floats(op: Operation, operands: Sequence[Array]) -> Array:
    assert isinstance(op, arith.CmpfOp)
    return _FLOAT_PREDICATES[op.predicate.value.data](*operands)


def _float_to_integer(unsigned: bool) -> Handler:
    def run(op: Operation, operands: Sequence[Array]) -> Array:
        dtype = numpy_dtype(op.results[0].type)
        wide = np.trunc(_wide(operands[0]).astype(np.float64))
        if not unsigned:
            return wide.astype(np.int64).astype(dtype)
        return np.where(wide < 0, 0, wide).astype(np.uint64).astype(dtype)

    return run


def _cast(op: Operation, operands: Sequence[Array]) -> Array:
    return operands[0].astype(numpy_dtype(op.results[0].type))


def _from_unsigned(op: Operation, operands: Sequence[Array]) -> Array:
    return _as_unsigned(operands[0]).astype(numpy_dtype(op.results[0].type))


def _from_signed(op: Operation, operands: Sequence[Array]) -> Array:
    return _as_signed(operands[0]).astype(numpy_dtype(op.results[0].type))


def _truncate_integer(op: Operation, operands: Sequence[Array]) -> Array:
    dtype = numpy_dtype(op.results[0].type)
    if dtype == np.bool_:
        return (operands[0] & 1) != 0
    return operands[0].astype(dtype)


def _bitcast(op: Operation, operands: Sequence[Array]) -> Array:
    return operands[0].view(numpy_dtype(op.results[0].type))


def _erf(x: Array) -> Array:
    return np.vectorize(erf, otypes=[np.float64])(x)


def _round_half_away(x: Array) -> Array:
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


_FUNCTIONS: dict[type[Operation], Callable[..., Any]] = {
    arith.AddiOp: np.add,
    arith.SubiOp: lambda a, b: a ^ b if a.dtype == np.bool_ else a - b,
    arith.MuliOp: np.multiply,
    arith.DivSIOp: _truncating_div,
    arith.RemSIOp: _remainder,
    arith.FloorDivSIOp: _by_non_zero(np.floor_divide),
    arith.CeilDivSIOp: _by_non_zero(lambda a, b: -(-a // b)),
    arith.MinSIOp: np.minimum,
    arith.MaxSIOp: np.maximum,
    arith.AndIOp: np.bitwise_and,
    arith.OrIOp: np.bitwise_or,
    arith.XOrIOp: np.bitwise_xor,
    arith.ShLIOp: _shift(np.left_shift, "zero"),
    arith.ShRSIOp: _shift(np.right_shift, "sign"),
    arith.SelectOp: np.where,
    arith.AddfOp: np.add,
    arith.SubfOp: np.subtract,
    arith.MulfOp: np.multiply,
    arith.DivfOp: np.divide,
    arith.NegfOp: np.negative,
    arith.MaximumfOp: np.maximum,
    arith.MaxnumfOp: np.fmax,
    arith.MinimumfOp: np.minimum,
    arith.MinnumfOp: np.fmin,
    math.AbsFOp: np.abs,
    math.AbsIOp: np.abs,
    math.AcosOp: np.arccos,
    math.AcoshOp: np.arccosh,
    math.AsinOp: np.arcsin,
    math.AsinhOp: np.arcsinh,
    math.AtanhOp: np.arctanh,
    math.Atan2Op: np.arctan2,
    math.AtanOp: np.arctan,
    math.CbrtOp: np.cbrt,
    math.CeilOp: np.ceil,
    math.CopySignOp: np.copysign,
    math.CosOp: np.cos,
    math.CoshOp: np.cosh,
    math.ErfOp: _erf,
    math.Exp2Op: np.exp2,
    math.ExpM1Op: np.expm1,
    math.ExpOp: np.exp,
    math.FPowIOp: lambda a, b: np.power(a, b.astype(np.float64)),
    math.FloorOp: np.floor,
    math.FmaOp: lambda a, b, c: a.astype(np.float64) * b + c,
    math.Log10Op: np.log10,
    math.Log1pOp: np.log1p,
    math.Log2Op: np.log2,
    math.LogOp: np.log,
    math.PowFOp: np.power,
    math.RoundEvenOp: np.rint,
    math.RoundOp: _round_half_away,
    math.RsqrtOp: lambda x: 1.0 / np.sqrt(x),
    math.SinOp: np.sin,
    math.SinhOp: np.sinh,
    math.SqrtOp: np.sqrt,
    math.TanOp: np.tan,
    math.TanhOp: np.tanh,
    math.TruncOp: np.trunc,
}

_UNSIGNED_FUNCTIONS: dict[type[Operation], Callable[..., Any]] = {
    arith.DivUIOp: _by_non_zero(np.floor_divide),
    arith.RemUIOp: _by_non_zero(np.remainder),
    arith.CeilDivUIOp: _by_non_zero(lambda a, b: a // b + (a % b != 0)),
    arith.MinUIOp: np.minimum,
    arith.MaxUIOp: np.maximum,
    arith.ShRUIOp: _shift(np.right_shift, "zero"),
}

_HANDLERS: Handlers = {
    **{op: _plain(function) for op, function in _FUNCTIONS.items()},
    **{op: _unsigned(function) for op, function in _UNSIGNED_FUNCTIONS.items()},
    arith.ConstantOp: _constant,
    arith.CmpiOp: _compare_integers,
    arith.CmpfOp: _compare_floats,
    arith.FPToSIOp: _float_to_integer(unsigned=False),
    arith.FPToUIOp: _float_to_integer(unsigned=True),
    arith.SIToFPOp: _from_signed,
    arith.UIToFPOp: _from_unsigned,
    arith.ExtFOp: _cast,
    arith.TruncFOp: _cast,
    arith.TruncIOp: _truncate_integer,
    arith.ExtSIOp: _from_signed,
    arith.ExtUIOp: _from_unsigned,
    arith.IndexCastOp: _cast,
    arith.BitcastOp: _bitcast,
}

SCALAR_OPS: tuple[type[Operation], ...] = tuple(_HANDLERS)
"""The ops that have a meaning here."""
