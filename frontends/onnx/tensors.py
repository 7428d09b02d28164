"""The arrays of `TensorProto`s, from the file itself or from external data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from stepwell.errors import ModelError
from stepwell.frontends.onnx.load import LoadedModel, external_file


def read_tensor(tensor: onnx.TensorProto, model: LoadedModel) -> np.ndarray[Any, Any]:
    """The array that `tensor` holds; external data is mapped, not read.

    Raises:
        ModelError: the data does not fill the shape.
    """
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _read_external(tensor, model)
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise _bad(tensor, model, str(error)) from None
    if array.shape != tuple(tensor.dims):
        raise _bad(tensor, model, f"expected shape {tuple(tensor.dims)}")
    return array


def read_sparse(
    tensor: onnx.SparseTensorProto, model: LoadedModel
) -> np.ndarray[Any, Any]:
    """A sparse tensor, made dense."""
    values = read_tensor(tensor.values, model)
    indices = read_tensor(tensor.indices, model)
    shape = tuple(tensor.dims)
    dense = np.zeros(shape, values.dtype)
    try:
        if indices.ndim == 2:
            dense[tuple(indices.T)] = values
        else:
            dense.reshape(-1)[indices] = values
    except IndexError as error:
        raise _bad(tensor.values, model, str(error)) from None
    return dense


def _read_external(
    tensor: onnx.TensorProto, model: LoadedModel
) -> np.ndarray[Any, Any]:
    path, offset = external_file(tensor, model)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    packed = dtype.itemsize == 1 and _bits(tensor) < 8
    count = math.prod(tensor.dims)
    size = -(-count * _bits(tensor) // 8) if packed else count * dtype.itemsize
    if offset + size > path.stat().st_size:
        raise _bad(tensor, model, f"expected {size} bytes at {offset} of {path.name}")
    data = np.memmap(path, np.uint8, "r", offset, (size,)) if size else b""
    if not packed:
        return np.frombuffer(data, dtype).reshape(tuple(tensor.dims))
    whole = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims)
    whole.raw_data = bytes(data)
    return onnx.numpy_helper.to_array(whole)


def _bits(tensor: onnx.TensorProto) -> int:
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    return {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}.get(name, 8)


def _bad(tensor: onnx.TensorProto, model: LoadedModel, reason: str) -> ModelError:
    return ModelError(
        f"{model.name}: cannot read the data of tensor {tensor.name!r}", notes=[reason]
    )
