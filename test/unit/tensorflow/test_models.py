"""Small models end to end on the CPU, beside TensorFlow; and TF-TRT's habit."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")

import stepwell
from stepwell import tensorflow as trt
from stepwell.errors import EngineFileError, InputError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore")
layers = keras.layers


def relative_error(ours: Any, theirs: Any) -> float:
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


def randomised(model: Any) -> Any:
    """The model with batch norms that do something."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for weight in layer.weights:
                weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def residual() -> Any:
    """A residual block as ResNet has them, and a depthwise one as MobileNet."""
    x = inputs = keras.Input((12, 12, 8), name="image")
    for stride in (1, 2):
        y = layers.ZeroPadding2D(1)(x)
        y = layers.Conv2D(8, 3, strides=stride)(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
        short = layers.Conv2D(8, 1, strides=stride)(x)
        x = layers.ReLU()(layers.Add()([layers.BatchNormalization()(short), y]))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    x = layers.GlobalAveragePooling2D()(x)
    return randomised(keras.Model(inputs, layers.Dense(4, activation="softmax")(x)))


def recurrent() -> Any:
    return keras.Sequential(
        [
            keras.Input((None, 6), name="steps"),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(5),
            layers.Dense(3),
        ]
    )


def attention() -> Any:
    x = inputs = keras.Input((10, 16), name="tokens")
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
    y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Add()([x, layers.Dense(16)(y)]))


def dilated() -> Any:
    x = inputs = keras.Input((20, 4), name="signal")
    for rate in (1, 2):
        y = layers.Conv1D(6, 3, padding="causal", dilation_rate=rate)(x)
        x = layers.Activation("swish")(layers.BatchNormalization()(y))
    x = layers.Conv1DTranspose(4, 4, strides=2, padding="same")(x)
    return randomised(keras.Model(inputs, layers.GlobalMaxPooling1D()(x)))


