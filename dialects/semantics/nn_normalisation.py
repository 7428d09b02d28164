"""Meaning of normalisations, softmax and attention, in f64."""

from __future__ import annotations

import numpy as np

from stepwell.dialects import nn

from .environment import Array, Environment, Table, wide


def _per_channel(values: Array, rank: int, axis: int = 1) -> Array:
    shape = [1] * rank
    shape[min(axis, rank - 1) if axis > 0 else axis] = -1
    return wide(values).reshape(shape)


def _batch_norm(
    environment: Environment,
    op: nn.BatchNormOp,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
) -> Array:
    axis = -1 if op.value("channels_last") else 1
    rank = max(x.ndim, 1)
    a, b, m, v = (_per_channel(p, rank, axis) for p in (scale, bias, mean, variance))
    return (wide(x) - m) / np.sqrt(v + op.value("epsilon")) * a + b


def _standardise(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred * centred).mean(axes, keepdims=True)
    return centred / np.sqrt(variance + epsilon)


def _layer_norm(
    environment: Environment,
    op: nn.LayerNormOp,
    x: Array,
    scale: Array | None,
    bias: Array | None,
) -> Array:
    axes = tuple(range(op.value("axis") % x.ndim, x.ndim))
    y = _standardise(wide(x), axes, op.value("epsilon"))
    y = y if scale is None else y * wide(scale)
    return y if bias is None else y + wide(bias)


def _rms_norm(
    environment: Environment, op: nn.RmsNormOp, x: Array, scale: Array | None
) -> Array:
    axes = tuple(range(op.value("axis") % x.ndim, x.ndim))
    x = wide(x)
    y = x / np.sqrt((x * x).mean(axes, keepdims=True) + op.value("epsilon"))
    return y if scale is None else y * wide(scale)


def _instance_norm(
    environment: Environment, op: nn.InstanceNormOp, x: Array, scale: Array, bias: Array
) -> Array:
    y = _standardise(wide(x), tuple(range(2, x.ndim)), op.value("epsilon"))
    return y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim)


def _group_norm(
    environment: Environment, op: nn.GroupNormOp, x: Array, scale: Array, bias: Array
) -> Array:
    grouped = wide(x).reshape(x.shape[0], op.value("groups"), -1)
    y = _standardise(grouped, (2,), op.value("epsilon")).reshape(x.shape)
    return y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim)


def _lrn(environment: Environment, op: nn.LrnOp, x: Array) -> Array:
    x, size = wide(x), op.value("size")
    low = (size - 1) // 2
    pads = [(0, 0), (low, size - 1 - low)] + [(0, 0)] * (x.ndim - 2)
    squares = np.pad(x * x, pads)
    view = np.lib.stride_tricks.sliding_window_view(squares, size, 1)
    mean = op.value("alpha") / size * view.sum(-1)
    return x / (op.value("bias") + mean) ** op.value("beta")


def softmax(x: Array, axis: int) -> Array:
    """Softmax of a wide array; a slice of only -inf gives zeros."""
    highest = x.max(axis, keepdims=True, initial=-np.inf)
    powers = np.exp(x - np.where(np.isneginf(highest), 0, highest))
    total = powers.sum(axis, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def _softmax(environment: Environment, op: nn.SoftmaxOp, x: Array) -> Array:
    x, axis = wide(x), op.value("axis")
    powers = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return powers / powers.sum(axis, keepdims=True)


def _log_softmax(environment: Environment, op: nn.LogSoftmaxOp, x: Array) -> Array:
    x, axis = wide(x), op.value("axis")
    shifted = x - x.max(axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def _attention(
    environment: Environment,
    op: nn.AttentionOp,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
) -> Array:
    q, k, v = wide(q), wide(k), wide(v)
    groups = q.shape[-3] // k.shape[-3]
    k, v = np.repeat(k, groups, -3), np.repeat(v, groups, -3)
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) * op.value("scale")
    if (cap := op.value("softcap")) is not None:
        scores = cap * np.tanh(scores / cap)
    if mask is not None and mask.dtype == np.bool_:
        scores = np.where(mask, scores, -np.inf)
    elif mask is not None:
        scores = scores + wide(mask)
    if op.value("causal"):
        (offset,) = environment.sizes(op.value("causal_offset"))
        rows, columns = scores.shape[-2:]
        scores = np.where(np.tri(rows, columns, offset, dtype=bool), scores, -np.inf)
    sees_nothing = np.isneginf(scores).all(-1, keepdims=True)
    scores = np.where(sees_nothing, 0.0, scores)
    return np.matmul(np.where(sees_nothing, 0.0, softmax(scores, -1)), v)


def _rotary_embedding(
    environment: Environment,
    op: nn.RotaryEmbeddingOp,
    x: Array,
    cos: Array,
    sin: Array,
) -> Array:
    x, cos, sin = wide(x), wide(cos), wide(sin)
    width = 2 * cos.shape[-1]
    rotated, rest = x[..., :width], x[..., width:]
    if op.value("interleaved"):
        first, second = rotated[..., 0::2], rotated[..., 1::2]
    else:
        first, second = np.split(rotated, 2, -1)
    real, imaginary = first * cos - second * sin, second * cos + first * sin
    if op.value("interleaved"):
        y = np.stack([real, imaginary], -1).reshape(rotated.shape)
    else:
        y = np.concatenate([real, imaginary], -1)
    return np.concatenate([y, rest], -1)


TABLE: Table = {
    nn.BatchNormOp: _batch_norm,
    nn.LayerNormOp: _layer_norm,
    nn.RmsNormOp: _rms_norm,
    nn.InstanceNormOp: _instance_norm,
    nn.GroupNormOp: _group_norm,
    nn.LrnOp: _lrn,
    nn.SoftmaxOp: _softmax,
    nn.LogSoftmaxOp: _log_softmax,
    nn.AttentionOp: _attention,
    nn.RotaryEmbeddingOp: _rotary_embedding,
}
