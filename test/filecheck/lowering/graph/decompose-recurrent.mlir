// RUN: stepwell-opt %s -p decompose-recurrent --split-input-file | filecheck %s

// CHECK-LABEL: @one_product_for_all_steps_and_a_loop
// CHECK: %[[ROWS:.*]] = nn.matmul %x, {{.*}} -> tensor<5x2x32xf32>
// CHECK: "nn.loop"
// CHECK: nn.gather
// CHECK-NEXT: nn.matmul
// CHECK-NOT: nn.lstm
func.func @one_product_for_all_steps_and_a_loop(%x: tensor<5x2x4xf32>, %w: tensor<1x32x4xf32>, %r: tensor<1x32x8xf32>, %b: tensor<1x64xf32>, %h: tensor<1x2x8xf32>, %c: tensor<1x2x8xf32>, %p: tensor<1x24xf32>) -> (tensor<5x1x2x8xf32>, tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %y, %lh, %lc = nn.lstm %x, %w, %r, %b, none, %h, %c, %p {activations = ["Sigmoid", "Tanh", "Tanh"]} : (tensor<5x2x4xf32>, tensor<1x32x4xf32>, tensor<1x32x8xf32>, tensor<1x64xf32>, tensor<1x2x8xf32>, tensor<1x2x8xf32>, tensor<1x24xf32>) -> (tensor<5x1x2x8xf32>, tensor<1x2x8xf32>, tensor<1x2x8xf32>)
  func.return %y, %lh, %lc : tensor<5x1x2x8xf32>, tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: @directions_share_a_loop_and_sequences_end
// CHECK: nn.reverse_sequence
// CHECK: "nn.loop"
// CHECK: nn.compare
// CHECK-NOT: "nn.loop"
func.func @directions_share_a_loop_and_sequences_end(%x: tensor<5x2x4xf32>, %w: tensor<2x32x4xf32>, %r: tensor<2x32x8xf32>) -> (tensor<5x2x2x8xf32>, tensor<2x2x8xf32>, tensor<2x2x8xf32>) {
  %lengths = nn.constant {value = dense<[5, 3]> : tensor<2xi32>} : tensor<2xi32>
  %y, %lh, %lc = nn.lstm %x, %w, %r, none, %lengths, none, none, none {direction = "bidirectional", activations = ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Softsign", "Relu"], input_forget = true, clip = 0.7 : f64} : (tensor<5x2x4xf32>, tensor<2x32x4xf32>, tensor<2x32x8xf32>, tensor<2xi32>) -> (tensor<5x2x2x8xf32>, tensor<2x2x8xf32>, tensor<2x2x8xf32>)
  func.return %y, %lh, %lc : tensor<5x2x2x8xf32>, tensor<2x2x8xf32>, tensor<2x2x8xf32>
}

// -----

// CHECK-LABEL: @gru_backwards
// CHECK: "nn.loop"
// CHECK: nn.slice {{.*}}steps = array<i64: -1, 1, 1>
func.func @gru_backwards(%x: tensor<5x2x4xf32>, %w: tensor<1x24x4xf32>, %r: tensor<1x24x8xf32>, %b: tensor<1x48xf32>) -> (tensor<5x1x2x8xf32>, tensor<1x2x8xf32>) {
  %y, %lh = nn.gru %x, %w, %r, %b, none, none {direction = "reverse", activations = ["Sigmoid", "Tanh"], linear_before_reset = true} : (tensor<5x2x4xf32>, tensor<1x24x4xf32>, tensor<1x24x8xf32>, tensor<1x48xf32>) -> (tensor<5x1x2x8xf32>, tensor<1x2x8xf32>)
  func.return %y, %lh : tensor<5x1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: @gru_with_the_reset_inside
// CHECK-NOT: nn.gru
func.func @gru_with_the_reset_inside(%x: tensor<3x2x4xf32>, %w: tensor<1x24x4xf32>, %r: tensor<1x24x8xf32>, %b: tensor<1x48xf32>) -> (tensor<3x1x2x8xf32>, tensor<1x2x8xf32>) {
  %y, %lh = nn.gru %x, %w, %r, %b, none, none {activations = ["Sigmoid", "Tanh"]} : (tensor<3x2x4xf32>, tensor<1x24x4xf32>, tensor<1x24x8xf32>, tensor<1x48xf32>) -> (tensor<3x1x2x8xf32>, tensor<1x2x8xf32>)
  func.return %y, %lh : tensor<3x1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// CHECK-LABEL: @a_single_step_needs_no_loop
// CHECK-NOT: nn.loop
func.func @a_single_step_needs_no_loop(%x: tensor<1x2x4xf32>, %w: tensor<1x8x4xf32>, %r: tensor<1x8x8xf32>) -> (tensor<1x1x2x8xf32>, tensor<1x2x8xf32>) {
  %y, %lh = nn.rnn %x, %w, %r, none, none, none {activations = ["Affine"], activation_alpha = array<f64: 0.5>, activation_beta = array<f64: 0.25>} : (tensor<1x2x4xf32>, tensor<1x8x4xf32>, tensor<1x8x8xf32>) -> (tensor<1x1x2x8xf32>, tensor<1x2x8xf32>)
  func.return %y, %lh : tensor<1x1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// What is multiplied goes through 8 bits: the input as a whole, the state in each round.
// CHECK-LABEL: func.func @main
// CHECK: nn.reduce %x {kind = "min"
// CHECK: nn.matmul
// CHECK: nn.loop
// CHECK: nn.reduce %{{.*}} {kind = "min"
// CHECK: nn.round
// CHECK: nn.matmul
func.func @main(%x: tensor<3x1x4xf32>, %w: tensor<1x32x4xf32>, %r: tensor<1x32x8xf32>) -> tensor<3x1x1x8xf32> {
  %y, %lh, %lc = nn.lstm %x, %w, %r, none, none, none, none, none {activations = ["Sigmoid", "Tanh", "Tanh"], quantizes = true} : (tensor<3x1x4xf32>, tensor<1x32x4xf32>, tensor<1x32x8xf32>) -> (tensor<3x1x1x8xf32>, tensor<1x1x8xf32>, tensor<1x1x8xf32>)
  func.return %y : tensor<3x1x1x8xf32>
}
