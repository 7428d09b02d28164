// RUN: stepwell-opt %s -p form-kernels,decompose-kernels,fuse-generics --split-input-file --no-locations | filecheck %s

// CHECK-LABEL: func.func @the_epilogue_is_one_map_over_the_contraction_dims
// CHECK: %[[ACC:.*]] = fusion.generic [m: 8, n: 4, reduction k: 16]
// CHECK: fusion.generic [m: 8, n: 4] ins(%[[ACC]][m, n] : tensor<8x4xf32>, %{{.*}}[n] : tensor<4xf32>) outs(set [m, n] : tensor<8x4xf32>)
// CHECK: arith.addf
// CHECK: arith.maximumf
// CHECK-NOT: fusion.generic
func.func @the_epilogue_is_one_map_over_the_contraction_dims(%x: tensor<8x16xf32>, %w: tensor<16x4xf32>, %b: tensor<4xf32>) -> tensor<8x4xf32> {
  %0 = nn.matmul %x, %w : (tensor<8x16xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  %1 = nn.add %0, %b : (tensor<8x4xf32>, tensor<4xf32>) -> tensor<8x4xf32>
  %2 = nn.relu %1 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %2 : tensor<8x4xf32>
}

// -----

// CHECK-LABEL: func.func @movement_becomes_the_map
// CHECK: fusion.generic [d0: 4, d1: 3] ins(%{{.*}}[d1, -2 * d0 + 7] : tensor<3x8xf32>) outs(set [d0, d1] : tensor<4x3xf32>)
func.func @movement_becomes_the_map(%x: tensor<3x8xf32>) -> tensor<4x3xf32> {
  %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<3x8xf32>) -> tensor<8x3xf32>
  %1 = nn.slice %0 {starts = #nn.dims<7, 0>, limits = #nn.dims<-1, 3>, steps = array<i64: -2, 1>} : (tensor<8x3xf32>) -> tensor<4x3xf32>
  %2 = nn.exp %1 : (tensor<4x3xf32>) -> tensor<4x3xf32>
  func.return %2 : tensor<4x3xf32>
}

// -----

// The heads of k are a split of its features: k is summed in two dims.
// CHECK-LABEL: func.func @a_dim_is_split_where_a_map_divides_it
// CHECK: fusion.generic [b0: 2, m: 6, n: 4, reduction k1: 3, reduction k0: 8] ins(%{{.*}}[b0, k1, m, k0] : tensor<2x3x6x8xf32>, %{{.*}}[k0 + 8 * k1, n] : tensor<24x4xf32>)
func.func @a_dim_is_split_where_a_map_divides_it(%x: tensor<2x3x6x8xf32>, %w: tensor<24x4xf32>) -> tensor<2x6x4xf32> {
  %0 = nn.transpose %x {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x3x6x8xf32>) -> tensor<2x6x3x8xf32>
  %1 = nn.reshape %0 : (tensor<2x6x3x8xf32>) -> tensor<2x6x24xf32>
  %2 = nn.matmul %1, %w : (tensor<2x6x24xf32>, tensor<24x4xf32>) -> tensor<2x6x4xf32>
  func.return %2 : tensor<2x6x4xf32>
}

// -----

// exp(0) is not the fill of the pad.
// CHECK-LABEL: func.func @code_behind_a_guard_selects_the_fill
// CHECK: fusion.generic [d0: 6] ins(%{{.*}}[d0 - 1] where [d0 - 1 < 4] else 0 : tensor<4xf32>,
// CHECK: %[[E:.*]] = math.exp
// CHECK: arith.select %{{.*}}, %[[E]], %{{.*}}
func.func @code_behind_a_guard_selects_the_fill(%x: tensor<4xf32>, %z: tensor<6xf32>) -> tensor<6xf32> {
  %y = fusion.kernel "exp_pad_add" (%a = %x, %b = %z) : (tensor<4xf32>, tensor<6xf32>) -> tensor<6xf32> {
    %0 = nn.exp %a : (tensor<4xf32>) -> tensor<4xf32>
    %1 = nn.pad %0 {low = #nn.dims<1>, high = #nn.dims<1>, mode = "constant"} : (tensor<4xf32>) -> tensor<6xf32>
    %2 = nn.add %1, %b : (tensor<6xf32>, tensor<6xf32>) -> tensor<6xf32>
    fusion.yield %2 : tensor<6xf32>
  }
  func.return %y : tensor<6xf32>
}

// -----

// CHECK-LABEL: func.func @a_row_statistic_is_not_computed_per_element
// CHECK: fusion.generic [d0: 4] ins
// CHECK: arith.divf
// CHECK: fusion.generic [d0: 4, d1: 8] ins
// CHECK-NOT: arith.divf
// CHECK: fusion.yield
func.func @a_row_statistic_is_not_computed_per_element(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = nn.rms_norm %x {axis = -1 : i64, epsilon = 1.0e-5 : f64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  func.return %y : tensor<4x8xf32>
}

// -----

// CHECK-LABEL: func.func @two_results_over_one_space_are_one_nest
// CHECK: fusion.generic [d0: 4] ins(%{{.*}}[d0] : tensor<4xf32>) outs(set [d0] : tensor<4xf32>, set [d0] : tensor<4xf32>)
// CHECK-NOT: fusion.generic
func.func @two_results_over_one_space_are_one_nest(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %a, %b = fusion.kernel "exp_neg" (%v = %x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %0 = nn.exp %v : (tensor<4xf32>) -> tensor<4xf32>
    %1 = nn.neg %v : (tensor<4xf32>) -> tensor<4xf32>
    fusion.yield %0, %1 : tensor<4xf32>, tensor<4xf32>
  }
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}
