// RUN: stepwell-opt %s -p lift-softmax --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p lift-softmax --split-input-file --explain 2>&1 | filecheck %s --check-prefix=WHY

// CHECK-LABEL: @shifted_exponentials_over_their_sum
// CHECK-NEXT: %[[Y:.*]] = nn.softmax %x {axis = 1 : i64}
// CHECK-NEXT: func.return %[[Y]]
func.func @shifted_exponentials_over_their_sum(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %m = nn.reduce %x {kind = "max", axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %mk = nn.reshape %m : (tensor<2xf32>) -> tensor<2x1xf32>
  %d = nn.sub %x, %mk : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %e = nn.exp %d : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %s = nn.reduce %e {kind = "sum", axes = array<i64: 1>, keepdims = true} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %y = nn.div %e, %s : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  func.return %y : tensor<2x8xf32>
}

// -----

// CHECK-LABEL: @a_maximum_along_another_axis_stays
// CHECK-NOT: nn.softmax
// WHY: lift-softmax: nn.div of ?: the exponent is not shifted by the maximum along the same axis
func.func @a_maximum_along_another_axis_stays(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %m = nn.reduce %x {kind = "max", axes = array<i64: 0>, keepdims = true} : (tensor<2x8xf32>) -> tensor<1x8xf32>
  %d = nn.sub %x, %m : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>
  %e = nn.exp %d : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %s = nn.reduce %e {kind = "sum", axes = array<i64: 1>, keepdims = true} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %y = nn.div %e, %s : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  func.return %y : tensor<2x8xf32>
}
