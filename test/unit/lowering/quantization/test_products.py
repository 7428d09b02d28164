"""Integer products through f32 are the integers, also at the largest magnitudes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from stepwell.dialects import nn, quant
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import element_type
from stepwell.dialects.semantics import interpret
from stepwell.dialects.shapes import tensor_type
from stepwell.lowering.pipelines import parse_passes
from stepwell.lowering.quantization.products import EXACT, pieces_of

KINDS = st.sampled_from([np.dtype(np.uint8), np.dtype(np.int8)])


def extremes(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int) -> Any:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.choice(np.array([limits.min, limits.max, limits.max - 1], dtype), shape)


@settings(max_examples=25, deadline=None)
@given(KINDS, KINDS, st.sampled_from([1, 64, 515, 2000]), st.booleans(), st.integers(0))
def test_products_of_extremes(
    left: np.dtype[Any], right: np.dtype[Any], depth: int, constant: bool, seed: int
) -> None:
    context = StepwellContext()
    seed %= 2**31
    a = extremes(left, (3, depth), seed)
    b = extremes(right, (depth, 4), seed + 1)
    types = [tensor_type(x.shape, element_type(x.dtype)) for x in (a, b)]
    block = Block(arg_types=types[:1] if constant else types)
    weight: Any = block.args[-1]
    if constant:
        block.add_op(weight := nn.make_constant(b, context.weights))
    product = quant.MatmulIntegerOp(block.args[0], weight)
    block.add_ops([product, ReturnOp(product)])
    arguments = [arg.type for arg in block.args]
    function = FuncOp("main", (arguments, [product.result.type]), Region(block))
    module = ModuleOp([function])
    for one in parse_passes("legalize-quant"):
        one.apply(context, module)
    module.verify()
    assert not any(op.name.startswith("quant.") for op in module.walk())
    (got,) = interpret(module, [a] if constant else [a, b], context.weights)
    want = a.astype(np.int64) @ b.astype(np.int64)
    np.testing.assert_array_equal(got, want.astype(np.int32))


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40), st.integers(1, 255))
def test_no_piece_leaves_the_exact_range(steps: list[int], largest: int) -> None:
    sums = np.array(steps, np.int64)[:, None] * 64
    ends = pieces_of(sums, largest)
    if ends is None:
        return
    starts = [0, *ends[:-1]]
    assert ends[-1] == len(sums)
    for start, end in zip(starts, ends, strict=True):
        assert start < end
        assert sums[start:end].sum() * largest <= EXACT


def test_a_step_that_is_too_large_is_refused() -> None:
    assert pieces_of(np.array([[EXACT + 1]]), 1) is None
