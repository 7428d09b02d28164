"""What PyTorch says of the ops that a graph calls: names and schemas."""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload


def schema_of(target: object) -> Any:
    """The schema of an overload; None for what is none (`getitem`, `cond`)."""
    return getattr(target, "_schema", None) if isinstance(target, OpOverload) else None


def rule_name(target: object) -> str:
    """How the table writes a target: `aten.relu.default`, `getitem`, `cond`."""
    if isinstance(target, OpOverload):
        return str(target)
    return str(getattr(target, "__name__", target))


def op_name(target: object) -> str:
    """The op's name without namespace and overload: `relu_`; empty if it is no op."""
    schema = schema_of(target)
    return "" if schema is None else str(schema.name.rpartition("::")[2])


def is_mutable(target: object) -> bool:
    """Whether an op changes one of its arguments."""
    schema = schema_of(target)
    return schema is not None and schema.is_mutable


def find_overload(name: str) -> Any:
    """The op of a row's name, `aten.relu.default`; None if this PyTorch has none."""
    parts = name.split(".")
    if len(parts) != 3 or not hasattr(torch.ops, parts[0]):
        return None
    packet = getattr(getattr(torch.ops, parts[0]), parts[1], None)
    return getattr(packet, parts[2], None)
