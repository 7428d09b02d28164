// RUN: stepwell-opt %s -p simplify-shapes --split-input-file | filecheck %s

module attributes {nn.symbols = {batch = #nn.range<1, 8, 1, 1>, seq = #nn.range<2, 512, 128, 2>}} {
  // CHECK-LABEL: @arithmetic_ends_as_one_dim
  // CHECK-NEXT: %[[N:.*]] = nn.dim_value {dim = #nn.dims<batch * (seq floordiv 2) + 1>} : tensor<i64> loc("sum")
  // CHECK-NEXT: func.return %[[N]]
  func.func @arithmetic_ends_as_one_dim(%x: tensor<?x?xf32, #nn.dims<batch, seq>>) -> tensor<i64> {
    %b = nn.dim_value {dim = #nn.dims<batch>} : tensor<i64>
    %s = nn.dim_value {dim = #nn.dims<seq>} : tensor<i64>
    %two = nn.constant {value = dense<2> : tensor<i64>} : tensor<i64>
    %one = nn.constant {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
    %half = nn.div %s, %two : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %product = nn.mul %b, %half : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %row = nn.reshape %product : (tensor<i64>) -> tensor<1xi64>
    %more = nn.add %row, %one : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
    %sum = nn.reshape %more : (tensor<1xi64>) -> tensor<i64> loc("sum")
    func.return %sum : tensor<i64>
  }

  // CHECK-LABEL: @what_the_ranges_decide
  // CHECK: %[[TRUE:.*]] = nn.constant {value = dense<true>
  // CHECK: %[[OPEN:.*]] = nn.compare
  // CHECK: nn.assert_dims {left = #nn.dims<batch>, right = #nn.dims<4>
  // CHECK-NOT: nn.assert_dims
  // CHECK: func.return %[[TRUE]], %[[OPEN]]
  func.func @what_the_ranges_decide(%x: tensor<?x?xf32, #nn.dims<batch, seq>>) -> (tensor<i1>, tensor<i1>) {
    %s = nn.dim_value {dim = #nn.dims<seq>} : tensor<i64>
    %one = nn.constant {value = dense<1> : tensor<i64>} : tensor<i64>
    %many = nn.constant {value = dense<100> : tensor<i64>} : tensor<i64>
    %a = nn.compare %s, %one {predicate = "gt"} : (tensor<i64>, tensor<i64>) -> tensor<i1>
    %b = nn.compare %s, %many {predicate = "gt"} : (tensor<i64>, tensor<i64>) -> tensor<i1>
    nn.assert_dims {left = #nn.dims<batch>, right = #nn.dims<4>, predicate = "eq", message = "open"}
    nn.assert_dims {left = #nn.dims<batch>, right = #nn.dims<8>, predicate = "le", message = "proved"}
    func.return %a, %b : tensor<i1>, tensor<i1>
  }
}
