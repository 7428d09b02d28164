"""Accumulating stores: one atomic operation per element.

LLVM makes an instruction of each, or a loop around compare-and-swap where PTX has none
(narrow elements, maximum of floats); only products need a loop of their own.
"""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerType, StringAttr, i1
from xdsl.ir import SSAValue

from stepwell.codegen.llvm_text import is_float
from stepwell.codegen.scalars.elements import store_conversion
from stepwell.codegen.scalars.folds import Fold
from stepwell.dialects import llvm
from stepwell.dialects.dtypes import bit_width
from stepwell.errors import CompileError

from .inline_ptx import ptx
from .kernel import Kernel
from .registers import CARRIERS

_FLOATS = {"add": "fadd", "max": "fmaximum", "min": "fminimum"}
_BOOLEANS = {"add": "or", "max": "or", "mul": "and", "min": "and"}


def accumulate(k: Kernel, kind: str, value: SSAValue, pointer: SSAValue) -> None:
    """`*pointer = combine(*pointer, value)` at once; the value is a carried scalar.

    Raises:
        CompileError: no translation for products of narrow elements.
    """
    b, element = k.b, value.type
    stored = store_conversion(b, value, element, CARRIERS)
    if element == i1:
        kind = _BOOLEANS.get(kind, kind)
    if kind == "mul":
        _multiply(k, value, pointer)
        return
    name = _FLOATS[kind] if is_float(element) else kind
    b.insert(
        llvm.AtomicRMWOp,
        (pointer, stored),
        stored.type,
        {"bin_op": StringAttr(name), "ordering": StringAttr("monotonic")},
    )


def _multiply(k: Kernel, value: SSAValue, pointer: SSAValue) -> None:
    """Read, multiply, and swap if nobody was faster; else again."""
    b, element = k.b, value.type
    width = bit_width(element)
    if width not in (32, 64):
        raise CompileError(f"no translation to a GPU for atomic products of {element}")
    word, letter = IntegerType(width), "l" if width == 64 else "r"
    fold = Fold(b, "mul", element, CARRIERS)
    first = b.load_relaxed(pointer, word, width // 8)
    again, done = b.new_block([word]), b.new_block()
    b.br(again, first)
    b.block = again
    old = again.args[0]
    product = fold.combine(b.cast("bitcast", old, element), value)
    new = b.cast("bitcast", product, word)
    swap = ptx(
        b,
        f"atom.global.cas.b{width} $0, [$1], $2, $3;",
        f"={letter},l,{letter},{letter},~{{memory}}",
        (pointer, old, new),
        word,
    )
    seen = swap.results[0]
    b.cond_br(b.icmp("eq", seen, old), done, (), again, (seen,))
    b.block = done
