// RUN: stepwell-opt %s -p propagate-channels-last --split-input-file | filecheck %s

// CHECK-LABEL: @transposes_remain_at_the_borders
// CHECK: %[[X:.*]] = nn.transpose %x {perm = array<i64: 0, 2, 3, 1>}
// CHECK: %[[A:.*]] = nn.conv %[[X]], {{.*}}channels_last = true{{.*}} -> tensor<1x8x8x4xf32>
// CHECK: %[[B:.*]] = nn.relu %[[A]] : (tensor<1x8x8x4xf32>)
// CHECK: %[[C:.*]] = nn.max_pool %[[B]] {{.*}}channels_last = true
// CHECK: %[[Y:.*]] = nn.transpose %[[C]] {perm = array<i64: 0, 3, 1, 2>}
// CHECK-NEXT: func.return %[[Y]]
func.func @transposes_remain_at_the_borders(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x4x4x4xf32> {
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32>
  %b = nn.relu %a : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
  %c = nn.max_pool %b {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x4x4xf32>
  func.return %c : tensor<1x4x4x4xf32>
}

// -----

// A global pool and a classifier end without any transpose.
// CHECK-LABEL: @a_full_spatial_reduction_ends_the_order
// CHECK: nn.conv
// CHECK-NEXT: %[[R:.*]] = nn.reduce %{{.*}} {{.*}}axes = array<i64: 1, 2>
// CHECK-NEXT: func.return %[[R]]
func.func @a_full_spatial_reduction_ends_the_order(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x1x1xf32>) -> tensor<1x4xf32> {
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>, tensor<4x3x1x1xf32>) -> tensor<1x4x8x8xf32>
  %b = nn.reduce %a {kind = "mean", axes = array<i64: 2, 3>} : (tensor<1x4x8x8xf32>) -> tensor<1x4xf32>
  func.return %b : tensor<1x4xf32>
}

// -----

// CHECK-LABEL: @spatial_dims_merge_in_the_twin
// CHECK: nn.conv
// CHECK-NEXT: %[[R:.*]] = nn.reshape %{{.*}} -> tensor<1x64x4xf32>
// CHECK-NEXT: func.return %[[R]]
func.func @spatial_dims_merge_in_the_twin(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x1x1xf32>) -> tensor<1x64x4xf32> {
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>, tensor<4x3x1x1xf32>) -> tensor<1x4x8x8xf32>
  %b = nn.reshape %a : (tensor<1x4x8x8xf32>) -> tensor<1x4x64xf32>
  %c = nn.transpose %b {perm = array<i64: 0, 2, 1>} : (tensor<1x4x64xf32>) -> tensor<1x64x4xf32>
  func.return %c : tensor<1x64x4xf32>
}

// -----

// CHECK-LABEL: @per_channel_constants_become_vectors_of_the_last_dim
// CHECK: nn.constant {value = dense<[{{.*}}]> : tensor<1x1x1x2xf32>}
// CHECK: nn.mul %{{.*}} : (tensor<1x8x8x2xf32>, tensor<1x1x1x2xf32>)
func.func @per_channel_constants_become_vectors_of_the_last_dim(%x: tensor<1x3x8x8xf32>, %w: tensor<2x3x1x1xf32>) -> tensor<1x2x8x8xf32> {
  %s = nn.constant {value = dense<[[[1.5]], [[2.5]]]> : tensor<2x1x1xf32>} : tensor<2x1x1xf32>
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>, tensor<2x3x1x1xf32>) -> tensor<1x2x8x8xf32>
  %b = nn.mul %a, %s : (tensor<1x2x8x8xf32>, tensor<2x1x1xf32>) -> tensor<1x2x8x8xf32>
  func.return %b : tensor<1x2x8x8xf32>
}

// -----

// A channel shuffle swaps dims behind the spatial ones and needs no other transpose.
// CHECK-LABEL: @channel_shuffle
// CHECK: nn.conv
// CHECK-NEXT: %[[A:.*]] = nn.reshape {{.*}} -> tensor<1x8x8x2x2xf32>
// CHECK-NEXT: %[[B:.*]] = nn.transpose %[[A]] {perm = array<i64: 0, 1, 2, 4, 3>}
// CHECK-NEXT: %[[C:.*]] = nn.reshape %[[B]] {{.*}} -> tensor<1x8x8x4xf32>
// CHECK-NEXT: nn.max_pool %[[C]]
func.func @channel_shuffle(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x1x1xf32>) -> tensor<1x4x4x4xf32> {
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>, tensor<4x3x1x1xf32>) -> tensor<1x4x8x8xf32>
  %b = nn.reshape %a : (tensor<1x4x8x8xf32>) -> tensor<1x2x2x8x8xf32>
  %c = nn.transpose %b {perm = array<i64: 0, 2, 1, 3, 4>} : (tensor<1x2x2x8x8xf32>) -> tensor<1x2x2x8x8xf32>
  %d = nn.reshape %c : (tensor<1x2x2x8x8xf32>) -> tensor<1x4x8x8xf32>
  %e = nn.max_pool %d {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x4x8x8xf32>) -> tensor<1x4x4x4xf32>
  func.return %e : tensor<1x4x4x4xf32>
}
