"""A form of an instruction as a kernel, with the inputs that it is tried on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from . import values
from .values import Array

LANES = 1024
HEADER = ".version 8.7\n.target sm_90a\n.address_size 64\n"


@dataclass(frozen=True)
class Bound:
    """How far results may lie apart, as numbers of a type; both must be NaN together.

    `|x - y| <= relative * |y| + absolute`, or `ulps` units in the last place.
    """

    dtype: str
    relative: float = 0.0
    absolute: float = 0.0
    source: str = ""


@dataclass(frozen=True)
class Map:
    """A tensor map over a buffer: the arguments of `encode_tensor_map`, or im2col's."""

    buffer: int
    element: str
    dims: Sequence[int]
    strides: Sequence[int]
    box: Sequence[int] = ()
    lower: Sequence[int] = ()
    upper: Sequence[int] = ()
    channels: int = 0
    pixels: int = 0
    steps: Sequence[int] = ()
    swizzle: str = "none"
    oob_fill: str = "none"


@dataclass(frozen=True)
class Form:
    """One kernel `k(maps..., inputs..., output)`; `output` holds its first contents.

    `kind` is the type of the results where they are floats ("" else), by which NaNs are
    told. `bound` is None where all bits must agree.
    """

    family: str
    name: str
    ptx: str
    inputs: tuple[Array, ...]
    output: Array
    kind: str = ""
    bound: Bound | None = None
    maps: tuple[Map, ...] = ()
    threads: int = 256
    blocks: int = 1
    cluster: int = 1
    shared: int = 0

    @property
    def digest(self) -> int:
        """Of the kernel and its inputs: recorded results are of these or of others."""
        code = zlib.crc32(self.ptx.encode())
        for array in (*self.inputs, self.output):
            code = zlib.crc32(np.ascontiguousarray(array).tobytes(), code)
        return zlib.crc32(repr(self.maps).encode(), code)


REGISTERS = {1: "b16", 2: "b16", 4: "b32", 8: "b64"}
LOADS = {1: "u8", 2: "b16", 4: "b32", 8: "b64"}


def _declared(name: str, type_: str) -> str:
    register = "pred" if type_ == "pred" else REGISTERS[values.width(type_)]
    return f"  .reg .{register} %{name};"


def _loaded(name: str, index: int, type_: str) -> list[str]:
    width = values.width(type_)
    lines = [
        f"  ld.param.u64 %base, [in{index}];",
        f"  mad.wide.u32 %at, %index, {width}, %base;",
    ]
    if type_ == "pred":
        return [
            *lines,
            "  ld.global.u8 %half, [%at];",
            f"  setp.ne.u16 %{name}, %half, 0;",
        ]
    return [*lines, f"  ld.global.{LOADS[width]} %{name}, [%at];"]


def kernel_of(body: str, result: str, sources: Sequence[str]) -> str:
    """A kernel whose threads load `%a %b ...`, run `body`, and store `%d`."""
    names = "abcefg"[: len(sources)]
    parameters = [f".param .u64 in{i}" for i in range(len(sources))]
    lines = [
        f".visible .entry k({', '.join([*parameters, '.param .u64 out'])})",
        "{",
        "  .reg .b16 %half;",
        "  .reg .b32 %index, %block, %size;",
        "  .reg .b64 %base, %at;",
        _declared("d", result),
        *(_declared(n, t) for n, t in zip(names, sources, strict=True)),
        "  mov.u32 %index, %tid.x;",
        "  mov.u32 %block, %ctaid.x;",
        "  mov.u32 %size, %ntid.x;",
        "  mad.lo.u32 %index, %block, %size, %index;",
    ]
    for index, (name, type_) in enumerate(zip(names, sources, strict=True)):
        lines += _loaded(name, index, type_)
    lines += [f"  {{ {body} }}", "  ld.param.u64 %base, [out];"]
    width = values.width(result)
    lines.append(f"  mad.wide.u32 %at, %index, {width}, %base;")
    if result == "pred":
        lines.append("  selp.u16 %half, 1, 0, %d;")
        lines.append("  st.global.u8 [%at], %half;")
    else:
        lines.append(f"  st.global.{LOADS[width]} [%at], %d;")
    return HEADER + "\n".join([*lines, "  ret;", "}", ""])


def elementwise(
    family: str,
    name: str,
    result: str,
    sources: Sequence[str],
    body: str = "",
    *,
    draw: Sequence[Callable[[values.Source, int], Array] | None] = (),
    bound: Bound | None = None,
    lanes: int = LANES,
    ftz: bool = False,
) -> Form:
    """A form of one instruction on independent threads.

    The body is `name %d, %a, %b...;` unless given. `draw` makes the values of the
    sources that edge values and random bits of their type do not serve.
    """
    operands = ", ".join(f"%{n}" for n in ("d", *"abcefg"[: len(sources)]))
    text = body or f"{name} {operands};"
    bits = values.Source(name)
    drawn = values.combined(bits, sources, draw, lanes)
    kind = result if result in values.FLOATS else ""
    output = np.zeros(lanes, values.dtype(result))
    ptx = kernel_of(text, result, sources)
    blocks = max(1, lanes // 256)
    return Form(
        family,
        name,
        ptx,
        drawn,
        output,
        kind,
        bound,
        threads=min(lanes, 256),
        blocks=blocks,
    )


@dataclass
class Table:
    """Forms collected, with names that are unique."""

    forms: dict[str, Form] = field(default_factory=dict[str, Form])

    def add(self, form: Form) -> None:
        """Keep a form; ValueError if its name is taken."""
        key = f"{form.family}/{form.name}"
        if key in self.forms:
            raise ValueError(f"two forms are called {key}")
        self.forms[key] = form


Draw = Callable[[values.Source, int], NDArray]
