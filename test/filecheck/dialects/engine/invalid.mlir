// RUN: stepwell-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @one_slot_a_result(%x: tensor<4xf32>) {
  // CHECK: expected one slot for each of 1 results, got 2
  %a = engine.launch @k(%x) {slots = array<i64: 0, 1>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

func.func @slot_below_output(%x: tensor<4xf32>) {
  // CHECK: expected a slot of at least -1, got -2
  %a = engine.launch @k(%x) {slots = array<i64: -2>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

func.func @odd_ties(%x: tensor<4xf32>) {
  // CHECK: expected ties as flattened (result, operand) pairs, got 1 numbers
  %a = engine.launch @k(%x) {ties = array<i64: 0>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

func.func @tie_of_other_type(%x: tensor<4xf32>) {
  // CHECK: expected result 0 of the type of operand 0, tensor<4xf32>, got tensor<5xf32>
  %a = engine.launch @k(%x) {ties = array<i64: 0, 0>} : (tensor<4xf32>) -> tensor<5xf32>
  func.return
}

// -----

func.func @tie_out_of_range(%x: tensor<4xf32>) {
  // CHECK: expected an operand below 1, got 1
  %a = engine.launch @k(%x) {ties = array<i64: 0, 1>} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

func.func @alias_of_other_size(%x: tensor<4xf32>) {
  // CHECK: expected a view of the 16 bytes of tensor<4xf32>, got 20 bytes of tensor<5xf32>
  %a = engine.alias %x : tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----

func.func @scalar_of_float(%x: tensor<f32>) {
  // CHECK: expected a tensor of 1 integers, got tensor<f32>
  engine.read_scalar %x as ["n"] : tensor<f32>
  func.return
}

// -----

func.func @unknown_predicate() {
  // CHECK: expected a predicate of eq, ne, lt, le, gt, ge, divides, got 'equals'
  engine.assert "a" "equals" "b" message "m"
  func.return
}

// -----

func.func @condition_of_float(%x: tensor<f32>) {
  // CHECK: expected a condition of one i1, got tensor<f32>
  engine.if %x : tensor<f32> {
    engine.yield
  } else {
    engine.yield
  }
  func.return
}

// -----

func.func @regions_yield_all_results(%c: tensor<i1>, %x: tensor<f32>) {
  // CHECK: expected each region to yield 1 values, got 0
  %y = engine.if %c : tensor<i1> -> tensor<f32> {
    engine.yield %x : tensor<f32>
  } else {
    engine.yield
  }
  func.return
}

// -----

func.func @loop_yields_condition_first(%x: tensor<f32>) {
  // CHECK: expected to yield a condition of one i1 first, got tensor<f32>
  %y = engine.loop carry(%x : tensor<f32>) -> tensor<f32> {
  ^bb0(%i: tensor<i64>, %a: tensor<f32>):
    engine.yield %a, %a : tensor<f32>, tensor<f32>
  }
  func.return
}

// -----

func.func @in_place_of_other_type(%x: tensor<4xf32>) {
  // CHECK: expected result 0 of the type of operand 0, tensor<4xf32>, got tensor<4xf64>
  %a = engine.launch @k(%x) {in_place = array<i64: 0, 0>} : (tensor<4xf32>) -> tensor<4xf64>
  func.return
}
