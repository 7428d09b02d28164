"""TensorFlow, imported once per process and quietly, and the check of one function."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"


@pytest.fixture(scope="session", autouse=True)
def quiet_tensorflow() -> Any:
    """TensorFlow on one thread; the tests are skipped where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf = pytest.importorskip("tensorflow")
        pytest.importorskip("keras")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # another test module was first
        pass
    return tf


Check = Callable[..., None]


@pytest.fixture(scope="session")
def check() -> Check:
    """Compare a function on TensorFlow with its import on the interpreter."""

    def run(
        function: Callable[..., Any],
        *arrays: np.ndarray[Any, Any],
        is_open: bool = False,
        is_last_open: bool = False,
        tolerance: float = 2e-5,
    ) -> None:
        import tensorflow as tf

        from stepwell.dialects.context import StepwellContext
        from stepwell.dialects.registry import register_dialects
        from stepwell.dialects.semantics import interpret
        from stepwell.frontends.tensorflow import import_model

        traced = tf.function(function)
        specs: list[Any] = []
        for index, array in enumerate(arrays):
            dims: list[int | None] = [None if is_open else n for n in array.shape]
            if dims and not is_last_open:
                dims[-1] = array.shape[-1]
            specs.append(tf.TensorSpec(dims, array.dtype, f"x{index}"))
        context = StepwellContext()
        register_dialects(context)
        module = import_model(traced, context, args=specs)
        found = interpret(module, list(arrays), context.weights)
        expected = flat(traced(*map(tf.constant, arrays)))
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_close(ours, theirs, tolerance)

    return run


def flat(results: Any) -> Sequence[np.ndarray[Any, Any]]:
    """The results as arrays; those of a dict in the order of their keys."""
    if isinstance(results, dict):
        return [np.asarray(results[key]) for key in sorted(results)]
    items = results if isinstance(results, list | tuple) else [results]
    return [np.asarray(item) for item in items]


def assert_close(
    ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], tolerance: float
) -> None:
    """Equal types, shapes and NaNs; floats within a tolerance of the largest one."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if ours.dtype.kind != "f":
        np.testing.assert_array_equal(ours, theirs)
        return
    finite = theirs[np.isfinite(theirs)]
    scale = float(np.abs(finite).max(initial=0.0)) or 1.0
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)
