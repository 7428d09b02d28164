"""The TensorFlow models of the benchmark: how each is made, and what it is run on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from stepwell.tools.models import model_path

layers = keras.layers
function = cast("Any", tf.function)


@dataclass(frozen=True)
class Case:
    """One model.

    Args:
        name: as the table writes it.
        make: builds the source that is compiled.
        inputs: the shapes of the inputs.
        exported: whether the model is saved first, and the SavedModel compiled.
        tolerance: the relative error allowed.
        twin: an ONNX model that is the same one, and judges it; else TensorFlow does.
    """

    name: str
    make: Callable[[], Any]
    inputs: Sequence[tuple[int, ...]]
    exported: bool = False
    tolerance: float = 1e-4
    twin: str = ""

    def arrays(self) -> list[NDArray]:
        """Random inputs, the same on each call."""
        random = np.random.default_rng(1)
        return [random.normal(size=shape).astype(np.float32) for shape in self.inputs]


def application(name: str, size: int = 96, **options: Any) -> Callable[[], Any]:
    """A Keras application with random weights and statistics."""

    def make() -> Any:
        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(
            weights=None, input_shape=(size, size, 3), classes=100, **options
        )
        return randomised(model)

    return make


def randomised(model: Any) -> Any:
    """The model with batch norms that do something: no weight is 0 or 1."""
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if not isinstance(layer, layers.BatchNormalization):
            continue
        for weight in layer.weights:
            is_scale = "variance" in weight.path or "gamma" in weight.path
            low, high = (0.5, 1.5) if is_scale else (-0.3, 0.3)
            weight.assign(random.uniform(low, high, weight.shape))
    return model


def recurrent() -> Any:
    """A bidirectional LSTM and a GRU over sequences of any length."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((None, 16)),
            layers.Bidirectional(layers.LSTM(24, return_sequences=True)),
            layers.GRU(32),
            layers.Dense(5, activation="softmax"),
        ]
    )


def transformer() -> Any:
    """Two encoder blocks on token embeddings."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((32,), dtype="float32", name="tokens")
    positions = layers.Embedding(32, 48)(np.arange(32)[None])
    x = layers.Embedding(64, 48)(layers.Lambda(lambda t: tf.abs(t) * 16.0)(tokens))
    x = layers.Add()([x, positions])
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 12)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(48)(layers.Dense(96, activation="gelu")(y))
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(5, activation="softmax")(x))


def dilated() -> Any:
    """Dilated, separable and transposed convolutions in one dim."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((64, 4))
    for rate in (1, 2, 4, 8):
        y = layers.Conv1D(16, 3, padding="causal", dilation_rate=rate)(x)
        x = layers.Activation("swish")(layers.BatchNormalization()(y))
    x = layers.SeparableConv1D(16, 5, padding="same")(x)
    x = layers.Conv1DTranspose(8, 4, strides=2, padding="same")(x)
    x = layers.MaxPooling1D(2)(x)
    x = layers.UpSampling1D(2)(x)
    x = layers.GlobalMaxPooling1D()(x)
    return randomised(keras.Model(inputs, layers.Dense(5)(x)))


def segmentation() -> Any:
    """Atrous pyramid pooling on a small image, resized back, as DeepLab has it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((65, 65, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(inputs)
    branches = [layers.Conv2D(8, 1)(x)]
    for rate in (2, 4, 6):
        y = layers.DepthwiseConv2D(3, dilation_rate=rate, padding="same")(x)
        y = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
        branches.append(layers.ReLU()(y))
    pooled = layers.Conv2D(8, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    branches.append(layers.Resizing(33, 33)(pooled))
    x = layers.Conv2D(5, 1)(layers.Concatenate()(branches))
    return randomised(keras.Model(inputs, layers.Resizing(65, 65)(x)))


def translation() -> Any:
    """An LSTM that reads, one that writes, and attention between them."""
    keras.utils.set_random_seed(0)
    source, target = keras.Input((None, 12)), keras.Input((None, 12))
    reader, writer = (
        layers.LSTM(24, return_sequences=True, return_state=True) for _ in range(2)
    )
    read, *state = reader(source)
    written, *_ = writer(target, initial_state=state)
    found = layers.Concatenate()([written, layers.Attention()([written, read])])
    x = layers.Dense(20, activation="softmax")(found)
    return keras.Model([source, target], x)


class Flow(tf.Module):
    """A while loop whose end data decides, and a branch on data."""

    def __init__(self) -> None:
        super().__init__()
        weight: Any = np.random.default_rng(0).normal(size=(8, 8)).astype("f4")
        self.weight = tf.Variable(weight)

    @function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
    def __call__(self, x: Any) -> Any:
        """Scale x up until it is large, then squash it."""
        steps = tf.constant(0)
        while tf.reduce_sum(tf.abs(x)) < 1000.0 and steps < 20:
            x = tf.nn.relu(tf.matmul(x, self.weight)) + 0.1
            steps += 1
        y = tf.nn.softmax(x) if tf.reduce_sum(x) > 500.0 else tf.tanh(x)
        return {"steps": steps, "y": y}


def square(name: str, size: int = 96, batch: int = 1) -> Case:
    """A Keras application on one small image."""
    return Case(name, application(name, size), [(batch, size, size, 3)])


CASES = (
    square("ResNet50"),
    square("VGG16", 64),
    square("DenseNet121"),
    square("MobileNetV2"),
    square("MobileNetV3Small"),
    square("EfficientNetB0"),
    square("InceptionV3", 96),
    square("Xception"),
    square("NASNetMobile"),
    square("ConvNeXtTiny"),
    Case("BiLSTM+GRU", recurrent, [(2, 12, 16)], exported=True),
    Case("transformer", transformer, [(2, 32)], exported=True),
    Case("1-D dilated", dilated, [(2, 64, 4)], exported=True),
    Case("segmentation", segmentation, [(2, 65, 65, 3)], exported=True),
    Case("translation", translation, [(2, 9, 12), (2, 7, 12)], exported=True),
    Case("if and while", Flow, [(3, 8)], exported=True),
    Case(
        "basic-pitch",
        lambda: model_path("basic_pitch_tf"),
        [(1, 43844, 1)],
        twin="basic_pitch",
    ),
)
