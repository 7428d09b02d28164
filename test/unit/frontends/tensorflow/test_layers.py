"""Keras models whose graphs are more than their ops, against Keras itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from stepwell.dialects import nn
from stepwell.errors import UnsupportedError

from .cases import Array
from .test_import import imported, run

pytestmark = pytest.mark.filterwarnings("ignore")

RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def padded(steps: Array, *lengths: int) -> Array:
    """Sequences that are 0 behind their lengths."""
    for row, length in zip(steps, lengths, strict=True):
        row[length:] = 0
    return steps


def masked(layers: Any, keras: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Masking(0.0),
            layers.LSTM(4, return_sequences=True),
            layers.Bidirectional(layers.GRU(3, reset_after=False)),
        ]
    )


def embedded(layers: Any, keras: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(12, 4, mask_zero=True),
            layers.LSTM(3),
        ]
    )


def stacked_cells(layers: Any, keras: Any) -> Any:
    cells = [layers.LSTMCell(3), layers.GRUCell(2)]
    rnn = layers.RNN(cells, return_sequences=True)
    return keras.Sequential(
        [keras.Input((5, 4)), rnn, layers.SimpleRNN(3, unroll=True)]
    )


def convolutional_lstm(layers: Any, keras: Any) -> Any:
    return keras.Sequential(
        [keras.Input((3, 5, 5, 2)), layers.ConvLSTM2D(2, 3, padding="same")]
    )


def distributed(layers: Any, keras: Any) -> Any:
    dense = layers.Dense(3, activation="gelu")
    return keras.Sequential(
        [
            keras.Input((4, 6, 2)),
            layers.TimeDistributed(layers.Conv1D(3, 3)),
            layers.TimeDistributed(layers.Flatten()),
            layers.TimeDistributed(dense),
        ]
    )


def decoder(layers: Any, keras: Any) -> Any:
    """A writer that starts from the state of a reader, and looks back at it."""
    source, target = keras.Input((None, 3)), keras.Input((None, 3))
    read, *state = layers.LSTM(4, return_sequences=True, return_state=True)(source)
    written = layers.LSTM(4, return_sequences=True)(target, initial_state=state)
    found = layers.Attention()([written, read])
    return keras.Model([source, target], layers.Concatenate()([written, found]))


def attention(layers: Any, keras: Any) -> Any:
    """Across sequences, causal under a mask, and grouped."""
    x, mask = keras.Input((None, 8)), keras.Input((None,), dtype="bool")
    wide = layers.Lambda(lambda m: m[:, None, :])(mask)
    heads = layers.MultiHeadAttention(2, 4)
    y = heads(x, x, attention_mask=wide, use_causal_mask=True)
    y = layers.GroupQueryAttention(4, 4, 2)(y, x)
    return keras.Model([x, mask], layers.LayerNormalization()(y))


def pyramid(layers: Any, keras: Any) -> Any:
    """Dilated depthwise convolutions beside a resized mean, as DeepLab has them."""
    x = inputs = keras.Input((9, 9, 2))
    branches = [
        layers.DepthwiseConv2D(3, dilation_rate=rate, padding="same")(x)
        for rate in (2, 3)
    ]
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    branches.append(layers.Resizing(9, 9)(mean))
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Add()(branches))
    return keras.Model(inputs, layers.Conv2DTranspose(3, 3, strides=2)(x))


def norms(layers: Any, keras: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((3, 4, 6)),
            layers.LayerNormalization(axis=[1, 2, 3]),
            layers.GroupNormalization(3),
            layers.UnitNormalization(),
            layers.RMSNormalization(),
            layers.BatchNormalization(axis=1),
            layers.SpectralNormalization(layers.Dense(4)),
        ]
    )


Make = Callable[[Any, Any], Any]
MASK = np.array([[True] * 5, [True] * 3 + [False] * 2])
TOKENS = np.array([[3, 1, 4, 1, 5, 0, 0], [2, 7, 0, 0, 0, 0, 0]], np.int32)

MODELS: dict[str, tuple[Make, Sequence[Array]]] = {
    "masked": (masked, [padded(floats(2, 6, 3), 4, 2)]),
    "embedded": (embedded, [TOKENS]),
    "stacked cells": (stacked_cells, [floats(2, 5, 4)]),
    "convolutional LSTM": (convolutional_lstm, [floats(2, 3, 5, 5, 2)]),
    "distributed": (distributed, [floats(2, 4, 6, 2)]),
    "decoder": (decoder, [floats(2, 5, 3), floats(2, 4, 3)]),
    "attention": (attention, [floats(2, 5, 8), MASK]),
    "pyramid": (pyramid, [floats(2, 9, 9, 2)]),
    "norms": (norms, [floats(2, 3, 4, 6)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_model_agrees_with_keras(name: str) -> None:
    import keras

    keras.utils.set_random_seed(0)
    make, arrays = MODELS[name]
    model = make(keras.layers, keras)
    (found,) = run(model, *arrays)
    expected = np.asarray(model(arrays[0] if len(arrays) == 1 else list(arrays)))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * scale)


@pytest.mark.parametrize("padding", ["causal", "same", "valid"])
@pytest.mark.parametrize("length", [17, None])
def test_dilated_convolutions_are_whole_again(padding: str, length: int | None) -> None:
    import keras

    keras.utils.set_random_seed(0)
    layer = keras.layers.Conv1D(3, 3, dilation_rate=4, padding=padding)
    model = keras.Sequential([keras.Input((length, 2)), layer])
    module, _ = imported(model)
    (main,) = [op for op in module.ops if op.name == "func.func"]
    needed = set[Any]()
    pending = list(main.body.block.last_op.operands)
    while pending:
        op = pending.pop().owner
        if op in needed or not hasattr(op, "operands"):
            continue
        needed.add(op)
        pending += op.operands
    (conv,) = [op for op in needed if isinstance(op, nn.ConvOp)]
    assert 4 in conv.value("dilations")
    assert not any(isinstance(op, nn.TransposeOp | nn.SliceOp) for op in needed)
    x = floats(2, 17, 2)
    (found,) = run(model, x)
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-5)


def test_blocks_that_are_no_dilated_convolution_stay(check: Any) -> None:
    import tensorflow as tf

    w = floats(2, 2, 3, 4)

    def strided(x: Any) -> Any:
        y = tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])
        y = tf.nn.conv2d(y, w, 2, "VALID")
        return tf.batch_to_space(y, [2, 2], [[0, 0], [0, 0]])

    def other_block(x: Any) -> Any:
        y = tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])
        y = tf.nn.conv2d(y, w, 1, "VALID")
        return tf.batch_to_space(y, [4, 1], [[1, 0], [0, 0]])

    def padded_inside(x: Any) -> Any:
        y = tf.space_to_batch(x, [2, 2], [[2, 2], [0, 0]])
        y = tf.nn.conv2d(y, w, 1, "SAME")
        return tf.batch_to_space(y, [2, 2], [[3, 0], [0, 1]])

    for function in (strided, other_block, padded_inside):
        check(function, floats(1, 12, 8, 3))


def test_crops_beyond_the_pads_are_cut(check: Any) -> None:
    import tensorflow as tf

    w = floats(2, 2, 3, 4)

    def cropped(x: Any) -> Any:
        y = tf.space_to_batch(x, [2, 2], [[1, 1], [0, 2]])
        y = tf.nn.conv2d(y, w, 1, "VALID")
        return tf.batch_to_space(y, [2, 2], [[0, 3], [1, 1]])

    check(cropped, floats(2, 12, 8, 3), is_open=True)


def test_arrays_that_grow(check: Any) -> None:
    import tensorflow as tf

    def in_order(x: Any) -> Any:
        rows = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
        for i in range(3):
            rows = rows.write(i, x[i] * float(i))
        index, count = tf.constant(0), tf.shape(x)[0]
        more = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
        _, more = tf.while_loop(
            lambda i, _: i < count,
            lambda i, a: (i + 1, a.write(i, x[i] * 2.0)),
            [index, more],
        )
        return rows.stack(), more.stack()

    def out_of_order(x: Any) -> Any:
        rows = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
        last = tf.shape(x)[0] - 1
        _, rows = tf.while_loop(
            lambda i, _: i <= last,
            lambda i, a: (i + 1, a.write(last - i, x[i])),
            [tf.constant(0), rows],
        )
        return rows.stack()

    x = floats(4, 2)
    check(in_order, x, is_open=False)
    check(in_order, x, is_open=True)
    with pytest.raises(UnsupportedError, match="a list that grows") as caught:
        spec = tf.TensorSpec([None, 2], tf.float32)
        imported(tf.function(out_of_order), args=[spec])
    assert "give the TensorArray its size" in str(caught.value)


def test_trees_of_inputs_and_outputs() -> None:
    import tensorflow as tf

    @tf.function
    def tree(x: Any, *, scale: Any, more: Any) -> Any:
        both = (x, {"z": more["k"] * 2.0})
        return {"b": [x * scale, x + more["k"]], "a": both}

    names = {"x": [None, 3], "scale": [], "k": [3]}
    spec = {k: tf.TensorSpec(dims, tf.float32, name=k) for k, dims in names.items()}
    function = tree.get_concrete_function(
        spec["x"], scale=spec["scale"], more={"k": spec["k"]}
    )
    x, scale, k = floats(2, 3), np.float32(2), floats(3)
    expected = tf.nest.flatten(tree(x, scale=scale, more={"k": k}))
    from stepwell.frontends.tensorflow import load

    given = {"x": x, "scale": scale, "k": k}
    arrays = [np.asarray(given[each.name]) for each in load(function).inputs]
    for ours, theirs in zip(run(function, *arrays), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
