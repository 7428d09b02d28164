"""The last step: a planned host program and its compiled code become an engine file.

Input invariant: `plan-memory` has run; the module holds `func.func @main` of `engine`
ops and `nn.constant`s, and a `tile.func` for every kernel that is launched.
"""

from .options import (
    CompileKernels,
    DeviceCode,
    EngineOptions,
    LaunchSummary,
    ThreadBlock,
)
from .writer import write_engine

__all__ = [
    "CompileKernels",
    "DeviceCode",
    "EngineOptions",
    "LaunchSummary",
    "ThreadBlock",
    "write_engine",
]
