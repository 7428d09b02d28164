// RUN: stepwell-opt %s -p verify-provenance --split-input-file --verify-diagnostics | filecheck %s

// CHECK: @every_op_has_a_source
func.func @every_op_has_a_source(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("a")
  func.return %a : tensor<4xf32>
}

// -----

// CHECK: nn.neg has no location: its source in the model is lost
// CHECK-NEXT: note: %a = nn.neg %x
// CHECK-NEXT: fix: make the op through a Rewriter, or give it a location
func.func @an_op_without_a_source(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return %a : tensor<4xf32>
}
