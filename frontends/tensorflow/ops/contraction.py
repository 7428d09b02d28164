"""Products: matrix multiplication, convolution, einsum. NHWC stays NHWC."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, dims_of
from stepwell.frontends.emit import reshape, transpose, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Output, Rule
from stepwell.frontends.windows import same_pads


def matmul(node: Node) -> Operation:
    """A product of matrices, either transposed if asked for."""
    a = swapped(node.x(0), node.attribute("transpose_a"))
    b = swapped(node.x(1), node.attribute("transpose_b"))
    return nn.MatmulOp(a, b)


def batch_matmul(node: Node) -> Operation:
    """Products of stacks of matrices, either side transposed if asked for."""
    a = swapped(node.x(0), node.attribute("adj_x"))
    b = swapped(node.x(1), node.attribute("adj_y"))
    return nn.MatmulOp(a, b)


def swapped(x: SSAValue, wanted: bool) -> SSAValue:
    """`x`, its last two dims swapped if `wanted`."""
    rank = len(dims_of(x))
    return transpose(x, [*range(rank - 2), rank - 1, rank - 2]) if wanted else x


def einsum(node: Node) -> Operation:
    """Sums of products by index letters."""
    return nn.EinsumOp(*node.all_x(), equation=node.attribute("equation"))


def is_channels_last(node: Node) -> bool:
    """Whether the channels are the last dim."""
    return node.attribute("data_format") in ("NHWC", "NDHWC", "NWC")


def spatial(node: Node, name: str) -> list[int]:
    """The entries of a list attribute that belong to the spatial dims.

    Those of batch and channels must be 1.
    """
    given = [int(each) for each in node.attribute(name)]
    inner = given[1:-1] if is_channels_last(node) else given[2:]
    outer = [given[0], given[-1] if is_channels_last(node) else given[1]]
    if outer != [1, 1]:
        raise node.unsupported(f"{name} {given} over batch or channels")
    return inner


def window_pads(
    node: Node,
    sizes: Sequence[Dim],
    kernel: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[Dim]:
    """Low pads, then high pads, from the attribute `padding`."""
    match node.attribute("padding"):
        case "SAME":
            return same_pads(sizes, kernel, strides, dilations)
        case "EXPLICIT":
            pads = node.attribute("explicit_paddings")
            first = 2 if is_channels_last(node) else 4
            stretch = pads[first : first + 2 * len(kernel)]
            return [*stretch[0::2], *stretch[1::2]]
        case _:
            return [0] * (2 * len(kernel))


def spatial_dims(node: Node, dims: Sequence[Dim]) -> Sequence[Dim]:
    """The spatial ones of the dims of an activation."""
    return dims[1:-1] if is_channels_last(node) else dims[2:]


def convolution(node: Node) -> Operation:
    """Convolution; fewer channels in the filter than in x means groups."""
    x, w = node.x(0), node.x(1)
    last = is_channels_last(node)
    channels = dims_of(x)[-1 if last else 1]
    per_group = dims_of(w)[-2]
    if not isinstance(channels, int) or not isinstance(per_group, int):
        raise node.unsupported("a convolution of an unknown number of channels")
    if channels % per_group:
        raise node.invalid(f"expected channels divisible by {per_group}")
    return conv(node, x, w, channels // per_group)


def depthwise(node: Node) -> Operation:
    """A filter, or several, per channel."""
    x, w = node.x(0), node.x(1)
    *kernel, channels, times = dims_of(w)
    if not isinstance(channels, int):
        raise node.unsupported("a convolution of an unknown number of channels")
    return conv(node, x, reshape(w, [*kernel, 1, channels * times]), channels)


def conv(node: Node, x: SSAValue, w: SSAValue, groups: int) -> Operation:
    """One `nn.conv`; the filter is `[spatial.., channels / groups, features]`."""
    kernel = dims_of(w)[:-2]
    strides, dilations = spatial(node, "strides"), spatial(node, "dilations")
    sizes = spatial_dims(node, dims_of(x))
    last = is_channels_last(node)
    rank = len(dims_of(w))
    return nn.ConvOp(
        x,
        w if last else transpose(w, [rank - 1, rank - 2, *range(rank - 2)]),
        strides=strides,
        pads=window_pads(node, sizes, kernel, strides, dilations),
        dilations=dilations,
        groups=groups,
        channels_last=last,
    )


def transposed_convolution(node: Node) -> Operation:
    """The gradient of a convolution: `sizes, filter, y` to an x of those sizes.

    The filter is `[spatial.., x's channels, y's channels]`. What `pads` leave over at
    the high end is output padding.
    """
    sizes, w, y = node.sizes(0), node.x(1), node.x(2)
    last, rank = is_channels_last(node), len(dims_of(w))
    kernel = dims_of(w)[:-2]
    strides, dilations = spatial(node, "strides"), spatial(node, "dilations")
    wanted = spatial_dims(node, sizes)
    given = spatial_dims(node, dims_of(y))
    pads = window_pads(node, wanted, kernel, strides, dilations)
    extra = [
        size
        + pads[i]
        + pads[i + rank - 2]
        - ((count - 1) * stride + (extent - 1) * dilation + 1)
        for i, (size, count, stride, extent, dilation) in enumerate(
            zip(wanted, given, strides, kernel, dilations, strict=True)
        )
    ]
    order = [*range(rank - 2), rank - 1, rank - 2]
    return nn.ConvTransposeOp(
        y,
        transpose(w, order if last else [rank - 1, rank - 2, *range(rank - 2)]),
        strides=strides,
        pads=pads,
        dilations=dilations,
        output_padding=extra,
        channels_last=last,
    )


def fused_matmul(node: Node) -> Output:
    """`_FusedMatMul`, as Grappler leaves it in frozen graphs."""
    y = value(matmul(node))
    return fused_epilogue(node, y)


def fused_convolution(node: Node) -> Output:
    """`_FusedConv2D`, as Grappler leaves it in frozen graphs."""
    return fused_epilogue(node, value(convolution(node)))


FUSED = {
    "Relu": nn.ReluOp,
    "Sigmoid": nn.SigmoidOp,
    "Tanh": nn.TanhOp,
    "Relu6": lambda x: nn.ClampOp(x, min=0.0, max=6.0),
    "Elu": lambda x: nn.EluOp(x, alpha=1.0),
}


def fused_epilogue(node: Node, y: SSAValue) -> SSAValue:
    """What `fused_ops` names, applied to a product."""
    left = [node.x(i) for i in range(2, len(node.inputs))]
    for name in node.attribute("fused_ops"):
        if name == "BiasAdd":
            y = value(nn.AddOp(y, left.pop(0)))
        elif name == "LeakyRelu":
            y = value(nn.LeakyReluOp(y, alpha=node.attribute("leakyrelu_alpha")))
        elif name in FUSED:
            y = value(FUSED[name](y))
        else:
            raise node.unsupported(f"{name} fused into a product")
    return y


HINTS = ("use_cudnn_on_gpu",)
FUSED_HINTS = (
    *HINTS,
    "grad_a",
    "grad_b",
    "num_args",
    "num_host_args",
    "epsilon",
    "TArgs",
    "filter_format",
)

RULES = (
    Rule("MatMul", matmul, ignores=("grad_a", "grad_b")),
    *(
        Rule(name, batch_matmul, ignores=("grad_x", "grad_y"))
        for name in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
    ),
    Rule("Einsum", einsum),
    Rule("Conv2D", convolution, ignores=HINTS),
    Rule("Conv3D", convolution, ignores=HINTS),
    Rule("Conv", convolution, ignores=HINTS),
    Rule("DepthwiseConv2dNative", depthwise, ignores=HINTS),
    Rule("Conv2DBackpropInput", transposed_convolution, ignores=HINTS),
    Rule("Conv3DBackpropInputV2", transposed_convolution, ignores=HINTS),
    Rule("_FusedMatMul", fused_matmul, ignores=FUSED_HINTS),
    Rule("_FusedConv2D", fused_convolution, ignores=FUSED_HINTS),
)
