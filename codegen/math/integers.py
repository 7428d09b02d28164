"""Integer powers."""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerType

from stepwell.codegen.llvm_types import element_of

from .vectors import V


def ipow(base: V, exponent: V) -> V:
    """`base^exponent` by repeated squaring, wrapping around.

    A negative exponent gives the integer part of the reciprocal's power: 0 but for
    bases of 1 and -1 (and for 0, whose powers have no value).
    """
    b = base.b
    element = element_of(base.type)
    assert isinstance(element, IntegerType)
    with b.loop(
        element.width.data, [base.like(1).value, base.value, exponent.value]
    ) as loop:
        total, power, rest = (V(b, v) for v in loop.args)
        odd = (rest & 1).compare("ne", 0)
        total = (total * power).where(odd, total)
        loop.results = [total.value, (power * power).value, (rest >> 1).value]
    plain = V(b, loop.results[0])
    alternating = base.where((exponent & 1).compare("ne", 0), base * base)
    unit = (base * base).compare("eq", 1)
    inverse = alternating.where(unit, 0)
    return inverse.where(exponent.compare("slt", 0), plain)
