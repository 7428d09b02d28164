"""The table of ops: each has a builder, and a test against TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .test_control import X, frozen, nested
from .test_import import run
from .test_ops import CASES as MOST
from .test_resampling import CASES as RESAMPLING
from .test_selection import CASES as SELECTION

pytestmark = pytest.mark.filterwarnings("ignore")

COVERED = MOST.covered() | RESAMPLING.covered() | SELECTION.covered()

ELSEWHERE = {
    # test_import.py
    *("Const", "Placeholder", "ReadVariableOp", "VarHandleOp", "VariableV2"),
    *("PartitionedCall", "StatefulPartitionedCall", "ResourceGather"),
    # test_control.py
    *("If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"),
    *("TensorListReserve", "TensorListFromTensor", "TensorListStack"),
    *("TensorListGetItem", "TensorListSetItem", "EmptyTensorList"),
    *("TensorListPushBack", "TensorListPopBack", "TensorListLength"),
    *("TensorListGather", "TensorListConcatV2"),
    # Left by Grappler in frozen graphs; not to be called: test_import.py
    *("_FusedConv2D", "_FusedMatMul", "Conv"),
}

FRAMES = {"Enter", "Exit", "LoopCond", "Merge", "NextIteration", "Switch"}
"""What frozen graphs write for `If` and `While`."""

CONTROL_ONLY = {"Assert", "NoOp"}
"""Ops that no tensor is computed from: they have no builder."""

CHECKPOINTS = {
    *("AssignVariableOp", "MergeV2Checkpoints", "RestoreV2", "SaveV2"),
    *("ShardedFilename", "StaticRegexFullMatch", "StringJoin"),
}
"""What a SavedModel saves and restores its variables by; read, and never run."""

SEEN_IN_MODELS = """
    AddV2 All Assert AssignVariableOp AvgPool BatchMatMulV2 BatchToSpaceND BiasAdd
    Cast ConcatV2 Const Conv2D Conv2DBackpropInput DepthwiseConv2dNative DivNoNan
    Einsum Enter Equal Erfc Exit ExpandDims Fill FusedBatchNormV3 GatherV2 Greater
    Identity IdentityN Less Log LogicalAnd LoopCond MatMul Max MaxPool Maximum Mean
    Merge MergeV2Checkpoints Min MirrorPad Mul Neg NextIteration NoOp Pack Pad
    PartitionedCall Placeholder Pow Prod Range ReadVariableOp RealDiv Relu Relu6
    Reshape RestoreV2 ReverseV2 Rsqrt SaveV2 Select SelectV2 Shape ShardedFilename
    Sigmoid Softmax SpaceToBatchND Split Sqrt Square SquaredDifference Squeeze
    StatefulPartitionedCall StatelessIf StatelessWhile StaticRegexFullMatch
    StopGradient StridedSlice StringJoin Sub Sum Switch Tanh TensorListFromTensor
    TensorListGetItem TensorListReserve TensorListSetItem TensorListStack Tile
    Transpose While
"""
"""Every op of ten Keras applications, a bidirectional LSTM with a GRU, a transformer,
a network of 1-D convolutions, a `tf.Module` with a branch and a loop, and basic-pitch:
in their graphs and functions, and with control flow as frozen graphs write it."""


def test_every_op_of_the_table_has_a_case() -> None:
    from stepwell.frontends.tensorflow.ops import TABLE

    ops = {rule.op_type for rule in TABLE}
    assert ops - COVERED - ELSEWHERE == set()


def test_every_op_that_models_use_has_a_builder_and_a_test() -> None:
    from stepwell.frontends.tensorflow.ops import TABLE

    built = {rule.op_type for rule in TABLE} | FRAMES | CONTROL_ONLY | CHECKPOINTS
    assert {*SEEN_IN_MODELS.split()} - built == set()
    tested = COVERED | ELSEWHERE | FRAMES | CONTROL_ONLY | CHECKPOINTS
    assert {*SEEN_IN_MODELS.split()} - tested == set()


def ops_of(graph: Any) -> set[str]:
    """The ops of a graph and of its functions."""
    functions = (function.node_def for function in graph.library.function)
    return {node.op for nodes in (graph.node, *functions) for node in nodes}


def test_frames_of_frozen_graphs() -> None:
    import tensorflow as tf

    graph, outputs = frozen(nested, tf.TensorSpec(X.shape, tf.float32, name="x"))
    assert ops_of(graph) >= FRAMES
    (found,) = run(graph, X, outputs=outputs)
    np.testing.assert_allclose(found, nested(tf.constant(X)), rtol=2e-5)


def test_checkpoints_of_saved_models(tmp_path: Path) -> None:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    model = tf.Module()
    model.weight = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))
    spec = tf.TensorSpec([None, 4], tf.float32, name="x")
    call = tf.function(lambda x: tf.matmul(x, model.weight), input_signature=[spec])
    model.call = call
    tf.saved_model.save(model, str(tmp_path), signatures=call.get_concrete_function())
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((tmp_path / "saved_model.pb").read_bytes())
    assert ops_of(saved.meta_graphs[0].graph_def) >= CHECKPOINTS
    (found,) = run(tmp_path, X)
    np.testing.assert_allclose(found, X @ model.weight.numpy(), rtol=2e-5)


def test_what_no_tensor_depends_on_is_left_out() -> None:
    import tensorflow as tf

    def checked(x: Any) -> Any:
        tf.debugging.Assert(tf.reduce_all(x < 1e9), [x])
        return tf.sqrt(x * x)

    spec = tf.TensorSpec(X.shape, tf.float32, name="x")
    graph = tf.function(checked).get_concrete_function(spec).graph.as_graph_def()
    assert ops_of(graph) >= CONTROL_ONLY
    (found,) = run(tf.function(checked), X, args=[spec])
    np.testing.assert_allclose(found, np.abs(X), rtol=1e-6)
