"""The host program: which kernels run, in which order, on which memory.

`engine` ops work on tensors. After `plan-memory` every result of a launch has a
*place*: `slots = array<i64: 0, -1>` says that the first result lies in slot 0 of the
arena and the second directly in the buffer of the output that it is returned as. The
function's attribute `engine.slots` holds each slot's size in bytes, a dim expression.
The runtime reads nothing else: it knows no `nn` op but `nn.constant`.

Dim expressions are strings in the syntax of `stepwell.dialects.shapes`
(`"batch * seq floordiv 2"`).
"""

from __future__ import annotations

from xdsl.ir import Dialect

from .calls import HostCallOp, LaunchOp
from .control import IfOp, LoopOp, YieldOp
from .memory import AliasOp, CopyOp, EmptyOp
from .places import OUTPUT_SLOT
from .symbols import PREDICATES, AssertOp, ReadScalarOp

__all__ = [
    "OUTPUT_SLOT",
    "PREDICATES",
    "SLOTS_ATTRIBUTE",
    "AliasOp",
    "AssertOp",
    "CopyOp",
    "EmptyOp",
    "Engine",
    "HostCallOp",
    "IfOp",
    "LaunchOp",
    "LoopOp",
    "ReadScalarOp",
    "YieldOp",
]

SLOTS_ATTRIBUTE = "engine.slots"
"""The function attribute with the size in bytes of each slot, `#nn.dims<...>`."""

Engine = Dialect(
    "engine",
    [
        LaunchOp,
        HostCallOp,
        AliasOp,
        ReadScalarOp,
        AssertOp,
        EmptyOp,
        CopyOp,
        YieldOp,
        IfOp,
        LoopOp,
    ],
    [],
)
