// RUN: stepwell-opt %s -p convert-fusion-to-tile --no-locations | filecheck %s

// Two kernels of one program share a function; the launches keep their operands.
// CHECK-LABEL: func.func @main
// CHECK: %[[Y:.*]] = engine.launch @neg__first(%x) {in_place = array<i64: 0, 0>} : (tensor<70xf32>) -> tensor<70xf32>
// CHECK: engine.launch @neg__first(%[[Y]])
// CHECK: engine.launch @matmul__mm
// CHECK: engine.launch @sum__rows{{.*}} {symbols = ["n"]}

// CHECK-LABEL: tile.func @neg__first
// CHECK-SAME: grid (%[[CELL:.*]] = 2)
// CHECK: scf.for
// CHECK: %[[A:.*]] = tile.load %{{.*}}[%{{.*}}] over [0] : !tile.tile<16xf32>
// CHECK: %[[B:.*]] = tile.map (%[[S:.*]] = %[[A]]) -> !tile.tile<16xf32>
// CHECK: arith.negf %[[S]]
// CHECK: tile.store %[[B]]
// CHECK-NOT: tile.func @neg__second

// The columns of a packed factor are split into panels, and need no mask.
// CHECK-LABEL: tile.func @matmul__mm
// CHECK: tile.access %{{.*}} map<(n1, n0, k) -> [n1, k, n0]> : !tile.view<2x32x8xf32>
// CHECK: tile.dot %{{.*}}, %{{.*}}, %{{.*}} : !tile.tile<4x32xf32>

// The last chunk of a row of unknown length is masked.
// CHECK-LABEL: tile.func @sum__rows
// CHECK: %[[SIZE:.*]] = tile.dim "n"
// CHECK: scf.for
// CHECK: arith.cmpi slt, %{{.*}}, %[[SIZE]]
// CHECK: arith.select
// CHECK: tile.reduce add %{{.*}} dim 1 : !tile.tile<1x1xf32>
func.func @main(%x: tensor<70xf32>, %p: tensor<4x8xf32>, %w: tensor<2x8x32xf32>, %r: tensor<3x?xf32, #nn.dims<3, n>>)
    -> (tensor<70xf32>, tensor<4x40xf32>, tensor<3xf32>) {
  %0 = fusion.kernel "neg__first" (%a = %x) schedule #fusion.schedule<map, grid = [i = 48], tile = [i = 16]> : (tensor<70xf32>) -> tensor<70xf32> {
    %1 = fusion.generic [i: 70] ins(%a[i] : tensor<70xf32>) outs(set [i] : tensor<70xf32>) {
    ^bb0(%s: f32):
      %e = arith.negf %s : f32
      fusion.yield %e : f32
    }
    fusion.yield %1 : tensor<70xf32>
  }
  %2 = fusion.kernel "neg__second" (%b = %0) schedule #fusion.schedule<map, grid = [i = 48], tile = [i = 16]> : (tensor<70xf32>) -> tensor<70xf32> {
    %3 = fusion.generic [i: 70] ins(%b[i] : tensor<70xf32>) outs(set [i] : tensor<70xf32>) {
    ^bb0(%s: f32):
      %e = arith.negf %s : f32
      fusion.yield %e : f32
    }
    fusion.yield %3 : tensor<70xf32>
  }
  %4 = fusion.kernel "matmul__mm" (%a = %p, %b = %w)
      schedule #fusion.schedule<contraction, grid = [n = 32], tile = [m = 4, n = 32, k = 8]>
      : (tensor<4x8xf32>, tensor<2x8x32xf32>) -> tensor<4x40xf32> {
    %5 = fusion.generic [m: 4, n: 40, reduction k: 8]
        ins(%a[m, k] : tensor<4x8xf32>, %b[n floordiv 32, k, n mod 32] : tensor<2x8x32xf32>)
        outs(add [m, n] : tensor<4x40xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.mulf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %5 : tensor<4x40xf32>
  }
  %6 = fusion.kernel "sum__rows" (%a = %r) schedule #fusion.schedule<reduction, grid = [m = 1], tile = [m = 1]>
      : (tensor<3x?xf32, #nn.dims<3, n>>) -> tensor<3xf32> {
    %7 = fusion.generic [m: 3, reduction k: n] ins(%a[m, k] : tensor<3x?xf32, #nn.dims<3, n>>)
        outs(add [m] : tensor<3xf32>) attributes {fusion.schedule = #fusion.schedule<reduction, tile = [m = 1, k = 64]>} {
    ^bb0(%s: f32):
      fusion.yield %s : f32
    }
    fusion.yield %7 : tensor<3xf32>
  }
  func.return %2, %4, %6 : tensor<70xf32>, tensor<4x40xf32>, tensor<3xf32>
}
