"""Sources, names, shapes and errors of the TensorFlow importer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.errors import ModelError, OptionError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")

X = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def small_net() -> Any:
    """A convolution with a batch norm that does something, and a classifier."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, padding="same", strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(5, activation="softmax", name="classes"),
        ]
    )
    random = np.random.default_rng(1)
    for weight in model.layers[1].weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def saved(small_net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model"
    small_net.export(path, verbose=False)
    return path


def imported(source: Any, **options: Any) -> tuple[ModuleOp, StepwellContext]:
    from stepwell.frontends.tensorflow import import_model

    context = StepwellContext()
    register_dialects(context)
    return import_model(source, context, **options), context


def run(source: Any, *arrays: Any, **options: Any) -> list[Any]:
    from stepwell.dialects.semantics import interpret

    module, context = imported(source, **options)
    return interpret(module, list(arrays), context.weights)


def keras_file(model: Any, folder: Path) -> Any:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def saved_model(model: Any, folder: Path) -> Any:
    model.export(folder / "exported", verbose=False)
    return folder / "exported"


def frozen(model: Any, folder: Path) -> Any:
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    function = tf.function(lambda image: model(image, training=False))
    spec = tf.TensorSpec([None, 8, 8, 3], tf.float32, name="image")
    constant = convert_to_constants.convert_variables_to_constants_v2(
        function.get_concrete_function(spec)
    )
    path = folder / "frozen.pb"
    path.write_bytes(constant.graph.as_graph_def().SerializeToString())
    return path


def function(model: Any, folder: Path) -> Any:
    import tensorflow as tf

    del folder
    spec = tf.TensorSpec([None, 8, 8, 3], tf.float32, name="image")
    return tf.function(lambda image: model(image), input_signature=[spec])


def concrete(model: Any, folder: Path) -> Any:
    return function(model, folder).get_concrete_function()


def loaded_object(model: Any, folder: Path) -> Any:
    import tensorflow as tf

    return tf.saved_model.load(str(saved_model(model, folder)))


@pytest.mark.parametrize(
    "make",
    [
        lambda model, folder: model,
        keras_file,
        saved_model,
        frozen,
        function,
        concrete,
        loaded_object,
    ],
    ids=["object", "keras", "saved", "frozen", "function", "concrete", "loaded"],
)
def test_every_source(
    make: Callable[[Any, Path], Any], small_net: Any, tmp_path: Path
) -> None:
    (found,) = run(make(small_net, tmp_path), X)
    np.testing.assert_allclose(found, small_net(X), rtol=1e-5, atol=1e-6)


def test_channels_stay_last_and_batch_norm_is_whole(small_net: Any) -> None:
    module, _ = imported(small_net)
    ops = [type(op) for op in module.walk()]
    assert nn.TransposeOp not in ops
    assert nn.BatchNormOp in ops
    (conv,) = [op for op in module.walk() if isinstance(op, nn.ConvOp)]
    assert conv.value("channels_last")


def test_names_come_from_the_model(small_net: Any) -> None:
    from xdsl.dialects.builtin import StringAttr
    from xdsl.dialects.func import FuncOp

    module, _ = imported(small_net)
    (main,) = [op for op in module.ops if isinstance(op, FuncOp)]
    assert main.arg_attrs is not None
    assert main.arg_attrs.data[0].data["nn.name"] == StringAttr("image")
    (conv,) = [op for op in module.walk() if isinstance(op, nn.ConvOp)]
    assert "conv2d" in str(conv.location)


def test_dims_of_the_batch_are_one_symbol(small_net: Any) -> None:
    module, _ = imported(small_net)
    assert "nn.dims<batch, 5>" in str(module)


def test_shapes_fix_and_range_dims(small_net: Any, saved: Path) -> None:
    module, _ = imported(small_net, shapes={"batch": 3})
    assert "tensor<3x8x8x3xf32>" in str(module)
    module, _ = imported(saved, shapes={"image": "1..4x8x8x3:2x8x8x3"})
    assert "#nn.range<1, 4, 2, 1>" in str(module)
    with pytest.raises(OptionError, match="no input 'picture'"):
        imported(small_net, shapes={"picture": "1x8x8x3"})
    with pytest.raises(OptionError, match="dim 3"):
        imported(small_net, shapes={"image": "1x8x8x4"})


def test_signatures_and_tags_are_named_in_errors(saved: Path) -> None:
    from stepwell.frontends.tensorflow import load

    with pytest.raises(OptionError, match="signature 'train'") as caught:
        load(saved, signature="train")
    assert "serving_default" in str(caught.value)
    with pytest.raises(OptionError, match="gpu"):
        load(saved, tags=("serve", "gpu"))


def test_damaged_models_are_model_errors(tmp_path: Path, saved: Path) -> None:
    from stepwell.frontends.tensorflow import load

    with pytest.raises(ModelError, match="no such file"):
        load(tmp_path / "none.pb")
    with pytest.raises(ModelError, match="expected a SavedModel"):
        load(tmp_path)
    broken = tmp_path / "broken.pb"
    broken.write_bytes(b"\xff\xfe no protocol buffer")
    with pytest.raises(ModelError, match="expected a GraphDef"):
        load(broken)
    copy = tmp_path / "copy"
    (copy / "variables").mkdir(parents=True)
    (copy / "saved_model.pb").write_bytes((saved / "saved_model.pb").read_bytes())
    (copy / "variables" / "variables.index").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot read the variables"):
        load(copy)


def test_missing_variables_are_named(tmp_path: Path, saved: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "saved_model.pb").write_bytes((saved / "saved_model.pb").read_bytes())
    with pytest.raises(UnsupportedError) as caught:
        imported(copy)
    assert "without a value in the checkpoint" in str(caught.value)


def test_a_function_without_signature_needs_args() -> None:
    import tensorflow as tf

    double = tf.function(lambda x: x * 2.0)
    with pytest.raises(OptionError, match="one signature"):
        imported(double)
    (found,) = run(double, X, args=[X])
    np.testing.assert_array_equal(found, X * 2)


def test_all_unsupported_ops_are_listed() -> None:
    import tensorflow as tf

    from stepwell.frontends.tensorflow import check_model

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32, name="x")])
    def odd(x: Any) -> Any:
        return tf.raw_ops.Digamma(x=tf.raw_ops.Lgamma(x=x)) + tf.raw_ops.BesselI0e(x=x)

    report = check_model(odd)
    assert not report.is_supported
    assert {issue.op for issue in report.issues} == {"Digamma", "Lgamma", "BesselI0e"}
    with pytest.raises(UnsupportedError, match="3 unsupported"):
        imported(odd)


