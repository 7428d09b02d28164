// RUN: stepwell-opt %s -p convert-precision --split-input-file | filecheck %s

// Inputs and outputs keep their types; everything between is f16.
// CHECK-LABEL: func.func @main(%x
// CHECK: %[[X:.*]] = nn.cast %x {to = f16}
// CHECK: %[[M:.*]] = nn.matmul %[[X]], %{{.*}} : (tensor<2x8xf16>, tensor<8x4xf16>) -> tensor<2x4xf16>
// CHECK: %[[R:.*]] = nn.relu %[[M]] : (tensor<2x4xf16>) -> tensor<2x4xf16>
// CHECK: %[[Y:.*]] = nn.cast %[[R]] {to = f32}
// CHECK: func.return %[[Y]] : tensor<2x4xf32>
module attributes {stepwell.precision = "fp16"} {
  func.func @main(%x: tensor<2x8xf32>, %w: tensor<8x4xf32>) -> tensor<2x4xf32> {
    %m = nn.matmul %x, %w : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32> loc("fc")
    %r = nn.relu %m : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("relu")
    func.return %r : tensor<2x4xf32>
  }
}

// -----

// A mask of -1e9 is beyond f16: it stays, its readers too, down to the product, which
// reads what is bounded again.
// CHECK-LABEL: func.func @main(%s
// CHECK: nn.mul {{.*}}stepwell.kept_in_f32 = "a constant of 1e+09 is beyond the type"
// CHECK: %[[SUM:.*]] = nn.add {{.*}}stepwell.kept_in_f32 = "it reads values beyond the type"{{.*}}-> tensor<4x4xf32>
// CHECK: %[[P:.*]] = nn.softmax %[[SUM]] {{.*}}-> tensor<4x4xf32>
// CHECK: %[[HALF:.*]] = nn.cast %[[P]] {to = f16}
// CHECK: nn.matmul %[[HALF]], %{{.*}} -> tensor<4x4xf16>
module attributes {stepwell.precision = "fp16"} {
  func.func @main(%s: tensor<4x4xf32>, %m: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %big = nn.constant {value = dense<-1.0e9> : tensor<f32>} : tensor<f32>
    %k = nn.mul %m, %big : (tensor<4x4xf32>, tensor<f32>) -> tensor<4x4xf32> loc("mask")
    %a = nn.add %s, %k : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32> loc("add")
    %y = nn.softmax %a {axis = -1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("softmax")
    %z = nn.matmul %y, %m : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32> loc("values")
    func.return %z : tensor<4x4xf32>
  }
}

// -----

// bf16 has the range of f32: nothing has to stay for the mask.
// CHECK-LABEL: func.func @main(%s
// CHECK-NOT: kept_in_f32
// CHECK: nn.add {{.*}} -> tensor<4x4xbf16>
module attributes {stepwell.precision = "bf16"} {
  func.func @main(%s: tensor<4x4xf32>, %m: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %big = nn.constant {value = dense<-1.0e9> : tensor<f32>} : tensor<f32>
    %k = nn.mul %m, %big : (tensor<4x4xf32>, tensor<f32>) -> tensor<4x4xf32> loc("mask")
    %a = nn.add %s, %k : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32> loc("add")
    func.return %a : tensor<4x4xf32>
  }
}

// -----

// Sums stay in f32, and what is computed from them alone follows.
// CHECK-LABEL: func.func @main(%x
// CHECK: %[[S:.*]] = nn.reduce {{.*}}stepwell.kept_in_f32 = "it sums in its result"{{.*}}-> tensor<4x1xf32>
// CHECK: %[[T:.*]] = nn.neg %[[S]] : (tensor<4x1xf32>) -> tensor<4x1xf32>
// CHECK: nn.mul %{{.*}}, %{{.*}} : (tensor<4x4xf16>, tensor<4x1xf16>) -> tensor<4x4xf16>
module attributes {stepwell.precision = "fp16"} {
  func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
    %s = nn.reduce %x {kind = "sum", axes = array<i64: 1>, keepdims = true} : (tensor<4x4xf32>) -> tensor<4x1xf32> loc("sum")
    %t = nn.neg %s : (tensor<4x1xf32>) -> tensor<4x1xf32> loc("neg")
    %y = nn.mul %x, %t : (tensor<4x4xf32>, tensor<4x1xf32>) -> tensor<4x4xf32> loc("mul")
    func.return %y : tensor<4x4xf32>
  }
}

// -----

// What places something keeps all digits.
// CHECK-LABEL: func.func @main(%x
// CHECK: nn.mul {{.*}}stepwell.kept_in_f32 = "an index or a size is computed from it"
// CHECK: nn.cast {{.*}} {to = i64} : (tensor<4xf32>)
module attributes {stepwell.precision = "fp16"} {
  func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xi64> {
    %p = nn.mul %x, %y : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("place")
    %i = nn.cast %p {to = i64} : (tensor<4xf32>) -> tensor<4xi64> loc("cast")
    func.return %i : tensor<4xi64>
  }
}

// -----

// fp32 asks for nothing.
// CHECK-LABEL: func.func @main(%x
// CHECK-NEXT: nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
module {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %r = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32> loc("relu")
    func.return %r : tensor<4xf32>
  }
}

// -----

// An op that is asked to stay does, and what follows it alone.
// CHECK-LABEL: func.func @main(%x
// CHECK: nn.matmul %x, %w {stepwell.kept_in_f32 = "it was asked for"}{{.*}}-> tensor<2x4xf32>
// CHECK: nn.relu %{{.*}} : (tensor<2x4xf32>) -> tensor<2x4xf32>
// CHECK: nn.matmul %{{.*}} -> tensor<2x4xf16>
module attributes {stepwell.precision = "fp16"} {
  func.func @main(%x: tensor<2x8xf32>, %w: tensor<8x4xf32>, %v: tensor<4x4xf32>) -> tensor<2x4xf32> {
    %m = nn.matmul %x, %w {stepwell.kept_in_f32 = "it was asked for"} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32> loc("fc")
    %r = nn.relu %m : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("relu")
    %y = nn.matmul %r, %v : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc("last")
    func.return %y : tensor<2x4xf32>
  }
}
