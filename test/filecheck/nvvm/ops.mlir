// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// CHECK-LABEL: @special_registers
llvm.func @special_registers() {
  // CHECK-NEXT: nvvm.read.ptx.sreg.tid.x : i32
  %0 = nvvm.read.ptx.sreg.tid.x : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.ntid.x : i32
  %1 = nvvm.read.ptx.sreg.ntid.x : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.ctaid.x : i32
  %2 = nvvm.read.ptx.sreg.ctaid.x : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.ctaid.y : i32
  %3 = nvvm.read.ptx.sreg.ctaid.y : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.ctaid.z : i32
  %4 = nvvm.read.ptx.sreg.ctaid.z : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.nctaid.x : i32
  %5 = nvvm.read.ptx.sreg.nctaid.x : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.laneid : i32
  %6 = nvvm.read.ptx.sreg.laneid : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.clusterid.x : i32
  %7 = nvvm.read.ptx.sreg.clusterid.x : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.cluster.ctarank : i32
  %8 = nvvm.read.ptx.sreg.cluster.ctarank : i32
  // CHECK-NEXT: nvvm.read.ptx.sreg.cluster.nctarank : i32
  %9 = nvvm.read.ptx.sreg.cluster.nctarank : i32
  llvm.return
}

// CHECK-LABEL: @warps
llvm.func @warps(%mask: i32, %x: f32, %n: i32) {
  // CHECK-NEXT: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : f32 -> f32
  %0 = nvvm.shfl.sync bfly %mask, %x, %n, %n : f32 -> f32
  // CHECK-NEXT: nvvm.shfl.sync idx %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : i32 -> i32
  %1 = nvvm.shfl.sync idx %mask, %n, %n, %n : i32 -> i32
  // CHECK-NEXT: nvvm.redux.sync add %{{.*}}, %{{.*}} : i32 -> i32
  %2 = nvvm.redux.sync add %n, %mask : i32 -> i32
  // CHECK-NEXT: nvvm.elect.sync -> i1
  %3 = nvvm.elect.sync -> i1
  // CHECK-NEXT: nvvm.bar.warp.sync %{{.*}} : i32
  nvvm.bar.warp.sync %mask : i32
  llvm.return
}

// CHECK-LABEL: @barriers
llvm.func @barriers(%bar: !llvm.ptr<3>, %n: i32, %p: i1) {
  // CHECK-NEXT: nvvm.barrier{{$}}
  nvvm.barrier
  // CHECK-NEXT: nvvm.barrier id = %{{.*}} number_of_threads = %{{.*}}
  nvvm.barrier id = %n number_of_threads = %n
  // CHECK-NEXT: nvvm.barrier.arrive id = %{{.*}} number_of_threads = %{{.*}}
  nvvm.barrier.arrive id = %n number_of_threads = %n
  // CHECK-NEXT: nvvm.cluster.arrive {aligned}
  nvvm.cluster.arrive {aligned}
  // CHECK-NEXT: nvvm.cluster.arrive.relaxed{{$}}
  nvvm.cluster.arrive.relaxed
  // CHECK-NEXT: nvvm.cluster.wait {aligned}
  nvvm.cluster.wait {aligned}
  // CHECK-NEXT: nvvm.mbarrier.init %{{.*}}, %{{.*}} : !llvm.ptr<3>, i32
  nvvm.mbarrier.init %bar, %n : !llvm.ptr<3>, i32
  // CHECK-NEXT: nvvm.mbarrier.arrive %{{.*}}, predicate = %{{.*}} : !llvm.ptr<3>, i1
  nvvm.mbarrier.arrive %bar, predicate = %p : !llvm.ptr<3>, i1
  // CHECK-NEXT: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %{{.*}} : !llvm.ptr<3>, i32
  nvvm.mbarrier.arrive.expect_tx %bar, %n : !llvm.ptr<3>, i32
  // CHECK-NEXT: nvvm.mbarrier.try_wait.parity %{{.*}}, %{{.*}}, %{{.*}} : !llvm.ptr<3>, i32, i32
  nvvm.mbarrier.try_wait.parity %bar, %n, %n : !llvm.ptr<3>, i32, i32
  // CHECK-NEXT: nvvm.fence.mbarrier.init
  nvvm.fence.mbarrier.init
  // CHECK-NEXT: nvvm.fence.proxy {kind = "async.shared", space = "cta"}
  nvvm.fence.proxy {kind = "async.shared", space = "cta"}
  // CHECK-NEXT: nvvm.griddepcontrol.wait
  nvvm.griddepcontrol.wait
  // CHECK-NEXT: nvvm.griddepcontrol.launch.dependents
  nvvm.griddepcontrol.launch.dependents
  // CHECK-NEXT: nvvm.setmaxregister increase 240
  nvvm.setmaxregister increase 240
  // CHECK-NEXT: nvvm.mapa %{{.*}}, %{{.*}} : !llvm.ptr<3> -> !llvm.ptr<7>
  %remote = nvvm.mapa %bar, %n : !llvm.ptr<3> -> !llvm.ptr<7>
  llvm.return
}

