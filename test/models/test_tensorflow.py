"""A trained SavedModel beside its own ONNX twin."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

import stepwell
from stepwell.tools.bench.cpu import relative_error, session
from stepwell.tools.models import model_path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("tensorflow")


CALL_ORDER = ("onset", "note", "contour")
"""What the outputs of the ONNX twin are, in its order."""


@pytest.mark.slow
def test_basic_pitch_equals_its_onnx_twin() -> None:
    """TensorFlow's own loader refuses this directory; the judge is the other file."""
    saved = stepwell.build(model_path("basic_pitch_tf"), threads=1)
    twin = stepwell.build(model_path("basic_pitch"), threads=1)
    assert [spec.name for spec in saved.outputs] == ["contour", "note", "onset"]
    times = np.arange(43844) / 22050
    tones = [np.sin(2 * np.pi * f * times) for f in (220.0, 277.2, 329.6, 880.0)]
    audio = (0.2 * np.exp(-times) * sum(tones)).astype(np.float32).reshape(1, -1, 1)
    ours, theirs = saved.run({saved.inputs[0].name: audio}), twin(audio)
    # The twin's outputs are those of the call, in its order.
    wanted = dict(zip(CALL_ORDER, theirs, strict=True))
    assert relative_error(list(ours.values()), [wanted[name] for name in ours]) < 1e-5
    # Logarithms of small powers: f32 itself is no closer than this.
    peer = session(model_path("basic_pitch"), 1)
    judged = peer.run(None, {peer.get_inputs()[0].name: audio})
    assert relative_error(theirs, judged) < 1e-2
