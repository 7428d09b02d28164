// RUN: stepwell-opt %s --split-input-file | filecheck %s
// RUN: stepwell-opt %s --split-input-file | stepwell-opt --split-input-file - | filecheck %s
// RUN: stepwell-opt %s --split-input-file --generic | stepwell-opt --split-input-file - | filecheck %s

// CHECK-LABEL: func.func @a_kernel_binds_its_inputs
// CHECK: fusion.kernel "matmul_bias__fc" (%{{.*}} = %a, %{{.*}} = %b, %{{.*}} = %c) attributes {fusion.reasons = ["producer has two users"]} :
// CHECK: fusion.generic [m: 64, n: 32, reduction k: 128] ins(%{{.*}}[m, k] : tensor<64x128xf32>, %{{.*}}[k, n] : tensor<128x32xf32>) outs(add [m, n] : tensor<64x32xf32>) {
// CHECK: fusion.generic [m: 64, n: 32] ins(%{{.*}}[m, n] : tensor<64x32xf32>, %{{.*}}[n] where [n - 1 < 31] else -inf : tensor<32xf32>) outs(set [m, n] : tensor<64x32xf32>) {
// CHECK: fusion.index "m * 2 - 1"
func.func @a_kernel_binds_its_inputs(%a: tensor<64x128xf32>, %b: tensor<128x32xf32>, %c: tensor<32xf32>) -> tensor<64x32xf32> {
  %y = fusion.kernel "matmul_bias__fc" (%x = %a, %w = %b, %v = %c) attributes {fusion.reasons = ["producer has two users"]} : (tensor<64x128xf32>, tensor<128x32xf32>, tensor<32xf32>) -> tensor<64x32xf32> {
    %0 = fusion.generic [m: 64, n: 32, reduction k: 128] ins(%x[m, k] : tensor<64x128xf32>, %w[k, n] : tensor<128x32xf32>) outs(add [m, n] : tensor<64x32xf32>) {
    ^bb0(%p: f32, %q: f32):
      %r = arith.mulf %p, %q : f32
      fusion.yield %r : f32
    }
    %1 = fusion.generic [m: 64, n: 32] ins(%0[m, n] : tensor<64x32xf32>, %v[n] where [n - 1 < 31] else -inf : tensor<32xf32>) outs(set [m, n] : tensor<64x32xf32>) {
    ^bb0(%p: f32, %q: f32):
      %i = fusion.index "m * 2 - 1"
      %r = arith.addf %p, %q : f32
      fusion.yield %r : f32
    }
    fusion.yield %1 : tensor<64x32xf32>
  }
  func.return %y : tensor<64x32xf32>
}

// -----

// CHECK-LABEL: func.func @a_lookup_reads_an_index_operand
// CHECK: ins(%{{.*}}[at$0 mod 100, c] with [at$0 = 1[b]] : tensor<100x8xf32>, %{{.*}}[b] : tensor<?xi64, #nn.dims<batch>>)
// CHECK: fusion.dim "batch"
func.func @a_lookup_reads_an_index_operand(%t: tensor<100x8xf32>, %i: tensor<?xi64, #nn.dims<batch>>) -> tensor<?x8xf32, #nn.dims<batch, 8>> {
  %y = fusion.generic [b: batch, c: 8] ins(%t[at$0 mod 100, c] with [at$0 = 1[b]] : tensor<100x8xf32>, %i[b] : tensor<?xi64, #nn.dims<batch>>) outs(set [b, c] : tensor<?x8xf32, #nn.dims<batch, 8>>) {
  ^bb0(%v: f32, %at: i64):
    %n = fusion.dim "batch"
    fusion.yield %v : f32
  }
  func.return %y : tensor<?x8xf32, #nn.dims<batch, 8>>
}

// -----

// CHECK-LABEL: func.func @unsigned_elements_are_signless_scalars
// CHECK: ins(%{{.*}}[i] : tensor<4xui8>) outs(set [i + 2] into %{{.*}} : tensor<8xui8>)
// CHECK: ^bb0(%{{.*}}: i8):
func.func @unsigned_elements_are_signless_scalars(%x: tensor<4xui8>, %d: tensor<8xui8>) -> tensor<8xui8> {
  %y = fusion.generic [i: 4] ins(%x[i] : tensor<4xui8>) outs(set [i + 2] into %d : tensor<8xui8>) {
  ^bb0(%v: i8):
    fusion.yield %v : i8
  }
  func.return %y : tensor<8xui8>
}

// -----

// CHECK-LABEL: func.func @scans_and_sorts
// CHECK: fusion.scan exclusive [b: 4, scan s: 16]
// CHECK: fusion.sort descending [b: 4, sort s: 16]
func.func @scans_and_sorts(%x: tensor<4x16xf32>) -> (tensor<4x16xf32>, tensor<4x5xf32>, tensor<4x5xi64>) {
  %y = fusion.scan exclusive [b: 4, scan s: 16] ins(%x[b, s] : tensor<4x16xf32>) outs(add [b, s] : tensor<4x16xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  %k, %i = fusion.sort descending [b: 4, sort s: 16] ins(%x[b, s] : tensor<4x16xf32>) outs(set [b, s] : tensor<4x5xf32>, set [b, s] : tensor<4x5xi64>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y, %k, %i : tensor<4x16xf32>, tensor<4x5xf32>, tensor<4x5xi64>
}

// -----

// CHECK-LABEL: func.func @a_tied_kernel_writes_in_place
// CHECK: fusion.kernel "scatter" (%{{.*}} = %d) ties [0, 0] : (tensor<8xf32>) -> tensor<8xf32>
func.func @a_tied_kernel_writes_in_place(%d: tensor<8xf32>) -> tensor<8xf32> {
  %y = fusion.kernel "scatter" (%a = %d) ties [0, 0] : (tensor<8xf32>) -> tensor<8xf32> {
    fusion.yield %a : tensor<8xf32>
  }
  func.return %y : tensor<8xf32>
}
