// RUN: stepwell-opt %s -p decompose-nn,fold-constants --split-input-file | filecheck %s

// CHECK-LABEL: @batch_norm_is_one_product_and_one_sum
// CHECK: nn.mul %x, %{{.*}} : (tensor<1x2x4x4xf32>, tensor<2x1x1xf32>)
// CHECK-NEXT: nn.add %{{.*}} : (tensor<1x2x4x4xf32>, tensor<2x1x1xf32>)
// CHECK-NEXT: func.return
func.func @batch_norm_is_one_product_and_one_sum(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %scale = nn.constant {value = dense<[2.0, 3.0]> : tensor<2xf32>} : tensor<2xf32>
  %bias = nn.constant {value = dense<[1.0, 1.0]> : tensor<2xf32>} : tensor<2xf32>
  %mean = nn.constant {value = dense<[1.0, 0.0]> : tensor<2xf32>} : tensor<2xf32>
  %variance = nn.constant {value = dense<[0.75, 0.75]> : tensor<2xf32>} : tensor<2xf32>
  %b = nn.batch_norm %x, %scale, %bias, %mean, %variance {epsilon = 0.25 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  func.return %b : tensor<1x2x4x4xf32>
}

// -----

// CHECK-LABEL: @fourier_transform_is_a_matrix_product
// CHECK: nn.matmul %{{.*}} : (tensor<2x8xf32>, tensor<8x10xf32>)
func.func @fourier_transform_is_a_matrix_product(%x: tensor<2x8x1xf32>) -> tensor<2x5x2xf32> {
  %y = nn.dft %x {axis = 1 : i64, length = #nn.dims<8>, onesided = true} : (tensor<2x8x1xf32>) -> tensor<2x5x2xf32>
  func.return %y : tensor<2x5x2xf32>
}

// -----

// CHECK-LABEL: @complex_inverse_of_a_padded_length
// CHECK: nn.matmul
// CHECK-NOT: nn.dft
func.func @complex_inverse_of_a_padded_length(%x: tensor<6x2x2xf32>) -> tensor<8x2x2xf32> {
  %y = nn.dft %x {axis = 0 : i64, length = #nn.dims<8>, inverse = true} : (tensor<6x2x2xf32>) -> tensor<8x2x2xf32>
  func.return %y : tensor<8x2x2xf32>
}

// -----

// CHECK-LABEL: @neighbouring_channels_are_a_band_of_ones
// CHECK: nn.transpose
// CHECK: nn.matmul {{.*}}tensor<5x5xf32>) -> tensor<2x3x5xf32>
// CHECK-NOT: nn.lrn
func.func @neighbouring_channels_are_a_band_of_ones(%x: tensor<2x5x3xf32>) -> tensor<2x5x3xf32> {
  %y = nn.lrn %x {size = 4 : i64, alpha = 0.2 : f64, beta = 0.75 : f64, bias = 1.5 : f64} : (tensor<2x5x3xf32>) -> tensor<2x5x3xf32>
  func.return %y : tensor<2x5x3xf32>
}
