"""exp, log and what is made of them, for f32 and f64.

Sources: the argument reductions and the f32 polynomials of exp and log are those of the
Cephes library (S. Moshier); the f64 log is that of FreeBSD's msun (`e_log.c`); the f64
exp is the Taylor series to degree 13 on |r| <= ln(2)/2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import factorial, inf, nan

from xdsl.dialects.builtin import f32, f64
from xdsl.ir import Attribute

from stepwell.codegen.llvm_types import element_of

from .vectors import V

LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_HIGH: Mapping[Attribute, float] = {
    f32: 0.693359375,
    f64: 6.93147180369123816490e-01,
}
LN2_LOW: Mapping[Attribute, float] = {
    f32: -2.12194440e-4,
    f64: 1.90821492927058770002e-10,
}
ROUND: Mapping[Attribute, float] = {f32: 12582912.0, f64: 6755399441055744.0}
"""1.5 * 2^p: adding it leaves the nearest integer in the low bits."""
ROUND_BITS: Mapping[Attribute, int] = {f32: 0x4B400000, f64: 0x4338000000000000}
MANTISSA: Mapping[Attribute, int] = {f32: 23, f64: 52}
BIAS: Mapping[Attribute, int] = {f32: 127, f64: 1023}
EXP_RANGE: Mapping[Attribute, tuple[float, float]] = {
    f32: (-104.0, 89.0),
    f64: (-746.0, 710.0),
}
EXP_TAIL: Mapping[Attribute, tuple[float, ...]] = {
    # (exp(r) - 1 - r) / r^2
    f32: (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    ),
    f64: tuple(1 / factorial(k) for k in range(14, 1, -1)),
}


def power_of_two(n: V) -> V:
    """`2^n` for integers n in the range of normal numbers."""
    element = f64 if "64" in str(element_of(n.type)) else f32
    return ((n + BIAS[element]) << MANTISSA[element]).as_float()


def reduced(x: V) -> tuple[V, V]:
    """`(n, r)` with `x = n ln(2) + r`, |r| <= ln(2)/2, n an integer vector."""
    element = element_of(x.type)
    shifted = x.fma(LOG2_E, ROUND[element])
    n = shifted.bits() - ROUND_BITS[element]
    whole = shifted - ROUND[element]
    r = whole.fma(-LN2_HIGH[element], x)
    return n, whole.fma(-LN2_LOW[element], r)


def scaled(x: V, n: V) -> V:
    """`x * 2^n` in two steps, so that over- and underflow are rounded once."""
    half = n >> 1
    return x * power_of_two(half) * power_of_two(n - half)


def exp(x: V) -> V:
    """`e^x`; inf and 0 beyond the range."""
    element = element_of(x.type)
    low, high = EXP_RANGE[element]
    n, r = reduced(x.at_most(high).at_least(low))
    value = r.polynomial(EXP_TAIL[element]).fma(r * r, r) + 1.0
    return scaled(value, n)


def exp2(x: V) -> V:
    """`2^x`."""
    element = element_of(x.type)
    limit = BIAS[element] + 1.0
    x = x.at_most(limit).at_least(-limit - MANTISSA[element] - 1)
    shifted = x + ROUND[element]
    n = shifted.bits() - ROUND_BITS[element]
    r = (x - (shifted - ROUND[element])) * LN2
    value = r.polynomial(EXP_TAIL[element]).fma(r * r, r) + 1.0
    return scaled(value, n)


def expm1(x: V) -> V:
    """`e^x - 1`, accurate near 0: `2 (2^(n-1) q + (2^(n-1) - 1/2))`."""
    element = element_of(x.type)
    low = -18.0 if element == f32 else -40.0
    n, r = reduced(x.at_most(EXP_RANGE[element][1]).at_least(low))
    q = r.polynomial(EXP_TAIL[element]).fma(r * r, r)
    half = power_of_two(n - 1)
    value = half.fma(q, half - 0.5) * 2.0
    # Below the smallest normal the reduction rounds; there e^x - 1 is x.
    return x.where(x.abs().compare("olt", 1e-20), value)


def _split(x: V) -> tuple[V, V]:
    """`(e, m)` with `x = 2^e m`, m in [sqrt(1/2), sqrt(2)), e a float; x > 0."""
    element = element_of(x.type)
    bits_of_mantissa, bias = MANTISSA[element], BIAS[element]
    smallest = 2.0 ** (1 - bias)
    tiny = x.compare("olt", smallest)
    x = (x * 2.0 ** (bits_of_mantissa + 2)).where(tiny, x)
    # Subtracting sqrt(1/2)'s bits moves the border between exponents to it.
    root_bits = 0x3F3504F3 if element == f32 else 0x3FE6A09E667F3BCD
    moved = x.bits() - root_bits
    e = moved >> bits_of_mantissa
    m = (x.bits() - (e << bits_of_mantissa)).as_float()
    exponent = e.to_float()
    return (exponent - float(bits_of_mantissa + 2)).where(tiny, exponent), m


def _log_of_mantissa_f32(f: V) -> V:
    """`log(1 + f) - f + f^2/2`, divided by nothing: `f^3 P(f)`."""
    p = f.polynomial(
        (
            7.0376836292e-2,
            -1.1514610310e-1,
            1.1676998740e-1,
            -1.2420140846e-1,
            1.4249322787e-1,
            -1.6668057665e-1,
            2.0000714765e-1,
            -2.4999993993e-1,
            3.3333331174e-1,
        )
    )
    return p * f * (f * f)


_LG = (
    1.479819860511658591e-01,
    1.531383769920937332e-01,
    1.818357216161805012e-01,
    2.222219843214978396e-01,
    2.857142874366239149e-01,
    3.999999999940941908e-01,
    6.666666666666735130e-01,
)


def _log_of_mantissa(f: V) -> tuple[V, V]:
    """`(half, tail)` with `log(1 + f) = f - (half - tail)`."""
    half = f * f * 0.5
    if element_of(f.type) == f32:
        return half, _log_of_mantissa_f32(f)
    s = f / (f + 2.0)
    z = s * s
    return half, s * (half + z * z.polynomial(_LG))


def _log_special(x: V, value: V) -> V:
    """log's values at 0, below 0, at infinity and NaN."""
    value = value.where(x.compare("olt", inf), x)
    value = value.where(x.compare("une", 0.0), value.like(-inf))
    return value.where(x.compare("oge", 0.0), value.like(nan))


