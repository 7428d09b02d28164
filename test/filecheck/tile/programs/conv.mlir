// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// A 3x3 convolution with bias and ReLU as a product of windows and weights.

// One cell computes 14 output pixels of a row, of 32 channels.
// CHECK-LABEL: tile.func @conv_upper
tile.func @conv_upper(
    %x: !tile.view<2x14x14x16xf32>, %w: !tile.view<3x3x16x32xf32>,
    %bias: !tile.view<32xf32>, %y: !tile.view<2x14x14x32xf32>)
    grid (%n = 2, %p = 14) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  // The window as an access map: padding is a guard, nothing is copied.
  // CHECK: tile.access %{{.*}} map<(n, p, q, r, s, c) -> [n, p + r - 1, q + s - 1, c] where [p + r - 1 < 14, q + s - 1 < 14] else 0.0>
  %windows = tile.access %x map<(n, p, q, r, s, c) -> [n, p + r - 1, q + s - 1, c] where [p + r - 1 < 14, q + s - 1 < 14] else 0.0> : !tile.view<2x14x14x3x3x16xf32>
  %zero = tile.full 0.0 : !tile.tile<14x32xf32>
  %sum = scf.for %r = %c0 to %c3 step %c1 iter_args(%outer = %zero) -> (!tile.tile<14x32xf32>) {
    %row = scf.for %s = %c0 to %c3 step %c1 iter_args(%acc = %outer) -> (!tile.tile<14x32xf32>) {
      // CHECK: tile.load %{{.*}}[%{{.*}}, %{{.*}}, 0, %{{.*}}, %{{.*}}, 0] over [2, 5] : !tile.tile<14x16xf32>
      %a = tile.load %windows[%n, %p, 0, %r, %s, 0] over [2, 5] : !tile.tile<14x16xf32>
      %b = tile.load %w[%r, %s, 0, 0] over [2, 3] : !tile.tile<16x32xf32>
      %next = tile.dot %a, %b, %acc : !tile.tile<14x32xf32>
      scf.yield %next : !tile.tile<14x32xf32>
    }
    scf.yield %row : !tile.tile<14x32xf32>
  }
  %rows = tile.access %bias map<(q, o) -> [o]> : !tile.view<1x32xf32>
  %b = tile.load %rows[0, 0] over [0, 1] : !tile.tile<1x32xf32>
  %result = tile.map (%v = %sum, %u = %b) -> !tile.tile<14x32xf32> {
    %none = arith.constant 0.0 : f32
    %biased = arith.addf %v, %u : f32
    %positive = arith.maximumf %biased, %none : f32
    tile.yield %positive : f32
  }
  tile.store %result, %y[%n, %p, 0, 0] over [2, 3]
  tile.return
}

