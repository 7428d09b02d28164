// RUN: stepwell-opt %s -p assert-dims --split-input-file | filecheck %s

// CHECK-LABEL: @sizes_of_two_names_must_be_equal
// CHECK-NEXT: nn.assert_dims {left = #nn.dims<n>, right = #nn.dims<m>, message = "sum: dims that broadcast must be equal"}
// CHECK-NEXT: nn.relu
// CHECK-NEXT: nn.add
func.func @sizes_of_two_names_must_be_equal(%x: tensor<?xf32, #nn.dims<n>>, %y: tensor<?xf32, #nn.dims<m>>) -> tensor<?xf32, #nn.dims<n>> {
  %a = nn.relu %x : (tensor<?xf32, #nn.dims<n>>) -> tensor<?xf32, #nn.dims<n>>
  %z = nn.add %a, %y : (tensor<?xf32, #nn.dims<n>>, tensor<?xf32, #nn.dims<m>>) -> tensor<?xf32, #nn.dims<n>> loc("sum")
  func.return %z : tensor<?xf32, #nn.dims<n>>
}

// -----

// CHECK-LABEL: @a_pair_is_asserted_once
// CHECK: nn.assert_dims
// CHECK-NOT: nn.assert_dims
func.func @a_pair_is_asserted_once(%x: tensor<?xf32, #nn.dims<n>>, %y: tensor<?xf32, #nn.dims<m>>) -> tensor<?xf32, #nn.dims<n>> {
  %a = nn.add %x, %y : (tensor<?xf32, #nn.dims<n>>, tensor<?xf32, #nn.dims<m>>) -> tensor<?xf32, #nn.dims<n>>
  %z = nn.mul %a, %y : (tensor<?xf32, #nn.dims<n>>, tensor<?xf32, #nn.dims<m>>) -> tensor<?xf32, #nn.dims<n>>
  func.return %z : tensor<?xf32, #nn.dims<n>>
}

// -----

// CHECK-LABEL: @what_is_proved_needs_no_assertion
// CHECK-NOT: nn.assert_dims
func.func @what_is_proved_needs_no_assertion(%x: tensor<?x2xf32, #nn.dims<n, 2>>, %y: tensor<1x2xf32>) -> tensor<?xf32, #nn.dims<2 * n>> {
  %a = nn.add %x, %y : (tensor<?x2xf32, #nn.dims<n, 2>>, tensor<1x2xf32>) -> tensor<?x2xf32, #nn.dims<n, 2>>
  %z = nn.reshape %a : (tensor<?x2xf32, #nn.dims<n, 2>>) -> tensor<?xf32, #nn.dims<2 * n>>
  func.return %z : tensor<?xf32, #nn.dims<2 * n>>
}

// -----

// A size that data decides is asserted where it is known.

// CHECK-LABEL: @sizes_bound_in_the_body_are_asserted_after
// CHECK: nn.bind_symbols
// CHECK: nn.assert_dims {left = #nn.dims<2 * n>, right = #nn.dims<rows>
// CHECK-NEXT: nn.reshape
func.func @sizes_bound_in_the_body_are_asserted_after(%x: tensor<?x2xf32, #nn.dims<n, 2>>) -> tensor<?xf32, #nn.dims<rows>> {
  %t = nn.dim_value {dim = #nn.dims<2 * n>} : tensor<i64>
  nn.bind_symbols %t {symbols = ["rows"]} : tensor<i64>
  %z = nn.reshape %x : (tensor<?x2xf32, #nn.dims<n, 2>>) -> tensor<?xf32, #nn.dims<rows>>
  func.return %z : tensor<?xf32, #nn.dims<rows>>
}
