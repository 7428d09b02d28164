"""What a caller hands in: arrays by position or name, from any library, checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepwell.errors import InputError

from .devices.interface import Array
from .manifest import Expr, SymbolRange

_DLPACK_CPU = 1  # kDLCPU; dlpack.h
_DLPACK_CUDA_HOST = 3  # kDLCUDAHost


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an engine.

    Attributes:
        name: its name in the model.
        dtype: its element type.
        shape: numbers, or dim expressions over the engine's symbols.
        ranges: what each symbol of `shape` may be.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Expr, ...]
    ranges: Mapping[str, SymbolRange]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


def to_arrays(
    specs: Sequence[TensorSpec],
    positional: Sequence[Any],
    named: Mapping[str, Any],
    on_device: bool = False,
) -> list[Any]:
    """One contiguous array for each input, in the engine's order.

    With `on_device`, what lies in memory of a GPU becomes a `DeviceTensor`.

    Raises:
        InputError: missing, unknown or repeated inputs, or wrong types or ranks.
    """
    if len(positional) == len(specs) and not named:
        return [
            to_array(spec, value, on_device)
            for spec, value in zip(specs, positional, strict=True)
        ]
    if len(positional) > len(specs):
        raise InputError(
            f"expected {len(specs)} inputs, got {len(positional)}", notes=_notes(specs)
        )
    values = {spec.name: value for spec, value in zip(specs, positional, strict=False)}
    names = [spec.name for spec in specs]
    if unknown := [name for name in named if name not in names]:
        raise InputError(
            f"expected inputs {', '.join(names)}, got {', '.join(map(repr, unknown))}",
            notes=_notes(specs),
        )
    if twice := [name for name in named if name in values]:
        raise InputError(f"expected input {twice[0]!r} once, got it twice")
    values.update(named)
    if missing := [name for name in names if name not in values]:
        raise InputError(
            f"expected input {missing[0]!r}, which is missing", notes=_notes(specs)
        )
    return [to_array(spec, values[spec.name], on_device) for spec in specs]


def to_array(spec: TensorSpec, value: Any, on_device: bool = False) -> Any:
    """`value` as a contiguous array, without a copy where that is possible.

    Takes NumPy arrays, CPU tensors that speak DLPack or the array protocol, numbers and
    nested lists of them.

    Raises:
        InputError: another dtype or rank than the input's, or memory of a GPU.
    """
    array = value if type(value) is np.ndarray else _foreign(spec, value, on_device)
    if array.dtype != spec.dtype:
        array = _strings(spec, array)
    if array.ndim != len(spec.shape):
        shape = ", ".join(map(str, spec.shape))
        raise InputError(
            f"expected rank {len(spec.shape)} of input {spec.name!r}, got {array.ndim}",
            notes=[f"expected shape [{shape}], got {list(array.shape)}"],
        )
    if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
        return array.copy(order="C")
    return array


def _notes(specs: Sequence[TensorSpec]) -> list[str]:
    return [f"input {spec}" for spec in specs]


def _strings(spec: TensorSpec, array: Array) -> Array:
    """String arrays have many dtypes; all of them are object arrays inside."""
    if spec.dtype == np.object_ and array.dtype.kind in "UST":
        return array.astype(object)
    raise InputError(
        f"expected dtype {spec.dtype} of input {spec.name!r}, got {array.dtype}",
        fix=f"convert it: x.astype({str(spec.dtype)!r})",
    )


def _foreign(spec: TensorSpec, value: Any, on_device: bool) -> Any:
    if on_device:
        from .devices.gpu.tensors import device_tensor

        if (tensor := device_tensor(spec.name, value)) is not None:
            return tensor
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        return _from_dlpack(spec, value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"expected an array as input {spec.name!r}, got {type(value).__name__}",
            notes=[str(error)],
        ) from None
    is_plain = isinstance(value, int | float | bool | list | tuple)
    if is_plain and np.can_cast(array.dtype, spec.dtype, "same_kind"):
        return array.astype(spec.dtype)
    return array


def _from_dlpack(spec: TensorSpec, value: Any) -> Array:
    device = int(value.__dlpack_device__()[0])
    if device not in (_DLPACK_CPU, _DLPACK_CUDA_HOST):
        raise InputError(
            f"expected input {spec.name!r} in memory of the cpu, got DLPack device "
            f"type {device}",
            fix="move it first, for example with x.cpu()",
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach()
        if value.dtype == torch.bfloat16:  # NumPy's DLPack has no bfloat16
            import ml_dtypes

            return (
                value.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
            )
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"cannot read input {spec.name!r} through DLPack", notes=[str(error)]
        ) from None
