"""The table covers the core ATen ops; what it leaves out is listed here, with why."""

from __future__ import annotations

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    from torch.export import default_decompositions

from stepwell.frontends.torch.export import decomposition_table
from stepwell.frontends.torch.ops import TABLE
from stepwell.frontends.torch.overloads import find_overload

EXCLUDED = {
    "gradients, which an engine does not compute": {
        "aten._adaptive_avg_pool2d_backward.default",
        "aten.avg_pool2d_backward.default",
        "aten.convolution_backward.default",
        "aten.embedding_dense_backward.default",
        "aten.max_pool2d_with_indices_backward.default",
        "aten.native_group_norm_backward.default",
        "aten.native_layer_norm_backward.default",
    },
    "complex numbers": {"aten._fft_c2r.default", "aten._fft_r2c.default"},
    "changes its arguments: made functional by the export": {
        "aten._native_batch_norm_legit.default",
        "aten.atan2.out",
        "aten.resize_.default",
    },
    "numbers, which are read from the graph's own metadata": {
        "aten.sym_is_contiguous.default",
        "aten.sym_numel.default",
        "aten.sym_size.int",
        "aten.sym_storage_offset.default",
        "aten.sym_stride.int",
    },
    "decomposed by PyTorch": {"aten.var.dim"},
}
ELSEWHERE = ("stepwell", "transformers", "prims")
HIGHER_ORDER = {name for name in TABLE if "." not in name}


def core_ops() -> set[str]:
    names = torch._C._dispatch_get_all_op_names()
    found = set[str]()
    for name in names:
        op, _, overload = name.removeprefix("aten::").partition(".")
        overload = find_overload(f"aten.{op}.{overload or 'default'}")
        if name.startswith("aten::") and overload and torch.Tag.core in overload.tags:
            found.add(str(overload))
    return found


def test_every_core_op_has_a_rule_or_a_reason() -> None:
    excluded = set[str]().union(*EXCLUDED.values())
    assert core_ops() - TABLE.keys() == excluded


def test_what_pytorch_decomposes_it_does() -> None:
    table = {str(op) for op in default_decompositions()}
    assert EXCLUDED["decomposed by PyTorch"] <= table


def test_every_row_names_an_op() -> None:
    named = {n for n in TABLE if n.partition(".")[0] not in ELSEWHERE} - HIGHER_ORDER
    assert [name for name in named if find_overload(name) is None] == []
    for name in HIGHER_ORDER:
        assert hasattr(torch.ops.higher_order, name)


def test_ops_with_a_rule_stay_whole() -> None:
    kept = decomposition_table()
    for name in (
        "aten.linear.default",
        "aten.layer_norm.default",
        "aten.scaled_dot_product_attention.default",
        "aten.lstm.input",
        "aten.group_norm.default",
    ):
        assert find_overload(name) not in kept
    assert find_overload("aten.huber_loss.default") in kept


def test_every_rule_says_what_it_builds() -> None:
    assert [name for name, build in TABLE.items() if not build.__doc__] == []
