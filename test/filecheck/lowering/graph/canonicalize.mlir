// RUN: stepwell-opt %s -p canonicalize --split-input-file | filecheck %s

// CHECK-LABEL: @neutral_operands_vanish
// CHECK-NEXT: func.return %x
func.func @neutral_operands_vanish(%x: tensor<4xf32>) -> tensor<4xf32> {
  %zero = nn.constant {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %one = nn.constant {value = dense<1.0> : tensor<1xf32>} : tensor<1xf32>
  %a = nn.add %zero, %x : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %b = nn.mul %a, %one : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  %c = nn.sub %b, %zero : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %d = nn.div %c, %one : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return %d : tensor<4xf32>
}

// -----

// CHECK-LABEL: @a_neutral_operand_that_widens_is_a_broadcast
// CHECK-NEXT: nn.broadcast_to %x
func.func @a_neutral_operand_that_widens_is_a_broadcast(%x: tensor<1xf32>) -> tensor<4xf32> {
  %zero = nn.constant {value = dense<0.0> : tensor<4xf32>} : tensor<4xf32>
  %a = nn.add %x, %zero : (tensor<1xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %a : tensor<4xf32>
}

// -----

// CHECK-LABEL: @transposes_compose
// CHECK-NEXT: %[[Y:.*]] = nn.transpose %x {perm = array<i64: 2, 0, 1>} {{.*}} loc(fused["a", "b"])
// CHECK-NEXT: func.return %[[Y]]
func.func @transposes_compose(%x: tensor<2x3x4xf32>) -> tensor<4x2x3xf32> {
  %a = nn.transpose %x {perm = array<i64: 1, 0, 2>} : (tensor<2x3x4xf32>) -> tensor<3x2x4xf32> loc("a")
  %b = nn.transpose %a {perm = array<i64: 2, 1, 0>} : (tensor<3x2x4xf32>) -> tensor<4x2x3xf32> loc("b")
  func.return %b : tensor<4x2x3xf32>
}

// -----

// CHECK-LABEL: @opposite_transposes_cancel
// CHECK-NEXT: func.return %x
func.func @opposite_transposes_cancel(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %a = nn.transpose %x {perm = array<i64: 1, 2, 0>} : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
  %b = nn.transpose %a {perm = array<i64: 2, 0, 1>} : (tensor<3x4x2xf32>) -> tensor<2x3x4xf32>
  func.return %b : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: @lossless_casts_merge_and_rounding_ones_stay
// CHECK-NEXT: nn.cast %x {to = i32
// CHECK-NEXT: %[[HALF:.*]] = nn.cast %x {to = f16
// CHECK-NEXT: nn.cast %[[HALF]] {to = f32
func.func @lossless_casts_merge_and_rounding_ones_stay(%x: tensor<4xf32>) -> (tensor<4xi32>, tensor<4xf32>) {
  %a = nn.cast %x {to = f64} : (tensor<4xf32>) -> tensor<4xf64>
  %b = nn.cast %a {to = i32} : (tensor<4xf64>) -> tensor<4xi32>
  %c = nn.cast %x {to = f16} : (tensor<4xf32>) -> tensor<4xf16>
  %d = nn.cast %c {to = f32} : (tensor<4xf16>) -> tensor<4xf32>
  func.return %b, %d : tensor<4xi32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: @a_slice_within_one_operand_of_a_concat_reads_it
// CHECK-NEXT: %[[Y:.*]] = nn.slice %b {starts = #nn.dims<0, 1>, limits = #nn.dims<2, 3>
// CHECK-NEXT: func.return %[[Y]]
func.func @a_slice_within_one_operand_of_a_concat_reads_it(%a: tensor<2x4xf32>, %b: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %c = nn.concat %a, %b {axis = 1 : i64} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  %s = nn.slice %c {starts = #nn.dims<0, 5>, limits = #nn.dims<2, 7>, steps = array<i64: 1, 1>} : (tensor<2x8xf32>) -> tensor<2x2xf32>
  func.return %s : tensor<2x2xf32>
}

// -----

// CHECK-LABEL: @squares_are_products
// CHECK-NEXT: nn.mul %x, %x
func.func @squares_are_products(%x: tensor<4xf32>) -> tensor<4xf32> {
  %two = nn.constant {value = dense<2.0> : tensor<f32>} : tensor<f32>
  %y = nn.pow %x, %two : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}

// -----

// CHECK-LABEL: @a_broadcast_operand_is_implicit
// CHECK-NEXT: nn.add %x, %y : (tensor<2x3xf32>, tensor<3xf32>)
func.func @a_broadcast_operand_is_implicit(%x: tensor<2x3xf32>, %y: tensor<3xf32>) -> tensor<2x3xf32> {
  %b = nn.broadcast_to %y : (tensor<3xf32>) -> tensor<2x3xf32>
  %z = nn.add %x, %b : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %z : tensor<2x3xf32>
}

// -----

// CHECK-LABEL: @a_decided_branch_is_inlined
// CHECK-NEXT: %[[Y:.*]] = nn.neg %x
// CHECK-NEXT: func.return %[[Y]]
func.func @a_decided_branch_is_inlined(%x: tensor<4xf32>) -> tensor<4xf32> {
  %c = nn.constant {value = dense<true> : tensor<i1>} : tensor<i1>
  %y = "nn.if"(%c) ({
    %n = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %n : tensor<4xf32>
  }, {
    nn.yield %x : tensor<4xf32>
  }) : (tensor<i1>) -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}

// -----

// A padding mask as exporters write it: what does not depend on the row has no rows.
// CHECK-LABEL: @an_index_is_never_negative
// CHECK: %[[M:.*]] = nn.select %mask, %{{.*}}, %{{.*}} : (tensor<2x1x1x8xi1>
// CHECK-NEXT: nn.attention %q, %q, %q, %[[M]]
func.func @an_index_is_never_negative(%q: tensor<2x4x8x16xf32>, %mask: tensor<2x1x1x8xi1>) -> tensor<2x4x8x16xf32> {
  %zero = nn.constant {value = dense<0> : tensor<i64>} : tensor<i64>
  %none = nn.constant {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %low = nn.constant {value = dense<-10000.0> : tensor<f32>} : tensor<f32>
  %i = nn.iota : tensor<8xi64>
  %rows = nn.reshape %i : (tensor<8xi64>) -> tensor<1x1x8x1xi64>
  %all = nn.compare %rows, %zero {predicate = "ge"} : (tensor<1x1x8x1xi64>, tensor<i64>) -> tensor<1x1x8x1xi1>
  %both = nn.and %all, %mask : (tensor<1x1x8x1xi1>, tensor<2x1x1x8xi1>) -> tensor<2x1x8x8xi1>
  %m = nn.select %both, %none, %low : (tensor<2x1x8x8xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x8x8xf32>
  %y = nn.attention %q, %q, %q, %m {scale = 0.25 : f64} : (tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>, tensor<2x1x8x8xf32>) -> tensor<2x4x8x16xf32>
  func.return %y : tensor<2x4x8x16xf32>
}

// -----

// Quantize, then dequantize: the trip through bytes changes nothing.
// CHECK-LABEL: @a_whole_number_survives_the_trip_through_bytes
// CHECK: %[[C:.*]] = nn.clamp
// CHECK-NEXT: func.return %[[C]]
func.func @a_whole_number_survives_the_trip_through_bytes(%x: tensor<4xf32>, %z: tensor<ui8>) -> tensor<4xf32> {
  %r = nn.round %x : (tensor<4xf32>) -> tensor<4xf32>
  %p = nn.cast %z {to = f32} : (tensor<ui8>) -> tensor<f32>
  %s = nn.add %r, %p : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %c = nn.clamp %s {min = 0.0 : f64, max = 255.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  %q = nn.cast %c {to = ui8} : (tensor<4xf32>) -> tensor<4xui8>
  %d = nn.cast %q {to = f32} : (tensor<4xui8>) -> tensor<4xf32>
  func.return %d : tensor<4xf32>
}

// -----

// CHECK-LABEL: @a_fraction_does_not
// CHECK: nn.cast
// CHECK: nn.cast
func.func @a_fraction_does_not(%x: tensor<4xf32>) -> tensor<4xf32> {
  %c = nn.clamp %x {min = 0.0 : f64, max = 255.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  %q = nn.cast %c {to = ui8} : (tensor<4xf32>) -> tensor<4xui8>
  %d = nn.cast %q {to = f32} : (tensor<4xui8>) -> tensor<4xf32>
  func.return %d : tensor<4xf32>
}

// -----

// Rows that a product found merged are never merged: what is behind it adds to whole
// images, and may join its kernel.
// CHECK-LABEL: @rows_are_split_before_a_product
// CHECK-NEXT: %[[Y:.*]] = nn.matmul %x, %w : (tensor<2x3x4xf32>, tensor<4x8xf32>) -> tensor<2x3x8xf32>
// CHECK-NEXT: %[[Z:.*]] = nn.add %[[Y]], %bias : (tensor<2x3x8xf32>, tensor<8xf32>) -> tensor<2x3x8xf32>
// CHECK-NEXT: %[[S:.*]] = nn.add %[[Z]], %r
// CHECK-NEXT: func.return %[[S]]
func.func @rows_are_split_before_a_product(%x: tensor<2x3x4xf32>, %w: tensor<4x8xf32>, %bias: tensor<8xf32>, %r: tensor<2x3x8xf32>) -> tensor<2x3x8xf32> {
  %rows = nn.reshape %x : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  %y = nn.matmul %rows, %w : (tensor<6x4xf32>, tensor<4x8xf32>) -> tensor<6x8xf32>
  %z = nn.add %y, %bias : (tensor<6x8xf32>, tensor<8xf32>) -> tensor<6x8xf32>
  %back = nn.reshape %z : (tensor<6x8xf32>) -> tensor<2x3x8xf32>
  %s = nn.add %back, %r : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  func.return %s : tensor<2x3x8xf32>
}

// -----

// Columns that are cut, and rows that somebody else reads, are not rows to split.
// CHECK-LABEL: @other_reshapes_stay
// CHECK: nn.matmul %{{.*}} -> tensor<6x8xf32>
// CHECK: nn.reshape %{{.*}} : (tensor<6x8xf32>) -> tensor<6x2x4xf32>
// CHECK: nn.relu %{{.*}} -> tensor<6x8xf32>
// CHECK: nn.reshape %{{.*}} : (tensor<6x8xf32>) -> tensor<2x3x8xf32>
func.func @other_reshapes_stay(%x: tensor<6x4xf32>, %w: tensor<4x8xf32>, %t: tensor<6x8xf32>) -> (tensor<6x2x4xf32>, tensor<6x8xf32>, tensor<2x3x8xf32>) {
  %y = nn.matmul %x, %w : (tensor<6x4xf32>, tensor<4x8xf32>) -> tensor<6x8xf32>
  %heads = nn.reshape %y : (tensor<6x8xf32>) -> tensor<6x2x4xf32>
  %r = nn.relu %t : (tensor<6x8xf32>) -> tensor<6x8xf32>
  %split = nn.reshape %r : (tensor<6x8xf32>) -> tensor<2x3x8xf32>
  func.return %heads, %r, %split : tensor<6x2x4xf32>, tensor<6x8xf32>, tensor<2x3x8xf32>
}

// -----

// No operand has the rows: they come of broadcasting.
// CHECK-LABEL: @rows_of_a_broadcast_stay
// CHECK: nn.mul %x, %y : (tensor<1x1xf32>, tensor<8xf32>) -> tensor<1x8xf32>
// CHECK: nn.reshape %{{.*}} -> tensor<1x1x8xf32>
func.func @rows_of_a_broadcast_stay(%x: tensor<1x1xf32>, %y: tensor<8xf32>) -> tensor<1x1x8xf32> {
  %z = nn.mul %x, %y : (tensor<1x1xf32>, tensor<8xf32>) -> tensor<1x8xf32>
  %r = nn.reshape %z : (tensor<1x8xf32>) -> tensor<1x1x8xf32>
  func.return %r : tensor<1x1x8xf32>
}
