"""Recurrent layers, one step at a time: ONNX RNN, GRU, LSTM.

x is `[steps, batch, features]`; the results are y `[steps, directions, batch, hidden]`
and the last states `[directions, batch, hidden]`. Computed in x's own precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stepwell.errors import InputError

from .values import Array, HostOp, wide

Activation: TypeAlias = Callable[[Array], Array]
State: TypeAlias = tuple[Array, ...]
Step: TypeAlias = Callable[[Array, State], State]
MakeStep: TypeAlias = Callable[["Layer", list[Activation], int], Step]


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_ACTIVATIONS: Mapping[str, tuple[Callable[[Array, Any, Any], Array], float, float]] = {
    "relu": (lambda x, a, b: np.maximum(x, 0), 0, 0),
    "tanh": (lambda x, a, b: np.tanh(x), 0, 0),
    "sigmoid": (lambda x, a, b: _sigmoid(x), 0, 0),
    "affine": (lambda x, a, b: a * x + b, 1, 0),
    "leakyrelu": (lambda x, a, b: np.where(x >= 0, x, a * x), 0.01, 0),
    "thresholdedrelu": (lambda x, a, b: np.where(x > a, x, 0), 1, 0),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1, 1),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "elu": (lambda x, a, b: np.where(x >= 0, x, a * np.expm1(x)), 1, 0),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), 0, 0),
    "softplus": (lambda x, a, b: _softplus(x), 0, 0),
}
"""ONNX's activations, with the defaults of their alpha and beta."""

_TAKES_BOTH = ("affine", "scaledtanh", "hardsigmoid")
_TAKES_ALPHA = (*_TAKES_BOTH, "leakyrelu", "thresholdedrelu", "elu")


@dataclass(frozen=True)
class Parameters:
    """The properties that all recurrent ops have."""

    direction: str
    activations: Sequence[str]
    activation_alpha: Sequence[float] = ()
    activation_beta: Sequence[float] = ()
    clip: float | None = None

    def functions(self, direction: int, count: int) -> list[Activation]:
        """The activations of one direction, with clipped arguments."""
        alphas, betas = list(self.activation_alpha), list(self.activation_beta)
        chosen: list[Activation] = []
        for index, name in enumerate(self.activations):
            key = name.lower()
            if key not in _ACTIVATIONS:
                raise InputError(f"expected an activation of ONNX, got {name}")
            function, alpha, beta = _ACTIVATIONS[key]
            alpha = alphas.pop(0) if alphas and key in _TAKES_ALPHA else alpha
            beta = betas.pop(0) if betas and key in _TAKES_BOTH else beta
            if index // count == direction:
                chosen.append(_clipped(function, alpha, beta, self.clip))
        return chosen


def _clipped(
    function: Callable[[Array, Any, Any], Array],
    alpha: float,
    beta: float,
    clip: float | None,
) -> Activation:
    if clip is None:
        return lambda x: function(x, alpha, beta)
    return lambda x: function(np.clip(x, -clip, clip), alpha, beta)


@dataclass(frozen=True)
class Layer:
    """The operands of one direction; absent ones are zeros."""

    w: Array
    r: Array
    wb: Array
    rb: Array
    state: State


def _run(
    x: Array, step: Step, state: State, lengths: Array | None, backward: bool
) -> tuple[Array, State]:
    """All hidden states, and the last state of each sequence.

    Beyond its length a sequence yields 0 and keeps its state; backward runs reverse
    each sequence within its length.
    """
    steps, batch = x.shape[:2]
    full = np.full(batch, steps)
    ends = full if lengths is None else wide(lengths).astype(np.int64)
    index = np.arange(steps)[:, None]
    order = np.where(index < ends, ends - 1 - index, index) if backward else None
    if order is not None:
        x = np.take_along_axis(x, order[..., None], 0)
    y = np.zeros((steps, *state[0].shape), x.dtype)
    for now in range(steps):
        fresh = step(x[now], state)
        alive = (now < ends)[:, None]
        state = tuple(np.where(alive, a, b) for a, b in zip(fresh, state, strict=True))
        y[now] = np.where(alive, fresh[0], 0)
    if order is not None:
        y = np.take_along_axis(y, order[..., None], 0)
    return y, state


def _directions(
    parameters: Parameters,
    operands: tuple[Array, Array, Array, Array | None, Array | None],
    states: Sequence[Array | None],
    make_step: MakeStep,
    functions: int,
) -> list[Array]:
    x, w, r, bias, lengths = operands
    outputs: list[Array] = []
    finals: list[State] = []
    x = _widened(x)
    for index in range(w.shape[0]):
        layer = _layer(x, w, r, bias, states, index)
        step = make_step(layer, parameters.functions(index, functions), index)
        backward = parameters.direction == "reverse" or index == 1
        y, state = _run(x, step, layer.state, lengths, backward)
        outputs.append(y)
        finals.append(state)
    lasts = [np.stack(parts) for parts in zip(*finals, strict=True)]
    dtype = operands[0].dtype
    return [part.astype(dtype) for part in (np.stack(outputs, 1), *lasts)]


