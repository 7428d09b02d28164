"""Asynchronous copies and mbarriers: cp.async, bulk, tensor maps, clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .form import HEADER, Form, Map, elementwise
from .values import Array, Source

SETUP = """
  .shared .align 1024 .b8 s[{size}];
  .shared .align 8 .b64 bar[4];
  .reg .b32 %index, %i, %w, %x<8>, %base, %count;
  .reg .b64 %at, %t, %state;
  .reg .pred %p, %q, %first;
  mov.u32 %index, %tid.x;
  mov.u32 %base, s;
  setp.eq.u32 %first, %index, 0;
"""
FILL = """
  shl.b32 %i, %index, 2;
fill:
  add.u32 %w, %base, %i;
  st.shared.b32 [%w], 0xa5a5a5a5;
  add.u32 %i, %i, 512;
  setp.lt.u32 %p, %i, {size};
  @%p bra fill;
  @%first mbarrier.init.shared.b64 [bar], {arrivals};
  fence.mbarrier_init.release.cluster;
  fence.proxy.async.shared::cta;
  bar.sync 0;
"""
AWAIT = """
  mov.u32 %count, 0;
again:
  mbarrier.try_wait.parity.shared.b64 %p, [bar], 0;
  @%p bra arrived;
  add.u32 %count, %count, 1;
  setp.lt.u32 %p, %count, 3000;
  @%p bra again;
arrived:
"""
DUMP = """
  shl.b32 %i, %index, 2;
dump:
  add.u32 %w, %base, %i;
  ld.shared.b32 %x0, [%w];
  ld.param.u64 %at, [out];
  cvt.u64.u32 %t, %i;
  add.u64 %at, %at, %t;
  st.global.b32 [%at], %x0;
  add.u32 %i, %i, 512;
  setp.lt.u32 %p, %i, {size};
  @%p bra dump;
  ret;
"""
READ = """
  shl.b32 %i, %index, 2;
fill:
  ld.param.u64 %at, [in0];
  cvt.u64.u32 %t, %i;
  add.u64 %at, %at, %t;
  ld.global.b32 %x0, [%at];
  add.u32 %w, %base, %i;
  st.shared.b32 [%w], %x0;
  add.u32 %i, %i, 512;
  setp.lt.u32 %p, %i, {size};
  @%p bra fill;
  fence.proxy.async.shared::cta;
  bar.sync 0;
"""
"""Memory of `size` bytes: a pattern or a copy of the input at first, dumped at last."""


def assembled(
    parameters: Sequence[str], parts: Sequence[str], size: int, arrivals: int = 1
) -> str:
    """A kernel of pieces."""
    head = f".visible .entry k({', '.join(f'.param {p}' for p in parameters)})\n{{"
    body = "".join(part.format(size=size, arrivals=arrivals) for part in parts)
    return HEADER + head + body + "}\n"


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _small_copies()
    yield from _bulk()
    yield from _tensor_loads()
    yield from _columns()
    yield from _tensor_stores()
    yield from _barriers()


def _small_copies() -> Iterator[Form]:
    shared = (
        ".shared .align 16 .b8 s[4096]; .reg .b32 %w, %i, %n; mov.u32 %w, s; "
        "mov.u32 %i, %tid.x; shl.b32 %i, %i, 4; add.u32 %w, %w, %i; "
        "st.shared.b64 [%w], 0x1111111111111111; st.shared.b64 [%w+8], 3; "
        "ld.param.u64 %at, [in0]; mad.wide.u32 %at, %index, 8, %at; "
        "and.b64 %at, %at, -16; "
    )
    end = "ld.shared.b64 %d, [%w+{at}]; "
    for size in (4, 8, 16):
        for cache in ("ca", "cg") if size == 16 else ("ca",):
            name = f"cp.async.{cache}.shared.global {size}"
            copy = f"cp.async.{cache}.shared.global [%w], [%at], {size}"
            at = max(0, size - 8)
            finish = f"cp.async.commit_group; cp.async.wait_group 0; {end}"
            body = shared + f"{copy}; {finish.format(at=at)}"
            yield elementwise("asynchronous copies", name, "b64", ["b64"], body)
            body = shared + (
                f"rem.u32 %n, %index, {size + 1}; {copy}, %n; cp.async.wait_all; "
                f"{end.format(at=at)}"
            )
            full = f"{name}, source size"
            yield elementwise("asynchronous copies", full, "b64", ["b64"], body)
            body = shared + (
                f".reg .pred %q; and.b32 %n, %index, 2; setp.eq.u32 %q, %n, 0; {copy}, "
                f"%q; cp.async.wait_all; {end.format(at=at)}"
            )
            full = f"{name}, ignore source"
            yield elementwise("asynchronous copies", full, "b64", ["b64"], body)


LOAD = """  @%first mbarrier.arrive.expect_tx.shared.b64 %state, [bar], {bytes};
  {copy}
