// RUN: stepwell-opt %s -p convert-fusion-to-tile --split-input-file --verify-diagnostics | filecheck %s

// CHECK: expected a schedule on kernel neg, got none
func.func @a_kernel_without_schedule(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y = fusion.kernel "neg" (%a = %x) : (tensor<8xf32>) -> tensor<8xf32> {
    %0 = fusion.generic [i: 8] ins(%a[i] : tensor<8xf32>) outs(set [i] : tensor<8xf32>) {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    fusion.yield %0 : tensor<8xf32>
  }
  func.return %y : tensor<8xf32>
}

// -----

// CHECK: expected a tile over one row, one inner and one column dim, got m, n
func.func @a_product_without_inner_axis(%x: tensor<4x8xf32>, %w: tensor<8x4xf32>) -> tensor<4x4xf32> {
  %y = fusion.kernel "mm" (%a = %x, %b = %w) schedule #fusion.schedule<contraction, tile = [m = 4, n = 4]>
      : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32> {
    %0 = fusion.generic [m: 4, n: 4, reduction k: 8]
        ins(%a[m, k] : tensor<4x8xf32>, %b[k, n] : tensor<8x4xf32>)
        outs(add [m, n] : tensor<4x4xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.mulf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<4x4xf32>
  }
  func.return %y : tensor<4x4xf32>
}
