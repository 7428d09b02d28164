"""Constants of the model: small ones in the IR, large ones in a store beside it.

A `#nn.weight<"hash">` names an array by the BLAKE2b hash of its bytes (twice as fast as
SHA-256 where that is not in hardware). The store keeps arrays in memory, or as one file
per hash in a directory, so that IR stays small and piping between processes stays
exact.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    BytesAttr,
    DenseIntOrFPElementsAttr,
    IntegerType,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition

from stepwell.dialects.dtypes import StringType, element_type, numpy_dtype
from stepwell.dialects.shapes import element_of, tensor_type
from stepwell.errors import ModelError, OptionError

DENSE_LIMIT = 1024
"""Bytes up to which a constant stays in the IR."""


@irdl_attr_definition
class WeightAttr(ParametrizedAttribute):
    """A reference to an array in the weight store: `#nn.weight<"hash">`.

    The array is row-major; its shape and element type are those of the constant.
    """

    name = "nn.weight"

    digest: StringAttr


ConstantAttr = DenseIntOrFPElementsAttr | WeightAttr | ArrayAttr[StringAttr]


@dataclass
class WeightStore:
    """Arrays by the hash of their bytes, in memory or in `directory`.

    Values written to a directory are files named by their hash, put there atomically;
    two processes may share one.
    """

    directory: Path | None = None
    _arrays: dict[str, np.ndarray[Any, Any]] = field(
        default_factory=dict[str, np.ndarray[Any, Any]]
    )

    def put(self, array: np.ndarray[Any, Any]) -> WeightAttr:
        """Keep `array` (copied only if it is not contiguous) and return its name."""
        array = np.ascontiguousarray(array)
        data = array.reshape(-1).view(np.uint8)
        digest = hashlib.blake2b(data.data, digest_size=32).hexdigest()
        if self.directory is not None:
            self._write(self.directory / digest, data)
        elif digest not in self._arrays:
            array = array.copy() if array.flags.writeable else array
            array.flags.writeable = False
            self._arrays[digest] = array
        return WeightAttr(StringAttr(digest))

    def get(self, weight: WeightAttr, kind: TensorType) -> np.ndarray[Any, Any]:
        """The read-only array that `weight` names, with the shape and dtype of `kind`.

        Raises:
            ModelError: the store lacks it, or its size does not fit `kind`.
        """
        digest = weight.digest.data
        dtype, shape = numpy_dtype(element_of(kind)), kind.get_shape()
        data = self._bytes(digest)
        if data.size != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ModelError(
                f"expected weight {digest} to fill {kind}, got {data.size} B"
            )
        return data.view(dtype).reshape(shape)

    def __contains__(self, weight: WeightAttr) -> bool:
        digest = weight.digest.data
        if digest in self._arrays:
            return True
        return self.directory is not None and (self.directory / digest).exists()

    def _bytes(self, digest: str) -> np.ndarray[Any, Any]:
        if (array := self._arrays.get(digest)) is not None:
            return array.reshape(-1).view(np.uint8)
        path = None if self.directory is None else self.directory / digest
        if path is None or not path.exists():
            raise ModelError(
                f"expected weight {digest} in the weight store, but it is not there",
                fix="pass --weights DIR with the directory the IR was written with",
            )
        if path.stat().st_size == 0:
            return np.zeros(0, np.uint8)
        array = np.memmap(path, np.uint8, "r")
        self._arrays[digest] = array
        return array

    def _write(self, path: Path, data: np.ndarray[Any, Any]) -> None:
        if path.exists():
            return
        try:
            _write_whole(path, data)
        except OSError as error:
            raise OptionError(
                f"cannot write a weight: {error.strerror or error}",
                where=str(path.parent),
                fix="choose a directory that is writable, with enough free space",
            ) from None


def _write_whole(path: Path, data: np.ndarray[Any, Any]) -> None:
    """Write a file that is there with all of its bytes, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".weight-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def encode_array(array: np.ndarray[Any, Any], store: WeightStore) -> ConstantAttr:
    """The attribute for `array`: dense up to `DENSE_LIMIT` bytes, else a reference."""
    element = element_type(array.dtype)
    if isinstance(element, StringType):
        return ArrayAttr(StringAttr(str(text)) for text in array.reshape(-1))
    if array.nbytes > DENSE_LIMIT or not _is_dense(element):
        return store.put(array)
    kind = cast(TensorType[Any], tensor_type(array.shape, element))
    if element == IntegerType(1):
        array = array.astype(np.int8)
    data = np.ascontiguousarray(array).tobytes()
    return DenseIntOrFPElementsAttr(kind, BytesAttr(data))


def decode_array(
    value: Attribute, kind: TensorType, store: WeightStore
) -> np.ndarray[Any, Any]:
    """The array of a constant attribute, with the shape and dtype of `kind`."""
    shape: Sequence[int] = kind.get_shape()
    match value:
        case WeightAttr():
            return store.get(value, kind)
        case DenseIntOrFPElementsAttr():
            dtype = numpy_dtype(element_of(kind))
            flat = np.frombuffer(value.data.data, _storage(dtype))
            if dtype == np.bool_:
                flat = (flat & 1).astype(np.bool_)
            return flat.reshape(shape)
        case ArrayAttr():
            texts = [text.data for text in value if isinstance(text, StringAttr)]
            return np.array(texts, dtype=object).reshape(shape)
        case _:
            raise ModelError(f"expected a constant attribute, got {value}")


def _storage(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.int8) if dtype == np.bool_ else dtype


def _is_dense(element: Attribute) -> bool:
    """Whether xDSL's dense attribute holds the type in NumPy's own bytes."""
    return not isinstance(element, IntegerType) or element.width.data in (
        1,
        8,
        16,
        32,
        64,
    )