"""


def _bulk() -> Iterator[Form]:
    data = Source("bulk").bits(512, "u4")
    parameters = (".u64 in0", ".u64 out")
    for size, at in ((16, 0), (512, 64), (1008, 16)):
        copy = (
            "ld.param.u64 %at, [in0]; @%first cp.async.bulk.shared::cluster.global"
            f".mbarrier::complete_tx::bytes [s+{at}], [%at], {size}, [bar];"
        )
        load = LOAD.replace("{bytes}", str(size)).replace("{copy}", copy)
        ptx = assembled(parameters, (SETUP, FILL, load, AWAIT, DUMP), 2048)
        output = np.zeros(512, "u4")
        name = f"cp.async.bulk global to shared, {size} bytes"
        yield Form("bulk copies", name, ptx, (data,), output, threads=128)
    finish = " cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret;\n"
    for size, at in ((16, 0), (512, 64), (1008, 16)):
        store = (
            "ld.param.u64 %at, [out]; @%first cp.async.bulk.global.shared::cta"
            f".bulk_group [%at], [s+{at}], {size};"
        )
        ptx = assembled(parameters, (SETUP, READ, store, finish), 2048)
        output = np.arange(512, dtype="u4")
        name = f"cp.async.bulk shared to global, {size} bytes"
        yield Form("bulk copies", name, ptx, (data,), output, threads=128)
    for op, types in REDUCTIONS.items():
        for type_ in types:
            for to in ("global", "shared::cluster"):
                if to == "shared::cluster" and (
                    type_ not in ("s32", "u32", "u64", "b32")
                    or (type_ == "u64" and op != "add")
                ):
                    continue
                yield _bulk_reduction(op, type_, to)
    yield from _between_blocks()


REDUCTIONS = {
    "add": ("u32", "s32", "u64", "f16", "bf16", "f32", "f64"),
    "min": ("u32", "s32", "u64", "s64", "f16", "bf16"),
    "max": ("u32", "s32", "u64", "s64", "f16", "bf16"),
    "inc": ("u32",),
    "dec": ("u32",),
    "and": ("b32", "b64"),
    "or": ("b32", "b64"),
    "xor": ("b32", "b64"),
}


def _numbers(source: Source, type_: str, count: int) -> Array:
    """Words of operands that give exact sums."""
    if type_[0] not in "fb" or type_ in ("b32", "b64"):
        return source.bits(count, "u4")
    from .matrices import words

    return words(source, type_, count, "integers")


def _bulk_reduction(op: str, type_: str, to: str) -> Form:
    noftz = ".noftz" if op == "add" and type_ in ("f16", "bf16") else ""
    name = f"cp.reduce.async.bulk.{to}.{op}{noftz}.{type_}"
    source = Source(name)
    data, old = (_numbers(source, type_, 256) for _ in range(2))
    kind = {"f16": "f16x2", "bf16": "bf16x2"}.get(
        type_, type_ if type_[0] == "f" else ""
    )
    if to == "global":
        text = (
            "ld.param.u64 %at, [out]; @%first cp.reduce.async.bulk.global.shared::cta"
            f".bulk_group.{op}{noftz}.{type_} [%at], [s], 1024; "
            "cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret;\n"
        )
        ptx = assembled((".u64 in0", ".u64 out"), (SETUP, READ, text), 1024)
    else:
        text = (
            "  @%first mbarrier.init.shared.b64 [bar], 1; bar.sync 0;\n"
            "  @%first mbarrier.arrive.expect_tx.shared.b64 %state, [bar], 512;\n"
            "  @%first cp.reduce.async.bulk.shared::cluster.shared::cta"
            f".mbarrier::complete_tx::bytes.{op}.{type_} [s], [s+512], 512, [bar];\n"
        )
        parts = (SETUP, READ, text, AWAIT, DUMP)
        ptx = assembled((".u64 in0", ".u64 out"), parts, 1024)
    if type_ == "f64":
        data, old = data.view("u8"), old.view("u8")
    return Form("bulk copies", name, ptx, (data,), old, kind, threads=128)


CLUSTER = """.reqnctapercluster 2, 1, 1
"""
BOTH = (
    "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], {bytes}; "
    "barrier.cluster.arrive; barrier.cluster.wait; .reg .b16 %mask; "
    "mov.b16 %mask, 3; mov.u32 %x3, %cluster_ctarank; ld.param.u64 %at, [in0]; "
    "setp.ne.u32 %q, %x3, {leader}; setp.ne.or.u32 %q, %index, 0, %q; "
)
"""One block copies for both."""
REMOTE = {
    "ld.shared::cluster": "ld.shared::cluster.b32 %x1, [%x0];",
    "ld generic": "cvt.u64.u32 %t, %x0; cvta.shared.u64 %t, %t; ld.b32 %x1, [%t];",
    "atom.shared::cluster.add.u32": (
        "atom.shared::cluster.add.u32 %x1, [%x0], %x2; barrier.cluster.arrive; "
        "barrier.cluster.wait; ld.shared.b32 %x3, [%w]; mad.lo.u32 %x1, %x3, 7, %x1;"
    ),
    "red.shared::cluster.xor.b32": (
        "red.shared::cluster.xor.b32 [%x0], %x2; barrier.cluster.arrive; "
        "barrier.cluster.wait; ld.shared.b32 %x1, [%w];"
    ),
    "st.shared::cluster": (
        "barrier.cluster.arrive; barrier.cluster.wait; "
        "st.shared::cluster.b32 [%x0], %x2; barrier.cluster.arrive; "
        "barrier.cluster.wait; ld.shared.b32 %x1, [%w];"
    ),
    "getctarank": "getctarank.shared::cluster.u32 %x1, %x0;",
    "mapa generic": (
        "cvt.u64.u32 %t, %w; cvta.shared.u64 %t, %t; mapa.u64 %t, %t, %x4; "
        "getctarank.u64 %x3, %t; ld.b32 %x1, [%t]; mad.lo.u32 %x1, %x3, 17, %x1;"
    ),
}
WITH_BARRIER = {
    "mbarrier.arrive.shared::cluster": (
        128,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; "
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%x5]; ",
    ),
    "st.async.b32": (
        1,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; "
        "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%x0], %x2, [%x5]; ",
    ),
    "st.async.v2.b32": (
        1,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; "
        "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
        "and.b32 %x3, %index, 1; setp.eq.u32 %q, %x3, 0; xor.b32 %x3, %x2, -1; "
        "@%q st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%x0], "
        "{%x2, %x3}, [%x5]; ",
    ),
    **{
        f"red.async.{op}.{type_}": (
            1,
            "mapa.shared::cluster.u32 %x5, %x6, %x4; "
            "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
            "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes."
            f"{op}.{type_} [%x0], %x2, [%x5]; ",
        )
        for op, type_ in (
            *(("add", "u32"), ("add", "s32"), ("min", "u32"), ("min", "s32")),
            *(("max", "s32"), ("and", "b32"), ("or", "b32"), ("xor", "b32")),
            *(("inc", "u32"), ("dec", "u32")),
        )
    },
    **{
        f"cp.async.bulk multicast from block {leader}": (
            1,
            BOTH.format(bytes=512, leader=leader)
            + "@!%q cp.async.bulk.shared::cluster.global"
            ".mbarrier::complete_tx::bytes.multicast::cluster "
            "[%base], [%at], 512, [bar], %mask; ",
        )
        for leader in (0, 1)
    },
    "cp.async.bulk to another block": (
        1,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; add.u32 %x7, %base, 512; "
        "mapa.shared::cluster.u32 %x0, %x7, %x4; "
        "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
        "fence.proxy.async.shared::cta; bar.sync 0; "
        "@%first cp.async.bulk.shared::cluster.shared::cta"
        ".mbarrier::complete_tx::bytes [%x0], [%base], 512, [%x5]; "
        "add.u32 %w, %w, 512; ",
    ),
}
PEER = """
  mad.lo.u32 %w, %index, 4, %base;
  mov.u32 %x4, %cluster_ctarank;
  mad.lo.u32 %x2, %x4, 128, %index;
  ld.param.u64 %at, [in0];
  mad.wide.u32 %at, %x2, 4, %at;
  ld.global.b32 %x2, [%at];
  xor.b32 %x3, %x2, 0x5a5a5a5a;
  st.shared.b32 [%w], %x3;
  xor.b32 %x4, %x4, 1;
  mapa.shared::cluster.u32 %x0, %w, %x4;
  mov.u32 %x6, bar;
  @%first mbarrier.init.shared.b64 [bar], {arrivals};
  fence.mbarrier_init.release.cluster;
  barrier.cluster.arrive;
  barrier.cluster.wait;
