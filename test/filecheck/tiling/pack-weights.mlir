// RUN: stepwell-opt %s -p pack-weights --no-locations | filecheck %s

// The weights of a tile of 32 columns lie one row behind the other.
// CHECK-LABEL: func.func @constant_weights_become_panels
// CHECK: %[[W:.*]] = nn.constant
// CHECK: %[[PADDED:.*]] = nn.pad %[[W]] {low = #nn.dims<0, 0>, high = #nn.dims<0, 24>
// CHECK: %[[CUT:.*]] = nn.reshape %[[PADDED]] : (tensor<8x64xf32>) -> tensor<8x2x32xf32>
// CHECK: %[[PACKED:.*]] = nn.transpose %[[CUT]] {perm = array<i64: 1, 0, 2>}
// CHECK: fusion.kernel "matmul" (%{{.*}} = %{{.*}}, %{{.*}} = %[[PACKED]])
// CHECK: [n floordiv 32, k, n mod 32] : tensor<2x8x32xf32>
func.func @constant_weights_become_panels(%x: tensor<4x8xf32>) -> tensor<4x40xf32> {
  %w = nn.constant {value = dense<1.0> : tensor<8x40xf32>} : tensor<8x40xf32>
  %y = fusion.kernel "matmul" (%a = %x, %b = %w)
      schedule #fusion.schedule<contraction, tile = [m = 4, n = 32, k = 8]>
      : (tensor<4x8xf32>, tensor<8x40xf32>) -> tensor<4x40xf32> {
    %0 = fusion.generic [m: 4, n: 40, reduction k: 8]
        ins(%a[m, k] : tensor<4x8xf32>, %b[k, n] : tensor<8x40xf32>)
        outs(add [m, n] : tensor<4x40xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.mulf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<4x40xf32>
  }
  func.return %y : tensor<4x40xf32>
}

// What is computed at run time is read as it is.
// CHECK-LABEL: func.func @computed_factors_stay
// CHECK-NOT: nn.pad
// CHECK: [k, n] : tensor<8x40xf32>
func.func @computed_factors_stay(%x: tensor<4x8xf32>, %w: tensor<8x40xf32>) -> tensor<4x40xf32> {
  %y = fusion.kernel "matmul" (%a = %x, %b = %w)
      schedule #fusion.schedule<contraction, tile = [m = 4, n = 32, k = 8]>
      : (tensor<4x8xf32>, tensor<8x40xf32>) -> tensor<4x40xf32> {
    %0 = fusion.generic [m: 4, n: 40, reduction k: 8]
        ins(%a[m, k] : tensor<4x8xf32>, %b[k, n] : tensor<8x40xf32>)
        outs(add [m, n] : tensor<4x40xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.mulf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<4x40xf32>
  }
  func.return %y : tensor<4x40xf32>
}
