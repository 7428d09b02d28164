"""No graph pass changes what a module computes.

The modules are those of the FileCheck tests, with the passes of their RUN lines; the
judge is the reference interpreter on random inputs before and after.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute
from xdsl.parser import Parser

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.semantics import interpret
from stepwell.dialects.shapes import dims_of, element_of, evaluate, symbols_of
from stepwell.lowering.pipelines import parse_passes

FILES = Path(__file__).parents[3] / "filecheck" / "lowering"
PASSES = re.compile(r"RUN: stepwell-opt %s -p '?([^' ]+)'?")
SIZE = 4
TOLERANCES = {"convert-precision": 2e-2, "simulate-precision": 2e-2}
"""Of max|a-b| / max|b|, for passes that round on purpose; 4e-6 for the others."""


def chunks() -> Iterator[Any]:
    for folder in ("graph", "quantization"):
        files = (FILES / folder).glob("*.mlir")
        for file in sorted(file for file in files if file.stem != "verify-provenance"):
            text = file.read_text()
            passes = PASSES.findall(text)[0]
            for index, chunk in enumerate(text.split("// -----")):
                if "func.return" in chunk and "random_normal" not in chunk:
                    yield pytest.param(chunk, passes, id=f"{file.stem}-{index}")


def new_context() -> StepwellContext:
    context = StepwellContext()
    register_dialects(context)
    context.load_registered_dialect("builtin")
    return context


def random_array(kind: Attribute, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    names = {name for dim in dims_of(kind) for name in symbols_of(dim)}
    shape = [evaluate(dim, dict.fromkeys(names, SIZE)) for dim in dims_of(kind)]
    dtype = numpy_dtype(element_of(kind))
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    if dtype.kind in "iu":
        return rng.integers(0, SIZE + 1, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def inputs_of(function: FuncOp) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [random_array(arg.type, rng) for arg in function.body.block.args]


def run(module: ModuleOp, context: StepwellContext) -> dict[str, list[Any]]:
    return {
        name: interpret(module, inputs_of(op), context.weights, name)
        for op in module.ops
        if isinstance(op, FuncOp) and (name := op.sym_name.data)
    }


def assert_same(before: list[Any], after: list[Any], tolerance: float = 4e-6) -> None:
    for left, right in zip(before, after, strict=True):
        assert left.dtype == right.dtype and left.shape == right.shape
        if left.dtype.kind == "f":
            scale = max(1e-30, float(np.abs(left).max(initial=0)))
            assert float(np.abs(left - right).max(initial=0)) <= tolerance * scale
            assert not np.isnan(right).any()
        else:
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(("chunk", "passes"), list(chunks()))
def test_a_pass_keeps_the_results(chunk: str, passes: str) -> None:
    context = new_context()
    module = Parser(context, chunk).parse_module()
    before = run(module, context)
    for one in parse_passes(passes):
        one.apply(context, module)
    module.verify()
    after = run(module, context)
    for name, results in before.items():
        assert_same(results, after[name], TOLERANCES.get(passes, 4e-6))


def test_a_wrong_result_is_seen() -> None:
    with pytest.raises(AssertionError):
        assert_same([np.ones(3, np.float32)], [np.full(3, 1.001, np.float32)])
    with pytest.raises(AssertionError):
        assert_same([np.ones(3, np.float32)], [np.full(3, np.nan, np.float32)])
