"""Resizes and crops of images against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .cases import FEW, Cases, Draw, Made, floats, ints, raw

CASES = Cases()

KERNELS = (
    *("lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle"),
    *("keyscubic", "mitchellcubic"),
)


def new_sizes(draw: Draw) -> list[int]:
    return [draw(st.integers(1, 11)) for _ in range(2)]


def old_sizes(draw: Draw) -> list[int]:
    return [2, draw(st.integers(1, 9)), draw(st.integers(2, 9)), 3]


def centres(draw: Draw) -> dict[str, bool]:
    """One of the three rules for coordinates."""
    rule = draw(st.sampled_from(["align_corners", "half_pixel_centers", ""]))
    return {rule: True} if rule else {}


@CASES.add("ResizeBilinear", "ResizeNearestNeighbor", last=True)
def resizes(draw: Draw) -> Made:
    x, size, rule = floats(draw, old_sizes(draw)), new_sizes(draw), centres(draw)
    return lambda x: [
        raw("ResizeBilinear")(images=x, size=size, **rule),
        raw("ResizeNearestNeighbor")(images=x, size=size, **rule),
    ], [x]


@CASES.add("resizes to computed sizes", last=True)
def computed_sizes(draw: Draw) -> Made:
    import tensorflow as tf

    x, rule = floats(draw, old_sizes(draw)), centres(draw)

    def run(x: Any) -> list[Any]:
        size = tf.shape(x)[1:3] * 2 + 1
        return [
            raw("ResizeBilinear")(images=x, size=size, **rule),
            raw("ResizeNearestNeighbor")(images=x, size=size, **rule),
        ]

    return run, [x]


@CASES.add("resizes of integers", last=True)
def integer_images(draw: Draw) -> Made:
    import tensorflow as tf

    x, size = ints(draw, old_sizes(draw), 0, 256), new_sizes(draw)

    def run(x: Any) -> list[Any]:
        pixels = tf.cast(x, tf.uint8)
        return [
            raw("ResizeBilinear")(images=pixels, size=size),
            raw("ResizeNearestNeighbor")(images=pixels, size=size),
        ]

    return run, [x]


@CASES.add("ResizeBicubic", "ResizeArea", fixed=True)
def filtered(draw: Draw) -> Made:
    x, size, rule = floats(draw, old_sizes(draw)), new_sizes(draw), centres(draw)
    is_aligned = rule.get("align_corners", False)
    return lambda x: [
        raw("ResizeBicubic")(images=x, size=size, **rule),
        raw("ResizeArea")(images=x, size=size, align_corners=is_aligned),
    ], [x]


@CASES.add("ScaleAndTranslate", fixed=True)
def scaled(draw: Draw) -> Made:
    x, size = floats(draw, old_sizes(draw)), new_sizes(draw)
    kernel = draw(st.sampled_from(KERNELS))
    scale = [draw(st.floats(0.3, 2.0)) for _ in range(2)]
    shift = [draw(st.floats(-1.0, 1.0)) for _ in range(2)]
    is_wide = draw(st.booleans())
    return lambda x: raw("ScaleAndTranslate")(
        images=x,
        size=size,
        scale=np.array(scale, np.float32),
        translation=np.array(shift, np.float32),
        kernel_type=kernel,
        antialias=is_wide,
    ), [x]


@CASES.add("CropAndResize", last=True)
def crops(draw: Draw) -> Made:
    x, boxes = floats(draw, [2, 5, 6, 3]), floats(draw, [4, 4], -0.2, 1.2)
    which, size = ints(draw, [4], 0, 2), new_sizes(draw)
    options = {
        "method": draw(st.sampled_from(["bilinear", "nearest"])),
        "extrapolation_value": 0.5,
    }
    return lambda x, boxes, which: raw("CropAndResize")(
        image=x, boxes=boxes, box_ind=which, crop_size=size, **options
    ), [x, boxes, which]


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_op_agrees_with_tensorflow(name: str, data: Any, check: Any) -> None:
    CASES.run(name, data.draw, check)


@pytest.mark.parametrize(("size", "count"), [(2, 82), (2, 94), (5, 205), (3, 9)])
def test_nearest_elements_are_those_of_arithmetic_in_f32(
    size: int, count: int, check: Any
) -> None:
    """`floor(i * scale)` in f32 is one too low for some `i` of the first three."""
    x = np.arange(size * 2, dtype=np.float32).reshape(1, size, 2, 1)
    check(lambda x: raw("ResizeNearestNeighbor")(images=x, size=[count, 2]), x)


def test_bicubic_of_open_sizes_is_close(check: Any) -> None:
    """TensorFlow rounds positions to a table of 1024 weights; here they are exact."""
    x = np.random.default_rng(0).normal(size=(1, 6, 5, 2)).astype(np.float32)
    options = {"size": [9, 4], "half_pixel_centers": True}
    check(
        lambda x: raw("ResizeBicubic")(images=x, **options),
        x,
        is_open=True,
        tolerance=2e-3,
    )
