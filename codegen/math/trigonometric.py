"""sin, cos, tan, their inverses, and erf.

The trigonometric functions are computed in f64 for both widths: kernels `k_sin.c` and
`k_cos.c` of FreeBSD's msun after a reduction by pi/2 in two parts, which is accurate
for arguments up to about 2^40; atan is that of the Cephes library.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

from .exponential import ROUND, ROUND_BITS, exp, f64
from .vectors import V

_PIO2_HIGH = 1.5707963267948966
_PIO2_LOW = 6.123233995736766e-17
_SIN = (
    1.58969099521155010221e-10,
    -2.50507602534068634195e-08,
    2.75573137070700676789e-06,
    -1.98412698298579493134e-04,
    8.33333333332248946124e-03,
    -1.66666666666666324348e-01,
)
_COS = (
    -1.13596475577881948265e-11,
    2.08757232129817482790e-09,
    -2.75573143513906633035e-07,
    2.48015872894767294178e-05,
    -1.38888888888741095749e-03,
    4.16666666666666019037e-02,
)


def _quadrant(x: V) -> tuple[V, V, V]:
    """`(n, sin(r), cos(r))` with `x = n pi/2 + r`, |r| <= pi/4."""
    shifted = x.fma(2 / pi, ROUND[f64])
    n = shifted.bits() - ROUND_BITS[f64]
    whole = shifted - ROUND[f64]
    r = whole.fma(-_PIO2_HIGH, x)
    r = whole.fma(-_PIO2_LOW, r)
    z = r * r
    sine = (z.polynomial(_SIN) * z).fma(r, r)
    cosine = 1.0 - z * 0.5 + z * z * z.polynomial(_COS)
    return n, sine, cosine


def _signed(value: V, flip: V) -> V:
    return (-value).where(flip.compare("ne", 0), value)


def sin(x: V) -> V:
    """The sine; of f64."""
    n, sine, cosine = _quadrant(x)
    value = cosine.where((n & 1).compare("ne", 0), sine)
    value = _signed(value, n & 2)
    return x.where(x.compare("oeq", 0.0), value)


def cos(x: V) -> V:
    """The cosine; of f64."""
    n, sine, cosine = _quadrant(x)
    value = sine.where((n & 1).compare("ne", 0), cosine)
    return _signed(value, (n + 1) & 2)


def tan(x: V) -> V:
    """The tangent; of f64."""
    n, sine, cosine = _quadrant(x)
    odd = (n & 1).compare("ne", 0)
    top = (-cosine).where(odd, sine)
    value = top / sine.where(odd, cosine)
    return x.where(x.compare("oeq", 0.0), value)


_ATAN_P = (
    -8.750608600031904122785e-1,
    -1.615753718733365076637e1,
    -7.500855792314704667340e1,
    -1.228866684490136173410e2,
    -6.485021904942025371773e1,
)
_ATAN_Q = (
    1.0,
    2.485846490142306297962e1,
    1.650270098316988542046e2,
    4.328810604912902668951e2,
    4.853903996359136964868e2,
    1.945506571482613964425e2,
)


def atan(x: V) -> V:
    """The inverse tangent; of f64."""
    size = x.abs()
    far = size.compare("ogt", 2.41421356237309504880)
    middle = size.compare("ogt", 0.66)
    t = (-1.0 / size).where(far, ((size - 1.0) / (size + 1.0)).where(middle, size))
    base = size.like(pi / 2).where(far, size.like(pi / 4).where(middle, 0.0))
    low = size.like(_PIO2_LOW).where(far, size.like(_PIO2_LOW / 2).where(middle, 0.0))
    z = t * t
    tail = z * z.polynomial(_ATAN_P) / z.polynomial(_ATAN_Q)
    value = base + (tail.fma(t, low) + t)
    return value.with_sign_of(x)


def atan2(y: V, x: V) -> V:
    """The angle of the point (x, y), in all quadrants; of f64."""
    big_y = y.abs().compare("ogt", x.abs())
    top, bottom = x.where(big_y, y).abs(), y.where(big_y, x).abs()
    zero = bottom.compare("oeq", 0.0)
    both_inf = top.compare("oeq", float("inf"))
    ratio = (top / bottom).where(zero.compare("eq", 0), 0.0)
    ratio = ratio.like(1.0).where(both_inf, ratio)
    angle = atan(ratio)
    angle = (pi / 2 - angle).where(big_y, angle)
    negative = x.bits().compare("slt", 0)
    angle = (pi - angle).where(negative, angle)
    angle = (x + y).where((x + y).is_nan() & (x.is_nan() | y.is_nan()), angle)
    return angle.with_sign_of(y)


def asin(x: V) -> V:
    """`2 atan(x / (1 + sqrt(1 - x^2)))`; of f64."""
    root = ((1.0 - x) * (x + 1.0)).sqrt()
    return atan(x / (root + 1.0)) * 2.0


def acos(x: V) -> V:
    """`2 atan(sqrt((1 - x) / (1 + x)))`; of f64."""
    return atan(((1.0 - x) / (x + 1.0)).sqrt()) * 2.0


def erf_f32(x: V, exp: Callable[[V], V] = exp) -> V:
    """The error function; of f32, within 1 ulp.

    `exp` is the exponential to compute it by, of numbers from -16 to 0.

    Source: N. Juffa's minimax approximations, https://stackoverflow.com/a/35148199:
    `x P(x^2)` for |x| <= 0.9277, else `1 - exp(Q(|x|))`.
    """
    size = x.abs().at_most(4.0)
    square = size * size
    far = size.fma(-1.72853470e-5, 3.83197126e-4)
    far = far.fma(square, size.fma(-3.88396438e-3, 2.42546219e-2))
    for c in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        far = far.fma(size, c)
    far = (1.0 - exp(far.fma(size, -size))).with_sign_of(x)
    near = square.polynomial(
        (
            -5.96761703e-4,
            4.99119423e-3,
            -2.67681349e-2,
            1.12819925e-1,
            -3.76125336e-1,
            1.28379166e-1,
        )
    )
    return far.where(size.compare("ogt", 0.927734375), near.fma(x, x))
