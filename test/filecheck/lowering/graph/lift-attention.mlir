// RUN: stepwell-opt %s -p lift-attention,canonicalize --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p lift-attention --split-input-file --explain 2>&1 | filecheck %s --check-prefix=WHY

// CHECK-LABEL: @scaled_and_masked_scores
// CHECK-NEXT: %[[Y:.*]] = nn.attention %q, %k, %v, %mask {scale = 1.250000e-01 : f64}
// CHECK-NEXT: func.return %[[Y]]
func.func @scaled_and_masked_scores(%q: tensor<2x4x8x64xf32>, %k: tensor<2x4x8x64xf32>, %v: tensor<2x4x8x64xf32>, %mask: tensor<2x1x1x8xf32>) -> tensor<2x4x8x64xf32> {
  %eight = nn.constant {value = dense<8.0> : tensor<f32>} : tensor<f32>
  %kt = nn.transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x8x64xf32>) -> tensor<2x4x64x8xf32>
  %s = nn.matmul %q, %kt : (tensor<2x4x8x64xf32>, tensor<2x4x64x8xf32>) -> tensor<2x4x8x8xf32>
  %d = nn.div %s, %eight : (tensor<2x4x8x8xf32>, tensor<f32>) -> tensor<2x4x8x8xf32>
  %m = nn.add %d, %mask : (tensor<2x4x8x8xf32>, tensor<2x1x1x8xf32>) -> tensor<2x4x8x8xf32>
  %p = nn.softmax %m {axis = -1 : i64} : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %y = nn.matmul %p, %v : (tensor<2x4x8x8xf32>, tensor<2x4x8x64xf32>) -> tensor<2x4x8x64xf32>
  func.return %y : tensor<2x4x8x64xf32>
}

// -----

// One transpose brings the heads forward and transposes (BERT); the scale is at q.
// CHECK-LABEL: @keys_transposed_in_one_step
// CHECK-NEXT: %[[K:.*]] = nn.transpose %k {perm = array<i64: 0, 2, 1, 3>}
// CHECK-NEXT: nn.attention %q, %[[K]], %v {scale = 2.500000e-01 : f64}
func.func @keys_transposed_in_one_step(%q: tensor<2x4x8x64xf32>, %k: tensor<2x8x4x64xf32>, %v: tensor<2x4x8x64xf32>) -> tensor<2x4x8x64xf32> {
  %quarter = nn.constant {value = dense<0.25> : tensor<f32>} : tensor<f32>
  %qs = nn.mul %q, %quarter : (tensor<2x4x8x64xf32>, tensor<f32>) -> tensor<2x4x8x64xf32>
  %kt = nn.transpose %k {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x8x4x64xf32>) -> tensor<2x4x64x8xf32>
  %s = nn.matmul %qs, %kt : (tensor<2x4x8x64xf32>, tensor<2x4x64x8xf32>) -> tensor<2x4x8x8xf32>
  %p = nn.softmax %s {axis = 3 : i64} : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %y = nn.matmul %p, %v : (tensor<2x4x8x8xf32>, tensor<2x4x8x64xf32>) -> tensor<2x4x8x64xf32>
  func.return %y : tensor<2x4x8x64xf32>
}

// -----

