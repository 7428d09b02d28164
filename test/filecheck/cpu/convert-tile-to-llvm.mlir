// RUN: stepwell-opt %s -p convert-tile-to-llvm | filecheck %s

builtin.module attributes {stepwell.target = "cpu-avx512"} {

// A proved tile is read and written by whole vectors; relu of NaN is NaN.
// CHECK-LABEL: llvm.func @whole_tiles_need_no_mask(
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> vector<16xf32>
// CHECK-NEXT: llvm.fcmp "ogt"
// CHECK-NEXT: llvm.select
// CHECK-NOT: masked
// CHECK: llvm.return
tile.func @whole_tiles_need_no_mask(%x: !tile.view<64xf32>, %y: !tile.view<64xf32>)
    grid (%i = 4) {
  %c = arith.constant 16 : index
  %p = arith.muli %i, %c : index
  %a = tile.load %x[%p] over [0] : !tile.tile<16xf32>
  %r = tile.map (%u = %a) -> !tile.tile<16xf32> {
    %z = arith.constant 0.0 : f32
    %m = arith.maximumf %u, %z : f32
    tile.yield %m : f32
  }
  tile.store %r, %y[%p] over [0]
  tile.return
}

// The last tile hangs over the end: one mask serves the load and the store.
// CHECK-LABEL: llvm.func @ragged_tiles_are_masked(
// CHECK: %[[MASK:.*]] = llvm.icmp "slt" %{{.*}}, %{{.*}} : vector<16xi32>
// CHECK: llvm.call_intrinsic "llvm.masked.load.v16f32.p0"(%{{.*}}, %{{.*}}, %[[MASK]],
// CHECK: llvm.call_intrinsic "llvm.masked.store.v16f32.p0"(%{{.*}}, %{{.*}}, %{{.*}}, %[[MASK]])
tile.func @ragged_tiles_are_masked(%x: !tile.view<60xf32>, %y: !tile.view<60xf32>)
    grid (%i = 4) {
  %c = arith.constant 16 : index
  %p = arith.muli %i, %c : index
  %a = tile.load %x[%p] over [0] : !tile.tile<16xf32>
  tile.store %a, %y[%p] over [0]
  tile.return
}

// Operands of a dot are read where they lie: a broadcast per row, a vector per column.
// CHECK-LABEL: llvm.func @dot_reads_its_operands_in_memory(
// CHECK-NOT: llvm.alloca
// CHECK: ^bb{{.*}}(%[[K:.*]]: i64, %[[ACC0:.*]]: vector<16xf32>, %[[ACC1:.*]]: vector<16xf32>):
// CHECK: %[[B:.*]] = llvm.load %{{.*}} -> vector<16xf32>
// CHECK: %[[A:.*]] = llvm.load %{{.*}} -> f32
// CHECK: %[[SPLAT:.*]] = llvm.shufflevector
// CHECK: %[[PRODUCT:.*]] = llvm.fmul %[[SPLAT]], %[[B]] {fastmathFlags = #llvm.fastmath<contract>}
// CHECK: llvm.fadd %[[ACC0]], %[[PRODUCT]] {fastmathFlags = #llvm.fastmath<contract>}
tile.func @dot_reads_its_operands_in_memory(%a: !tile.view<2x64xf32>,
    %b: !tile.view<64x16xf32>, %y: !tile.view<2x16xf32>) grid (%i = 1) {
  %x = tile.load %a[0, 0] over [0, 1] : !tile.tile<2x64xf32>
  %w = tile.load %b[0, 0] over [0, 1] : !tile.tile<64x16xf32>
  %z = tile.full 0.0 : !tile.tile<2x16xf32>
  %d = tile.dot %x, %w, %z : !tile.tile<2x16xf32>
  tile.store %d, %y[0, 0] over [0, 1]
  tile.return
}

// A padded row is a pointer to zeros, so that the k loop has no guard.
// CHECK-LABEL: llvm.func @a_row_outside_points_to_zeros(
// CHECK: %[[ZEROS:.*]] = llvm.mlir.addressof @stepwell.zeros
// CHECK: %[[INSIDE:.*]] = llvm.icmp "ult"
// CHECK: llvm.select %[[INSIDE]], %{{.*}}, %[[ZEROS]] : i1, !llvm.ptr
// CHECK-NOT: masked
// CHECK: llvm.return
tile.func @a_row_outside_points_to_zeros(%a: !tile.view<8x64xf32>,
    %b: !tile.view<64x16xf32>, %y: !tile.view<8x16xf32>) grid (%i = 8) {
  %av = tile.access %a map<(p, c) -> [p - 1, c] where [p - 1 < 8] else 0.0>
      : !tile.view<8x64xf32>
  %x = tile.load %av[%i, 0] over [0, 1] : !tile.tile<1x64xf32>
  %w = tile.load %b[0, 0] over [0, 1] : !tile.tile<64x16xf32>
  %z = tile.full 0.0 : !tile.tile<1x16xf32>
  %d = tile.dot %x, %w, %z : !tile.tile<1x16xf32>
  tile.store %d, %y[%i, 0] over [0, 1]
  tile.return
}

// A strided tile with a contiguous dim is turned in registers, not gathered.
// CHECK-LABEL: llvm.func @a_transposed_load_is_turned(
// CHECK-COUNT-16: llvm.load %{{.*}} -> vector<16xf32>
// CHECK: llvm.shufflevector
// CHECK-NOT: gather
// CHECK: llvm.return
tile.func @a_transposed_load_is_turned(%x: !tile.view<16x16xf32>,
    %y: !tile.view<16x16xf32>) grid (%i = 1) {
  %xv = tile.access %x map<(i, j) -> [j, i]> : !tile.view<16x16xf32>
  %a = tile.load %xv[0, 0] over [0, 1] : !tile.tile<16x16xf32>
  tile.store %a, %y[0, 0] over [0, 1]
  tile.return
}

// Math functions are called, and defined once for each vector type.
// CHECK-LABEL: llvm.func @math_is_called(
// CHECK: llvm.call @stepwell.exp.v16f32
// CHECK: llvm.func internal @stepwell.exp.v16f32(%{{.*}}: vector<16xf32>) -> vector<16xf32>
tile.func @math_is_called(%x: !tile.view<16xf32>, %y: !tile.view<16xf32>) grid (%i = 1) {
  %a = tile.load %x[0] over [0] : !tile.tile<16xf32>
  %r = tile.map (%u = %a) -> !tile.tile<16xf32> {
    %e = math.exp %u : f32
    tile.yield %e : f32
  }
  tile.store %r, %y[0] over [0]
  tile.return
}
}
