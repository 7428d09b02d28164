// RUN: stepwell-opt %s -p assign-layouts --no-locations | filecheck %s

// A row is one warp's: lanes run along it, 16 bytes each, and warps are rows. What is
// reduced has the slice of the layout, and so has what is broadcast from it.
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: tile.func @softmax
// CHECK-SAME: tile.launch = #tile.launch<warps = 4>
// CHECK: %[[X:.*]] = tile.load %{{.*}} : !tile.tile<4x128xf32, #tile.layout<blocked([1, 4], [1, 32], [4, 1])>>
// CHECK: %[[M:.*]] = tile.reduce max %[[X]] dim 1 : !tile.tile<4x1xf32, #tile.layout<{{.*}}>>
// CHECK: tile.map (%{{.*}} = %[[X]], %{{.*}} = %[[M]]) -> !tile.tile<4x128xf32, #tile.layout<blocked([1, 4], [1, 32], [4, 1])>>
// CHECK-NOT: tile.convert_layout
// CHECK: tile.return
tile.func @softmax(%x: !tile.view<64x128xf32>, %y: !tile.view<64x128xf32>) grid (%i = 16)
    attributes {tile.options = {warps = 4 : i64}} {
  %c4 = arith.constant 4 : index
  %row = arith.muli %i, %c4 : index
  %a = tile.load %x[%row, 0] over [0, 1] : !tile.tile<4x128xf32>
  %m = tile.reduce max %a dim 1 : !tile.tile<4x1xf32>
  %r = tile.map (%s = %a, %t = %m) -> !tile.tile<4x128xf32> {
    %d = arith.subf %s, %t : f32
    tile.yield %d : f32
  }
  tile.store %r, %y[%row, 0] over [0, 1]
  tile.return
}

// Read along one dim and written along the other: a trip through shared memory.
// CHECK-LABEL: tile.func @transposed
// CHECK: %[[X:.*]] = tile.load %{{.*}} : !tile.tile<32x32xf32, #tile.layout<blocked([4, 1], [8, 4], [1, 4], repeat = [1, 2], order = [0, 1])>>
// CHECK: %[[Y:.*]] = tile.convert_layout %[[X]] : !tile.tile<32x32xf32, #tile.layout<blocked([1, 4], [4, 8], [4, 1], repeat = [2, 1])>>
// CHECK: tile.store %[[Y]]
tile.func @transposed(%x: !tile.view<64x96xf32>, %y: !tile.view<96x64xf32>) grid (%i = 3, %j = 2)
    attributes {tile.options = {warps = 4 : i64}} {
  %c32 = arith.constant 32 : index
  %row = arith.muli %i, %c32 : index
  %column = arith.muli %j, %c32 : index
  %t = tile.access %x map<(i, j) -> [j, i]> : !tile.view<96x64xf32>
  %a = tile.load %t[%row, %column] over [0, 1] : !tile.tile<32x32xf32>
  tile.store %a, %y[%row, %column] over [0, 1]
  tile.return
}

