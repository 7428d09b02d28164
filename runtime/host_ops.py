"""What no kernel does: functions of the host library, by the name of their `nn` op.

Each takes the op's operands as arrays and its properties by name, and returns a list of
arrays. Shapes, dtypes and the order of results are those of the op.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
HostOp: TypeAlias = Callable[..., Sequence[Array]]


def nonzero(x: Array) -> list[Array]:
    """Indices of the elements that are not zero, `[rank, count]`; ONNX NonZero."""
    return [np.array(np.nonzero(np.atleast_1d(x)), np.int64)]


HOST_OPS: Mapping[str, HostOp] = {"nonzero": nonzero}
"""Every host op, by the name of its `nn` op."""
