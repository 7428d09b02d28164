// RUN: stepwell-opt %s -p canonicalize,lift-activations --split-input-file | filecheck %s

// CHECK-LABEL: @bounds_merge_into_one_clamp
// CHECK-NEXT: nn.clamp %x {min = 0.000000e+00 : f64, max = 6.000000e+00 : f64}
func.func @bounds_merge_into_one_clamp(%x: tensor<4xf32>) -> tensor<4xf32> {
  %six = nn.constant {value = dense<6.0> : tensor<f32>} : tensor<f32>
  %a = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
  %b = nn.minimum %a, %six : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  func.return %b : tensor<4xf32>
}

// -----

// CHECK-LABEL: @hard_swish_as_relu6_of_the_shifted
// CHECK-NEXT: nn.hard_swish %x
// CHECK-NEXT: func.return
func.func @hard_swish_as_relu6_of_the_shifted(%x: tensor<4xf32>) -> tensor<4xf32> {
  %three = nn.constant {value = dense<3.0> : tensor<f32>} : tensor<f32>
  %six = nn.constant {value = dense<6.0> : tensor<f32>} : tensor<f32>
  %a = nn.add %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %b = nn.clamp %a {min = 0.0 : f64, max = 6.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  %c = nn.mul %x, %b : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %d = nn.div %c, %six : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  func.return %d : tensor<4xf32>
}

// -----

// CHECK-LABEL: @hard_sigmoid_alone
// CHECK-NEXT: nn.hard_sigmoid %x {alpha = 0.16666666666666666 : f64}
func.func @hard_sigmoid_alone(%x: tensor<4xf32>) -> tensor<4xf32> {
  %three = nn.constant {value = dense<3.0> : tensor<f32>} : tensor<f32>
  %six = nn.constant {value = dense<6.0> : tensor<f32>} : tensor<f32>
  %a = nn.add %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %b = nn.clamp %a {min = 0.0 : f64, max = 6.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  %d = nn.div %b, %six : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  func.return %d : tensor<4xf32>
}

// -----

// CHECK-LABEL: @gates
// CHECK-NEXT: %[[A:.*]] = nn.silu %x
// CHECK-NEXT: %[[B:.*]] = nn.mish %x
// CHECK-NEXT: func.return %[[A]], %[[B]]
func.func @gates(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %one = nn.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %s = nn.sigmoid %x : (tensor<4xf32>) -> tensor<4xf32>
  %a = nn.mul %x, %s : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %e = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  %p = nn.add %e, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %l = nn.log %p : (tensor<4xf32>) -> tensor<4xf32>
  %t = nn.tanh %l : (tensor<4xf32>) -> tensor<4xf32>
  %b = nn.mul %t, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: @the_gate_of_another_value_stays
// CHECK: nn.sigmoid %y
// CHECK-NEXT: nn.mul
func.func @the_gate_of_another_value_stays(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %s = nn.sigmoid %y : (tensor<4xf32>) -> tensor<4xf32>
  %a = nn.mul %x, %s : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %a : tensor<4xf32>
}
