"""Makers of builder functions: an op that is one `nn` op is a row of data."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Operation

from stepwell.frontends.described import Make, described, op_name
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Build


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