// CHECK-LABEL: @probabilities_with_another_user_stay
// CHECK-NOT: nn.attention
// WHY: lift-attention: nn.matmul of ?: the probabilities have another user
func.func @probabilities_with_another_user_stay(%q: tensor<4x8x64xf32>, %k: tensor<4x64x8xf32>, %v: tensor<4x8x64xf32>) -> (tensor<4x8x64xf32>, tensor<4x8x8xf32>) {
  %s = nn.matmul %q, %k : (tensor<4x8x64xf32>, tensor<4x64x8xf32>) -> tensor<4x8x8xf32>
  %p = nn.softmax %s {axis = 2 : i64} : (tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
  %y = nn.matmul %p, %v : (tensor<4x8x8xf32>, tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  func.return %y, %p : tensor<4x8x64xf32>, tensor<4x8x8xf32>
}

// -----

// CHECK-LABEL: @softmax_along_another_dim_stays
// CHECK-NOT: nn.attention
// WHY: lift-attention: nn.matmul of ?: softmax does not run along the last dim
func.func @softmax_along_another_dim_stays(%q: tensor<4x8x64xf32>, %k: tensor<4x64x8xf32>, %v: tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %s = nn.matmul %q, %k : (tensor<4x8x64xf32>, tensor<4x64x8xf32>) -> tensor<4x8x8xf32>
  %p = nn.softmax %s {axis = 1 : i64} : (tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
  %y = nn.matmul %p, %v : (tensor<4x8x8xf32>, tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  func.return %y : tensor<4x8x64xf32>
}

// -----

// Probabilities that are guarded against rows that see nothing, and scales behind
// transposes, as PyTorch's exporter writes them.
// CHECK-LABEL: @guarded_probabilities
// CHECK: %[[Q:.*]] = nn.transpose %{{.*}} {perm = array<i64: 0, 2, 1, 3>}
// CHECK: nn.attention %[[Q]], %{{.*}}, %{{.*}}, %{{.*}} {scale = 2.500000e-01 : f64}
func.func @guarded_probabilities(%x: tensor<1x6x2x4xf32>, %y: tensor<1x6x2x4xf32>, %v: tensor<1x2x6x4xf32>, %m: tensor<1x1x6x6xf32>) -> tensor<1x2x6x4xf32> {
  %half = nn.constant {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %zero = nn.constant {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %a = nn.mul %x, %half : (tensor<1x6x2x4xf32>, tensor<f32>) -> tensor<1x6x2x4xf32>
  %q = nn.transpose %a {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x6x2x4xf32>) -> tensor<1x2x6x4xf32>
  %b = nn.mul %y, %half : (tensor<1x6x2x4xf32>, tensor<f32>) -> tensor<1x6x2x4xf32>
  %k = nn.transpose %b {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x6x2x4xf32>) -> tensor<1x2x4x6xf32>
  %s = nn.matmul %q, %k : (tensor<1x2x6x4xf32>, tensor<1x2x4x6xf32>) -> tensor<1x2x6x6xf32>
  %t = nn.add %s, %m : (tensor<1x2x6x6xf32>, tensor<1x1x6x6xf32>) -> tensor<1x2x6x6xf32>
  %p = nn.softmax %t {axis = -1 : i64} : (tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
  %n = nn.is_nan %p : (tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xi1>
  %w = nn.select %n, %zero, %p : (tensor<1x2x6x6xi1>, tensor<f32>, tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
  %o = nn.matmul %w, %v : (tensor<1x2x6x6xf32>, tensor<1x2x6x4xf32>) -> tensor<1x2x6x4xf32>
  func.return %o : tensor<1x2x6x4xf32>
}

// -----

// The guard puts something else than 0: that is not attention.
// CHECK-LABEL: @guarded_by_one
// CHECK: nn.softmax
// CHECK-NOT: nn.attention
func.func @guarded_by_one(%q: tensor<2x6x4xf32>, %k: tensor<2x4x6xf32>, %v: tensor<2x6x4xf32>) -> tensor<2x6x4xf32> {
  %one = nn.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %s = nn.matmul %q, %k : (tensor<2x6x4xf32>, tensor<2x4x6xf32>) -> tensor<2x6x6xf32>
  %p = nn.softmax %s {axis = -1 : i64} : (tensor<2x6x6xf32>) -> tensor<2x6x6xf32>
  %n = nn.is_nan %p : (tensor<2x6x6xf32>) -> tensor<2x6x6xi1>
  %w = nn.select %n, %one, %p : (tensor<2x6x6xi1>, tensor<f32>, tensor<2x6x6xf32>) -> tensor<2x6x6xf32>
  %o = nn.matmul %w, %v : (tensor<2x6x6xf32>, tensor<2x6x4xf32>) -> tensor<2x6x4xf32>
  func.return %o : tensor<2x6x4xf32>
}
