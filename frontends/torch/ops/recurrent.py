"""LSTM, GRU and RNN layers: whole, one `nn` op a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.frontends.described import described
from stepwell.frontends.emit import cut, reshape, transpose, value
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Build, Output, Rules

ORDERS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
"""PyTorch's gates (i f g o; r z n) in the order of `nn` (i o f c; z r h)."""

ACTIVATIONS = {
    "lstm": ("Sigmoid", "Tanh", "Tanh"),
    "gru": ("Sigmoid", "Tanh"),
    "rnn_tanh": ("Tanh",),
    "rnn_relu": ("Relu",),
}


def gates(x: SSAValue, order: Sequence[int]) -> SSAValue:
    """The gates, which are equal parts of dim 0, in another order."""
    if len(order) == 1:
        return x
    rows = dims_of(x)[0]
    assert isinstance(rows, int)
    size = rows // len(order)
    parts = [cut(x, 0, gate * size, (gate + 1) * size) for gate in order]
    return value(nn.ConcatOp(parts, axis=0))


def stacked(parts: Sequence[SSAValue]) -> SSAValue:
    """Tensors along a new first dim."""
    rows = [reshape(part, [1, *dims_of(part)]) for part in parts]
    return rows[0] if len(rows) == 1 else value(nn.ConcatOp(rows, axis=0))


def layer(kind: str) -> Build:
    """All layers of a recurrent module, all steps."""
    family = kind.partition("_")[0]

    def build(
        call: Call,
        x: SSAValue,
        state: Sequence[SSAValue] | SSAValue,
        weights: Sequence[SSAValue],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Sequence[Output]:
        if train and dropout:
            raise call.unsupported(f"{kind} with dropout", fix="call model.eval()")
        states = [state] if isinstance(state, SSAValue) else list(state)
        directions = 2 if bidirectional else 1
        count = 4 if has_biases else 2
        if len(weights) != count * num_layers * directions:
            raise call.unsupported(f"{kind} with projections (proj_size)")
        if batch_first:
            x = transpose(x, [1, 0, 2])
        last: list[list[SSAValue]] = [[] for _ in states]
        for index in range(num_layers):
            first = index * directions
            own = [
                weights[(first + way) * count : (first + way + 1) * count]
                for way in range(directions)
            ]
            initial = [cut(each, 0, first, first + directions) for each in states]
            x, *ends = one_layer(kind, x, initial, own)
            for ended, end in zip(last, ends, strict=True):
                ended.append(end)
        y = transpose(x, [1, 0, 2]) if batch_first else x
        return [y, *(_joined(ends) for ends in last)]

    return described(build, f"One `nn.{family}` a layer.")


def one_layer(
    kind: str,
    x: SSAValue,
    initial: Sequence[SSAValue],
    weights: Sequence[Sequence[SSAValue]],
) -> list[SSAValue]:
    """One layer, in one or two directions; its outputs and last states."""
    family = kind.partition("_")[0]
    order, directions = ORDERS[family], len(weights)
    w, r = (stacked([gates(own[i], order) for own in weights]) for i in (0, 1))
    bias = None
    if len(weights[0]) == 4:
        both = [
            value(nn.ConcatOp([gates(own[2], order), gates(own[3], order)], axis=0))
            for own in weights
        ]
        bias = stacked(both)
    op = {"lstm": nn.LstmOp, "gru": nn.GruOp, "rnn": nn.RnnOp}[family]
    parameters: dict[str, Any] = {
        "activations": ACTIVATIONS[kind] * directions,
        "direction": "bidirectional" if directions == 2 else "forward",
    }
    if family == "gru":
        parameters["linear_before_reset"] = True
    y, *ends = op(x, w, r, bias, None, *initial, **parameters).results
    steps, _, batch, hidden = dims_of(y)
    y = transpose(y, [0, 2, 1, 3]) if directions == 2 else y
    return [reshape(y, [steps, batch, directions * hidden]), *ends]


def _joined(ends: Sequence[SSAValue]) -> SSAValue:
    return ends[0] if len(ends) == 1 else value(nn.ConcatOp(ends, axis=0))


RULES: Rules = {
    **{f"aten.{kind}.input": layer(kind) for kind in ACTIVATIONS},
    **{f"stepwell.{kind}.default": layer(kind) for kind in ACTIVATIONS},
}
