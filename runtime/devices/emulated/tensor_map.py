"""Tensor maps: what `cuTensorMapEncodeTiled` and `...Im2col` make, as our own bytes.

The driver's 128 bytes are opaque by its documentation, so that the emulator has its
own: the same fields, and a mark that tells a map from other memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError, OptionError, UnsupportedError

MAP_BYTES = 128
MARK = b"TMAP"
FORMAT = "<4s8BQ5I4Q5H5B6h"
ELEMENTS = {
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
"""CUtensorMapDataType in its order, with the bytes of an element."""
SWIZZLES = {"none": 0, "32B": 32, "64B": 64, "128B": 128}
OUTSIDE = 0x7FF7
"""The 16 bits that a map with NaN fill puts, over and over, outside its tensor; of them
`fma.oob` makes zeros. (Measured on Hopper: the documents do not name them.)"""
CHUNK = 16
"""Bytes: what a copy moves, and what a row's start is a multiple of."""

Indices = NDArray[np.int64]
Inside = NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """Im2col: where the first tap of a filter goes, over the spatial dimensions.

    From `lower` to the last pixel plus `upper`, both included; innermost first.
    """

    lower: tuple[int, ...]
    upper: tuple[int, ...]


@dataclass(frozen=True)
class TensorMap:
    """A tensor in global memory and the boxes it is copied in; innermost first.

    `strides` are bytes, one for each dimension but the innermost; `steps` are the
    strides of elements along each; `swizzle` is the width in bytes of its pattern, or
    0; `fill_nan` fills out-of-bounds with NaN. With a `window`, `box` is the channels
    of a pixel and the pixels of a column, and copies are in im2col mode.
    """

    element: str
    address: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    swizzle: int = 0
    fill_nan: bool = False
    steps: tuple[int, ...] = ()
    window: Window | None = None

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return ELEMENTS[self.element]

    @property
    def extents(self) -> tuple[int, ...]:
        """The elements that a box has in shared memory."""
        if self.window is not None:
            return self.box
        # The innermost dimension is never strided (unless interleaved).
        return (
            self.box[0],
            *(
                -(-size // step)
                for size, step in zip(self.box[1:], self.every[1:], strict=True)
            ),
        )

    @property
    def every(self) -> tuple[int, ...]:
        """The strides of elements; ones if none were given."""
        return self.steps or (1,) * len(self.dims)

    @property
    def box_bytes(self) -> int:
        """Bytes of a box's elements, all of which an mbarrier counts."""
        return int(np.prod(self.extents)) * self.width

    @property
    def pitch(self) -> int:
        """Bytes from row to row of a box in shared memory: rows that are narrower than
        the swizzle are padded to it (measured on Hopper)."""
        return max(self.extents[0] * self.width, self.swizzle)

    @property
    def span(self) -> int:
        """Bytes of shared memory that a box lies in."""
        return int(np.prod(self.extents[1:])) * self.pitch

    @property
    def fill(self) -> int:
        """The bits of an element outside the tensor."""
        repeated = OUTSIDE.to_bytes(2, "little") * (self.width // 2)
        return int.from_bytes(repeated, "little") if self.fill_nan else 0

    def elements(
        self, coordinates: Sequence[int], offsets: Sequence[int] = ()
    ) -> tuple[Indices, Inside]:
        """Addresses of a box's elements, innermost fastest, and which are inside.

        `offsets` are im2col's: the place of a tap in the filter, innermost first.

        Raises:
            DeviceError: the innermost coordinate is not of whole chunks (Hopper then
                faults); an im2col copy starts outside its window.
        """
        if coordinates[0] * self.width % CHUNK:
            raise DeviceError(
                f"expected a tensor copy to start at a multiple of {CHUNK} bytes along "
                f"its rows, got element {coordinates[0]} of {self.element}"
            )
        if self.window is not None:
            return self._column(coordinates, offsets)
        address = np.full((1,), self.address, np.int64)
        inside = np.ones((1,), np.bool_)
        strides = (self.width, *self.strides)
        for at, extent, size, every, stride in zip(
            coordinates,
            self.dims,
            self.extents,
            (1, *self.every[1:]),
            strides,
            strict=True,
        ):
            index = at + np.arange(size, dtype=np.int64) * every
            address = (index[:, None] * stride + address).reshape(-1)
            within = (index >= 0) & (index < extent)
            inside = (within[:, None] & inside).reshape(-1)
        return address, inside

    def _column(
        self, coordinates: Sequence[int], offsets: Sequence[int]
    ) -> tuple[Indices, Inside]:
        """A column of pixels: along the rows of the window, then to the next image."""
        channels, pixels = self.box
        first, *spatial, image = coordinates
        walked = self._walk(spatial, image, pixels)
        channel = first + np.arange(channels, dtype=np.int64)
        address = self.address + channel[None, :] * self.width
        inside = (channel >= 0) & (channel < self.dims[0])
        shifts = (*(offsets or (0,) * len(spatial)), 0)
        for index, shift, extent, stride in zip(
            walked, shifts, self.dims[1:], self.strides, strict=True
        ):
            place = (index + shift)[:, None]
            address = address + place * stride
            inside = inside & (place >= 0) & (place < extent)
        return address.reshape(-1), inside.reshape(-1)

    def _walk(self, spatial: Sequence[int], image: int, pixels: int) -> list[Indices]:
        """Coordinates of the pixels of a column, in the window; images last."""
        assert self.window is not None
        lower = np.array(self.window.lower)
        end = np.array(self.dims[1:-1]) - 1 + np.array(self.window.upper)
        every = np.array(self.every[1:-1])
        at = np.array(spatial)
        if (at < lower).any() or (at > end).any():
            raise DeviceError(
                "an im2col copy starts outside its bounding box: "
                f"{tuple(spatial)} is not within {lower.tolist()} and {end.tolist()}"
            )
        current, found = [*at.tolist(), image], np.empty((pixels, at.size + 1), "i8")
        for pixel in range(pixels):
            found[pixel] = current
            for axis in range(at.size):
                current[axis] += int(every[axis])
                if current[axis] <= end[axis]:
                    break
                current[axis] = int(lower[axis])
            else:
                current[-1] += self.every[-1]
        return list(found.T)

    def offsets(self, start: int) -> Indices:
        """Where the elements of a box lie in shared memory, swizzled."""
        rows = np.arange(int(np.prod(self.extents[1:])), dtype=np.int64) * self.pitch
        row = np.arange(self.extents[0], dtype=np.int64) * self.width
        return swizzled(start + (rows[:, None] + row).reshape(-1), self.swizzle)

    def clipped_by_chunks(self) -> TensorMap:
        """The map by which stores are clipped: a last chunk of a row that lies partly
        inside is written whole (measured on Hopper)."""
        whole = -(-self.dims[0] * self.width // CHUNK) * CHUNK // self.width
        return replace(self, dims=(whole, *self.dims[1:]))

    def encode(self) -> bytes:
        """The 128 bytes that a kernel takes as its argument."""

        def padded(values: Sequence[int], count: int) -> tuple[int, ...]:
            return (*values, *([0] * (count - len(values))))

        window = self.window or Window((), ())
        raw = struct.pack(
            FORMAT,
            MARK,
            list(ELEMENTS).index(self.element),
            len(self.dims),
            self.swizzle,
            self.fill_nan,
            self.window is not None,
            *(0, 0, 0),
            self.address,
            *padded(self.dims, 5),
            *padded(self.strides, 4),
            *padded(self.box, 5),
            *padded(self.every, 5),
            *padded(window.lower, 3),
            *padded(window.upper, 3),
        )
        return raw.ljust(MAP_BYTES, b"\0")

    @staticmethod
    def decode(data: bytes) -> TensorMap | None:
        """The map in 128 bytes; None if they hold none."""
        fields = struct.unpack(FORMAT, data[: struct.calcsize(FORMAT)])
        mark, kind, rank, swizzle, nan, is_column, *_ = fields
        if mark != MARK:
            return None
        numbers = fields[9:]
        spatial = rank - 2
        lower, upper = numbers[20 : 20 + spatial], numbers[23 : 23 + spatial]
        return TensorMap(
            list(ELEMENTS)[kind],
            numbers[0],
            tuple(numbers[1 : 1 + rank]),
            tuple(numbers[6 : 6 + rank - 1]),
            tuple(numbers[10 : 10 + (2 if is_column else rank)]),
            swizzle,
            bool(nan),
            tuple(numbers[15 : 15 + rank]),
            Window(lower, upper) if is_column else None,
        )


def swizzled(offsets: Indices, width: int) -> Indices:
    """The XOR patterns of shared memory: 16-byte chunks by the row they lie in.

    128 bytes: address bits 4 to 6 with bits 7 to 9; 64: 4, 5 with 7, 8; 32: 4 with 7.
    """
    if width == 0:
        return offsets
    return offsets ^ ((offsets >> 7) & (width // 16 - 1)) << 4


def encode_tensor_map(
    element: str,
    address: int,
    dims: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    *,
    element_strides: Sequence[int] = (),
    interleave: str = "none",
    swizzle: str = "none",
    oob_fill: str = "none",
) -> bytes:
    """A tensor map, with the fields of `cuTensorMapEncodeTiled`; innermost first.

    Args:
        element: a name of `ELEMENTS`.
        address: the tensor's pointer on the emulated device, 16-byte aligned.
        dims: one to five extents, in elements.
        strides: bytes, for all dimensions but the innermost; multiples of 16.
        box: extents of a box, 256 at most.
        element_strides: one to eight for each dimension; a box of extent b then has
            ceil(b / stride) elements along it. The innermost's is ignored.
        swizzle: "none", "32B", "64B" or "128B".
        oob_fill: "none" (zeros) or "nan".

    Raises:
        OptionError: a field breaks a rule of cuTensorMapEncodeTiled.
        UnsupportedError: interleaved layouts.
    """
    fixed = _fixed(element, interleave, swizzle, oob_fill)
    steps = tuple(element_strides) or (1,) * len(dims)
    one = TensorMap(
        element, address, tuple(dims), tuple(strides), tuple(box), *fixed, steps
    )
    _check(one)
    if len(one.box) != len(one.dims):
        raise OptionError(f"expected {len(one.dims)} box extents, got {one.box}")
    return one.encode()


def encode_im2col_map(
    element: str,
    address: int,
    dims: Sequence[int],
    strides: Sequence[int],
    lower: Sequence[int],
    upper: Sequence[int],
    channels: int,
    pixels: int,
    *,
    element_strides: Sequence[int] = (),
    interleave: str = "none",
    swizzle: str = "none",
    oob_fill: str = "none",
) -> bytes:
    """A tensor map, with the fields of `cuTensorMapEncodeIm2col`; innermost first.

    Args:
        dims: channels, one to three spatial extents, images.
        lower, upper: corners of the bounding box of a filter's first tap, one number
            for each spatial dimension, relative to the first and to the last pixel.
        channels: of a pixel, 256 at most.
        pixels: of a column, 1024 at most.
        element_strides: those of the spatial dimensions are the filter's.

    The rest is as in `encode_tensor_map`, errors too.
    """
    fixed = _fixed(element, interleave, swizzle, oob_fill)
    steps = tuple(element_strides) or (1,) * len(dims)
    window = Window(tuple(lower), tuple(upper))
    one = TensorMap(
        element,
        address,
        tuple(dims),
        tuple(strides),
        (channels, pixels),
        *fixed,
        steps,
        window,
    )
    _check(one)
    spatial = len(one.dims) - 2
    reach = {1: 1 << 15, 2: 1 << 7, 3: 1 << 4}.get(spatial)
    if reach is None or not len(lower) == len(upper) == spatial:
        raise OptionError(
            "expected three to five extents, and corners of two numbers fewer, "
            f"got {one.dims}, {window.lower}, {window.upper}"
        )
    if not all(-reach <= corner < reach for corner in (*lower, *upper)):
        raise OptionError(
            f"expected corners from {-reach} to {reach - 1}, "
            f"got {window.lower}, {window.upper}"
        )
    return one.encode()


def _fixed(
    element: str, interleave: str, swizzle: str, oob_fill: str
) -> tuple[int, bool]:
    """The pattern's width, and whether NaN fills; checked."""
    if interleave != "none":
        raise UnsupportedError("the emulator has no interleaved boxes")
    if element not in ELEMENTS or swizzle not in SWIZZLES:
        raise OptionError(
            f"expected a known type and swizzle, got {element}, {swizzle}"
        )
    if oob_fill == "nan" and "float" not in element:
        raise OptionError(f"expected a float type to fill with NaN, got {element}")
    return SWIZZLES[swizzle], oob_fill == "nan"


def _check(one: TensorMap) -> None:
    """The rules that both modes share."""
    rank = len(one.dims)
    if not 1 <= rank <= 5 or len(one.strides) != rank - 1 or len(one.steps) != rank:
        raise OptionError(
            "expected one to five extents, a stride less, and as many strides of "
            f"elements, got {one.dims}, {one.strides}, {one.steps}"
        )
    if one.address % 16 or any(stride % 16 for stride in one.strides):
        raise OptionError("expected an address and strides that are multiples of 16")
    if not all(1 <= step <= 8 for step in one.steps):
        raise OptionError(f"expected strides of elements from 1 to 8, got {one.steps}")
    most = (256, 256 if one.window is None else 1024)
    if not 1 <= one.box[0] <= most[0] or not all(
        1 <= extent <= most[1] for extent in one.box[1:]
    ):
        raise OptionError(
            f"expected box extents from 1 to 256 (1024 pixels), got {one.box}"
        )
    inner = one.box[0] * one.width
    if inner % 16 or (one.swizzle and inner > one.swizzle):
        raise OptionError(
            f"expected {one.swizzle or 'a multiple of 16'} bytes or fewer along the "
            f"box's innermost dimension, got {inner}"
        )
