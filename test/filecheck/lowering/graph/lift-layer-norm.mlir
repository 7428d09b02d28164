// RUN: stepwell-opt %s -p canonicalize,lift-layer-norm --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p canonicalize,lift-layer-norm --split-input-file --explain 2>&1 | filecheck %s --check-prefix=WHY

// CHECK-LABEL: @mean_difference_variance
// CHECK-NEXT: %[[Y:.*]] = nn.layer_norm %x, %scale, %bias {epsilon = {{.*}}} : (tensor<2x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
// CHECK-NEXT: func.return %[[Y]]
func.func @mean_difference_variance(%x: tensor<2x8xf32>, %scale: tensor<8xf32>, %bias: tensor<8xf32>) -> tensor<2x8xf32> {
  %two = nn.constant {value = dense<2.0> : tensor<f32>} : tensor<f32>
  %eps = nn.constant {value = dense<0.00001> : tensor<f32>} : tensor<f32>
  %m = nn.reduce %x {kind = "mean", axes = array<i64: -1>, keepdims = true} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %d = nn.sub %x, %m : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %s = nn.pow %d, %two : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %v = nn.reduce %s {kind = "mean", axes = array<i64: -1>, keepdims = true} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %e = nn.add %v, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %r = nn.sqrt %e : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %n = nn.div %d, %r : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %p = nn.mul %n, %scale : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %q = nn.add %p, %bias : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  func.return %q : tensor<2x8xf32>
}

// -----

// The variance as mean of squares less squared mean, the scale at the rsqrt (JAX, Keras).
// CHECK-LABEL: @mean_of_squares
// CHECK: nn.layer_norm %x
func.func @mean_of_squares(%x: tensor<2x8xf32>, %scale: tensor<8xf32>) -> tensor<2x8xf32> {
  %eps = nn.constant {value = dense<0.001> : tensor<f32>} : tensor<f32>
  %eighth = nn.constant {value = dense<0.125> : tensor<f32>} : tensor<f32>
  %zero = nn.constant {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %sum = nn.reduce %x {kind = "sum", axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %m = nn.mul %sum, %eighth : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %s = nn.mul %x, %x : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %sum2 = nn.reduce %s {kind = "sum", axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %m2 = nn.mul %sum2, %eighth : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %mm = nn.mul %m, %m : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %v0 = nn.sub %m2, %mm : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %v = nn.maximum %zero, %v0 : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %vk = nn.reshape %v : (tensor<2xf32>) -> tensor<2x1xf32>
  %mk = nn.reshape %m : (tensor<2xf32>) -> tensor<2x1xf32>
  %e = nn.add %vk, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %r = nn.rsqrt %e : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %f = nn.mul %r, %scale : (tensor<2x1xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %d = nn.sub %x, %mk : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %q = nn.mul %d, %f : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  func.return %q : tensor<2x8xf32>
}

// -----

// CHECK-LABEL: @root_mean_square
// CHECK: %[[Y:.*]] = nn.rms_norm %x, %scale {epsilon
// CHECK-NEXT: func.return %[[Y]]
func.func @root_mean_square(%x: tensor<2x8xf32>, %scale: tensor<8xf32>) -> tensor<2x8xf32> {
  %two = nn.constant {value = dense<2.0> : tensor<f32>} : tensor<f32>
  %one = nn.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %eps = nn.constant {value = dense<0.00001> : tensor<f32>} : tensor<f32>
  %s = nn.pow %x, %two : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %v = nn.reduce %s {kind = "mean", axes = array<i64: 1>, keepdims = true} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %e = nn.add %v, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %r = nn.sqrt %e : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %i = nn.div %one, %r : (tensor<f32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %n = nn.mul %x, %i : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %p = nn.mul %scale, %n : (tensor<8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  func.return %p : tensor<2x8xf32>
}

// -----

// CHECK-LABEL: @normalising_a_middle_dim_stays
// CHECK-NOT: nn.layer_norm
// WHY: lift-layer-norm: nn.div of normalise: the normalised dims are not the last ones
func.func @normalising_a_middle_dim_stays(%x: tensor<2x8x4xf32>) -> tensor<2x8x4xf32> {
  %eps = nn.constant {value = dense<0.00001> : tensor<f32>} : tensor<f32>
  %m = nn.reduce %x {kind = "mean", axes = array<i64: 1>, keepdims = true} : (tensor<2x8x4xf32>) -> tensor<2x1x4xf32>
  %d = nn.sub %x, %m : (tensor<2x8x4xf32>, tensor<2x1x4xf32>) -> tensor<2x8x4xf32>
  %s = nn.mul %d, %d : (tensor<2x8x4xf32>, tensor<2x8x4xf32>) -> tensor<2x8x4xf32>
  %v = nn.reduce %s {kind = "mean", axes = array<i64: 1>, keepdims = true} : (tensor<2x8x4xf32>) -> tensor<2x1x4xf32>
  %e = nn.add %v, %eps : (tensor<2x1x4xf32>, tensor<f32>) -> tensor<2x1x4xf32>
  %r = nn.sqrt %e : (tensor<2x1x4xf32>) -> tensor<2x1x4xf32>
  %n = nn.div %d, %r : (tensor<2x8x4xf32>, tensor<2x1x4xf32>) -> tensor<2x8x4xf32> loc("normalise")
  func.return %n : tensor<2x8x4xf32>
}
