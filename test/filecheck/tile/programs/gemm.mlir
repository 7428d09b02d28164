// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// y = relu(x w^T + bias), in both halves of the dialect.

// What one cell of the grid computes: the same on every device.
// CHECK-LABEL: tile.func @gemm_upper
tile.func @gemm_upper(
    %x: !tile.view<[m, 128] f16>, %w: !tile.view<96x128xf16>,
    %bias: !tile.view<96xf16>, %y: !tile.view<[m, 96] f16>)
    symbols [m] grid (%i = ceildiv(m, 32), %j = 2) {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %c48 = arith.constant 48 : index
  %c128 = arith.constant 128 : index
  %row = arith.muli %i, %c32 : index
  %column = arith.muli %j, %c48 : index
  %zero = tile.full 0.0 : !tile.tile<32x48xf32>
  // CHECK: scf.for
  %sum = scf.for %k = %c0 to %c128 step %c32 iter_args(%acc = %zero) -> (!tile.tile<32x48xf32>) {
    // CHECK: tile.load %{{.*}}[%{{.*}}, %{{.*}}] over [0, 1] : !tile.tile<32x32xf16>
    %a = tile.load %x[%row, %k] over [0, 1] : !tile.tile<32x32xf16>
    // A tile over the dims the other way round is the transposed one.
    // CHECK: tile.load %{{.*}}[%{{.*}}, %{{.*}}] over [1, 0] : !tile.tile<32x48xf16>
    %b = tile.load %w[%column, %k] over [1, 0] : !tile.tile<32x48xf16>
    // CHECK: tile.dot %{{.*}}, %{{.*}}, %{{.*}} : !tile.tile<32x48xf32>
    %next = tile.dot %a, %b, %acc : !tile.tile<32x48xf32>
    scf.yield %next : !tile.tile<32x48xf32>
  }
  %rows = tile.access %bias map<(m, n) -> [n]> : !tile.view<1x96xf16>
  %b = tile.load %rows[0, %column] over [0, 1] : !tile.tile<1x48xf16>
  // CHECK: tile.map (%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}) -> !tile.tile<32x48xf16> {
  %result = tile.map (%s = %sum, %e = %b) -> !tile.tile<32x48xf16> {
    %none = arith.constant 0.0 : f32
    %wide = arith.extf %e : f16 to f32
    %biased = arith.addf %s, %wide : f32
    %positive = arith.maximumf %biased, %none : f32
    %narrow = arith.truncf %positive : f32 to f16
    tile.yield %narrow : f16
  }
  // CHECK: tile.store %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] over [0, 1]
  tile.store %result, %y[%row, %column] over [0, 1]
  tile.return
}

