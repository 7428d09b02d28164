"""Products of matrices by a warp: mma, wmma, ldmatrix, stmatrix, movmatrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from .form import HEADER, Bound, Form
from .values import Array, Source

WARPS = 8
NUMBERS: dict[str, np.dtype] = {
    "f16": np.dtype("f2"),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "tf32": np.dtype("f4"),
    "f32": np.dtype("f4"),
    "f64": np.dtype("f8"),
    "e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
NUMBER_KINDS = ("integers", "reals", "edges")
REACH = {"e4m3": 8, "e5m2": 4, "f16": 16, "bf16": 16}
"""Integers up to here are drawn, so that products of them are exact."""


def words(source: Source, type_: str, count: int, kind: str) -> Array:
    """`count` 32-bit words of packed operands, of integers, reals or edges."""
    if type_ not in NUMBERS:
        return source.bits(count, "u4")
    number = NUMBERS[type_]
    total = count * 4 // number.itemsize
    if kind == "edges":
        special = np.array([1, -1, 2.0**-3, 3, -0.0, np.inf, -np.inf, np.nan])
        with np.errstate(invalid="ignore"):
            special = special.astype(number)
        least = np.array([1, 3], f"u{number.itemsize}").view(number)  # subnormal
        special = np.concatenate([special[:4], least, special])
        chosen = special[source.below(special.size, total)]
        sparse = source.below(8, total) == 0
        values = np.where(sparse, chosen, np.zeros(1, number))
        return np.ascontiguousarray(values.astype(number)).view("u4")
    if kind == "integers":
        reach = REACH.get(type_, 32)
        values = (source.below(2 * reach + 1, total) - reach).astype("f8")
    else:
        size = np.ldexp(source.between(1, 2, total), source.below(8, total) - 4)
        values = np.where(source.below(2, total) == 1, size, -size)
    return np.ascontiguousarray(values.astype(number)).view("u4")


@dataclass(frozen=True)
class Product:
    """An `mma`: its text, the operands' types, and the registers of a, b, c and d."""

    text: str
    a: str
    b: str
    c: str
    registers: tuple[int, int, int, int]
    tail: str = ""
    metadata: str = ""

    @property
    def whole(self) -> bool:
        """Integers only: everything is exact."""
        return self.c == "s32"


def listed(name: str, count: int) -> str:
    """`{%a0, %a1}`."""
    return "{" + ", ".join(f"%{name}{i}" for i in range(count)) + "}"


def kernel(one: Product) -> str:
    """Load the registers of a, b and c of each lane, multiply, store those of d."""
    bank = "b64" if one.a == "f64" else "b32"
    size = 8 if bank == "b64" else 4
    names = dict(zip("abcd", one.registers, strict=True))
    sources = "abc" + ("e" if one.metadata else "")
    parameters = ", ".join(f".param .u64 in{i}" for i in range(len(sources)))
    lines = [
        f".visible .entry k({parameters}, .param .u64 out)",
        "{",
        "  .reg .b32 %index, %e0;",
        "  .reg .b64 %at;",
        *(f"  .reg .{bank} %{name}<{count}>;" for name, count in names.items()),
        "  mov.u32 %index, %tid.x;",
    ]
    for number, name in enumerate(sources):
        count = names.get(name, 1)
        step = count * (size if name != "e" else 4)
        kind = bank if name != "e" else "b32"
        lines.append(f"  ld.param.u64 %at, [in{number}];")
        lines.append(f"  mad.wide.u32 %at, %index, {step}, %at;")
        for i in range(count):
            at = i * (size if name != "e" else 4)
            lines.append(f"  ld.global.{kind} %{name}{i}, [%at+{at}];")
    d, a, b, c = (listed(name, names[name]) for name in "dabc")
    lines.append(f"  {one.text} {d}, {a}, {b}, {c}{one.tail};")
    lines.append("  ld.param.u64 %at, [out];")
    lines.append(f"  mad.wide.u32 %at, %index, {names['d'] * size}, %at;")
    for i in range(names["d"]):
        lines.append(f"  st.global.{bank} [%at+{i * size}], %d{i};")
    return HEADER + "\n".join([*lines, "  ret;", "}", ""])


