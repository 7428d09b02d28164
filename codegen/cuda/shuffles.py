"""Values of other lanes: shuffles of any element type, by 32-bit words."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import IntegerType, i1, i8, i32
from xdsl.ir import SSAValue

from stepwell.codegen.llvm_text import is_float
from stepwell.codegen.llvm_types import element_of, lanes_of, vector
from stepwell.dialects import nvvm
from stepwell.dialects.dtypes import bit_width

from .kernel import Kernel
from .registers import pack, split


def moved(k: Kernel, value: SSAValue, move: Callable[[SSAValue], SSAValue]) -> SSAValue:
    """A scalar or vector whose words `move` brings from elsewhere."""
    b, kind = k.b, value.type
    element, lanes = element_of(kind), lanes_of(kind)
    if element == i1:
        wide = moved(k, b.cast("zext", value, vector(i8, lanes)), move)
        return b.cast("trunc", wide, kind)
    bits = bit_width(element) * lanes
    if bits % 32:
        if is_float(kind):
            whole = vector(IntegerType(bit_width(element)), lanes)
            return b.cast(
                "bitcast", moved(k, b.cast("bitcast", value, whole), move), kind
            )
        if lanes > 1:
            value = b.cast("bitcast", value, IntegerType(bits))
        wide = move(b.cast("zext", value, i32))
        narrow = b.cast("trunc", wide, IntegerType(bits))
        return b.cast("bitcast", narrow, kind)
    if lanes == 1 and bits == 32:
        return move(value)
    words = b.cast("bitcast", value, vector(i32, bits // 32))
    parts = [move(word) for word in split(b, words, 1)]
    return b.cast("bitcast", pack(b, parts), kind)


def from_partner(k: Kernel, value: SSAValue, mask: int) -> SSAValue:
    """The value of the lane whose number differs in the bits of `mask`."""

    def move(word: SSAValue) -> SSAValue:
        return _shuffle(k, "bfly", word, k.number(mask))

    return moved(k, value, move)


def from_lane(k: Kernel, value: SSAValue, lane: SSAValue) -> SSAValue:
    """The value of the lane number `lane`."""

    def move(word: SSAValue) -> SSAValue:
        return _shuffle(k, "idx", word, lane)

    return moved(k, value, move)


def _shuffle(k: Kernel, kind: str, word: SSAValue, lane: SSAValue) -> SSAValue:
    result = k.nvvm(nvvm.ShflOp(kind, k.number(-1), word, lane, k.number(31)))
    assert result is not None
    return result