def log(x: V) -> V:
    """The natural logarithm."""
    element = element_of(x.type)
    e, m = _split(x)
    f = m - 1.0
    half, tail = _log_of_mantissa(f)
    low = tail + e * LN2_LOW[element]
    return _log_special(x, e.fma(LN2_HIGH[element], f - (half - low)))


def log_base(high: float, low: float, per_exponent: float):
    """The logarithm to a base b, `1/ln(b) = high + low`, `log_b(2) = per_exponent`."""

    def function(x: V) -> V:
        if element_of(x.type) == f32:
            # f64 has room for the product's rounding.
            return _log_special(x, through_f64(function)(x))
        e, m = _split(x)
        f = m - 1.0
        half, tail = _log_of_mantissa(f)
        natural = f - (half - tail)
        return _log_special(x, e.fma(per_exponent, natural * high + natural * low))

    return function


log2 = log_base(1.4426950408889634, 2.0355273740931033e-17, 1.0)
log10 = log_base(0.4342944819032518, 1.098319650216765e-17, 0.3010299956639812)


def log1p(x: V) -> V:
    """`log(1 + x)`: the rounding of `u = 1 + x` is made good by `x / (u - 1)`."""
    u = x + 1.0
    error = u - 1.0
    value = log(u) * (x / error.where(error.compare("une", 0.0), 1.0))
    value = x.where(error.compare("oeq", 0.0), value)
    return u.where(u.compare("oeq", inf), value)


def through_f64(function: Callable[..., V]) -> Callable[..., V]:
    """An f32 function computed in f64 and rounded once."""

    def wrapped(*args: V) -> V:
        if element_of(args[0].type) != f32:
            return function(*args)
        return function(*(a.to_f64() for a in args)).to_f32()

    return wrapped


def tanh(x: V) -> V:
    """`-t / (t + 2)` with `t = expm1(-2|x|)`."""
    t = expm1(x.abs() * -2.0)
    return (-t / (t + 2.0)).with_sign_of(x)


def sinh(x: V) -> V:
    """`(t + t / (t + 1)) / 2`, `t = expm1(|x|)`; `e^(|x|/2)^2 / 2` where it is big."""
    size = x.abs()
    t = expm1(size)
    small = (t + t / (t + 1.0)) * 0.5
    root = exp(size * 0.5)
    value = (root * 0.5 * root).where(size.compare("ogt", 22.0), small)
    return value.with_sign_of(x)


def cosh(x: V) -> V:
    """`(r/2) r + (1/2)/r/r` with `r = e^(|x|/2)`."""
    root = exp(x.abs() * 0.5)
    return (root * 0.5) * root + 0.5 / root / root


def asinh(x: V) -> V:
    """`log1p(|x| + x^2 / (1 + sqrt(1 + x^2)))`; `log(|x|) + ln(2)` where it is big."""
    size = x.abs()
    square = size * size
    near = log1p(size + square / ((square + 1.0).sqrt() + 1.0))
    far = log(size) + LN2
    return far.where(size.compare("ogt", 1e8), near).with_sign_of(x)


def acosh(x: V) -> V:
    """`log1p(t + sqrt(2t + t^2))`, `t = x - 1`; `log(x) + ln(2)` where it is big."""
    t = x - 1.0
    near = log1p(t + (t * 2.0 + t * t).sqrt())
    far = log(x) + LN2
    value = far.where(x.compare("ogt", 1e8), near)
    return value.where(x.compare("oge", 1.0), value.like(nan))


def atanh(x: V) -> V:
    """`log1p(2|x| / (1 - |x|)) / 2`."""
    size = x.abs()
    return (log1p(size * 2.0 / (1.0 - size)) * 0.5).with_sign_of(x)


def cbrt(x: V) -> V:
    """`e^(log(|x|)/3)` and one step of Newton's method."""
    size = x.abs()
    guess = exp(log(size) * (1 / 3))
    better = guess - (guess - size / (guess * guess)) * (1 / 3)
    plain = (guess * guess).compare("ogt", 0.0) & size.compare("olt", inf)
    return better.where(plain, size).with_sign_of(x)


def pow_f64(x: V, y: V) -> V:
    """`x^y` as `e^(y log|x|)` with C's special cases; relative error about 1e-13."""
    size = x.abs()
    value = exp(y * log(size))
    floor = y.intrinsic("floor")
    whole = floor.compare("oeq", y)
    half = y * 0.5
    odd = whole & half.intrinsic("floor").compare("une", half)
    finite = y.abs().compare("olt", inf)
    negative = x.bits().compare("slt", 0)
    value = (-value).where(negative & odd & finite, value)
    bad = x.compare("olt", 0.0) & whole.compare("eq", 0)
    bad = bad & x.compare("ogt", -inf)
    value = value.like(nan).where(bad, value)
    one = size.compare("oeq", 1.0) & y.abs().compare("oeq", inf)
    one = one | y.compare("oeq", 0.0) | x.compare("oeq", 1.0)
    return value.like(1.0).where(one, value)
