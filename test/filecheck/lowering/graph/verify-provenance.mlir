// RUN: stepwell-opt %s -p verify-provenance --split-input-file --verify-diagnostics | filecheck %s

// CHECK: @every_op_has_a_source
func.func @every_op_has_a_source(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("a")
  func.return %a : tensor<4xf32>
}

// -----

// CHECK: expected nn.neg to say where it comes from, got loc(unknown)
// CHECK-NEXT: note: every op below an import carries its source node's location
func.func @an_op_without_a_source(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return %a : tensor<4xf32>
}
