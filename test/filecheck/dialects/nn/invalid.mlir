// RUN: stepwell-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @shapes_that_do_not_broadcast(%a: tensor<2x3xf32>, %b: tensor<4xf32>) {
  // CHECK: expected shapes that broadcast, got [2, 3] and [4]
  %y = nn.add %a, %b : (tensor<2x3xf32>, tensor<4xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

func.func @element_types_never_promote(%a: tensor<4xf32>, %b: tensor<4xf16>) {
  // CHECK: expected one element type, got f32 and f16
  %y = nn.mul %a, %b : (tensor<4xf32>, tensor<4xf16>) -> tensor<4xf32>
  func.return
}

// -----

func.func @result_of_another_shape(%a: tensor<4xf32>) {
  // CHECK: expected result 0 of nn.exp of type tensor<4xf32>, got tensor<5xf32>
  %y = nn.exp %a : (tensor<4xf32>) -> tensor<5xf32>
  func.return
}

// -----

func.func @dims_proved_to_differ(%a: tensor<?xf32, #nn.dims<seq>>) {
  // CHECK: expected result 0 of nn.relu of type tensor<?xf32, #nn.dims<seq>>
  %y = nn.relu %a : (tensor<?xf32, #nn.dims<seq>>) -> tensor<?xf32, #nn.dims<seq + 1>>
  func.return
}

// -----

func.func @dynamic_dims_need_names(%a: tensor<?xf32>) {
  // CHECK: expected #nn.dims<...> for the dynamic dims, got tensor<?xf32>
  %y = nn.transpose %a {perm = array<i64: 0>} : (tensor<?xf32>) -> tensor<?xf32>
  func.return
}

// -----

func.func @exponential_of_integers(%a: tensor<4xi32>) {
  // CHECK: expected a float type in nn.exp, got i32
  %y = nn.exp %a : (tensor<4xi32>) -> tensor<4xi32>
  func.return
}

// -----

func.func @unknown_choice(%a: tensor<4xf32>) {
  // CHECK: expected one of none, tanh, got sigmoid
  %y = nn.gelu %a {approximate = "sigmoid"} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

func.func @parameter_of_the_wrong_kind(%a: tensor<4xf32>) {
  // CHECK: expected int, got "one"
  %y = nn.softmax %a {axis = "one"} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

func.func @axis_outside(%a: tensor<2x4xf32>) {
  // CHECK: expected an axis in [-2, 2), got 2
  %y = nn.softmax %a {axis = 2 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  func.return
}

// -----

func.func @inner_dims(%a: tensor<2x3xf32>, %b: tensor<4x5xf32>) {
  // CHECK: expected equal inner dims of a matrix product, got 3 and 4
  %y = nn.matmul %a, %b : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<2x5xf32>
  func.return
}

// -----

func.func @channels_and_groups(%x: tensor<1x4x8x8xf32>, %w: tensor<6x3x3x3xf32>) {
  // CHECK: expected equal channels of x and w times groups, got 6 and 4
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>,
      dilations = array<i64: 1, 1>, groups = 2 : i64}
      : (tensor<1x4x8x8xf32>, tensor<6x3x3x3xf32>) -> tensor<1x6x6x6xf32>
  func.return
}

// -----

func.func @a_stride_per_spatial_dim(%x: tensor<1x4x8x8xf32>, %w: tensor<6x4x3x3xf32>) {
  // CHECK: expected 2 strides of nn.conv, got 1
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = #nn.dims<0, 0, 0, 0>,
      dilations = array<i64: 1, 1>}
      : (tensor<1x4x8x8xf32>, tensor<6x4x3x3xf32>) -> tensor<1x6x6x6xf32>
  func.return
}

// -----

func.func @window_larger_than_the_image(%x: tensor<1x1x2xf32>) {
  // CHECK: expected a window that fits, got kernel 3 dilated by 1 on 2 padded by 0
  %y = nn.max_pool %x {kernel = array<i64: 3>, strides = array<i64: 1>,
      pads = #nn.dims<0, 0>, dilations = array<i64: 1>}
      : (tensor<1x1x2xf32>) -> tensor<1x1x0xf32>
  func.return
}

// -----

func.func @reshape_keeps_the_count(%x: tensor<?x4xf32, #nn.dims<batch, 4>>) {
  // CHECK: expected a shape of 4 * batch elements, got [4 * batch + 1]
  %y = nn.reshape %x : (tensor<?x4xf32, #nn.dims<batch, 4>>)
      -> tensor<?xf32, #nn.dims<4 * batch + 1>>
  func.return
}

// -----

func.func @not_a_permutation(%x: tensor<2x3xf32>) {
  // CHECK: expected a permutation of 2 dims, got (0, 0)
  %y = nn.transpose %x {perm = array<i64: 0, 0>} : (tensor<2x3xf32>) -> tensor<2x2xf32>
  func.return
}

// -----

func.func @slice_beyond_the_end(%x: tensor<4xf32>) {
  // CHECK: expected a slice inside of 4, got 1 to 5 by 1
  %y = nn.slice %x {starts = #nn.dims<1>, limits = #nn.dims<5>, steps = array<i64: 1>}
      : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

func.func @indices_are_integers(%x: tensor<4xf32>, %i: tensor<2xf32>) {
  // CHECK: expected indices of an integer type, got tensor<2xf32>
  %y = nn.gather %x, %i {axis = 0 : i64} : (tensor<4xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return
}

// -----

func.func @heads_share_keys(%q: tensor<1x6x4x8xf32>, %k: tensor<1x4x4x8xf32>) {
  // CHECK: expected heads a multiple of 4, got 6
  %y = nn.attention %q, %k, %k {scale = 1.0 : f64}
      : (tensor<1x6x4x8xf32>, tensor<1x4x4x8xf32>, tensor<1x4x4x8xf32>)
      -> tensor<1x6x4x8xf32>
  func.return
}

// -----

func.func @branches_yield_the_results(%c: tensor<i1>, %a: tensor<4xf32>) {
  // CHECK: expected results of nn.if of type tensor<4xf32>, got tensor<i1>
  %y = "nn.if"(%c) ({
    nn.yield %a : tensor<4xf32>
  }, {
    nn.yield %c : tensor<i1>
  }) : (tensor<i1>) -> tensor<4xf32>
  func.return
}

// -----

func.func @loop_takes_the_iteration(%n: tensor<i64>, %c: tensor<i1>) {
  // CHECK: expected the iteration and 0 carried values as arguments of nn.loop's region, got 0
  "nn.loop"(%n, %c) <{operandSegmentSizes = array<i32: 1, 1, 0>}> ({
    nn.yield %c : tensor<i1>
  }) : (tensor<i64>, tensor<i1>) -> ()
  func.return
}

// -----

func.func @scan_yields_its_results(%x: tensor<3x2xf32>) {
  // CHECK: expected nn.scan's region to yield 1 values, got 0
  %y = "nn.scan"(%x) <{operandSegmentSizes = array<i32: 0, 1>, input_axes = array<i64: 0>,
      output_axes = array<i64: 0>, reverse_inputs = array<i64: 0>,
      reverse_outputs = array<i64: 0>}> ({
  ^bb0(%a: tensor<2xf32>):
    nn.yield
  }) : (tensor<3x2xf32>) -> tensor<3x2xf32>
  func.return
}

// -----

func.func @constants_are_static() {
  // CHECK: expected a static type, got tensor<?xf32, #nn.dims<n>>
  %y = nn.constant {value = #nn.weight<"00">} : tensor<?xf32, #nn.dims<n>>
  func.return
}

// -----

func.func @one_symbol_per_element(%x: tensor<2xi64>) {
  // CHECK: expected 2 symbols, got 1
  nn.bind_symbols %x {symbols = ["rows"]} : tensor<2xi64>
  func.return
}

// -----

// CHECK: expected min <= max, got 4 and 2
module attributes {nn.symbols = {batch = #nn.range<4, 2, ?, 1>}} {}
