// RUN: stepwell-opt %s --verify-diagnostics --split-input-file | filecheck %s

llvm.func @threads_without_a_barrier(%n: i32) {
  // CHECK: expected a barrier id with the number of threads
  nvvm.barrier number_of_threads = %n
  llvm.return
}

// -----

llvm.func @odd_registers() {
  // CHECK: expected 24 to 256 registers in steps of 8, got 100
  nvvm.setmaxregister decrease 100
  llvm.return
}

// -----

llvm.func @a_fence_of_the_whole_device() {
  // CHECK: expected async.shared of cta, got async of gpu
  nvvm.fence.proxy {kind = "async", space = "gpu"}
  llvm.return
}

// -----

llvm.func @eight_bytes_around_l1(%s: !llvm.ptr<3>, %g: !llvm.ptr<1>) {
  // CHECK: cp.async through cg copies 16 bytes, got 8
  nvvm.cp.async.shared.global %s, %g, 8, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}

// -----

llvm.func @window_of_another_rank(%c: !llvm.ptr<7>, %m: !llvm.ptr, %b: !llvm.ptr<3>, %n: i32, %o: i16) {
  // CHECK: expected 1 im2col offsets for rank 3, got 2
  nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %m, %b, box[%n, %n, %n] im2col[%o, %o] : !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>
  llvm.return
}

// -----

llvm.func @three_matrices(%s: !llvm.ptr<3>, %r: i32) {
  // CHECK: expected 1, 2 or 4 matrices, got 3
  nvvm.stmatrix %s, %r, %r, %r {layout = #nvvm.mma_layout<row>} : !llvm.ptr<3>, i32, i32, i32
  llvm.return
}

// -----

llvm.func @shuffle_to_another_type(%m: i32, %x: f32) {
  // CHECK: expected f32, got i32
  %0 = nvvm.shfl.sync bfly %m, %x, %m, %m : f32 -> i32
  llvm.return
}

// -----

llvm.func @mma_of_two_registers(%a: vector<2xf16>, %c: f32) {
  // CHECK: expected 4, 2 and 4 registers, got [2, 2, 4]
  %0 = nvvm.mma.sync A[%a, %a] B[%a, %a] C[%c, %c, %c, %c] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.return
}

// -----

llvm.func @wgmma_of_another_depth(%d: i64, %acc: !llvm.struct<(f32, f32, f32, f32)>) {
  // CHECK: expected 16 along k for f16, got 8
  %0 = nvvm.wgmma.mma_async A[%d] B[%d] D[%acc] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 64, n = 8, k = 8>, typeA = #nvvm.mma_type<f16>, typeB = #nvvm.mma_type<f16>, typeD = #nvvm.mma_type<f32>} : (i64, i64, !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.return
}

// -----

llvm.func @wgmma_of_too_few_registers(%d: i64, %acc: !llvm.struct<(f32, f32, f32, f32)>) {
  // CHECK: expected 8 registers of D, in and out
  %0 = nvvm.wgmma.mma_async A[%d] B[%d] D[%acc] {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 64, n = 16, k = 16>, typeA = #nvvm.mma_type<f16>, typeB = #nvvm.mma_type<f16>, typeD = #nvvm.mma_type<f32>} : (i64, i64, !llvm.struct<(f32, f32, f32, f32)>) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.return
}