// 64 images of 28x28 with 128 channels: rows of a tile are output pixels in one long
// line, which TMA walks over (im2col); so tiles cross rows and images freely. The weights
// are [tap, out, in], the output [pixel, channel].
#x = #tile.layout<swizzled(128, 64, 16, 128)>
#w = #tile.layout<swizzled(128, 64, 16, 128)>
#wt = #tile.layout<transpose(swizzled(128, 64, 16, 128))>
#y = #tile.layout<swizzled(64, 64, 16, 128)>
#acc = #tile.layout<wgmma_accumulator(128)>
#part = #tile.layout<wgmma_accumulator(64)>
#row = #tile.layout<slice(wgmma_accumulator(128), 0)>
#window = #tile.window<kernel = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: tile.func @conv_hopper
tile.func @conv_hopper(
    // CHECK-SAME: !tile.tensor_map<64x28x28x128xf16 over [0, 3], !tile.shared<128x64xf16, {{.*}}>, #tile.window<kernel = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
    %x: !tile.tensor_map<64x28x28x128xf16 over [0, 3], !tile.shared<128x64xf16, #x>, #window>,
    %w: !tile.tensor_map<9x128x128xf16 over [1, 2], !tile.shared<128x64xf16, #w>>,
    %bias: !tile.view<128xf16>,
    %y: !tile.tensor_map<50176x128xf16 over [0, 1], !tile.shared<64x64xf16, #y>>)
    grid (%block = 132) attributes {tile.launch = #tile.launch<warps = 12>} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c28 = arith.constant 28 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %pixels = arith.constant 784 : index
  %steps = arith.constant 18 : index
  %tiles = arith.constant 392 : index
  %blocks = arith.constant 132 : index
  %ring = tile.ring consumers 8 : !tile.ring<5, !tile.shared<128x64xf16, #x>, !tile.shared<128x64xf16, #w>>
  tile.dependency_launch
  tile.dependency_wait
  tile.specialise {
    tile.role "producer" warps 4 registers 24 (%g) {
      tile.elect {
        %first = tile.cursor : !tile.cursor<5>
        scf.for %t = %block to %tiles step %blocks iter_args(%c = %first) -> (!tile.cursor<5>) {
          // The first pixel of the tile, and the corner where its window starts.
          %pixel = arith.muli %t, %c128 : index
          %n = arith.divui %pixel, %pixels : index
          %inside = arith.remui %pixel, %pixels : index
          %p = arith.divui %inside, %c28 : index
          %q = arith.remui %inside, %c28 : index
          %h = arith.subi %p, %c1 : index
          %v = arith.subi %q, %c1 : index
          %last = scf.for %s = %c0 to %steps step %c1 iter_args(%at = %c) -> (!tile.cursor<5>) {
            %tap = arith.divui %s, %c2 : index
            %half = arith.remui %s, %c2 : index
            %channel = arith.muli %half, %c64 : index
            %kr = arith.divui %tap, %c3 : index
            %ks = arith.remui %tap, %c3 : index
            %slot, %a, %b = tile.acquire %ring[%at] expect 32768
            // CHECK: tile.tma_load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] offset [%{{.*}}, %{{.*}}] to %{{.*}} in %{{.*}}
            tile.tma_load %x[%n, %h, %v, %channel] offset [%kr, %ks] to %a in %slot
            // CHECK: tile.tma_load %{{.*}}[%{{.*}}, 0, %{{.*}}] to %{{.*}} in %{{.*}}
            tile.tma_load %w[%tap, 0, %channel] to %b in %slot
            tile.commit %slot
            %next = tile.advance %at : !tile.cursor<5>
            scf.yield %next : !tile.cursor<5>
          }
          scf.yield %last : !tile.cursor<5>
        }
      }
    }
    tile.role "consumer" warps 4 groups 2 registers 240 (%g) {
      %out = tile.staging : !tile.staging<2, !tile.shared<64x64xf16, #y>>
      %mine = arith.muli %g, %c64 : index
      %first = tile.cursor : !tile.cursor<5>
      %buffer = tile.cursor : !tile.cursor<2>
      scf.for %t = %block to %tiles step %blocks iter_args(%c = %first, %o = %buffer) -> (!tile.cursor<5>, !tile.cursor<2>) {
        %pixel0 = arith.muli %t, %c128 : index
        %pixel = arith.addi %pixel0, %mine : index
        %rows = tile.access %bias map<(m, n) -> [n]> : !tile.view<1x128xf16>
        %e = tile.load %rows[0, 0] over [0, 1] : !tile.tile<1x128xf16, #row>
        %none = tile.accumulator : !tile.accumulator<64x128xf32>
        %sum, %last, %previous = scf.for %s = %c0 to %steps step %c1 iter_args(%acc = %none, %at = %c, %before = %c) -> (!tile.accumulator<64x128xf32>, !tile.cursor<5>, !tile.cursor<5>) {
          %a, %b = tile.wait %ring[%at]
          %am = tile.shared_slice %a[%mine, 0] : !tile.shared<64x64xf16, #x>
          %bk = tile.shared_transpose %b : !tile.shared<64x128xf16, #wt>
          %again = arith.cmpi ne, %s, %c0 : index
          %more = tile.wgmma %am, %bk, %acc accumulate %again : !tile.accumulator<64x128xf32>
          tile.wgmma_wait 1
          tile.release %ring[%before] if %again
          %next = tile.advance %at : !tile.cursor<5>
          scf.yield %more, %next, %at : !tile.accumulator<64x128xf32>, !tile.cursor<5>, !tile.cursor<5>
        }
        %ready = tile.wgmma_wait 0, %sum : !tile.tile<64x128xf32, #acc>
        tile.release %ring[%previous]
        %result = tile.map (%v = %ready, %u = %e) -> !tile.tile<64x128xf16, #acc> {
          %zero = arith.constant 0.0 : f32
          %wide = arith.extf %u : f16 to f32
          %biased = arith.addf %v, %wide : f32
          %positive = arith.maximumf %biased, %zero : f32
          %narrow = arith.truncf %positive : f32 to f16
          tile.yield %narrow : f16
        }
        %p0 = tile.extract %result [0, 0] : !tile.tile<64x64xf16, #part>
        %p1 = tile.extract %result [0, 64] : !tile.tile<64x64xf16, #part>
        %s0 = tile.stage %out[%o]
        tile.shared_store %p0, %s0
        tile.fence_async
        tile.barrier group
        tile.elect {
          tile.tma_store %s0 to %y[%pixel, 0]
        }
        %o1 = tile.advance %o : !tile.cursor<2>
        %s1 = tile.stage %out[%o1]
        tile.shared_store %p1, %s1
        tile.fence_async
        tile.barrier group
        tile.elect {
          // The last tile hangs over the end: TMA clips it.
          // CHECK: tile.tma_store %{{.*}} to %{{.*}}[%{{.*}}, 64]
          tile.tma_store %s1 to %y[%pixel, 64]
        }
        %o2 = tile.advance %o1 : !tile.cursor<2>
        scf.yield %last, %o2 : !tile.cursor<5>, !tile.cursor<2>
      }
      tile.elect {
        tile.tma_store_wait 0
      }
    }
  }
  tile.return
}
}
