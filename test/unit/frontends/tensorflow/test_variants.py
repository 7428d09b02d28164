"""Layouts and element types that the cases of single ops leave out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from .cases import Array, raw
from .test_import import run

pytestmark = pytest.mark.filterwarnings("ignore")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 7, 8, 4)).astype(np.float32)
CHANNEL = RANDOM.uniform(0.5, 1.5, (4, 4)).astype(np.float32)

Apply = Callable[[Any, str], Any]


def weight(kind: Sequence[int]) -> Array:
    return np.random.default_rng(1).normal(size=kind).astype(np.float32)


def inner(layout: str, *sizes: int) -> list[int]:
    """An attribute of four entries, from those of the spatial dims."""
    return [1, *sizes, 1] if layout == "NHWC" else [1, 1, *sizes]


def window(layout: str) -> dict[str, Any]:
    sizes, strides = inner(layout, 2, 3), inner(layout, 2, 1)
    same = {"padding": "SAME", "data_format": layout}
    return {"ksize": sizes, "strides": strides, **same}


def convolution(name: str, kind: Sequence[int], padding: str) -> Apply:
    w = weight(kind)

    def apply(x: Any, layout: str) -> Any:
        options: dict[str, Any] = {"padding": padding, "data_format": layout}
        if padding == "EXPLICIT":
            pads = [0, 0, 1, 2, 0, 1, 0, 0]
            order = pads if layout == "NHWC" else [0, 0, 0, 0, *pads[2:6]]
            options["explicit_paddings"] = order
        strides = inner(layout, 2, 2)
        return raw(name)(input=x, filter=w, strides=strides, **options)

    return apply


def transposed(x: Any, layout: str) -> Any:
    w = weight([3, 3, 5, 4])
    sizes = [2, 14, 16, 5] if layout == "NHWC" else [2, 5, 14, 16]
    options = {"padding": "SAME", "data_format": layout}
    strides = inner(layout, 2, 2)
    return raw("Conv2DBackpropInput")(
        input_sizes=sizes, filter=w, out_backprop=x, strides=strides, **options
    )


def norm(x: Any, layout: str) -> Any:
    names = ("scale", "offset", "mean", "variance")
    given = dict(zip(names, CHANNEL, strict=True))
    options = {"is_training": False, "data_format": layout}
    return raw("FusedBatchNormV3")(x=x, **given, **options)[0]


LAYOUTS: dict[str, Apply] = {
    "Conv2D SAME": convolution("Conv2D", [3, 2, 4, 5], "SAME"),
    "Conv2D EXPLICIT": convolution("Conv2D", [3, 2, 2, 6], "EXPLICIT"),
    "DepthwiseConv2dNative": convolution("DepthwiseConv2dNative", [2, 3, 4, 2], "SAME"),
    "Conv2DBackpropInput": transposed,
    "MaxPool": lambda x, layout: raw("MaxPool")(input=x, **window(layout)),
    "AvgPool": lambda x, layout: raw("AvgPool")(value=x, **window(layout)),
    "FusedBatchNormV3": norm,
    "BiasAdd": lambda x, layout: raw("BiasAdd")(
        value=x, bias=CHANNEL[0], data_format=layout
    ),
    "DepthToSpace": lambda x, layout: raw("DepthToSpace")(
        input=x, block_size=2, data_format=layout
    ),
    "SpaceToDepth": lambda x, layout: raw("SpaceToDepth")(
        input=raw("Pad")(input=x, paddings=one_row_more(layout)),
        block_size=2,
        data_format=layout,
    ),
}


def one_row_more(layout: str) -> list[list[int]]:
    """Pads that make the 7 rows of an image even."""
    rows = [[0, 0]] * 4
    rows[1 if layout == "NHWC" else 2] = [0, 1]
    return rows


@pytest.mark.parametrize("name", LAYOUTS)
def test_channels_first(name: str) -> None:
    """TensorFlow runs most of these ops with channels last only on a CPU."""
    import tensorflow as tf

    apply = LAYOUTS[name]
    expected = np.transpose(apply(tf.constant(X), "NHWC"), (0, 3, 1, 2))
    spec = tf.TensorSpec([None, 4, 7, 8], tf.float32)
    function = tf.function(lambda x: apply(x, "NCHW"))
    (found,) = run(function, np.transpose(X, (0, 3, 1, 2)), args=[spec])
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


KINDS = ("float16", "bfloat16", "float64", "int8", "int32", "int64", "uint8")


def arithmetic(x: Any, y: Any) -> list[Any]:
    """What TensorFlow has in all numeric types."""
    names = ("AddV2", "Sub", "Mul", "Maximum", "Minimum", "Less", "Equal")
    binary = [raw(name)(x=x, y=y) for name in names]
    return [
        *binary,
        raw("Cast")(x=x, DstT=np.int64),
        raw("Square")(x=x),
        raw("Relu")(features=x),
        raw("SelectV2")(condition=x > y, t=x, e=y),
        *(raw(name)(input=x, axis=[1]) for name in ("Max", "Min", "Sum", "Prod")),
        raw("ConcatV2")(values=[x, y], axis=1),
        raw("Pack")(values=[x, y], axis=0),
        raw("Pad")(input=x, paddings=[[1, 0], [0, 2]]),
        raw("Tile")(input=x, multiples=[2, 1]),
        raw("Transpose")(x=x, perm=[1, 0]),
        raw("GatherV2")(params=x, indices=[2, 0], axis=1),
        raw("ReverseV2")(tensor=x, axis=[1]),
        raw("StridedSlice")(input=x, begin=[0, 3], end=[2, 0], strides=[1, -2]),
        raw("Fill")(dims=[2, 3], value=x[0, 0]),
        raw("ZerosLike")(x=x),
        raw("ArgMax")(input=x, dimension=1),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_element_types(kind: str, check: Any) -> None:
    import ml_dtypes

    dtype = ml_dtypes.bfloat16 if kind == "bfloat16" else np.dtype(kind)
    x, y = (RANDOM.integers(0, 4, (2, 4)).astype(dtype) for _ in range(2))
    check(arithmetic, x, y, is_open=True)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64", "int32"])
def test_products_of_element_types(kind: str, check: Any) -> None:
    import ml_dtypes

    dtype = ml_dtypes.bfloat16 if kind == "bfloat16" else np.dtype(kind)
    x = RANDOM.integers(-3, 4, (3, 4)).astype(dtype)

    def run(x: Any) -> list[Any]:
        swapped = raw("MatMul")(a=x, b=x, transpose_b=True)
        return [swapped, raw("BatchMatMulV2")(x=x[None], y=x[None], adj_x=True)]

    check(run, x)


def test_booleans(check: Any) -> None:
    import tensorflow as tf

    def run(x: Any) -> list[Any]:
        a, b = x > 0.0, x < 0.5
        return [
            raw("Equal")(x=a, y=b),
            raw("SelectV2")(condition=a, t=b, e=a),
            raw("Transpose")(x=a, perm=[1, 0]),
            raw("ConcatV2")(values=[a, b], axis=0),
            raw("Cast")(x=a, DstT=tf.int32),
            raw("Any")(input=a, axis=[0], keep_dims=True),
            raw("StridedSlice")(input=a, begin=[0, 0], end=[2, 4], strides=[1, 2]),
        ]

    check(run, RANDOM.normal(size=(2, 4)).astype(np.float32))
