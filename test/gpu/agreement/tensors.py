"""Tensor copies: boxes, columns of pixels, reductions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .form import Form, Map
from .pieces import AWAIT, DUMP, FILL, LOAD, MAP, READ, SETUP, assembled, numbers
from .values import Source


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _tensor_loads()
    yield from _columns()
    yield from _tensor_stores()


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
        return int("".join(filter(str.isdigit, self.element))) // 8

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


ELEMENTS = (
    *("uint8", "uint16", "uint32", "int32", "uint64", "int64", "float16", "float32"),
    *("float64", "bfloat16", "float32_ftz", "tfloat32", "tfloat32_ftz"),
)


def _chunk(element: str) -> int:
    """The elements of 16 bytes: the innermost coordinate is a multiple of them."""
    return 16 // Tile(element, (1,), (1,), (0,)).width


TILES = (
    *(Tile(e, (40, 9), (16, 4), (_chunk(e), 2)) for e in ELEMENTS),
    *(Tile(e, (40, 9), (16, 4), (32, 7)) for e in ("uint8", "float16", "uint64")),
    *(
        Tile(e, (40, 9), (16, 4), (-_chunk(e), 7), oob_fill="nan")
        for e in ("float16", "bfloat16", "float32", "float64", "tfloat32")
    ),
    *(
        Tile("float16", (100, 30), (box, 16), at, swizzle)
        for swizzle, box in (("32B", 16), ("64B", 32), ("128B", 64))
        for at in ((0, 0), (8, 5), (-8, 20), (80, -3))
    ),
    Tile("uint8", (200, 30), (128, 16), (80, 3), "128B"),
    Tile("float32", (60, 30), (32, 24), (32, 9), "128B"),
    Tile("float64", (60, 30), (4, 24), (58, 9), "32B"),
    Tile("uint32", (99,), (32,), (80,)),
    Tile("uint32", (99,), (256,), (-20,)),
    Tile("uint16", (20, 7, 5), (8, 4, 3), (16, -1, 3)),
    Tile("uint16", (20, 7, 5, 3), (8, 4, 3, 2), (16, 5, 3, 2)),
    Tile("uint16", (24, 7, 5, 3, 3), (8, 2, 3, 2, 2), (8, 5, 3, 2, -1)),
    Tile("bfloat16", (64, 9, 9, 2), (64, 6, 5, 1), (0, -1, -1, 1), "128B"),
    Tile("bfloat16", (32, 9, 9, 2), (32, 5, 3, 2), (0, 6, 7, 0), "64B", pad=32),
    Tile("float16", (40, 20), (16, 12), (8, 2), steps=(1, 2)),
    Tile("float16", (40, 20), (16, 13), (8, 1), steps=(1, 3), swizzle="32B"),
    Tile("float16", (40, 20), (16, 12), (8, 2), steps=(2, 4)),
    Tile("uint32", (12, 9, 8, 2), (4, 8, 6, 1), (0, -1, -1, 1), steps=(1, 2, 2, 1)),
    Tile("uint32", (12, 9, 8, 3), (4, 3, 3, 3), (0, 8, 0, 0), steps=(1, 1, 2, 2)),
)
NARROW = (
    Tile("float16", (100, 30), (8, 16), (8, 5), "32B"),
    Tile("float16", (100, 30), (16, 16), (8, 5), "64B"),
    Tile("float16", (100, 30), (16, 16), (8, 5), "128B"),
    Tile("float16", (100, 30), (32, 16), (80, -3), "128B"),
)
"""Boxes that are narrower than their swizzle."""
REFUSED_TILES = (
    Tile("uint8", (40, 9), (16, 4), (3, 2)),
    Tile("float32", (40, 9), (16, 4), (-5, 7)),
)
"""Rows that do not begin at 16 bytes."""
SPECIAL = np.array(
    [0x7F812345, 0xFFC01234, 0x7F800000, 0x007FFFFF, 0x80001234, 0x7F7FFFFF], "u4"
)
"""NaNs, infinity, subnormals, the largest."""


def _tensor_loads() -> Iterator[Form]:
    for tile in TILES:
        yield _load("tensor loads", tile)
    for tile in NARROW:
        yield _narrow_load(tile)
    for tile in REFUSED_TILES:
        yield _load("refused copies", tile)


def _narrow_load(tile: Tile) -> Form:
    """The last word says whether the barrier has counted the bytes of the box alone."""
    padded = int(tile.swizzle[:-1]) * tile.box[1]
    form = _load("tensor loads", tile, padded)
    ptx = form.ptx.replace(f"[bar], {padded};", f"[bar], {tile.box_bytes};").replace(
        "arrived:",
        "arrived:\n  selp.b32 %x1, 1, 0, %p; bar.sync 0;\n"
        f"  @%first st.shared.b32 [s+{form.output.nbytes - 4}], %x1; bar.sync 0;",
    )
    return replace(form, ptx=ptx)


def _load(family: str, tile: Tile, count: int = 0) -> Form:
    rank = len(tile.dims)
    coordinates = ", ".join(str(c) for c in tile.at)
    copy = (
        f"{MAP} @%first cp.async.bulk.tensor."
        f"{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        f"[s], [%at, {{{{{coordinates}}}}}], [bar];"
    )
    return _loading(family, tile.name, tile, tile.map(0), copy, count or tile.box_bytes)


def _loading(family, name, tile, map_, copy, count: int) -> Form:
    size = -(-count // 512) * 512 + 512
    load = LOAD.replace("{bytes}", str(count)).replace("{copy}", copy)
    parameters = (".align 64 .b8 map[128]", ".u64 in0", ".u64 out")
    ptx = assembled(parameters, (SETUP, FILL, load, AWAIT, DUMP), size)
    data = Source(name).bits(-(-tile.bytes // 4), "u4")
    if "tf" in tile.element:
        data[::2] = data[::2] & 0xFFFFE000 | 0x1000  # ties, for those who round
        data[5::6] = np.resize(SPECIAL, data[5::6].size)
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
    C((20, 9, 7, 3), CORNER, CORNER, (16, 0, 0, 0), (1, 2)),
    C(PLANE, CORNER, CORNER, (-8, 0, 0, 0), (1, 2), channels=16),
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
REFUSED_COLUMN = C(PLANE, CORNER, CORNER, (20, 0, 0, 0), (1, 2))


def _columns() -> Iterator[Form]:
    for one in (*COLUMNS, REFUSED_COLUMN):
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
            f"{MAP} @%first cp.async.bulk.tensor.{len(one.dims)}d"
            ".shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
            f"[s], [%at, {{{{{at}}}}}], [bar], {{{{{tap}}}}};"
        )
        count = one.channels * one.pixels * tile.width
        family = "refused copies" if one is REFUSED_COLUMN else "im2col loads"
        yield _loading(family, name, tile, map_, copy, count)


STORES = (
    *(
        Tile(e, (40, 9), (16, 4), (_chunk(e), 2))
        for e in ("uint8", "float16", "uint64")
    ),
    *(
        Tile("float16", (100, 30), (box, 16), at, swizzle)
        for swizzle, box in (("32B", 16), ("64B", 32), ("128B", 64))
        for at in ((8, 5), (8, 20), (80, 9))
    ),
    *(Tile("float16", (100, 30), (16, 16), at) for at in ((8, 20), (88, 5))),
    Tile("uint32", (96,), (32,), (80,)),
    Tile("uint16", (20, 7, 5), (8, 4, 3), (16, 5, 3)),
    Tile("uint16", (24, 7, 5, 3, 3), (8, 2, 3, 2, 2), (8, 5, 3, 2, 2)),
    Tile("float16", (40, 20), (16, 12), (8, 2), steps=(1, 2)),
)
REFUSED_STORES = (
    Tile("uint8", (40, 9), (16, 4), (3, 2)),
    Tile("float16", (100, 30), (16, 16), (-8, 5)),
    Tile("float16", (100, 30), (16, 16), (80, -3), "32B"),
    Tile("uint16", (20, 7, 5), (8, 4, 3), (16, 5, -1)),
)
"""Rows that do not begin at 16 bytes; coordinates below zero."""
TENSOR_REDUCTIONS = (
    *(("add", e) for e in ("uint32", "int32", "uint64", "float16", "float32")),
    *(("add", "bfloat16"), ("min", "int32"), ("min", "float16"), ("max", "bfloat16")),
    *(("max", "uint32"), ("inc", "uint32"), ("dec", "uint32"), ("and", "uint32")),
    *(("or", "uint64"), ("xor", "uint32"), ("max", "int64"), ("min", "int64")),
)


def _tensor_stores() -> Iterator[Form]:
    for tile in STORES:
        yield _store(tile, "cp.async.bulk.tensor", "tile.bulk_group", tile.name)
    for tile in REFUSED_STORES:
        name = f"store {tile.name}"
        form = _store(tile, "cp.async.bulk.tensor", "tile.bulk_group", name)
        yield replace(form, family="refused copies")
    for op, element in TENSOR_REDUCTIONS:
        tile = Tile(element, (40, 9), (16, 4), (32, 7))
        name = f"reduce {op} {tile.name}"
        yield _store(tile, "cp.reduce.async.bulk.tensor", f"{op}.tile.bulk_group", name)
    for at, corner in (((8, 5, 3, 0), -1), ((8, 5, 3, 0), 0), ((8, 0, 0, 1), 0)):
        tile = Tile("float16", PLANE, (), at)
        map_ = Map(
            *(1, "float16", PLANE, tile.strides),
            lower=(corner, corner),
            upper=(corner, corner),
            channels=8,
            pixels=24,
        )
        mode, name = "im2col_no_offs.bulk_group", f"im2col at {at}, corners {corner}"
        form = _store(tile, "cp.async.bulk.tensor", mode, name, map_)
        yield form if corner == 0 else replace(form, family="refused copies")


def _store(
    tile: Tile, opcode: str, mode: str, name: str, map_: Map | None = None
) -> Form:
    rank = len(tile.dims)
    coordinates = ", ".join(str(c) for c in tile.at)
    text = (
        f"{MAP} @%first {opcode}.{rank}d.global.shared::cta.{mode} "
        f"[%at, {{{{{coordinates}}}}}], [s]; cp.async.bulk.commit_group; "
        "cp.async.bulk.wait_group 0; ret;\n"
    )
    parameters = (".align 64 .b8 map[128]", ".u64 in0", ".u64 out")
    ptx = assembled(parameters, (SETUP, READ, text), 2048)
    source = Source(name)
    count = -(-tile.bytes // 4)
    types = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}
    type_ = types.get(tile.element, "u32") if "reduce" in opcode else "u32"
    data, old = (numbers(source, type_, n) for n in (512, count))
    kind = {"f16": "f16x2", "bf16": "bf16x2", "f32": "f32"}.get(type_, "")
    return Form(
        *("tensor stores", name, ptx, (data,), old, kind),
        maps=(map_ or tile.map(1),),
        threads=128,
    )
