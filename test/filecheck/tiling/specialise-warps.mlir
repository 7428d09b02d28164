// RUN: stepwell-opt %s -p specialise-warps --split-input-file | filecheck %s

// A product of f16 for Hopper, with a bias: the factors arrive by TMA in a ring, two
// consumers of 64 rows each, the result leaves through staging buffers. The right factor
// is read with its columns contiguous, as it lies in memory.
// CHECK-LABEL: tile.func @fc(
// CHECK-SAME: !tile.tensor_map<1024x512xf16 over [0, 1], !tile.shared<128x64xf16, #tile.layout<swizzled(128, 64, 16, 128)>>>
// CHECK-SAME: !tile.tensor_map<512x256xf16 over [0, 1], !tile.shared<64x128xf16, #tile.layout<swizzled(64, 128, 16, 128)>>>
// CHECK-SAME: !tile.view<256xf16>
// CHECK-SAME: !tile.tensor_map<1024x256xf16 over [0, 1], !tile.shared<64x64xf16, #tile.layout<swizzled(64, 64, 16, 128)>>>
// CHECK-SAME: grid (%{{.*}} = 16) attributes {tile.options = {wgmma = 1 : i64}, tile.launch = #tile.launch<warps = 12>}
// CHECK: tile.ring consumers 8 : !tile.ring<6,
// CHECK: tile.role "producer" warps 4 registers 24
// CHECK: tile.raster %{{.*}} [8, 2] group 8
// CHECK: tile.acquire %{{.*}} expect 32768
// CHECK: tile.role "consumer" warps 4 groups 2 registers 240
// The bias is loaded before the products.
// CHECK: tile.load %{{.*}} : !tile.tile<1x128xf16, #tile.layout<slice(wgmma_accumulator(128), 0)>>
// CHECK: tile.wgmma %{{.*}} accumulate %{{.*}} : !tile.accumulator<64x128xf32>
// CHECK: tile.wgmma_wait 0
// The epilogue is computed of 64 columns at a time, which are on their way to memory
// while the next are computed.
// CHECK: tile.extract %{{.*}} [0, 0] : !tile.tile<64x64xf32, #tile.layout<wgmma_accumulator(64)>>
// CHECK: tile.extract %{{.*}} [0, 0] : !tile.tile<1x64xf16, #tile.layout<slice(wgmma_accumulator(64), 0)>>
// CHECK: tile.map {{.*}} -> !tile.tile<64x64xf16, #tile.layout<wgmma_accumulator(64)>>
// CHECK: tile.tma_store
// CHECK: tile.extract %{{.*}} [0, 64] : !tile.tile<64x64xf32, #tile.layout<wgmma_accumulator(64)>>
// CHECK: tile.extract %{{.*}} [0, 64] : !tile.tile<1x64xf16, #tile.layout<slice(wgmma_accumulator(64), 0)>>
// CHECK: tile.map {{.*}} -> !tile.tile<64x64xf16, #tile.layout<wgmma_accumulator(64)>>
// CHECK: tile.tma_store
// CHECK: tile.tma_store_wait 0
module attributes {stepwell.target = "sm_90a"} {
  tile.func @fc(%x: !tile.view<1024x512xf16>, %w: !tile.view<512x256xf16>, %bias: !tile.view<256xf16>, %y: !tile.view<1024x256xf16>) grid (%i = 8, %j = 2) attributes {tile.options = {wgmma = 1 : i64}} {
    %zero = tile.full 0.0 : !tile.tile<128x128xf32>
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %c64 = arith.constant 64 : index
    %c128 = arith.constant 128 : index
    %row = arith.muli %i, %c128 : index
    %column = arith.muli %j, %c128 : index
    %sum = scf.for %s = %c0 to %c8 step %c1 iter_args(%acc = %zero) -> (!tile.tile<128x128xf32>) {
      %k = arith.muli %s, %c64 : index
      %a = tile.load %x[%row, %k] over [0, 1] : !tile.tile<128x64xf16>
      %b = tile.load %w[%k, %column] over [0, 1] : !tile.tile<64x128xf16>
      %d = tile.dot %a, %b, %acc : !tile.tile<128x128xf32>
      scf.yield %d : !tile.tile<128x128xf32>
    }
    %spread = tile.access %bias map<(m, n) -> [n]> : !tile.view<1024x256xf16>
    %e = tile.load %spread[%row, %column] over [0, 1] : !tile.tile<1x128xf16>
    %r = tile.map (%v = %sum, %u = %e) -> !tile.tile<128x128xf16> {
      %wide = arith.extf %u : f16 to f32
      %biased = arith.addf %v, %wide : f32
      %narrow = arith.truncf %biased : f32 to f16
      tile.yield %narrow : f16
    }
    tile.store %r, %y[%row, %column] over [0, 1]
    tile.return
  }
}

