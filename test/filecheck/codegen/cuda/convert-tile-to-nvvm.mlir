// RUN: stepwell-opt %s -p convert-tile-to-nvvm | filecheck %s
// RUN: stepwell-opt %s -p convert-tile-to-nvvm,convert-nvvm-to-llvm | filecheck %s --check-prefix=LLVM

#a = #tile.layout<swizzled(64, 64, 16, 128)>
#at = #tile.layout<transpose(swizzled(64, 64, 16, 128))>
#acc = #tile.layout<wgmma_accumulator(64)>

// One k-block: the shared memory is planned, the barriers are initialised by one thread,
// and what the copies, the descriptor and the addresses need is read off the layouts.
// CHECK: llvm.mlir.global external @smem() {addr_space = 3 : i32, alignment = 1024 : i64}
// CHECK: llvm.func @one_block(%{{.*}}: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i32, nvvm.grid_constant}
tile.func @one_block(%x: !tile.tensor_map<64x64xf16 over [0, 1], !tile.shared<64x64xf16, #a>>, %y: !tile.view<64x64xf32>) grid (%i = 1) attributes {tile.launch = #tile.launch<warps = 4>} {
  // CHECK: nvvm.read.ptx.sreg.tid.x : i32
  // CHECK: nvvm.mbarrier.init %{{.*}}, %{{.*}} : !llvm.ptr<3>, i32
  // CHECK-NEXT: llvm.mlir.addressof @smem
  // CHECK: nvvm.fence.mbarrier.init
  // CHECK: nvvm.prefetch.tensormap
  // CHECK: nvvm.barrier
  %ring = tile.ring consumers 4 : !tile.ring<1, !tile.shared<64x64xf16, #a>>
  %c = tile.cursor : !tile.cursor<1>
  tile.elect {
    // CHECK: nvvm.mbarrier.try_wait.parity
    // CHECK: nvvm.mbarrier.arrive.expect_tx
    %slot, %a = tile.acquire %ring[%c] expect 8192
    // CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %{{.*}}, %{{.*}}, box[%{{.*}}, %{{.*}}] : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
    tile.tma_load %x[0, 0] to %a in %slot
    tile.commit %slot
  }
  // CHECK: nvvm.mbarrier.try_wait.parity
  %a = tile.wait %ring[%c]
  %b = tile.shared_transpose %a : !tile.shared<64x64xf16, #at>
  // CHECK: nvvm.wgmma.fence.aligned
  // CHECK-COUNT-4: nvvm.wgmma.mma_async
  // CHECK: nvvm.wgmma.commit.group.sync.aligned
  // LLVM: llvm.inline_asm {{.*}}wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16
  // LLVM-NOT: nvvm.
  %s = tile.wgmma %a, %b : !tile.accumulator<64x64xf32>
  // CHECK: nvvm.wgmma.wait.group.sync.aligned 0 %{{.*}}
  %t = tile.wgmma_wait 0, %s : !tile.tile<64x64xf32, #acc>
  tile.release %ring[%c]
  // CHECK-COUNT-16: llvm.store
  tile.store %t, %y[0, 0] over [0, 1]
  tile.return
}
