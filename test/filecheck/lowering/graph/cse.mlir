// RUN: stepwell-opt %s -p cse --split-input-file | filecheck %s

// CHECK-LABEL: @equal_ops_become_one_that_names_both
// CHECK-NEXT: %[[A:.*]] = nn.neg %x : {{.*}} loc(fused["a", "b"])
// CHECK-NEXT: nn.add %[[A]], %[[A]]
func.func @equal_ops_become_one_that_names_both(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("a")
  %b = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("b")
  %c = nn.add %a, %b : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %c : tensor<4xf32>
}

// -----

// CHECK-LABEL: @other_parameters_are_other_ops
// CHECK: nn.elu
// CHECK: nn.elu
func.func @other_parameters_are_other_ops(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %a = nn.elu %x {alpha = 2.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  %b = nn.elu %x {alpha = 3.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: @an_outer_op_serves_a_region_and_not_the_other_way
// CHECK: %[[A:.*]] = nn.neg %x
// CHECK: nn.yield %[[A]]
// CHECK: %[[E:.*]] = nn.abs %x
// CHECK: nn.yield %[[E]]
// CHECK: nn.abs %x
func.func @an_outer_op_serves_a_region_and_not_the_other_way(%x: tensor<4xf32>, %c: tensor<i1>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
  %y = "nn.if"(%c) ({
    %n = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %n : tensor<4xf32>
  }, {
    %e = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %e : tensor<4xf32>
  }) : (tensor<i1>) -> tensor<4xf32>
  %f = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return %a, %y, %f : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: @random_numbers_stay_two
// CHECK: nn.random_normal
// CHECK: nn.random_normal
func.func @random_numbers_stay_two() -> (tensor<4xf32>, tensor<4xf32>) {
  %a = nn.random_normal : tensor<4xf32>
  %b = nn.random_normal : tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}
