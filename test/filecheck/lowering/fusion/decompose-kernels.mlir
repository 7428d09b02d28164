// RUN: stepwell-opt %s -p form-kernels,decompose-kernels --split-input-file --no-locations | filecheck %s

// CHECK-LABEL: func.func @a_convolution_is_a_guarded_sum_of_products
// CHECK: fusion.generic [n: 2, p: 7, q: 6, o: 4, reduction r: 3, reduction s: 3, reduction c: 6]
// CHECK-SAME: ins(%{{.*}}[n, p + 2 * r - 1, q + 2 * s - 1, c] where [p + 2 * r - 1 < 9, q + 2 * s - 1 < 8] else 0 : tensor<2x9x8x6xf32>, %{{.*}}[r, s, c, o] : tensor<3x3x6x4xf32>)
// CHECK-SAME: outs(add [n, p, q, o] : tensor<2x7x6x4xf32>)
// CHECK: arith.mulf
// CHECK: fusion.yield
func.func @a_convolution_is_a_guarded_sum_of_products(%x: tensor<2x9x8x6xf32>, %w: tensor<3x3x6x4xf32>) -> tensor<2x7x6x4xf32> {
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 2, 2>, channels_last = true} : (tensor<2x9x8x6xf32>, tensor<3x3x6x4xf32>) -> tensor<2x7x6x4xf32>
  func.return %y : tensor<2x7x6x4xf32>
}

// -----

// CHECK-LABEL: func.func @dims_of_extent_one_are_dropped
// CHECK: fusion.generic [n: 10, reduction k: 4] ins(%{{.*}}[0, k] : tensor<1x4xf32>, %{{.*}}[k, n] : tensor<4x10xf32>) outs(add [0, n] : tensor<1x10xf32>)
func.func @dims_of_extent_one_are_dropped(%x: tensor<1x4xf32>, %w: tensor<4x10xf32>) -> tensor<1x10xf32> {
  %y = nn.matmul %x, %w : (tensor<1x4xf32>, tensor<4x10xf32>) -> tensor<1x10xf32>
  func.return %y : tensor<1x10xf32>
}

// -----

// CHECK-LABEL: func.func @narrow_floats_are_summed_in_f32
// CHECK: ^bb0(%[[A:.*]]: f16, %[[B:.*]]: f16):
// CHECK-NEXT: arith.extf %[[A]]
// CHECK-NEXT: arith.extf %[[B]]
// CHECK: outs(set [m, n] : tensor<5x3xf16>)
// CHECK: arith.truncf
func.func @narrow_floats_are_summed_in_f32(%x: tensor<5x7xf16>, %w: tensor<7x3xf16>) -> tensor<5x3xf16> {
  %y = nn.matmul %x, %w : (tensor<5x7xf16>, tensor<7x3xf16>) -> tensor<5x3xf16>
  func.return %y : tensor<5x3xf16>
}

// -----

// A dim called as a symbol of the model is renamed.
// CHECK-LABEL: func.func @names_of_dims_avoid_symbols
// CHECK: fusion.generic [m: m_rows, n_: n, reduction k: 8]
func.func @names_of_dims_avoid_symbols(%x: tensor<?x8xf32, #nn.dims<m_rows, 8>>, %w: tensor<8x?xf32, #nn.dims<8, n>>) -> tensor<?x?xf32, #nn.dims<m_rows, n>> {
  %y = nn.matmul %x, %w : (tensor<?x8xf32, #nn.dims<m_rows, 8>>, tensor<8x?xf32, #nn.dims<8, n>>) -> tensor<?x?xf32, #nn.dims<m_rows, n>>
  func.return %y : tensor<?x?xf32, #nn.dims<m_rows, n>>
}

// -----

// CHECK-LABEL: func.func @a_transposed_convolution_gathers_by_phase
// CHECK: fusion.generic [o: 3, p1: 5, p0: 2, reduction c: 4] ins(%{{.*}}[0, c, p1] : tensor<1x4x5xf32>, %{{.*}}[c, o, p0] : tensor<4x3x2xf32>) outs(add [0, o, p0 + 2 * p1] : tensor<1x3x10xf32>)
func.func @a_transposed_convolution_gathers_by_phase(%x: tensor<1x4x5xf32>, %w: tensor<4x3x2xf32>) -> tensor<1x3x10xf32> {
  %y = nn.conv_transpose %x, %w {strides = array<i64: 2>, pads = #nn.dims<0, 0>, dilations = array<i64: 1>, output_padding = #nn.dims<0>} : (tensor<1x4x5xf32>, tensor<4x3x2xf32>) -> tensor<1x3x10xf32>
  func.return %y : tensor<1x3x10xf32>
}

// -----

// CHECK-LABEL: func.func @a_norm_finishes_its_statistics_per_row
// CHECK: fusion.generic [d0: 4, reduction d1: 8]{{.*}}outs(add [d0] : tensor<4xf32>)
// CHECK: fusion.generic [d0: 4] ins
// CHECK: fusion.generic [d0: 4, reduction d1: 8]
// CHECK: fusion.generic [d0: 4] ins
// CHECK: math.sqrt
// CHECK: fusion.generic [d0: 4, d1: 8] ins
func.func @a_norm_finishes_its_statistics_per_row(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = nn.layer_norm %x, none, none {axis = -1 : i64, epsilon = 1.0e-5 : f64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  func.return %y : tensor<4x8xf32>
}
