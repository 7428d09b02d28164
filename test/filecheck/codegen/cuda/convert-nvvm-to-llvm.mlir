// RUN: stepwell-opt %s -p convert-nvvm-to-llvm | filecheck %s
// RUN: stepwell-opt %s -p convert-nvvm-to-llvm | filecheck %s --check-prefix=NONE

// Nothing of nvvm is left, but for the names of intrinsics.
// NONE-NOT: {{^ *(%.* = )?nvvm\.}}

// Registers of the thread and the block: intrinsics of the same name.
// CHECK-LABEL: llvm.func @special_registers
llvm.func @special_registers() {
  // CHECK-NEXT: %{{.*}} = llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.tid.x"() : () -> i32
  %0 = nvvm.read.ptx.sreg.tid.x : i32
  // CHECK-NEXT: %{{.*}} = llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.ctaid.z"() : () -> i32
  %1 = nvvm.read.ptx.sreg.ctaid.z : i32
  // CHECK-NEXT: %{{.*}} = llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.cluster.ctarank"() : () -> i32
  %2 = nvvm.read.ptx.sreg.cluster.ctarank : i32
  llvm.return
}

// The kind and the type of a shuffle are part of the intrinsic's name.
// CHECK-LABEL: llvm.func @warps
llvm.func @warps(%mask: i32, %x: f32, %n: i32) -> i1 {
  // CHECK-NEXT: %[[ALL:.*]] = llvm.mlir.constant(-1 : i32) : i32
  // CHECK-NEXT: %[[X:.*]] = llvm.call_intrinsic "llvm.nvvm.shfl.sync.bfly.f32"(%mask, %x, %n, %n) : (i32, f32, i32, i32) -> f32
  %0 = nvvm.shfl.sync bfly %mask, %x, %n, %n : f32 -> f32
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.shfl.sync.idx.i32"(%mask, %n, %n, %n)
  %1 = nvvm.shfl.sync idx %mask, %n, %n, %n : i32 -> i32
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.redux.sync.add"(%n, %mask) : (i32, i32) -> i32
  %2 = nvvm.redux.sync add %n, %mask : i32 -> i32
  // An intrinsic with two results: users get the second one.
  // CHECK-NEXT: %[[PAIR:.*]] = llvm.call_intrinsic "llvm.nvvm.elect.sync"(%[[ALL]]) : (i32) -> !llvm.struct<(i32, i1)>
  // CHECK-NEXT: %[[ELECTED:.*]] = llvm.extractvalue %[[PAIR]][1]
  %3 = nvvm.elect.sync -> i1
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.bar.warp.sync"(%mask) : (i32) -> ()
  nvvm.bar.warp.sync %mask : i32
  // CHECK-NEXT: llvm.return %[[ELECTED]]
  llvm.return %3 : i1
}

// CHECK-LABEL: llvm.func @barriers
llvm.func @barriers(%bar: !llvm.ptr<3>, %count: i32, %p: i1) {
  // Without a number it is the block's, barrier 0.
  // CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0 : i32) : i32
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.barrier.cta.sync.aligned.all"(%[[ZERO]])
  nvvm.barrier
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.barrier.cta.sync.aligned.count"(%count, %count)
  nvvm.barrier id = %count number_of_threads = %count
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.barrier.cta.arrive.aligned.count"(%count, %count)
  nvvm.barrier.arrive id = %count number_of_threads = %count
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.barrier.cluster.arrive.aligned"()
  nvvm.cluster.arrive {aligned}
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.barrier.cluster.arrive.relaxed"()
  nvvm.cluster.arrive.relaxed
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.mbarrier.init.shared"(%bar, %count)
  nvvm.mbarrier.init %bar, %count : !llvm.ptr<3>, i32
  // LLVM has no intrinsic that arrives under a predicate.
  // CHECK-NEXT: llvm.inline_asm has_side_effects "@$1 mbarrier.arrive.shared::cta.b64 _, [$0];", "l,b,~{memory}" %bar, %p {llvm.convergent}
  nvvm.mbarrier.arrive %bar, predicate = %p : !llvm.ptr<3>, i1
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.mbarrier.arrive.expect.tx.relaxed.scope.cta.space.cta"(%bar, %count) {{.*}} -> i64
  nvvm.mbarrier.arrive.expect_tx %bar, %count : !llvm.ptr<3>, i32
  // CHECK-NEXT: llvm.inline_asm has_side_effects {{.*}}mbarrier.try_wait.parity{{.*}} %bar, %count, %count
  nvvm.mbarrier.try_wait.parity %bar, %count, %count : !llvm.ptr<3>, i32, i32
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.setmaxnreg.inc.sync.aligned.u32"
  nvvm.setmaxregister increase 240
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.setmaxnreg.dec.sync.aligned.u32"
  nvvm.setmaxregister decrease 24
  llvm.return
}

