// RUN: not stepwell-opt %s -p convert-tile-to-llvm 2>&1 | filecheck %s

// CHECK: error: expected an element type that kernels can compute in, got f8E8M0FNU
tile.func @no_carrier(%x: !tile.view<16xf8E8M0FNU>, %y: !tile.view<16xf8E8M0FNU>)
    grid (%i = 1) {
  %a = tile.load %x[0] over [0] : !tile.tile<16xf8E8M0FNU>
  tile.store %a, %y[0] over [0]
  tile.return
}
