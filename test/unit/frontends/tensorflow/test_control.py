"""Branches, loops and lists against TensorFlow, and what of them is left at import."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import nn

pytestmark = pytest.mark.filterwarnings("ignore")

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def loops_of(module: ModuleOp) -> list[nn.LoopOp]:
    return [op for op in module.walk() if isinstance(op, nn.LoopOp)]


def imported(function: Any, *specs: Any) -> ModuleOp:
    import tensorflow as tf

    from stepwell.dialects.context import StepwellContext
    from stepwell.frontends.tensorflow import import_model

    return import_model(tf.function(function), StepwellContext(), args=specs)


def branching(x: Any) -> Any:
    import tensorflow as tf

    return tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.nn.relu(x), lambda: x - 1.0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("is_open", [True, False])
def test_branch_on_data(sign: int, is_open: bool, check: Any) -> None:
    check(branching, sign * np.abs(X), is_open=is_open)


def test_branch_on_a_number_and_on_more_than_two(check: Any) -> None:
    import tensorflow as tf

    def run(x: Any, i: Any) -> Any:
        branches = [lambda: x, lambda: x * 2.0, lambda: tf.nn.relu(x)]
        picked = tf.switch_case(i, branches)
        (raw,) = tf.raw_ops.If(
            cond=i, input=[x], Tout=[tf.float32], then_branch=twice, else_branch=half
        )
        (pure,) = tf.raw_ops.StatelessIf(
            cond=i, input=[x], Tout=[tf.float32], then_branch=twice, else_branch=half
        )
        (chosen,) = tf.raw_ops.StatelessCase(
            branch_index=i, input=[x], Tout=[tf.float32], branches=[half, twice]
        )
        return picked, raw, pure, chosen

    spec = tf.TensorSpec(X.shape, tf.float32)
    twice = tf.function(lambda x: x * 2.0).get_concrete_function(spec)
    half = tf.function(lambda x: x * 0.5).get_concrete_function(spec)
    for index in (0, 1, 2, 7):
        check(run, X, np.array(index, np.int32))


def test_decided_branch_leaves_no_op() -> None:
    import tensorflow as tf

    def run(x: Any) -> Any:
        return tf.cond(tf.shape(x)[0] > 2, lambda: x * 2.0, lambda: x)

    module = imported(run, tf.TensorSpec([5], tf.float32))
    assert not any(isinstance(op, nn.IfOp) for op in module.walk())


def counted(x: Any) -> Any:
    import tensorflow as tf

    def step(i: Any, a: Any) -> Any:
        return i + 2, tf.nn.relu(a) + tf.cast(i, tf.float32)

    return tf.while_loop(lambda i, a: i < 9, step, [tf.constant(1), x])


def test_counted_loop(check: Any) -> None:
    check(counted, X)


def test_counter_is_not_carried_and_the_trip_count_is_known() -> None:
    import tensorflow as tf

    (loop,) = loops_of(imported(counted, tf.TensorSpec([2, 3], tf.float32)))
    assert loop.trip_count is not None and loop.condition is None
    assert len(loop.initial) == 1


@pytest.mark.parametrize(
    ("limit", "step", "compare"),
    [(10, 3, "Less"), (10, 3, "LessEqual"), (-5, 1, "Less"), (0, 1, "LessEqual")],
)
def test_trip_counts(limit: int, step: int, compare: str, check: Any) -> None:
    import tensorflow as tf

    op = getattr(tf.raw_ops, compare)

    def run(x: Any) -> Any:
        return tf.while_loop(
            lambda i, a: op(x=i, y=limit), lambda i, a: (i + step, a * 1.5), [0, x]
        )

    check(run, X)


@pytest.mark.parametrize("is_open", [True, False])
def test_loop_that_data_ends(is_open: bool, check: Any) -> None:
    import tensorflow as tf

    def run(x: Any) -> Any:
        return tf.while_loop(
            lambda i, a: tf.logical_and(tf.reduce_sum(a) < 500.0, i < 20),
            lambda i, a: (i + 1, tf.abs(a) * 2.0),
            [tf.constant(0), x],
        )

    check(run, X, is_open=is_open)


def test_loop_that_grows_a_value(check: Any) -> None:
    import tensorflow as tf

    def run(x: Any) -> Any:
        _, found = tf.while_loop(
            lambda i, a: i < 3,
            lambda i, a: (i + 1, tf.concat([a, a[:1] * 2.0], axis=0)),
            [tf.constant(0), x],
            shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 4])],
        )
        return found

    check(run, X)


def mapped(x: Any) -> Any:
    import tensorflow as tf

    return tf.map_fn(lambda row: tf.nn.softmax(row) + 1.0, x)


@pytest.mark.parametrize("is_open", [True, False])
def test_map_over_rows(is_open: bool, check: Any) -> None:
    check(mapped, X, is_open=is_open)


def test_lists_set_in_order_become_scans() -> None:
    import tensorflow as tf

    (loop,) = loops_of(imported(mapped, tf.TensorSpec([None, 4], tf.float32)))
    assert len(loop.initial) == 0
    assert len(loop.results) == 1


def test_running_sum_by_tf_scan(check: Any) -> None:
    import tensorflow as tf

    check(lambda x: tf.scan(lambda a, b: a * 0.5 + b, x), X)


def test_lists_written_out_of_order(check: Any) -> None:
    import tensorflow as tf

    def run(x: Any) -> Any:
        array = tf.TensorArray(tf.float32, size=5, element_shape=[4])
        last = tf.shape(x)[0] - 1
        _, array = tf.while_loop(
            lambda i, a: i <= last,
            lambda i, a: (i + 1, a.write(last - i, x[i] * 2.0)),
            [tf.constant(0), array],
        )
        return array.stack()

    check(run, X)


def test_list_ops(check: Any) -> None:
    import tensorflow as tf

    raw = tf.raw_ops

    def run(x: Any) -> Any:
        rows = raw.TensorListFromTensor(tensor=x, element_shape=[4])
        first = raw.TensorListGetItem(
            input_handle=rows, index=1, element_shape=[4], element_dtype=tf.float32
        )
        changed = raw.TensorListSetItem(input_handle=rows, index=2, item=first)
        grown = raw.TensorListPushBack(input_handle=changed, tensor=first * 3.0)
        rest, last = raw.TensorListPopBack(
            input_handle=grown, element_shape=[4], element_dtype=tf.float32
        )
        pushed = raw.EmptyTensorList(
            element_shape=[4], max_num_elements=-1, element_dtype=tf.float32
        )
        pushed = raw.TensorListPushBack(input_handle=pushed, tensor=first)
        reserved = raw.TensorListReserve(
            element_shape=[4], num_elements=3, element_dtype=tf.float32
        )
        reserved = raw.TensorListSetItem(input_handle=reserved, index=1, item=last)
        stack = {"element_shape": [4], "element_dtype": tf.float32}
        return [
            raw.TensorListStack(input_handle=rest, **stack),
            raw.TensorListStack(input_handle=pushed, **stack),
            raw.TensorListStack(input_handle=reserved, **stack),
            raw.TensorListLength(input_handle=grown),
            raw.TensorListGather(input_handle=changed, indices=[2, 0], **stack),
            last,
        ]

    check(run, X)


def test_lists_of_rows_joined(check: Any) -> None:
    import tensorflow as tf

    def run(x: Any) -> Any:
        rows = tf.raw_ops.TensorListFromTensor(
            tensor=tf.reshape(x, [5, 2, 2]), element_shape=[2, 2]
        )
        return tf.raw_ops.TensorListConcatV2(
            input_handle=rows,
            element_shape=[2, 2],
            leading_dims=tf.zeros([0], tf.int64),
            element_dtype=tf.float32,
        )

    check(run, X)


@pytest.mark.parametrize("goes_backwards", [True, False])
def test_recurrent_layers(goes_backwards: bool, check: Any) -> None:
    import keras

    keras.utils.set_random_seed(0)
    options = {"return_sequences": True, "go_backwards": goes_backwards}
    layers = [
        keras.layers.LSTM(3, **options),
        keras.layers.GRU(2),
        keras.layers.SimpleRNN(3, **options),
    ]
    x = X.reshape(1, 5, 4)
    for layer in layers:
        check(layer, x, is_open=False)


def test_unsupported_ops_in_both_branches_are_named() -> None:
    import tensorflow as tf

    from stepwell.errors import UnsupportedError

    def run(x: Any) -> Any:
        return tf.cond(
            tf.reduce_sum(x) > 0.0,
            lambda: tf.raw_ops.Digamma(x=x),
            lambda: tf.raw_ops.Lgamma(x=x),
        )

    with pytest.raises(UnsupportedError) as caught:
        imported(run, tf.TensorSpec([2], tf.float32))
    notes = "\n".join(caught.value.notes)
    assert "Digamma" in notes
    assert "Lgamma" in notes


def frozen(function: Any, *specs: Any) -> Any:
    """The graph with control flow of TensorFlow 1, as freezing leaves it."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    constant = convert_to_constants.convert_variables_to_constants_v2(
        tf.function(function).get_concrete_function(*specs), lower_control_flow=True
    )
    graph = constant.graph.as_graph_def()
    return graph, [each.name for each in constant.outputs]