def product(family: str, one: Product, numbers: str, depth: int) -> Form:
    """A form of a product on integers, on reals with a bound, or on edges.

    Edges are infinities, NaNs, subnormals: few among zeros, so that sums are exact.
    """
    lanes = 32 * WARPS
    name = f"{one.text}{one.tail.replace(', %e0', '')} on {numbers}"
    source = Source(name)
    bits = "u8" if one.a == "f64" else "u4"
    inputs: list[Array] = []
    for type_, count in zip((one.a, one.b, one.c), one.registers[:3], strict=True):
        total = lanes * count * np.dtype(bits).itemsize // 4
        drawn = words(source, type_, total, numbers)
        if type_ == "s32":  # sums that do not reach the ends of the range, and some
            drawn = (drawn.view("i4") >> (0 if "satfinite" in one.text else 3)).view(
                "u4"
            )
        inputs.append(drawn.view(bits).reshape(lanes, count))
    if one.metadata:
        inputs.append(metadata(source, one.metadata, lanes))
    output = np.zeros((lanes, one.registers[3]), bits)
    bound, kind = None, ""
    if not one.whole:
        kind = {"f16": "f16x2", "f32": "f32", "f64": "f64"}[one.c]
        if numbers != "integers":
            bound = bound_of(one.a, one.b, one.c, depth)
    ptx = kernel(one)
    return Form(family, name, ptx, tuple(inputs), output, kind, bound, threads=lanes)


def bound_of(a: str, b: str, c: str, depth: int) -> Bound:
    """How far sums of products may be: 2^-24 of the largest sum for single sums.

    Operands are below 16 in size, sums start below 16. The ISA fixes neither order nor
    width of accumulation. Products of fp8 keep 15 bits of the largest sum.
    """
    largest = depth * 16.0**2 + 16
    if c == "f64":
        return Bound("f8", 0, largest * 2.0**-53, "2^-53 of the largest sum")
    power = 15 if "e" in a[0] + b[0] else 24
    relative = 2.0**-10 if c == "f16" else 0
    text = f"2^-{power} of the largest sum" + (", or 1 ulp of f16" if relative else "")
    kind = "f2" if c == "f16" else "f4"
    return Bound(kind, 2 * relative, largest * 2.0**-power, text)


def metadata(source: Source, kind: str, lanes: int) -> Array:
    """Indices of the nonzero elements: two of four in order, or one of two."""
    count = 8
    if kind == "halves":
        codes = np.array([0b0100, 0b1110])[source.below(2, lanes * count)]
    else:
        ordered = np.array([0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110])
        codes = ordered[source.below(6, lanes * count)]
    places = 4 * np.arange(count)
    return (codes.reshape(lanes, count) << places).sum(axis=1).astype("u4")[:, None]


def forms() -> Iterator[Form]:
    """All of them."""
    for depth, one in (*_dense(), *_narrow()):
        for numbers in ("integers",) if one.whole else NUMBER_KINDS:
            yield product("mma", one, numbers, depth)
    for depth, one in _sparse():
        for numbers in ("integers",) if one.whole else NUMBER_KINDS[:2]:
            yield product("mma.sp", one, numbers, depth)
    yield from _moved()
    yield from _wmma()


def _text(
    shape: str, types: Sequence[str], tail: str = "", rows: str = "row.col"
) -> str:
    return f"mma.sync.aligned.{shape}.{rows}{tail}." + ".".join(types)


