"""The table of ops: each has a builder, and a test against TensorFlow."""

from __future__ import annotations

from .test_ops import CASES as MOST
from .test_resampling import CASES as RESAMPLING

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


def test_every_op_of_the_table_has_a_case() -> None:
    from stepwell.frontends.tensorflow.ops import TABLE

    covered = set[str]().union(*(cases.covered() for cases in (MOST, RESAMPLING)))
    ops = {rule.op_type for rule in TABLE}
    assert ops - covered - ELSEWHERE == set()
