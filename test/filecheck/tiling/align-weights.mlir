// RUN: stepwell-opt %s -p align-weights --no-locations | filecheck %s

// Rows of 41 halves are not whole 16 bytes; the columns, of 8, are.
// CHECK-LABEL: func.func @constant_weights_are_turned
// CHECK: %[[W:.*]] = nn.constant
// CHECK: %[[TURNED:.*]] = nn.transpose %[[W]] {perm = array<i64: 1, 0>} : (tensor<8x41xf16>) -> tensor<41x8xf16>
// CHECK: fusion.kernel "matmul" (%{{.*}} = %{{.*}}, %{{.*}} = %[[TURNED]])
// CHECK: [n, k] : tensor<41x8xf16>
func.func @constant_weights_are_turned(%x: tensor<4x8xf16>) -> tensor<4x41xf32> {
  %w = nn.constant {value = dense<1.0> : tensor<8x41xf16>} : tensor<8x41xf16>
  %y = fusion.kernel "matmul" (%a = %x, %b = %w) : (tensor<4x8xf16>, tensor<8x41xf16>) -> tensor<4x41xf32> {
    %0 = fusion.generic [m: 4, n: 41, reduction k: 8]
        ins(%a[m, k] : tensor<4x8xf16>, %b[k, n] : tensor<8x41xf16>)
        outs(add [m, n] : tensor<4x41xf32>) {
    ^bb0(%s: f16, %t: f16):
      %c = arith.extf %s : f16 to f32
      %d = arith.extf %t : f16 to f32
      %e = arith.mulf %c, %d : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<4x41xf32>
  }
  func.return %y : tensor<4x41xf32>
}

// What is computed at run time is read as it is.
// CHECK-LABEL: func.func @computed_factors_stay
// CHECK-NOT: nn.transpose
// CHECK: [k, n] : tensor<8x41xf16>
func.func @computed_factors_stay(%x: tensor<4x8xf16>, %w: tensor<8x41xf16>) -> tensor<4x41xf32> {
  %y = fusion.kernel "matmul" (%a = %x, %b = %w) : (tensor<4x8xf16>, tensor<8x41xf16>) -> tensor<4x41xf32> {
    %0 = fusion.generic [m: 4, n: 41, reduction k: 8]
        ins(%a[m, k] : tensor<4x8xf16>, %b[k, n] : tensor<8x41xf16>)
        outs(add [m, n] : tensor<4x41xf32>) {
    ^bb0(%s: f16, %t: f16):
      %c = arith.extf %s : f16 to f32
      %d = arith.extf %t : f16 to f32
      %e = arith.mulf %c, %d : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<4x41xf32>
  }
  func.return %y : tensor<4x41xf32>
}

// Aligned rows stay, and so do those that no order aligns.
// CHECK-LABEL: func.func @nothing_to_gain
// CHECK-NOT: nn.transpose
// CHECK: [k, n] : tensor<8x40xf16>
// CHECK: [k, n] : tensor<39x41xf16>
func.func @nothing_to_gain(%x: tensor<4x8xf16>, %z: tensor<4x39xf16>) -> (tensor<4x40xf32>, tensor<4x41xf32>) {
  %w = nn.constant {value = dense<1.0> : tensor<8x40xf16>} : tensor<8x40xf16>
  %v = nn.constant {value = dense<1.0> : tensor<39x41xf16>} : tensor<39x41xf16>
  %y = fusion.kernel "even" (%a = %x, %b = %w) : (tensor<4x8xf16>, tensor<8x40xf16>) -> tensor<4x40xf32> {
    %0 = fusion.generic [m: 4, n: 40, reduction k: 8]
        ins(%a[m, k] : tensor<4x8xf16>, %b[k, n] : tensor<8x40xf16>)
        outs(add [m, n] : tensor<4x40xf32>) {
    ^bb0(%s: f16, %t: f16):
      %c = arith.extf %s : f16 to f32
      %d = arith.extf %t : f16 to f32
      %e = arith.mulf %c, %d : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<4x40xf32>
  }
  %u = fusion.kernel "odd" (%a = %z, %b = %v) : (tensor<4x39xf16>, tensor<39x41xf16>) -> tensor<4x41xf32> {
    %0 = fusion.generic [m: 4, n: 41, reduction k: 39]
        ins(%a[m, k] : tensor<4x39xf16>, %b[k, n] : tensor<39x41xf16>)
        outs(add [m, n] : tensor<4x41xf32>) {
    ^bb0(%s: f16, %t: f16):
      %c = arith.extf %s : f16 to f32
      %d = arith.extf %t : f16 to f32
      %e = arith.mulf %c, %d : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<4x41xf32>
  }
  func.return %y, %u : tensor<4x40xf32>, tensor<4x41xf32>
}
