// Every op of the dialect reads and prints back, pretty and generic.
// RUN: stepwell-opt %s --no-locations | stepwell-opt --no-locations | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt --no-locations | filecheck %s

// CHECK-LABEL: func.func @quantize(
// CHECK: %y = quant.quantize %x, %scale, %zero {to = ui8} : (tensor<2x3xf32>, tensor<f32>, tensor<ui8>) -> tensor<2x3xui8>
func.func @quantize(%x: tensor<2x3xf32>, %scale: tensor<f32>, %zero: tensor<ui8>) {
  %y = quant.quantize %x, %scale, %zero {to = ui8}
      : (tensor<2x3xf32>, tensor<f32>, tensor<ui8>) -> tensor<2x3xui8>
  func.return
}

// CHECK-LABEL: func.func @dequantize(
// CHECK: %y = quant.dequantize %x, %scale, %zero : (tensor<2x3xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x3xf32>
func.func @dequantize(%x: tensor<2x3xui8>, %scale: tensor<f32>, %zero: tensor<ui8>) {
  %y = quant.dequantize %x, %scale, %zero
      : (tensor<2x3xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x3xf32>
  func.return
}

// CHECK-LABEL: func.func @dynamic_quantize(
// CHECK: %y, %scale, %zero = quant.dynamic_quantize %x : (tensor<2x3xf32>) -> (tensor<2x3xui8>, tensor<f32>, tensor<ui8>)
func.func @dynamic_quantize(%x: tensor<2x3xf32>) {
  %y, %scale, %zero = quant.dynamic_quantize %x
      : (tensor<2x3xf32>) -> (tensor<2x3xui8>, tensor<f32>, tensor<ui8>)
  func.return
}

// CHECK-LABEL: func.func @observe(
// CHECK: %y = quant.observe %x {point = "conv1.input"} : (tensor<4xf32>) -> tensor<4xf32>
func.func @observe(%x: tensor<4xf32>) {
  %y = quant.observe %x {point = "conv1.input"} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// CHECK-LABEL: func.func @matmul_integer(
// CHECK: %y = quant.matmul_integer %a, %b, %a_zero, none : (tensor<4x8xui8>, tensor<8x3xi8>, tensor<ui8>) -> tensor<4x3xi32>
func.func @matmul_integer(%a: tensor<4x8xui8>, %b: tensor<8x3xi8>, %a_zero: tensor<ui8>) {
  %y = quant.matmul_integer %a, %b, %a_zero, none
      : (tensor<4x8xui8>, tensor<8x3xi8>, tensor<ui8>) -> tensor<4x3xi32>
  func.return
}

// CHECK-LABEL: func.func @conv_integer(
// CHECK: %y = quant.conv_integer %x, %w, %x_zero, none {strides = array<i64: 1, 1>, pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<1x1x3x3xui8>, tensor<1x1x2x2xui8>, tensor<ui8>) -> tensor<1x1x2x2xi32>
func.func @conv_integer(%x: tensor<1x1x3x3xui8>, %w: tensor<1x1x2x2xui8>, %x_zero: tensor<ui8>) {
  %y = quant.conv_integer %x, %w, %x_zero, none {strides = array<i64: 1, 1>,
      pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<1x1x3x3xui8>, tensor<1x1x2x2xui8>, tensor<ui8>)
      -> tensor<1x1x2x2xi32>
  func.return
}
