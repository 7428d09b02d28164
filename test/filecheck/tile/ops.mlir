// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// CHECK-LABEL: tile.func @views_and_symbols(%x: !tile.view<[batch, 2 * seq, 64] f32>, %y: !tile.view<8x4xui8>) symbols [batch, seq] grid (%i = batch, %j = 4) {
tile.func @views_and_symbols(%x: !tile.view<[batch, 2 * seq, 64] f32>, %y: !tile.view<8x4xui8>) symbols [batch, seq] grid (%i = batch, %j = 4) {
  // CHECK-NEXT: %n = tile.dim "batch + 3"
  %n = tile.dim "batch + 3"
  // CHECK-NEXT: %v = tile.access %x map<(b, s, c) -> [b, s, c - 1] where [c - 1 < 64] else -inf> : !tile.view<[batch, 2 * seq, 66] f32>
  %v = tile.access %x map<(b, s, c) -> [b, s, c - 1] where [c - 1 < 64] else -inf> : !tile.view<[batch, 2 * seq, 66] f32>
  // CHECK-NEXT: %a = tile.load %v[%i, %n, 0] over [1, 2] : !tile.tile<4x66xf32>
  %a = tile.load %v[%i, %n, 0] over [1, 2] : !tile.tile<4x66xf32>
  // CHECK-NEXT: %b = tile.load %y[0, %j] over [0] fill 7 : !tile.tile<8xi8>
  %b = tile.load %y[0, %j] over [0] fill 7 : !tile.tile<8xi8>
  // CHECK-NEXT: tile.store %a, %v[%i, 0, 0] over [1, 2] accumulate max
  tile.store %a, %v[%i, 0, 0] over [1, 2] accumulate max
  // CHECK-NEXT: tile.store %b, %y[0, %j] over [0]
  tile.store %b, %y[0, %j] over [0]
  // CHECK-NEXT: tile.return
  tile.return
}

// CHECK-LABEL: tile.func @indirect_access
tile.func @indirect_access(%x: !tile.view<100x8xf32>, %ids: !tile.view<6xi64>) grid () {
  // CHECK-NEXT: tile.access %x indices(%ids) map<(r, c) -> [at$0 mod 100, c] with [at$0 = 0[r]]> : !tile.view<6x8xf32>
  %rows = tile.access %x indices(%ids) map<(r, c) -> [at$0 mod 100, c] with [at$0 = 0[r]]> : !tile.view<6x8xf32>
  tile.return
}

// CHECK-LABEL: tile.func @whole_tiles
tile.func @whole_tiles(%x: !tile.view<8x16xf32>) grid () {
  // CHECK-NEXT: tile.full 0.0 : !tile.tile<8x16xf32>
  %z = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK-NEXT: tile.full -inf : !tile.tile<8x1xf32>
  %inf = tile.full -inf : !tile.tile<8x1xf32>
  // CHECK-NEXT: tile.full 1.000000e-05 : !tile.tile<f32>
  %eps = tile.full 0.00001 : !tile.tile<f32>
  // CHECK-NEXT: tile.full -3 : !tile.tile<4xi8>
  %i = tile.full -3 : !tile.tile<4xi8>
  // CHECK-NEXT: tile.full true : !tile.tile<4xi1>
  %t = tile.full true : !tile.tile<4xi1>
  // CHECK-NEXT: tile.iota dim 1 : !tile.tile<1x16xindex>
  %c = tile.iota dim 1 : !tile.tile<1x16xindex>
  // CHECK-NEXT: tile.reduce add %z dim 1 : !tile.tile<8x1xf32>
  %s = tile.reduce add %z dim 1 : !tile.tile<8x1xf32>
  // CHECK-NEXT: tile.arg_reduce max %z dim 0 : !tile.tile<1x16xf32>, !tile.tile<1x16xi64>
  %m, %at = tile.arg_reduce max %z dim 0 : !tile.tile<1x16xf32>, !tile.tile<1x16xi64>
  // CHECK-NEXT: tile.arg_reduce min %z dim 0 last : !tile.tile<1x16xf32>, !tile.tile<1x16xi32>
  %m2, %at2 = tile.arg_reduce min %z dim 0 last : !tile.tile<1x16xf32>, !tile.tile<1x16xi32>
  // CHECK-NEXT: tile.scan mul %z dim 1 exclusive reverse : !tile.tile<8x16xf32>
  %p = tile.scan mul %z dim 1 exclusive reverse : !tile.tile<8x16xf32>
  // CHECK-NEXT: tile.sort %z, %p dim 1 descending : !tile.tile<8x16xf32>, !tile.tile<8x16xf32>
  %k, %v = tile.sort %z, %p dim 1 descending : !tile.tile<8x16xf32>, !tile.tile<8x16xf32>
  // CHECK-NEXT: tile.transpose %z [1, 0] : !tile.tile<16x8xf32>
  %zt = tile.transpose %z [1, 0] : !tile.tile<16x8xf32>
  // CHECK-NEXT: tile.broadcast %s : !tile.tile<8x16xf32>
  %w = tile.broadcast %s : !tile.tile<8x16xf32>
  // CHECK-NEXT: tile.reshape %z : !tile.tile<2x4x16xf32>
  %r = tile.reshape %z : !tile.tile<2x4x16xf32>
  // CHECK-NEXT: tile.extract %z [0, 15] : !tile.tile<8x1xf32>
  %last = tile.extract %z [0, 15] : !tile.tile<8x1xf32>
  // CHECK-NEXT: tile.extract %z [3, 2] : f32
  %one = tile.extract %z [3, 2] : f32
  %sq = tile.full 1.0 : !tile.tile<8x8xf32>
  // CHECK: tile.dot %z, %zt, %sq : !tile.tile<8x8xf32>
  %d = tile.dot %z, %zt, %sq : !tile.tile<8x8xf32>
  // CHECK: tile.map (%u = %z, %q = %s) -> (!tile.tile<8x16xf32>, !tile.tile<8x16xi1>) {
  %f, %g = tile.map (%u = %z, %q = %s) -> (!tile.tile<8x16xf32>, !tile.tile<8x16xi1>) {
    // A body may use scalars from above it.
    %h = arith.mulf %u, %one : f32
    %l = arith.cmpf olt, %h, %q : f32
    // CHECK: tile.yield %h, %l : f32, i1
    tile.yield %h, %l : f32, i1
  }
  tile.return
}

