// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// CHECK-LABEL: @launch_with_symbols_and_slots
func.func @launch_with_symbols_and_slots(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: engine.launch @k(%{{.*}}) {symbols = ["batch"], slots = array<i64: 0>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %a = engine.launch @k(%x) {symbols = ["batch"], slots = array<i64: 0>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %a : tensor<2x3xf32>
}

// CHECK-LABEL: @launch_in_place
func.func @launch_in_place(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[E:.*]] = engine.empty : tensor<2x3xf32>
  %e = engine.empty : tensor<2x3xf32>
  // CHECK: engine.launch @k(%{{.*}}, %[[E]]) {ties = array<i64: 0, 1>}
  %b = engine.launch @k(%x, %e) {ties = array<i64: 0, 1>} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %b : tensor<2x3xf32>
}

// CHECK-LABEL: @host_call_binds_a_symbol
func.func @host_call_binds_a_symbol(%x: tensor<2x3xf32>) -> tensor<2x?xi64> {
  // CHECK: engine.host_call "nonzero"(%{{.*}}) {config = {axis = 1 : i64}} : (tensor<2x3xf32>) -> (tensor<2x?xi64>, tensor<i64>)
  %i, %n = engine.host_call "nonzero"(%x) {config = {axis = 1 : i64}} : (tensor<2x3xf32>) -> (tensor<2x?xi64>, tensor<i64>)
  // CHECK: engine.read_scalar %{{.*}} as ["count"] : tensor<i64>
  engine.read_scalar %n as ["count"] : tensor<i64>
  // CHECK: engine.assert "count" "le" "6" message "more indices than elements"
  engine.assert "count" "le" "6" message "more indices than elements"
  func.return %i : tensor<2x?xi64>
}

// CHECK-LABEL: @views_and_copies
func.func @views_and_copies(%x: tensor<2x3xf32>) -> tensor<3xf32> {
  // CHECK: engine.alias %{{.*}} : tensor<2x3xf32> -> tensor<6xf32>
  %v = engine.alias %x : tensor<2x3xf32> -> tensor<6xf32>
  // CHECK: engine.alias %{{.*}} {offset = "3"} : tensor<6xf32> -> tensor<3xf32>
  %w = engine.alias %v {offset = "3"} : tensor<6xf32> -> tensor<3xf32>
  // CHECK: engine.copy %{{.*}} : tensor<3xf32> -> tensor<3xf32>
  %c = engine.copy %w : tensor<3xf32> -> tensor<3xf32>
  func.return %c : tensor<3xf32>
}

// CHECK-LABEL: @branch_and_loop
func.func @branch_and_loop(%c: tensor<i1>, %n: tensor<i64>, %a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: %[[Y:.*]] = engine.if %{{.*}} : tensor<i1> -> tensor<4xf32> {
  // CHECK-NEXT: engine.yield %{{.*}} : tensor<4xf32>
  // CHECK-NEXT: } else {
  %y = engine.if %c : tensor<i1> -> tensor<4xf32> {
    engine.yield %a : tensor<4xf32>
  } else {
    engine.yield %b : tensor<4xf32>
  }
  // CHECK: engine.loop trips(%{{.*}} : tensor<i64>) while(%{{.*}} : tensor<i1>) carry(%[[Y]] : tensor<4xf32>) -> tensor<4xf32>, tensor<?x4xf32> {
  %l, %s = engine.loop trips(%n : tensor<i64>) while(%c : tensor<i1>) carry(%y : tensor<4xf32>) -> tensor<4xf32>, tensor<?x4xf32> {
  ^bb0(%i: tensor<i64>, %z: tensor<4xf32>):
    engine.yield %c, %z, %z : tensor<i1>, tensor<4xf32>, tensor<4xf32>
  }
  func.return %l : tensor<4xf32>
}
