"""Recurrent layers: LSTM, GRU, RNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.frontends.described import described
from stepwell.frontends.emit import value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Build, Rule

ACTIVATIONS = {
    "GRU": ["Sigmoid", "Tanh"],
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "RNN": ["Tanh"],
}


def parameters(node: Node, kind: str) -> dict[str, Any]:
    """The attributes that all recurrent layers share."""
    direction = node.string("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    node.int("hidden_size", 0)
    return {
        "direction": direction,
        "activations": node.strings("activations", ACTIVATIONS[kind] * directions),
        "activation_alpha": node.floats("activation_alpha", None),
        "activation_beta": node.floats("activation_beta", None),
        "clip": node.float("clip") if node.has_attribute("clip") else None,
    }


def batch_second(node: Node, x: SSAValue | None) -> SSAValue | None:
    """The first two dims swapped if the node says `layout = 1`."""
    if x is None or not node.int("layout", 0):
        return x
    return value(nn.TransposeOp(x, [1, 0, 2]))


def outputs(node: Node, results: Sequence[SSAValue]) -> list[SSAValue]:
    """The results in the layout of the node."""
    if not node.int("layout", 0):
        return list(results)
    y, *states = results
    return [
        value(nn.TransposeOp(y, [2, 0, 1, 3])),
        *(value(nn.TransposeOp(state, [1, 0, 2])) for state in states),
    ]


def layer(kind: str) -> Build:
    """One recurrent layer of all steps."""

    def build(node: Node) -> list[SSAValue]:
        common = parameters(node, kind)
        x = batch_second(node, node.x(0))
        state = batch_second(node, node.optional(5))
        inputs = [x, node.x(1), node.x(2), node.optional(3), node.optional(4), state]
        if kind == "RNN":
            return outputs(node, nn.RnnOp(*inputs, **common).results)
        if kind == "GRU":
            reset = bool(node.int("linear_before_reset", 0))
            op = nn.GruOp(*inputs, linear_before_reset=reset, **common)
            return outputs(node, op.results)
        cell = batch_second(node, node.optional(6))
        forget = bool(node.int("input_forget", 0))
        op = nn.LstmOp(*inputs, cell, node.optional(7), input_forget=forget, **common)
        return outputs(node, op.results)

    return described(build, f"One `nn.{kind.lower()}`: all steps, one or two ways.")


RULES = tuple(Rule(kind, layer(kind), since=7) for kind in ACTIVATIONS)
