"""What the ops compute, against loops, adjoints and NumPy's own functions.

ONNX's test suite judges the rest (test/conformance).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.ir import Block

from stepwell.dialects import nn, quant
from stepwell.dialects.dtypes import element_type, i8, i32, ui8
from stepwell.dialects.semantics import fold_op
from stepwell.dialects.shapes import tensor_type
from stepwell.dialects.weights import WeightStore
from stepwell.errors import ShapeError

RNG = np.random.default_rng(7)


def run(build: Any, *arrays: Any, **parameters: Any) -> Any:
    """Build one op on the arrays and evaluate it."""
    given = [None if array is None else np.asarray(array) for array in arrays]
    types = [
        tensor_type(array.shape, element_type(array.dtype))
        for array in given
        if array is not None
    ]
    values = iter(Block(arg_types=types).args)
    operands = [None if array is None else next(values) for array in given]
    op = build(*operands, **parameters)
    op.verify()
    present = [array for array in given if array is not None]
    results = fold_op(op, present, WeightStore())
    return results[0] if len(results) == 1 else results


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


GEOMETRY = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "dilations": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "pads": st.tuples(*[st.integers(0, 2)] * 4),
    }
)


def naive_conv(x: np.ndarray, w: np.ndarray, g: dict, groups: int) -> np.ndarray:
    """Convolution as nested sums over an explicitly padded image."""
    low, high = g["pads"][:2], g["pads"][2:]
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *zip(low, high, strict=True)])
    spans = [d * (k - 1) + 1 for d, k in zip(g["dilations"], w.shape[2:], strict=True)]
    counts = [
        (size - span) // stride + 1
        for size, span, stride in zip(x.shape[2:], spans, g["strides"], strict=True)
    ]
    per_group = w.shape[0] // groups
    y = np.zeros((x.shape[0], w.shape[0], *counts))
    for n, o, p, q in np.ndindex(*y.shape):
        group = o // per_group
        for c, r, s in np.ndindex(*w.shape[1:]):
            row = p * g["strides"][0] + r * g["dilations"][0]
            column = q * g["strides"][1] + s * g["dilations"][1]
            y[n, o, p, q] += x[n, group * w.shape[1] + c, row, column] * w[o, c, r, s]
    return y


@settings(max_examples=40, deadline=None)
@given(GEOMETRY, st.sampled_from([1, 2, 4]), st.booleans())
def test_convolution(g: dict, groups: int, last: bool) -> None:
    x, w, bias = normal(2, 4, 7, 6), normal(4, 4 // groups, *g["kernel"]), normal(4)
    expected = naive_conv(x, w, g, groups) + bias[:, None, None]
    parameters = {key: g[key] for key in ("strides", "dilations", "pads")}
    if last:
        x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
        expected = expected.transpose(0, 2, 3, 1)
    y = run(nn.ConvOp, x, w, bias, groups=groups, channels_last=last, **parameters)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(GEOMETRY, st.sampled_from([1, 2]), st.booleans())
def test_transposed_convolution_is_the_adjoint(g: dict, groups: int, last: bool):
    """`<conv(x), y> == <x, conv_transpose(y)>` for all x, y."""
    x, w = normal(1, 4, 9, 8), normal(6, 4 // groups, *g["kernel"])
    parameters = {key: g[key] for key in ("strides", "dilations", "pads")}
    forward = run(nn.ConvOp, x, w, groups=groups, **parameters)
    y = normal(*forward.shape)
    sizes = [
        (n - 1) * s + d * (k - 1) + 1 - low - high
        for n, s, d, k, low, high in zip(
            y.shape[2:],
            g["strides"],
            g["dilations"],
            g["kernel"],
            g["pads"][:2],
            g["pads"][2:],
            strict=True,
        )
    ]
    extra = [size - have for size, have in zip(x.shape[2:], sizes, strict=True)]
    source, filters = y, w
    if last:
        source, filters = y.transpose(0, 2, 3, 1), w.transpose(2, 3, 0, 1)
    back = run(
        nn.ConvTransposeOp,
        source,
        filters,
        groups=groups,
        output_padding=extra,
        channels_last=last,
        **parameters,
    )
    back = back.transpose(0, 3, 1, 2) if last else back
    left, right = np.vdot(forward, y), np.vdot(x, back)
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(GEOMETRY, st.booleans(), st.booleans(), st.booleans())
def test_pooling(g: dict, ceil_mode: bool, include: bool, last: bool) -> None:
    low, high = g["pads"][:2], g["pads"][2:]
    x = normal(1, 2, 8, 7)
    image = x.transpose(0, 2, 3, 1) if last else x
    parameters = {**g, "ceil_mode": ceil_mode, "channels_last": last}
    largest = run(nn.MaxPoolOp, image, **parameters)
    mean = run(nn.AvgPoolOp, image, count_include_pad=include, **parameters)
    if last:
        largest, mean = largest.transpose(0, 3, 1, 2), mean.transpose(0, 3, 1, 2)
    for n, c, p, q in np.ndindex(*largest.shape):
        inside: list[float] = []
        padded = 0
        for r, s in itertools.product(*map(range, g["kernel"])):
            row = p * g["strides"][0] + r * g["dilations"][0] - low[0]
            column = q * g["strides"][1] + s * g["dilations"][1] - low[1]
            if 0 <= row < 8 and 0 <= column < 7:
                inside.append(float(x[n, c, row, column]))
            elif row < 8 + high[0] and column < 7 + high[1]:
                padded += 1
        count = len(inside) + padded if include else len(inside)
        assert largest[n, c, p, q] == max(inside, default=-math.inf)
        expected = sum(inside) / max(count, 1)
        np.testing.assert_allclose(mean[n, c, p, q], expected, rtol=1e-5, atol=1e-6)


def test_positions_of_maxima() -> None:
    x = normal(2, 3, 6, 6)
    parameters = {"kernel": (2, 2), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    y = run(nn.MaxPoolOp, x, **parameters)
    index = run(nn.MaxPoolIndicesOp, x, **parameters)
    np.testing.assert_array_equal(x.reshape(-1)[index], y)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_integer_division_truncates(dtype: type) -> None:
    a = np.array([7, -7, 7, -7, 0, 5], np.int64).astype(dtype)
    b = np.array([2, 2, -2, -2, 3, 0], np.int64).astype(dtype)
    expected = [int(int(p) / int(q)) if q else 0 for p, q in zip(a, b, strict=True)]
    np.testing.assert_array_equal(run(nn.DivOp, a, b), expected)


@pytest.mark.parametrize("fmod", [False, True])
def test_remainders(fmod: bool) -> None:
    a, b = np.meshgrid(np.arange(-5, 6), [-3, -2, 2, 3])
    judge = math.fmod if fmod else lambda p, q: p % q
    expected = [judge(int(p), int(q)) for p, q in zip(a.flat, b.flat, strict=True)]
    for dtype in (np.int32, np.float32):
        got = run(nn.ModOp, a.astype(dtype), b.astype(dtype), fmod=fmod)
        np.testing.assert_array_equal(got.reshape(-1), expected)


def test_nan_wins_minima_and_maxima() -> None:
    x, y = np.array([np.nan, 1, 2], "f"), np.array([0, np.nan, 1], "f")
    np.testing.assert_array_equal(run(nn.MaximumOp, x, y), [np.nan, np.nan, 2])
    np.testing.assert_array_equal(run(nn.MinimumOp, x, y), [np.nan, np.nan, 1])
    assert np.isnan(run(nn.ReduceOp, x, kind="max", axes=(0,)))


FLOAT8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


@pytest.mark.parametrize("dtype", FLOAT8)
@pytest.mark.parametrize("saturate", [False, True])
def test_cast_to_float8(dtype: type, saturate: bool) -> None:
    x = np.array([0.3, -1e9, np.inf, np.nan, 448, 449], np.float32)
    y = run(nn.CastOp, x, to=element_type(dtype), saturate=saturate)
    assert y.dtype == dtype
    expected = x.astype(dtype).astype(np.float32)
    if saturate:
        limit = float(ml_dtypes.finfo(dtype).max)
        expected = np.clip(x, -limit, limit).astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(y.astype(np.float32), expected)


def test_cast_to_integers() -> None:
    x = np.array([1.9, -1.9, 300, -300, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(run(nn.CastOp, x, to=i8), [1, -1, 127, -128, 0, 127])
    np.testing.assert_array_equal(run(nn.CastOp, x, to=ui8), [1, 0, 255, 0, 0, 255])
    top = np.array([2.0**63, -(2.0**70)], np.float64)
    info = np.iinfo(np.int64)
    wide = run(nn.CastOp, top, to=element_type(np.int64))
    np.testing.assert_array_equal(wide, [info.max, info.min])


def test_bits_stay_the_same() -> None:
    x = np.array([[1.0, -0.0, np.nan]], np.float32)
    bits = run(nn.BitcastOp, x, to=i32)
    np.testing.assert_array_equal(bits, x.view(np.int32))
    back = run(nn.BitcastOp, bits, to=element_type(np.float32))
    assert back.tobytes() == x.tobytes()
    with pytest.raises(ShapeError, match="expected a type as wide as f32, got i8"):
        run(nn.BitcastOp, x, to=i8)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_sums_to_one_and_log_softmax_is_its_logarithm(axis: int) -> None:
    x = 100 * normal(3, 4, 5)
    y = run(nn.SoftmaxOp, x, axis=axis)
    np.testing.assert_allclose(y.sum(axis), 1, rtol=1e-6)
    log = run(nn.LogSoftmaxOp, x, axis=axis)
    np.testing.assert_allclose(np.exp(log), y, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, "keep", "bias"])
def test_attention(causal: bool, mask: str | None) -> None:
    q, k, v = normal(2, 4, 5, 8), normal(2, 2, 7, 8), normal(2, 2, 7, 6)
    keep = RNG.random((2, 1, 5, 7)) < 0.7
    keep[..., 0] = True
    given = {None: None, "keep": keep, "bias": np.where(keep, 0, -1e4).astype("f")}
    y = run(
        nn.AttentionOp,
        q,
        k,
        v,
        given[mask],
        scale=0.3,
        causal=causal,
        causal_offset=(2,),
        softcap=5.0,
    )
    for n, head, row in np.ndindex(2, 4, 5):
        scores = k[n, head // 2].astype(np.float64) @ q[n, head, row] * 0.3
        scores = 5 * np.tanh(scores / 5)
        seen = keep[n, 0, row] if mask else np.ones(7, bool)
        seen = seen & (np.arange(7) <= row + 2) if causal else seen
        powers = np.where(seen, np.exp(scores), 0)
        expected = powers / powers.sum() @ v[n, head // 2]
        np.testing.assert_allclose(y[n, head, row], expected, rtol=1e-4, atol=1e-6)


def test_a_row_that_sees_nothing_is_zero() -> None:
    q, hidden = normal(1, 1, 2, 4), np.array([[False, False], [True, False]])
    y = run(nn.AttentionOp, q, q, q, hidden, scale=1.0)
    np.testing.assert_array_equal(y[0, 0, 0], 0)
    np.testing.assert_allclose(y[0, 0, 1], q[0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("kind", [nn.RnnOp, nn.GruOp, nn.LstmOp])
def test_a_sequence_ends_at_its_length(kind: Any) -> None:
    """Each sequence of a batch comes out as if it ran alone, cut to its length."""
    gates = kind.GATES
    names = {1: ["Tanh"], 3: ["Sigmoid", "Tanh"], 4: ["Sigmoid", "Tanh", "Tanh"]}
    w, r = normal(2, gates * 3, 4), normal(2, gates * 3, 3)
    bias, x = normal(2, 2 * gates * 3), normal(6, 3, 4)
    lengths = np.array([6, 2, 4], np.int32)
    parameters = {"direction": "bidirectional", "activations": 2 * names[gates]}
    y, *states = run(kind, x, w, r, bias, lengths, **parameters)
    for index, length in enumerate(lengths):
        alone = x[:length, index : index + 1]
        z, *finals = run(kind, alone, w, r, bias, None, **parameters)
        np.testing.assert_allclose(y[:length, :, index], z[:, :, 0], rtol=1e-5)
        assert not y[length:, :, index].any()
        for state, final in zip(states, finals, strict=True):
            np.testing.assert_allclose(state[:, index], final[:, 0], rtol=1e-5)


def test_order() -> None:
    x = np.array([[2, np.nan, 1, 2, -1]], np.float32)
    values, indices = run(nn.SortOp, x, axis=1)
    np.testing.assert_array_equal(values, [[-1, 1, 2, 2, np.nan]])
    np.testing.assert_array_equal(indices, [[4, 2, 0, 3, 1]])
    values, indices = run(nn.TopkOp, x, k=3)
    np.testing.assert_array_equal(values, [[np.nan, 2, 2]])
    np.testing.assert_array_equal(indices, [[1, 0, 3]])
    with pytest.raises(ShapeError, match=r"expected k of nn.topk at most 5, got 6"):
        run(nn.TopkOp, x, k=6)


@settings(deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=30), st.booleans())
def test_unique(numbers: list[int], is_sorted: bool) -> None:
    x = np.array(numbers, np.int32)
    op = {"count": len(set(numbers)), "sorted": is_sorted}
    values, first, inverse, counts = run(nn.UniqueOp, x, **op)
    np.testing.assert_array_equal(values[inverse], x)
    np.testing.assert_array_equal(x[first], values)
    expected = sorted(set(numbers)) if is_sorted else list(dict.fromkeys(numbers))
    assert values.tolist() == expected
    assert counts.tolist() == [numbers.count(number) for number in expected]


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding(mode: str) -> None:
    x = normal(4, 5)
    y = run(nn.PadOp, x, low=(2, -1), high=(3, 2), mode=mode)
    expected = np.pad(x, [(2, 3), (0, 2)], mode=mode)[:, 1:]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_sums(exclusive: bool, reverse: bool) -> None:
    x = np.arange(1, 7, dtype=np.int8).reshape(2, 3) * 30
    y = run(nn.CumulativeOp, x, axis=1, exclusive=exclusive, reverse=reverse)
    z = x[:, ::-1] if reverse else x
    total = np.cumsum(z, 1, dtype=np.int8) - (z if exclusive else 0)
    np.testing.assert_array_equal(y, total[:, ::-1] if reverse else total)


def test_scatter_inverts_gather() -> None:
    x = normal(5, 4)
    order = np.argsort(normal(5, 4), 0)
    picked = run(nn.GatherElementsOp, x, order, axis=0)
    back = run(nn.ScatterElementsOp, np.zeros_like(x), order, picked, axis=0)
    np.testing.assert_array_equal(back, x)
    index = np.array([[0, 1], [0, 1], [4, 3]])
    y = run(nn.ScatterNdOp, x, index, np.ones(3, "f"), reduction="add")
    expected = x.copy()
    np.add.at(expected, ([0, 0, 4], [1, 1, 3]), 1)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_transform(axis: int) -> None:
    x = normal(6, 5, 2)
    signal = x[..., 0] + 1j * x[..., 1]
    y = run(nn.DftOp, x, axis=axis)
    expected = np.fft.fft(signal.astype(np.complex128), axis=axis)
    np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], expected, atol=1e-5)
    back = run(nn.DftOp, y, axis=axis, inverse=True)
    np.testing.assert_allclose(back, x, atol=1e-6)


def test_quantized_numbers_lie_within_half_a_step() -> None:
    x = np.clip(normal(4, 6), -2, 2)
    scale = np.array([0.02, 0.03, 0.02, 0.05, 0.02, 0.04], np.float32)
    zero = np.array([0, 3, -2, 1, 0, 5], np.int8)
    q = run(quant.QuantizeOp, x, scale, zero, to=i8, axis=1)
    y = run(quant.DequantizeOp, q, scale, zero, axis=1)
    assert (np.abs(y - x) <= scale / 2 + 1e-6).all()


def test_blocks_have_scales_of_their_own() -> None:
    x, scale = normal(2, 5), np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    whole = np.repeat(scale, 3, 1)[:, :5]
    q = run(quant.QuantizeOp, x, scale, to=i8, axis=1, block_size=3)
    np.testing.assert_array_equal(q, np.clip(np.rint(x / whole), -128, 127))


def test_integer_products_subtract_the_zero_points() -> None:
    a, b = (
        RNG.integers(0, 256, (3, 8), np.uint8),
        RNG.integers(-128, 128, (8, 4), np.int8),
    )
    zero, points = np.array(100, np.uint8), np.array([1, -2, 3, 4], np.int8)
    y = run(quant.MatmulIntegerOp, a, b, zero, points)
    expected = (a.astype(int) - 100) @ (b.astype(int) - points)
    assert y.dtype == np.int32 and element_type(y.dtype) == i32
    np.testing.assert_array_equal(y, expected)
    x, w = (
        RNG.integers(0, 256, (1, 2, 5, 5), np.uint8),
        RNG.integers(0, 9, (3, 2, 3, 3)),
    )
    geometry = {"pads": (1, 0, 1, 0), "strides": (1, 2), "dilations": (1, 1)}
    y = run(quant.ConvIntegerOp, x, w.astype(np.uint8), zero, None, **geometry)
    expected = naive_conv(x - 100.0, w, {**geometry, "kernel": (3, 3)}, 1)
    np.testing.assert_array_equal(y, expected)


def test_seeds_repeat_random_numbers() -> None:
    one = run(nn.RandomNormalOp, dims=(50,), element=element_type(np.float32), seed=3.0)
    two = run(nn.RandomNormalOp, dims=(50,), element=element_type(np.float32), seed=3.0)
    other = run(nn.RandomNormalOp, dims=(50,), element=element_type(np.float32), seed=4)
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
