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

// -----

// CHECK: kernel softmax writes a tensor at (i, j) -> [i] and reads it at (i, j) -> [j]
// CHECK: note: between two ops of a kernel, a tensor is read where it is written
func.func @a_statistic_read_at_another_row(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %y = fusion.kernel "softmax" (%a = %x) schedule #fusion.schedule<reduction, loops = [i = 1]>
      : (tensor<8x8xf32>) -> tensor<8x8xf32> {
    %0 = fusion.generic [i: 8, reduction j: 8] ins(%a[i, j] : tensor<8x8xf32>)
        outs(max [i] : tensor<8xf32>) attributes {fusion.schedule = #fusion.schedule<reduction, tile = [j = 8]>} {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    %1 = fusion.generic [i: 8, j: 8] ins(%a[i, j] : tensor<8x8xf32>, %0[j] : tensor<8xf32>)
        outs(set [i, j] : tensor<8x8xf32>) attributes {fusion.schedule = #fusion.schedule<reduction, tile = [j = 8]>} {
    ^bb0(%s: f32, %t: f32):
      %e = arith.subf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %1 : tensor<8x8xf32>
  }
  func.return %y : tensor<8x8xf32>
}

// -----

// CHECK: kernel group_norm writes a tensor at (g, c) -> [g] and reads it at (d) -> [d floordiv 4]
func.func @a_statistic_read_at_a_dim_of_its_own(%x: tensor<2x4xf32>) -> tensor<8xf32> {
  %y = fusion.kernel "group_norm" (%a = %x) schedule #fusion.schedule<reduction, loops = [g = 1]>
      : (tensor<2x4xf32>) -> tensor<8xf32> {
    %0 = fusion.generic [g: 2, reduction c: 4] ins(%a[g, c] : tensor<2x4xf32>)
        outs(add [g] : tensor<2xf32>) attributes {fusion.schedule = #fusion.schedule<reduction, tile = [c = 4]>} {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    %1 = fusion.generic [d: 8] ins(%0[d floordiv 4] : tensor<2xf32>)
        outs(set [d] : tensor<8xf32>) attributes {fusion.schedule = #fusion.schedule<reduction, tile = [d = 8]>} {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    fusion.yield %1 : tensor<8xf32>
  }
  func.return %y : tensor<8xf32>
}
