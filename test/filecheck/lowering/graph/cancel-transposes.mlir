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

// -----

// The rows of a product with a matrix come in any order; those of a batch do not.
// CHECK-LABEL: @rows_of_a_product_stay_where_they_are
// CHECK: %[[A:.*]] = nn.transpose %x
// CHECK: %[[Y:.*]] = nn.matmul %x, %w : (tensor<2x3x4xf32>, tensor<4x5xf32>) -> tensor<2x3x5xf32>
// CHECK: %[[D:.*]] = nn.matmul %[[A]], %v
// CHECK: func.return %[[Y]], %[[D]]
// WHY: move-matmul: nn.matmul of ?: the columns of the left factor move, or the right one is no matrix
func.func @rows_of_a_product_stay_where_they_are(%x: tensor<2x3x4xf32>, %w: tensor<4x5xf32>, %v: tensor<3x4x5xf32>) -> (tensor<2x3x5xf32>, tensor<3x2x5xf32>) {
  %a = nn.transpose %x {perm = array<i64: 1, 0, 2>} : (tensor<2x3x4xf32>) -> tensor<3x2x4xf32>
  %b = nn.matmul %a, %w : (tensor<3x2x4xf32>, tensor<4x5xf32>) -> tensor<3x2x5xf32>
  %c = nn.transpose %b {perm = array<i64: 1, 0, 2>} : (tensor<3x2x5xf32>) -> tensor<2x3x5xf32>
  %d = nn.matmul %a, %v : (tensor<3x2x4xf32>, tensor<3x4x5xf32>) -> tensor<3x2x5xf32>
  func.return %c, %d : tensor<2x3x5xf32>, tensor<3x2x5xf32>
}
