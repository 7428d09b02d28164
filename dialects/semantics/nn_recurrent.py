"""Meaning of the recurrent layers: one step at a time, in f64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stepwell.dialects import nn
from stepwell.errors import UnsupportedError

from .environment import Array, Environment, Table, wide
from .nn_elementwise import sigmoid, softplus

Activation: TypeAlias = Callable[[Array], Array]
Step: TypeAlias = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]

_ACTIVATIONS: dict[str, tuple[Callable[[Array, float, float], Array], float, float]] = {
    "relu": (lambda x, a, b: np.maximum(x, 0), 0, 0),
    "tanh": (lambda x, a, b: np.tanh(x), 0, 0),
    "sigmoid": (lambda x, a, b: sigmoid(x), 0, 0),
    "affine": (lambda x, a, b: a * x + b, 1, 0),
    "leakyrelu": (lambda x, a, b: np.where(x >= 0, x, a * x), 0.01, 0),
    "thresholdedrelu": (lambda x, a, b: np.where(x > a, x, 0), 1, 0),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1, 1),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "elu": (lambda x, a, b: np.where(x >= 0, x, a * np.expm1(x)), 1, 0),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), 0, 0),
    "softplus": (lambda x, a, b: softplus(x), 0, 0),
}
"""ONNX's activations of recurrent layers, with their default alpha and beta."""


def activations(op: nn.NnOp, direction: int, per_direction: int) -> list[Activation]:
    """The activation functions of one direction, clipped as the op says."""
    names, clip = op.value("activations"), op.value("clip")
    alphas = list(op.value("activation_alpha") or ())
    betas = list(op.value("activation_beta") or ())
    chosen: list[Activation] = []
    for index, name in enumerate(names):
        if (key := name.lower()) not in _ACTIVATIONS:
            raise UnsupportedError(f"expected an activation of ONNX, got {name}")
        function, alpha, beta = _ACTIVATIONS[key]
        takes = _parameters(key)
        alpha = alphas.pop(0) if alphas and "alpha" in takes else alpha
        beta = betas.pop(0) if betas and "beta" in takes else beta
        if index // per_direction == direction:
            chosen.append(_clipped(function, alpha, beta, clip))
    return chosen


def _parameters(name: str) -> tuple[str, ...]:
    if name in ("affine", "scaledtanh", "hardsigmoid"):
        return ("alpha", "beta")
    return ("alpha",) if name in ("leakyrelu", "thresholdedrelu", "elu") else ()


def _clipped(
    function: Callable[[Array, float, float], Array],
    alpha: float,
    beta: float,
    clip: float | None,
) -> Activation:
    if clip is None:
        return lambda x: function(x, alpha, beta)
    return lambda x: function(np.clip(x, -clip, clip), alpha, beta)


@dataclass
class Layer:
    """The operands of one direction, wide; absent ones filled in with zeros."""

    w: Array
    r: Array
    wb: Array
    rb: Array
    state: tuple[Array, ...]


def _layer(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    states: Sequence[Array | None],
    direction: int,
) -> Layer:
    hidden, batch = r.shape[2], x.shape[1]
    both = np.zeros(2 * w.shape[1]) if bias is None else wide(bias)[direction]
    wb, rb = np.split(both, 2)
    state = tuple(
        np.zeros((batch, hidden)) if value is None else wide(value)[direction]
        for value in states
    )
    return Layer(wide(w)[direction], wide(r)[direction], wb, rb, state)


def _run(
    x: Array,
    step: Step,
    state: tuple[Array, ...],
    lengths: Array | None,
    backward: bool,
) -> tuple[Array, tuple[Array, ...]]:
    """All hidden states `[steps, batch, hidden]` and the last state of each sequence.

    Beyond its length a sequence yields 0 and keeps its state; backward runs reverse
    each sequence within its length.
    """
    steps, batch = x.shape[:2]
    ends = np.full(batch, steps) if lengths is None else wide(lengths).astype(np.int64)
    index = np.arange(steps)[:, None]
    order = np.where(index < ends, ends - 1 - index, index) if backward else None
    if order is not None:
        x = np.take_along_axis(x, order[..., None], 0)
    outputs: list[Array] = []
    for now in range(steps):
        fresh = step(x[now], state)
        alive = (now < ends)[:, None]
        state = tuple(np.where(alive, a, b) for a, b in zip(fresh, state, strict=True))
        outputs.append(np.where(alive, fresh[0], 0))
    y = np.stack(outputs) if outputs else np.zeros((0, *state[0].shape))
    if order is not None:
        y = np.take_along_axis(y, order[..., None], 0)
    return y, state


