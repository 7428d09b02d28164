// RUN: stepwell-opt %s -p cancel-transposes --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p cancel-transposes --split-input-file --explain 2>&1 | filecheck %s --check-prefix=WHY

// CHECK-LABEL: @opposite_transposes_cancel_through_elementwise_ops
// CHECK-NEXT: %[[A:.*]] = nn.relu %x : (tensor<2x3x4xf32>)
// CHECK-NEXT: func.return %[[A]]
func.func @opposite_transposes_cancel_through_elementwise_ops(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %a = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %b = nn.relu %a : (tensor<2x4x3xf32>) -> tensor<2x4x3xf32>
  %c = nn.transpose %b {perm = array<i64: 0, 2, 1>} : (tensor<2x4x3xf32>) -> tensor<2x3x4xf32>
  func.return %c : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: @operands_in_different_orders_stay
// CHECK: nn.transpose
// CHECK: nn.add
// CHECK-NEXT: func.return
// WHY: move-elementwise: nn.add of ?: the operands are in different orders
func.func @operands_in_different_orders_stay(%x: tensor<2x3x4xf32>, %y: tensor<2x4x3xf32>) -> tensor<2x4x3xf32> {
  %a = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %b = nn.add %a, %y : (tensor<2x4x3xf32>, tensor<2x4x3xf32>) -> tensor<2x4x3xf32>
  func.return %b : tensor<2x4x3xf32>
}