// How a Hopper block computes it: 4096 x 768 x 3072, persistent, a producer that feeds a
// ring by TMA, and two consumer warpgroups of 64 x 256 each.
#a = #tile.layout<swizzled(128, 64, 16, 128)>
#b = #tile.layout<swizzled(256, 64, 16, 128)>
#bt = #tile.layout<transpose(swizzled(256, 64, 16, 128))>
#c = #tile.layout<swizzled(64, 64, 16, 128)>
#acc = #tile.layout<wgmma_accumulator(256)>
#part = #tile.layout<wgmma_accumulator(64)>
#row = #tile.layout<slice(wgmma_accumulator(256), 0)>
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: tile.func @gemm_hopper
tile.func @gemm_hopper(
    %x: !tile.tensor_map<4096x3072xf16 over [0, 1], !tile.shared<128x64xf16, #a>>,
    %w: !tile.tensor_map<768x3072xf16 over [0, 1], !tile.shared<256x64xf16, #b>>,
    %bias: !tile.view<768xf16>,
    %y: !tile.tensor_map<4096x768xf16 over [0, 1], !tile.shared<64x64xf16, #c>>)
    grid (%block = 132) attributes {tile.launch = #tile.launch<warps = 12>} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %c256 = arith.constant 256 : index
  %steps = arith.constant 48 : index
  %tiles = arith.constant 96 : index
  %blocks = arith.constant 132 : index
  // CHECK: tile.ring consumers 8 : !tile.ring<4, !tile.shared<128x64xf16, #tile.layout<swizzled(128, 64, 16, 128)>>, !tile.shared<256x64xf16
  %ring = tile.ring consumers 8 : !tile.ring<4, !tile.shared<128x64xf16, #a>, !tile.shared<256x64xf16, #b>>
  tile.dependency_launch
  tile.dependency_wait
  // CHECK: tile.specialise {
  tile.specialise {
    // CHECK: tile.role "producer" warps 4 registers 24 (%{{.*}}) {
    tile.role "producer" warps 4 registers 24 (%g) {
      // CHECK: tile.elect {
      tile.elect {
        %first = tile.cursor : !tile.cursor<4>
        scf.for %t = %block to %tiles step %blocks iter_args(%c = %first) -> (!tile.cursor<4>) {
          %m, %n = tile.raster %t [32, 3] group 8
          %row = arith.muli %m, %c128 : index
          %column = arith.muli %n, %c256 : index
          %last = scf.for %s = %c0 to %steps step %c1 iter_args(%at = %c) -> (!tile.cursor<4>) {
            %k = arith.muli %s, %c64 : index
            // CHECK: tile.acquire %{{.*}}[%{{.*}}] expect 49152
            %slot, %a, %b = tile.acquire %ring[%at] expect 49152
            // CHECK: tile.tma_load %{{.*}}[%{{.*}}, %{{.*}}] to %{{.*}} in %{{.*}}
            tile.tma_load %x[%row, %k] to %a in %slot
            tile.tma_load %w[%column, %k] to %b in %slot
            // CHECK: tile.commit
            tile.commit %slot
            %next = tile.advance %at : !tile.cursor<4>
            scf.yield %next : !tile.cursor<4>
          }
          scf.yield %last : !tile.cursor<4>
        }
      }
    }
    // CHECK: tile.role "consumer" warps 4 groups 2 registers 240 (%{{.*}}) {
    tile.role "consumer" warps 4 groups 2 registers 240 (%g) {
      // CHECK: tile.staging : !tile.staging<2, !tile.shared<64x64xf16
      %out = tile.staging : !tile.staging<2, !tile.shared<64x64xf16, #c>>
      %mine = arith.muli %g, %c64 : index
      %first = tile.cursor : !tile.cursor<4>
      %buffer = tile.cursor : !tile.cursor<2>
      scf.for %t = %block to %tiles step %blocks iter_args(%c = %first, %o = %buffer) -> (!tile.cursor<4>, !tile.cursor<2>) {
        %m, %n = tile.raster %t [32, 3] group 8
        %row0 = arith.muli %m, %c128 : index
        %row = arith.addi %row0, %mine : index
        %column = arith.muli %n, %c256 : index
        // The bias is loaded before the products, so that its latency is hidden.
        %rows = tile.access %bias map<(m, n) -> [n]> : !tile.view<1x768xf16>
        %e = tile.load %rows[0, %column] over [0, 1] : !tile.tile<1x256xf16, #row>
        %none = tile.accumulator : !tile.accumulator<64x256xf32>
        %sum, %last, %previous = scf.for %s = %c0 to %steps step %c1 iter_args(%acc = %none, %at = %c, %before = %c) -> (!tile.accumulator<64x256xf32>, !tile.cursor<4>, !tile.cursor<4>) {
          %a, %b = tile.wait %ring[%at]
          // CHECK: tile.shared_slice %{{.*}}[%{{.*}}, 0] : !tile.shared<64x64xf16, #tile.layout<swizzled(128, 64, 16, 128)>>
          %am = tile.shared_slice %a[%mine, 0] : !tile.shared<64x64xf16, #a>
          %bk = tile.shared_transpose %b : !tile.shared<64x256xf16, #bt>
          %again = arith.cmpi ne, %s, %c0 : index
          // CHECK: tile.wgmma %{{.*}}, %{{.*}}, %{{.*}} accumulate %{{.*}} : !tile.accumulator<64x256xf32>
          %more = tile.wgmma %am, %bk, %acc accumulate %again : !tile.accumulator<64x256xf32>
          // CHECK: tile.wgmma_wait 1
          tile.wgmma_wait 1
          // CHECK: tile.release %{{.*}}[%{{.*}}] if %{{.*}}
          tile.release %ring[%before] if %again
          %next = tile.advance %at : !tile.cursor<4>
          scf.yield %more, %next, %at : !tile.accumulator<64x256xf32>, !tile.cursor<4>, !tile.cursor<4>
        }
        // CHECK: tile.wgmma_wait 0, %{{.*}} : !tile.tile<64x256xf32, #tile.layout<wgmma_accumulator(256)>>
        %ready = tile.wgmma_wait 0, %sum : !tile.tile<64x256xf32, #acc>
        tile.release %ring[%previous]
        %result = tile.map (%v = %ready, %u = %e) -> !tile.tile<64x256xf16, #acc> {
          %zero = arith.constant 0.0 : f32
          %wide = arith.extf %u : f16 to f32
          %biased = arith.addf %v, %wide : f32
          %positive = arith.maximumf %biased, %zero : f32
          %narrow = arith.truncf %positive : f32 to f16
          tile.yield %narrow : f16
        }
        %p0 = tile.extract %result [0, 0] : !tile.tile<64x64xf16, #part>
        %p1 = tile.extract %result [0, 64] : !tile.tile<64x64xf16, #part>
        %p2 = tile.extract %result [0, 128] : !tile.tile<64x64xf16, #part>
        %p3 = tile.extract %result [0, 192] : !tile.tile<64x64xf16, #part>
        // CHECK: tile.stage
        %s0 = tile.stage %out[%o]
        tile.shared_store %p0, %s0
        tile.fence_async
        tile.barrier group
        tile.elect {
          // CHECK: tile.tma_store %{{.*}} to %{{.*}}[%{{.*}}, %{{.*}}]
          tile.tma_store %s0 to %y[%row, %column]
        }
        %o1 = tile.advance %o : !tile.cursor<2>
        %s1 = tile.stage %out[%o1]
        tile.shared_store %p1, %s1
        tile.fence_async
        tile.barrier group
        %column1 = arith.addi %column, %c64 : index
        tile.elect {
          tile.tma_store %s1 to %y[%row, %column1]
        }
        %o2 = tile.advance %o1 : !tile.cursor<2>
        %s2 = tile.stage %out[%o2]
        tile.shared_store %p2, %s2
        tile.fence_async
        tile.barrier group
        %column2 = arith.addi %column1, %c64 : index
        tile.elect {
          tile.tma_store %s2 to %y[%row, %column2]
        }
        %o3 = tile.advance %o2 : !tile.cursor<2>
        %s3 = tile.stage %out[%o3]
        tile.shared_store %p3, %s3
        tile.fence_async
        tile.barrier group
        %column3 = arith.addi %column2, %c64 : index
        tile.elect {
          tile.tma_store %s3 to %y[%row, %column3]
        }
        %o4 = tile.advance %o3 : !tile.cursor<2>
        scf.yield %last, %o4 : !tile.cursor<4>, !tile.cursor<2>
      }
      tile.elect {
        // CHECK: tile.tma_store_wait 0
        tile.tma_store_wait 0
      }
    }
  }
  tile.return
}
}
