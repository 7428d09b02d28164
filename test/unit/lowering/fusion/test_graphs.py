"""Blocks of real networks: as few kernels as they should be, and the same results."""

from __future__ import annotations

from stepwell.dialects.fusion import KernelOp

CONV = (
    "{{strides = array<i64: {s}, {s}>, pads = #nn.dims<{p}, {p}, {p}, {p}>,"
    " dilations = array<i64: 1, 1>, channels_last = true}}"
)


def names(module) -> list[str]:
    return [op.kernel_name.data for op in module.walk() if isinstance(op, KernelOp)]


def test_a_residual_block_with_a_projection_is_four_kernels(same_result):
    x = "tensor<?x?x?x8xf32, #nn.dims<n, h, w, 8>>"
    a = "tensor<?x?x?x4xf32, #nn.dims<n, h, w, 4>>"
    y = "tensor<?x?x?x16xf32, #nn.dims<n, h, w, 16>>"
    plain, padded = CONV.format(s=1, p=0), CONV.format(s=1, p=1)
    k1, k2, k3, k4 = (
        "tensor<1x1x8x4xf32>",
        "tensor<3x3x4x4xf32>",
        "tensor<1x1x4x16xf32>",
        "tensor<1x1x8x16xf32>",
    )
    text = f"""
    func.func @main(%x: {x}, %w1: {k1}, %b1: tensor<4xf32>, %w2: {k2}, %w3: {k3},
                    %w4: {k4}) -> ({y}) {{
      %c1 = nn.conv %x, %w1, %b1 {plain} : ({x}, {k1}, tensor<4xf32>) -> {a}
      %r1 = nn.relu %c1 : ({a}) -> {a}
      %c2 = nn.conv %r1, %w2 {padded} : ({a}, {k2}) -> {a}
      %r2 = nn.silu %c2 : ({a}) -> {a}
      %c3 = nn.conv %r2, %w3 {plain} : ({a}, {k3}) -> {y}
      %c4 = nn.conv %x, %w4 {plain} : ({x}, {k4}) -> {y}
      %s = nn.add %c3, %c4 : ({y}, {y}) -> {y}
      %r3 = nn.relu %s : ({y}) -> {y}
      func.return %r3 : {y}
    }}"""
    module = same_result(text, {"n": 2, "h": 5, "w": 6}, kernels=4)
    assert names(module) == ["conv_relu", "conv_silu", "conv", "conv_add_relu"]


def test_a_transformer_layer_is_nine_kernels(same_result):
    x = "tensor<?x?x16xf32, #nn.dims<batch, seq, 16>>"
    split = "tensor<?x?x4x4xf32, #nn.dims<batch, seq, 4, 4>>"
    heads = "tensor<?x4x?x4xf32, #nn.dims<batch, 4, seq, 4>>"
    wide = "tensor<?x?x32xf32, #nn.dims<batch, seq, 32>>"
    w, v = "tensor<16x16xf32>", "tensor<16xf32>"

    def head(name: str) -> str:
        return f"""
      %{name}0 = nn.matmul %x, %w{name} : ({x}, {w}) -> {x}
      %{name}1 = nn.add %{name}0, %b : ({x}, {v}) -> {x}
      %{name}2 = nn.reshape %{name}1 : ({x}) -> {split}
      %{name} = nn.transpose %{name}2 {{perm = array<i64: 0, 2, 1, 3>}}
        : ({split}) -> {heads}"""

    text = f"""
    func.func @main(%x: {x}, %wq: {w}, %wk: {w}, %wv: {w}, %wo: {w}, %b: {v},
                    %wi: tensor<16x32xf32>, %wj: tensor<32x16xf32>) -> ({x}) {{
      {head("q")}{head("k")}{head("v")}
      %a = nn.attention %q, %k, %v {{scale = 0.5 : f64}}
        : ({heads}, {heads}, {heads}) -> {heads}
      %t = nn.transpose %a {{perm = array<i64: 0, 2, 1, 3>}} : ({heads}) -> {split}
      %m = nn.reshape %t : ({split}) -> {x}
      %o = nn.matmul %m, %wo : ({x}, {w}) -> {x}
      %r = nn.add %o, %x : ({x}, {x}) -> {x}
      %n = nn.layer_norm %r, %b, %b {{axis = -1 : i64, epsilon = 1.0e-5 : f64}}
        : ({x}, {v}, {v}) -> {x}
      %f = nn.matmul %n, %wi : ({x}, tensor<16x32xf32>) -> {wide}
      %g = nn.gelu %f : ({wide}) -> {wide}
      %h = nn.matmul %g, %wj : ({wide}, tensor<32x16xf32>) -> {x}
      %s = nn.add %h, %n : ({x}, {x}) -> {x}
      %y = nn.layer_norm %s, %b, %b {{axis = -1 : i64, epsilon = 1.0e-5 : f64}}
        : ({x}, {v}, {v}) -> {x}
      func.return %y : {x}
    }}"""
    module = same_result(text, {"batch": 2, "seq": 5}, kernels=9)
    assert names(module)[3:] == [
        "attention",
        "matmul_add",
        "layer_norm",
        "matmul_gelu",
        "matmul_add",
        "layer_norm",
    ]


