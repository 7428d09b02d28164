// RUN: stepwell-opt %s -p assign-layouts,pipeline-loads --no-locations | filecheck %s

// Three stages of 64 columns of the left factor and of the right one. Two rounds are
// fetched before the loop; each round fetches the one after the next.
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: tile.func @product
// CHECK: %[[A:.*]] = tile.shared_alloc : !tile.shared<96x64xf16, #tile.layout<swizzled(96, 64, 16, 128)>>
// CHECK: %[[B:.*]] = tile.shared_alloc : !tile.shared<192x32xf16, #tile.layout<swizzled(192, 32, 16, 64)>>
// CHECK: scf.for %[[S:.*]] = %{{.*}} to %{{.*}} step
// CHECK: %[[PA:.*]] = tile.shared_slice %[[A]]
// CHECK: tile.async_load %{{.*}} over [0, 1] to %[[PA]] layout #tile.layout<blocked([1, 8], [4, 8], [4, 1], repeat = [2, 1])>
// CHECK: %[[PB:.*]] = tile.shared_slice %[[B]]
// CHECK: tile.async_load %{{.*}} over [0, 1] to %[[PB]]
// CHECK: tile.async_commit
// CHECK: scf.for %[[K:.*]] = %{{.*}} to %[[END:.*]] step
// CHECK: tile.async_wait 1
// CHECK-NEXT: tile.barrier block
// CHECK: %[[NEXT:.*]] = arith.addi %[[K]], %{{.*}}
// CHECK: %[[IN:.*]] = arith.cmpi slt, %[[NEXT]], %[[END]]
// CHECK: scf.if %[[IN]] {
// CHECK: tile.async_load
// CHECK: tile.async_load
// CHECK: }
// CHECK: tile.async_commit
// CHECK: %[[LHS:.*]] = tile.shared_load %{{.*}} : !tile.tile<32x64xf16
// CHECK: %[[RHS:.*]] = tile.shared_load %{{.*}} : !tile.tile<64x32xf16
// CHECK-NOT: tile.load
// CHECK: tile.mma %[[LHS]], %[[RHS]]
tile.func @product(%x: !tile.view<64x512xf16>, %w: !tile.view<512x64xf16>, %y: !tile.view<64x64xf32>)
    grid (%i = 2, %j = 2) attributes {tile.options = {warps = 4 : i64, warp_rows = 2 : i64, stages = 3 : i64}} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  %row = arith.muli %i, %c32 : index
  %column = arith.muli %j, %c32 : index
  %zero = tile.full 0.0 : !tile.tile<32x32xf32>
  %sum = scf.for %s = %c0 to %c8 step %c1 iter_args(%acc = %zero) -> (!tile.tile<32x32xf32>) {
    %k = arith.muli %s, %c64 : index
    %a = tile.load %x[%row, %k] over [0, 1] : !tile.tile<32x64xf16>
    %c = tile.load %w[%k, %column] over [0, 1] : !tile.tile<64x32xf16>
    %d = tile.dot %a, %c, %acc : !tile.tile<32x32xf32>
    scf.yield %d : !tile.tile<32x32xf32>
  }
  tile.store %sum, %y[%row, %column] over [0, 1]
  tile.return
}

// Single elements of 16 bits, or a tile that is computed, cannot be copied so.
// CHECK-LABEL: tile.func @odd_rows
// CHECK: scf.for
// CHECK: tile.load
// CHECK: tile.load
// CHECK-NOT: tile.async_load
// CHECK: tile.return
tile.func @odd_rows(%x: !tile.view<64x33xf16>, %w: !tile.view<33x63xf16>, %y: !tile.view<64x63xf32>)
    grid (%i = 2, %j = 2) attributes {tile.options = {warps = 4 : i64, warp_rows = 2 : i64, stages = 3 : i64}} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c32 = arith.constant 32 : index
  %row = arith.muli %i, %c32 : index
  %column = arith.muli %j, %c32 : index
  %zero = tile.full 0.0 : !tile.tile<32x32xf32>
  %sum = scf.for %s = %c0 to %c2 step %c1 iter_args(%acc = %zero) -> (!tile.tile<32x32xf32>) {
    %k = arith.muli %s, %c32 : index
    %a = tile.load %x[%row, %k] over [0, 1] : !tile.tile<32x32xf16>
    %c = tile.load %w[%k, %column] over [0, 1] : !tile.tile<32x32xf16>
    %d = tile.dot %a, %c, %acc : !tile.tile<32x32xf32>
    scf.yield %d : !tile.tile<32x32xf32>
  }
  tile.store %sum, %y[%row, %column] over [0, 1]
  tile.return
}
}
