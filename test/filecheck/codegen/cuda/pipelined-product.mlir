// RUN: stepwell-opt %s -p plan-shared-memory | filecheck %s --check-prefix=PLAN
// RUN: stepwell-opt %s -t ptx | filecheck %s

// Two stages of A and B in shared memory, by asynchronous copies whose edges are filled
// with zeros; fragments by ldmatrix, transposed where memory runs across the depth.

#sa = #tile.layout<swizzled(64, 32, 16, 64)>
#sb = #tile.layout<swizzled(64, 64, 16, 128)>
#from_a = #tile.layout<blocked([1, 8], [8, 4], [4, 1])>
#from_b = #tile.layout<blocked([1, 8], [4, 8], [4, 1], repeat = [2, 1])>
#a = #tile.layout<mma_a(32, 32, 16, warps = [2, 2])>
#b = #tile.layout<mma_b(32, 64, 16, warps = [2, 2])>
#c = #tile.layout<mma_c(32, 64, warps = [2, 2])>
module attributes {stepwell.target = "sm_80"} {
// PLAN: tile.func @product
// PLAN-SAME: tile.shared_bytes = 12288 : i64
// PLAN: tile.shared_alloc {tile.shared_offset = 0 : i64}
// PLAN: tile.shared_alloc {tile.shared_offset = 4096 : i64}
// CHECK: .visible .entry product(
tile.func @product(%x: !tile.view<[m, k] f16>, %w: !tile.view<[k, 64] f16>, %y: !tile.view<[m, 64] f32>)
    symbols [m, k] grid (%i = ceildiv(m, 32)) attributes {tile.launch = #tile.launch<warps = 4>} {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  %row = arith.muli %i, %c32 : index
  %end = tile.dim "k"
  %ra = tile.shared_alloc : !tile.shared<64x32xf16, #sa>
  %rb = tile.shared_alloc : !tile.shared<64x64xf16, #sb>
  // The rows of x are not whole vectors: k is anything. So elements go one by one.
  %a0 = tile.shared_slice %ra[0, 0] : !tile.shared<32x32xf16, #sa>
  %b0 = tile.shared_slice %rb[0, 0] : !tile.shared<32x64xf16, #sb>
  // CHECK: ld.global.b16
  // CHECK: st.shared.b16
  tile.async_load %x[%row, 0] over [0, 1] to %a0 layout #tile.layout<blocked([1, 8], [8, 4], [4, 1])>
  // CHECK: cp.async.cg.shared.global
  tile.async_load %w[0, 0] over [0, 1] to %b0 layout #tile.layout<blocked([1, 8], [4, 8], [4, 1], repeat = [2, 1])>
  // CHECK: cp.async.commit_group
  tile.async_commit
  %zero = tile.full 0.0 : !tile.tile<32x64xf32, #c>
  %sum = scf.for %at = %c0 to %end step %c32 iter_args(%acc = %zero) -> (!tile.tile<32x64xf32, #c>) {
    %here = arith.remui %at, %c64 : index
    %next = arith.addi %at, %c32 : index
    %there = arith.remui %next, %c64 : index
    tile.barrier block
    %more = arith.cmpi slt, %next, %end : index
    scf.if %more {
      %an = tile.shared_slice %ra[%there, 0] : !tile.shared<32x32xf16, #sa>
      %bn = tile.shared_slice %rb[%there, 0] : !tile.shared<32x64xf16, #sb>
      tile.async_load %x[%row, %next] over [0, 1] to %an layout #tile.layout<blocked([1, 8], [8, 4], [4, 1])>
      tile.async_load %w[%next, 0] over [0, 1] to %bn layout #tile.layout<blocked([1, 8], [4, 8], [4, 1], repeat = [2, 1])>
    }
    tile.async_commit
    // CHECK: cp.async.wait_group 1
    tile.async_wait 1
    // CHECK: bar.sync
    tile.barrier block
    %am = tile.shared_slice %ra[%here, 0] : !tile.shared<32x32xf16, #sa>
    %bm = tile.shared_slice %rb[%here, 0] : !tile.shared<32x64xf16, #sb>
    // CHECK-COUNT-2: ldmatrix.sync.aligned.m8n8.x4.shared.b16
    %a = tile.shared_load %am : !tile.tile<32x32xf16, #a>
    // CHECK-COUNT-4: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
    %b = tile.shared_load %bm : !tile.tile<32x64xf16, #b>
    // CHECK-COUNT-8: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
    %d = tile.mma %a, %b, %acc : !tile.tile<32x64xf32, #c>
    scf.yield %d : !tile.tile<32x64xf32, #c>
  }
  tile.store %sum, %y[%row, 0] over [0, 1]
  tile.return
}
}
