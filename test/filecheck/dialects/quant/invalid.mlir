// RUN: stepwell-opt %s --verify-diagnostics --split-input-file | filecheck %s

func.func @scales_per_entry_of_the_axis(%x: tensor<2x3xf32>, %s: tensor<2xf32>) {
  // CHECK: expected equal scales and size of the quantized axis, got 3 and 2
  %y = quant.quantize %x, %s {to = i8} : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<2x3xi8>
  func.return
}

// -----

func.func @zero_points_of_the_stored_type(%x: tensor<2xf32>, %s: tensor<f32>, %z: tensor<i8>) {
  // CHECK: expected zero points of ui8, got tensor<i8>
  %y = quant.quantize %x, %s, %z {to = ui8}
      : (tensor<2xf32>, tensor<f32>, tensor<i8>) -> tensor<2xui8>
  func.return
}

// -----

func.func @scales_are_floats(%x: tensor<2xi8>, %s: tensor<i32>) {
  // CHECK: expected float scales, got tensor<i32>
  %y = quant.dequantize %x, %s : (tensor<2xi8>, tensor<i32>) -> tensor<2xi32>
  func.return
}

// -----

func.func @products_of_integers(%a: tensor<2x2xf32>, %b: tensor<2x2xi8>) {
  // CHECK: expected integers, got tensor<2x2xf32>
  %y = quant.matmul_integer %a, %b, none, none : (tensor<2x2xf32>, tensor<2x2xi8>) -> tensor<2x2xi32>
  func.return
}

// -----

// CHECK: expected positive scales
func.func private @f(tensor<4x!quant.uniform<i8:f32, 0.0:0>>)

// -----

// CHECK: expected integers or floats of 8 bits stored, got f32
func.func private @f(tensor<4x!quant.uniform<f32:f32, 1.0:0>>)
