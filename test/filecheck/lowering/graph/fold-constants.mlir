// RUN: stepwell-opt %s -p fold-constants --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p 'fold-constants{limit=16}' --explain --split-input-file 2>&1 | filecheck %s --check-prefix=LIMIT

// CHECK-LABEL: @constant_operands_fold_to_one_constant
// CHECK-NEXT: %[[C:.*]] = nn.constant {value = dense<[4.000000e+00, 9.000000e+00]> : tensor<2xf32>} : tensor<2xf32> loc("square")
// CHECK-NEXT: nn.add %x, %[[C]]
// CHECK-NEXT: func.return
func.func @constant_operands_fold_to_one_constant(%x: tensor<2xf32>) -> tensor<2xf32> {
  %a = nn.constant {value = dense<[1.0, 2.0]> : tensor<2xf32>} : tensor<2xf32>
  %one = nn.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %b = nn.add %a, %one : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32> loc("sum")
  %c = nn.mul %b, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("square")
  %d = nn.add %x, %c : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return %d : tensor<2xf32>
}

// -----

// LIMIT-LABEL: fold-constants: nn.broadcast_to of expand: the result would take 64 bytes
// LIMIT: @folding_stops_at_the_limit
// LIMIT: nn.broadcast_to
// CHECK-LABEL: @folding_stops_at_the_limit
// CHECK-NOT: nn.broadcast_to
func.func @folding_stops_at_the_limit(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %a = nn.constant {value = dense<1.5> : tensor<1xf32>} : tensor<1xf32>
  %b = nn.broadcast_to %a : (tensor<1xf32>) -> tensor<4x4xf32> loc("expand")
  %c = nn.add %x, %b : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %c : tensor<4x4xf32>
}

// -----

// LIMIT-LABEL: @weights_fold_at_any_size
// LIMIT-NOT: nn.broadcast_to
// CHECK-LABEL: @weights_fold_at_any_size
func.func @weights_fold_at_any_size(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %a = nn.constant {value = dense<1.5> : tensor<1xf32>} : tensor<1xf32>
  %b = nn.broadcast_to %a : (tensor<1xf32>) -> tensor<4x4xf32> loc("expand")
  %c = nn.matmul %x, %b : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %c : tensor<4x4xf32>
}

// -----

// CHECK-LABEL: @random_numbers_are_not_folded
// CHECK: nn.random_normal
func.func @random_numbers_are_not_folded() -> tensor<4xf32> {
  %a = nn.random_normal : tensor<4xf32>
  func.return %a : tensor<4xf32>
}
