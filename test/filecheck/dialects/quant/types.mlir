// The quantized type in its three forms.
// RUN: stepwell-opt %s --no-locations | stepwell-opt --no-locations | filecheck %s

// CHECK: func.func private @per_tensor(tensor<4x!quant.uniform<i8:f32, 0.5:3>>)
func.func private @per_tensor(tensor<4x!quant.uniform<i8:f32, 0.5:3>>)

// CHECK: func.func private @per_axis(tensor<4x2x!quant.uniform<ui8:f32:1, {0.5:3, 0.25:0}>>)
func.func private @per_axis(tensor<4x2x!quant.uniform<ui8:f32:1, {0.5:3, 0.25}>>)

// CHECK: func.func private @in_blocks(tensor<2x64x!quant.uniform<i4:f32:{0:1, 1:32}, {0.5:0, 0.25:0, 1.0:0, 2.0:-1}>>)
func.func private @in_blocks(tensor<2x64x!quant.uniform<i4:f32:{0:1, 1:32}, {0.5, 0.25, 1.0, 2.0:-1}>>)

// CHECK: func.func private @fp8(tensor<4x!quant.uniform<f8E4M3FN:bf16, 0.015625:0>>)
func.func private @fp8(tensor<4x!quant.uniform<f8E4M3FN:bf16, 0.015625>>)