"""
PEER_END = """
  mov.u32 %x4, %ctaid.x;
  mad.lo.u32 %x2, %x4, 128, %index;
  ld.param.u64 %at, [out];
  mad.wide.u32 %at, %x2, 4, %at;
  st.global.b32 [%at], %x1;
  barrier.cluster.arrive;
  barrier.cluster.wait;
  ret;
"""


def _between_blocks() -> Iterator[Form]:
    cases = {name: (1, body) for name, body in REMOTE.items()}
    for name, (arrivals, body) in WITH_BARRIER.items():
        wait = AWAIT.replace(".parity.shared", ".parity.acquire.cluster.shared::cta")
        cases[name] = (arrivals, f"{body}{wait} ld.shared.b32 %x1, [%w];")
    yield from _multicast()
    for name, (arrivals, body) in cases.items():
        text = body.replace("{", "{{").replace("}", "}}")
        parts = (SETUP, PEER, text, PEER_END)
        ptx = assembled((".u64 in0", ".u64 out"), parts, 2048, arrivals)
        ptx = ptx.replace(")\n{", f")\n{CLUSTER}{{", 1)
        data = Source(name).bits(256, "u4")
        output = np.zeros(512, "u4")
        yield Form(
            "clusters", name, ptx, (data,), output, threads=128, blocks=4, cluster=2
        )


def _multicast() -> Iterator[Form]:
    """A box to both blocks, with the swizzle that it has in each."""
    for tile in (
        Tile("uint32", (24, 9), (16, 8), (12, 3)),
        Tile("float16", (64, 20), (64, 8), (0, 5), "128B"),
    ):
        coordinates = ", ".join(str(c) for c in tile.at)
        body = BOTH.format(bytes=tile.box_bytes, leader=1) + (
            "mov.b64 %at, map; @!%q cp.async.bulk.tensor.2d.shared::cluster.global.tile"
            ".mbarrier::complete_tx::bytes.multicast::cluster "
            f"[%base], [%at, {{{coordinates}}}], [bar], %mask; {AWAIT} "
            "add.u32 %w, %w, 512; ld.shared.b32 %x1, [%w]; "
        )
        text = body.replace("{", "{{").replace("}", "}}")
        parameters = (".align 64 .b8 map[128]", ".u64 in0", ".u64 out")
        ptx = assembled(parameters, (SETUP, PEER, text, PEER_END), 2048)
        ptx = ptx.replace(")\n{", f")\n{CLUSTER}{{", 1)
        data = Source(tile.name).bits(max(256, -(-tile.bytes // 4)), "u4")
        yield Form(
            *("clusters", f"multicast of a box, {tile.name}", ptx, (data,)),
            np.zeros(512, "u4"),
            maps=(tile.map(0),),
            threads=128,
            blocks=4,
            cluster=2,
        )


# Tensor maps.


@dataclass(frozen=True)
class Tile:
    """A tensor, a box, and where the box is copied from."""

    element: str
    dims: tuple[int, ...]
    box: tuple[int, ...]
    at: tuple[int, ...]
    swizzle: str = "none"
    steps: tuple[int, ...] = ()
    oob_fill: str = "none"
    pad: int = 0

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return WIDTHS[self.element]

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes: rows are padded to 16 of them, and by `pad` more."""
        row = -(-self.dims[0] * self.width // 16) * 16 + self.pad
        found = [row]
        for extent in self.dims[1:-1]:
            found.append(found[-1] * extent)
        return tuple(found[: len(self.dims) - 1])

    @property
    def bytes(self) -> int:
        """Of the tensor."""
        last = self.strides[-1] if self.strides else self.dims[0] * self.width
        return last * (self.dims[-1] if self.strides else 1)

    @property
    def box_bytes(self) -> int:
        """That a copy of a box moves."""
        steps = (1, *self.steps[1:]) if self.steps else (1,) * len(self.box)
        extents = [-(-b // s) for b, s in zip(self.box, steps, strict=True)]
        return int(np.prod(extents)) * self.width

    @property
    def name(self) -> str:
        """All about it."""
        parts = [self.element, f"{self.dims}", f"box {self.box}", f"at {self.at}"]
        if self.swizzle != "none":
            parts.append(f"swizzle {self.swizzle}")
        if self.steps:
            parts.append(f"steps {self.steps}")
        if self.oob_fill != "none":
            parts.append("NaN")
        return ", ".join(parts)

    def map(self, buffer: int) -> Map:
        """The tensor map."""
        return Map(
            *(buffer, self.element, self.dims, self.strides, self.box),
            steps=self.steps,
            swizzle=self.swizzle,
            oob_fill=self.oob_fill,
        )


WIDTHS = {
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "int32": 4,
    "uint64": 8,
    "int64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "bfloat16": 2,
    "float32_ftz": 4,
    "tfloat32": 4,
    "tfloat32_ftz": 4,
}
TILES = (
    *(Tile(e, (40, 9), (16, 4), (3, 2)) for e in WIDTHS),
    *(Tile(e, (40, 9), (16, 4), (32, 7)) for e in ("uint8", "float16", "uint64")),
    *(
        Tile(e, (40, 9), (16, 4), (-5, 7), oob_fill="nan")
        for e in ("float16", "bfloat16", "float32", "float64", "tfloat32")
    ),
    *(
        Tile("float16", (100, 30), (box, 16), at, swizzle)
        for swizzle, box in (("32B", 16), ("64B", 32), ("128B", 64), ("128B", 32))
        for at in ((0, 0), (8, 5), (-8, 20), (80, -3))
    ),
    Tile("uint8", (200, 30), (128, 16), (60, 3), "128B"),
    Tile("float32", (60, 30), (32, 24), (31, 9), "128B"),
    Tile("float64", (60, 30), (4, 24), (57, 9), "32B"),
    Tile("uint32", (99,), (32,), (80,)),
    Tile("uint32", (99,), (256,), (-20,)),
    Tile("uint16", (24, 7, 5), (8, 4, 3), (20, -1, 3)),
    Tile("uint16", (24, 7, 5, 3), (8, 4, 3, 2), (4, 5, 3, 2)),
    Tile("uint16", (24, 7, 5, 3, 3), (8, 2, 3, 2, 2), (4, 5, 3, 2, -1)),
    Tile("bfloat16", (64, 9, 9, 2), (64, 6, 5, 1), (0, -1, -1, 1), "128B"),
    Tile("bfloat16", (32, 9, 9, 2), (32, 5, 3, 2), (0, 6, 7, 0), "64B", pad=32),
    Tile("float16", (40, 20), (16, 12), (3, 2), steps=(1, 2)),
    Tile("float16", (40, 20), (16, 13), (3, 1), steps=(1, 3), swizzle="32B"),
    Tile("float16", (40, 20), (16, 12), (3, 2), steps=(2, 4)),
    Tile("uint32", (12, 9, 8, 2), (4, 8, 6, 1), (0, -1, -1, 1), steps=(1, 2, 2, 1)),
    Tile("uint32", (12, 9, 8, 3), (4, 3, 3, 3), (0, 8, 0, 0), steps=(1, 1, 2, 2)),
)


def _special(element: str, source: Source, count: int) -> Array:
    """Random words; of floats, with subnormals and NaNs among them."""
    return source.bits(count, "u4")


def _tensor_loads() -> Iterator[Form]:
    for tile in TILES:
        yield _load(tile)


def _load(tile: Tile) -> Form:
    rank = len(tile.dims)
    coordinates = ", ".join(str(c) for c in tile.at)
    copy = (
        "mov.b64 %at, map; @%first cp.async.bulk.tensor."
        f"{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        f"[s], [%at, {{{{{coordinates}}}}}], [bar];"
    )
    return _loading("tensor loads", tile.name, tile, tile.map(0), copy, tile.box_bytes)


def _loading(family, name, tile, map_, copy, count: int) -> Form:
    size = -(-count // 512) * 512 + 512
    load = LOAD.replace("{bytes}", str(count)).replace("{copy}", copy)
    parameters = (".align 64 .b8 map[128]", ".u64 in0", ".u64 out")
    ptx = assembled(parameters, (SETUP, FILL, load, AWAIT, DUMP), size)
    data = _special(tile.element, Source(name), -(-tile.bytes // 4))
    output = np.zeros(size // 4, "u4")
    return Form(family, name, ptx, (data,), output, maps=(map_,), threads=128)


@dataclass(frozen=True)
class Column:
    """An im2col copy: corners, a start, the offset of a tap."""

    dims: tuple[int, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    at: tuple[int, ...]
    tap: tuple[int, ...]
    channels: int = 8
    pixels: int = 24
    steps: tuple[int, ...] = ()
    element: str = "float16"
    swizzle: str = "none"
    oob_fill: str = "none"


C = Column
PLANE, CORNER = (24, 9, 7, 3), (-1, -1)
COLUMNS = (
    *(
        C(PLANE, CORNER, CORNER, (0, -1, -1, 0), (x, y))
        for x in range(3)
        for y in (0, 2)
    ),
    C(PLANE, CORNER, CORNER, (8, 5, 3, 1), (1, 1)),
    C(PLANE, CORNER, CORNER, (8, 7, 5, 2), (2, 2)),
    C(PLANE, CORNER, CORNER, (16, 7, 5, -1), (1, 2)),
    C(PLANE, CORNER, CORNER, (20, 0, 0, 0), (1, 2)),
    C(PLANE, CORNER, CORNER, (-4, 0, 0, 0), (1, 2)),
    C(PLANE, CORNER, CORNER, (0, 0, 0, 0), (100, 2)),
    C(PLANE, (0, 0), (0, 0), (0, 3, 6, 0), (0, 0)),
    C(PLANE, (0, 0), (-2, -2), (0, 6, 4, 0), (1, 2)),
    C(PLANE, (-2, -2), (-2, -2), (0, -2, -2, 0), (2, 4)),
    C(PLANE, CORNER, CORNER, (0, -1, -1, 0), (1, 2), steps=(1, 2, 2, 1)),
    C(PLANE, CORNER, CORNER, (0, 0, 0, 0), (1, 2), steps=(1, 2, 2, 1)),
    C(PLANE, CORNER, CORNER, (0, -1, -1, 0), (1, 2), steps=(1, 3, 2, 1)),
    C(PLANE, CORNER, CORNER, (0, -1, -1, 0), (1, 2), steps=(1, 1, 1, 2), pixels=128),
    C(PLANE, CORNER, CORNER, (0, -1, -1, 0), (1, 2), steps=(2, 1, 1, 1)),
    C(PLANE, CORNER, CORNER, (0, 2, 1, 0), (0, 1), 24, 64, oob_fill="nan"),
    C((64, 9, 7, 2), CORNER, CORNER, (0, 2, 1, 0), (0, 1), 64, 40, swizzle="128B"),
    C((64, 9, 7, 2), CORNER, CORNER, (0, 2, 1, 0), (2, 1), 32, 40, swizzle="64B"),
    C((64, 9, 7, 2), CORNER, CORNER, (0, 2, 1, 0), (2, 1), 16, 40, swizzle="32B"),
    C((40, 9, 7, 2), CORNER, CORNER, (32, 2, 1, 0), (2, 1), 64, 40, swizzle="128B"),
    C((24, 9, 3), (-2,), (-3,), (0, -2, 0), (3,)),
    C((24, 9, 3), (-2,), (1,), (8, 4, 1), (1,), steps=(1, 2, 1)),
    C((24, 5, 4, 6, 2), (-1,) * 3, (-1,) * 3, (0, 2, 2, 3, 0), (1, 0, 2), pixels=64),
    C((24, 5, 4, 6, 2), (-1,) * 3, (-1,) * 3, (0, -1, 1, 1, 1), (2, 2, 2), pixels=64),
    C(PLANE, CORNER, CORNER, (0, -1, -1, 0), (1, 2), 16, 20, element="uint8"),
    C(PLANE, CORNER, CORNER, (0, -1, -1, 0), (1, 2), 4, 20, element="float32"),
)


def _columns() -> Iterator[Form]:
    for one in COLUMNS:
        tile = Tile(one.element, one.dims, (), one.at)
        map_ = Map(
            *(0, one.element, one.dims, tile.strides),
            lower=one.lower,
            upper=one.upper,
            channels=one.channels,
            pixels=one.pixels,
            steps=one.steps,
            swizzle=one.swizzle,
            oob_fill=one.oob_fill,
        )
        name = ", ".join(
            str(part)
            for part in (one.element, one.dims, one.lower, one.upper, one.at, one.tap)
        )
        name += f", {one.channels} x {one.pixels}, {one.swizzle}, {one.steps}"
        at, tap = (", ".join(map(str, part)) for part in (one.at, one.tap))
        copy = (
            f"mov.b64 %at, map; @%first cp.async.bulk.tensor.{len(one.dims)}d"
            ".shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
            f"[s], [%at, {{{{{at}}}}}], [bar], {{{{{tap}}}}};"
        )
        count = one.channels * one.pixels * tile.width
        yield _loading("im2col loads", name, tile, map_, copy, count)


STORES = (
    *(Tile(e, (40, 9), (16, 4), (3, 2)) for e in ("uint8", "float16", "uint64")),
    *(
        Tile("float16", (100, 30), (box, 16), at, swizzle)
        for swizzle, box in (("32B", 16), ("64B", 32), ("128B", 64))
        for at in ((8, 5), (-8, 20), (80, -3))
    ),
    Tile("uint32", (99,), (32,), (80,)),
    Tile("uint16", (24, 7, 5), (8, 4, 3), (20, -1, 3)),
    Tile("uint16", (24, 7, 5, 3, 3), (8, 2, 3, 2, 2), (4, 5, 3, 2, -1)),
    Tile("float16", (40, 20), (16, 12), (3, 2), steps=(1, 2)),
)
TENSOR_REDUCTIONS = (
    *(("add", e) for e in ("uint32", "int32", "uint64", "float16", "float32")),
    *(("add", "bfloat16"), ("min", "int32"), ("min", "float16"), ("max", "bfloat16")),
    *(("max", "uint32"), ("inc", "uint32"), ("dec", "uint32"), ("and", "uint32")),
    *(("or", "uint64"), ("xor", "uint32"), ("max", "int64"), ("min", "int64")),
)


def _tensor_stores() -> Iterator[Form]:
    for tile in STORES:
        yield _store(tile, "cp.async.bulk.tensor", "tile.bulk_group", tile.name)
    for op, element in TENSOR_REDUCTIONS:
        tile = Tile(element, (40, 9), (16, 4), (30, 7))
        name = f"reduce {op} {tile.name}"
        yield _store(tile, "cp.reduce.async.bulk.tensor", f"{op}.tile.bulk_group", name)
    at, plane = (8, 5, 3, 0), (24, 9, 7, 3)
    tile = Tile("float16", plane, (), at)
    map_ = Map(
        *(1, "float16", plane, tile.strides),
        lower=CORNER,
        upper=CORNER,
        channels=8,
        pixels=24,
    )
    yield _store(
        tile, "cp.async.bulk.tensor", "im2col_no_offs.bulk_group", "im2col", map_
    )


def _store(
    tile: Tile, opcode: str, mode: str, name: str, map_: Map | None = None
) -> Form:
    rank = len(tile.dims)
    coordinates = ", ".join(str(c) for c in tile.at)
    text = (
        f"mov.b64 %at, map; @%first {opcode}.{rank}d.global.shared::cta.{mode} "
        f"[%at, {{{{{coordinates}}}}}], [s]; cp.async.bulk.commit_group; "
        "cp.async.bulk.wait_group 0; ret;\n"
    )
    parameters = (".align 64 .b8 map[128]", ".u64 in0", ".u64 out")
    ptx = assembled(parameters, (SETUP, READ, text), 2048)
    source = Source(name)
    count = -(-tile.bytes // 4)
    types = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}
    type_ = types.get(tile.element, "u32") if "reduce" in opcode else "u32"
    data, old = (_numbers(source, type_, n) for n in (512, count))
    kind = {"f16": "f16x2", "bf16": "bf16x2", "f32": "f32"}.get(type_, "")
    return Form(
        *("tensor stores", name, ptx, (data,), old, kind),
        maps=(map_ or tile.map(1),),
        threads=128,
    )


# mbarriers: what their states and waits say.

INIT = (
    ".shared .align 8 .b64 bar; .reg .pred %q, %f; .reg .b64 %s, %o; .reg .b32 %n; "
    "setp.eq.u32 %f, %index, 0; mov.u32 %d, 0; "
    "@%f mbarrier.init.shared.b64 [bar], {count}; bar.sync 0; "
)
TEST = "mbarrier.test_wait.shared.b64 %q, [bar], %s; @%q add.u32 %d, %d, {value}; "
PARITY = (
    "mbarrier.test_wait.parity.shared.b64 %q, [bar], {parity}; "
    "@%q add.u32 %d, %d, {value}; "
)


def _barriers() -> Iterator[Form]:
    before = PARITY.format(parity=0, value=1) + PARITY.format(parity=1, value=10)
    after = "bar.sync 0; " + PARITY.format(parity=0, value=100)
    after += PARITY.format(parity=1, value=1000)
    arrive = "mbarrier.arrive.shared.b64 %s, [bar]"
    cases = {
        "phases": (256, f"{before} bar.sync 0; {arrive}; {after}"),
        "too few": (257, f"{before} bar.sync 0; {arrive}; {after}"),
        "states": (
            256,
            f"{arrive}; bar.sync 0; {TEST.format(value=1)} "
            f"mbarrier.arrive.shared.b64 %o, [bar]; bar.sync 0; {TEST.format(value=7)}",
        ),
        "counts": (
            512,
            f"mbarrier.arrive.shared.b64 %s, [bar], 2; {after}",
        ),
        "pending_count": (
            257,
            "bar.sync 0; @%f mbarrier.arrive.shared.b64 %s, [bar], 5; "
            "@%f mbarrier.arrive.shared.b64 %s, [bar], 7; "
            "@%f mbarrier.pending_count.b64 %d, %s;",
        ),
        "arrive_drop": (
            256,
            f"mbarrier.arrive_drop.shared.b64 %s, [bar]; {after} bar.sync 0; "
            "mbarrier.pending_count.b64 %n, %s; min.u32 %n, %n, 1; add.u32 %d, %d, %n;",
        ),
        "arrive_drop, then fewer": (
            256,
            "setp.ge.u32 %q, %index, 128; @%q mbarrier.arrive_drop.shared.b64 %s, "
            f"[bar]; @!%q {arrive}; {after} bar.sync 0; setp.lt.u32 %q, %index, 128; "
            f"@%q {arrive}; {after}",
        ),
        "noComplete": (
            512,
            "mbarrier.arrive.noComplete.shared.b64 %s, [bar], 1; bar.sync 0; "
            f"{arrive}; {after}",
        ),
        "expect_tx, complete_tx": (
            1,
            "@%f mbarrier.arrive.expect_tx.shared.b64 %s, [bar], 64; "
            f"{before} bar.sync 0; @%f mbarrier.complete_tx.relaxed.cta.shared::cta"
            f".b64 [bar], 64; {after}",
        ),
        "expect_tx alone": (
            1,
            "@%f mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 64; "
            f"@%f {arrive}; bar.sync 0; {before} bar.sync 0; "
            "@%f mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 32; "
            "@%f mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 32; "
            f"{after}",
        ),
        "inval, init again": (
            3,
            "@%f mbarrier.inval.shared.b64 [bar]; bar.sync 0; "
            f"@%f mbarrier.init.shared.b64 [bar], 1; bar.sync 0; @%f {arrive}; {after}",
        ),
    }
    for name, (count, body) in cases.items():
        yield _barrier(name, INIT.format(count=count) + body)
    copied = (
        ".shared .align 16 .b8 s[1024]; .reg .b32 %w; mov.u32 %w, s; "
        "mad.lo.u32 %w, %index, 4, %w; ld.param.u64 %at, [in0]; "
        "mad.wide.u32 %at, %index, 4, %at; "
    )
    copied += "cp.async.ca.shared.global [%w], [%at], 4; "
    for noinc, count in (("", 256), (".noinc", 256)):
        name = f"cp.async.mbarrier.arrive{noinc}"
        own = "" if noinc else f"{arrive}; "
        wait = "again: mbarrier.test_wait.parity.shared.b64 %q, [bar], 0; "
        wait += "@!%q bra again; xor.b32 %w, %w, 4; ld.shared.b32 %d, [%w];"
        body = f"{copied} {name}.shared.b64 [bar]; {own}{wait}"
        yield _barrier(name, INIT.format(count=count) + body)


def _barrier(name: str, body: str) -> Form:
    return elementwise("mbarriers", name, "b32", ["b32"], body, lanes=256)
