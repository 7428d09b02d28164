// RUN: stepwell-opt %s -p dce | filecheck %s

// CHECK-LABEL: @chains_without_a_reader_vanish_at_once
// CHECK-NEXT: func.return %x
func.func @chains_without_a_reader_vanish_at_once(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
  %b = nn.exp %a : (tensor<4xf32>) -> tensor<4xf32>
  %c = nn.random_normal : tensor<4xf32>
  func.return %x : tensor<4xf32>
}

// CHECK-LABEL: @assertions_and_bound_symbols_stay
// CHECK: nn.bind_symbols %n
// CHECK: nn.assert_dims
func.func @assertions_and_bound_symbols_stay(%n: tensor<1xi64>) -> tensor<1xi64> {
  nn.bind_symbols %n {symbols = ["rows"]} : tensor<1xi64>
  nn.assert_dims {left = #nn.dims<rows>, right = #nn.dims<4>, message = "four rows"}
  func.return %n : tensor<1xi64>
}