// CHECK-LABEL: @copies
llvm.func @copies(%s: !llvm.ptr<3>, %g: !llvm.ptr<1>, %c: !llvm.ptr<7>, %map: !llvm.ptr, %n: i32, %o: i16, %h: i64) {
  // CHECK-NEXT: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.shared.global %s, %g, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  // CHECK-NEXT: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 4, cache = ca, %{{.*}} : !llvm.ptr<3>, !llvm.ptr<1>, i32
  nvvm.cp.async.shared.global %s, %g, 4, cache = ca, %n : !llvm.ptr<3>, !llvm.ptr<1>, i32
  // CHECK-NEXT: nvvm.cp.async.commit.group
  nvvm.cp.async.commit.group
  // CHECK-NEXT: nvvm.cp.async.wait.group 1
  nvvm.cp.async.wait.group 1
  // CHECK-NEXT: nvvm.prefetch.tensormap %{{.*}} : !llvm.ptr
  nvvm.prefetch.tensormap %map : !llvm.ptr
  // CHECK-NEXT: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %{{.*}}, %{{.*}}, box[%{{.*}}, %{{.*}}] : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %map, %s, box[%n, %n] : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
  // CHECK-NEXT: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %{{.*}}, %{{.*}}, box[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] im2col[%{{.*}}, %{{.*}}] multicast_mask = %{{.*}} l2_cache_hint = %{{.*}} : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %map, %s, box[%n, %n, %n, %n] im2col[%o, %o] multicast_mask = %o l2_cache_hint = %h : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
  // CHECK-NEXT: nvvm.cp.async.bulk.tensor.global.shared.cta %{{.*}}, %{{.*}}, box[%{{.*}}, %{{.*}}] : !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.tensor.global.shared.cta %map, %s, box[%n, %n] : !llvm.ptr, !llvm.ptr<3>
  // CHECK-NEXT: nvvm.cp.async.bulk.commit.group
  nvvm.cp.async.bulk.commit.group
  // CHECK-NEXT: nvvm.cp.async.bulk.wait_group 1 {read}
  nvvm.cp.async.bulk.wait_group 1 {read}
  llvm.return
}

// CHECK-LABEL: @matrices
llvm.func @matrices(%s: !llvm.ptr<3>, %a: vector<2xf16>, %c: f32, %r: i32, %d: i64, %p: i1, %acc: !llvm.struct<(f32, f32, f32, f32)>) {
  // CHECK-NEXT: nvvm.ldmatrix %{{.*}} {num = 4 : i32, layout = #nvvm.mma_layout<row>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %0 = nvvm.ldmatrix %s {num = 4 : i32, layout = #nvvm.mma_layout<row>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  // CHECK-NEXT: nvvm.stmatrix %{{.*}}, %{{.*}}, %{{.*}} {layout = #nvvm.mma_layout<col>} : !llvm.ptr<3>, i32, i32
  nvvm.stmatrix %s, %r, %r {layout = #nvvm.mma_layout<col>} : !llvm.ptr<3>, i32, i32
  // CHECK-NEXT: nvvm.mma.sync A[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] B[%{{.*}}, %{{.*}}] C[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %1 = nvvm.mma.sync A[%a, %a, %a, %a] B[%a, %a] C[%c, %c, %c, %c] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  // CHECK-NEXT: nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<tf32>
  %2 = nvvm.mma.sync A[%r, %r, %r, %r] B[%r, %r] C[%c, %c, %c, %c] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<tf32>, multiplicandBPtxType = #nvvm.mma_type<tf32>, shape = #nvvm.shape<m = 16, n = 8, k = 8>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  // CHECK-NEXT: nvvm.wgmma.fence.aligned
  nvvm.wgmma.fence.aligned
  // CHECK-NEXT: nvvm.wgmma.mma_async A[%{{.*}}] B[%{{.*}}] D[%{{.*}}] scale_d = %{{.*}} {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 64, n = 8, k = 16>, typeA = #nvvm.mma_type<f16>, typeB = #nvvm.mma_type<f16>, typeD = #nvvm.mma_type<f32>} : (i64, i64, !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)>
  %3 = nvvm.wgmma.mma_async A[%d] B[%d] D[%acc] scale_d = %p {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 64, n = 8, k = 16>, typeA = #nvvm.mma_type<f16>, typeB = #nvvm.mma_type<f16>, typeD = #nvvm.mma_type<f32>} : (i64, i64, !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)>
  // CHECK-NEXT: nvvm.wgmma.mma_async A[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] B[%{{.*}}] D[%{{.*}}] {layoutA = {{.*}}, zero}
  %4 = nvvm.wgmma.mma_async A[%r, %r, %r, %r] B[%d] D[%3] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<row>, shape = #nvvm.shape<m = 64, n = 8, k = 16>, typeA = #nvvm.mma_type<bf16>, typeB = #nvvm.mma_type<bf16>, typeD = #nvvm.mma_type<f32>, zero} : (i32, i64, !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)>
  // CHECK-NEXT: nvvm.wgmma.commit.group.sync.aligned
  nvvm.wgmma.commit.group.sync.aligned
  // CHECK-NEXT: nvvm.wgmma.wait.group.sync.aligned 1
  nvvm.wgmma.wait.group.sync.aligned 1
  llvm.return
}