def test_squeeze_and_excitation_scales_in_one_map(same_result):
    x = "tensor<2x5x6x8xf32>"
    s, h = "tensor<2x1x1x8xf32>", "tensor<2x1x1x2xf32>"
    k1, k2 = "tensor<1x1x8x2xf32>", "tensor<1x1x2x8xf32>"
    plain = CONV.format(s=1, p=0)
    text = f"""
    func.func @main(%x: {x}, %w1: {k1}, %w2: {k2}, %z: {x}) -> ({x}) {{
      %m = nn.reduce %x {{kind = "mean", axes = array<i64: 1, 2>, keepdims = true}}
        : ({x}) -> {s}
      %c1 = nn.conv %m, %w1 {plain} : ({s}, {k1}) -> {h}
      %r = nn.relu %c1 : ({h}) -> {h}
      %c2 = nn.conv %r, %w2 {plain} : ({h}, {k2}) -> {s}
      %g = nn.hard_sigmoid %c2 : ({s}) -> {s}
      %y = nn.mul %x, %g : ({x}, {s}) -> {x}
      %t = nn.add %y, %z : ({x}, {x}) -> {x}
      func.return %t : {x}
    }}"""
    module = same_result(text, kernels=4)
    assert names(module) == ["reduce", "conv_relu", "conv_hard_sigmoid", "mul_add"]


def test_dynamic_quantization_is_statistics_and_one_map(same_result):
    x, s = "tensor<?x8xf32, #nn.dims<n, 8>>", "tensor<f32>"
    text = f"""
    func.func @main(%x: {x}) -> ({x}) {{
      %zero = nn.constant {{value = dense<0.0> : {s}}} : {s}
      %span = nn.constant {{value = dense<255.0> : {s}}} : {s}
      %a = nn.reduce %x {{kind = "max", axes = array<i64: 0, 1>, keepdims = false}}
        : ({x}) -> {s}
      %b = nn.reduce %x {{kind = "min", axes = array<i64: 0, 1>, keepdims = false}}
        : ({x}) -> {s}
      %high = nn.maximum %a, %zero : ({s}, {s}) -> {s}
      %low = nn.minimum %b, %zero : ({s}, {s}) -> {s}
      %d = nn.sub %high, %low : ({s}, {s}) -> {s}
      %scale = nn.div %d, %span : ({s}, {s}) -> {s}
      %q = nn.div %x, %scale : ({x}, {s}) -> {x}
      %y = nn.round %q : ({x}) -> {x}
      func.return %y : {x}
    }}"""
    same_result(text, {"n": 3}, kernels=2)