MODELS = {
    "residual": (residual, [(1, 12, 12, 8), (3, 12, 12, 8)]),
    "recurrent": (recurrent, [(2, 7, 6), (1, 3, 6)]),
    "attention": (attention, [(2, 10, 16)]),
    "dilated": (dilated, [(2, 20, 4)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_engine_agrees_with_keras(name: str) -> None:
    keras.utils.set_random_seed(0)
    make, shapes = MODELS[name]
    model = make()
    engine = stepwell.build(model, threads=1)
    assert not engine.inspect().host_calls
    for shape in shapes:
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        assert relative_error(engine(x), model(x)) < 1e-4


def test_residual_blocks_become_fused_convolutions() -> None:
    """Batch norms, padding, additions and activations are part of convolutions."""
    engine = stepwell.build(residual(), threads=1)
    ops = {op for launch in engine.inspect().launches for op in launch.ops}
    assert not ops & {"transpose", "batch_norm", "pad"}
    alone = [one.ops for one in engine.inspect().launches if "conv" not in one.ops]
    assert not any({"add", "relu"} & {*ops} for ops in alone)


class Flow(tf.Module):
    """A loop whose end data decides, and a branch on data."""

    def __init__(self) -> None:
        super().__init__()
        weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
        self.weight = tf.Variable(weight)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x: Any) -> Any:
        steps = tf.constant(0)
        while tf.reduce_sum(tf.abs(x)) < 100.0 and steps < 20:
            x = tf.nn.relu(tf.matmul(x, self.weight)) + 0.1
            steps += 1
        y = tf.nn.softmax(x) if tf.reduce_sum(x) > 100.0 else tf.tanh(x)
        return {"steps": steps, "y": y}


def test_control_flow_of_a_saved_module(tmp_path: Path) -> None:
    module = Flow()
    tf.saved_model.save(module, str(tmp_path))
    engine = stepwell.build(tmp_path, threads=1)
    for scale in (0.01, 1.0, 1000.0):
        x = (scale * np.random.default_rng(0).normal(size=(3, 4))).astype(np.float32)
        found, expected = engine.run({"x": x}), module(x)
        assert found["steps"] == expected["steps"].numpy()
        assert relative_error(found["y"], expected["y"]) < 1e-4


def test_a_row_at_a_fixed_index_is_replaced() -> None:
    function = tf.function(
        lambda x: tf.tensor_scatter_nd_update(x, [[2]], x[:1] * 2.0),
        input_signature=[tf.TensorSpec([4, 3], tf.float32)],
    )
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(stepwell.build(function, threads=1)(x), function(x))


def test_memory_of_sizes_that_data_decides() -> None:
    """What is computed before a size is known shares no memory with what has it."""
    function = tf.function(
        lambda x: tf.math.bincount(x, axis=-1, minlength=2, binary_output=True),
        input_signature=[tf.TensorSpec([2, 3], tf.int32)],
    )
    engine = stepwell.build(function, threads=1)
    for most in (4, 1):
        x = np.array([[0, 1, most], [1, 0, 0]], np.int32)
        np.testing.assert_array_equal(engine(x), function(x))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("trt") / "model"
    model = keras.Sequential(
        [keras.Input((6,), name="x"), layers.Dense(4, activation="relu")]
    )
    model.export(path, verbose=False)
    return path


def test_code_written_for_tf_trt_runs(directory: Path, tmp_path: Path) -> None:
    params = trt.DEFAULT_TRT_CONVERSION_PARAMS._replace(
        precision_mode=trt.TrtPrecisionMode.FP32, max_workspace_size_bytes=1 << 30
    )
    converter = trt.TrtGraphConverterV2(
        input_saved_model_dir=str(directory), conversion_params=params
    )
    converted = converter.convert()
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    converter.build(input_fn=lambda: [(x[:2],), (x,)])
    lines: list[str] = []
    converter.summary(print_fn=lines.append)
    assert any("matmul" in line for line in lines)
    converter.save(str(tmp_path / "converted"))
    original = tf.saved_model.load(str(directory)).signatures["serving_default"]
    infer = trt.load(tmp_path / "converted").signatures["serving_default"]
    for call in (converted, infer):
        found, expected = call(tf.constant(x)), original(tf.constant(x))
        assert found.keys() == expected.keys()
        assert isinstance(found["output_0"], tf.Tensor)
        assert relative_error(found["output_0"], expected["output_0"]) < 1e-5
    assert (
        relative_error(
            infer(x=x[:1])["output_0"], original(tf.constant(x[:1]))["output_0"]
        )
        < 1e-5
    )


def test_every_parameter_of_tf_trt_is_taken(directory: Path) -> None:
    converter = trt.TrtConverter(
        input_saved_model_dir=directory,
        input_saved_model_tags=["serve"],
        input_saved_model_signature_key="serving_default",
        use_dynamic_shape=True,
        dynamic_shape_profile_strategy="Range+Optimal",
        max_workspace_size_bytes=1 << 20,
        precision_mode="fp16",
        minimum_segment_size=5,
        maximum_cached_engines=2,
        use_calibration=False,
        allow_build_at_runtime=False,
        conversion_params=trt.TrtConversionParams(precision_mode="FP32"),
        threads=1,
    )
    infer = converter.convert()
    assert infer.engine.inspect().precision == "fp16"
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    original = tf.saved_model.load(str(directory)).signatures["serving_default"]
    expected = original(tf.constant(x))["output_0"]
    assert relative_error(infer(x)["output_0"], expected) < 5e-3
    lines: list[str] = []
    converter.summary(line_length=20, detailed=False, print_fn=lines.append)
    assert len(lines) == 1 and len(lines[0]) <= 20


def test_signatures_keep_the_names_of_inputs_and_outputs(tmp_path: Path) -> None:
    module = Pair()
    signatures = {"both": module.both, "half": module.half}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    for key in signatures:
        converter = trt.TrtConverter(
            tmp_path / "model", input_saved_model_signature_key=key, threads=1
        )
        converter.convert()
        converter.save(tmp_path / key)
    both = trt.load(tmp_path / "both").signatures["both"]
    _, named = both.structured_input_signature
    assert {*named} == {"left", "right"}
    assert {*both.structured_outputs} == {"sum", "difference"}
    found = both(right=tf.constant(a[:, :1]), left=tf.constant(a))
    np.testing.assert_array_equal(found["sum"], a + a[:, :1])
    np.testing.assert_array_equal(found["difference"], a - a[:, :1])
    model = trt.load(tmp_path / "half")
    np.testing.assert_array_equal(model(a)["output_0"], a / 2)


class Pair(tf.Module):
    """Two signatures, one of two inputs and two outputs."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], tf.float32, name="left"),
            tf.TensorSpec([None, 1], tf.float32, name="right"),
        ]
    )
    def both(self, left: Any, right: Any) -> Any:
        return {"sum": left + right, "difference": left - right}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def half(self, x: Any) -> Any:
        return x / 2.0


def test_converter_refuses_what_it_cannot_do(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="input_saved_model_dir"):
        trt.TrtConverter()
    with pytest.raises(OptionError, match="FP64"):
        trt.TrtConverter(directory, precision_mode="FP64")
    with pytest.raises(OptionError, match="got INT8") as caught:
        trt.TrtConverter(directory, precision_mode=trt.TrtPrecisionMode.INT8)
    assert "precision_mode='FP16'" in str(caught.value)
    with pytest.raises(OptionError, match="got 'Median'"):
        trt.TrtConverter(directory, dynamic_shape_profile_strategy="Median")
    with pytest.raises(OptionError, match="unknown parameters: precisionmode"):
        trt.TrtConverter(directory, precisionmode="FP32")
    converter = trt.TrtConverter(directory)
    for call in (converter.summary, lambda: converter.save(tmp_path / "no")):
        with pytest.raises(OptionError, match="convert"):
            call()
    with pytest.raises(OptionError, match="FP32 needs no calibration"):
        converter.convert(calibration_input_fn=list)
    function = converter.convert()
    with pytest.raises(InputError, match="expected inputs x, got y"):
        function(y=np.zeros((1, 6), np.float32))
    with pytest.raises(InputError, match="to yield inputs"):
        converter.build(list)
    with pytest.raises(EngineFileError, match="expected a converted model"):
        trt.load(tmp_path)


def quiet(*arguments: str) -> Sequence[str]:
    return [sys.executable, "-W", "ignore", *arguments]


def test_converted_models_load_without_tensorflow(
    directory: Path, tmp_path: Path
) -> None:
    converter = trt.TrtConverter(directory, threads=1)
    converter.convert()
    converter.save(tmp_path)
    program = f"""
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
import numpy as np
import stepwell.tensorflow as trt
from stepwell.errors import MissingExtraError
infer = trt.load({str(tmp_path)!r}).signatures["serving_default"]
print(infer(np.ones((2, 6), np.float32))["output_0"].shape)
try:
    trt.TrtConverter({str(directory)!r}).convert()
except MissingExtraError as error:
    print(error.fix)
"""
    result = subprocess.run(
        quiet("-c", program), capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [
        "(2, 4)",
        "pip install 'stepwell[tensorflow]'",
    ]
