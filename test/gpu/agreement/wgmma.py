"""wgmma: types, widths, layouts in shared memory, scales, operands in registers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .form import HEADER, Form
from .matrices import bound_of, listed, metadata, words
from .values import Array, Source

KERNEL = """.extern .shared .align 1024 .b8 s[];
.visible .entry k(.param .u64 in0, .param .u64 in1, .param .u64 in2, .param .u64 in3,
                  .param .u64 out)
{{
  .reg .b32 %index, %i, %w, %x<4>, %base, %a<4>, %e, %d<{registers}>;
  .reg .b64 %at, %left, %right, %t;
  .reg .pred %p;
  mov.u32 %index, %tid.x;
  mov.u32 %base, s;
  shl.b32 %i, %index, 4;
copy:
  ld.param.u64 %at, [in0];
  cvt.u64.u32 %t, %i;
  add.u64 %at, %at, %t;
  ld.global.v4.b32 {{%x0, %x1, %x2, %x3}}, [%at];
  add.u32 %w, %base, %i;
  st.shared.v4.b32 [%w], {{%x0, %x1, %x2, %x3}};
  add.u32 %i, %i, 2048;
  setp.lt.u32 %p, %i, {size};
  @%p bra copy;
  fence.proxy.async.shared::cta;
  bar.sync 0;
  ld.param.u64 %at, [in1];
  mad.wide.u32 %at, %index, {step}, %at;
{loads}
  ld.param.u64 %at, [in2];
  mad.wide.u32 %at, %index, 16, %at;
  ld.global.v4.b32 {{%a0, %a1, %a2, %a3}}, [%at];
  cvt.u64.u32 %left, %base;
  add.u64 %right, %left, {b_start};
  add.u64 %left, %left, {a_start};
  and.b64 %left, %left, 0x3ffff;
  and.b64 %right, %right, 0x3ffff;
  shr.u64 %left, %left, 4;
  shr.u64 %right, %right, 4;
  or.b64 %left, %left, {a_bits:#x};
  or.b64 %right, %right, {b_bits:#x};
  ld.param.u64 %at, [in3];
  mad.wide.u32 %at, %index, 4, %at;
  ld.global.b32 %e, [%at];
  setp.ne.u32 %p, {keep}, 0;
  wgmma.fence.sync.aligned;
  {text} {d}, {a}, %right, {sparse}{tail};
  wgmma.commit_group.sync.aligned;
  wgmma.wait_group.sync.aligned 0;
  ld.param.u64 %at, [out];
  mad.wide.u32 %at, %index, {step}, %at;
{stores}
  ret;
}}
"""
SWIZZLE_BITS = {0: 0, 128: 1, 64: 2, 32: 3}
A_SIZE = 16384


@dataclass(frozen=True)
class Case:
    """One `wgmma.mma_async`; strides are those of the descriptors, in bytes."""

    a: str
    b: str
    d: str
    columns: int
    swizzle: int = 128
    transposed: tuple[int, int] = (0, 0)
    keep: int = 1
    signs: tuple[int, int] = (1, 1)
    held: bool = False
    saturate: bool = False
    sparse: int | None = None
    start: int = 0
    strides: tuple[tuple[int, int], tuple[int, int]] | None = None
    numbers: str = "integers"

    @property
    def depth(self) -> int:
        """Elements along k: 32 bytes of them."""
        dense = {"tf32": 8, "f16": 16, "bf16": 16, "b1": 256}.get(self.a, 32)
        return dense if self.sparse is None else 2 * dense

    @property
    def is_float(self) -> bool:
        """Scales of the inputs are allowed."""
        return self.d != "s32"

    @property
    def name(self) -> str:
        """All that is not as usual."""
        parts = [f"m64n{self.columns}k{self.depth} {self.d} {self.a} {self.b}"]
        parts.append(f"swizzle {self.swizzle}")
        if self.held:
            parts.append("a in registers")
        for operand, flag in zip("ab", self.transposed, strict=True):
            if flag:
                parts.append(f"{operand} transposed")
        if not self.keep:
            parts.append("scale-d 0")
        if self.signs != (1, 1):
            parts.append(f"scales {self.signs}")
        if self.saturate:
            parts.append("satfinite")
        if self.sparse is not None:
            parts.append(f"sparse, selector {self.sparse}")
        if self.start:
            parts.append(f"start {self.start}")
        if self.numbers != "integers":
            parts.append(self.numbers)
        return ", ".join(parts)

    def descriptor(self, operand: int) -> int:
        """The descriptor's bits but for the start."""
        if self.strides is not None:
            leading, stride = self.strides[operand]
        elif self.transposed[operand]:
            leading, stride = (2048, 1024) if self.swizzle else (128, 256)
            leading, stride = (
                (leading, stride)
                if self.swizzle in (0, 128)
                else (leading, 8 * self.swizzle)
            )
        elif self.swizzle:
            leading, stride = 16, 8 * self.swizzle  # k is within a row
        else:
            leading, stride = 128, 256
        bits = (leading >> 4) << 16 | (stride >> 4) << 32
        return bits | SWIZZLE_BITS[self.swizzle] << 62


SIZE = 2 * A_SIZE + 32768


def opcode_of(case: Case) -> str:
    """The instruction with its modifiers."""
    opcode = "wgmma.mma_async" + ("" if case.sparse is None else ".sp")
    text = f"{opcode}.sync.aligned.m64n{case.columns}k{case.depth}"
    text += f".{case.d}.{case.a}.{case.b}"
    if case.a == "b1":
        return f"{text}.and.popc"
    return f"{text}.satfinite" if case.saturate else text


def tail_of(case: Case) -> str:
    """The operands behind the descriptors: scales, and flags of transposition."""
    parts = ["%p"]
    if case.is_float:
        parts += map(str, case.signs)
        if case.a in ("f16", "bf16"):
            parts += map(str, case.transposed[1:] if case.held else case.transposed)
    return ", ".join(parts)


def kernel_of(case: Case, registers: int) -> str:
    """The kernel's PTX."""
    places = [f"%d{i}, [%at+{4 * i}]" for i in range(registers)]
    stores = [f"[%at+{4 * i}], %d{i}" for i in range(registers)]
    return HEADER + KERNEL.format(
        registers=registers,
        size=SIZE,
        step=4 * registers,
        loads="\n".join(f"  ld.global.b32 {place};" for place in places),
        stores="\n".join(f"  st.global.b32 {place};" for place in stores),
        a_start=case.start,
        b_start=A_SIZE + case.start,
        a_bits=case.descriptor(0),
        b_bits=case.descriptor(1),
        keep=case.keep,
        text=opcode_of(case),
        d=listed("d", registers),
        a=listed("a", 4) if case.held else "%left",
        tail=tail_of(case),
        sparse="" if case.sparse is None else f"%e, {case.sparse}, ",
    )


def inputs_of(case: Case, registers: int) -> tuple[Array, ...]:
    """Shared memory, first sums, a left operand for registers, metadata."""
    source = Source(case.name)
    left = words(source, case.a, A_SIZE // 4, case.numbers)
    right = words(source, case.b, (SIZE - A_SIZE) // 4, case.numbers)
    start = words(source, case.d, 128 * registers, case.numbers)
    if case.d == "s32" and not case.saturate:
        start = (start.view("i4") >> 4).view("u4")
    held = words(source, case.a, 128 * 4, case.numbers)
    places = metadata(source, "halves" if case.a == "tf32" else "pairs", 128)
    shared = np.concatenate([left, right])
    return shared, start.reshape(128, registers), held.reshape(128, 4), places


def form(case: Case) -> Form:
    """The form of a case."""
    registers = case.columns // (4 if case.d == "f16" else 2)
    bound = None
    if case.numbers != "integers":
        bound = bound_of(case.a, case.b, case.d, case.depth)
    return Form(
        *("wgmma", case.name, kernel_of(case, registers), inputs_of(case, registers)),
        np.zeros((128, registers), "u4"),
        {"f32": "f32", "f16": "f16x2", "s32": ""}[case.d],
        bound,
        threads=128,
        shared=SIZE,
    )


def forms() -> Iterator[Form]:
    """All of them."""
    seen: set[str] = set()
    for case in _cases():
        if case.name not in seen:
            seen.add(case.name)
            yield form(case)


PAIRS = (
    *(("f16", "f16", "f32"), ("f16", "f16", "f16"), ("bf16", "bf16", "f32")),
    ("tf32", "tf32", "f32"),
    *(
        (a, b, d)
        for d in ("f32", "f16")
        for a in ("e4m3", "e5m2")
        for b in ("e4m3", "e5m2")
    ),
    *((a, b, "s32") for a in ("s8", "u8") for b in ("s8", "u8")),
    ("b1", "b1", "s32"),
)


def _cases() -> Iterator[Case]:
    for a, b, d in PAIRS:
        for swizzle in (0, 32, 64, 128):
            yield Case(a, b, d, 64, swizzle)
        for columns in (8, 16, 128, 256):
            yield Case(a, b, d, columns)
        yield Case(a, b, d, 64, keep=0)
        yield Case(a, b, d, 64, held=True)
        if d == "s32":
            if a != "b1":
                yield Case(a, b, d, 64, saturate=True)
            continue
        for numbers in ("reals", "edges"):
            yield Case(a, b, d, 64, numbers=numbers)
            yield Case(a, b, d, 64, numbers=numbers, held=True)
        for signs in ((-1, 1), (1, -1), (-1, -1)):
            yield Case(a, b, d, 64, signs=signs)
    for a in ("f16", "bf16"):
        for flags in ((1, 0), (0, 1), (1, 1)):
            for swizzle in (0, 32, 64, 128):
                for columns in (64, 128):
                    yield Case(a, a, "f32", columns, swizzle, flags)
        yield Case(a, a, "f32", 64, 128, (0, 1), held=True)
    for a, b, d in PAIRS[:-1]:
        for selector in (0, 1) if a in ("f16", "bf16", "tf32") else (0,):
            yield Case(a, b, d, 64, sparse=selector)
            yield Case(a, b, d, 64, sparse=selector, held=True)
    for columns in (24, 40, 96, 192, 248):
        yield Case("f16", "f16", "f32", columns)
    for start in (32, 64, 96, 128, 256, 384, 1024, 1280):
        yield Case("f16", "f16", "f32", 64, 128, start=start)
    for start in (32, 64, 192):
        yield Case("f16", "f16", "f32", 64, 64, start=start)
        yield Case("s8", "s8", "s32", 64, 32, start=start)
    wide = ((16, 1280), (16, 2048))
    yield Case("f16", "f16", "f32", 32, 128, strides=wide)
