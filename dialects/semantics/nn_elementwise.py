"""Meaning of the elementwise `nn` ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from stepwell.dialects import nn
from stepwell.dialects.dtypes import numpy_dtype

from .environment import (
    Array,
    Environment,
    Semantic,
    Table,
    is_float_array,
    wide,
)

_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function in f64, by the C library."""
    return np.asarray(_erf(x), dtype=np.float64)


def sigmoid(x: Array) -> Array:
    """The logistic function, without overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def softplus(x: Array) -> Array:
    """`ln(1 + e**x)` without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def unary(function: Callable[[Array], Array]) -> Semantic:
    """A semantic from a function of one wide array."""
    return lambda environment, op, x: function(wide(x))


def binary(function: Callable[[Array, Array], Array]) -> Semantic:
    """A semantic from a function of two wide arrays."""
    return lambda environment, op, a, b: function(wide(a), wide(b))


def _sign(x: Array) -> Array:
    return np.sign(x)


def _not(environment: Environment, op: nn.NotOp, x: Array) -> Array:
    return np.logical_not(x) if x.dtype == np.bool_ else np.invert(wide(x))


def _is_inf(environment: Environment, op: nn.IsInfOp, x: Array) -> Array:
    x = wide(x)
    positive = op.value("detect_positive") & (x == np.inf)
    return positive | (op.value("detect_negative") & (x == -np.inf))


def _gelu(environment: Environment, op: nn.GeluOp, x: Array) -> Array:
    x = wide(x)
    if op.value("approximate") == "none":
        return x * (1 + erf(x / math.sqrt(2))) / 2
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * (1 + np.tanh(inner)) / 2


def _hard_sigmoid(environment: Environment, op: nn.HardSigmoidOp, x: Array) -> Array:
    return np.clip(op.value("alpha") * wide(x) + op.value("beta"), 0, 1)


def _elu(environment: Environment, op: nn.EluOp, x: Array) -> Array:
    x = wide(x)
    return np.where(x > 0, x, op.value("alpha") * np.expm1(np.minimum(x, 0)))


def _leaky_relu(environment: Environment, op: nn.LeakyReluOp, x: Array) -> Array:
    x = wide(x)
    return np.where(x >= 0, x, op.value("alpha") * x)


def _selu(environment: Environment, op: nn.SeluOp, x: Array) -> Array:
    x = wide(x)
    negative = op.value("alpha") * np.expm1(np.minimum(x, 0))
    return op.value("gamma") * np.where(x > 0, x, negative)


def _celu(environment: Environment, op: nn.CeluOp, x: Array) -> Array:
    x, alpha = wide(x), op.value("alpha")
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


def _clamp(environment: Environment, op: nn.ClampOp, x: Array) -> Array:
    x = wide(x)
    low, high = op.value("min"), op.value("max")
    if low is not None:
        x = np.maximum(x, _bound(low, x))
    if high is not None:
        x = np.minimum(x, _bound(high, x))
    return x


def _bound(value: float, x: Array) -> Any:
    """A float bound in the dtype of x, held in range for integers."""
    if x.dtype.kind not in "iu":
        return value
    info = np.iinfo(x.dtype)
    whole = math.trunc(min(max(value, float(info.min)), float(info.max)))
    return x.dtype.type(min(max(whole, info.min), info.max))


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return a / b
    safe = np.where(b == 0, 1, b)
    quotient = a // safe
    quotient += (a % safe != 0) & ((a < 0) != (safe < 0))
    return np.where(b == 0, 0, quotient).astype(a.dtype)


def _power(a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.power(a, b)
    positive = np.power(a, np.maximum(b, 0))
    negative = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b % 2), 0))
    return np.where(b >= 0, positive, negative).astype(a.dtype)


def _mod(environment: Environment, op: nn.ModOp, a: Array, b: Array) -> Array:
    a, b = wide(a), wide(b)
    function = np.fmod if op.value("fmod") else np.mod
    if a.dtype.kind not in "iu":
        return function(a, b)
    return np.where(b == 0, 0, function(a, np.where(b == 0, 1, b))).astype(a.dtype)


def _logical(bits: Callable[..., Any], logic: Callable[..., Any]) -> Semantic:
    return lambda environment, op, a, b: (
        logic(a, b) if a.dtype == np.bool_ else bits(wide(a), wide(b))
    )