#frag = #tile.layout<mma_c(16, 8)>
// CHECK-LABEL: tile.func @registers_and_shared_memory
tile.func @registers_and_shared_memory(%x: !tile.view<64x64xf16>) grid () attributes {tile.launch = #tile.launch<warps = 1, blocks_per_sm = 2>} {
  // CHECK: tile.shared_alloc : !tile.shared<64x64xf16, #tile.layout<swizzled(64, 64, 16, 128)>>
  %s = tile.shared_alloc : !tile.shared<64x64xf16, #tile.layout<swizzled(64, 64, 16, 128)>>
  // CHECK-NEXT: tile.async_load %x[0, 0] over [0, 1] to %s
  tile.async_load %x[0, 0] over [0, 1] to %s
  // CHECK-NEXT: tile.async_commit
  tile.async_commit
  // CHECK-NEXT: tile.async_wait 0
  tile.async_wait 0
  // CHECK-NEXT: tile.barrier block
  tile.barrier block
  // CHECK-NEXT: tile.shared_slice %s[0, 0] : !tile.shared<16x64xf16, #tile.layout<swizzled(64, 64, 16, 128)>>
  %part = tile.shared_slice %s[0, 0] : !tile.shared<16x64xf16, #tile.layout<swizzled(64, 64, 16, 128)>>
  // CHECK-NEXT: tile.shared_transpose %s : !tile.shared<64x64xf16, #tile.layout<transpose(swizzled(64, 64, 16, 128))>>
  %st = tile.shared_transpose %s : !tile.shared<64x64xf16, #tile.layout<transpose(swizzled(64, 64, 16, 128))>>
  // CHECK-NEXT: tile.shared_load %part : !tile.tile<16x64xf16, #tile.layout<mma_a(16, 64, 16)>>
  %a = tile.shared_load %part : !tile.tile<16x64xf16, #tile.layout<mma_a(16, 64, 16)>>
  %b = tile.shared_load %st : !tile.tile<64x64xf16, #tile.layout<mma_b(64, 64, 16)>>
  %c = tile.full 0.0 : !tile.tile<16x64xf32, #tile.layout<mma_c(16, 64)>>
  // CHECK: tile.mma %a, %b, %c : !tile.tile<16x64xf32, #tile.layout<mma_c(16, 64)>>
  %d = tile.mma %a, %b, %c : !tile.tile<16x64xf32, #tile.layout<mma_c(16, 64)>>
  // CHECK-NEXT: tile.convert_layout %d : !tile.tile<16x64xf32, #tile.layout<blocked([1, 4], [2, 16], [1, 1], repeat = [8, 1])>>
  %e = tile.convert_layout %d : !tile.tile<16x64xf32, #tile.layout<blocked([1, 4], [2, 16], [1, 1], repeat = [8, 1])>>
  tile.return
}

// CHECK-LABEL: tile.func @clusters_and_barriers
tile.func @clusters_and_barriers(%x: !tile.tensor_map<[m, 64] f16 over [0, 1], !tile.shared<32x64xf16, #tile.layout<swizzled(32, 64, 16, 128)>>>) symbols [m] grid (%i = 4)
    attributes {tile.launch = #tile.launch<warps = 4, cluster = 2>} {
  %c1 = arith.constant 1 : index
  // CHECK: tile.ring consumers 4 : !tile.ring<3, !tile.shared<64x64xf16, {{.*}}>>
  %ring = tile.ring consumers 4 : !tile.ring<3, !tile.shared<64x64xf16, #tile.layout<swizzled(64, 64, 16, 128)>>>
  // CHECK-NEXT: tile.cluster_rank
  %rank = tile.cluster_rank
  // CHECK-NEXT: tile.cluster_sync relaxed
  tile.cluster_sync relaxed
  %c = tile.cursor : !tile.cursor<3>
  // CHECK: tile.elect {
  tile.elect {
    // Each of the two blocks loads half of the rows for both.
    // CHECK-NEXT: tile.acquire %ring[%c] expect 8192
    %slot, %t = tile.acquire %ring[%c] expect 8192
    %half = tile.shared_slice %t[0, 0] : !tile.shared<32x64xf16, #tile.layout<swizzled(64, 64, 16, 128)>>
    // CHECK: tile.tma_load %x[%i, 0] to %half in %slot multicast
    tile.tma_load %x[%i, 0] to %half in %slot multicast
    // CHECK-NEXT: tile.commit %slot
    tile.commit %slot
  }
  // CHECK: tile.wait %ring[%c]
  %t = tile.wait %ring[%c]
  // CHECK-NEXT: tile.release %ring[%c]
  tile.release %ring[%c]
  // CHECK-NEXT: tile.named_barrier %c1 threads 128
  tile.named_barrier %c1 threads 128
  // CHECK-NEXT: tile.named_barrier %c1 threads 128 arrive
  tile.named_barrier %c1 threads 128 arrive
  // CHECK-NEXT: tile.raster %i [4, 1] group 2
  %m, %n = tile.raster %i [4, 1] group 2
  // CHECK-NEXT: tile.cluster_sync
  tile.cluster_sync
  tile.return
}
