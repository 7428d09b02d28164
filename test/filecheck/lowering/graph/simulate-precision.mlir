// RUN: stepwell-opt %s -p simulate-precision --split-input-file | filecheck %s

// Each product is a unit, its relu belongs to it: what is between them is read from
// registers. Rounded values are chosen by the unit's switch.
// CHECK-LABEL: func.func @main(%x
// CHECK-SAME: tensor<2xi1> {nn.name = "stepwell.switches"}
// CHECK: nn.slice %{{.*}} {starts = #nn.dims<1>, limits = #nn.dims<2>
// CHECK: nn.slice %{{.*}} {starts = #nn.dims<0>, limits = #nn.dims<1>
// CHECK: %[[FIRST:.*]] = nn.reshape %{{.*}} : (tensor<1xi1>) -> tensor<i1>
// CHECK: %[[M:.*]] = nn.matmul %{{.*}} {stepwell.unit = "0"} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
// CHECK: %[[R:.*]] = nn.relu %[[M]]
// CHECK: %[[HALF:.*]] = nn.cast %[[R]] {to = bf16}
// CHECK: %[[ROUNDED:.*]] = nn.cast %[[HALF]] {to = f32}
// CHECK: nn.select %[[FIRST]], %[[ROUNDED]], %[[R]]
// CHECK: nn.matmul %{{.*}} {stepwell.unit = "1"}
module attributes {stepwell.precision = "bf16"} {
  func.func @main(%x: tensor<2x8xf32>, %w: tensor<8x4xf32>, %v: tensor<4x4xf32>) -> tensor<2x4xf32> {
    %m = nn.matmul %x, %w : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32> loc("fc")
    %r = nn.relu %m : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("relu")
    %y = nn.matmul %r, %v : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc("last")
    func.return %y : tensor<2x4xf32>
  }
}

// -----

// What stays in f32 anyway is no unit.
// CHECK-LABEL: func.func @main(%x
// CHECK-SAME: tensor<1xi1>
// CHECK: nn.reduce {{.*}}stepwell.kept_in_f32 = "it sums in its result"
// CHECK-NOT: stepwell.unit
module attributes {stepwell.precision = "bf16"} {
  func.func @main(%x: tensor<4x4xf32>) -> tensor<4xf32> {
    %s = nn.reduce %x {kind = "sum", axes = array<i64: 1>, keepdims = false} : (tensor<4x4xf32>) -> tensor<4xf32> loc("sum")
    func.return %s : tensor<4xf32>
  }
}
