// RUN: stepwell-opt %s --split-input-file --verify-diagnostics -p plan-shared-memory | filecheck %s

// What lasts comes first; all scratch shares one region behind it, and an op that may
// find the region in use waits: the second one, and any in a loop.
#l = #tile.layout<blocked([1, 4], [1, 32], [1, 4])>
#r = #tile.layout<slice(blocked([1, 4], [1, 32], [1, 4]), 1)>
#s = #tile.layout<swizzled(8, 64, 32, 128)>
module attributes {stepwell.target = "sm_80"} {
// CHECK: tile.func @regions
// CHECK-SAME: tile.shared_bytes = 2064 : i64
tile.func @regions(%x: !tile.view<1x512xf32>) grid (%i = 1) attributes {tile.launch = #tile.launch<warps = 4>} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  // CHECK: tile.shared_alloc {tile.shared_offset = 0 : i64}
  %t = tile.shared_alloc : !tile.shared<8x64xf32, #s>
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<1x512xf32, #l>
  // CHECK: tile.reduce add %{{.*}} dim 1 {tile.shared_offset = 2048 : i64}
  %p = tile.reduce add %a dim 1 : !tile.tile<1x1xf32, #r>
  // CHECK: tile.reduce max %{{.*}} dim 1 {tile.shared_offset = 2048 : i64, tile.shared_reused}
  %q = tile.reduce max %a dim 1 : !tile.tile<1x1xf32, #r>
  scf.for %k = %c0 to %c4 step %c1 {
    // CHECK: tile.reduce min %{{.*}} dim 1 {tile.shared_offset = 2048 : i64, tile.shared_reused}
    %o = tile.reduce min %a dim 1 : !tile.tile<1x1xf32, #r>
  }
  tile.return
}
}

// -----

// A warp's own reduction needs none.
#l = #tile.layout<blocked([1, 4], [1, 32], [4, 1])>
#r = #tile.layout<slice(blocked([1, 4], [1, 32], [4, 1]), 1)>
module attributes {stepwell.target = "sm_80"} {
// CHECK: tile.func @none
// CHECK-SAME: tile.shared_bytes = 0 : i64
tile.func @none(%x: !tile.view<4x128xf32>) grid (%i = 1) attributes {tile.launch = #tile.launch<warps = 4>} {
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<4x128xf32, #l>
  // CHECK: tile.reduce add %{{.*}} dim 1 : !tile.tile<4x1xf32
  %p = tile.reduce add %a dim 1 : !tile.tile<4x1xf32, #r>
  tile.return
}
}

// -----

// CHECK: expected a kernel of at most 166912 bytes of shared memory, got one of 263168
// CHECK: at: big
#a = #tile.layout<blocked([1, 64], [32, 1], [4, 1], repeat = [2, 4])>
#b = #tile.layout<blocked([64, 1], [1, 32], [1, 4], repeat = [4, 2])>
module attributes {stepwell.target = "sm_80"} {
tile.func @big(%x: !tile.view<256x256xf32>) grid (%i = 1) attributes {tile.launch = #tile.launch<warps = 4>} {
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<256x256xf32, #a>
  %b = tile.convert_layout %a : !tile.tile<256x256xf32, #b>
  tile.return
}
}
