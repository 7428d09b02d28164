// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// softmax(scale q k^T) v with one pass over k and v (online softmax).

// One cell: 32 queries of one head. The running row maximum m, sum l and output o.
// CHECK-LABEL: tile.func @attention_upper
tile.func @attention_upper(
    %q: !tile.view<[heads, seq, 16] f32>, %k: !tile.view<[heads, seq, 16] f32>,
    %v: !tile.view<[heads, seq, 16] f32>, %y: !tile.view<[heads, seq, 16] f32>)
    symbols [heads, seq] grid (%h = heads, %i = ceildiv(seq, 32)) {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  // CHECK: tile.dim "seq"
  %n = tile.dim "seq"
  %row = arith.muli %i, %c32 : index
  %queries = tile.load %q[%h, %row, 0] over [1, 2] : !tile.tile<32x16xf32>
  // A running maximum that starts at a finite power of two keeps masked rows finite.
  %m0 = tile.full -1267650600228229401496703205376.0 : !tile.tile<32x1xf32>
  %l0 = tile.full 0.0 : !tile.tile<32x1xf32>
  %o0 = tile.full 0.0 : !tile.tile<32x16xf32>
  %none = tile.full 0.0 : !tile.tile<32x32xf32>
  %column = tile.iota dim 1 : !tile.tile<1x32xindex>
  %m, %l, %o = scf.for %j = %c0 to %n step %c32 iter_args(%mi = %m0, %li = %l0, %oi = %o0) -> (!tile.tile<32x1xf32>, !tile.tile<32x1xf32>, !tile.tile<32x16xf32>) {
    // CHECK: tile.load %{{.*}}[%{{.*}}, %{{.*}}, 0] over [2, 1] : !tile.tile<16x32xf32>
    %keys = tile.load %k[%h, %j, 0] over [2, 1] : !tile.tile<16x32xf32>
    %raw = tile.dot %queries, %keys, %none : !tile.tile<32x32xf32>
    // scale * log2(e), and -inf past the last key.
    %s = tile.map (%x = %raw, %c = %column) -> !tile.tile<32x32xf32> {
      %scale = arith.constant 0.36067376 : f32
      %out = arith.constant 0xFF800000 : f32
      %scaled = arith.mulf %x, %scale : f32
      %at = arith.addi %c, %j : index
      %inside = arith.cmpi slt, %at, %n : index
      %masked = arith.select %inside, %scaled, %out : f32
      tile.yield %masked : f32
    }
    // CHECK: tile.reduce max %{{.*}} dim 1 : !tile.tile<32x1xf32>
    %top = tile.reduce max %s dim 1 : !tile.tile<32x1xf32>
    // CHECK: tile.map (%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}) -> (!tile.tile<32x1xf32>, !tile.tile<32x1xf32>) {
    %mn, %alpha = tile.map (%a = %mi, %b = %top) -> (!tile.tile<32x1xf32>, !tile.tile<32x1xf32>) {
      %new = arith.maximumf %a, %b : f32
      %down = arith.subf %a, %new : f32
      %factor = math.exp2 %down : f32
      tile.yield %new, %factor : f32, f32
    }
    %p = tile.map (%x = %s, %mm = %mn) -> !tile.tile<32x32xf32> {
      %d = arith.subf %x, %mm : f32
      %e = math.exp2 %d : f32
      tile.yield %e : f32
    }
    %part = tile.reduce add %p dim 1 : !tile.tile<32x1xf32>
    %ln = tile.map (%a = %li, %f = %alpha, %b = %part) -> !tile.tile<32x1xf32> {
      %t = arith.mulf %a, %f : f32
      %u = arith.addf %t, %b : f32
      tile.yield %u : f32
    }
    %scaled = tile.map (%a = %oi, %f = %alpha) -> !tile.tile<32x16xf32> {
      %t = arith.mulf %a, %f : f32
      tile.yield %t : f32
    }
    %values = tile.load %v[%h, %j, 0] over [1, 2] : !tile.tile<32x16xf32>
    %on = tile.dot %p, %values, %scaled : !tile.tile<32x16xf32>
    scf.yield %mn, %ln, %on : !tile.tile<32x1xf32>, !tile.tile<32x1xf32>, !tile.tile<32x16xf32>
  }
  %result = tile.map (%a = %o, %b = %l) -> !tile.tile<32x16xf32> {
    %t = arith.divf %a, %b : f32
    tile.yield %t : f32
  }
  tile.store %result, %y[%h, %row, 0] over [1, 2]
  tile.return
}

