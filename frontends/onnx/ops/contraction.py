"""Products: matrix multiplication, convolution, einsum, and their integer forms."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, dims_of
from stepwell.frontends.emit import like, rank_of, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.ops.rows import binary
from stepwell.frontends.onnx.ops.windows import window_pads
from stepwell.frontends.onnx.registry import Rule


def gemm(node: Node) -> SSAValue:
    """`alpha * a' b' + beta * c`."""
    a = _transposed(node.x(0), node.int("transA", 0))
    b = _transposed(node.x(1), node.int("transB", 0))
    alpha, beta = node.float("alpha", 1.0), node.float("beta", 1.0)
    y = value(nn.MatmulOp(a, b))
    if alpha != 1:
        y = value(nn.MulOp(y, like(node, alpha, y)))
    if not node.has(2):
        return y
    c = node.x(2)
    if beta != 1:
        c = value(nn.MulOp(c, like(node, beta, c)))
    return value(nn.AddOp(y, c))


def _transposed(x: SSAValue, wanted: int) -> SSAValue:
    return value(nn.TransposeOp(x, perm=[1, 0])) if wanted else x


def conv(node: Node) -> Operation:
    """Convolution, channels first."""
    return _conv(node, node.x(0), node.x(1), node.optional(2))


def _conv(node: Node, x: SSAValue, w: SSAValue, bias: SSAValue | None) -> Operation:
    spatial = rank_of(x) - 2
    strides = node.ints("strides", [1] * spatial)
    dilations = node.ints("dilations", [1] * spatial)
    kernel = dims_of(w)[2:]
    declared = node.ints("kernel_shape", None)
    if declared is not None and tuple(declared) != kernel:
        raise node.invalid(f"expected kernel_shape {list(kernel)}, got {declared}")
    return nn.ConvOp(
        x,
        w,
        bias,
        strides=strides,
        pads=window_pads(node, dims_of(x)[2:], kernel, strides, dilations),
        dilations=dilations,
        groups=node.int("group", 1),
    )


def conv_transpose(node: Node) -> Operation:
    """Transposed convolution; `output_shape` decides the pads if it is given."""
    x, w = node.x(0), node.x(1)
    spatial = rank_of(x) - 2
    strides = node.ints("strides", [1] * spatial)
    dilations = node.ints("dilations", [1] * spatial)
    extra = node.ints("output_padding", [0] * spatial)
    node.ints("kernel_shape", None)
    return nn.ConvTransposeOp(
        x,
        w,
        node.optional(2),
        strides=strides,
        pads=_transpose_pads(node, x, w, strides, dilations, extra),
        dilations=dilations,
        groups=node.int("group", 1),
        output_padding=extra,
    )


def _transpose_pads(
    node: Node,
    x: SSAValue,
    w: SSAValue,
    strides: list[int],
    dilations: list[int],
    extra: list[int],
) -> list[Dim]:
    mode = node.string("auto_pad", "NOTSET")
    spatial = len(strides)
    pads = node.ints("pads", [0] * (2 * spatial))
    wanted: list[Dim] | None = list(node.ints("output_shape", []) or []) or None
    sizes, kernel = dims_of(x)[2:], dims_of(w)[2:]
    if wanted is None and mode.startswith("SAME"):
        wanted = [sizes[i] * strides[i] for i in range(spatial)]
    if wanted is None:
        return [0] * (2 * spatial) if mode == "VALID" else list(pads)
    wanted = wanted[-spatial:]
    lows: list[Dim] = []
    highs: list[Dim] = []
    for i in range(spatial):
        full = (sizes[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
        total = full + extra[i] - wanted[i]
        small, large = total // 2, total - total // 2
        is_upper = mode == "SAME_UPPER"
        lows.append(small if is_upper else large)
        highs.append(large if is_upper else small)
    return [*lows, *highs]


def einsum(node: Node) -> Operation:
    """Sums of products by index letters."""
    return nn.EinsumOp(*node.all_x(), equation=node.string("equation"))


RULES = (
    Rule("MatMul", binary(nn.MatmulOp)),
    Rule("Gemm", gemm, ignores=("broadcast",)),
    Rule("Conv", conv),
    Rule("ConvTranspose", conv_transpose),
    Rule("Einsum", einsum),
)
