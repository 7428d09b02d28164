// RUN: stepwell-opt %s -p form-kernels --split-input-file --no-locations | filecheck %s

// CHECK-LABEL: func.func @a_convolution_takes_its_pointwise_epilogue
// CHECK-NEXT: fusion.kernel "conv_relu_add__conv1"
// CHECK-NEXT: nn.conv
// CHECK-NEXT: nn.relu
// CHECK-NEXT: nn.add
// CHECK-NEXT: fusion.yield
// CHECK-NEXT: }
// CHECK-NEXT: func.return
func.func @a_convolution_takes_its_pointwise_epilogue(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x1x1xf32>, %r: tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32> {
  %0 = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x3x8x8xf32>, tensor<4x3x1x1xf32>) -> tensor<1x4x8x8xf32> loc("conv1")
  %1 = nn.relu %0 : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
  %2 = nn.add %1, %r : (tensor<1x4x8x8xf32>, tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32>
  func.return %2 : tensor<1x4x8x8xf32>
}

// -----

// CHECK-LABEL: func.func @no_fusion_when_producer_has_two_users
// CHECK: fusion.kernel "matmul"{{.*}}fusion.reasons = ["nn.relu does not join: its operand has other users"]
// CHECK: fusion.kernel "relu"
// CHECK: fusion.kernel "matmul"
func.func @no_fusion_when_producer_has_two_users(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>) {
  %0 = nn.matmul %x, %w : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = nn.relu %0 : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = nn.matmul %0, %w : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  func.return %1, %2 : tensor<8x8xf32>, tensor<8x8xf32>
}

// -----

// CHECK-LABEL: func.func @a_diamond_of_pointwise_ops_is_one_kernel
// CHECK: fusion.kernel "matmul_sigmoid_mul"
// CHECK-NOT: fusion.kernel
func.func @a_diamond_of_pointwise_ops_is_one_kernel(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = nn.matmul %x, %w : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = nn.sigmoid %0 : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = nn.mul %0, %1 : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  func.return %2 : tensor<8x8xf32>
}

// -----

// CHECK-LABEL: func.func @no_fusion_through_a_cycle
// CHECK: fusion.kernel "matmul"{{.*}}nn.add does not join: another operand depends on this kernel
// CHECK: fusion.kernel "softmax_add"
func.func @no_fusion_through_a_cycle(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = nn.matmul %x, %w : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = nn.softmax %0 {axis = -1 : i64} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = nn.add %0, %1 : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  func.return %2 : tensor<8x8xf32>
}

// -----

// CHECK-LABEL: func.func @a_reduction_takes_pointwise_ops_on_both_sides
// CHECK: fusion.kernel "mul_reduce_sqrt"
// CHECK-NOT: fusion.kernel
func.func @a_reduction_takes_pointwise_ops_on_both_sides(%x: tensor<8x8xf32>) -> tensor<8xf32> {
  %0 = nn.mul %x, %x : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = nn.reduce %0 {kind = "sum", axes = array<i64: 1>, keepdims = false} : (tensor<8x8xf32>) -> tensor<8xf32>
  %2 = nn.sqrt %1 : (tensor<8xf32>) -> tensor<8xf32>
  func.return %2 : tensor<8xf32>
}

// -----

// CHECK-LABEL: func.func @a_norm_does_not_compute_an_exponential_per_pass
// CHECK: fusion.kernel "exp"{{.*}}it would be computed once per pass
// CHECK: fusion.kernel "layer_norm"
func.func @a_norm_does_not_compute_an_exponential_per_pass(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = nn.exp %x : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = nn.layer_norm %0, none, none {axis = -1 : i64, epsilon = 1.0e-5 : f64} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  func.return %1 : tensor<8x8xf32>
}

// -----

// CHECK-LABEL: func.func @movement_vanishes_into_its_readers
// CHECK-NEXT: fusion.kernel "exp"
// CHECK-NEXT: nn.transpose
// CHECK-NEXT: nn.slice
// CHECK-NEXT: nn.exp
// CHECK: fusion.kernel "neg"
// CHECK-NEXT: nn.transpose
// CHECK-NEXT: nn.neg
// CHECK-NOT: fusion.kernel "transpose"
func.func @movement_vanishes_into_its_readers(%x: tensor<4x8xf32>) -> (tensor<4x4xf32>, tensor<8x4xf32>) {
  %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %1 = nn.slice %0 {starts = #nn.dims<0, 0>, limits = #nn.dims<8, 4>, steps = array<i64: 2, 1>} : (tensor<8x4xf32>) -> tensor<4x4xf32>
  %2 = nn.exp %1 : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %3 = nn.neg %0 : (tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %2, %3 : tensor<4x4xf32>, tensor<8x4xf32>
}

// -----

// CHECK-LABEL: func.func @a_returned_transpose_is_a_kernel
// CHECK: fusion.kernel "transpose"
func.func @a_returned_transpose_is_a_kernel(%x: tensor<4x8xf32>) -> tensor<8x4xf32> {
  %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  func.return %0 : tensor<8x4xf32>
}

// -----

// CHECK-LABEL: func.func @a_reshape_of_memory_stays_outside
// CHECK-NEXT: fusion.kernel "exp"
// CHECK: nn.reshape
// CHECK-NEXT: func.return
func.func @a_reshape_of_memory_stays_outside(%x: tensor<4x8xf32>) -> tensor<32xf32> {
  %0 = nn.exp %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = nn.reshape %0 : (tensor<4x8xf32>) -> tensor<32xf32>
  func.return %1 : tensor<32xf32>
}

// -----

// A matrix product walks along the last dim of its right operand.
// CHECK-LABEL: func.func @a_transposed_right_operand_is_copied
// CHECK: fusion.kernel "transpose"
// CHECK: fusion.kernel "matmul"
// CHECK-NOT: nn.transpose
// CHECK: func.return
func.func @a_transposed_right_operand_is_copied(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> tensor<4x4xf32> {
  %0 = nn.transpose %y {perm = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %1 = nn.matmul %x, %0 : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  func.return %1 : tensor<4x4xf32>
}

// -----

// CHECK-LABEL: func.func @attention_owns_the_movement_around_it
// CHECK-NEXT: fusion.kernel "attention"
// CHECK: nn.attention
// CHECK-NEXT: nn.transpose
// CHECK-NEXT: nn.reshape
// CHECK: fusion.kernel "matmul"
// CHECK-NEXT: nn.matmul
func.func @attention_owns_the_movement_around_it(%x: tensor<1x6x8xf32>, %w: tensor<8x8xf32>) -> tensor<1x6x8xf32> {
  %0 = nn.reshape %x : (tensor<1x6x8xf32>) -> tensor<1x6x2x4xf32>
  %1 = nn.transpose %0 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x6x2x4xf32>) -> tensor<1x2x6x4xf32>
  %2 = nn.attention %1, %1, %1 {scale = 0.5 : f64} : (tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>) -> tensor<1x2x6x4xf32>
  %3 = nn.transpose %2 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x6x4xf32>) -> tensor<1x6x2x4xf32>
  %4 = nn.reshape %3 : (tensor<1x6x2x4xf32>) -> tensor<1x6x8xf32>
  %5 = nn.matmul %4, %w : (tensor<1x6x8xf32>, tensor<8x8xf32>) -> tensor<1x6x8xf32>
  func.return %5 : tensor<1x6x8xf32>
}

// -----

// CHECK-LABEL: func.func @an_index_computed_by_a_lookup_is_in_memory
// CHECK: fusion.kernel "gather"
// CHECK: fusion.kernel "neg"
// CHECK-NEXT: nn.gather
// CHECK-NEXT: nn.neg
func.func @an_index_computed_by_a_lookup_is_in_memory(%t: tensor<9x4xf32>, %m: tensor<7xi64>, %i: tensor<5xi64>) -> tensor<5x4xf32> {
  %0 = nn.gather %m, %i {axis = 0 : i64} : (tensor<7xi64>, tensor<5xi64>) -> tensor<5xi64>
  %1 = nn.gather %t, %0 {axis = 0 : i64} : (tensor<9x4xf32>, tensor<5xi64>) -> tensor<5x4xf32>
  %2 = nn.neg %1 : (tensor<5x4xf32>) -> tensor<5x4xf32>
  func.return %2 : tensor<5x4xf32>
}

// -----

// CHECK-LABEL: func.func @host_work_stays_outside
// CHECK: fusion.kernel "abs"
// CHECK: nn.nonzero
// CHECK-NEXT: func.return
func.func @host_work_stays_outside(%x: tensor<4xf32>) -> tensor<1x?xi64, #nn.dims<1, found>> {
  %0 = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.nonzero %0 : (tensor<4xf32>) -> tensor<1x?xi64, #nn.dims<1, found>>
  func.return %1 : tensor<1x?xi64, #nn.dims<1, found>>
}

// -----

// CHECK-LABEL: func.func @a_scatter_reads_its_index_from_memory
// CHECK: %[[INDEX:.*]] = nn.constant
// CHECK: fusion.kernel "scatter_nd" ({{.*}}, %{{.*}} = %[[INDEX]], {{.*}})
func.func @a_scatter_reads_its_index_from_memory(%d: tensor<4x3xf32>, %u: tensor<1x3xf32>) -> tensor<4x3xf32> {
  %i = nn.constant {value = dense<2> : tensor<1x1xi64>} : tensor<1x1xi64>
  %y = nn.scatter_nd %d, %i, %u {reduction = "none"} : (tensor<4x3xf32>, tensor<1x1xi64>, tensor<1x3xf32>) -> tensor<4x3xf32>
  func.return %y : tensor<4x3xf32>
}

// -----

// CHECK-LABEL: func.func @a_scatter_writes_into_a_copy
// CHECK: %[[COPY:.*]] = engine.copy %d
// CHECK: fusion.kernel "scatter_nd" (%{{.*}} = %[[COPY]], {{.*}}) ties [0, 0]
func.func @a_scatter_writes_into_a_copy(%d: tensor<4x3xf32>, %i: tensor<6x1xi64>, %u: tensor<6x3xf32>) -> tensor<4x3xf32> {
  %y = nn.scatter_nd %d, %i, %u {reduction = "none"} : (tensor<4x3xf32>, tensor<6x1xi64>, tensor<6x3xf32>) -> tensor<4x3xf32>
  func.return %y : tensor<4x3xf32>
}

// -----

// CHECK-LABEL: func.func @regions_are_partitioned_too
// CHECK: "nn.if"
// CHECK: fusion.kernel "exp"
// CHECK: nn.yield
// CHECK: fusion.kernel "neg"
func.func @regions_are_partitioned_too(%c: tensor<i1>, %x: tensor<4xf32>) -> tensor<4xf32> {
  %y = "nn.if"(%c) ({
    %0 = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %0 : tensor<4xf32>
  }, {
    %0 = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
    nn.yield %0 : tensor<4xf32>
  }) : (tensor<i1>) -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @a_cheap_number_is_recomputed_by_its_readers
// CHECK-NOT: fusion.kernel "mul"
// CHECK: fusion.kernel "exp_mul"
// CHECK: fusion.kernel "neg_mul"
func.func @a_cheap_number_is_recomputed_by_its_readers(%a: tensor<f32>, %b: tensor<f32>, %x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %s = nn.mul %a, %b : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %0 = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.mul %0, %s : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %2 = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
  %3 = nn.mul %2, %s : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  func.return %1, %3 : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @two_reductions_of_the_same_rows_are_one_kernel
// CHECK: fusion.kernel "reduce2_sub"
// CHECK-NOT: fusion.kernel
func.func @two_reductions_of_the_same_rows_are_one_kernel(%x: tensor<4x8xf32>) -> tensor<4xf32> {
  %0 = nn.reduce %x {kind = "max", axes = array<i64: 1>, keepdims = false} : (tensor<4x8xf32>) -> tensor<4xf32>
  %1 = nn.reduce %x {kind = "min", axes = array<i64: 1>, keepdims = false} : (tensor<4x8xf32>) -> tensor<4xf32>
  %2 = nn.sub %0, %1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %2 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @nearest_neighbours_are_read_in_place
// CHECK: fusion.kernel "neg"
// CHECK-NEXT: nn.resize
// CHECK-NOT: fusion.kernel
func.func @nearest_neighbours_are_read_in_place(%x: tensor<1x4xf32>) -> tensor<1x8xf32> {
  %0 = nn.resize %x, none, none {mode = "nearest", coordinates = "asymmetric", rounding = "floor"} : (tensor<1x4xf32>) -> tensor<1x8xf32>
  %1 = nn.neg %0 : (tensor<1x8xf32>) -> tensor<1x8xf32>
  func.return %1 : tensor<1x8xf32>
}
