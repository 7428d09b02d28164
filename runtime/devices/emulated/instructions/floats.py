"""Exact rounding of floating-point results, and the subnormal and saturation rules."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from . import doubles

Array = NDArray
BFLOAT = np.dtype(ml_dtypes.bfloat16)
TINY = {
    np.dtype(np.float32): np.float32(2.0**-126),
    np.dtype(np.float64): np.float64(2.0**-1022),
    np.dtype(np.float16): np.float16(2.0**-14),
    BFLOAT: BFLOAT.type(2.0**-126),
}


def flush(value: Array) -> Array:
    """`.ftz`: subnormal numbers become zeros of the same sign."""
    small = np.abs(value) < TINY[value.dtype]
    return np.where(small, np.copysign(value.dtype.type(0), value), value)


def saturate(value: Array) -> Array:
    """`.sat`: clamp to [0, 1]; NaN becomes +0."""
    zero, one = value.dtype.type(0), value.dtype.type(1)
    return np.where(value > zero, np.minimum(value, one), zero)  # -0 becomes +0


def finite(value: Array) -> Array:
    """`.satfinite`: infinities become the largest numbers."""
    most = value.dtype.type(ml_dtypes.finfo(value.dtype).max)
    return np.where(np.isinf(value), np.where(value > 0, most, -most), value)


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Knuth's exact sum: a + b = s + e."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def to_odd(s: Array, e: Array) -> Array:
    """Round a double-double to odd, so that a second rounding is exact.

    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved
    algorithms using rounding to odd".
    """
    bits = s.view(np.int64)
    inexact = (e != 0) & np.isfinite(s) & ((bits & 1) == 0)
    away = (e > 0) == (s > 0)
    return np.where(inexact, np.where(away, bits + 1, bits - 1), bits).view(np.float64)


def nearest(exact: Array, dtype: np.dtype) -> Array:
    """Round doubles (rounded to odd) to the nearest of a narrower type, once."""
    if dtype != BFLOAT:
        return exact.astype(dtype)
    # NumPy's way to bfloat16 is by single precision, which here rounds to odd, too.
    single = exact.astype(np.float32)
    back = single.astype(np.float64)
    bits = single.view(np.int32)
    inexact = (back != exact) & np.isfinite(single) & ((bits & 1) == 0)
    away = (np.abs(exact) > np.abs(back)).astype(np.int32)
    odd = np.where(inexact, bits + 2 * away - 1, bits).astype(np.int32)
    return odd.view(np.float32).astype(dtype)


def integers(value: Array) -> tuple[Array, Array]:
    """Integers as exact sums of two doubles."""
    if value.dtype.itemsize < 8:
        return value.astype(np.float64), np.zeros(value.shape)
    half = value.dtype.type(32)
    high = (value >> half).astype(np.float64) * 2.0**32
    low = (value & value.dtype.type(0xFFFFFFFF)).astype(np.float64)
    return two_sum(high, low)


def narrow_sum(s: Array, e: Array, mode: str, dtype: np.dtype) -> Array:
    """Round the exact sum s + e, as `two_sum` gives it, to `dtype`."""
    if dtype != np.float64:
        return narrow(to_odd(s, e), mode, dtype)
    if mode == "rn":
        return s
    down = (e < 0) & ((mode == "rm") | ((mode == "rz") & (s > 0)))
    up = (e > 0) & ((mode == "rp") | ((mode == "rz") & (s < 0)))
    lower = np.where(down, np.nextafter(s, -np.inf), s)
    return np.where(up, np.nextafter(s, np.inf), lower)


def narrow(exact: Array, mode: str, dtype: np.dtype) -> Array:
    """Round doubles (rounded to odd) to `dtype` by mode rn, rz, rm or rp."""
    near = nearest(exact, dtype)
    if mode == "rn":
        return near
    back = near.astype(np.float64)
    too_high, too_low = back > exact, back < exact
    down, up = dtype.type(-np.inf), dtype.type(np.inf)
    if mode == "rz":
        positive = exact > 0
        step_down, step_up = too_high & positive, too_low & ~positive
    else:
        step_down = too_high if mode == "rm" else np.zeros_like(too_high)
        step_up = too_low if mode == "rp" else np.zeros_like(too_low)
    result = np.where(step_down, np.nextafter(near, down), near)
    return np.where(step_up, np.nextafter(near, up), result)


def sum32(a: Array, b: Array, mode: str = "rn") -> Array:
    """a + b of singles, rounded once."""
    if mode == "rn":
        return a + b
    s, e = two_sum(a.astype(np.float64), b.astype(np.float64))
    result = narrow(to_odd(s, e), mode, np.dtype(np.float32))
    return signed_zero(result, s, a, b) if mode == "rm" else result


def signed_zero(result: Array, exact: Array, a: Array, b: Array) -> Array:
    """Rounded downwards, a sum of zero is -0 unless both addends are positive."""
    negative = (exact == 0) & (np.signbit(a) | np.signbit(b))
    return np.where(negative, result.dtype.type(-0.0), result)


def product32(a: Array, b: Array, mode: str = "rn") -> Array:
    """a * b of singles, rounded once (in double, the product is exact)."""
    if mode == "rn":
        return a * b
    exact = a.astype(np.float64) * b.astype(np.float64)
    return narrow(exact, mode, np.dtype(np.float32))


def fma32(a: Array, b: Array, c: Array, mode: str = "rn") -> Array:
    """a * b + c of singles, rounded once."""
    product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    if mode == "rn":
        total = product + addend
        # Rounding twice is rounding once unless the double is half-way between two
        # singles (so that what it lost decides), or the single is subnormal.
        halfway = total.view(np.int64) & 0x1FFFFFFF == 0x10000000
        small = np.abs(total) < 2.0**-125
        if not (halfway | small & (total != 0)).any():
            return total.astype(np.float32)
    s, e = two_sum(product, addend)
    result = narrow(to_odd(s, e), mode, np.dtype(np.float32))
    return signed_zero(result, s, product, addend) if mode == "rm" else result


def split(a: Array) -> tuple[Array, Array]:
    """Veltkamp's split of a double into two halves of 26 bits."""
    t = a * 134217729.0
    high = t - (t - a)
    return high, a - high


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Dekker's exact product: a * b = p + e, away from overflow and underflow."""
    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def fma64(a: Array, b: Array, c: Array) -> Array:
    """a * b + c of doubles, rounded once."""
    p, pe = two_product(a, b)
    with np.errstate(invalid="ignore"):
        s, se = two_sum(p, c)
        t, te = two_sum(se, pe)
        result = s + to_odd(t, te)
    large = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.abs(c)) > 2.0**400
    small = (np.abs(p) < 2.0**-400) | (np.abs(c) < 2.0**-400)
    hard = large | small | ~np.isfinite(s)
    if hard.any():
        a, b, c, hard = np.broadcast_arrays(a, b, c, hard)
        result = np.array(np.broadcast_to(result, hard.shape))
        result[hard] = doubles.directed("fma", "rn")(a[hard], b[hard], c[hard])
    return result


def half_fma(a: Array, b: Array, c: Array) -> Array:
    """a * b + c of f16 or bf16, rounded once."""
    s, e = two_sum(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64))
    return nearest(to_odd(s, e), a.dtype)


def in_double(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    """A function of halves, computed in double and rounded once."""

    def apply(a: Array, b: Array) -> Array:
        return function(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)

    return apply