def _widened(x: Array) -> Array:
    """Floats of 32 or 64 bits as they are, others as f64."""
    return x if x.dtype in (np.float32, np.float64) else wide(x)


def _layer(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    states: Sequence[Array | None],
    direction: int,
) -> Layer:
    shape = (x.shape[1], r.shape[2])
    both = np.zeros(2 * w.shape[1]) if bias is None else bias[direction]
    wb, rb = np.split(both.astype(x.dtype), 2)
    state = tuple(
        np.zeros(shape, x.dtype) if s is None else s[direction].astype(x.dtype)
        for s in states
    )
    return Layer(
        w[direction].astype(x.dtype), r[direction].astype(x.dtype), wb, rb, state
    )


def rnn(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Array | None,
    initial_h: Array | None,
    dtype: str,
    **parameters: Any,
) -> list[Array]:
    """`h[t] = f(x[t] w^T + h[t-1] r^T + bias)`."""

    def make_step(layer: Layer, functions: list[Activation], index: int) -> Step:
        (f,) = functions

        def step(now: Array, state: State) -> State:
            return (f(now @ layer.w.T + state[0] @ layer.r.T + layer.wb + layer.rb),)

        return step

    operands = (x, w, r, bias, lengths)
    return _directions(Parameters(**parameters), operands, (initial_h,), make_step, 1)


def gru(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Array | None,
    initial_h: Array | None,
    dtype: str,
    linear_before_reset: bool = False,
    **parameters: Any,
) -> list[Array]:
    """Gated recurrent unit; gates in the order z, r, h."""

    def make_step(layer: Layer, functions: list[Activation], index: int) -> Step:
        f, g = functions
        wz, wr, wh = np.split(layer.w, 3)
        rz, rr, rh = np.split(layer.r, 3)
        bz, br, bh = np.split(layer.wb, 3)
        cz, cr, ch = np.split(layer.rb, 3)

        def step(now: Array, state: State) -> State:
            (h,) = state
            z = f(now @ wz.T + h @ rz.T + bz + cz)
            reset = f(now @ wr.T + h @ rr.T + br + cr)
            if linear_before_reset:
                new = g(now @ wh.T + reset * (h @ rh.T + ch) + bh)
            else:
                new = g(now @ wh.T + (reset * h) @ rh.T + ch + bh)
            return ((1 - z) * new + z * h,)

        return step

    operands = (x, w, r, bias, lengths)
    return _directions(Parameters(**parameters), operands, (initial_h,), make_step, 2)


def lstm(
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None,
    lengths: Array | None,
    initial_h: Array | None,
    initial_c: Array | None,
    peepholes: Array | None,
    dtype: str,
    input_forget: bool = False,
    quantizes: bool = False,
    **parameters: Any,
) -> list[Array]:
    """Long short-term memory; gates in the order i, o, f, c.

    With `quantizes`, x as a whole and each state go through 8 bits in front of their
    products, as in com.microsoft DynamicQuantizeLSTM.
    """

    def make_step(layer: Layer, functions: list[Activation], index: int) -> Step:
        f, g, h = functions
        peep = np.zeros(3 * r.shape[2], layer.w.dtype)
        peep = peep if peepholes is None else peepholes[index].astype(layer.w.dtype)
        pi, po, pf = np.split(peep, 3)

        def step(now: Array, state: State) -> State:
            last, cell = state
            if quantizes:
                last = _through_eight_bits(last)
            gates = now @ layer.w.T + last @ layer.r.T + layer.wb + layer.rb
            i, o, forget, new = np.split(gates, 4, -1)
            i = f(i + pi * cell)
            forget = 1 - i if input_forget else f(forget + pf * cell)
            fresh = forget * cell + i * g(new)
            return f(o + po * fresh) * h(fresh), fresh

        return step

    if quantizes:
        x = _through_eight_bits(_widened(x)).astype(x.dtype)
    operands, states = (x, w, r, bias, lengths), (initial_h, initial_c)
    return _directions(Parameters(**parameters), operands, states, make_step, 3)


def _through_eight_bits(x: Array) -> Array:
    """What dynamic quantization to unsigned 8 bits leaves of an array."""
    low, high = x.min(initial=0), x.max(initial=0)
    scale = (high - low) / x.dtype.type(255) or x.dtype.type(1)
    point = np.clip(np.rint(-low / scale), 0, 255)
    return (np.clip(np.rint(x / scale) + point, 0, 255) - point) * scale


RECURRENT: Mapping[str, HostOp] = {"gru": gru, "lstm": lstm, "rnn": rnn}
