// Every op of the dialect reads and prints back, pretty and generic.
// RUN: stepwell-opt %s --no-locations | stepwell-opt --no-locations | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt --no-locations | filecheck %s

// CHECK-LABEL: func.func @abs(
// CHECK: %y = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @abs(%x: tensor<4xf32>) {
  %y = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @acos(
// CHECK: %y = nn.acos %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @acos(%x: tensor<4xf32>) {
  %y = nn.acos %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @acosh(
// CHECK: %y = nn.acosh %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @acosh(%x: tensor<4xf32>) {
  %y = nn.acosh %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @add(
// CHECK: %y = nn.add %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @add(%a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.add %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @and(
// CHECK: %y = nn.and %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
func.func @and(%a: tensor<4xi32>, %b: tensor<1xi32>) {
  %y = nn.and %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  func.return
}

// CHECK-LABEL: func.func @arg_reduce(
// CHECK: %i = nn.arg_reduce %x {kind = "max", axis = 1 : i64} : (tensor<2x10xf32>) -> tensor<2xi64>
func.func @arg_reduce(%x: tensor<2x10xf32>) {
  %i = nn.arg_reduce %x {kind = "max", axis = 1 : i64}
      : (tensor<2x10xf32>) -> tensor<2xi64>
  func.return
}

// CHECK-LABEL: func.func @asin(
// CHECK: %y = nn.asin %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @asin(%x: tensor<4xf32>) {
  %y = nn.asin %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @asinh(
// CHECK: %y = nn.asinh %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @asinh(%x: tensor<4xf32>) {
  %y = nn.asinh %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @assert_dims(
// CHECK: nn.assert_dims {left = #nn.dims<2 * seq>, right = #nn.dims<total>, message = "add: shapes must agree"}
func.func @assert_dims() {
  nn.assert_dims {left = #nn.dims<2 * seq>, right = #nn.dims<total>,
                  predicate = "eq", message = "add: shapes must agree"}
  func.return
}

// CHECK-LABEL: func.func @atan(
// CHECK: %y = nn.atan %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @atan(%x: tensor<4xf32>) {
  %y = nn.atan %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @atanh(
// CHECK: %y = nn.atanh %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @atanh(%x: tensor<4xf32>) {
  %y = nn.atanh %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @attention(
// CHECK: %y = nn.attention %q, %k, %v {scale = 1.250000e-01 : f64, causal = true} : (tensor<1x8x16x64xf32>, tensor<1x8x16x64xf32>, tensor<1x8x16x64xf32>) -> tensor<1x8x16x64xf32>
func.func @attention(%q: tensor<1x8x16x64xf32>, %k: tensor<1x8x16x64xf32>, %v: tensor<1x8x16x64xf32>) {
  %y = nn.attention %q, %k, %v {scale = 0.125 : f64, causal = true}
      : (tensor<1x8x16x64xf32>, tensor<1x8x16x64xf32>, tensor<1x8x16x64xf32>)
      -> tensor<1x8x16x64xf32>
  func.return
}

// CHECK-LABEL: func.func @avg_pool(
// CHECK: %y = nn.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x8x4x4xf32>) -> tensor<1x8x2x2xf32>
func.func @avg_pool(%x: tensor<1x8x4x4xf32>) {
  %y = nn.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>,
      pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<1x8x4x4xf32>) -> tensor<1x8x2x2xf32>
  func.return
}

// CHECK-LABEL: func.func @batch_norm(
// CHECK: %y = nn.batch_norm %x, %scale, %bias, %mean, %variance : (tensor<1x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x8x4x4xf32>
func.func @batch_norm(%x: tensor<1x8x4x4xf32>, %scale: tensor<8xf32>, %bias: tensor<8xf32>, %mean: tensor<8xf32>, %variance: tensor<8xf32>) {
  %y = nn.batch_norm %x, %scale, %bias, %mean, %variance {epsilon = 1.0e-5 : f64}
      : (tensor<1x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>,
         tensor<8xf32>) -> tensor<1x8x4x4xf32>
  func.return
}

// CHECK-LABEL: func.func @bernoulli(
// CHECK: %y = nn.bernoulli %p : (tensor<4xf32>) -> tensor<4xf32>
func.func @bernoulli(%p: tensor<4xf32>) {
  %y = nn.bernoulli %p : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @bind_symbols(
// CHECK: nn.bind_symbols %shape {symbols = ["rows", "columns"]} : tensor<2xi64>
func.func @bind_symbols(%shape: tensor<2xi64>) {
  nn.bind_symbols %shape {symbols = ["rows", "columns"]} : tensor<2xi64>
  func.return
}

// CHECK-LABEL: func.func @bitcast(
// CHECK: %y = nn.bitcast %x {to = i32} : (tensor<4xf32>) -> tensor<4xi32>
func.func @bitcast(%x: tensor<4xf32>) {
  %y = nn.bitcast %x {to = i32} : (tensor<4xf32>) -> tensor<4xi32>
  func.return
}

// CHECK-LABEL: func.func @broadcast_to(
// CHECK: %y = nn.broadcast_to %x : (tensor<4x1xf32>) -> tensor<2x4x8xf32>
func.func @broadcast_to(%x: tensor<4x1xf32>) {
  %y = nn.broadcast_to %x : (tensor<4x1xf32>) -> tensor<2x4x8xf32>
  func.return
}

// CHECK-LABEL: func.func @cast(
// CHECK: %y = nn.cast %x {to = f16} : (tensor<4xf32>) -> tensor<4xf16>
func.func @cast(%x: tensor<4xf32>) {
  %y = nn.cast %x {to = f16} : (tensor<4xf32>) -> tensor<4xf16>
  func.return
}

// CHECK-LABEL: func.func @ceil(
// CHECK: %y = nn.ceil %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @ceil(%x: tensor<4xf32>) {
  %y = nn.ceil %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @celu(
// CHECK: %y = nn.celu %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @celu(%x: tensor<4xf32>) {
  %y = nn.celu %x {alpha = 1.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @clamp(
// CHECK: %y = nn.clamp %x {min = 0.000000e+00 : f64, max = 6.000000e+00 : f64} : (tensor<4xf32>) -> tensor<4xf32>
func.func @clamp(%x: tensor<4xf32>) {
  %y = nn.clamp %x {min = 0.0 : f64, max = 6.0 : f64}
      : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @compare(
// CHECK: %y = nn.compare %a, %b {predicate = "lt"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
func.func @compare(%a: tensor<4xf32>, %b: tensor<4xf32>) {
  %y = nn.compare %a, %b {predicate = "lt"}
      : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
  func.return
}

// CHECK-LABEL: func.func @compress(
// CHECK: %y = nn.compress %x, %keep {axis = 0 : i64} : (tensor<4x2xf32>, tensor<4xi1>) -> tensor<?x2xf32, #nn.dims<kept, 2>>
func.func @compress(%x: tensor<4x2xf32>, %keep: tensor<4xi1>) {
  %y = nn.compress %x, %keep {axis = 0 : i64}
      : (tensor<4x2xf32>, tensor<4xi1>) -> tensor<?x2xf32, #nn.dims<kept, 2>>
  func.return
}

// CHECK-LABEL: func.func @concat(
// CHECK: %y = nn.concat %a, %b {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x7xf32>
func.func @concat(%a: tensor<2x3xf32>, %b: tensor<2x4xf32>) {
  %y = nn.concat %a, %b {axis = 1 : i64}
      : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x7xf32>
  func.return
}

// CHECK-LABEL: func.func @constant(
// CHECK: %c = nn.constant {value = dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32>} : tensor<2xf32>
// CHECK: %w = nn.constant {value = #nn.weight<"9f86d081884c7d65">} : tensor<64x3x7x7xf32>
func.func @constant() {
  %c = nn.constant {value = dense<[1.0, 2.0]> : tensor<2xf32>} : tensor<2xf32>
  %w = nn.constant {value = #nn.weight<"9f86d081884c7d65">} : tensor<64x3x7x7xf32>
  func.return
}

// CHECK-LABEL: func.func @conv(
// CHECK: %y = nn.conv %x, %w {strides = array<i64: 2, 2>, pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x3x224x224xf32>, tensor<64x3x3x3xf32>) -> tensor<1x64x112x112xf32>
func.func @conv(%x: tensor<1x3x224x224xf32>, %w: tensor<64x3x3x3xf32>) {
  %y = nn.conv %x, %w {strides = array<i64: 2, 2>, pads = #nn.dims<1, 1, 1, 1>,
                       dilations = array<i64: 1, 1>}
      : (tensor<1x3x224x224xf32>, tensor<64x3x3x3xf32>) -> tensor<1x64x112x112xf32>
  func.return
}

// CHECK-LABEL: func.func @conv_transpose(
// CHECK: %y = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>, output_padding = #nn.dims<0, 0>} : (tensor<1x8x4x4xf32>, tensor<8x3x2x2xf32>) -> tensor<1x3x8x8xf32>
func.func @conv_transpose(%x: tensor<1x8x4x4xf32>, %w: tensor<8x3x2x2xf32>) {
  %y = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>,
      pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>,
      output_padding = #nn.dims<0, 0>}
      : (tensor<1x8x4x4xf32>, tensor<8x3x2x2xf32>) -> tensor<1x3x8x8xf32>
  func.return
}

// CHECK-LABEL: func.func @cos(
// CHECK: %y = nn.cos %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @cos(%x: tensor<4xf32>) {
  %y = nn.cos %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @cosh(
// CHECK: %y = nn.cosh %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @cosh(%x: tensor<4xf32>) {
  %y = nn.cosh %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @cumulative(
// CHECK: %y = nn.cumulative %x {axis = 1 : i64} : (tensor<2x8xf32>) -> tensor<2x8xf32>
func.func @cumulative(%x: tensor<2x8xf32>) {
  %y = nn.cumulative %x {kind = "sum", axis = 1 : i64}
      : (tensor<2x8xf32>) -> tensor<2x8xf32>
  func.return
}

// CHECK-LABEL: func.func @dft(
// CHECK: %y = nn.dft %x {axis = 1 : i64, length = #nn.dims<8>} : (tensor<1x8x1xf32>) -> tensor<1x8x2xf32>
func.func @dft(%x: tensor<1x8x1xf32>) {
  %y = nn.dft %x {axis = 1 : i64, length = #nn.dims<8>}
      : (tensor<1x8x1xf32>) -> tensor<1x8x2xf32>
  func.return
}

// CHECK-LABEL: func.func @dim_value(
// CHECK: %n = nn.dim_value {dim = #nn.dims<batch * seq>} : tensor<i64>
func.func @dim_value() {
  %n = nn.dim_value {dim = #nn.dims<batch * seq>} : tensor<i64>
  func.return
}

// CHECK-LABEL: func.func @div(
// CHECK: %y = nn.div %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @div(%a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.div %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @einsum(
// CHECK: %y = nn.einsum %a, %b {equation = "bij,bjk->bik"} : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
func.func @einsum(%a: tensor<2x3x4xf32>, %b: tensor<2x4x5xf32>) {
  %y = nn.einsum %a, %b {equation = "bij,bjk->bik"}
      : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
  func.return
}

// CHECK-LABEL: func.func @elu(
// CHECK: %y = nn.elu %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @elu(%x: tensor<4xf32>) {
  %y = nn.elu %x {alpha = 1.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @erf(
// CHECK: %y = nn.erf %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @erf(%x: tensor<4xf32>) {
  %y = nn.erf %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @exp(
// CHECK: %y = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @exp(%x: tensor<4xf32>) {
  %y = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @expm1(
// CHECK: %y = nn.expm1 %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @expm1(%x: tensor<4xf32>) {
  %y = nn.expm1 %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @floor(
// CHECK: %y = nn.floor %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @floor(%x: tensor<4xf32>) {
  %y = nn.floor %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @gather_elements(
// CHECK: %y = nn.gather_elements %x, %i {axis = 1 : i64} : (tensor<2x4xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
func.func @gather_elements(%x: tensor<2x4xf32>, %i: tensor<2x3xi64>) {
  %y = nn.gather_elements %x, %i {axis = 1 : i64}
      : (tensor<2x4xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  func.return
}

// CHECK-LABEL: func.func @gather_nd(
// CHECK: %y = nn.gather_nd %x, %i : (tensor<2x3x4xf32>, tensor<5x2xi64>) -> tensor<5x4xf32>
func.func @gather_nd(%x: tensor<2x3x4xf32>, %i: tensor<5x2xi64>) {
  %y = nn.gather_nd %x, %i {batch_dims = 0 : i64}
      : (tensor<2x3x4xf32>, tensor<5x2xi64>) -> tensor<5x4xf32>
  func.return
}

// CHECK-LABEL: func.func @gather(
// CHECK: %y = nn.gather %table, %ids : (tensor<30522x768xf32>, tensor<1x128xi64>) -> tensor<1x128x768xf32>
func.func @gather(%table: tensor<30522x768xf32>, %ids: tensor<1x128xi64>) {
  %y = nn.gather %table, %ids {axis = 0 : i64}
      : (tensor<30522x768xf32>, tensor<1x128xi64>) -> tensor<1x128x768xf32>
  func.return
}

// CHECK-LABEL: func.func @gelu(
// CHECK: %y = nn.gelu %x {approximate = "tanh"} : (tensor<4xf32>) -> tensor<4xf32>
func.func @gelu(%x: tensor<4xf32>) {
  %y = nn.gelu %x {approximate = "tanh"} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @grid_sample(
// CHECK: %y = nn.grid_sample %x, %grid : (tensor<1x3x8x8xf32>, tensor<1x4x4x2xf32>) -> tensor<1x3x4x4xf32>
func.func @grid_sample(%x: tensor<1x3x8x8xf32>, %grid: tensor<1x4x4x2xf32>) {
  %y = nn.grid_sample %x, %grid {mode = "linear", padding = "zeros"}
      : (tensor<1x3x8x8xf32>, tensor<1x4x4x2xf32>) -> tensor<1x3x4x4xf32>
  func.return
}

// CHECK-LABEL: func.func @group_norm(
// CHECK: %y = nn.group_norm %x, %scale, %bias {groups = 2 : i64} : (tensor<2x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x4xf32>
func.func @group_norm(%x: tensor<2x8x4x4xf32>, %scale: tensor<8xf32>, %bias: tensor<8xf32>) {
  %y = nn.group_norm %x, %scale, %bias {groups = 2 : i64, epsilon = 1.0e-5 : f64}
      : (tensor<2x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x4xf32>
  func.return
}

// CHECK-LABEL: func.func @gru(
// CHECK: %y, %h = nn.gru %x, %w, %r, none, none, none {activations = ["Sigmoid", "Tanh"]} : (tensor<5x1x4xf32>, tensor<1x24x4xf32>, tensor<1x24x8xf32>) -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>)
func.func @gru(%x: tensor<5x1x4xf32>, %w: tensor<1x24x4xf32>, %r: tensor<1x24x8xf32>) {
  %y, %h = nn.gru %x, %w, %r, none, none, none {activations = ["Sigmoid", "Tanh"]}
      : (tensor<5x1x4xf32>, tensor<1x24x4xf32>, tensor<1x24x8xf32>)
      -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>)
  func.return
}

// CHECK-LABEL: func.func @hard_sigmoid(
// CHECK: %y = nn.hard_sigmoid %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @hard_sigmoid(%x: tensor<4xf32>) {
  %y = nn.hard_sigmoid %x {alpha = 0.2 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @hard_swish(
// CHECK: %y = nn.hard_swish %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @hard_swish(%x: tensor<4xf32>) {
  %y = nn.hard_swish %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @if(
// CHECK: %y = "nn.if"(%c) ({
func.func @if(%c: tensor<i1>, %a: tensor<4xf32>, %b: tensor<4xf32>) {
  %y = "nn.if"(%c) ({
    nn.yield %a : tensor<4xf32>
  }, {
    nn.yield %b : tensor<4xf32>
  }) : (tensor<i1>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @instance_norm(
// CHECK: %y = nn.instance_norm %x, %scale, %bias : (tensor<2x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x4xf32>
func.func @instance_norm(%x: tensor<2x8x4x4xf32>, %scale: tensor<8xf32>, %bias: tensor<8xf32>) {
  %y = nn.instance_norm %x, %scale, %bias {epsilon = 1.0e-5 : f64}
      : (tensor<2x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x4xf32>
  func.return
}

// CHECK-LABEL: func.func @iota(
// CHECK: %i = nn.iota {axis = 1 : i64} : tensor<2x4xi64>
func.func @iota() {
  %i = nn.iota {axis = 1 : i64} : tensor<2x4xi64>
  func.return
}

// CHECK-LABEL: func.func @is_inf(
// CHECK: %y = nn.is_inf %x {detect_negative = false} : (tensor<4xf32>) -> tensor<4xi1>
func.func @is_inf(%x: tensor<4xf32>) {
  %y = nn.is_inf %x {detect_negative = false} : (tensor<4xf32>) -> tensor<4xi1>
  func.return
}

// CHECK-LABEL: func.func @is_nan(
// CHECK: %y = nn.is_nan %x : (tensor<4xf32>) -> tensor<4xi1>
func.func @is_nan(%x: tensor<4xf32>) {
  %y = nn.is_nan %x : (tensor<4xf32>) -> tensor<4xi1>
  func.return
}

// CHECK-LABEL: func.func @layer_norm(
// CHECK: %y = nn.layer_norm %x, %scale, %bias : (tensor<2x16x768xf32>, tensor<768xf32>, tensor<768xf32>) -> tensor<2x16x768xf32>
func.func @layer_norm(%x: tensor<2x16x768xf32>, %scale: tensor<768xf32>, %bias: tensor<768xf32>) {
  %y = nn.layer_norm %x, %scale, %bias {axis = -1 : i64, epsilon = 1.0e-5 : f64}
      : (tensor<2x16x768xf32>, tensor<768xf32>, tensor<768xf32>)
      -> tensor<2x16x768xf32>
  func.return
}

// CHECK-LABEL: func.func @leaky_relu(
// CHECK: %y = nn.leaky_relu %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @leaky_relu(%x: tensor<4xf32>) {
  %y = nn.leaky_relu %x {alpha = 0.01 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @log1p(
// CHECK: %y = nn.log1p %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @log1p(%x: tensor<4xf32>) {
  %y = nn.log1p %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @log(
// CHECK: %y = nn.log %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @log(%x: tensor<4xf32>) {
  %y = nn.log %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @log_softmax(
// CHECK: %y = nn.log_softmax %x : (tensor<2x10xf32>) -> tensor<2x10xf32>
func.func @log_softmax(%x: tensor<2x10xf32>) {
  %y = nn.log_softmax %x {axis = -1 : i64} : (tensor<2x10xf32>) -> tensor<2x10xf32>
  func.return
}

// CHECK-LABEL: func.func @loop(
// CHECK: %y = "nn.loop"(%n, %c, %x) <{operandSegmentSizes = array<i32: 1, 1, 1>}> ({
// CHECK: %b = nn.add %a, %a : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
func.func @loop(%n: tensor<i64>, %c: tensor<i1>, %x: tensor<4xf32>) {
  %y = "nn.loop"(%n, %c, %x) <{operandSegmentSizes = array<i32: 1, 1, 1>}> ({
  ^bb0(%i: tensor<i64>, %a: tensor<4xf32>):
    %b = nn.add %a, %a : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    nn.yield %c, %b : tensor<i1>, tensor<4xf32>
  }) : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @lp_pool(
// CHECK: %y = nn.lp_pool %x {kernel = array<i64: 2>, strides = array<i64: 2>, pads = #nn.dims<0, 0>, dilations = array<i64: 1>} : (tensor<1x8x4xf32>) -> tensor<1x8x2xf32>
func.func @lp_pool(%x: tensor<1x8x4xf32>) {
  %y = nn.lp_pool %x {p = 2 : i64, kernel = array<i64: 2>, strides = array<i64: 2>,
      pads = #nn.dims<0, 0>, dilations = array<i64: 1>}
      : (tensor<1x8x4xf32>) -> tensor<1x8x2xf32>
  func.return
}

// CHECK-LABEL: func.func @lrn(
// CHECK: %y = nn.lrn %x {size = 5 : i64} : (tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
func.func @lrn(%x: tensor<1x8x4x4xf32>) {
  %y = nn.lrn %x {size = 5 : i64, alpha = 1.0e-4 : f64}
      : (tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
  func.return
}

// CHECK-LABEL: func.func @lstm(
// CHECK: %y, %h, %c = nn.lstm %x, %w, %r, none, none, none, none, none {activations = ["Sigmoid", "Tanh", "Tanh"]} : (tensor<5x1x4xf32>, tensor<1x32x4xf32>, tensor<1x32x8xf32>) -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>, tensor<1x1x8xf32>)
func.func @lstm(%x: tensor<5x1x4xf32>, %w: tensor<1x32x4xf32>, %r: tensor<1x32x8xf32>) {
  %y, %h, %c = nn.lstm %x, %w, %r, none, none, none, none, none
      {activations = ["Sigmoid", "Tanh", "Tanh"]}
      : (tensor<5x1x4xf32>, tensor<1x32x4xf32>, tensor<1x32x8xf32>)
      -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>, tensor<1x1x8xf32>)
  func.return
}

// CHECK-LABEL: func.func @matmul(
// CHECK: %y = nn.matmul %a, %b : (tensor<2x4x8xf32>, tensor<8x3xf32>) -> tensor<2x4x3xf32>
func.func @matmul(%a: tensor<2x4x8xf32>, %b: tensor<8x3xf32>) {
  %y = nn.matmul %a, %b : (tensor<2x4x8xf32>, tensor<8x3xf32>) -> tensor<2x4x3xf32>
  func.return
}

// CHECK-LABEL: func.func @max_pool_indices(
// CHECK: %i = nn.max_pool_indices %x {kernel = array<i64: 2>, strides = array<i64: 2>, pads = #nn.dims<0, 0>, dilations = array<i64: 1>} : (tensor<1x1x8xf32>) -> tensor<1x1x4xi64>
func.func @max_pool_indices(%x: tensor<1x1x8xf32>) {
  %i = nn.max_pool_indices %x {kernel = array<i64: 2>, strides = array<i64: 2>,
      pads = #nn.dims<0, 0>, dilations = array<i64: 1>}
      : (tensor<1x1x8xf32>) -> tensor<1x1x4xi64>
  func.return
}

// CHECK-LABEL: func.func @max_pool(
// CHECK: %y = nn.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x64x112x112xf32>) -> tensor<1x64x56x56xf32>
func.func @max_pool(%x: tensor<1x64x112x112xf32>) {
  %y = nn.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>,
      pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x64x112x112xf32>) -> tensor<1x64x56x56xf32>
  func.return
}

// CHECK-LABEL: func.func @maximum(
// CHECK: %y = nn.maximum %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @maximum(%a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.maximum %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @minimum(
// CHECK: %y = nn.minimum %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @minimum(%a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.minimum %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @mish(
// CHECK: %y = nn.mish %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @mish(%x: tensor<4xf32>) {
  %y = nn.mish %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @mod(
// CHECK: %y = nn.mod %a, %b {fmod = true} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
func.func @mod(%a: tensor<4xf32>, %b: tensor<4xf32>) {
  %y = nn.mod %a, %b {fmod = true} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @mul(
// CHECK: %y = nn.mul %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @mul(%a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.mul %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @multinomial(
// CHECK: %y = nn.multinomial %logits : (tensor<2x10xf32>) -> tensor<2x5xi32>
func.func @multinomial(%logits: tensor<2x10xf32>) {
  %y = nn.multinomial %logits : (tensor<2x10xf32>) -> tensor<2x5xi32>
  func.return
}

// CHECK-LABEL: func.func @neg(
// CHECK: %y = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @neg(%x: tensor<4xf32>) {
  %y = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @non_max_suppression(
// CHECK: %y = nn.non_max_suppression %boxes, %scores, %most, %overlap, none : (tensor<1x6x4xf32>, tensor<1x1x6xf32>, tensor<i64>, tensor<f32>) -> tensor<?x3xi64, #nn.dims<selected, 3>>
func.func @non_max_suppression(%boxes: tensor<1x6x4xf32>, %scores: tensor<1x1x6xf32>, %most: tensor<i64>, %overlap: tensor<f32>) {
  %y = nn.non_max_suppression %boxes, %scores, %most, %overlap, none
      : (tensor<1x6x4xf32>, tensor<1x1x6xf32>, tensor<i64>, tensor<f32>)
      -> tensor<?x3xi64, #nn.dims<selected, 3>>
  func.return
}

// CHECK-LABEL: func.func @nonzero(
// CHECK: %i = nn.nonzero %x : (tensor<2x8xf32>) -> tensor<2x?xi64, #nn.dims<2, found>>
func.func @nonzero(%x: tensor<2x8xf32>) {
  %i = nn.nonzero %x
      : (tensor<2x8xf32>) -> tensor<2x?xi64, #nn.dims<2, found>>
  func.return
}

// CHECK-LABEL: func.func @not(
// CHECK: %y = nn.not %x : (tensor<4xi32>) -> tensor<4xi32>
func.func @not(%x: tensor<4xi32>) {
  %y = nn.not %x : (tensor<4xi32>) -> tensor<4xi32>
  func.return
}

// CHECK-LABEL: func.func @or(
// CHECK: %y = nn.or %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
func.func @or(%a: tensor<4xi32>, %b: tensor<1xi32>) {
  %y = nn.or %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  func.return
}

// CHECK-LABEL: func.func @pad(
// CHECK: %y = nn.pad %x, %zero {low = #nn.dims<0, 1>, high = #nn.dims<0, 1>} : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x5xf32>
func.func @pad(%x: tensor<2x3xf32>, %zero: tensor<f32>) {
  %y = nn.pad %x, %zero {low = #nn.dims<0, 1>, high = #nn.dims<0, 1>,
                         mode = "constant"}
      : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x5xf32>
  func.return
}

// CHECK-LABEL: func.func @pow(
// CHECK: %y = nn.pow %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @pow(%a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.pow %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @prelu(
// CHECK: %y = nn.prelu %x, %slope : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
func.func @prelu(%x: tensor<2x4xf32>, %slope: tensor<4xf32>) {
  %y = nn.prelu %x, %slope : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  func.return
}

// CHECK-LABEL: func.func @random_normal(
// CHECK: %y = nn.random_normal : tensor<4xf32>
func.func @random_normal() {
  %y = nn.random_normal {mean = 0.0 : f64, scale = 1.0 : f64} : tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @random_uniform(
// CHECK: %y = nn.random_uniform : tensor<4xf32>
func.func @random_uniform() {
  %y = nn.random_uniform {low = 0.0 : f64, high = 1.0 : f64} : tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @reciprocal(
// CHECK: %y = nn.reciprocal %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @reciprocal(%x: tensor<4xf32>) {
  %y = nn.reciprocal %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @reduce(
// CHECK: %y = nn.reduce %x {kind = "mean", axes = array<i64: 2, 3>, keepdims = true} : (tensor<1x64x7x7xf32>) -> tensor<1x64x1x1xf32>
func.func @reduce(%x: tensor<1x64x7x7xf32>) {
  %y = nn.reduce %x {kind = "mean", axes = array<i64: 2, 3>, keepdims = true}
      : (tensor<1x64x7x7xf32>) -> tensor<1x64x1x1xf32>
  func.return
}

// CHECK-LABEL: func.func @relu(
// CHECK: %y = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @relu(%x: tensor<4xf32>) {
  %y = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @reshape(
// CHECK: %y = nn.reshape %x : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
func.func @reshape(%x: tensor<2x3x4xf32>) {
  %y = nn.reshape %x : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  func.return
}

// CHECK-LABEL: func.func @resize(
// CHECK: %y = nn.resize %x, none, none {mode = "linear"} : (tensor<1x3x8x8xf32>) -> tensor<1x3x16x16xf32>
func.func @resize(%x: tensor<1x3x8x8xf32>) {
  %y = nn.resize %x, none, none {mode = "linear", coordinates = "half_pixel"}
      : (tensor<1x3x8x8xf32>) -> tensor<1x3x16x16xf32>
  func.return
}

// CHECK-LABEL: func.func @reverse_sequence(
// CHECK: %y = nn.reverse_sequence %x, %lengths : (tensor<4x2xf32>, tensor<2xi64>) -> tensor<4x2xf32>
func.func @reverse_sequence(%x: tensor<4x2xf32>, %lengths: tensor<2xi64>) {
  %y = nn.reverse_sequence %x, %lengths {batch_axis = 1 : i64, time_axis = 0 : i64}
      : (tensor<4x2xf32>, tensor<2xi64>) -> tensor<4x2xf32>
  func.return
}

// CHECK-LABEL: func.func @rms_norm(
// CHECK: %y = nn.rms_norm %x, %scale : (tensor<2x16x768xf32>, tensor<768xf32>) -> tensor<2x16x768xf32>
func.func @rms_norm(%x: tensor<2x16x768xf32>, %scale: tensor<768xf32>) {
  %y = nn.rms_norm %x, %scale {axis = -1 : i64, epsilon = 1.0e-5 : f64}
      : (tensor<2x16x768xf32>, tensor<768xf32>) -> tensor<2x16x768xf32>
  func.return
}

// CHECK-LABEL: func.func @rnn(
// CHECK: %y, %h = nn.rnn %x, %w, %r, none, none, none {activations = ["Tanh"]} : (tensor<5x1x4xf32>, tensor<1x8x4xf32>, tensor<1x8x8xf32>) -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>)
func.func @rnn(%x: tensor<5x1x4xf32>, %w: tensor<1x8x4xf32>, %r: tensor<1x8x8xf32>) {
  %y, %h = nn.rnn %x, %w, %r, none, none, none {activations = ["Tanh"]}
      : (tensor<5x1x4xf32>, tensor<1x8x4xf32>, tensor<1x8x8xf32>)
      -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>)
  func.return
}

// CHECK-LABEL: func.func @roi_align(
// CHECK: %y = nn.roi_align %x, %rois, %batch {output_height = 7 : i64, output_width = 7 : i64} : (tensor<1x8x32x32xf32>, tensor<5x4xf32>, tensor<5xi64>) -> tensor<5x8x7x7xf32>
func.func @roi_align(%x: tensor<1x8x32x32xf32>, %rois: tensor<5x4xf32>, %batch: tensor<5xi64>) {
  %y = nn.roi_align %x, %rois, %batch {output_height = 7 : i64,
                                       output_width = 7 : i64}
      : (tensor<1x8x32x32xf32>, tensor<5x4xf32>, tensor<5xi64>)
      -> tensor<5x8x7x7xf32>
  func.return
}

// CHECK-LABEL: func.func @rotary_embedding(
// CHECK: %y = nn.rotary_embedding %x, %cos, %sin : (tensor<1x8x16x64xf32>, tensor<1x1x16x32xf32>, tensor<1x1x16x32xf32>) -> tensor<1x8x16x64xf32>
func.func @rotary_embedding(%x: tensor<1x8x16x64xf32>, %cos: tensor<1x1x16x32xf32>, %sin: tensor<1x1x16x32xf32>) {
  %y = nn.rotary_embedding %x, %cos, %sin {interleaved = false}
      : (tensor<1x8x16x64xf32>, tensor<1x1x16x32xf32>, tensor<1x1x16x32xf32>)
      -> tensor<1x8x16x64xf32>
  func.return
}

// CHECK-LABEL: func.func @round(
// CHECK: %y = nn.round %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @round(%x: tensor<4xf32>) {
  %y = nn.round %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @rsqrt(
// CHECK: %y = nn.rsqrt %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @rsqrt(%x: tensor<4xf32>) {
  %y = nn.rsqrt %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @scan(
// CHECK: %s, %y = "nn.scan"(%zero, %x) <{operandSegmentSizes = array<i32: 1, 1>, input_axes = array<i64: 0>, output_axes = array<i64: 0>, reverse_inputs = array<i64: 0>, reverse_outputs = array<i64: 0>}> ({
// CHECK: %c = nn.add %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
func.func @scan(%zero: tensor<2xf32>, %x: tensor<3x2xf32>) {
  %s, %y = "nn.scan"(%zero, %x) <{operandSegmentSizes = array<i32: 1, 1>,
      input_axes = array<i64: 0>, output_axes = array<i64: 0>,
      reverse_inputs = array<i64: 0>, reverse_outputs = array<i64: 0>}> ({
  ^bb0(%a: tensor<2xf32>, %b: tensor<2xf32>):
    %c = nn.add %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    nn.yield %c, %c : tensor<2xf32>, tensor<2xf32>
  }) : (tensor<2xf32>, tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>)
  func.return
}

// CHECK-LABEL: func.func @scatter_elements(
// CHECK: %y = nn.scatter_elements %x, %i, %u {reduction = "add"} : (tensor<4x3xf32>, tensor<2x3xi64>, tensor<2x3xf32>) -> tensor<4x3xf32>
func.func @scatter_elements(%x: tensor<4x3xf32>, %i: tensor<2x3xi64>, %u: tensor<2x3xf32>) {
  %y = nn.scatter_elements %x, %i, %u {axis = 0 : i64, reduction = "add"}
      : (tensor<4x3xf32>, tensor<2x3xi64>, tensor<2x3xf32>) -> tensor<4x3xf32>
  func.return
}

// CHECK-LABEL: func.func @scatter_nd(
// CHECK: %y = nn.scatter_nd %x, %i, %u : (tensor<8x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
func.func @scatter_nd(%x: tensor<8x4xf32>, %i: tensor<2x1xi64>, %u: tensor<2x4xf32>) {
  %y = nn.scatter_nd %x, %i, %u {reduction = "none"}
      : (tensor<8x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  func.return
}

// CHECK-LABEL: func.func @select(
// CHECK: %y = nn.select %c, %a, %b : (tensor<4xi1>, tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @select(%c: tensor<4xi1>, %a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.select %c, %a, %b
      : (tensor<4xi1>, tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @selu(
// CHECK: %y = nn.selu %x {gamma = 1.050000e+00 : f64} : (tensor<4xf32>) -> tensor<4xf32>
func.func @selu(%x: tensor<4xf32>) {
  %y = nn.selu %x {gamma = 1.05 : f64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @shift_left(
// CHECK: %y = nn.shift_left %a, %b : (tensor<4xui32>, tensor<1xui32>) -> tensor<4xui32>
func.func @shift_left(%a: tensor<4xui32>, %b: tensor<1xui32>) {
  %y = nn.shift_left %a, %b : (tensor<4xui32>, tensor<1xui32>) -> tensor<4xui32>
  func.return
}

// CHECK-LABEL: func.func @shift_right(
// CHECK: %y = nn.shift_right %a, %b : (tensor<4xui32>, tensor<1xui32>) -> tensor<4xui32>
func.func @shift_right(%a: tensor<4xui32>, %b: tensor<1xui32>) {
  %y = nn.shift_right %a, %b : (tensor<4xui32>, tensor<1xui32>) -> tensor<4xui32>
  func.return
}

// CHECK-LABEL: func.func @sigmoid(
// CHECK: %y = nn.sigmoid %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @sigmoid(%x: tensor<4xf32>) {
  %y = nn.sigmoid %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @sign(
// CHECK: %y = nn.sign %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @sign(%x: tensor<4xf32>) {
  %y = nn.sign %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @silu(
// CHECK: %y = nn.silu %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @silu(%x: tensor<4xf32>) {
  %y = nn.silu %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @sin(
// CHECK: %y = nn.sin %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @sin(%x: tensor<4xf32>) {
  %y = nn.sin %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @sinh(
// CHECK: %y = nn.sinh %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @sinh(%x: tensor<4xf32>) {
  %y = nn.sinh %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @slice(
// CHECK: %y = nn.slice %x {starts = #nn.dims<0, 1>, limits = #nn.dims<2, seq>, steps = array<i64: 1, 2>} : (tensor<2x?xf32, #nn.dims<2, seq>>) -> tensor<2x?xf32, #nn.dims<2, seq floordiv 2>>
func.func @slice(%x: tensor<2x?xf32, #nn.dims<2, seq>>) {
  %y = nn.slice %x {starts = #nn.dims<0, 1>, limits = #nn.dims<2, seq>,
                    steps = array<i64: 1, 2>}
      : (tensor<2x?xf32, #nn.dims<2, seq>>)
      -> tensor<2x?xf32, #nn.dims<2, seq floordiv 2>>
  func.return
}

// CHECK-LABEL: func.func @softmax(
// CHECK: %y = nn.softmax %x : (tensor<2x10xf32>) -> tensor<2x10xf32>
func.func @softmax(%x: tensor<2x10xf32>) {
  %y = nn.softmax %x {axis = -1 : i64} : (tensor<2x10xf32>) -> tensor<2x10xf32>
  func.return
}

// CHECK-LABEL: func.func @softplus(
// CHECK: %y = nn.softplus %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @softplus(%x: tensor<4xf32>) {
  %y = nn.softplus %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @softsign(
// CHECK: %y = nn.softsign %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @softsign(%x: tensor<4xf32>) {
  %y = nn.softsign %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @sort(
// CHECK: %values, %indices = nn.sort %x {descending = true} : (tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xi64>)
func.func @sort(%x: tensor<2x8xf32>) {
  %values, %indices = nn.sort %x {axis = -1 : i64, descending = true}
      : (tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xi64>)
  func.return
}

// CHECK-LABEL: func.func @sqrt(
// CHECK: %y = nn.sqrt %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @sqrt(%x: tensor<4xf32>) {
  %y = nn.sqrt %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @sub(
// CHECK: %y = nn.sub %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
func.func @sub(%a: tensor<4xf32>, %b: tensor<1xf32>) {
  %y = nn.sub %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @tan(
// CHECK: %y = nn.tan %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @tan(%x: tensor<4xf32>) {
  %y = nn.tan %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @tanh(
// CHECK: %y = nn.tanh %x : (tensor<4xf32>) -> tensor<4xf32>
func.func @tanh(%x: tensor<4xf32>) {
  %y = nn.tanh %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @topk(
// CHECK: %values, %indices = nn.topk %x {k = #nn.dims<3>} : (tensor<2x8xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
func.func @topk(%x: tensor<2x8xf32>) {
  %values, %indices = nn.topk %x {k = #nn.dims<3>, axis = -1 : i64, largest = true}
      : (tensor<2x8xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  func.return
}

// CHECK-LABEL: func.func @transpose(
// CHECK: %y = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
func.func @transpose(%x: tensor<2x3x4xf32>) {
  %y = nn.transpose %x {perm = array<i64: 0, 2, 1>}
      : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  func.return
}

// CHECK-LABEL: func.func @unique(
// CHECK: %y, %first, %inverse, %counts = nn.unique %x : (tensor<8xf32>) -> (tensor<?xf32, #nn.dims<n>>, tensor<?xi64, #nn.dims<n>>, tensor<8xi64>, tensor<?xi64, #nn.dims<n>>)
func.func @unique(%x: tensor<8xf32>) {
  %y, %first, %inverse, %counts = nn.unique %x {sorted = true}
      : (tensor<8xf32>) -> (tensor<?xf32, #nn.dims<n>>, tensor<?xi64, #nn.dims<n>>,
                            tensor<8xi64>, tensor<?xi64, #nn.dims<n>>)
  func.return
}

// CHECK-LABEL: func.func @xor(
// CHECK: %y = nn.xor %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
func.func @xor(%a: tensor<4xi32>, %b: tensor<1xi32>) {
  %y = nn.xor %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  func.return
}
