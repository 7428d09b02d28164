"""Makers of builder functions: an op that is one `nn` op is a row of data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from xdsl.ir import Operation

from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Build

Make = Callable[..., Operation]


def unary(op: Make, **parameters: Any) -> Build:
    """`op` of the first input."""

    def build(node: Node) -> Operation:
        return op(node.x(), **parameters)

    return described(build, f"One `{op_name(op)}`.")


def binary(op: Make, **parameters: Any) -> Build:
    """`op` of two inputs, which broadcast."""

    def build(node: Node) -> Operation:
        return op(node.x(0), node.x(1), **parameters)

    return described(build, f"One `{op_name(op)}`.")


def described(build: Build, text: str) -> Build:
    """`build` with `text` as its line in the list of supported ops."""
    build.__doc__ = text
    return build


def op_name(op: Make) -> str:
    """The name of the op that `op` makes."""
    made = op.func if isinstance(op, partial) else op
    return getattr(made, "name", str(made))