// CHECK-LABEL: llvm.func @copies
llvm.func @copies(%s: !llvm.ptr<3>, %g: !llvm.ptr<1>, %c: !llvm.ptr<7>, %map: !llvm.ptr, %at: i32, %o: i16, %h: i64) {
  // CHECK: llvm.call_intrinsic "llvm.nvvm.cp.async.cg.shared.global.16"(%s, %g)
  nvvm.cp.async.shared.global %s, %g, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  // With the number of bytes to read, the rest is zero.
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.cp.async.ca.shared.global.4.s"(%s, %g, %at)
  nvvm.cp.async.shared.global %s, %g, 4, cache = ca, %at : !llvm.ptr<3>, !llvm.ptr<1>, i32
  // CHECK-NEXT: llvm.inline_asm has_side_effects "prefetch.tensormap [$0];"
  nvvm.prefetch.tensormap %map : !llvm.ptr
  // What is not given is 0, and a flag says so.
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.cp.async.bulk.tensor.g2s.tile.2d"(%c, %s, %map, %at, %at, %{{.*}}, %{{.*}}, %[[NO:.*]], %[[NO]], %{{.*}})
  nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %map, %s, box[%at, %at] : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.cp.async.bulk.tensor.g2s.im2col.4d"(%c, %s, %map, %at, %at, %at, %at, %o, %o, %o, %h, %[[YES:.*]], %[[YES]], %{{.*}})
  nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %map, %s, box[%at, %at, %at, %at] im2col[%o, %o] multicast_mask = %o l2_cache_hint = %h : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.cp.async.bulk.tensor.s2g.tile.2d"(%s, %map, %at, %at, %{{.*}}, %{{.*}})
  nvvm.cp.async.bulk.tensor.global.shared.cta %map, %s, box[%at, %at] : !llvm.ptr, !llvm.ptr<3>
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.cp.async.bulk.wait.group.read"
  nvvm.cp.async.bulk.wait_group 1 {read}
  llvm.return
}

// CHECK-LABEL: llvm.func @matrices
llvm.func @matrices(%rows: !llvm.ptr<3>, %pair: vector<2xf16>, %sum: f32, %word: i32) {
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3"(%rows)
  %0 = nvvm.ldmatrix %rows {num = 4 : i32, layout = #nvvm.mma_layout<row>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.stmatrix.sync.aligned.m8n8.x2.trans.b16.p3"(%rows, %word, %word)
  nvvm.stmatrix %rows, %word, %word {layout = #nvvm.mma_layout<col>} : !llvm.ptr<3>, i32, i32
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.f32.f32"(%pair, %pair, %pair, %pair, %pair, %pair, %sum, %sum, %sum, %sum)
  %1 = nvvm.mma.sync A[%pair, %pair, %pair, %pair] B[%pair, %pair] C[%sum, %sum, %sum, %sum] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.mma.m16n8k8.row.col.tf32"(%word, %word, %word, %word, %word, %word, %sum, %sum, %sum, %sum)
  %2 = nvvm.mma.sync A[%word, %word, %word, %word] B[%word, %word] C[%sum, %sum, %sum, %sum] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<tf32>, multiplicandBPtxType = #nvvm.mma_type<tf32>, shape = #nvvm.shape<m = 16, n = 8, k = 8>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.return
}

// A run of wgmma is one block of PTX: its sums are tied to their first values, and
// between the products stands nothing that the assembler would have to wait for.
// CHECK-LABEL: llvm.func @warpgroups
llvm.func @warpgroups(%d: i64, %bits: i32, %more: i1, %acc: !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)> {
  // CHECK-COUNT-4: llvm.extractvalue %acc
  // CHECK: %[[FLAG:.*]] = llvm.zext %more : i1 to i32
  // CHECK-NEXT: %[[SUMS:.*]] = llvm.inline_asm has_side_effects "{ .reg .pred p0; wgmma.fence.sync.aligned; setp.ne.b32 p0, $9, 0;
  // CHECK-SAME: wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {$0, $1, $2, $3}, $8, $8, p0, 1, 1, 0, 0;
  // CHECK-SAME: wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0, $1, $2, $3}, {$10, $10, $10, $10}, $8, 0, 1, 1, 1;
  // CHECK-SAME: wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1; }"
  // CHECK-SAME: "=f,=f,=f,=f,0,1,2,3,l,r,r,~{memory}"
  nvvm.wgmma.fence.aligned
  %0 = nvvm.wgmma.mma_async A[%d] B[%d] D[%acc] scale_d = %more {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 64, n = 8, k = 16>, typeA = #nvvm.mma_type<f16>, typeB = #nvvm.mma_type<f16>, typeD = #nvvm.mma_type<f32>} : (i64, i64, !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)>
  %1 = nvvm.wgmma.mma_async A[%bits, %bits, %bits, %bits] B[%d] D[%0] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<row>, shape = #nvvm.shape<m = 64, n = 8, k = 16>, typeA = #nvvm.mma_type<bf16>, typeB = #nvvm.mma_type<bf16>, typeD = #nvvm.mma_type<f32>, zero} : (i32, i64, !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)>
  nvvm.wgmma.commit.group.sync.aligned
  nvvm.wgmma.wait.group.sync.aligned 1
  // CHECK-NEXT: llvm.return %[[SUMS]]
  llvm.return %1 : !llvm.struct<(f32, f32, f32, f32)>
}

// What makes no sums is left to intrinsics, one by one.
// CHECK-LABEL: llvm.func @waits
llvm.func @waits() {
  // CHECK: llvm.call_intrinsic "llvm.nvvm.wgmma.commit_group.sync.aligned"()
  nvvm.wgmma.commit.group.sync.aligned
  // CHECK-NEXT: llvm.call_intrinsic "llvm.nvvm.wgmma.wait_group.sync.aligned"
  nvvm.wgmma.wait.group.sync.aligned 1
  llvm.return
}