def _shift_left(environment: Environment, op: Any, a: Array, b: Array) -> Array:
    width = 8 * a.dtype.itemsize
    is_past = (b < 0) | (b >= width)
    return np.where(is_past, 0, np.left_shift(a, b % width)).astype(a.dtype)


def _shift_right(environment: Environment, op: Any, a: Array, b: Array) -> Array:
    width = 8 * a.dtype.itemsize
    past = np.where(a < 0, -1, 0) if a.dtype.kind == "i" else 0
    is_past = (b < 0) | (b >= width)
    return np.where(is_past, past, np.right_shift(a, b % width)).astype(a.dtype)


_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _compare(environment: Environment, op: nn.CompareOp, a: Array, b: Array) -> Array:
    return np.asarray(_COMPARE[op.value("predicate")](wide(a), wide(b)), dtype=np.bool_)


def _prelu(environment: Environment, op: Any, x: Array, slope: Array) -> Array:
    x = wide(x)
    return np.where(x >= 0, x, wide(slope) * x)


def _select(environment: Environment, op: Any, c: Array, a: Array, b: Array) -> Array:
    return np.where(c, a, b)


def _cast(environment: Environment, op: nn.CastOp, x: Array) -> Array:
    dtype = numpy_dtype(op.to)
    return convert(x, dtype, op.value("saturate"), op.value("round_mode"))


def _bitcast(environment: Environment, op: nn.BitcastOp, x: Array) -> Array:
    bits = np.ascontiguousarray(x)
    to = numpy_dtype(op.to)
    return bits != 0 if to == np.bool_ else bits.view(to).reshape(x.shape)


def convert(
    x: Array, dtype: np.dtype[Any], saturate: bool = True, round_mode: str = "up"
) -> Array:
    """`nn.cast` on an array."""
    if x.dtype == dtype:
        return x
    if x.dtype == np.object_ or dtype == np.object_:
        return _convert_strings(x, dtype)
    if dtype == np.bool_:
        return wide(x) != 0
    if dtype == ml_dtypes.float8_e8m0fnu:
        return _to_power_of_two(wide(x), saturate, round_mode)
    if is_narrow_integer(dtype):
        whole = np.trunc(wide(x)) if is_float_array(x) else wide(x)
        return whole.astype(np.int64).astype(np.int8).astype(dtype)
    if _is_integer(dtype) and is_float_array(x):
        return _truncate(wide(x), dtype)
    if is_float8(dtype) and saturate:
        limit = float(ml_dtypes.finfo(dtype).max)
        return np.clip(wide(x).astype(np.float64), -limit, limit).astype(dtype)
    return wide(x).astype(dtype)


def is_float8(dtype: np.dtype[Any]) -> bool:
    """Whether the dtype is one of the 8-bit floats that hold a sign."""
    return "float8" in dtype.name and dtype != ml_dtypes.float8_e8m0fnu


