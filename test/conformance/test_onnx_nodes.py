"""ONNX's own test suite through its own runner, on the engine and the interpreter.

`excludes.toml` lists what is left out and why. A case whose name matches nothing there
must pass. `tools/bench/conformance.py` counts the same cases by op.
"""

from __future__ import annotations

import unittest
import warnings

import onnx.backend.test
import pytest

from stepwell.errors import OptionError
from stepwell.onnx_backend import ReferenceBackend, StepwellBackend
from stepwell.tools.bench import onnx_cases


def suite(
    backend: type[StepwellBackend], executor: str
) -> dict[str, type[unittest.TestCase]]:
    """The test classes of ONNX's runner, named after the executor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the reference code of the cases
        tests = onnx.backend.test.BackendTest(backend, __name__)
    for pattern in onnx_cases.load_excludes(executor):
        tests.exclude(f"^{pattern}_cpu$")
    classes = tests.test_cases
    del classes["OnnxBackendRealModelTest"]  # the light networks: see test/models
    for kind in classes.values():
        for name in [name for name in vars(kind) if name.endswith("_cuda")]:
            delattr(kind, name)
    return {f"{executor.title()}{name}": kind for name, kind in classes.items()}


globals().update(suite(ReferenceBackend, "reference"))
globals().update(suite(StepwellBackend, "engine"))


def test_every_exclude_matches_a_case_and_gives_a_reason() -> None:
    names = [case.name for _, case in onnx_cases.cases()]
    for executor in ("reference", "engine"):
        excludes = onnx_cases.load_excludes(executor)
        assert all(len(reason) > 20 for reason in excludes.values())
        unused = [
            pattern
            for pattern in excludes
            if not any(onnx_cases.excluded(name, {pattern: "why"}) for name in names)
        ]
        assert not unused


def test_a_device_that_is_not_there_is_refused() -> None:
    _, case = next(onnx_cases.cases(["simple"]))
    with pytest.raises(OptionError, match="expected device CPU"):
        StepwellBackend.prepare(case.model, "CUDA")