def _directions(
    op: nn.NnOp,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Array | None,
    states: Sequence[Array | None],
    make_step: Callable[[Layer, list[Activation], int], Step],
    per_direction: int,
) -> tuple[Array, ...]:
    direction = op.value("direction")
    outputs: list[Array] = []
    finals: list[tuple[Array, ...]] = []
    for index in range(w.shape[0]):
        layer = _layer(x, w, r, bias, states, index)
        step = make_step(layer, activations(op, index, per_direction), index)
        backward = direction == "reverse" or index == 1
        y, state = _run(wide(x), step, layer.state, lengths, backward)
        outputs.append(y)
        finals.append(state)
    return np.stack(outputs, 1), *(
        np.stack(parts) for parts in zip(*finals, strict=True)
    )


def _rnn(
    environment: Environment,
    op: nn.RnnOp,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Array | None,
    initial_h: Array | None,
) -> tuple[Array, ...]:
    def make_step(layer: Layer, functions: list[Activation], index: int) -> Step:
        (f,) = functions

        def step(now: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            gates = now @ layer.w.T + state[0] @ layer.r.T + layer.wb + layer.rb
            return (f(gates),)

        return step

    return _directions(op, x, w, r, bias, lengths, (initial_h,), make_step, 1)


def _gru(
    environment: Environment,
    op: nn.GruOp,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Array | None,
    initial_h: Array | None,
) -> tuple[Array, ...]:
    def make_step(layer: Layer, functions: list[Activation], index: int) -> Step:
        f, g = functions
        wz, wr, wh = np.split(layer.w, 3)
        rz, rr, rh = np.split(layer.r, 3)
        bz, br, bh = np.split(layer.wb, 3)
        cz, cr, ch = np.split(layer.rb, 3)

        def step(now: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            (h,) = state
            z = f(now @ wz.T + h @ rz.T + bz + cz)
            reset = f(now @ wr.T + h @ rr.T + br + cr)
            if op.value("linear_before_reset"):
                new = g(now @ wh.T + reset * (h @ rh.T + ch) + bh)
            else:
                new = g(now @ wh.T + (reset * h) @ rh.T + ch + bh)
            return ((1 - z) * new + z * h,)

        return step

    return _directions(op, x, w, r, bias, lengths, (initial_h,), make_step, 2)


def _lstm(
    environment: Environment,
    op: nn.LstmOp,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Array | None,
    initial_h: Array | None,
    initial_c: Array | None,
    peepholes: Array | None,
) -> tuple[Array, ...]:
    def make_step(layer: Layer, functions: list[Activation], index: int) -> Step:
        f, g, h = functions
        peep: Any = np.zeros(3 * r.shape[2])
        peep = peep if peepholes is None else wide(peepholes)[index]
        pi, po, pf = np.split(peep, 3)

        def step(now: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            last, cell = state
            if op.value("quantizes"):
                last = through_eight_bits(last)
            gates = now @ layer.w.T + last @ layer.r.T + layer.wb + layer.rb
            i, o, forget, new = np.split(gates, 4, -1)
            i = f(i + pi * cell)
            forget = 1 - i if op.value("input_forget") else f(forget + pf * cell)
            fresh = forget * cell + i * g(new)
            return f(o + po * fresh) * h(fresh), fresh

        return step

    states = (initial_h, initial_c)
    if op.value("quantizes"):
        x = through_eight_bits(wide(x))
    return _directions(op, x, w, r, bias, lengths, states, make_step, 3)


def through_eight_bits(x: Array) -> Array:
    """What dynamic quantization to unsigned 8 bits leaves of an array."""
    low, high = min(float(x.min(initial=0)), 0.0), max(float(x.max(initial=0)), 0.0)
    scale = (high - low) / 255 or 1.0
    point = np.clip(np.rint(-low / scale), 0, 255)
    return (np.clip(np.rint(x / scale) + point, 0, 255) - point) * scale


TABLE: Table = {nn.RnnOp: _rnn, nn.GruOp: _gru, nn.LstmOp: _lstm}
