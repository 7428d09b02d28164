"""Most ops of the table against TensorFlow itself, over shapes and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .cases import FEW, Cases, Draw, Made, broadcast_pair, floats, ints, raw, shape_of

CASES = Cases()

UNIT = ("Acos", "Asin", "Atanh")
ABOVE_ONE = ("Acosh",)
POSITIVE = ("Log", "Log1p", "Rsqrt", "Sqrt", "Inv", "Reciprocal")
ANY = (
    *("Abs", "Asinh", "Atan", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Erfc", "Exp"),
    *("Expm1", "Floor", "IsFinite", "IsInf", "IsNan", "Neg", "Relu", "Relu6", "Rint"),
    *("Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign"),
    *("Square", "Tan", "Tanh", "ZerosLike", "OnesLike"),
)


def argument_of(name: str) -> str:
    """How TensorFlow calls the input of a unary op."""
    if name in ("Relu", "Relu6", "Elu", "Selu", "Softplus", "Softsign"):
        return "features"
    return "x"


@CASES.add("unary", *ANY)
def unary(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw))
    return lambda x: [raw(op)(**{argument_of(op): x}) for op in ANY], [x]


@CASES.add("unary of a domain", *UNIT, *ABOVE_ONE, *POSITIVE)
def unary_of_domain(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw), 0.05, 0.95)

    def run(x: Any) -> list[Any]:
        found = [raw(op)(x=x) for op in (*UNIT, *POSITIVE)]
        return [*found, *(raw(op)(x=x + 1.0) for op in ABOVE_ONE)]

    return run, [x]


@CASES.add("special values", fixed=True)
def special_values(draw: Draw) -> Made:
    values = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 3.5]
    x = np.array(values, np.float32)
    ops = ("Abs", "Floor", "Ceil", "Round", "Rint", "IsInf", "IsNan", "IsFinite", "Neg")
    return lambda x: [
        *(raw(op)(x=x) for op in ops),
        raw("Relu")(features=x),
        raw("Maximum")(x=x, y=x[::-1]),
        raw("DivNoNan")(x=x, y=raw("Floor")(x=x)),
    ], [x]


BINARY = (
    *("Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "FloorDiv"),
    *("SquaredDifference", "DivNoNan", "MulNoNan", "FloorMod", "Mod", "TruncateMod"),
    *("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "Atan2"),
)


@CASES.add("binary", *BINARY, "Div", fixed=True)
def binary(draw: Draw) -> Made:
    left, right = broadcast_pair(draw)
    x, y = floats(draw, left), floats(draw, right, 0.3, 2.0)
    sign = draw(st.sampled_from([1, -1]))
    names = [*BINARY, "Div"]
    return lambda x, y: [raw(op)(x=x, y=y) for op in names], [x, sign * y]


@CASES.add("open binary")
def open_binary(draw: Draw) -> Made:
    """Open dims count as equal where nothing else is known of them."""
    x = floats(draw, shape_of(draw))
    return lambda x, y: [raw(op)(x=x, y=y) for op in ("AddV2", "FloorDiv")], [x, x + 9]


@CASES.add("binary of positive numbers", "Pow", "Xlogy", "Xlog1py", "Xdivy", fixed=True)
def binary_of_positive(draw: Draw) -> Made:
    left, right = broadcast_pair(draw)
    x, y = floats(draw, left, 0.1, 2.0), floats(draw, right, 0.1, 2.0)
    names = ("Pow", "Xlogy", "Xlog1py", "Xdivy")
    return lambda x, y: [raw(op)(x=x, y=y) for op in names], [x, y]


INTEGER = (
    *("AddV2", "Sub", "Mul", "FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod"),
    *("Maximum", "Minimum", "Less", "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor"),
)


@CASES.add("integers", *INTEGER, "Invert", fixed=True)
def integers(draw: Draw) -> Made:
    left, right = broadcast_pair(draw)
    x, y = ints(draw, left, -20, 21), ints(draw, right)
    y = np.where(y == 0, 3, y).astype(np.int32)
    return lambda x, y: [*(raw(op)(x=x, y=y) for op in INTEGER), raw("Invert")(x=x)], [
        x,
        y,
    ]


@CASES.add("LogicalAnd", "LogicalOr", "LogicalNot", "Select", "SelectV2")
def logic(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw))

    def run(x: Any) -> list[Any]:
        a, b = x > 0.5, x < 1.0
        both = raw("LogicalAnd")(x=a, y=b)
        return [
            both,
            raw("LogicalOr")(x=a, y=b),
            raw("LogicalNot")(x=a),
            raw("SelectV2")(condition=both, t=x, e=-x),
            raw("Select")(condition=both, x=x, y=x * 2.0),
            raw("Equal")(x=x, y=1.0, incompatible_shape_error=False),
        ]

    return run, [x]


@CASES.add("rows by Select")
def select_rows(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw, 2, 3))
    condition = floats(draw, x.shape[:1])
    return lambda c, x: raw("Select")(condition=c > 0, x=x, y=-x), [condition, x]


@CASES.add(
    "AddN", "AccumulateNV2", "LeakyRelu", "ClipByValue", "ApproximateEqual", fixed=True
)
def several(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw))
    alpha = draw(st.floats(0.01, 0.5))

    def run(x: Any) -> list[Any]:
        return [
            raw("AddN")(inputs=[x, x * 2.0, x * x]),
            raw("AccumulateNV2")(inputs=[x, x], shape=x.shape),
            raw("LeakyRelu")(features=x, alpha=alpha),
            raw("ClipByValue")(t=x, clip_value_min=-0.5, clip_value_max=1.0),
            raw("ClipByValue")(t=x, clip_value_min=x - 0.1, clip_value_max=x),
            raw("ApproximateEqual")(x=x, y=x * 1.1, tolerance=0.1),
        ]

    return run, [x]


@CASES.add("BiasAdd", last=True)
def bias_add(draw: Draw) -> Made:
    shape = shape_of(draw, 4, 4)
    is_last = draw(st.booleans())
    x, bias = floats(draw, shape), floats(draw, [shape[3 if is_last else 1]])
    layout = "NHWC" if is_last else "NCHW"
    return lambda x, b: raw("BiasAdd")(value=x, bias=b, data_format=layout), [x, bias]


@CASES.add("Cast")
def cast(draw: Draw) -> Made:
    import tensorflow as tf

    kinds = ("int32", "int64", "float16", "bfloat16", "float64", "uint8", "bool")
    x = floats(draw, shape_of(draw), 0.0, 9.0)

    def run(x: Any) -> list[Any]:
        narrow = [raw("Cast")(x=x, DstT=tf.as_dtype(kind)) for kind in kinds]
        return [raw("Cast")(x=each, DstT=tf.float32) for each in narrow]

    return run, [x]


@CASES.add("Bitcast")
def bitcast(draw: Draw) -> Made:
    import tensorflow as tf

    x = floats(draw, shape_of(draw))
    return lambda x: raw("Bitcast")(input=x, type=tf.int32), [x]


@CASES.add("MatMul")
def matmul(draw: Draw) -> Made:
    m, k, n = (draw(st.integers(1, 6)) for _ in range(3))
    a_is, b_is = draw(st.booleans()), draw(st.booleans())
    a = floats(draw, [k, m] if a_is else [m, k])
    b = floats(draw, [n, k] if b_is else [k, n])
    return lambda a, b: raw("MatMul")(a=a, b=b, transpose_a=a_is, transpose_b=b_is), [
        a,
        b,
    ]


@CASES.add("BatchMatMulV2", "BatchMatMul", "BatchMatMulV3")
def batch_matmul(draw: Draw) -> Made:
    import tensorflow as tf

    batch = shape_of(draw, 1, 2, 3)
    m, k, n = (draw(st.integers(1, 5)) for _ in range(3))
    a_is, b_is = draw(st.booleans()), draw(st.booleans())
    a = floats(draw, [*batch, *([k, m] if a_is else [m, k])])
    b = floats(draw, [*batch, *([n, k] if b_is else [k, n])])

    def run(a: Any, b: Any) -> list[Any]:
        flags = {"adj_x": a_is, "adj_y": b_is}
        return [
            raw("BatchMatMulV2")(x=a, y=b, **flags),
            raw("BatchMatMul")(x=a, y=b, **flags),
            raw("BatchMatMulV3")(x=a, y=b, Tout=tf.float32, **flags),
        ]

    return run, [a, b]


@CASES.add("Einsum")
def einsum(draw: Draw) -> Made:
    b, h, q, k, d = (draw(st.integers(1, 4)) for _ in range(5))
    x, y = floats(draw, [b, q, h, d]), floats(draw, [b, k, h, d])
    equation = draw(
        st.sampled_from(["aecd,abcd->acbe", "abcd,aecd->acbe", "...d,...d->..."])
    )
    if "..." in equation:
        y = floats(draw, x.shape)
    return lambda x, y: raw("Einsum")(inputs=[x, y], equation=equation), [x, y]


def paddings(draw: Draw) -> dict[str, Any]:
    mode = draw(st.sampled_from(["SAME", "VALID", "EXPLICIT"]))
    if mode != "EXPLICIT":
        return {"padding": mode}
    pads = [0, 0, *(draw(st.integers(0, 2)) for _ in range(4)), 0, 0]
    return {"padding": mode, "explicit_paddings": pads}


@CASES.add("Conv2D", last=True)
def conv2d(draw: Draw) -> Made:
    groups = draw(st.sampled_from([1, 1, 2]))
    c, o = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    x = floats(draw, [draw(st.integers(1, 2)), 9, 8, c])
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    w = floats(draw, [*kernel, c // groups, o])
    stride = draw(st.integers(1, 2))
    dilation = 1 if stride > 1 else draw(st.integers(1, 2))
    options = {
        "strides": [1, stride, stride, 1],
        "dilations": [1, dilation, dilation, 1],
        **paddings(draw),
    }
    return lambda x: raw("Conv2D")(input=x, filter=w, **options), [x]


@CASES.add("DepthwiseConv2dNative", last=True)
def depthwise(draw: Draw) -> Made:
    c, times = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    x, w = floats(draw, [2, 7, 8, c]), floats(draw, [3, 2, c, times])
    stride = draw(st.integers(1, 2))
    options = {"strides": [1, stride, stride, 1], **paddings(draw)}
    return lambda x: raw("DepthwiseConv2dNative")(input=x, filter=w, **options), [x]


@CASES.add("Conv3D", "Conv3DBackpropInputV2", "MaxPool3D", "AvgPool3D", fixed=True)
def conv3d(draw: Draw) -> Made:
    c, o = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x, w = floats(draw, [1, 5, 4, 6, c]), floats(draw, [2, 3, 2, c, o])
    mode = draw(st.sampled_from(["SAME", "VALID"]))
    ones, twos = [1] * 5, [1, 2, 2, 2, 1]

    def run(x: Any) -> list[Any]:
        y = raw("Conv3D")(input=x, filter=w, strides=ones, padding=mode)
        back = raw("Conv3DBackpropInputV2")(
            input_sizes=x.shape, filter=w, out_backprop=y, strides=ones, padding=mode
        )
        window = {"ksize": twos, "strides": twos, "padding": mode}
        return [
            y,
            back,
            raw("MaxPool3D")(input=x, **window),
            raw("AvgPool3D")(input=x, **window),
        ]

    return run, [x]


@CASES.add("Conv2DBackpropInput", last=True)
def conv_transpose(draw: Draw) -> Made:
    c, o, stride = (draw(st.integers(1, 3)) for _ in range(3))
    mode = draw(st.sampled_from(["SAME", "VALID"]))
    kernel = draw(st.integers(2, 4))
    y, w = floats(draw, [2, 4, 3, c]), floats(draw, [kernel, kernel, o, c])
    extra = 0 if mode == "SAME" else max(kernel - stride, 0)
    sizes = [2, 4 * stride + extra, 3 * stride + extra, o]
    return lambda y: raw("Conv2DBackpropInput")(
        input_sizes=sizes,
        filter=w,
        out_backprop=y,
        strides=[1, stride, stride, 1],
        padding=mode,
    ), [y]


@CASES.add("MaxPool", "MaxPoolV2", "AvgPool", last=True)
def pools(draw: Draw) -> Made:
    x = floats(draw, [2, draw(st.integers(4, 9)), 7, 3])
    size, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    mode = draw(st.sampled_from(["SAME", "VALID"]))
    ksize, strides = [1, size, size + 1, 1], [1, stride, stride, 1]
    window = {"ksize": ksize, "strides": strides, "padding": mode}
    around = {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 0, 0, 0, 1, 0, 0]}
    return lambda x: [
        raw("MaxPool")(input=x, **window),
        raw("MaxPool")(input=x, ksize=ksize, strides=strides, **around),
        raw("MaxPoolV2")(input=x, **window),
        raw("AvgPool")(value=x, **window),
    ], [x]


@CASES.add("FusedBatchNormV3", "FusedBatchNorm", "FusedBatchNormV2", last=True)
def fused_batch_norm(draw: Draw) -> Made:
    c = draw(st.integers(1, 4))
    x = floats(draw, [2, 3, 4, c])
    statistics = {
        "scale": floats(draw, [c]),
        "offset": floats(draw, [c]),
        "mean": floats(draw, [c]),
        "variance": floats(draw, [c], 0.3, 2.0),
    }
    names = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
    return lambda x: [
        raw(op)(x=x, epsilon=0.01, is_training=False, **statistics)[0] for op in names
    ], [x]


@CASES.add("batch norm of Keras", last=True)
def keras_batch_norm(draw: Draw) -> Made:
    import tensorflow as tf

    c = draw(st.integers(1, 4))
    x = floats(draw, [2, 3, c])
    mean, variance = floats(draw, [c]), floats(draw, [c], 0.3, 2.0)
    beta = floats(draw, [c]) if draw(st.booleans()) else None
    gamma = floats(draw, [c]) if draw(st.booleans()) else None
    return lambda x: tf.nn.batch_normalization(x, mean, variance, beta, gamma, 0.001), [
        x
    ]


@CASES.add("Softmax", "LogSoftmax", "L2Loss")
def softmax(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw, 2, 3))
    return lambda x: [
        raw("Softmax")(logits=x),
        raw("LogSoftmax")(logits=x),
        raw("L2Loss")(t=x),
    ], [x]


@CASES.add("LRN", last=True)
def local_response(draw: Draw) -> Made:
    x = floats(draw, [2, 3, 4, draw(st.integers(1, 6))])
    options = {
        "depth_radius": draw(st.integers(1, 3)),
        "bias": 1.5,
        "alpha": 0.3,
        "beta": 0.6,
    }
    return lambda x: raw("LRN")(input=x, **options), [x]


REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "EuclideanNorm")


@CASES.add("reductions", *REDUCTIONS, "All", "Any")
def reductions(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw, 1, 4))
    axes = draw(st.lists(st.integers(-x.ndim, x.ndim - 1), max_size=x.ndim))
    axes = sorted({axis % x.ndim for axis in axes})
    keep = {"axis": np.array(axes, np.int32), "keep_dims": draw(st.booleans())}

    def run(x: Any) -> list[Any]:
        found = [raw(op)(input=x, **keep) for op in REDUCTIONS]
        return [*found, *(raw(op)(input=x > 0, **keep) for op in ("All", "Any"))]

    return run, [x]


@CASES.add("ArgMax", "ArgMin", "Cumsum", "Cumprod")
def along_axis(draw: Draw) -> Made:
    import tensorflow as tf

    x = floats(draw, shape_of(draw, 1, 3))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    flags = {"exclusive": draw(st.booleans()), "reverse": draw(st.booleans())}
    return lambda x: [
        raw("ArgMax")(input=x, dimension=axis),
        raw("ArgMin")(input=x, dimension=axis, output_type=tf.int32),
        raw("Cumsum")(x=x, axis=axis, **flags),
        raw("Cumprod")(x=x, axis=axis, **flags),
    ], [x]


@CASES.add("TopKV2")
def top_k(draw: Draw) -> Made:
    x = floats(draw, [2, draw(st.integers(3, 6))])
    count = draw(st.integers(1, 3))
    return lambda x: list(raw("TopKV2")(input=x, k=count)), [x]


@CASES.add("Shape", "ShapeN", "Size", "Rank")
def shapes(draw: Draw) -> Made:
    import tensorflow as tf

    x, y = floats(draw, shape_of(draw)), floats(draw, shape_of(draw))
    return lambda x, y: [
        raw("Shape")(input=x),
        *raw("ShapeN")(input=[x, y], out_type=tf.int64),
        raw("Size")(input=x),
        raw("Rank")(input=x),
        raw("Prod")(input=raw("Shape")(input=x), axis=[0]),
    ], [x, y]


@CASES.add("Reshape", "Squeeze", "ExpandDims", "Transpose")
def views(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw, 2, 3))
    axis = draw(st.integers(-x.ndim - 1, x.ndim))
    perm = draw(st.permutations(range(x.ndim)))

    def run(x: Any) -> list[Any]:
        wide = raw("ExpandDims")(input=x, axis=axis)
        first = raw("StridedSlice")(
            input=raw("Shape")(input=x), begin=[0], end=[1], strides=[1]
        )
        rows = raw("ConcatV2")(values=[first, [-1]], axis=0)
        return [
            wide,
            raw("Squeeze")(input=wide, axis=[axis]),
            raw("Reshape")(tensor=x, shape=rows),
            raw("Transpose")(x=x, perm=perm),
        ]

    return run, [x]


@CASES.add("arithmetic on shapes")
def shape_arithmetic(draw: Draw) -> Made:
    import tensorflow as tf

    n, h = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    x = floats(draw, [n, h, 4])

    def run(x: Any) -> list[Any]:
        dims = tf.shape(x)
        half = dims[1] // 2
        even = tf.maximum(half, 1) * 2
        return [
            tf.reshape(x, [dims[0] * dims[1], 2, -1]),
            x[:, :half],
            tf.zeros(tf.stack([dims[0], even])) + 1.0,
            tf.broadcast_to(x[:, :1], dims),
            tf.cast(tf.range(dims[1]), tf.float32),
            tf.tile(x, [1, 2, 1]),
        ]

    return run, [x]


@CASES.add("BroadcastTo", "Tile", "Fill", "BroadcastArgs", fixed=True)
def repeats(draw: Draw) -> Made:
    whole, part = broadcast_pair(draw)
    x = floats(draw, part)
    times = [draw(st.integers(1, 3)) for _ in part]
    return lambda x: [
        raw("BroadcastTo")(input=x, shape=whole),
        raw("Tile")(input=x, multiples=times),
        raw("Fill")(dims=whole, value=x[(0,) * len(part)]),
        raw("BroadcastTo")(
            input=x, shape=raw("BroadcastArgs")(s0=raw("Shape")(input=x), s1=whole)
        ),
    ], [x]


@CASES.add("Range", "LinSpace", fixed=True)
def ranges(draw: Draw) -> Made:
    start, count, step = draw(st.integers(-3, 3)), draw(st.integers(1, 5)), 2
    x = floats(draw, [3])
    return lambda x: [
        raw("Range")(start=start, limit=start + count, delta=step) + 0,
        raw("Range")(start=0.5, limit=2.5, delta=0.5) + x[0],
        raw("LinSpace")(start=0.0, stop=1.0, num=count) + x[0],
    ], [x]


@CASES.add("range of a dim")
def range_of_dim(draw: Draw) -> Made:
    import tensorflow as tf

    x = floats(draw, [draw(st.integers(1, 7))])
    return lambda x: [
        tf.range(tf.shape(x)[0]),
        tf.range(1, tf.shape(x)[0] + 3, 2),
        x * tf.cast(tf.range(tf.shape(x)[0], 0, -1), tf.float32),
    ], [x]


@CASES.add("ConcatV2", "Concat", "Pack", "Unpack", "Split", "SplitV", fixed=True)
def joins(draw: Draw) -> Made:
    shape = [2 * dim for dim in shape_of(draw, 1, 3, 3)]
    axis = draw(st.integers(0, len(shape) - 1))
    x, y = floats(draw, shape), floats(draw, shape)
    size = shape[axis]

    def run(x: Any, y: Any) -> list[Any]:
        joined = raw("ConcatV2")(values=[x, y], axis=axis)
        stacked = raw("Pack")(values=[x, y], axis=axis)
        return [
            joined,
            raw("Concat")(concat_dim=axis, values=[x, y]),
            stacked,
            *raw("Unpack")(value=stacked, num=2, axis=axis),
            *raw("Split")(axis=axis, value=x, num_split=2),
            *raw("SplitV")(value=x, size_splits=[1, -1], axis=axis, num_split=2),
            raw("Pack")(values=[size, 1], axis=0),
        ]

    return run, [x, y]


@CASES.add("StridedSlice", "Slice", fixed=True)
def slices(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw, 3, 3, 6))
    low, high = draw(st.integers(-4, 3)), draw(st.integers(-3, 6))
    step = draw(st.sampled_from([1, 2, -1, -2]))
    first = draw(st.integers(-x.shape[0], x.shape[0] - 1))
    return lambda x: [
        x[:, low:high],
        x[..., ::step],
        x[first],
        x[:, None, ..., -1],
        x[::step, ..., None],
        raw("Slice")(input=x, begin=[0, 0, 0], size=[-1, 1, -1]),
    ], [x]


@CASES.add("open slices")
def open_slices(draw: Draw) -> Made:
    x = floats(draw, [draw(st.integers(2, 4)), draw(st.integers(3, 6)), 2])
    return lambda x: [x[1:], x[:, -1], x[:, 1:-1], x[..., ::-1], x[:, :2], x[0]], [x]


@CASES.add("Pad", "PadV2", "MirrorPad")
def pads(draw: Draw) -> Made:
    x = floats(draw, [3, 4])
    rows = [[draw(st.integers(0, 2)), draw(st.integers(0, 2))] for _ in range(2)]
    return lambda x: [
        raw("Pad")(input=x, paddings=rows),
        raw("PadV2")(input=x, paddings=rows, constant_values=0.5),
        raw("MirrorPad")(input=x, paddings=rows, mode="REFLECT"),
        raw("MirrorPad")(input=x, paddings=rows, mode="SYMMETRIC"),
    ], [x]


@CASES.add("ReverseV2", "ReverseSequence", "Roll", fixed=True)
def rolls(draw: Draw) -> Made:
    x = floats(draw, [3, 4, 2])
    lengths = np.array([1, 4, 2], np.int32)
    shift = draw(st.integers(-5, 5))
    return lambda x: [
        raw("ReverseV2")(tensor=x, axis=[0, -1]),
        raw("ReverseSequence")(input=x, seq_lengths=lengths, seq_dim=1, batch_dim=0),
        raw("Roll")(input=x, shift=[shift, 1], axis=[1, 0]),
    ], [x]


@CASES.add("SpaceToBatchND", "BatchToSpaceND", last=True)
def batches(draw: Draw) -> Made:
    block = [draw(st.integers(1, 3)), draw(st.integers(1, 2))]
    x = floats(draw, [2, 6, 4, 3])
    y = floats(draw, [block[0] * block[1] * 2, 3, 2, 2])
    low = draw(st.integers(0, 1)) * block[0]
    return lambda x, y: [
        raw("SpaceToBatchND")(
            input=x,
            block_shape=block,
            paddings=[[low, block[0] - 6 % block[0]], [0, 0]],
        )
        if (6 + low + block[0] - 6 % block[0]) % block[0] == 0
        else x,
        raw("BatchToSpaceND")(input=y, block_shape=block, crops=[[1, 0], [0, 1]]),
    ], [x, y]


@CASES.add("DepthToSpace", "SpaceToDepth", last=True)
def blocks(draw: Draw) -> Made:
    x = floats(draw, [2, 4, 6, 8])
    return lambda x: [
        raw("DepthToSpace")(input=x, block_size=2),
        raw("SpaceToDepth")(input=x, block_size=2),
    ], [x]


@CASES.add("GatherV2", "Gather", "GatherNd", last=True)
def gathers(draw: Draw) -> Made:
    x = floats(draw, [3, 4, 5])
    indices = ints(draw, shape_of(draw, 1, 2), 0, 3)
    rows = ints(draw, [3, 2], 0, 4)
    tuples = ints(draw, [2, 2], 0, 3)
    return lambda x, i, r, t: [
        raw("GatherV2")(params=x, indices=i, axis=draw_axis(i)),
        raw("Gather")(params=x, indices=i),
        raw("GatherV2")(params=x, indices=r, axis=1, batch_dims=1),
        raw("GatherNd")(params=x, indices=t),
    ], [x, indices, rows, tuples]


def draw_axis(indices: Any) -> int:
    """One axis or the other, by the rank of the indices."""
    return 1 if len(indices.shape) == 1 else 2


@CASES.add("OneHot")
def one_hot(draw: Draw) -> Made:
    indices = ints(draw, shape_of(draw, 1, 2), -1, 5)
    axis = draw(st.sampled_from([-1, 0, 1]))
    return lambda i: raw("OneHot")(
        indices=i, depth=4, on_value=2.0, off_value=-1.0, axis=axis
    ), [indices]


SCATTERS = ("Update", "Add", "Sub", "Max", "Min")


@CASES.add(
    "ScatterNd",
    *(f"TensorScatter{kind}" for kind in SCATTERS),
    last=True,
)
def scatters(draw: Draw) -> Made:
    x, updates = floats(draw, [5, 3]), floats(draw, [2, 3])
    where = np.array(draw(st.permutations(range(5)))[:2], np.int32).reshape(2, 1)

    def run(x: Any, i: Any, u: Any) -> list[Any]:
        found = [
            raw(f"TensorScatter{kind}")(tensor=x, indices=i, updates=u)
            for kind in SCATTERS
        ]
        return [
            *found,
            raw("ScatterNd")(indices=i, updates=u, shape=[6, 3]),
        ]

    return run, [x, where, updates]


@CASES.add("InvertPermutation", fixed=True)
def permutations(draw: Draw) -> Made:
    perm = np.array(draw(st.permutations(range(5))), np.int32)
    return lambda p: raw("InvertPermutation")(x=p), [perm]


@CASES.add("Where")
def where(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw, 1, 3))
    return lambda x: raw("Where")(condition=x > 0.3), [x]


@CASES.add(
    *("Identity", "IdentityN", "StopGradient", "PreventGradient", "Snapshot"),
    *("CheckNumerics", "EnsureShape", "PlaceholderWithDefault"),
    fixed=True,
)
def identities(draw: Draw) -> Made:
    x = floats(draw, shape_of(draw))
    return lambda x: [
        raw("Identity")(input=x),
        *raw("IdentityN")(input=[x, x]),
        raw("StopGradient")(input=x),
        raw("PreventGradient")(input=x),
        raw("Snapshot")(input=x),
        raw("CheckNumerics")(tensor=x, message="x"),
        raw("EnsureShape")(input=x, shape=x.shape),
        raw("PlaceholderWithDefault")(input=x, shape=x.shape),
    ], [x]


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_op_agrees_with_tensorflow(name: str, data: Any, check: Any) -> None:
    CASES.run(name, data.draw, check)
