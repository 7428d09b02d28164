// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// The smallest pipelined product. test/unit/dialects/test_tile_rules.py breaks each of
// its rules in turn.

// CHECK: tile.func @k
// CHECK: tile.specialise {
#a = #tile.layout<swizzled(64, 64, 16, 128)>
#b = #tile.layout<swizzled(128, 64, 16, 128)>
#bt = #tile.layout<transpose(swizzled(128, 64, 16, 128))>
#acc = #tile.layout<wgmma_accumulator(128)>
module attributes {stepwell.target = "sm_90a"} {
tile.func @k(
    %x: !tile.tensor_map<512x256xf16 over [0, 1], !tile.shared<64x64xf16, #a>>,
    %w: !tile.tensor_map<128x256xf16 over [0, 1], !tile.shared<128x64xf16, #b>>,
    %y: !tile.view<512x128xf32>)
    grid (%i = 8) attributes {tile.launch = #tile.launch<warps = 8>} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c64 = arith.constant 64 : index
  %row = arith.muli %i, %c64 : index
  %ring = tile.ring consumers 4 : !tile.ring<3, !tile.shared<64x64xf16, #a>, !tile.shared<128x64xf16, #b>>
  tile.specialise {
    tile.role "producer" warps 4 registers 40 (%g) {
      tile.elect {
        %first = tile.cursor : !tile.cursor<3>
        %end = scf.for %s = %c0 to %c4 step %c1 iter_args(%at = %first) -> (!tile.cursor<3>) {
          %k = arith.muli %s, %c64 : index
          %slot, %a, %b = tile.acquire %ring[%at] expect 24576
          tile.tma_load %x[%row, %k] to %a in %slot
          tile.tma_load %w[0, %k] to %b in %slot
          tile.commit %slot
          %next = tile.advance %at : !tile.cursor<3>
          scf.yield %next : !tile.cursor<3>
        }
      }
    }
    tile.role "consumer" warps 4 registers 232 (%g) {
      %first = tile.cursor : !tile.cursor<3>
      %none = tile.accumulator : !tile.accumulator<64x128xf32>
      %sum, %end, %last = scf.for %s = %c0 to %c4 step %c1 iter_args(%acc = %none, %at = %first, %before = %first) -> (!tile.accumulator<64x128xf32>, !tile.cursor<3>, !tile.cursor<3>) {
        %a, %b = tile.wait %ring[%at]
        %bk = tile.shared_transpose %b : !tile.shared<64x128xf16, #bt>
        %again = arith.cmpi ne, %s, %c0 : index
        %more = tile.wgmma %a, %bk, %acc accumulate %again : !tile.accumulator<64x128xf32>
        tile.wgmma_wait 1
        tile.release %ring[%before] if %again
        %next = tile.advance %at : !tile.cursor<3>
        scf.yield %more, %next, %at : !tile.accumulator<64x128xf32>, !tile.cursor<3>, !tile.cursor<3>
      }
      %ready = tile.wgmma_wait 0, %sum : !tile.tile<64x128xf32, #acc>
      tile.release %ring[%last]
      tile.store %ready, %y[%row, 0] over [0, 1]
    }
  }
  tile.return
}
}
