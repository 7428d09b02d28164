"""Makers of builder functions: an op that is one `nn` op is a row of data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.frontends.described import Make, described, op_name
from stepwell.frontends.emit import value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Build


def unary(op: Make, **floats: float) -> Build:
    """`op` of the first input; `floats` are attributes with their defaults."""

    def build(node: Node) -> Operation:
        given = {name: node.float(name, default) for name, default in floats.items()}
        return op(node.x(), **given)

    return described(build, f"One `{op_name(op)}`.")


def binary(op: Make, **parameters: Any) -> Build:
    """`op` of two inputs, which broadcast; by the old rule before opset 7."""

    def build(node: Node) -> Operation:
        x, y = node.x(0), node.x(1)
        if node.version < 7:
            y = old_broadcast(node, x, y)
        return op(x, y, **parameters)

    return described(build, f"One `{op_name(op)}`.")


def old_broadcast(node: Node, x: SSAValue, y: SSAValue) -> SSAValue:
    """`y` with trailing dims of 1, as the `axis` of opset 6 and before means it."""
    is_wanted = node.int("broadcast", int(node.op_type == "PRelu"))
    left, right = dims_of(x), dims_of(y)
    default = 1 if node.op_type == "PRelu" else len(left) - len(right)
    axis = node.int("axis", default)
    trailing = len(left) - len(right) - axis
    if not is_wanted or trailing <= 0 or not right:
        return y
    return value(nn.ReshapeOp(y, [*right, *[1] * trailing]))


def variadic(op: Make) -> Build:
    """`op` applied from left to right over any number of inputs."""

    def build(node: Node) -> Sequence[SSAValue]:
        first, *others = node.all_x()
        for other in others:
            first = op(first, other).results[0]
        return [first]

    return described(build, f"A chain of `{op_name(op)}`.")
