"""Functions of the system that kernels call: printf, assertions, malloc, free.

CUDA C++ Programming Guide, sections of those names. Arguments are the bytes
of parameters in each thread's local memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import Threads
from stepwell.runtime.devices.emulated.memory import GLOBAL_BASE, LOCAL_BASE

CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d+))?"
    r"(?P<length>hh|h|ll|l|z|j|t|L)?(?P<kind>[diouxXcsfFeEgGaAp%])"
)
LONG = ("l", "ll", "z", "j", "t")
System = Callable[[Threads, int, Sequence[int]], int]
"""Threads, one of them, and where its parameters are in local memory: the result."""


def _bytes(threads: Threads, lane: int, address: int, size: int) -> bytes:
    """Memory of a thread, by a generic address."""
    if address >= GLOBAL_BASE:
        memory, start = threads.device.memory.memory, address - GLOBAL_BASE
    else:
        memory = threads.wave.local
        start = address - LOCAL_BASE + int(threads.local_offsets[lane])
    if not 0 <= start <= memory.size - size:
        raise DeviceError(
            f"printf or an assertion reads {address:#x}, which holds nothing",
            where=threads.describe(lane),
        )
    return memory.bytes[start : start + size].tobytes()


def _string(threads: Threads, lane: int, address: int) -> str:
    found = bytearray()
    while (byte := _bytes(threads, lane, address + len(found), 1)) != b"\0":
        found += byte
    return found.decode(errors="replace")


def _parameter(threads: Threads, lane: int, offset: int, size: int = 8) -> int:
    at = LOCAL_BASE + offset
    return int.from_bytes(_bytes(threads, lane, at, size), "little")


def vprintf(threads: Threads, lane: int, places: Sequence[int]) -> int:
    """`printf` of one thread, to the device's sink; the number of its arguments."""
    form = _string(threads, lane, _parameter(threads, lane, places[0]))
    start = _parameter(threads, lane, places[1])
    at = 0
    count = 0

    def argument(size: int) -> bytes:
        nonlocal at, count
        at = -(-at // size) * size
        data = _bytes(threads, lane, start + at, size)
        at, count = at + size, count + 1
        return data

    def number(given: str | None) -> str:
        if given != "*":
            return given or ""
        return str(int.from_bytes(argument(4), "little", signed=True))

    def shown(match: re.Match[str]) -> str:
        kind = match["kind"]
        if kind == "%":
            return "%"
        width, precision = number(match["width"]), number(match["precision"])
        spec = f"%{match['flags']}{width}" + (f".{precision}" if precision else "")
        size = 8 if kind in "sp" or match["length"] in LONG or kind in "fFeEgGaA" else 4
        data = argument(size)
        if kind in "fFeEgG":
            return f"{spec}{kind}" % np.frombuffer(data, "f8")[0]
        if kind in "aA":
            text = float(np.frombuffer(data, "f8")[0]).hex()
            return text.upper() if kind == "A" else text
        whole = int.from_bytes(data, "little", signed=kind in "di")
        if kind == "s":
            return f"{spec}s" % _string(threads, lane, whole)
        if kind == "c":
            return f"{spec}c" % chr(whole & 255)
        if kind == "p":
            return f"{spec}s" % hex(whole)
        return f"{spec}{'d' if kind == 'u' else kind}" % whole

    threads.device.sink(CONVERSION.sub(shown, form))
    return count


def assertion_failed(threads: Threads, lane: int, places: Sequence[int]) -> int:
    """`__assertfail(message, file, line, function, size)`: an error."""
    message, file = (
        _string(threads, lane, _parameter(threads, lane, place)) for place in places[:2]
    )
    line = _parameter(threads, lane, places[2], 4)
    raise DeviceError(
        f"{file}:{line}: an assertion failed: {message}", where=threads.describe(lane)
    )


def malloc(threads: Threads, lane: int, places: Sequence[int]) -> int:
    """Global memory for one thread, until it is freed."""
    return threads.device.memory.allocate(_parameter(threads, lane, places[0]))


def free(threads: Threads, lane: int, places: Sequence[int]) -> int:
    """Give memory of `malloc` back; of a null pointer, nothing."""
    address = _parameter(threads, lane, places[0])
    if address:
        threads.device.memory.free(address)
    return 0


SYSTEM: dict[str, System] = {
    "vprintf": vprintf,
    "__assertfail": assertion_failed,
    "malloc": malloc,
    "free": free,
}
