// RUN: stepwell-opt %s -p propagate-channels-last,convert-conv-transpose --split-input-file | filecheck %s

// A kernel as large as the stride: a 1x1 convolution, which is a matrix product.
// CHECK-LABEL: @kernel_as_large_as_the_stride
// CHECK: nn.conv %{{.*}} -> tensor<1x4x4x8xf32>
// CHECK-NEXT: nn.reshape {{.*}} -> tensor<1x4x4x1x2x2x2xf32>
// CHECK-NEXT: nn.transpose
// CHECK-NEXT: nn.reshape {{.*}} -> tensor<1x8x8x2xf32>
// CHECK-NOT: nn.conv_transpose
func.func @kernel_as_large_as_the_stride(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x8x8xf32> {
  %w = nn.constant {value = dense<[[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]]> : tensor<1x2x2x2xf32>} : tensor<1x2x2x2xf32>
  %y = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>, output_padding = #nn.dims<0, 0>} : (tensor<1x1x4x4xf32>, tensor<1x2x2x2xf32>) -> tensor<1x2x8x8xf32>
  func.return %y : tensor<1x2x8x8xf32>
}

// -----

// CHECK-LABEL: @overlapping_windows_with_pads_groups_and_output_padding
// CHECK: nn.conv %{{.*}}pads = #nn.dims<1, 1>
// CHECK: nn.slice
// CHECK-NOT: nn.conv_transpose
func.func @overlapping_windows_with_pads_groups_and_output_padding(%x: tensor<2x4x5xf32>) -> tensor<2x2x10xf32> {
  %w = nn.constant {value = dense<[[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]], [[7.0, 8.0, 9.0]], [[1.0, 3.0, 5.0]]]> : tensor<4x1x3xf32>} : tensor<4x1x3xf32>
  %b = nn.constant {value = dense<[0.5, -0.5]> : tensor<2xf32>} : tensor<2xf32>
  %y = nn.conv_transpose %x, %w, %b {strides = array<i64: 2>, pads = #nn.dims<1, 1>, dilations = array<i64: 1>, groups = 2 : i64, output_padding = #nn.dims<1>} : (tensor<2x4x5xf32>, tensor<4x1x3xf32>, tensor<2xf32>) -> tensor<2x2x10xf32>
  func.return %y : tensor<2x2x10xf32>
}