// A product is made of the fragments of `mma.sync`; what a loop carries has the layout
// of its sums from the start, and the epilogue stays in it.
// CHECK-LABEL: tile.func @product
// CHECK-DAG: tile.full 0.0 : !tile.tile<32x32xf32, #tile.layout<[[SUMS:.*]]>>
// CHECK: scf.for
// CHECK: %[[A:.*]] = tile.load %{{.*}} : !tile.tile<32x32xf16, #tile.layout<blocked
// CHECK: %[[AF:.*]] = tile.convert_layout %[[A]]
// CHECK: %[[B:.*]] = tile.load %{{.*}} : !tile.tile<32x32xf16, #tile.layout<blocked
// CHECK: %[[BF:.*]] = tile.convert_layout %[[B]]
// CHECK: tile.mma %[[AF]], %[[BF]], %{{.*}} : !tile.tile<32x32xf32, #tile.layout<[[SUMS]]>>
// CHECK: %[[BIAS:.*]] = tile.load %{{.*}} : !tile.tile<1x32xf32, #tile.layout<
// CHECK: tile.map (%{{.*}}, %{{.*}} = %[[BIAS]]) -> !tile.tile<32x32xf32, #tile.layout<[[SUMS]]>>
tile.func @product(%x: !tile.view<64x128xf16>, %w: !tile.view<128x64xf16>, %b: !tile.view<64xf32>, %y: !tile.view<64x64xf32>)
    grid (%i = 2, %j = 2) attributes {tile.options = {warps = 4 : i64, warp_rows = 2 : i64}} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c32 = arith.constant 32 : index
  %row = arith.muli %i, %c32 : index
  %column = arith.muli %j, %c32 : index
  %zero = tile.full 0.0 : !tile.tile<32x32xf32>
  %sum = scf.for %s = %c0 to %c4 step %c1 iter_args(%acc = %zero) -> (!tile.tile<32x32xf32>) {
    %k = arith.muli %s, %c32 : index
    %a = tile.load %x[%row, %k] over [0, 1] : !tile.tile<32x32xf16>
    %c = tile.load %w[%k, %column] over [0, 1] : !tile.tile<32x32xf16>
    %d = tile.dot %a, %c, %acc : !tile.tile<32x32xf32>
    scf.yield %d : !tile.tile<32x32xf32>
  }
  %bias = tile.access %b map<(m, n) -> [n]> : !tile.view<64x64xf32>
  %e = tile.load %bias[%row, %column] over [0, 1] : !tile.tile<1x32xf32>
  %r = tile.map (%s = %sum, %t = %e) -> !tile.tile<32x32xf32> {
    %v = arith.addf %s, %t : f32
    tile.yield %v : f32
  }
  tile.store %r, %y[%row, %column] over [0, 1]
  tile.return
}

// The last element of a scan is held by one lane: a sum over the others brings it to all.
// CHECK-LABEL: tile.func @last_of_a_scan
// CHECK: %[[S:.*]] = tile.scan add %{{.*}} dim 0 : !tile.tile<128xf32, #tile.layout<blocked([1], [32], [4])>>
// CHECK: %[[I:.*]] = tile.iota dim 0 : !tile.tile<128xindex
// CHECK: %[[P:.*]] = tile.map (%{{.*}} = %[[I]], %{{.*}} = %[[S]])
// CHECK: tile.reduce add %[[P]] dim 0 : !tile.tile<1xf32
// CHECK-NOT: tile.extract
// CHECK: tile.return
tile.func @last_of_a_scan(%x: !tile.view<128xf32>, %y: !tile.view<1xf32>) grid (%i = 1)
    attributes {tile.options = {warps = 4 : i64}} {
  %a = tile.load %x[0] over [0] : !tile.tile<128xf32>
  %s = tile.scan add %a dim 0 : !tile.tile<128xf32>
  %l = tile.extract %s [127] : !tile.tile<1xf32>
  tile.store %l, %y[0] over [0]
  tile.return
}

// Elements that no tensor core multiplies: all pairs, then a sum.
// CHECK-LABEL: tile.func @double
// CHECK: tile.reshape %{{.*}} : !tile.tile<4x8x1xf64
// CHECK: tile.reshape %{{.*}} : !tile.tile<1x8x16xf64
// CHECK: arith.mulf
// CHECK: tile.reduce add %{{.*}} dim 1 : !tile.tile<4x1x16xf64
// CHECK: arith.addf
tile.func @double(%x: !tile.view<4x8xf64>, %w: !tile.view<8x16xf64>, %y: !tile.view<4x16xf64>) grid (%i = 1)
    attributes {tile.options = {warps = 4 : i64}} {
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<4x8xf64>
  %c = tile.load %w[0, 0] over [0, 1] : !tile.tile<8x16xf64>
  %zero = tile.full 0.0 : !tile.tile<4x16xf64>
  %d = tile.dot %a, %c, %zero : !tile.tile<4x16xf64>
  tile.store %d, %y[0, 0] over [0, 1]
  tile.return
}

// Who has a launch has layouts: a person's program stays as it is.
// CHECK-LABEL: tile.func @by_hand
// CHECK: tile.load %{{.*}} : !tile.tile<64xf32, #tile.layout<blocked([1], [32], [2])>>
tile.func @by_hand(%x: !tile.view<64xf32>, %y: !tile.view<64xf32>) grid (%i = 1)
    attributes {tile.launch = #tile.launch<warps = 2>} {
  %a = tile.load %x[0] over [0] : !tile.tile<64xf32, #tile.layout<blocked([1], [32], [2])>>
  tile.store %a, %y[0] over [0]
  tile.return
}
}
