// RUN: stepwell-opt %s -p fold-pad-into-conv --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p fold-pad-into-conv --split-input-file --explain 2>&1 | filecheck %s --check-prefix=WHY

// CHECK-LABEL: @zero_pads_add_to_the_convolution
// CHECK-NEXT: nn.conv %x, %w {{.*}}pads = #nn.dims<1, 2, 2, 3>
func.func @zero_pads_add_to_the_convolution(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x4x9x11xf32> {
  %p = nn.pad %x {low = #nn.dims<0, 0, 0, 1>, high = #nn.dims<0, 0, 1, 2>, mode = "constant"} : (tensor<1x3x8x8xf32>) -> tensor<1x3x9x11xf32>
  %y = nn.conv %p, %w {strides = array<i64: 1, 1>, pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x3x9x11xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x9x11xf32>
  func.return %y : tensor<1x4x9x11xf32>
}

// -----

// CHECK-LABEL: @zeros_lose_against_what_is_never_negative
// CHECK: nn.max_pool %{{.*}}pads = #nn.dims<1, 1, 1, 1>
func.func @zeros_lose_against_what_is_never_negative(%x: tensor<1x3x8x8xf32>) -> tensor<1x3x4x4xf32> {
  %r = nn.relu %x : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32>
  %p = nn.pad %r {low = #nn.dims<0, 0, 1, 1>, high = #nn.dims<0, 0, 1, 1>, mode = "constant"} : (tensor<1x3x8x8xf32>) -> tensor<1x3x10x10xf32>
  %y = nn.max_pool %p {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x10x10xf32>) -> tensor<1x3x4x4xf32>
  func.return %y : tensor<1x3x4x4xf32>
}

// -----

// CHECK-LABEL: @zeros_may_win_against_negative_numbers
// CHECK: nn.pad
// WHY: fold-pad-into-conv: nn.max_pool of pool: the padding could be the maximum
func.func @zeros_may_win_against_negative_numbers(%x: tensor<1x3x8x8xf32>) -> tensor<1x3x4x4xf32> {
  %p = nn.pad %x {low = #nn.dims<0, 0, 1, 1>, high = #nn.dims<0, 0, 1, 1>, mode = "constant"} : (tensor<1x3x8x8xf32>) -> tensor<1x3x10x10xf32>
  %y = nn.max_pool %p {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x10x10xf32>) -> tensor<1x3x4x4xf32> loc("pool")
  func.return %y : tensor<1x3x4x4xf32>
}

// -----

// CHECK-LABEL: @padding_then_counts_in_an_average
// CHECK-NEXT: nn.avg_pool %x {{.*}}pads = #nn.dims<1, 1, 1, 1>{{.*}}count_include_pad = true
func.func @padding_then_counts_in_an_average(%x: tensor<1x3x8x8xf32>) -> tensor<1x3x5x5xf32> {
  %p = nn.pad %x {low = #nn.dims<0, 0, 1, 1>, high = #nn.dims<0, 0, 1, 1>, mode = "constant"} : (tensor<1x3x8x8xf32>) -> tensor<1x3x10x10xf32>
  %y = nn.avg_pool %p {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x10x10xf32>) -> tensor<1x3x5x5xf32>
  func.return %y : tensor<1x3x5x5xf32>
}