def integer_limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The smallest and largest value of an integer dtype of any width."""
    info = np.iinfo(dtype) if dtype.kind in "iu" else ml_dtypes.iinfo(dtype)
    return int(info.min), int(info.max)


def is_narrow_integer(dtype: np.dtype[Any]) -> bool:
    """Whether the dtype is an integer of fewer than 8 bits."""
    return dtype.name in ("int2", "int4", "uint2", "uint4")


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or is_narrow_integer(dtype)


def _truncate(x: Array, dtype: np.dtype[Any]) -> Array:
    low, high = integer_limits(dtype)
    x = np.where(np.isnan(x), 0, np.trunc(x))
    inside = np.clip(x, float(low), float(high))
    if dtype.itemsize < 8:
        return inside.astype(np.int64).astype(dtype)
    # 2**63 and 2**64 are floats, their predecessors are not.
    return np.where(
        x >= float(high), high, np.where(x >= float(high), 0, inside).astype(dtype)
    )


def _to_power_of_two(x: Array, saturate: bool, round_mode: str) -> Array:
    """The exponent of |x|, rounded up, down, or to the nearest (half up)."""
    dtype = np.dtype(ml_dtypes.float8_e8m0fnu)
    mantissa, exponent = np.frexp(np.abs(x.astype(np.float32)))
    mantissa, exponent = mantissa * 2, exponent - 1
    bump = {
        "up": mantissa > 1,
        "down": np.zeros_like(mantissa, dtype=np.bool_),
        "nearest": mantissa >= 1.5,
    }[round_mode]
    exponent = exponent + bump
    exponent = np.where(x == 0, -127, exponent)
    over = (exponent > 127) | np.isinf(x)
    bits = np.clip(exponent, -127, 127) + 127
    bits = np.where(over, 254 if saturate else 255, bits)
    bits = np.where(np.isnan(x), 255, bits)
    return bits.astype(np.uint8).view(dtype)


def _convert_strings(x: Array, dtype: np.dtype[Any]) -> Array:
    if dtype == np.object_:
        return x.astype(np.str_).astype(object)
    numbers = x.astype(np.str_)
    if _is_integer(dtype):
        return numbers.astype(np.int64).astype(dtype)
    return numbers.astype(np.float64).astype(dtype)


TABLE: Table = {
    nn.AbsOp: unary(np.abs),
    nn.NegOp: unary(np.negative),
    nn.ExpOp: unary(np.exp),
    nn.Expm1Op: unary(np.expm1),
    nn.LogOp: unary(np.log),
    nn.Log1pOp: unary(np.log1p),
    nn.SqrtOp: unary(np.sqrt),
    nn.RsqrtOp: unary(lambda x: 1 / np.sqrt(x)),
    nn.ReciprocalOp: unary(lambda x: 1 / x),
    nn.SinOp: unary(np.sin),
    nn.CosOp: unary(np.cos),
    nn.TanOp: unary(np.tan),
    nn.AsinOp: unary(np.arcsin),
    nn.AcosOp: unary(np.arccos),
    nn.AtanOp: unary(np.arctan),
    nn.SinhOp: unary(np.sinh),
    nn.CoshOp: unary(np.cosh),
    nn.TanhOp: unary(np.tanh),
    nn.AsinhOp: unary(np.arcsinh),
    nn.AcoshOp: unary(np.arccosh),
    nn.AtanhOp: unary(np.arctanh),
    nn.ErfOp: unary(erf),
    nn.FloorOp: unary(np.floor),
    nn.CeilOp: unary(np.ceil),
    nn.RoundOp: unary(np.rint),
    nn.SignOp: unary(_sign),
    nn.NotOp: _not,
    nn.IsNanOp: unary(np.isnan),
    nn.IsInfOp: _is_inf,
    nn.ReluOp: unary(lambda x: np.maximum(x, np.zeros_like(x))),
    nn.SigmoidOp: unary(sigmoid),
    nn.SoftplusOp: unary(softplus),
    nn.SoftsignOp: unary(lambda x: x / (1 + np.abs(x))),
    nn.SiluOp: unary(lambda x: x * sigmoid(x)),
    nn.HardSwishOp: unary(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    nn.MishOp: unary(lambda x: x * np.tanh(softplus(x))),
    nn.GeluOp: _gelu,
    nn.HardSigmoidOp: _hard_sigmoid,
    nn.EluOp: _elu,
    nn.LeakyReluOp: _leaky_relu,
    nn.SeluOp: _selu,
    nn.CeluOp: _celu,
    nn.ClampOp: _clamp,
    nn.CastOp: _cast,
    nn.BitcastOp: _bitcast,
    nn.AddOp: binary(np.add),
    nn.SubOp: binary(np.subtract),
    nn.MulOp: binary(np.multiply),
    nn.DivOp: binary(_divide),
    nn.PowOp: binary(_power),
    nn.ModOp: _mod,
    nn.MinimumOp: binary(np.minimum),
    nn.MaximumOp: binary(np.maximum),
    nn.AndOp: _logical(np.bitwise_and, np.logical_and),
    nn.OrOp: _logical(np.bitwise_or, np.logical_or),
    nn.XorOp: _logical(np.bitwise_xor, np.logical_xor),
    nn.ShiftLeftOp: _shift_left,
    nn.ShiftRightOp: _shift_right,
    nn.CompareOp: _compare,
    nn.PreluOp: _prelu,
    nn.SelectOp: _select,
}
