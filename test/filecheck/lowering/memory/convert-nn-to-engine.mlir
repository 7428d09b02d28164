// RUN: stepwell-opt %s -p convert-nn-to-engine --no-locations | filecheck %s

// CHECK-LABEL: @reshapes_are_views
func.func @reshapes_are_views(%x: tensor<2x3xf32>) -> tensor<6xf32> {
  // CHECK: engine.alias %x : tensor<2x3xf32> -> tensor<6xf32>
  %r = nn.reshape %x : (tensor<2x3xf32>) -> tensor<6xf32>
  func.return %r : tensor<6xf32>
}

// CHECK-LABEL: @the_rest_are_host_calls
func.func @the_rest_are_host_calls(%x: tensor<4x2xf32>, %keep: tensor<4xi1>) -> tensor<?x2xf32, #nn.dims<kept, 2>> {
  // CHECK: engine.host_call "compress"(%x, %keep) {config = {axis = 0 : i64, dtype = "float32"}}
  %y = nn.compress %x, %keep {axis = 0 : i64} : (tensor<4x2xf32>, tensor<4xi1>) -> tensor<?x2xf32, #nn.dims<kept, 2>>
  func.return %y : tensor<?x2xf32, #nn.dims<kept, 2>>
}

// CHECK-LABEL: @absent_operands_are_marked
func.func @absent_operands_are_marked(%b: tensor<1x6x4xf32>, %s: tensor<1x1x6xf32>, %m: tensor<i64>) -> tensor<?x3xi64, #nn.dims<n, 3>> {
  // CHECK: engine.host_call "non_max_suppression"(%b, %s, %m) {{.*}}segments = array<i32: 1, 1, 1, 0, 0>
  %y = nn.non_max_suppression %b, %s, %m, none, none : (tensor<1x6x4xf32>, tensor<1x1x6xf32>, tensor<i64>) -> tensor<?x3xi64, #nn.dims<n, 3>>
  func.return %y : tensor<?x3xi64, #nn.dims<n, 3>>
}

// CHECK-LABEL: @symbols_are_read_and_checked
func.func @symbols_are_read_and_checked(%shape: tensor<2xi64>) {
  // CHECK: engine.read_scalar %shape as ["rows", "columns"] : tensor<2xi64>
  nn.bind_symbols %shape {symbols = ["rows", "columns"]} : tensor<2xi64>
  // CHECK: engine.assert "rows" "eq" "2 * columns" message "shapes must agree"
  nn.assert_dims {left = #nn.dims<rows>, right = #nn.dims<2 * columns>, message = "shapes must agree"}
  func.return
}

// CHECK-LABEL: @control_flow_keeps_its_regions
func.func @control_flow_keeps_its_regions(%c: tensor<i1>, %n: tensor<i64>, %x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: %[[Y:.*]] = engine.if %c : tensor<i1> -> tensor<4xf32> {
  // CHECK-NEXT: engine.launch @k
  // CHECK-NEXT: engine.yield
  %y = "nn.if"(%c) ({
    %a = engine.launch @k(%x) : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %a : tensor<4xf32>
  }, {
    nn.yield %x : tensor<4xf32>
  }) : (tensor<i1>) -> tensor<4xf32>
  // CHECK: engine.loop trips(%n : tensor<i64>) while(%c : tensor<i1>) carry(%[[Y]] : tensor<4xf32>)
  %z = "nn.loop"(%n, %c, %y) <{operandSegmentSizes = array<i32: 1, 1, 1>}> ({
  ^bb0(%i: tensor<i64>, %s: tensor<4xf32>):
    nn.yield %c, %s : tensor<i1>, tensor<4xf32>
  }) : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> tensor<4xf32>
  func.return %z : tensor<4xf32>
}
