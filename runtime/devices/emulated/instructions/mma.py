"""mma.sync: dense products of the common shapes; others are in shapes.py, sparse.py."""

from __future__ import annotations

import numpy as np

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import Instruction
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    instruction,
    unsupported,
)

from .block_scale import KINDS, narrow_mma
from .matrix import (
    OPERAND_TYPES,
    Fragment,
    a_fragment,
    b_fragment,
    from_accumulator,
    product,
    to_accumulator,
    to_tf32,
    whole_warps,
)
from .shapes import general_mma
from .sparse import sparse_mma


@instruction("mma")
def mma(one: Instruction, scope: Scope) -> Operation:
    """`mma.sync`: the common shapes, m16n8k* of 8 to 32 bits, here."""
    modifiers = one.modifiers
    if any(m in ("sp", "sp::ordered_metadata") for m in modifiers):
        if any(m in KINDS for m in modifiers):
            raise unsupported(one)
        return sparse_mma(one, scope)
    if any(m in KINDS for m in modifiers):
        return narrow_mma(one, scope)
    known = [m for m in modifiers if m in OPERAND_TYPES or m == "s32"]
    shape = next((m for m in modifiers if m.startswith("m16n8k")), None)
    if len(known) != 4 or shape is None:
        return general_mma(one, scope)
    if "col" not in modifiers or len(one.operands) != 4:
        raise unsupported(one)
    d_type, a_type, b_type, c_type = known
    if d_type != c_type or d_type not in ("f32", "f16", "s32"):
        raise unsupported(one)
    result = np.dtype({"f32": "f4", "f16": "f2", "s32": "i4"}[d_type])
    to, *of = (Fragment.of(one, operand, scope) for operand in one.operands)
    per_register = 4 // OPERAND_TYPES[a_type].itemsize
    if int(shape[6:]) != 2 * of[0].rows.size * per_register:
        raise unsupported(one)
    saturate = "satfinite" in modifiers

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        a_words, b_words, c_words = (part.gather(threads, warps) for part in of)
        a = a_fragment(a_words, OPERAND_TYPES[a_type])
        b = b_fragment(b_words, OPERAND_TYPES[b_type])
        if a_type == "tf32":
            a, b = to_tf32(a), to_tf32(b)
        d = product(a, b, to_accumulator(c_words, result), result, saturate)
        to.scatter(threads, warps, from_accumulator(d))

    return run
