// RUN: stepwell-opt %s -p canonicalize,lift-gelu --split-input-file | filecheck %s
// RUN: stepwell-opt %s -p canonicalize,lift-gelu --split-input-file --explain 2>&1 | filecheck %s --check-prefix=WHY

// CHECK-LABEL: @erf_form
// CHECK-NEXT: %[[Y:.*]] = nn.gelu %x : (tensor<4xf32>) -> tensor<4xf32> loc(fused["div", "erf", "sum", "product", "half"])
// CHECK-NEXT: func.return %[[Y]]
func.func @erf_form(%x: tensor<4xf32>) -> tensor<4xf32> {
  %root = nn.constant {value = dense<1.41421354> : tensor<f32>} : tensor<f32>
  %one = nn.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %half = nn.constant {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %a = nn.div %x, %root : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("div")
  %b = nn.erf %a : (tensor<4xf32>) -> tensor<4xf32> loc("erf")
  %c = nn.add %b, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("sum")
  %d = nn.mul %x, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("product")
  %e = nn.mul %d, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("half")
  func.return %e : tensor<4xf32>
}

// -----

// CHECK-LABEL: @erf_form_of_a_product
// CHECK: %[[X:.*]] = nn.mul %u, %v
// CHECK-NEXT: %[[Y:.*]] = nn.gelu %[[X]]
// CHECK-NEXT: func.return %[[Y]]
func.func @erf_form_of_a_product(%u: tensor<4xf32>, %v: tensor<4xf32>) -> tensor<4xf32> {
  %root = nn.constant {value = dense<0.707106769> : tensor<f32>} : tensor<f32>
  %half = nn.constant {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %x = nn.mul %u, %v : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %a = nn.mul %x, %root : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %b = nn.erf %a : (tensor<4xf32>) -> tensor<4xf32>
  %c = nn.mul %b, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %d = nn.add %c, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %e = nn.mul %d, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %e : tensor<4xf32>
}

// -----

// CHECK-LABEL: @tanh_form
// CHECK-NEXT: %[[Y:.*]] = nn.gelu %x {approximate = "tanh"}
// CHECK-NEXT: func.return %[[Y]]
func.func @tanh_form(%x: tensor<4xf32>) -> tensor<4xf32> {
  %cube = nn.constant {value = dense<0.044715> : tensor<f32>} : tensor<f32>
  %scale = nn.constant {value = dense<0.797884583> : tensor<f32>} : tensor<f32>
  %one = nn.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %half = nn.constant {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %a = nn.mul %cube, %x : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %b = nn.mul %x, %a : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %c = nn.mul %x, %b : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %d = nn.add %x, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %e = nn.mul %scale, %d : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %f = nn.tanh %e : (tensor<4xf32>) -> tensor<4xf32>
  %g = nn.add %one, %f : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %h = nn.mul %half, %g : (tensor<f32>, tensor<4xf32>) -> tensor<4xf32>
  %i = nn.mul %x, %h : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %i : tensor<4xf32>
}

// -----

// CHECK-LABEL: @another_scale_is_not_gelu
// CHECK-NOT: nn.gelu
// WHY: lift-gelu: nn.mul of product: the scale is not that of GELU
func.func @another_scale_is_not_gelu(%x: tensor<4xf32>) -> tensor<4xf32> {
  %root = nn.constant {value = dense<0.707106769> : tensor<f32>} : tensor<f32>
  %one = nn.constant {value = dense<1.0> : tensor<f32>} : tensor<f32>
  %third = nn.constant {value = dense<0.33> : tensor<f32>} : tensor<f32>
  %a = nn.mul %x, %root : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %b = nn.erf %a : (tensor<4xf32>) -> tensor<4xf32>
  %c = nn.add %b, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %d = nn.mul %x, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("product")
  %e = nn.mul %d, %third : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  func.return %e : tensor<4xf32>
}
