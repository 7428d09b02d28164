"""What an engine is made of beside the module: code, summaries, settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.shapes import Dim
from stepwell.runtime.manifest import Expr, KeptOp


@dataclass(frozen=True)
class ThreadBlock:
    """How the blocks of a GPU kernel are launched.

    Attributes:
        symbol: its name in the code; equal kernels may share one.
        threads: of a block.
        shared: bytes of dynamic shared memory of a block.
        cluster: blocks of a cluster.
        blocks: how many there are.
    """

    symbol: str
    threads: int
    shared: int
    cluster: int
    blocks: Dim


@dataclass(frozen=True)
class DeviceCode:
    """What the code generator made.

    Attributes:
        object: an object file, or a cubin.
        fallback: what can be compiled where that does not run: LLVM IR, or PTX.
        triple: LLVM's name of the platform.
        blocks: of each kernel of a GPU, by the name of its `tile.func`.
    """

    object: bytes
    fallback: str
    triple: str
    blocks: Mapping[str, ThreadBlock] = field(default_factory=dict[str, ThreadBlock])


CompileKernels: TypeAlias = Callable[[ModuleOp], DeviceCode]


@dataclass(frozen=True)
class LaunchSummary:
    """What is known of a kernel above `tile`, kept for `inspect` and `bench`."""

    name: str
    ops: tuple[str, ...] = ()
    flops: Expr = 0
    nbytes: Expr = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineOptions:
    """What goes into the manifest beside the module.

    Attributes:
        summaries, schedules: of the kernels, by the names of their source nodes.
        snapshots: text of each level, by file name under `ir/`.
        kept_in_f32: what a lower precision left as it was.
    """

    name: str = ""
    precision: str = "fp32"
    kept_in_f32: tuple[KeptOp, ...] = ()
    threads: int | None = None
    producer: str = ""
    summaries: Mapping[tuple[str, ...], LaunchSummary] = field(
        default_factory=dict[tuple[str, ...], LaunchSummary]
    )
    schedules: Mapping[tuple[str, ...], str] = field(
        default_factory=dict[tuple[str, ...], str]
    )
    snapshots: Mapping[str, str] = field(default_factory=dict[str, str])