def _dense() -> Iterator[tuple[int, Product]]:
    for c, count in (("f16", 2), ("f32", 4)):
        for depth, a in ((8, 2), (16, 4)):
            text = _text(f"m16n8k{depth}", (c, "f16", "f16", c))
            yield depth, Product(text, "f16", "f16", c, (a, a // 2, count, count))
        registers = (2, 2, 2 * count, 2 * count)
        for rows in ("row.col", "row.row", "col.row", "col.col"):
            text = _text("m8n8k4", (c, "f16", "f16", c), "", rows)
            yield 4, Product(text, "f16", "f16", c, registers)
    for depth, a in ((8, 2), (16, 4)):
        text = _text(f"m16n8k{depth}", ("f32", "bf16", "bf16", "f32"))
        yield depth, Product(text, "bf16", "bf16", "f32", (a, a // 2, 4, 4))
    for depth, a in ((4, 2), (8, 4)):
        text = _text(f"m16n8k{depth}", ("f32", "tf32", "tf32", "f32"))
        yield depth, Product(text, "tf32", "tf32", "f32", (a, a // 2, 4, 4))
    text = _text("m8n8k4", ("f64",) * 4)
    yield 4, Product(text, "f64", "f64", "f64", (1, 1, 2, 2))
    for depth, a in ((4, 2), (8, 4), (16, 8)):
        text = _text(f"m16n8k{depth}", ("f64",) * 4)
        yield depth, Product(text, "f64", "f64", "f64", (a, a // 2, 4, 4))
    for a in ("e4m3", "e5m2"):
        for b in ("e4m3", "e5m2"):
            for c, count in (("f32", 4), ("f16", 2)):
                for depth, r in ((16, 2), (32, 4)):
                    text = _text(f"m16n8k{depth}", (c, a, b, c))
                    yield depth, Product(text, a, b, c, (r, r // 2, count, count))


def _narrow() -> Iterator[tuple[int, Product]]:
    for kind, unit in (("8", 16), ("4", 32)):
        for a in ("s", "u"):
            for b in ("s", "u"):
                for sat in ("", ".satfinite"):
                    types = ("s32", a + kind, b + kind, "s32")
                    tail = (*types[1:], (1, 1, 2, 2))
                    yield unit, Product(_text(f"m8n8k{unit}", types, sat), *tail)
                    for depth, r in ((unit, 2), (2 * unit, 4)):
                        text = _text(f"m16n8k{depth}", types, sat)
                        yield depth, Product(text, *types[1:], (r, r // 2, 4, 4))
    for op in ("xor", "and"):
        types = ("s32", "b1", "b1", "s32")
        for shape, registers in (
            ("m8n8k128", (1, 1, 2, 2)),
            ("m16n8k128", (2, 1, 4, 4)),
            ("m16n8k256", (4, 2, 4, 4)),
        ):
            text = f"{_text(shape, types)}.{op}.popc"
            yield 128, Product(text, "b1", "b1", "s32", registers)


def _sparse() -> Iterator[tuple[int, Product]]:
    def sparse(depth: int, types: Sequence[str], registers, selector: int, kind: str):
        text = (
            "mma.sp::ordered_metadata.sync.aligned."
            f"m16n8k{depth}.row.col." + ".".join(types)
        )
        tail = f", %e0, {selector}"
        return depth, Product(text, *types[1:], registers, tail, kind)

    for type_, c, count in (("f16", "f16", 2), ("f16", "f32", 4), ("bf16", "f32", 4)):
        for depth, r in ((16, 2), (32, 4)):
            for selector in range(4 if depth == 16 else 2):
                types = (c, type_, type_, c)
                yield sparse(depth, types, (r, r, count, count), selector, "pairs")
    for depth, r in ((8, 2), (16, 4)):
        for selector in range(4 if depth == 8 else 2):
            types = ("f32", "tf32", "tf32", "f32")
            yield sparse(depth, types, (r, r, 4, 4), selector, "halves")
    for a, b in (("s8", "s8"), ("u8", "s8")):
        for depth, r in ((32, 2), (64, 4)):
            for selector in range(2 if depth == 32 else 1):
                types = ("s32", a, b, "s32")
                yield sparse(depth, types, (r, r, 4, 4), selector, "pairs")
    for depth, r in ((64, 2), (128, 4)):
        for selector in range(2 if depth == 64 else 1):
            types = ("s32", "s4", "u4", "s32")
            yield sparse(depth, types, (r, r, 4, 4), selector, "pairs")
    for a, b in (("e4m3", "e5m2"), ("e5m2", "e5m2")):
        types = ("f32", a, b, "f32")
        yield sparse(64, types, (4, 4, 4, 4), 0, "pairs")


MOVED = """.visible .entry k(.param .u64 in0, .param .u64 out)
{{
  .shared .align 16 .b8 s[4096];
  .reg .b32 %index, %lane, %warp, %base, %own, %r<8>;
  .reg .b64 %at;
  mov.u32 %index, %tid.x;
  and.b32 %lane, %index, 31;
  shr.u32 %warp, %index, 5;
  mov.u32 %base, s;
  mad.lo.u32 %base, %warp, 512, %base;
  ld.param.u64 %at, [in0];
  mad.wide.u32 %at, %index, 16, %at;
  ld.global.v4.b32 {{%r0, %r1, %r2, %r3}}, [%at];
  mad.lo.u32 %own, %lane, 16, %base;
  st.shared.v4.b32 [%own], {{%r0, %r1, %r2, %r3}};
  bar.sync 0;
  {body}
  bar.sync 0;
  ld.shared.v4.b32 {{%r4, %r5, %r6, %r7}}, [%own];
  xor.b32 %r0, %r0, %r4;
  mad.lo.u32 %r1, %r5, 3, %r1;
  mad.lo.u32 %r2, %r6, 5, %r2;
  mad.lo.u32 %r3, %r7, 7, %r3;
  ld.param.u64 %at, [out];
  mad.wide.u32 %at, %index, 16, %at;
  st.global.v4.b32 [%at], {{%r0, %r1, %r2, %r3}};
  ret;
}}
"""


def _moved() -> Iterator[Form]:
    rows = "and.b32 %own, %lane, 31; mul.lo.u32 %own, %own, 208; and.b32 %own, %own, "
    rows += "496; add.u32 %own, %own, %base;"
    back = "mad.lo.u32 %own, %lane, 16, %base;"
    for trans in ("", ".trans"):
        for count in (1, 2, 4):
            r = listed("r", count)
            name = f"ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16"
            yield _moving(name, f"{rows} {name} {r}, [%own]; {back}")
            name = f"stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16"
            yield _moving(name, f"{rows} {name} [%own], {r}; {back}")
    name = "movmatrix.sync.aligned.m8n8.trans.b16"
    yield _moving(name, f"{name} %r0, %r1;")


def _moving(name: str, body: str) -> Form:
    data = Source(name).bits(128 * 4, "u4").reshape(128, 4)
    text = HEADER + MOVED.format(body=body)
    return Form("matrix moves", name, text, (data,), np.zeros_like(data), threads=128)


WMMA = """.visible .entry k(.param .u64 in0, .param .u64 in1, .param .u64 in2,
                  .param .u64 out)
{{
  .reg .b32 %a<{a}>, %b<{b}>, %c<{c}>, %d<{c}>;
  .reg .b64 %at;
  ld.param.u64 %at, [in0];
  wmma.load.a.sync.aligned.{la}.{shape}.global.{ta} {ra}, [%at], {sa};
  ld.param.u64 %at, [in1];
  wmma.load.b.sync.aligned.{lb}.{shape}.global.{tb} {rb}, [%at], {sb};
  ld.param.u64 %at, [in2];
  wmma.load.c.sync.aligned.row.{shape}.global.{tc} {rc}, [%at], {n};
  wmma.mma.sync.aligned.{la}.{lb}.{shape}.{types} {rd}, {ra}, {rb}, {rc};
  ld.param.u64 %at, [out];
  wmma.store.d.sync.aligned.{ld}.{shape}.global.{tc} [%at], {rd}, {sd};
  ret;
}}
"""


def _wmma() -> Iterator[Form]:
    for m, n in ((16, 16), (32, 8), (8, 32)):
        for la, lb, ld in (("row", "col", "row"), ("col", "row", "col")):
            layouts = (la, lb, ld)
            for c, count in (("f32", 8), ("f16", 4)):
                yield _fragment(m, n, 16, ("f16", c), (8, 8, count), layouts)
            a = {16: 4, 32: 8, 8: 2}[m]
            yield _fragment(m, n, 16, ("bf16", "f32"), (a, 10 - a, 8), layouts)
            a = {16: 2, 32: 4, 8: 1}[m]
            b = {16: 2, 8: 1, 32: 4}[n]
            yield _fragment(m, n, 16, ("s8", "s32"), (a, b, 8), layouts)
    yield _fragment(16, 16, 8, ("tf32", "f32"), (4, 4, 8), ("row", "col", "row"))


def _fragment(m, n, k, types, registers, layouts) -> Form:
    type_, c = types
    la, lb, ld = layouts
    names = dict(zip("abc", registers, strict=True))
    if type_ == "bf16":
        names["b"] = {16: 4, 8: 2, 32: 8}[n]
    inner = f"{c}.{c}" if type_ == "f16" else f"{c}.{type_}.{type_}.{c}"
    text = WMMA.format(
        **names,
        la=la,
        lb=lb,
        ld=ld,
        shape=f"m{m}n{n}k{k}",
        ta=type_,
        tb=type_,
        tc=c,
        n=n,
        types=inner,
        sa=k if la == "row" else m,
        sb=k if lb == "col" else n,
        sd=n if ld == "row" else m,
        ra=listed("a", names["a"]),
        rb=listed("b", names["b"]),
        rc=listed("c", names["c"]),
        rd=listed("d", names["c"]),
    )
    name = f"wmma m{m}n{n}k{k} {type_} {c} {la} {lb} {ld}"
    source = Source(name)
    unit = 1 if type_ == "s8" else 4 if type_ == "tf32" else 2
    left = words(source, type_, m * k * unit // 4, "integers")
    right = words(source, type_, k * n * unit // 4, "integers")
    size = 2 if c == "f16" else 4
    start = words(source, c if c != "s32" else "f32", m * n * size // 4, "integers")
    if c == "s32":
        start = start.view("f4").astype("i4").view("u4")
    kind = "f16x2" if c == "f16" else "" if c == "s32" else "f32"
    output = np.zeros_like(start)
    inputs = (left, right, start)
    return Form("wmma", name, HEADER + text, inputs, output, kind, threads=32)