def test_what_changes_variables_is_refused() -> None:
    import tensorflow as tf

    class Counter(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
        def __call__(self, x: Any) -> Any:
            self.count.assign_add(1.0)
            return x + self.count

    counter = Counter()
    with pytest.raises(UnsupportedError, match="a variable that changes"):
        imported(counter.__call__)


def test_training_batch_norm_is_refused() -> None:
    import tensorflow as tf

    def train(x: Any) -> Any:
        ones = tf.ones([3])
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=ones, offset=ones, mean=ones, variance=ones, is_training=True
        )[0]

    with pytest.raises(UnsupportedError, match="training mode"):
        imported(tf.function(train), args=[X])


def test_layouts_over_channels_are_refused() -> None:
    import tensorflow as tf

    def over_channels(x: Any) -> Any:
        window = {"ksize": [1, 1, 1, 3], "strides": [1, 1, 1, 3], "padding": "VALID"}
        return tf.raw_ops.MaxPool(input=x, **window)

    with pytest.raises(UnsupportedError, match="over batch or channels"):
        imported(tf.function(over_channels), args=[X])


def test_several_inputs_and_outputs_keep_their_names() -> None:
    import keras

    from stepwell.frontends.tensorflow import load

    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    add = keras.layers.Add(name="total")([left, right])
    model = keras.Model({"left": left, "right": right}, {"a": add, "b": add * 2.0})
    loaded = load(model)
    assert sorted(each.name for each in loaded.inputs) == ["left", "right"]
    a, b = np.ones((2, 4), np.float32), np.full((2, 4), 3, np.float32)
    by_name = {"left": a, "right": b}
    arrays = [by_name[each.name] for each in loaded.inputs]
    for found, factor in zip(run(model, *arrays), (1, 2), strict=True):
        np.testing.assert_array_equal(found, factor * (a + b))


