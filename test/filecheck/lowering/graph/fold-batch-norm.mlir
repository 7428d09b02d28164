// RUN: stepwell-opt %s -p fold-batch-norm --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p fold-batch-norm --split-input-file --explain 2>&1 | filecheck %s --check-prefix=WHY

// CHECK-LABEL: @statistics_fold_into_weight_and_bias
// CHECK: %[[W:.*]] = nn.constant {value = dense<{{\[\[\[\[}}2.000000e+00]]], {{\[\[\[}}6.000000e+00]]]]>
// CHECK: %[[B:.*]] = nn.constant {value = dense<[-1.000000e+00, 1.000000e+00]>
// CHECK: %[[Y:.*]] = nn.conv %x, %[[W]], %[[B]]
// CHECK-NEXT: func.return %[[Y]]
func.func @statistics_fold_into_weight_and_bias(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %w = nn.constant {value = dense<[[[[1.0]]], [[[2.0]]]]> : tensor<2x1x1x1xf32>} : tensor<2x1x1x1xf32>
  %scale = nn.constant {value = dense<[2.0, 3.0]> : tensor<2xf32>} : tensor<2xf32>
  %bias = nn.constant {value = dense<[1.0, 1.0]> : tensor<2xf32>} : tensor<2xf32>
  %mean = nn.constant {value = dense<[1.0, 0.0]> : tensor<2xf32>} : tensor<2xf32>
  %variance = nn.constant {value = dense<[0.75, 0.75]> : tensor<2xf32>} : tensor<2xf32>
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x4x4xf32>
  %b = nn.batch_norm %a, %scale, %bias, %mean, %variance {epsilon = 0.25 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  func.return %b : tensor<1x2x4x4xf32>
}

// -----

// CHECK-LABEL: @an_added_constant_per_channel_is_a_bias
// CHECK: %[[B:.*]] = nn.constant {value = dense<[5.000000e-01, 1.500000e+00]>
// CHECK: %[[Y:.*]] = nn.conv %x, %w, %[[B]] {{.*}} loc(fused["conv", "add"])
// CHECK-NEXT: func.return %[[Y]]
func.func @an_added_constant_per_channel_is_a_bias(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %w = nn.constant {value = dense<[[[[1.0]]], [[[2.0]]]]> : tensor<2x1x1x1xf32>} : tensor<2x1x1x1xf32>
  %c = nn.constant {value = dense<[[[[0.5]], [[1.5]]]]> : tensor<1x2x1x1xf32>} : tensor<1x2x1x1xf32>
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x4x4xf32> loc("conv")
  %b = nn.add %a, %c : (tensor<1x2x4x4xf32>, tensor<1x2x1x1xf32>) -> tensor<1x2x4x4xf32> loc("add")
  func.return %b : tensor<1x2x4x4xf32>
}

// -----

// Groups: filters of a transposed convolution belong to the group of their input.
// CHECK-LABEL: @scale_of_a_grouped_transposed_convolution
// CHECK: nn.constant {value = dense<[3.000000e+00, 5.000000e+00]> : tensor<2xf32>}
// CHECK-NOT: nn.mul
func.func @scale_of_a_grouped_transposed_convolution(%x: tensor<1x4x2x2xf32>) -> tensor<1x2x4x4xf32> {
  %w = nn.constant {value = dense<[[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]], [[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]]> : tensor<4x1x2x2xf32>} : tensor<4x1x2x2xf32>
  %bias = nn.constant {value = dense<[1.0, 1.0]> : tensor<2xf32>} : tensor<2xf32>
  %c = nn.constant {value = dense<[[[3.0]], [[5.0]]]> : tensor<2x1x1xf32>} : tensor<2x1x1xf32>
  %a = nn.conv_transpose %x, %w, %bias {strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>, groups = 2 : i64, output_padding = #nn.dims<0, 0>} : (tensor<1x4x2x2xf32>, tensor<4x1x2x2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  %b = nn.mul %a, %c : (tensor<1x2x4x4xf32>, tensor<2x1x1xf32>) -> tensor<1x2x4x4xf32>
  func.return %b : tensor<1x2x4x4xf32>
}

// -----

// CHECK-LABEL: @a_convolution_with_another_user_stays
// CHECK: nn.mul
// WHY: fold-scale: nn.mul of scale: the convolution has another user
func.func @a_convolution_with_another_user_stays(%x: tensor<1x1x4x4xf32>) -> (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) {
  %w = nn.constant {value = dense<[[[[1.0]]], [[[2.0]]]]> : tensor<2x1x1x1xf32>} : tensor<2x1x1x1xf32>
  %c = nn.constant {value = dense<[[[[0.5]], [[1.5]]]]> : tensor<1x2x1x1xf32>} : tensor<1x2x1x1xf32>
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x4x4xf32>
  %b = nn.mul %a, %c : (tensor<1x2x4x4xf32>, tensor<1x2x1x1xf32>) -> tensor<1x2x4x4xf32> loc("scale")
  func.return %a, %b : tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>
}
