"""Each `nn` op through the fusion passes computes what it computed before."""

from __future__ import annotations

import pytest

from stepwell.lowering.fusion.decompose.elementwise import FORMULAS


def main(arguments: str, results: str, body: str) -> str:
    return f"func.func @main({arguments}) -> ({results}) {{\n{body}\n}}"


UNARY_FLOAT = [
    name
    for name in FORMULAS
    if name.removeprefix("nn.")
    in [
        "abs",
        "neg",
        "exp",
        "expm1",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "tanh",
        "erf",
        "floor",
        "ceil",
        "round",
        "sign",
        "relu",
        "sigmoid",
        "softplus",
        "softsign",
        "gelu",
        "silu",
        "hard_sigmoid",
        "hard_swish",
        "elu",
        "leaky_relu",
        "selu",
        "celu",
        "mish",
        "asinh",
        "atan",
        "sqrt",
        "log",
        "log1p",
        "rsqrt",
        "reciprocal",
        "asin",
        "acos",
        "acosh",
        "atanh",
    ]
]


@pytest.mark.parametrize("element", ["f32", "f16", "bf16", "f64"])
@pytest.mark.parametrize("name", UNARY_FLOAT)
def test_unary(same_result, name, element):
    kind = f"tensor<3x?x{element}, #nn.dims<3, n>>"
    body = f"%y = {name} %x : ({kind}) -> {kind}\nreturn %y : {kind}"
    tolerance = {"f32": 1e-5, "f64": 1e-12, "f16": 2e-3, "bf16": 1e-2}[element]
    if element == "f64" and "gelu" in name:
        tolerance = 1e-11
    same_result(main(f"%x: {kind}", kind, body), {"n": 7}, tolerance=tolerance)


BINARY = ["add", "sub", "mul", "div", "minimum", "maximum", "mod"]


@pytest.mark.parametrize("element", ["f32", "f16", "i8", "i32", "i64", "ui8", "ui32"])
@pytest.mark.parametrize("name", BINARY)
def test_binary_with_broadcast(same_result, name, element):
    a, b = f"tensor<4x1x5x{element}>", f"tensor<3x1x{element}>"
    y = f"tensor<4x3x5x{element}>"
    body = f"%y = nn.{name} %a, %b : ({a}, {b}) -> {y}\nreturn %y : {y}"
    tolerance = 3e-3 if element == "f16" else 1e-5
    same_result(main(f"%a: {a}, %b: {b}", y, body), tolerance=tolerance)


