"""Tensor maps: `cuTensorMapEncodeTiled` and `cuTensorMapEncodeIm2col`."""

from __future__ import annotations

import ctypes
from typing import Any

from stepwell.runtime.devices.gpu.interface import (
    MAP_BYTES,
    MapRequest,
    element_of_map,
)

from .driver import checked


def encode_map(driver: Any, request: MapRequest) -> bytes:
    """The 128 bytes of a tensor map.

    Raises:
        DeviceError: a field breaks a rule of the hardware.
    """
    kind = getattr(
        driver.CUtensorMapDataType,
        f"CU_TENSOR_MAP_DATA_TYPE_{element_of_map(request.element).upper()}",
    )
    name = f"{request.swizzle}B" if request.swizzle else "NONE"
    swizzle = getattr(driver.CUtensorMapSwizzle, f"CU_TENSOR_MAP_SWIZZLE_{name}")
    rank = len(request.dims)
    steps = request.steps or (1,) * rank
    front = (
        kind,
        rank,
        request.address,
        [driver.cuuint64_t(n) for n in request.dims],
        [driver.cuuint64_t(n) for n in request.strides],
    )
    back = (
        [driver.cuuint32_t(n) for n in steps],
        driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        swizzle,
        driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )
    if request.lower:
        result = driver.cuTensorMapEncodeIm2col(
            *front, list(request.lower), list(request.upper), *request.box, *back
        )
    else:
        box = [driver.cuuint32_t(n) for n in request.box]
        result = driver.cuTensorMapEncodeTiled(*front, box, *back)
    encoded = checked(result, f"encode the tensor map {request}")
    return ctypes.string_at(int(encoded.getPtr()), MAP_BYTES)
