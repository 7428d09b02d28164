"""Exchanges within a warp: shfl, vote, match, redux, activemask, elect.

ISA chapter "Parallel Synchronization and Communication Instructions".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import WARP, Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import Instruction, Pair
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    element_type,
    instruction,
    unsupported,
)

from .barriers import converged

Array = NDArray
BITS = (1 << np.arange(WARP, dtype=np.uint64)).astype(np.uint64)


def warps(value: Array, mask: Mask) -> Array:
    """A value of all threads as `[warps, 32]`."""
    return np.broadcast_to(value, mask.shape).reshape(-1, WARP)


def words(flags: Array) -> Array:
    """One bit per lane of each warp, as one word per warp."""
    return (flags * BITS).sum(axis=1, dtype=np.uint64).astype(np.uint32)


def to_lanes(per_warp: Array) -> Array:
    """A value per warp, for each of its threads."""
    return np.repeat(per_warp, WARP)


@instruction("shfl")
def shuffle(one: Instruction, scope: Scope) -> Operation:
    """`shfl.sync`: up, down, bfly, idx, within segments given by the clamp operand."""
    mode = next(m for m in one.modifiers if m in ("up", "down", "bfly", "idx"))
    target = one.operands[0]
    pair = target if isinstance(target, Pair) else None
    write = scope.write(pair.first if pair else target, "b32")
    flag = scope.write(pair.second, "pred") if pair else None
    value, by, clamp = (scope.read(o, "b32") for o in one.operands[1:4])
    lanes = np.arange(WARP)

    def run(threads: Threads, mask: Mask) -> None:
        offset = warps(by(threads), mask).astype(np.int64) & 31
        limit = warps(clamp(threads), mask).astype(np.int64)
        segment, bound = limit >> 8 & 31, limit & 31
        highest = (lanes & segment) | (bound & ~segment)
        lowest = lanes & segment
        if mode == "up":
            source = lanes - offset
            inside = source >= highest
        else:
            source = {
                "down": lanes + offset,
                "bfly": lanes ^ offset,
                "idx": lowest | (offset & ~segment),
            }[mode]
            inside = source <= highest
        source = np.where(inside, source, lanes)
        taken = np.take_along_axis(warps(value(threads), mask), source, axis=1)
        write(threads, mask, taken.reshape(-1))
        if flag is not None:
            flag(threads, mask, inside.reshape(-1))

    return converged(scope.read(one.operands[-1], "b32"), run)


@instruction("vote")
def vote(one: Instruction, scope: Scope) -> Operation:
    """`vote.sync`: all, any, uni, ballot over the lanes that take part."""
    mode = next(m for m in one.modifiers if m in ("all", "any", "uni", "ballot"))
    read = scope.read(one.operands[1], "pred")
    write = scope.write(one.operands[0], "b32" if mode == "ballot" else "pred")

    def run(threads: Threads, mask: Mask) -> None:
        here = mask.reshape(-1, WARP)
        holds = warps(read(threads), mask)
        some = np.bitwise_or.reduce(holds & here, axis=1)
        every = np.bitwise_and.reduce(holds | ~here, axis=1)
        outcome: Array = {
            "all": lambda: every,
            "any": lambda: some,
            "uni": lambda: every | ~some,
            "ballot": lambda: words(holds & here),
        }[mode]()
        write(threads, mask, to_lanes(outcome))

    return converged(scope.read(one.operands[-1], "b32"), run)


@instruction("activemask")
def activemask(one: Instruction, scope: Scope) -> Operation:
    """The threads of the warp that execute together."""
    write = scope.write(one.operands[0], "b32")

    def run(threads: Threads, mask: Mask) -> None:
        write(threads, mask, to_lanes(words(mask.reshape(-1, WARP))))

    return run


@instruction("match")
def match(one: Instruction, scope: Scope) -> Operation:
    """`match.any.sync`: the lanes with an equal value; `.all` if they are all equal."""
    type_ = element_type(one)
    read = scope.read(one.operands[1], type_)
    target = one.operands[0]
    pair = target if isinstance(target, Pair) else None
    write = scope.write(pair.first if pair else target, "b32")
    flag = scope.write(pair.second, "pred") if pair else None

    def run(threads: Threads, mask: Mask) -> None:
        here = mask.reshape(-1, WARP)
        value = warps(read(threads), mask)
        equal = (value[:, :, None] == value[:, None, :]) & here[:, None, :]
        if "any" in one.modifiers:
            per_lane = (equal * BITS).sum(axis=2, dtype=np.uint64)
            write(threads, mask, per_lane.astype(np.uint32).reshape(-1))
            return
        same = (equal | ~here[:, None, :]).all(axis=2).reshape(-1)
        everyone = to_lanes(words(here))
        write(threads, mask, np.where(same, everyone, np.uint32(0)))
        if flag is not None:
            flag(threads, mask, same)

    return converged(scope.read(one.operands[-1], "b32"), run)


REDUCTIONS: dict[str, tuple[Callable[..., Array], int]] = {
    "add": (np.add.reduce, 0),
    "and": (np.bitwise_and.reduce, -1),
    "or": (np.bitwise_or.reduce, 0),
    "xor": (np.bitwise_xor.reduce, 0),
}


@instruction("redux")
def redux(one: Instruction, scope: Scope) -> Operation:
    """`redux.sync`: one reduction over the lanes that take part."""
    type_ = element_type(one)
    if type_ not in ("b32", "u32", "s32"):
        raise unsupported(one)
    name = next(m for m in one.modifiers if m in (*REDUCTIONS, "min", "max"))
    read = scope.read(one.operands[1], type_)
    write = scope.write(one.operands[0], type_)

    def run(threads: Threads, mask: Mask) -> None:
        here = mask.reshape(-1, WARP)
        value = warps(read(threads), mask)
        if name in REDUCTIONS:
            reduce, neutral = REDUCTIONS[name]
            kept = np.where(here, value, np.array(neutral).astype(value.dtype))
            outcome = reduce(kept, axis=1, dtype=value.dtype)
        else:
            info = np.iinfo(value.dtype)
            neutral = info.max if name == "min" else info.min
            kept = np.where(here, value, value.dtype.type(neutral))
            outcome = getattr(kept, name)(axis=1)
        write(threads, mask, to_lanes(outcome))

    return converged(scope.read(one.operands[-1], "b32"), run)


@instruction("elect")
def elect(one: Instruction, scope: Scope) -> Operation:
    """`elect.sync`: the lowest lane that takes part is the leader."""
    pair = one.operands[0]
    assert isinstance(pair, Pair)
    write, flag = scope.write(pair.first, "b32"), scope.write(pair.second, "pred")

    def run(threads: Threads, mask: Mask) -> None:
        leader = to_lanes(mask.reshape(-1, WARP).argmax(axis=1))
        write(threads, mask, leader)
        flag(threads, mask, np.arange(mask.size) % WARP == leader)

    return converged(scope.read(one.operands[-1], "b32"), run)
