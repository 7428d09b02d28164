// RUN: stepwell-opt %s -p plan-memory --no-locations | filecheck %s

// The third result takes the slot of the first, which is dead by then.
// CHECK-LABEL: @slots_are_shared_by_lifetime
// CHECK-SAME: engine.slots = #nn.dims<32, 32>
func.func @slots_are_shared_by_lifetime(%x: tensor<8xf32>) -> tensor<8xf32> {
  // CHECK: engine.launch @a({{.*}}) {slots = array<i64: 0>}
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  // CHECK: engine.launch @b({{.*}}) {slots = array<i64: 1>}
  %b = engine.launch @b(%a) : (tensor<8xf32>) -> tensor<8xf32>
  // CHECK: engine.launch @c({{.*}}) {slots = array<i64: 0>}
  %c = engine.launch @c(%b) : (tensor<8xf32>) -> tensor<8xf32>
  // CHECK: engine.launch @d({{.*}}) {slots = array<i64: -1>}
  %d = engine.launch @d(%c) : (tensor<8xf32>) -> tensor<8xf32>
  func.return %d : tensor<8xf32>
}

// CHECK-LABEL: @sizes_are_dim_expressions
// CHECK-SAME: engine.slots = #nn.dims<64 * batch>
func.func @sizes_are_dim_expressions(%x: tensor<?x8xf32, #nn.dims<batch, 8>>) -> tensor<?x8xf32, #nn.dims<batch, 8>> {
  %a = engine.launch @a(%x) : (tensor<?x8xf32, #nn.dims<batch, 8>>) -> tensor<?x8xf64, #nn.dims<batch, 8>>
  %b = engine.launch @b(%a) : (tensor<?x8xf64, #nn.dims<batch, 8>>) -> tensor<?x8xf32, #nn.dims<batch, 8>>
  func.return %b : tensor<?x8xf32, #nn.dims<batch, 8>>
}

// A view keeps its source alive.
// CHECK-LABEL: @views_extend_lifetimes
// CHECK-SAME: engine.slots = #nn.dims<32, 32>
func.func @views_extend_lifetimes(%x: tensor<8xf32>) -> tensor<2x4xf32> {
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %v = engine.alias %a : tensor<8xf32> -> tensor<2x4xf32>
  // CHECK: engine.launch @b({{.*}}) {slots = array<i64: 1>}
  %b = engine.launch @b(%x) : (tensor<8xf32>) -> tensor<8xf32>
  // CHECK: engine.launch @c({{.*}}) {slots = array<i64: -1>}
  %c = engine.launch @c(%v, %b) : (tensor<2x4xf32>, tensor<8xf32>) -> tensor<2x4xf32>
  func.return %c : tensor<2x4xf32>
}

// What is returned through a view of all of it lies in the output's buffer.
// CHECK-LABEL: @a_returned_view_costs_nothing
// CHECK-SAME: engine.slots = #nn.dims<>
func.func @a_returned_view_costs_nothing(%x: tensor<8xf32>) -> tensor<2x4xf32> {
  // CHECK: engine.launch @a({{.*}}) {slots = array<i64: -1>}
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %v = engine.alias %a : tensor<8xf32> -> tensor<2x4xf32>
  func.return %v : tensor<2x4xf32>
}

// CHECK-LABEL: @a_part_that_is_returned_lies_in_the_arena
// CHECK-SAME: engine.slots = #nn.dims<32>
func.func @a_part_that_is_returned_lies_in_the_arena(%x: tensor<8xf32>) -> tensor<4xf32> {
  // CHECK: engine.launch @a({{.*}}) {slots = array<i64: 0>}
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %v = engine.alias %a {offset = "4"} : tensor<8xf32> -> tensor<4xf32>
  func.return %v : tensor<4xf32>
}

// Pieces of a concatenation are written into one buffer, the output's.
// CHECK-LABEL: @tied_results_share_memory
// CHECK-SAME: engine.slots = #nn.dims<>
func.func @tied_results_share_memory(%x: tensor<8xf32>) -> tensor<16xf32> {
  // CHECK: engine.empty {slots = array<i64: -1>}
  %e = engine.empty : tensor<16xf32>
  // CHECK: engine.launch @low({{.*}}) {ties = array<i64: 0, 1>, slots = array<i64: -1>}
  %a = engine.launch @low(%x, %e) {ties = array<i64: 0, 1>} : (tensor<8xf32>, tensor<16xf32>) -> tensor<16xf32>
  // CHECK: engine.launch @high({{.*}}) {ties = array<i64: 0, 1>, slots = array<i64: -1>}
  %b = engine.launch @high(%x, %a) {ties = array<i64: 0, 1>} : (tensor<8xf32>, tensor<16xf32>) -> tensor<16xf32>
  func.return %b : tensor<16xf32>
}

// CHECK-LABEL: @an_input_is_copied_before_it_is_written
func.func @an_input_is_copied_before_it_is_written(%x: tensor<8xf32>) -> tensor<8xf32> {
  // CHECK: %[[COPY:.*]] = engine.copy %x {slots = array<i64: -1>}
  // CHECK: engine.launch @update(%[[COPY]]) {ties = array<i64: 0, 0>
  %y = engine.launch @update(%x) {ties = array<i64: 0, 0>} : (tensor<8xf32>) -> tensor<8xf32>
  func.return %y : tensor<8xf32>
}

// CHECK-LABEL: @what_is_read_later_is_copied_before_it_is_written
func.func @what_is_read_later_is_copied_before_it_is_written(%x: tensor<8xf32>) -> tensor<8xf32> {
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  // CHECK: %[[COPY:.*]] = engine.copy %a {slots = array<i64: 1>}
  // CHECK: engine.launch @update(%[[COPY]]) {ties = array<i64: 0, 0>, slots = array<i64: 1>}
  %b = engine.launch @update(%a) {ties = array<i64: 0, 0>} : (tensor<8xf32>) -> tensor<8xf32>
  %c = engine.launch @c(%a, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  func.return %c : tensor<8xf32>
}

// Both sides of a branch share slots; what they read stays alive through both.
// CHECK-LABEL: @branches_share_the_arena
// CHECK-SAME: engine.slots = #nn.dims<32, 32>
func.func @branches_share_the_arena(%x: tensor<8xf32>, %c: tensor<i1>) -> tensor<8xf32> {
  // CHECK: engine.launch @a({{.*}}) {slots = array<i64: 0>}
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %y = engine.if %c : tensor<i1> -> tensor<8xf32> {
    // CHECK: engine.launch @b({{.*}}) {slots = array<i64: 1>}
    %b = engine.launch @b(%a) : (tensor<8xf32>) -> tensor<8xf32>
    engine.yield %b : tensor<8xf32>
  } else {
    // CHECK: engine.launch @c({{.*}}) {slots = array<i64: 1>}
    %d = engine.launch @c(%a) : (tensor<8xf32>) -> tensor<8xf32>
    engine.yield %d : tensor<8xf32>
  }
  func.return %y : tensor<8xf32>
}

// What a loop reads from outside must outlive every round of it.
// CHECK-LABEL: @loops_keep_what_they_read
// CHECK-SAME: engine.slots = #nn.dims<32, 32, 32>
func.func @loops_keep_what_they_read(%x: tensor<8xf32>, %n: tensor<i64>, %c: tensor<i1>) -> tensor<8xf32> {
  // CHECK: engine.launch @a({{.*}}) {slots = array<i64: 0>}
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %y = engine.loop trips(%n : tensor<i64>) carry(%x : tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%i: tensor<i64>, %state: tensor<8xf32>):
    // CHECK: engine.launch @b({{.*}}) {slots = array<i64: 1>}
    %b = engine.launch @b(%state, %a) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    // CHECK-NOT: slots = array<i64: 0>
    %d = engine.launch @c(%b) : (tensor<8xf32>) -> tensor<8xf32>
    engine.yield %c, %d : tensor<i1>, tensor<8xf32>
  }
  func.return %y : tensor<8xf32>
}

// A result takes the memory of an operand that dies, if the launch says that it may.
// CHECK-LABEL: @written_in_place
// CHECK-SAME: engine.slots = #nn.dims<32>
func.func @written_in_place(%x: tensor<8xf32>) -> tensor<8xf32> {
  // CHECK: engine.launch @a({{.*}}) {slots = array<i64: 0>}
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  // CHECK: engine.launch @b({{.*}}) {in_place = array<i64: 0, 0>, slots = array<i64: 0>}
  %b = engine.launch @b(%a, %x) {in_place = array<i64: 0, 0>} : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %c = engine.launch @c(%b) : (tensor<8xf32>) -> tensor<8xf32>
  func.return %c : tensor<8xf32>
}

// CHECK-LABEL: @not_in_place_when_the_operand_lives_on
// CHECK-SAME: engine.slots = #nn.dims<32, 32>
func.func @not_in_place_when_the_operand_lives_on(%x: tensor<8xf32>) -> tensor<8xf32> {
  %a = engine.launch @a(%x) : (tensor<8xf32>) -> tensor<8xf32>
  %b = engine.launch @b(%a) {in_place = array<i64: 0, 0>} : (tensor<8xf32>) -> tensor<8xf32>
  %c = engine.launch @c(%a, %b) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  func.return %c : tensor<8xf32>
}

// CHECK-LABEL: @not_in_place_over_an_input_or_another_operand
// CHECK-SAME: engine.slots = #nn.dims<32, 32>
func.func @not_in_place_over_an_input_or_another_operand(%x: tensor<8xf32>) -> tensor<8xf32> {
  // CHECK: engine.launch @a({{.*}}) {in_place = array<i64: 0, 0>, slots = array<i64: 0>}
  %a = engine.launch @a(%x) {in_place = array<i64: 0, 0>} : (tensor<8xf32>) -> tensor<8xf32>
  %v = engine.alias %a : tensor<8xf32> -> tensor<2x4xf32>
  // CHECK: engine.launch @b({{.*}}) {in_place = array<i64: 0, 0>, slots = array<i64: 1>}
  %b = engine.launch @b(%a, %v) {in_place = array<i64: 0, 0>} : (tensor<8xf32>, tensor<2x4xf32>) -> tensor<8xf32>
  %c = engine.launch @c(%b) : (tensor<8xf32>) -> tensor<8xf32>
  func.return %c : tensor<8xf32>
}
