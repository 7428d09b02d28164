"""What became of a model: the engines, and the ops that torch runs, each with why."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+).*\n\s*(?P<code>.+)')


@dataclass(frozen=True)
class EnginePart:
    """One engine: how many ATen ops it holds, how many kernels, seconds to build."""

    name: str
    ops: int
    kernels: int
    seconds: float


@dataclass(frozen=True)
class TorchOp:
    """An op left to torch.

    Attributes:
        op: the ATen op, such as `aten.bernoulli.p`.
        reason: why no engine holds it.
        source: the user's line, `file:line: code`; empty where torch knows none.
    """

    op: str
    reason: str
    source: str = ""

    def __str__(self) -> str:
        where = f"\n      {self.source}" if self.source else ""
        return f"{self.op}: {self.reason}{where}"


@dataclass
class GraphReport:
    """One graph: a whole exported module, or one that `torch.compile` captured."""

    name: str
    engines: list[EnginePart] = field(default_factory=list[EnginePart])
    torch_ops: list[TorchOp] = field(default_factory=list[TorchOp])

    @property
    def is_complete(self) -> bool:
        """Whether engines run all of it."""
        return not self.torch_ops

    def __str__(self) -> str:
        ops = sum(engine.ops for engine in self.engines)
        total = ops + len(self.torch_ops)
        lines = [f"{self.name}: {ops} of {total} ops in {len(self.engines)} engines"]
        lines += [
            f"  {part.name}: {part.ops} ops, {part.kernels} kernels, "
            f"built in {part.seconds:.2f} s"
            for part in self.engines
        ]
        if self.torch_ops:
            lines.append("  run by torch:")
            lines += [f"    {op}" for op in self.torch_ops]
        return "\n".join(lines)


@dataclass
class Report:
    """The graphs of a compiled model, in the order they were compiled."""

    graphs: list[GraphReport]

    @property
    def is_complete(self) -> bool:
        """Whether engines run everything that was captured."""
        return all(graph.is_complete for graph in self.graphs)

    @property
    def torch_ops(self) -> list[TorchOp]:
        """All ops left to torch."""
        return [op for graph in self.graphs for op in graph.torch_ops]

    def __str__(self) -> str:
        return "\n".join(map(str, self.graphs)) or "nothing was compiled"


def op_name(target: Any) -> str:
    """`aten.add.Tensor` for an ATen op, `aten.add` for all its overloads; the plain
    name of anything else."""
    if isinstance(target, OpOverload | OpOverloadPacket):
        return str(target)
    return getattr(target, "__name__", str(target))


def source_line(node: torch.fx.Node) -> str:
    """The innermost line of the user's code that made a node."""
    frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
    if not frames:
        return ""
    frame = frames[-1]
    return f"{frame['file']}:{frame['line']}: {frame['code'].strip()}"
