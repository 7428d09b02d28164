"""Tensor maps: what `cuTensorMapEncodeTiled` makes, as 128 bytes of our own.

The driver's bytes are opaque by its documentation, so that the emulator has its own:
the same fields, and a mark that tells a map from other memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import OptionError, UnsupportedError

MAP_BYTES = 128
MARK = b"TMAP"
FORMAT = "<4s8BQ5I4Q5H"
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
QUIET_NAN = {"float16": 0x7FFF, "bfloat16": 0x7FFF, "float64": 0x7FFFFFFFFFFFFFFF}


@dataclass(frozen=True)
class TensorMap:
    """A tensor in global memory and the boxes it is copied in; innermost first.

    `strides` are bytes, one for each dimension but the innermost; `swizzle` is the
    width in bytes of its pattern, or 0; `fill_nan` fills out-of-bounds with NaN.
    """

    element: str
    address: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    swizzle: int = 0
    fill_nan: bool = False

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return ELEMENTS[self.element]

    @property
    def box_bytes(self) -> int:
        """Bytes of a box in shared memory, all of which an mbarrier counts."""
        return int(np.prod(self.box)) * self.width

    @property
    def fill(self) -> int:
        """The bits of an element outside the tensor."""
        return QUIET_NAN.get(self.element, 0x7FFFFFFF) if self.fill_nan else 0

    def elements(
        self, coordinates: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Addresses of a box's elements, innermost fastest, and which are inside."""
        address = np.full((1,), self.address, np.int64)
        inside = np.ones((1,), np.bool_)
        steps = (self.width, *self.strides)
        for at, extent, size, step in zip(
            coordinates, self.dims, self.box, steps, strict=True
        ):
            index = at + np.arange(size, dtype=np.int64)
            address = (index[:, None] * step + address).reshape(-1)
            within = (index >= 0) & (index < extent)
            inside = (within[:, None] & inside).reshape(-1)
        return address, inside

    def offsets(self, start: int) -> NDArray[np.int64]:
        """Where the elements of a box lie in shared memory, swizzled."""
        count = int(np.prod(self.box))
        plain = start + np.arange(count, dtype=np.int64) * self.width
        return swizzled(plain, self.swizzle)

    def encode(self) -> bytes:
        """The 128 bytes that a kernel takes as its argument."""

        def padded(values: Sequence[int], count: int) -> tuple[int, ...]:
            return (*values, *([0] * (count - len(values))))

        raw = struct.pack(
            FORMAT,
            MARK,
            list(ELEMENTS).index(self.element),
            len(self.dims),
            self.swizzle,
            self.fill_nan,
            *(0, 0, 0, 0),
            self.address,
            *padded(self.dims, 5),
            *padded(self.strides, 4),
            *padded(self.box, 5),
        )
        return raw.ljust(MAP_BYTES, b"\0")

    @staticmethod
    def decode(data: bytes) -> TensorMap | None:
        """The map in 128 bytes; None if they hold none."""
        (
            mark,
            kind,
            rank,
            swizzle,
            nan,
            *_,
        ) = fields = struct.unpack(FORMAT, data[: struct.calcsize(FORMAT)])
        if mark != MARK:
            return None
        numbers = fields[9:]
        return TensorMap(
            list(ELEMENTS)[kind],
            numbers[0],
            tuple(numbers[1 : 1 + rank]),
            tuple(numbers[6 : 6 + rank - 1]),
            tuple(numbers[10 : 10 + rank]),
            swizzle,
            bool(nan),
        )


def swizzled(offsets: NDArray[np.int64], width: int) -> NDArray[np.int64]:
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
        swizzle: "none", "32B", "64B" or "128B".
        oob_fill: "none" (zeros) or "nan".

    Raises:
        OptionError: a field breaks a rule of cuTensorMapEncodeTiled.
        UnsupportedError: strides of elements, or interleaved layouts.
    """
    if interleave != "none" or any(stride != 1 for stride in element_strides):
        raise UnsupportedError("the emulator has no interleaved or strided boxes")
    if element not in ELEMENTS or swizzle not in SWIZZLES:
        raise OptionError(
            f"expected a known type and swizzle, got {element}, {swizzle}"
        )
    one = TensorMap(
        element,
        address,
        tuple(dims),
        tuple(strides),
        tuple(box),
        SWIZZLES[swizzle],
        oob_fill == "nan",
    )
    _check(one)
    return one.encode()


def _check(one: TensorMap) -> None:
    rank = len(one.dims)
    if not 1 <= rank <= 5 or len(one.strides) != rank - 1 or len(one.box) != rank:
        raise OptionError(
            "expected one to five extents, a stride less, and as many box extents, "
            f"got {one.dims}, {one.strides}, {one.box}"
        )
    if one.address % 16 or any(stride % 16 for stride in one.strides):
        raise OptionError("expected an address and strides that are multiples of 16")
    if not all(1 <= extent <= 256 for extent in one.box):
        raise OptionError(f"expected box extents from 1 to 256, got {one.box}")
    inner = one.box[0] * one.width
    if inner % 16 or (one.swizzle and inner > one.swizzle):
        raise OptionError(
            f"expected {one.swizzle or 'a multiple of 16'} bytes or fewer along the "
            f"box's innermost dimension, got {inner}"
        )
