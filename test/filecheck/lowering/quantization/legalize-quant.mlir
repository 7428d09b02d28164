// RUN: stepwell-opt %s -p legalize-quant --split-input-file | filecheck %s

// CHECK-LABEL: @quantize_divides_rounds_and_saturates
// CHECK: nn.div
// CHECK-NEXT: nn.round
// CHECK-NEXT: nn.add
// CHECK-NEXT: nn.clamp {{.*}}{min = 0.000000e+00 : f64, max = 2.550000e+02 : f64}
// CHECK-NEXT: nn.cast {{.*}}{to = ui8}
func.func @quantize_divides_rounds_and_saturates(%x: tensor<2x3xf32>) -> tensor<2x3xui8> {
  %scale = nn.constant {value = dense<0.01> : tensor<f32>} : tensor<f32>
  %zero = nn.constant {value = dense<128> : tensor<ui8>} : tensor<ui8>
  %y = quant.quantize %x, %scale, %zero {to = ui8} : (tensor<2x3xf32>, tensor<f32>, tensor<ui8>) -> tensor<2x3xui8>
  func.return %y : tensor<2x3xui8>
}

// -----

// CHECK-LABEL: @scales_per_axis_broadcast
// CHECK: nn.reshape {{.*}} -> tensor<1x3x1xf32>
// CHECK: nn.mul
func.func @scales_per_axis_broadcast(%x: tensor<2x3x4xi8>, %scale: tensor<3xf32>, %zero: tensor<3xi8>) -> tensor<2x3x4xf32> {
  %y = quant.dequantize %x, %scale, %zero {axis = 1 : i64} : (tensor<2x3x4xi8>, tensor<3xf32>, tensor<3xi8>) -> tensor<2x3x4xf32>
  func.return %y : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: @scales_per_block_repeat
// CHECK: nn.broadcast_to
// CHECK: nn.slice
func.func @scales_per_block_repeat(%x: tensor<2x5xi8>, %scale: tensor<2x3xf32>) -> tensor<2x5xf32> {
  %y = quant.dequantize %x, %scale {axis = 1 : i64, block_size = 2 : i64} : (tensor<2x5xi8>, tensor<2x3xf32>) -> tensor<2x5xf32>
  func.return %y : tensor<2x5xf32>
}

// -----

// CHECK-LABEL: @dynamic_range
// CHECK-NOT: quant.
func.func @dynamic_range(%x: tensor<2x3xf32>) -> (tensor<2x3xui8>, tensor<f32>, tensor<ui8>) {
  %y, %s, %z = quant.dynamic_quantize %x : (tensor<2x3xf32>) -> (tensor<2x3xui8>, tensor<f32>, tensor<ui8>)
  func.return %y, %s, %z : tensor<2x3xui8>, tensor<f32>, tensor<ui8>
}

// -----

// CHECK-LABEL: @a_short_product_is_exact_in_f32
// CHECK: nn.matmul {{.*}} -> tensor<4x3xf32>
// CHECK-NEXT: nn.cast {{.*}}{to = i32}
// CHECK-NOT: nn.matmul
func.func @a_short_product_is_exact_in_f32(%a: tensor<4x8xui8>, %b: tensor<8x3xi8>, %za: tensor<ui8>) -> tensor<4x3xi32> {
  %y = quant.matmul_integer %a, %b, %za, none : (tensor<4x8xui8>, tensor<8x3xi8>, tensor<ui8>) -> tensor<4x3xi32>
  func.return %y : tensor<4x3xi32>
}

// -----

// 255 * 128 * 1024 is above 2**24: two pieces, added as integers.
// CHECK-LABEL: @a_long_product_is_cut
// CHECK: nn.matmul
// CHECK: nn.matmul
// CHECK: nn.add {{.*}} -> tensor<2x2xi32>
func.func @a_long_product_is_cut(%a: tensor<2x1024xui8>, %b: tensor<1024x2xi8>) -> tensor<2x2xi32> {
  %y = quant.matmul_integer %a, %b, none, none : (tensor<2x1024xui8>, tensor<1024x2xi8>) -> tensor<2x2xi32>
  func.return %y : tensor<2x2xi32>
}

// -----

// CHECK-LABEL: @integer_convolution_with_zero_points
// CHECK: nn.sub
// CHECK: nn.conv {{.*}} -> tensor<1x2x3x3xf32>
// CHECK-NEXT: nn.cast
func.func @integer_convolution_with_zero_points(%x: tensor<1x1x3x3xui8>, %w: tensor<2x1x3x3xui8>, %zx: tensor<ui8>, %zw: tensor<2xui8>) -> tensor<1x2x3x3xi32> {
  %y = quant.conv_integer %x, %w, %zx, %zw {strides = array<i64: 1, 1>, pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x1x3x3xui8>, tensor<2x1x3x3xui8>, tensor<ui8>, tensor<2xui8>) -> tensor<1x2x3x3xi32>
  func.return %y : tensor<1x2x3x3xi32>
}
