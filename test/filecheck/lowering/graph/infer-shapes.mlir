// RUN: stepwell-opt %s -p infer-shapes --split-input-file | filecheck %s

// CHECK-LABEL: @a_number_replaces_an_expression
// CHECK-SAME: -> tensor<4x8xf32>
// CHECK: nn.add %x, %y : (tensor<?x8xf32, #nn.dims<n, 8>>, tensor<4x8xf32>) -> tensor<4x8xf32>
func.func @a_number_replaces_an_expression(%x: tensor<?x8xf32, #nn.dims<n, 8>>, %y: tensor<4x8xf32>) -> (tensor<?x8xf32, #nn.dims<m, 8>>) {
  %z = nn.add %x, %y : (tensor<?x8xf32, #nn.dims<n, 8>>, tensor<4x8xf32>) -> tensor<?x8xf32, #nn.dims<m, 8>>
  func.return %z : tensor<?x8xf32, #nn.dims<m, 8>>
}

// -----

// CHECK-LABEL: @a_reshape_keeps_the_shape_it_was_given
// CHECK: nn.reshape %{{.*}} -> tensor<?xf32, #nn.dims<8 * n>>
func.func @a_reshape_keeps_the_shape_it_was_given(%x: tensor<?x8xf32, #nn.dims<n, 8>>) -> tensor<?xf32, #nn.dims<8 * n>> {
  %a = nn.relu %x : (tensor<?x8xf32, #nn.dims<n, 8>>) -> tensor<?x8xf32, #nn.dims<n, 8>>
  %z = nn.reshape %a : (tensor<?x8xf32, #nn.dims<n, 8>>) -> tensor<?xf32, #nn.dims<8 * n>>
  func.return %z : tensor<?xf32, #nn.dims<8 * n>>
}
