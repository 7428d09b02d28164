// RUN: stepwell-opt %s -p lift-lookup --split-input-file | filecheck %s

// CHECK-LABEL: @a_product_with_one_hot_rows_is_a_lookup
// CHECK: nn.gather %table
// CHECK: nn.select
// CHECK-NOT: nn.matmul
func.func @a_product_with_one_hot_rows_is_a_lookup(%x: tensor<2x6x1xi32>) -> tensor<2x6x2xf32> {
  %table = nn.constant {value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>} : tensor<3x2xf32>
  %classes = nn.constant {value = dense<[[[1, 2, 3]]]> : tensor<1x1x3xi32>} : tensor<1x1x3xi32>
  %a = nn.compare %x, %classes {predicate = "eq"} : (tensor<2x6x1xi32>, tensor<1x1x3xi32>) -> tensor<2x6x3xi1>
  %b = nn.cast %a {to = f32} : (tensor<2x6x3xi1>) -> tensor<2x6x3xf32>
  %y = nn.matmul %b, %table : (tensor<2x6x3xf32>, tensor<3x2xf32>) -> tensor<2x6x2xf32>
  func.return %y : tensor<2x6x2xf32>
}

// -----

// CHECK-LABEL: @classes_with_a_gap_stay
// CHECK: nn.matmul
func.func @classes_with_a_gap_stay(%x: tensor<2x6x1xi32>) -> tensor<2x6x2xf32> {
  %table = nn.constant {value = dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>} : tensor<3x2xf32>
  %classes = nn.constant {value = dense<[[[0, 1, 3]]]> : tensor<1x1x3xi32>} : tensor<1x1x3xi32>
  %a = nn.compare %x, %classes {predicate = "eq"} : (tensor<2x6x1xi32>, tensor<1x1x3xi32>) -> tensor<2x6x3xi1>
  %b = nn.cast %a {to = f32} : (tensor<2x6x3xi1>) -> tensor<2x6x3xf32>
  %y = nn.matmul %b, %table : (tensor<2x6x3xf32>, tensor<3x2xf32>) -> tensor<2x6x2xf32>
  func.return %y : tensor<2x6x2xf32>
}
