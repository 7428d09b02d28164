"""Trained models and light networks as CPU engines, judged by onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

import stepwell
from stepwell.tools.bench.cases import CASES, Case
from stepwell.tools.bench.cpu import relative_error, session

# What builds in a few seconds; `tools/bench/cpu.py` runs all of CASES.
SMALL = (
    "onet",
    "rnet",
    "pnet",
    "magika",
    "silero-vad 16k sequence",
    "silero-vad op18",
    "light squeezenet",
)
SELECTED = [case for case in CASES if case.name in SMALL]


@pytest.mark.parametrize("case", SELECTED, ids=lambda case: case.name)
def test_one_engine_agrees_with_onnxruntime_at_every_size(case: Case) -> None:
    engine = stepwell.build(case.path(), shapes=case.shapes)
    peer = session(case.path(), 1)
    names = [output.name for output in peer.get_outputs()]
    for size in case.sizes:
        feeds = case.inputs(size)
        ours = engine.run(feeds)
        theirs = [np.asarray(value) for value in peer.run(names, feeds)]
        error = relative_error([ours[name] for name in names], theirs)
        assert error <= case.tolerance, size.label


def test_relative_error_never_passes_nan_or_another_shape() -> None:
    one = np.ones(3)
    assert relative_error([one], [one]) == 0
    assert relative_error([np.array([1, np.nan, 1])], [one]) == np.inf
    assert relative_error([one], [np.array([1, np.nan, 1])]) == np.inf
    assert relative_error([np.ones(2)], [one]) == np.inf
    assert relative_error([one], [np.array([1, 1, np.inf])]) == np.inf
    infinite = np.array([1, -np.inf])
    assert relative_error([infinite], [infinite]) == 0
