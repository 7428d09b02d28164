// RUN: stepwell-opt %s -p assign-schedules --target cpu-avx512 --no-locations | filecheck %s

// CHECK-LABEL: func.func @vectors_along_the_contiguous_dim
// CHECK: schedule #fusion.schedule<map, tile = [a = 64]>
func.func @vectors_along_the_contiguous_dim(%x: tensor<640xf32>) -> tensor<640xf32> {
  %y = fusion.kernel "neg" (%a = %x) : (tensor<640xf32>) -> tensor<640xf32> {
    %0 = fusion.generic [a: 640] ins(%a[a] : tensor<640xf32>) outs(set [a] : tensor<640xf32>) {
    ^bb0(%s: f32):
      %e = arith.negf %s : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<640xf32>
  }
  func.return %y : tensor<640xf32>
}

// CHECK-LABEL: func.func @a_transpose_spans_both_dims
// CHECK: schedule #fusion.schedule<map, tile = [b = 16, a = 16]>
func.func @a_transpose_spans_both_dims(%x: tensor<16x32xf32>) -> tensor<32x16xf32> {
  %y = fusion.kernel "transpose" (%a = %x) : (tensor<16x32xf32>) -> tensor<32x16xf32> {
    %0 = fusion.generic [a: 16, b: 32] ins(%a[a, b] : tensor<16x32xf32>) outs(set [b, a] : tensor<32x16xf32>) {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    fusion.yield %0 : tensor<32x16xf32>
  }
  func.return %y : tensor<32x16xf32>
}

// CHECK-LABEL: func.func @register_tiles_of_a_product
// CHECK: schedule #fusion.schedule<contraction, {{.*}}tile = [m = {{[0-9]+}}, n = {{[0-9]+}}, k = 128]>
func.func @register_tiles_of_a_product(%x: tensor<64x128xf32>, %w: tensor<128x96xf32>) -> tensor<64x96xf32> {
  %y = fusion.kernel "matmul" (%a = %x, %b = %w) : (tensor<64x128xf32>, tensor<128x96xf32>) -> tensor<64x96xf32> {
    %0 = fusion.generic [m: 64, n: 96, reduction k: 128]
        ins(%a[m, k] : tensor<64x128xf32>, %b[k, n] : tensor<128x96xf32>)
        outs(add [m, n] : tensor<64x96xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.mulf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<64x96xf32>
  }
  func.return %y : tensor<64x96xf32>
}

// A row that is contiguous is held whole; its lanes are combined at the end.
// CHECK-LABEL: func.func @a_row_is_held_whole
// CHECK: schedule #fusion.schedule<reduction, tile = [m = 1]>
// CHECK: fusion.schedule = #fusion.schedule<reduction, tile = [m = 1, k = 200]>
func.func @a_row_is_held_whole(%x: tensor<4x200xf32>) -> tensor<4xf32> {
  %y = fusion.kernel "sum" (%a = %x) : (tensor<4x200xf32>) -> tensor<4xf32> {
    %0 = fusion.generic [m: 4, reduction k: 200] ins(%a[m, k] : tensor<4x200xf32>) outs(add [m] : tensor<4xf32>) {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    fusion.yield %0 : tensor<4xf32>
  }
  func.return %y : tensor<4xf32>
}

// Where an outer dim is contiguous, lanes are independent sums.
// CHECK-LABEL: func.func @lanes_are_independent_sums
// CHECK: fusion.schedule = #fusion.schedule<reduction, tile = [m = 32]>
func.func @lanes_are_independent_sums(%x: tensor<200x64xf32>) -> tensor<64xf32> {
  %y = fusion.kernel "sum" (%a = %x) : (tensor<200x64xf32>) -> tensor<64xf32> {
    %0 = fusion.generic [m: 64, reduction k: 200] ins(%a[k, m] : tensor<200x64xf32>) outs(add [m] : tensor<64xf32>) {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    fusion.yield %0 : tensor<64xf32>
  }
  func.return %y : tensor<64xf32>
}

// What a person wrote stays.
// CHECK-LABEL: func.func @a_schedule_that_is_there_stays
// CHECK: schedule #fusion.schedule<map, grid = [a = 320], tile = [a = 16]>
func.func @a_schedule_that_is_there_stays(%x: tensor<640xf32>) -> tensor<640xf32> {
  %y = fusion.kernel "neg" (%a = %x) schedule #fusion.schedule<map, grid = [a = 320], tile = [a = 16]> : (tensor<640xf32>) -> tensor<640xf32> {
    %0 = fusion.generic [a: 640] ins(%a[a] : tensor<640xf32>) outs(set [a] : tensor<640xf32>) {
    ^bb0(%s: f32):
      %e = arith.negf %s : f32
      fusion.yield %e : f32
    }
    fusion.yield %0 : tensor<640xf32>
  }
  func.return %y : tensor<640xf32>
}