@pytest.mark.parametrize("element", ["f32", "i32", "ui8", "i1"])
@pytest.mark.parametrize("predicate", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_compare(same_result, predicate, element):
    if element == "i1" and predicate not in ("eq", "ne"):
        pytest.skip("booleans have no order")
    a, y = f"tensor<40x{element}>", "tensor<40xi1>"
    body = (
        f'%y = nn.compare %a, %b {{predicate = "{predicate}"}} : ({a}, {a}) -> {y}\n'
        f"return %y : {y}"
    )
    same_result(main(f"%a: {a}, %b: {a}", y, body), bounds={"a": 3, "b": 3})


@pytest.mark.parametrize("source", ["f32", "f16", "i8", "i64", "ui8", "i1", "f64"])
@pytest.mark.parametrize("target", ["f32", "f16", "bf16", "i8", "i64", "ui8", "i1"])
def test_cast(same_result, source, target):
    if source == target:
        pytest.skip("not a cast")
    x, y = f"tensor<30x{source}>", f"tensor<30x{target}>"
    body = f"%y = nn.cast %x {{to = {target}}} : ({x}) -> {y}\nreturn %y : {y}"
    same_result(main(f"%x: {x}", y, body), tolerance=1e-2)


CASES: dict[str, tuple[str, str, str, dict[str, int]]] = {
    "matmul": (
        "%a: tensor<5x7xf32>, %b: tensor<7x3xf32>",
        "tensor<5x3xf32>",
        "%y = nn.matmul %a, %b : (tensor<5x7xf32>, tensor<7x3xf32>) -> tensor<5x3xf32>",
        {},
    ),
    "matmul_batched_dynamic": (
        "%a: tensor<?x4x?x8xf32, #nn.dims<batch, 4, seq, 8>>, %b: tensor<4x8x5xf32>",
        "tensor<?x4x?x5xf32, #nn.dims<batch, 4, seq, 5>>",
        "%y = nn.matmul %a, %b : (tensor<?x4x?x8xf32, #nn.dims<batch, 4, seq, 8>>, "
        "tensor<4x8x5xf32>) -> tensor<?x4x?x5xf32, #nn.dims<batch, 4, seq, 5>>",
        {"batch": 2, "seq": 3},
    ),
    "matmul_of_vectors": (
        "%a: tensor<7xf32>, %b: tensor<7xf32>",
        "tensor<f32>",
        "%y = nn.matmul %a, %b : (tensor<7xf32>, tensor<7xf32>) -> tensor<f32>",
        {},
    ),
    "matmul_f16": (
        "%a: tensor<5x7xf16>, %b: tensor<7x3xf16>",
        "tensor<5x3xf16>",
        "%y = nn.matmul %a, %b : (tensor<5x7xf16>, tensor<7x3xf16>) -> tensor<5x3xf16>",
        {},
    ),
    "conv_strided_padded": (
        "%x: tensor<2x6x9x8xf32>, %w: tensor<4x3x3x2xf32>, %b: tensor<4xf32>",
        "tensor<2x4x5x4xf32>",
        "%y = nn.conv %x, %w, %b {strides = array<i64: 2, 2>, pads = #nn.dims<1, 0, 1,"
        " 0>, dilations = array<i64: 1, 1>, groups = 2 : i64} : (tensor<2x6x9x8xf32>,"
        " tensor<4x3x3x2xf32>, tensor<4xf32>) -> tensor<2x4x5x4xf32>",
        {},
    ),
    "conv_channels_last_dilated": (
        "%x: tensor<2x9x8x6xf32>, %w: tensor<3x3x6x4xf32>",
        "tensor<2x7x6x4xf32>",
        "%y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<1, 1, 1, 1>,"
        " dilations = array<i64: 2, 2>, channels_last = true} : (tensor<2x9x8x6xf32>,"
        " tensor<3x3x6x4xf32>) -> tensor<2x7x6x4xf32>",
        {},
    ),
    "conv_depthwise_dynamic": (
        "%x: tensor<?x4x?x?xf32, #nn.dims<b, 4, h, w>>, %w: tensor<4x1x3x3xf32>",
        "tensor<?x4x?x?xf32, #nn.dims<b, 4, h, w>>",
        "%y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<1, 1, 1, 1>,"
        " dilations = array<i64: 1, 1>, groups = 4 : i64} : (tensor<?x4x?x?xf32,"
        " #nn.dims<b, 4, h, w>>, tensor<4x1x3x3xf32>) -> tensor<?x4x?x?xf32,"
        " #nn.dims<b, 4, h, w>>",
        {"b": 2, "h": 5, "w": 6},
    ),
    "softmax": (
        "%x: tensor<3x5x4xf32>",
        "tensor<3x5x4xf32>",
        "%y = nn.softmax %x {axis = 1 : i64} : (tensor<3x5x4xf32>)"
        " -> tensor<3x5x4xf32>",
        {},
    ),
    "log_softmax": (
        "%x: tensor<3x5xf16>",
        "tensor<3x5xf16>",
        "%y = nn.log_softmax %x {axis = -1 : i64} :"
        " (tensor<3x5xf16>) -> tensor<3x5xf16>",
        {},
    ),
    "layer_norm": (
        "%x: tensor<?x6x8xf32, #nn.dims<n, 6, 8>>, %g:"
        " tensor<8xf32>, %b: tensor<8xf32>",
        "tensor<?x6x8xf32, #nn.dims<n, 6, 8>>",
        "%y = nn.layer_norm %x, %g, %b {axis = -1 : i64, epsilon = 1.0e-5 : f64} :"
        " (tensor<?x6x8xf32, #nn.dims<n, 6, 8>>, tensor<8xf32>, tensor<8xf32>) ->"
        " tensor<?x6x8xf32, #nn.dims<n, 6, 8>>",
        {"n": 3},
    ),
    "layer_norm_without_scale": (
        "%x: tensor<6x8xf32>, %b: tensor<8xf32>",
        "tensor<6x8xf32>",
        "%y = nn.layer_norm %x, none, %b {axis = -1 : i64, epsilon = 1.0e-5 : f64} :"
        " (tensor<6x8xf32>, tensor<8xf32>) -> tensor<6x8xf32>",
        {},
    ),
    "rms_norm": (
        "%x: tensor<2x6x8xf32>, %g: tensor<6x8xf32>",
        "tensor<2x6x8xf32>",
        "%y = nn.rms_norm %x, %g {axis = 1 : i64, epsilon = 1.0e-5 : f64} :"
        " (tensor<2x6x8xf32>, tensor<6x8xf32>) -> tensor<2x6x8xf32>",
        {},
    ),
    "instance_norm": (
        "%x: tensor<2x3x5x4xf32>, %g: tensor<3xf32>, %b: tensor<3xf32>",
        "tensor<2x3x5x4xf32>",
        "%y = nn.instance_norm %x, %g, %b {epsilon = 1.0e-5 : f64} :"
        " (tensor<2x3x5x4xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<2x3x5x4xf32>",
        {},
    ),
    "group_norm": (
        "%x: tensor<2x6x5xf32>, %g: tensor<6xf32>, %b: tensor<6xf32>",
        "tensor<2x6x5xf32>",
        "%y = nn.group_norm %x, %g, %b {groups = 2 : i64, epsilon = 1.0e-5 : f64} :"
        " (tensor<2x6x5xf32>, tensor<6xf32>, tensor<6xf32>) -> tensor<2x6x5xf32>",
        {},
    ),
    "batch_norm": (
        "%x: tensor<2x3x4xf32>, %g: tensor<3xf32>, %b:"
        " tensor<3xf32>, %m: tensor<3xf32>",
        "tensor<2x3x4xf32>",
        "%v = nn.exp %m : (tensor<3xf32>) -> tensor<3xf32>\n"
        "%y = nn.batch_norm %x, %g, %b, %m, %v {epsilon = 1.0e-5 : f64} :"
        " (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>,"
        " tensor<3xf32>) -> tensor<2x3x4xf32>",
        {},
    ),
    "lrn": (
        "%x: tensor<2x7x4xf32>",
        "tensor<2x7x4xf32>",
        "%y = nn.lrn %x {size = 3 : i64, alpha = 1.0e-1 : f64, beta = 0.75 : f64,"
        " bias = 1.0 : f64} : (tensor<2x7x4xf32>) -> tensor<2x7x4xf32>",
        {},
    ),
    "max_pool_ceil": (
        "%x: tensor<1x2x8x7xf32>",
        "tensor<1x2x5x4xf32>",
        "%y = nn.max_pool %x {kernel = array<i64: 3, 2>, strides = array<i64: 2, 2>,"
        " pads = #nn.dims<1, 0, 1, 0>, dilations = array<i64: 1, 1>, ceil_mode = true}"
        " : (tensor<1x2x8x7xf32>) -> tensor<1x2x5x4xf32>",
        {},
    ),
    "avg_pool": (
        "%x: tensor<1x2x8x7xf32>",
        "tensor<1x2x4x4xf32>",
        "%y = nn.avg_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>,"
        " pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>}"
        " : (tensor<1x2x8x7xf32>) -> tensor<1x2x4x4xf32>",
        {},
    ),
    "avg_pool_include_pad_ceil_last": (
        "%x: tensor<1x8x7x3xf32>",
        "tensor<1x5x4x3xf32>",
        "%y = nn.avg_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>,"
        " pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>, ceil_mode = true,"
        " count_include_pad = true, channels_last = true}"
        " : (tensor<1x8x7x3xf32>) -> tensor<1x5x4x3xf32>",
        {},
    ),
    "lp_pool": (
        "%x: tensor<1x2x8xf32>",
        "tensor<1x2x4xf32>",
        "%y = nn.lp_pool %x {p = 3 : i64, kernel = array<i64: 2>, strides = array<i64:"
        " 2>, pads = #nn.dims<0, 0>, dilations = array<i64: 1>}"
        " : (tensor<1x2x8xf32>) -> tensor<1x2x4xf32>",
        {},
    ),
    "transpose_reshape": (
        "%x: tensor<2x6x4xf32>",
        "tensor<4x12xf32>",
        "%t = nn.transpose %x {perm = array<i64: 2, 0, 1>} : (tensor<2x6x4xf32>) ->"
        " tensor<4x2x6xf32>\n%y = nn.reshape %t :"
        " (tensor<4x2x6xf32>) -> tensor<4x12xf32>",
        {},
    ),
    "reshape_merges_and_transpose": (
        "%x: tensor<?x12xf32, #nn.dims<n, 12>>",
        "tensor<4x?x3xf32, #nn.dims<4, n, 3>>",
        "%r = nn.reshape %x : (tensor<?x12xf32, #nn.dims<n, 12>>) -> tensor<?x3x4xf32,"
        " #nn.dims<n, 3, 4>>\n%y = nn.transpose %r {perm = array<i64: 2, 0, 1>} :"
        " (tensor<?x3x4xf32, #nn.dims<n, 3, 4>>) ->"
        " tensor<4x?x3xf32, #nn.dims<4, n, 3>>",
        {"n": 5},
    ),
    "slice_negative_step": (
        "%x: tensor<9x6xf32>",
        "tensor<4x6xf32>",
        "%y = nn.slice %x {starts = #nn.dims<7, 0>, limits = #nn.dims<-1, 6>, steps ="
        " array<i64: -2, 1>} : (tensor<9x6xf32>) -> tensor<4x6xf32>",
        {},
    ),
    "concat": (
        "%a: tensor<2x3x4xf32>, %b: tensor<2x5x4xf32>, %c: tensor<2x1x4xf32>",
        "tensor<2x9x4xf32>",
        "%y = nn.concat %a, %b, %c {axis = 1 : i64} : (tensor<2x3x4xf32>,"
        " tensor<2x5x4xf32>, tensor<2x1x4xf32>) -> tensor<2x9x4xf32>",
        {},
    ),
    "gather": (
        "%x: tensor<10x4xf32>, %i: tensor<2x3xi64>",
        "tensor<2x3x4xf32>",
        "%y = nn.gather %x, %i {axis = 0 : i64} : (tensor<10x4xf32>,"
        " tensor<2x3xi64>) ->"
        " tensor<2x3x4xf32>",
        {},
    ),
    "gather_elements": (
        "%x: tensor<3x10xf32>, %i: tensor<3x4xi32>",
        "tensor<3x4xf32>",
        "%y = nn.gather_elements %x, %i {axis = 1 : i64} : (tensor<3x10xf32>,"
        " tensor<3x4xi32>) -> tensor<3x4xf32>",
        {},
    ),
    "gather_nd": (
        "%x: tensor<10x12x3xf32>, %i: tensor<5x2xi64>",
        "tensor<5x3xf32>",
        "%y = nn.gather_nd %x, %i {batch_dims = 0 : i64} : (tensor<10x12x3xf32>,"
        " tensor<5x2xi64>) -> tensor<5x3xf32>",
        {},
    ),
    "mean_keepdims": (
        "%x: tensor<3x4x5xf32>",
        "tensor<3x1x1xf32>",
        '%y = nn.reduce %x {kind = "mean", axes = array<i64: 1, 2>, keepdims = true} :'
        " (tensor<3x4x5xf32>) -> tensor<3x1x1xf32>",
        {},
    ),
    "reduce_max_i32": (
        "%x: tensor<3x4x5xi32>",
        "tensor<3x5xi32>",
        '%y = nn.reduce %x {kind = "max", axes = array<i64: 1>, keepdims = false} :'
        " (tensor<3x4x5xi32>) -> tensor<3x5xi32>",
        {},
    ),
    "arg_max_last": (
        "%x: tensor<3x40xi32>",
        "tensor<3xi64>",
        '%y = nn.arg_reduce %x {kind = "max", axis = 1 : i64, keepdims = false,'
        " select_last = true} : (tensor<3x40xi32>) -> tensor<3xi64>",
        {"x": 3},
    ),
    "arg_min": (
        "%x: tensor<3x40xf32>",
        "tensor<3x1xi64>",
        '%y = nn.arg_reduce %x {kind = "min", axis = 1 : i64, keepdims = true}'
        " : (tensor<3x40xf32>) -> tensor<3x1xi64>",
        {},
    ),
    "iota": (
        "%x: tensor<2x?xi64, #nn.dims<2, n>>",
        "tensor<2x?xi64, #nn.dims<2, n>>",
        "%i = nn.iota {axis = 1 : i64} : tensor<2x?xi64, #nn.dims<2, n>>\n"
        "%y = nn.add %x, %i : (tensor<2x?xi64, #nn.dims<2, n>>, tensor<2x?xi64,"
        " #nn.dims<2, n>>) -> tensor<2x?xi64, #nn.dims<2, n>>",
        {"n": 5},
    ),
    "conv_transpose_2x2": (
        "%x: tensor<1x4x5x3xf32>, %w: tensor<4x3x2x2xf32>, %b: tensor<3xf32>",
        "tensor<1x3x10x6xf32>",
        "%c = nn.conv_transpose %x, %w, %b {strides = array<i64: 2, 2>, pads ="
        " #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>, output_padding ="
        " #nn.dims<0, 0>} : (tensor<1x4x5x3xf32>, tensor<4x3x2x2xf32>, tensor<3xf32>)"
        " -> tensor<1x3x10x6xf32>\n%y = nn.relu %c : (tensor<1x3x10x6xf32>) ->"
        " tensor<1x3x10x6xf32>",
        {},
    ),
    "conv_transpose_groups_output_padding": (
        "%x: tensor<2x4x5x3xf32>, %w: tensor<4x3x3x3xf32>",
        "tensor<2x6x10x6xf32>",
        "%c = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads ="
        " #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>, output_padding ="
        " #nn.dims<1, 1>, groups = 2 : i64} : (tensor<2x4x5x3xf32>,"
        " tensor<4x3x3x3xf32>) -> tensor<2x6x10x6xf32>\n%y = nn.relu %c :"
        " (tensor<2x6x10x6xf32>) -> tensor<2x6x10x6xf32>",
        {},
    ),
    "conv_transpose_odd_size": (
        "%x: tensor<1x2x4xf32>, %w: tensor<2x3x3xf32>",
        "tensor<1x3x9xf32>",
        "%c = nn.conv_transpose %x, %w {strides = array<i64: 2>, pads ="
        " #nn.dims<0, 0>, dilations = array<i64: 1>, output_padding ="
        " #nn.dims<0>} : (tensor<1x2x4xf32>, tensor<2x3x3xf32>) ->"
        " tensor<1x3x9xf32>\n%y = nn.relu %c : (tensor<1x3x9xf32>) ->"
        " tensor<1x3x9xf32>",
        {},
    ),
    "conv_transpose_dilated_last": (
        "%x: tensor<1x4x2xf32>, %w: tensor<3x2x3xf32>",
        "tensor<1x11x3xf32>",
        "%y = nn.conv_transpose %x, %w {strides = array<i64: 2>, pads ="
        " #nn.dims<0, 0>, dilations = array<i64: 2>, output_padding ="
        " #nn.dims<0>, channels_last = true} : (tensor<1x4x2xf32>,"
        " tensor<3x2x3xf32>) -> tensor<1x11x3xf32>",
        {},
    ),
    "einsum": (
        "%a: tensor<2x3x4xf32>, %b: tensor<2x4x5xf32>",
        "tensor<2x5x3xf32>",
        '%y = nn.einsum %a, %b {equation = "bij,bjk->bki"} : (tensor<2x3x4xf32>,'
        " tensor<2x4x5xf32>) -> tensor<2x5x3xf32>",
        {},
    ),
    "einsum_ellipsis_and_diagonal": (
        "%a: tensor<2x3x4x4xf32>, %b: tensor<3x4xf32>",
        "tensor<2x3xf32>",
        '%y = nn.einsum %a, %b {equation = "...ii,...i->..."} : (tensor<2x3x4x4xf32>,'
        " tensor<3x4xf32>) -> tensor<2x3xf32>",
        {},
    ),
    "cumulative_reverse_exclusive": (
        "%x: tensor<3x6xf32>",
        "tensor<3x6xf32>",
        '%y = nn.cumulative %x {kind = "sum", axis = 1 : i64, exclusive = true,'
        " reverse = true} : (tensor<3x6xf32>) -> tensor<3x6xf32>",
        {},
    ),
    "cumulative_f16_then_pointwise": (
        "%x: tensor<6x3xf16>",
        "tensor<6x3xf16>",
        '%c = nn.cumulative %x {kind = "prod", axis = 0 : i64} : (tensor<6x3xf16>) ->'
        " tensor<6x3xf16>\n%y = nn.neg %c : (tensor<6x3xf16>) -> tensor<6x3xf16>",
        {},
    ),
    "topk": (
        "%x: tensor<3x40xi32>",
        "tensor<3x5xi64>",
        "%v, %y = nn.topk %x {k = #nn.dims<5>, axis = 1 : i64, largest = true} :"
        " (tensor<3x40xi32>) -> (tensor<3x5xi32>, tensor<3x5xi64>)",
        {},
    ),
    "sort": (
        "%x: tensor<9x3xf32>",
        "tensor<9x3xf32>",
        "%y, %i = nn.sort %x {axis = 0 : i64} : (tensor<9x3xf32>) ->"
        " (tensor<9x3xf32>, tensor<9x3xi64>)",
        {},
    ),
    "scatter_elements_add": (
        "%d: tensor<4x3xf32>, %i: tensor<6x3xi64>, %u: tensor<6x3xf32>",
        "tensor<4x3xf32>",
        '%y = nn.scatter_elements %d, %i, %u {axis = 0 : i64, reduction = "add"} :'
        " (tensor<4x3xf32>, tensor<6x3xi64>, tensor<6x3xf32>) -> tensor<4x3xf32>",
        {},
    ),
    "scatter_nd": (
        "%d: tensor<4x3xf32>, %i: tensor<6x1xi64>, %u: tensor<6x3xf32>",
        "tensor<4x3xf32>",
        '%y = nn.scatter_nd %d, %i, %u {reduction = "none"} :'
        " (tensor<4x3xf32>, tensor<6x1xi64>, tensor<6x3xf32>) -> tensor<4x3xf32>",
        {},
    ),
    "reverse_sequence": (
        "%x: tensor<5x2x3xf32>, %i: tensor<2xi64>",
        "tensor<5x2x3xf32>",
        "%l = nn.abs %i : (tensor<2xi64>) -> tensor<2xi64>\n"
        "%y = nn.reverse_sequence %x, %l {batch_axis = 1 : i64, time_axis = 0 : i64} :"
        " (tensor<5x2x3xf32>, tensor<2xi64>) -> tensor<5x2x3xf32>",
        {},
    ),
    "rotary_embedding": (
        "%x: tensor<2x3x5x10xf32>, %c: tensor<5x4xf32>, %s: tensor<5x4xf32>",
        "tensor<2x3x5x10xf32>",
        "%y = nn.rotary_embedding %x, %c, %s {interleaved = false} :"
        " (tensor<2x3x5x10xf32>, tensor<5x4xf32>, tensor<5x4xf32>) ->"
        " tensor<2x3x5x10xf32>",
        {},
    ),
    "rotary_embedding_interleaved": (
        "%x: tensor<2x3x5x10xf32>, %c: tensor<5x4xf32>, %s: tensor<5x4xf32>",
        "tensor<2x3x5x10xf32>",
        "%y = nn.rotary_embedding %x, %c, %s {interleaved = true} :"
        " (tensor<2x3x5x10xf32>, tensor<5x4xf32>, tensor<5x4xf32>) ->"
        " tensor<2x3x5x10xf32>",
        {},
    ),
}

INDEX_BOUNDS = {"i": 3, "x": 4}


@pytest.mark.parametrize("name", CASES)
def test_op(same_result, name):
    arguments, result, body, symbols = CASES[name]
    text = main(arguments, result, f"{body}\nreturn %y : {result}")
    tolerance = 5e-3 if "f16" in result else 1e-5
    same_result(text, symbols, INDEX_BOUNDS, tolerance=tolerance)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(same_result, mode):
    x, y = "tensor<5x4xf32>", "tensor<9x6xf32>"
    body = (
        "%y = nn.pad %x {low = #nn.dims<3, 0>, high = #nn.dims<1, 2>,"
        f' mode = "{mode}"}}'
        f" : ({x}) -> {y}\nreturn %y : {y}"
    )
    same_result(main(f"%x: {x}", y, body))


def test_pad_with_a_computed_fill(same_result):
    body = (
        "%y = nn.pad %x, %f {low = #nn.dims<1>, high = #nn.dims<1>, mode ="
        ' "constant"} : (tensor<4xf32>, tensor<f32>) -> tensor<6xf32>\n'
        "return %y : tensor<6xf32>"
    )
    same_result(main("%x: tensor<4xf32>, %f: tensor<f32>", "tensor<6xf32>", body))


def test_pointwise_code_behind_a_pad_keeps_the_fill(same_result):
    body = (
        "%e = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>\n"
        "%p = nn.pad %e {low = #nn.dims<1>, high = #nn.dims<2>, mode ="
        ' "constant"} : (tensor<4xf32>) -> tensor<7xf32>\n'
        "%y = nn.add %p, %z : (tensor<7xf32>, tensor<7xf32>) -> tensor<7xf32>\n"
        "return %y : tensor<7xf32>"
    )
    same_result(main("%x: tensor<4xf32>, %z: tensor<7xf32>", "tensor<7xf32>", body))


COORDINATES = [
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
]


@pytest.mark.parametrize("size", ["8x9", "2x5", "3x6", "1x7"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize(same_result, mode, coordinates, size):
    x, y = "tensor<2x4x6xf32>", f"tensor<2x{size}xf32>"
    body = (
        f'%y = nn.resize %x, none, none {{mode = "{mode}", coordinates ='
        f' "{coordinates}"}} : ({x}) -> {y}\nreturn %y : {y}'
    )
    same_result(main(f"%x: {x}", y, body), kernels=1)


@pytest.mark.parametrize("size", ["8x9", "2x5", "3x2"])
@pytest.mark.parametrize("option", ["antialias", "exclude_outside"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_with_weights_that_are_normalised(same_result, mode, option, size):
    x, y = "tensor<2x4x6xf32>", f"tensor<2x{size}xf32>"
    body = (
        f'%y = nn.resize %x, none, none {{mode = "{mode}", {option} = true}}'
        f" : ({x}) -> {y}\nreturn %y : {y}"
    )
    same_result(main(f"%x: {x}", y, body), kernels=1)


ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_resize_by_scales(same_result, rounding):
    x, y = "tensor<1x?xf32, #nn.dims<1, n>>", "tensor<1x?xf32, #nn.dims<1, 2 * n>>"
    body = (
        f'%y = nn.resize %x, none, none {{mode = "nearest", rounding = "{rounding}",'
        f" scales = array<f64: 1.0, 2.0>}} : ({x}) -> {y}\nreturn %y : {y}"
    )
    same_result(main(f"%x: {x}", y, body), {"n": 5}, kernels=1)


def test_long_concat_is_written_in_place(same_result):
    x, w = "tensor<2x16x16x8xf32>", "tensor<1x1x8x32xf32>"
    a, y = "tensor<2x16x16x32xf32>", "tensor<2x16x16x64xf32>"
    z = "tensor<2x16x16x24xf32>"
    body = (
        "%c = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>,"
        f" dilations = array<i64: 1, 1>, channels_last = true}} : ({x}, {w}) -> {a}\n"
        f"%r = nn.relu %c : ({a}) -> {a}\n"
        f"%e = nn.exp %x : ({x}) -> {x}\n"
        f"%y = nn.concat %r, %z, %e {{axis = -1 : i64}} : ({a}, {z}, {x}) -> {y}\n"
        f"%n = nn.neg %y : ({y}) -> {y}\n"
        f"return %y, %n : {y}, {y}"
    )
    arguments = f"%x: {x}, %w: {w}, %z: {z}"
    same_result(main(arguments, f"{y}, {y}", body), kernels=4)


def test_one_piece_twice_is_copied_twice(same_result):
    x, y = "tensor<?x4xf32, #nn.dims<n, 4>>", "tensor<?x4xf32, #nn.dims<2 * n, 4>>"
    body = (
        f"%e = nn.exp %x : ({x}) -> {x}\n"
        f"%y = nn.concat %e, %e {{axis = 0 : i64}} : ({x}, {x}) -> {y}\n"
        f"return %y : {y}"
    )
    same_result(main(f"%x: {x}", y, body), {"n": 3}, kernels=3)
