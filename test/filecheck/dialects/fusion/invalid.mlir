// RUN: stepwell-opt %s --verify-diagnostics --split-input-file | filecheck %s

// CHECK: expected one access map per input, got 0 for 1
func.func @map_missing(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = "fusion.generic"(%x) <{dims = ["i"], sizes = #nn.dims<4>, iterators = ["parallel"], input_maps = [], output_maps = [#fusion.access<(i) -> [i]>], combine = ["set"], operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: map of input 0 has 1 results, expected 2 for tensor<4x4xf32>
func.func @map_of_another_rank(%x: tensor<4x4xf32>) -> tensor<4xf32> {
  %y = fusion.generic [i: 4] ins(%x[i] : tensor<4x4xf32>) outs(set [i] : tensor<4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: expected one body argument per input, of its storage type
func.func @body_of_another_type(%x: tensor<4xui8>) -> tensor<4xui8> {
  %y = fusion.generic [i: 4] ins(%x[i] : tensor<4xui8>) outs(set [i] : tensor<4xui8>) {
  ^bb0(%v: ui8):
    fusion.yield %v : ui8
  }
  func.return %y : tensor<4xui8>
}

// -----

// CHECK: expected to yield ['f32'], got ['i1']
func.func @yield_of_another_type(%x: tensor<4xi1>) -> tensor<4xf32> {
  %y = fusion.generic [i: 4] ins(%x[i] : tensor<4xi1>) outs(set [i] : tensor<4xf32>) {
  ^bb0(%v: i1):
    fusion.yield %v : i1
  }
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: a reduction needs a combine kind, got 'set'
func.func @reduction_that_overwrites(%x: tensor<4x4xf32>) -> tensor<4xf32> {
  %y = fusion.generic [i: 4, reduction k: 4] ins(%x[i, k] : tensor<4x4xf32>) outs(set [i] : tensor<4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: reduction dim 'k' appears in a write map
func.func @reduction_dim_written(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %y = fusion.generic [i: 4, reduction k: 4] ins(%x[i, k] : tensor<4x4xf32>) outs(add [i, k] : tensor<4x4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4x4xf32>
}

// -----

// CHECK: map of input 0 reads input 3, but there are 1
func.func @lookup_in_no_operand(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = fusion.generic [i: 4] ins(%x[at$0] with [at$0 = 3[i]] : tensor<4xf32>) outs(set [i] : tensor<4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: dims ['i', 'i'] are not distinct
func.func @one_name_twice(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %y = fusion.generic [i: 4, i: 4] ins(%x[i, i] : tensor<4x4xf32>) outs(set [i, i] : tensor<4x4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4x4xf32>
}

// -----

// CHECK: size of 'j' depends on a dim: i
func.func @triangular_space(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %y = fusion.generic [i: 4, j: i] ins(%x[i, j] : tensor<4x4xf32>) outs(set [i, j] : tensor<4x4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4x4xf32>
}

// -----

// CHECK: 'batch' names no iteration dim of [i]; use fusion.dim for sizes
func.func @index_without_a_dim(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = fusion.generic [i: 4] ins(%x[i] : tensor<4xf32>) outs(set [i] : tensor<4xf32>) {
  ^bb0(%v: f32):
    %n = fusion.index "batch"
    fusion.yield %v : f32
  }
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: expected exactly one scan dim
func.func @scan_along_nothing(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = fusion.scan [i: 4] ins(%x[i] : tensor<4xf32>) outs(add [i] : tensor<4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: expected two results: values and indices
func.func @sort_without_indices(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = fusion.sort [sort i: 4] ins(%x[i] : tensor<4xf32>) outs(set [i] : tensor<4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  func.return %y : tensor<4xf32>
}

// -----

// CHECK: tied result 0 and input 0 differ in type
func.func @tie_of_other_type(%x: tensor<4xf32>) -> tensor<8xf32> {
  %y = fusion.kernel "k" (%a = %x) ties [0, 0] : (tensor<4xf32>) -> tensor<8xf32> {
    %0 = nn.concat %a, %a {axis = 0 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32>
    fusion.yield %0 : tensor<8xf32>
  }
  func.return %y : tensor<8xf32>
}

// -----

// CHECK: expected fusion.yield to yield the kernel's result types
func.func @kernel_yields_too_little(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = fusion.kernel "k" (%a = %x) : (tensor<4xf32>) -> tensor<4xf32> {
    fusion.yield
  }
  func.return %y : tensor<4xf32>
}
