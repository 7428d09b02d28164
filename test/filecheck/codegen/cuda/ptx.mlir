// RUN: stepwell-opt %s --target sm_80 -t ptx | filecheck %s

// From a kernel of the lower half to PTX: one block of four warps, a row for each warp.

#l = #tile.layout<blocked([1, 4], [1, 32], [4, 1])>
#r = #tile.layout<slice(blocked([1, 4], [1, 32], [4, 1]), 1)>

// Kernels are named after the source nodes, and a comment says which they are.
// CHECK: // node: block1/softmax
// CHECK-NEXT: .visible .entry softmax__block1_softmax(
// CHECK: .maxntid 128
// CHECK: .minnctapersm 2
tile.func @"softmax__block1/softmax"(%x: !tile.view<[rows, 128] f32>, %y: !tile.view<[rows, 128] f32>)
    symbols [rows] grid (%i = ceildiv(rows, 4))
    attributes {tile.launch = #tile.launch<warps = 4, blocks_per_sm = 2>} {
  %c4 = arith.constant 4 : index
  %row = arith.muli %i, %c4 : index
  // The row may be past the end; the 16 bytes of a lane are in one row, and aligned.
  // CHECK: setp.lt.u32 %[[INSIDE:p[0-9]+]]
  // CHECK: selp.b64 %{{.*}}, %[[INSIDE]];
  // CHECK: ld.global.v4.b32
  %a = tile.load %x[%row, 0] over [0, 1] : !tile.tile<4x128xf32, #l>
  // CHECK: max.NaN.f32
  // CHECK-COUNT-5: shfl.sync.bfly.b32
  %m = tile.reduce max %a dim 1 : !tile.tile<4x1xf32, #r>
  // CHECK: ex2.approx.f32
  %e = tile.map (%v = %a, %t = %m) -> !tile.tile<4x128xf32, #l> {
    %d = arith.subf %v, %t : f32
    %p = math.exp %d : f32
    tile.yield %p : f32
  }
  // CHECK-COUNT-5: shfl.sync.bfly.b32
  %s = tile.reduce add %e dim 1 : !tile.tile<4x1xf32, #r>
  // CHECK: div.full.f32
  %o = tile.map (%v = %e, %t = %s) -> !tile.tile<4x128xf32, #l> {
    %q = arith.divf %v, %t : f32
    tile.yield %q : f32
  }
  // CHECK: st.global.v4.b32
  tile.store %o, %y[%row, 0] over [0, 1]
  tile.return
} loc("block1/softmax")
