// RUN: stepwell-opt %s -p convert-scan-to-loop --split-input-file | filecheck %s

// CHECK-LABEL: @one_row_a_round
// CHECK: %[[N:.*]] = nn.dim_value {dim = #nn.dims<3>}
// CHECK: "nn.loop"(%[[N]], %zero)
// CHECK-NEXT: ^{{.*}}(%[[I:.*]]: tensor<i64>, %[[S:.*]]: tensor<2xf32>):
// CHECK-NEXT: %[[ROW:.*]] = nn.gather %x, %[[I]] {{.*}} -> tensor<2xf32>
// CHECK-NEXT: %[[SUM:.*]] = nn.add %[[S]], %[[ROW]]
// CHECK: nn.yield %{{.*}}, %[[SUM]], %[[SUM]]
func.func @one_row_a_round(%zero: tensor<2xf32>, %x: tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>) {
  %s, %y = "nn.scan"(%zero, %x) <{operandSegmentSizes = array<i32: 1, 1>, input_axes = array<i64: 0>, output_axes = array<i64: 0>, reverse_inputs = array<i64: 0>, reverse_outputs = array<i64: 0>}> ({
  ^bb0(%a: tensor<2xf32>, %b: tensor<2xf32>):
    %c = nn.add %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    nn.yield %c, %c : tensor<2xf32>, tensor<2xf32>
  }) : (tensor<2xf32>, tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>)
  func.return %s, %y : tensor<2xf32>, tensor<3x2xf32>
}

// -----

// CHECK-LABEL: @backwards_along_other_axes
// CHECK: nn.loop
// CHECK: nn.slice {{.*}}steps = array<i64: -1, 1>
// CHECK: nn.transpose
func.func @backwards_along_other_axes(%zero: tensor<2xf32>, %x: tensor<2x3xf32>) -> (tensor<2xf32>, tensor<2x3xf32>) {
  %s, %y = "nn.scan"(%zero, %x) <{operandSegmentSizes = array<i32: 1, 1>, input_axes = array<i64: 1>, output_axes = array<i64: 1>, reverse_inputs = array<i64: 1>, reverse_outputs = array<i64: 1>}> ({
  ^bb0(%a: tensor<2xf32>, %b: tensor<2xf32>):
    %c = nn.add %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    nn.yield %c, %c : tensor<2xf32>, tensor<2xf32>
  }) : (tensor<2xf32>, tensor<2x3xf32>) -> (tensor<2xf32>, tensor<2x3xf32>)
  func.return %s, %y : tensor<2xf32>, tensor<2x3xf32>
}
