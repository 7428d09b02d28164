// RUN: stepwell-opt %s -p collapse-dims --no-locations | filecheck %s

// Neighbouring dims of an elementwise map become one long row.
// CHECK-LABEL: func.func @elementwise_is_one_row
// CHECK: nn.reshape %{{.*}} : (tensor<2x3x4xf32>) -> tensor<24xf32>
// CHECK: fusion.generic [abc: 24] ins(%{{.*}}[abc] : tensor<24xf32>) outs(set [abc] : tensor<24xf32>)
// CHECK: nn.reshape %{{.*}} : (tensor<24xf32>) -> tensor<2x3x4xf32>
func.func @elementwise_is_one_row(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %y = fusion.kernel "exp" (%a = %x) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
    %0 = fusion.generic [a: 2, b: 3, c: 4] ins(%a[a, b, c] : tensor<2x3x4xf32>)
        outs(set [a, b, c] : tensor<2x3x4xf32>) {
    ^bb0(%s: f32):
      %e = math.exp %s : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<2x3x4xf32>
  }
  func.return %y : tensor<2x3x4xf32>
}

// An operand that is broadcast along one of two dims keeps them apart.
// CHECK-LABEL: func.func @broadcast_keeps_dims_apart
// CHECK: fusion.generic [a: 2, b: 3]
func.func @broadcast_keeps_dims_apart(%x: tensor<2x3xf32>, %w: tensor<3xf32>) -> tensor<2x3xf32> {
  %y = fusion.kernel "add" (%a = %x, %b = %w) : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> {
    %0 = fusion.generic [a: 2, b: 3]
        ins(%a[a, b] : tensor<2x3xf32>, %b[b] : tensor<3xf32>)
        outs(set [a, b] : tensor<2x3xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.addf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<2x3xf32>
  }
  func.return %y : tensor<2x3xf32>
}

// The taps and channels of a convolution with few channels are one inner dim; the
// guard of the row is a guard of the merged index.
// CHECK-LABEL: func.func @taps_and_channels_are_one_inner_dim
// CHECK: fusion.generic [q: 8, o: 4, reduction sc: 9]
// CHECK-SAME: [6 * q + sc - 3] where [6 * q + sc - 3 < 48] else 0.0 : tensor<48xf32>
// CHECK-SAME: [sc, o] : tensor<9x4xf32>
func.func @taps_and_channels_are_one_inner_dim(%x: tensor<16x3xf32>, %w: tensor<3x3x4xf32>) -> tensor<8x4xf32> {
  %y = fusion.kernel "conv" (%a = %x, %b = %w) : (tensor<16x3xf32>, tensor<3x3x4xf32>) -> tensor<8x4xf32> {
    %0 = fusion.generic [q: 8, o: 4, reduction s: 3, reduction c: 3]
        ins(%a[q * 2 + s - 1, c] where [q * 2 + s - 1 < 16] else 0.0 : tensor<16x3xf32>,
            %b[s, c, o] : tensor<3x3x4xf32>)
        outs(add [q, o] : tensor<8x4xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.mulf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<8x4xf32>
  }
  func.return %y : tensor<8x4xf32>
}
