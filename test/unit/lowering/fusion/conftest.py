"""Running a graph before and after fusion on random inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.parser import Parser

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import is_float, numpy_dtype
from stepwell.dialects.fusion import KernelOp
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.semantics import interpret
from stepwell.dialects.shapes import dims_of, element_of, evaluate
from stepwell.lowering.fusion.forms import Form, form_of
from stepwell.lowering.pipelines import parse_passes, run_passes

PASSES = ("form-kernels", "decompose-kernels", "fuse-generics")


def parse(text: str) -> tuple[ModuleOp, StepwellContext]:
    """A module, or the ops of one function body wrapped in one."""
    context = StepwellContext()
    register_dialects(context)
    module = Parser(context, text).parse_module()
    module.verify()
    return module, context


def random_inputs(
    module: ModuleOp, symbols: Mapping[str, int], bounds: Mapping[str, int], seed: int
) -> list[np.ndarray[Any, Any]]:
    """Inputs of `@main`; integers below `bounds[argument name]`, else below 100."""
    rng = np.random.default_rng(seed)
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    arrays = []
    for argument in function.body.block.args:
        shape = [evaluate(dim, symbols) for dim in dims_of(argument)]
        element = element_of(argument)
        dtype = numpy_dtype(element)
        if is_float(element):
            arrays.append(rng.standard_normal(shape).astype(dtype))
        elif dtype == np.bool_:
            arrays.append(rng.integers(0, 2, shape).astype(dtype))
        else:
            high = bounds.get(argument.name_hint or "", 100)
            low = 0 if dtype.kind == "u" else -high
            arrays.append(rng.integers(low, high, shape).astype(dtype))
    return arrays


Check = Callable[..., ModuleOp]


@pytest.fixture
def same_result() -> Check:
    """`check(text, symbols={}, bounds={}, kernels=n)`: fusion keeps all results."""

    def check(
        text: str,
        symbols: Mapping[str, int] | None = None,
        bounds: Mapping[str, int] | None = None,
        kernels: int | None = None,
        passes: Sequence[str] = PASSES,
        tolerance: float = 2e-5,
    ) -> ModuleOp:
        module, context = parse(text)
        inputs = random_inputs(module, symbols or {}, bounds or {}, seed=0)
        expected = interpret(module, inputs, context.weights)
        for number in range(len(passes)):
            run_passes(module, context, parse_passes(passes[number]))
            module.verify()
            got = interpret(module, inputs, context.weights)
            for want, have in zip(expected, got, strict=True):
                assert_close(want, have, tolerance, passes[number])
        found = [op for op in module.walk() if isinstance(op, KernelOp)]
        if "fuse-generics" in passes:
            for kernel in found:
                form = form_of(kernel)
                assert isinstance(form, Form), f"{form}\n{kernel}"
        if kernels is not None:
            assert len(found) == kernels, str(module)
        return module

    return check


def assert_close(want: Any, have: Any, tolerance: float, what: str) -> None:
    """Same dtype and shape, equal integers, floats within a relative error."""
    assert want.dtype == have.dtype and want.shape == have.shape, what
    if want.dtype.kind in "biu":
        assert (want == have).all(), what
        return
    a, b = want.astype(np.float64), have.astype(np.float64)
    assert (np.isnan(a) == np.isnan(b)).all(), what
    finite = np.isfinite(a)
    assert (a[~finite & ~np.isnan(a)] == b[~finite & ~np.isnan(a)]).all(), what
    scale = max(1.0, np.abs(a[finite]).max(initial=0))
    assert np.abs(a - b)[finite].max(initial=0) <= tolerance * scale, what
