"""Element types by the names that engine files use: NumPy's and `ml_dtypes`'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from stepwell.errors import EngineFileError

_NUMPY = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
    "float16 float32 float64 complex64 complex128 object"
)
_ML_DTYPES = (
    "bfloat16 int2 int4 uint2 uint4 float4_e2m1fn float6_e2m3fn float6_e3m2fn "
    "float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz "
    "float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
)

DTYPES: Mapping[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in _NUMPY.split()},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in _ML_DTYPES.split()},
}
"""Every element type an engine may use; `object` holds strings, on the host only."""


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype called `name`.

    Raises:
        EngineFileError: there is no such element type.
    """
    if (dtype := DTYPES.get(name)) is None:
        raise EngineFileError(f"expected an element type, got {name[:80]!r}")
    return dtype
