"""What no kernel does: functions of the host library, by the name of their `nn` op.

A function takes the op's operands as arrays (None for an absent one) and its properties
by name, and returns a list of arrays in the order of the op's results. The dtype of the
first result comes as `dtype`; some functions get their result's `shape`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .casting import CASTING
from .movement import MOVEMENT
from .numbers import NUMBERS
from .quantization import QUANTIZATION
from .recurrent import RECURRENT
from .sampling import SAMPLING
from .selection import SELECTION
from .values import HostOp

__all__ = ["HOST_OPS", "HostOp"]

HOST_OPS: Mapping[str, HostOp] = {
    **CASTING,
    **MOVEMENT,
    **NUMBERS,
    **QUANTIZATION,
    **RECURRENT,
    **SAMPLING,
    **SELECTION,
}
"""Every host op."""
