"""Estimated magnitudes, against those of the numbers themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import f32
from stepwell.dialects.shapes import tensor_type
from stepwell.lowering.graph.magnitudes import Magnitudes, spread_of


def layers(weights: list[np.ndarray[Any, Any]]) -> tuple[float, float]:
    """The estimate of a chain of products and what standard inputs give."""
    context = StepwellContext()
    function = FuncOp("main", ([tensor_type((64, len(weights[0])), f32)], []))
    block = function.body.block
    value = block.args[0]
    array = np.random.default_rng(0).standard_normal((64, len(weights[0])))
    for weight in weights:
        constant = nn.make_constant(weight.astype(np.float32), context.weights)
        product = nn.MatmulOp(value, constant)
        relu = nn.ReluOp(product)
        block.add_ops([constant, product, relu])
        value, array = relu.results[0], np.maximum(array @ weight, 0)
    block.add_op(ReturnOp())
    found = Magnitudes(ModuleOp([function]), context.weights)[value].greatest
    return found, float(np.abs(array).max())


def test_equal_weights_add_up() -> None:
    found, wanted = layers([np.full((128, 128), 0.5)] * 3)
    assert wanted > 1e4 and wanted / 30 < found < 30 * wanted


def test_a_layer_that_multiplies_a_thousandfold_shows() -> None:
    rng = np.random.default_rng(1)
    found, wanted = layers([1000 * rng.standard_normal((128, 128))])
    assert wanted / 3 < found < 3 * wanted


@pytest.mark.parametrize("depth", [1, 40])
def test_a_network_that_keeps_its_scale_is_trusted(depth: int) -> None:
    rng = np.random.default_rng(2)
    weights = [rng.standard_normal((128, 128)) * (2 / 128) ** 0.5] * depth
    found, wanted = layers(weights)
    assert found < 100 and wanted < 100


def test_infinities_do_not_count() -> None:
    spread = spread_of(np.array([1.0, -np.inf, -3.0], np.float32))
    assert spread.greatest == 3.0