// [2, 16, 2048, 128] in f16 on Hopper: two consumer warpgroups of 64 queries; the product
// of block j+1 with the keys is issued before the softmax of block j, and P is the left
// operand of the second product from registers, by a renaming.
#q = #tile.layout<swizzled(128, 128, 16, 128)>
#kt = #tile.layout<transpose(swizzled(128, 128, 16, 128))>
#o = #tile.layout<swizzled(64, 128, 16, 128)>
#s = #tile.layout<wgmma_accumulator(128)>
#p = #tile.layout<wgmma_a(128, 16)>
#r = #tile.layout<slice(wgmma_accumulator(128), 1)>
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: tile.func @attention_hopper
tile.func @attention_hopper(
    %q: !tile.tensor_map<2x16x2048x128xf16 over [2, 3], !tile.shared<128x128xf16, #q>>,
    %k: !tile.tensor_map<2x16x2048x128xf16 over [2, 3], !tile.shared<128x128xf16, #q>>,
    %v: !tile.tensor_map<2x16x2048x128xf16 over [2, 3], !tile.shared<128x128xf16, #q>>,
    %y: !tile.tensor_map<2x16x2048x128xf16 over [2, 3], !tile.shared<64x128xf16, #o>>)
    grid (%b = 2, %h = 16, %i = 16) attributes {tile.launch = #tile.launch<warps = 12>} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %steps = arith.constant 16 : index
  // Keys and values have barriers of their own on one stage index: two rings, one cursor.
  %queries = tile.ring consumers 8 : !tile.ring<1, !tile.shared<128x128xf16, #q>>
  %keys = tile.ring consumers 8 : !tile.ring<2, !tile.shared<128x128xf16, #q>>
  %values = tile.ring consumers 8 : !tile.ring<2, !tile.shared<128x128xf16, #q>>
  tile.dependency_wait
  %row = arith.muli %i, %c128 : index
  tile.specialise {
    tile.role "producer" warps 4 registers 24 (%g) {
      tile.elect {
        %once = tile.cursor : !tile.cursor<1>
        %slot, %qs = tile.acquire %queries[%once] expect 32768
        tile.tma_load %q[%b, %h, %row, 0] to %qs in %slot
        tile.commit %slot
        %first = tile.cursor : !tile.cursor<2>
        scf.for %j = %c0 to %steps step %c1 iter_args(%at = %first) -> (!tile.cursor<2>) {
          %column = arith.muli %j, %c128 : index
          %kslot, %ks = tile.acquire %keys[%at] expect 32768
          tile.tma_load %k[%b, %h, %column, 0] to %ks in %kslot
          tile.commit %kslot
          %vslot, %vs = tile.acquire %values[%at] expect 32768
          tile.tma_load %v[%b, %h, %column, 0] to %vs in %vslot
          tile.commit %vslot
          %next = tile.advance %at : !tile.cursor<2>
          scf.yield %next : !tile.cursor<2>
        }
      }
    }
    tile.role "consumer" warps 4 groups 2 registers 240 (%g) {
      %out = tile.staging : !tile.staging<1, !tile.shared<64x128xf16, #o>>
      %mine = arith.muli %g, %c64 : index
      %once = tile.cursor : !tile.cursor<1>
      %first = tile.cursor : !tile.cursor<2>
      %qs = tile.wait %queries[%once]
      %qm = tile.shared_slice %qs[%mine, 0] : !tile.shared<64x128xf16, #q>
      %k0 = tile.wait %keys[%first]
      %k0t = tile.shared_transpose %k0 : !tile.shared<128x128xf16, #kt>
      %s0 = tile.wgmma %qm, %k0t : !tile.accumulator<64x128xf32>
      %scores0 = tile.wgmma_wait 0, %s0 : !tile.tile<64x128xf32, #s>
      tile.release %keys[%first]
      %m0 = tile.full -1267650600228229401496703205376.0 : !tile.tile<64x1xf32, #r>
      %l0 = tile.full 0.0 : !tile.tile<64x1xf32, #r>
      %m1, %a1 = tile.map (%a = %m0) -> (!tile.tile<64x1xf32, #r>, !tile.tile<64x1xf32, #r>) {
        %one = arith.constant 1.0 : f32
        tile.yield %a, %one : f32, f32
      }
      %n0 = tile.accumulator : !tile.accumulator<64x128xf32>
      %tm, %tl, %ts, %to, %tc = scf.for %j = %c1 to %steps step %c1 iter_args(%mi = %m1, %li = %l0, %si = %scores0, %oi = %n0, %at = %first) -> (!tile.tile<64x1xf32, #r>, !tile.tile<64x1xf32, #r>, !tile.tile<64x128xf32, #s>, !tile.accumulator<64x128xf32>, !tile.cursor<2>) {
        // The softmax of block j - 1.
        %top = tile.reduce max %si dim 1 : !tile.tile<64x1xf32, #r>
        %mn, %alpha = tile.map (%a = %mi, %c = %top) -> (!tile.tile<64x1xf32, #r>, !tile.tile<64x1xf32, #r>) {
          %scale = arith.constant 0.12751743 : f32
          %new = arith.maximumf %a, %c : f32
          %down = arith.subf %a, %new : f32
          %scaled = arith.mulf %down, %scale : f32
          %factor = math.exp2 %scaled : f32
          tile.yield %new, %factor : f32, f32
        }
        %p32, %p16 = tile.map (%x = %si, %mm = %mn) -> (!tile.tile<64x128xf32, #s>, !tile.tile<64x128xf16, #s>) {
          %scale = arith.constant 0.12751743 : f32
          %d = arith.subf %x, %mm : f32
          %t = arith.mulf %d, %scale : f32
          %e = math.exp2 %t : f32
          %f = arith.truncf %e : f32 to f16
          tile.yield %e, %f : f32, f16
        }
        %part = tile.reduce add %p32 dim 1 : !tile.tile<64x1xf32, #r>
        %ln = tile.map (%a = %li, %f = %alpha, %c = %part) -> !tile.tile<64x1xf32, #r> {
          %t = arith.mulf %a, %f : f32
          %u = arith.addf %t, %c : f32
          tile.yield %u : f32
        }
        // CHECK: tile.convert_layout %{{.*}} : !tile.tile<64x128xf16, #tile.layout<wgmma_a(128, 16)>>
        %p = tile.convert_layout %p16 : !tile.tile<64x128xf16, #p>
        // O times alpha, then both products: the next scores, and P V.
        // CHECK: tile.wgmma_wait 0, %{{.*}} : !tile.tile<64x128xf32
        %od = tile.wgmma_wait 0, %oi : !tile.tile<64x128xf32, #s>
        %os = tile.map (%a = %od, %f = %alpha) -> !tile.tile<64x128xf32, #s> {
          %t = arith.mulf %a, %f : f32
          tile.yield %t : f32
        }
        // CHECK: tile.accumulator %{{.*}} : !tile.accumulator<64x128xf32>
        %ob = tile.accumulator %os : !tile.accumulator<64x128xf32>
        %next = tile.advance %at : !tile.cursor<2>
        %ks = tile.wait %keys[%next]
        %vs = tile.wait %values[%at]
        %kt = tile.shared_transpose %ks : !tile.shared<128x128xf16, #kt>
        // CHECK: tile.wgmma %{{.*}}, %{{.*}} : !tile.accumulator<64x128xf32>
        %sn = tile.wgmma %qm, %kt : !tile.accumulator<64x128xf32>
        %again = arith.cmpi ne, %j, %c1 : index
        // CHECK: tile.wgmma %{{.*}}, %{{.*}}, %{{.*}} accumulate %{{.*}} : !tile.accumulator<64x128xf32>
        %on = tile.wgmma %p, %vs, %ob accumulate %again : !tile.accumulator<64x128xf32>
        // CHECK: tile.wgmma_wait 1, %{{.*}} : !tile.tile<64x128xf32
        %sd = tile.wgmma_wait 1, %sn : !tile.tile<64x128xf32, #s>
        tile.release %keys[%next]
        tile.wgmma_wait 0
        tile.release %values[%at]
        scf.yield %mn, %ln, %sd, %on, %next : !tile.tile<64x1xf32, #r>, !tile.tile<64x1xf32, #r>, !tile.tile<64x128xf32, #s>, !tile.accumulator<64x128xf32>, !tile.cursor<2>
      }
      tile.release %queries[%once]
      // The last block.
      %top = tile.reduce max %ts dim 1 : !tile.tile<64x1xf32, #r>
      %mn, %alpha = tile.map (%a = %tm, %c = %top) -> (!tile.tile<64x1xf32, #r>, !tile.tile<64x1xf32, #r>) {
        %scale = arith.constant 0.12751743 : f32
        %new = arith.maximumf %a, %c : f32
        %down = arith.subf %a, %new : f32
        %scaled = arith.mulf %down, %scale : f32
        %factor = math.exp2 %scaled : f32
        tile.yield %new, %factor : f32, f32
      }
      %p32, %p16 = tile.map (%x = %ts, %mm = %mn) -> (!tile.tile<64x128xf32, #s>, !tile.tile<64x128xf16, #s>) {
        %scale = arith.constant 0.12751743 : f32
        %d = arith.subf %x, %mm : f32
        %t = arith.mulf %d, %scale : f32
        %e = math.exp2 %t : f32
        %f = arith.truncf %e : f32 to f16
        tile.yield %e, %f : f32, f16
      }
      %part = tile.reduce add %p32 dim 1 : !tile.tile<64x1xf32, #r>
      %p = tile.convert_layout %p16 : !tile.tile<64x128xf16, #p>
      %od = tile.wgmma_wait 0, %to : !tile.tile<64x128xf32, #s>
      %os = tile.map (%a = %od, %f = %alpha) -> !tile.tile<64x128xf32, #s> {
        %t = arith.mulf %a, %f : f32
        tile.yield %t : f32
      }
      %ob = tile.accumulator %os : !tile.accumulator<64x128xf32>
      %vs = tile.wait %values[%tc]
      %on = tile.wgmma %p, %vs, %ob : !tile.accumulator<64x128xf32>
      %of = tile.wgmma_wait 0, %on : !tile.tile<64x128xf32, #s>
      tile.release %values[%tc]
      %result = tile.map (%a = %of, %f = %alpha, %l = %tl, %c = %part) -> !tile.tile<64x128xf16, #s> {
        %one = arith.constant 1.0 : f32
        %t = arith.mulf %l, %f : f32
        %sum = arith.addf %t, %c : f32
        %inverse = arith.divf %one, %sum : f32
        %scaled = arith.mulf %a, %inverse : f32
        %narrow = arith.truncf %scaled : f32 to f16
        tile.yield %narrow : f16
      }
      %cell = tile.cursor : !tile.cursor<1>
      %buffer = tile.stage %out[%cell]
      tile.shared_store %result, %buffer
      tile.fence_async
      tile.barrier group
      %place = arith.addi %row, %mine : index
      tile.elect {
        tile.tma_store %buffer to %y[%b, %h, %place, 0]
        tile.tma_store_wait 0
      }
    }
  }
  tile.return
}
}