def nested(x: Any) -> Any:
    import tensorflow as tf

    def outer(i: Any, a: Any) -> Any:
        _, b = tf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, b * 1.1), [0, a])
        big = tf.cond(
            tf.reduce_sum(b) > 3.0,
            lambda: tf.cond(i > 1, lambda: tf.ones_like(b), lambda: b - 1.0),
            lambda: b + 0.5,
        )
        return i + 1, big

    return tf.while_loop(lambda i, a: i < 4, outer, [tf.constant(0), x])[1]


def recurrent(x: Any) -> Any:
    return mapped(x) + counted(x)[1]


@pytest.mark.parametrize("function", [branching, counted, nested, recurrent])
def test_frozen_graphs_get_functional_control_flow(function: Any) -> None:
    import tensorflow as tf

    from stepwell.dialects.context import StepwellContext
    from stepwell.dialects.registry import register_dialects
    from stepwell.dialects.semantics import interpret
    from stepwell.frontends.tensorflow import import_model

    graph, outputs = frozen(function, tf.TensorSpec(X.shape, tf.float32, name="x"))
    assert {"Switch", "Merge"} <= {node.op for node in graph.node}
    context = StepwellContext()
    register_dialects(context)
    module = import_model(graph, context, outputs=outputs)
    for x in (X, -np.abs(X), np.abs(X)):
        expected = tf.nest.flatten(function(tf.constant(x)))
        found = interpret(module, [x], context.weights)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)