def test_ops_that_grappler_fused() -> None:
    """TensorFlow refuses to call them from Python; the parts are the judge."""
    import tensorflow as tf
    from tensorflow.core.framework import graph_pb2

    random = np.random.default_rng(0)
    w, bias = (
        random.normal(size=(3, 4)).astype("f4"),
        random.normal(size=4).astype("f4"),
    )
    graph = graph_pb2.GraphDef()
    with tf.Graph().as_default() as made:
        x = tf.compat.v1.placeholder(tf.float32, [2, 3], name="x")
        tf.matmul(x, tf.constant(w), name="product")
        tf.constant(bias, name="bias")
    graph.CopyFrom(made.as_graph_def())
    product = next(node for node in graph.node if node.name == "product")
    product.op = "_FusedMatMul"
    product.input.append("bias")
    product.attr["num_args"].i = 1
    product.attr["fused_ops"].list.s.extend([b"BiasAdd", b"Relu"])
    a = random.normal(size=(2, 3)).astype(np.float32)
    (found,) = run(graph, a, outputs=["product"])
    np.testing.assert_allclose(found, np.maximum(a @ w + bias, 0), rtol=1e-5)


def test_embeddings_read_frozen_variables() -> None:
    import tensorflow as tf

    table = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))
    lookup = tf.function(lambda ids: tf.nn.embedding_lookup(table, ids))
    ids = np.array([3, 0], np.int32)
    (found,) = run(lookup, ids, args=[ids])
    np.testing.assert_array_equal(found, table.numpy()[ids])


def test_slices_that_data_decides_stay_inside() -> None:
    import tensorflow as tf

    from stepwell.errors import ShapeError

    def part(x: Any, n: Any) -> Any:
        return tf.slice(x, [n[0], 0], [n[1], -1])

    x, inside = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([1, 2], "i4")
    (found,) = run(tf.function(part), x, inside, args=[x, inside])
    np.testing.assert_array_equal(found, x[1:3])
    with pytest.raises(ShapeError, match="the end of a slice must be inside"):
        run(tf.function(part), x, np.array([3, 2], "i4"), args=[x, inside])
    with pytest.raises(ModelError, match="the end of a slice up to 4, got 5"):
        run(
            tf.function(lambda x: tf.raw_ops.Slice(input=x, begin=[3, 0], size=[2, 1])),
            x,
            args=[tf.TensorSpec([4, 3], tf.float32)],
        )


def test_what_is_no_dense_tensor_of_numbers_is_refused() -> None:
    import tensorflow as tf

    length = tf.function(lambda s: tf.strings.length(s))
    with pytest.raises(UnsupportedError, match="numbers as input 's', got string"):
        imported(length, args=[tf.TensorSpec([None], tf.string, name="s")])
    labels = tf.function(lambda x: (x, tf.constant(["cat", "dog"])))
    with pytest.raises(UnsupportedError, match="a constant of strings"):
        imported(labels, args=[tf.TensorSpec([2], tf.float32)])
    total = tf.function(lambda r: tf.reduce_sum(r, axis=1))
    with pytest.raises(UnsupportedError, match=r"dense tensor.*RaggedTensorSpec"):
        imported(total, args=[tf.RaggedTensorSpec([None, None], tf.float32)])
    real = tf.function(lambda x: tf.math.exp(tf.complex(x, x)))
    with pytest.raises(UnsupportedError, match="Exp of complex numbers"):
        imported(real, args=[tf.TensorSpec([2], tf.float32)])


def test_functions_that_tensorflow_cannot_trace_are_model_errors() -> None:
    import tensorflow as tf

    product = tf.function(lambda a, b: tf.matmul(a, b))
    with pytest.raises(ModelError, match="cannot trace") as caught:
        imported(product, args=[X[0, 0], X[0, 0]])
    assert "Dimensions must be equal" in caught.value.notes[0]