// -----

// The right factor is transposed in memory: the ring holds it as it lies, and the
// product reads the transposed tile.
// CHECK-LABEL: tile.func @transposed(
// CHECK: tile.shared_transpose %{{.*}} : !tile.shared<64x64xf16, #tile.layout<transpose(swizzled(64, 64, 16, 128))>>
module attributes {stepwell.target = "sm_90a"} {
  tile.func @transposed(%x: !tile.view<64x512xf16>, %w: !tile.view<64x512xf16>, %y: !tile.view<64x64xf32>) grid (%i = 1) attributes {tile.options = {wgmma = 1 : i64}} {
    %zero = tile.full 0.0 : !tile.tile<64x64xf32>
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %c64 = arith.constant 64 : index
    %sum = scf.for %s = %c0 to %c8 step %c1 iter_args(%acc = %zero) -> (!tile.tile<64x64xf32>) {
      %k = arith.muli %s, %c64 : index
      %a = tile.load %x[0, %k] over [0, 1] : !tile.tile<64x64xf16>
      %b = tile.load %w[0, %k] over [1, 0] : !tile.tile<64x64xf16>
      %d = tile.dot %a, %b, %acc : !tile.tile<64x64xf32>
      scf.yield %d : !tile.tile<64x64xf32>
    }
    tile.store %sum, %y[0, 0] over [0, 1]
    tile.return
  }
}

// -----

// Rows of 100 halves are not whole 16 bytes: TMA cannot move them.
// CHECK-LABEL: tile.func @ragged(
// CHECK-SAME: tile.not_specialised = "rows are not 16 bytes"
// CHECK: tile.dot
module attributes {stepwell.target = "sm_90a"} {
  tile.func @ragged(%x: !tile.view<64x100xf16>, %w: !tile.view<100x64xf16>, %y: !tile.view<64x64xf32>) grid (%i = 1) attributes {tile.options = {wgmma = 1 : i64}} {
    %zero = tile.full 0.0 : !tile.tile<64x64xf32>
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c64 = arith.constant 64 : index
    %sum = scf.for %s = %c0 to %c2 step %c1 iter_args(%acc = %zero) -> (!tile.tile<64x64xf32>) {
      %k = arith.muli %s, %c64 : index
      %a = tile.load %x[0, %k] over [0, 1] : !tile.tile<64x64xf16>
      %b = tile.load %w[%k, 0] over [0, 1] : !tile.tile<64x64xf16>
      %d = tile.dot %a, %b, %acc : !tile.tile<64x64xf32>
      scf.yield %d : !tile.tile<64x64xf32>
    }
    tile.store %sum, %y[0, 0] over [0, 1]
    tile.return
  }
}

// -----

// Other devices have no wgmma.
// CHECK-LABEL: tile.func @ampere(
// CHECK-NOT: tile.launch
// CHECK: tile.dot
module attributes {stepwell.target = "sm_80"} {
  tile.func @ampere(%x: !tile.view<64x64xf16>, %w: !tile.view<64x64xf16>, %y: !tile.view<64x64xf32>) grid (%i = 1) attributes {tile.options = {wgmma = 1 : i64}} {
    %zero = tile.full 0.0 : !tile.tile<64x64xf32>
    %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<64x64xf16>
    %b = tile.load %w[0, 0] over [0, 1] : !tile.tile<64x64xf16>
    %d = tile.dot %a, %b, %zero : !tile.tile<64x64xf32>
    tile.store %d, %y[0, 0] over [0, 1]
    tile.return
  }
}

// -----

// Nobody asked.
// CHECK-LABEL: tile.func @plain(
// CHECK-NOT: tile.launch
// CHECK: tile.dot
module attributes {stepwell.target = "sm_90a"} {
  tile.func @plain(%x: !tile.view<64x64xf16>, %w: !tile.view<64x64xf16>, %y: !tile.view<64x64xf32>) grid (%i = 1) {
    %zero = tile.full 0.0 : !tile.tile<64x64xf32>
    %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<64x64xf16>
    %b = tile.load %w[0, 0] over [0, 1] : !tile.tile<64x64xf16>
    %d = tile.dot %a, %b, %zero : !tile.tile<64x64xf32>
    tile.store %d, %y[0, 0] over [0, 1]
    tile.return
  }
}
