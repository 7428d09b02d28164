// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// Layer normalisation of each row, in two passes over registers.

// One cell: 4 rows of 100 columns, in a tile of 128 whose rest is masked.
// CHECK-LABEL: tile.func @layer_norm_upper
tile.func @layer_norm_upper(
    %x: !tile.view<[rows, 100] f32>, %gamma: !tile.view<100xf32>,
    %beta: !tile.view<100xf32>, %y: !tile.view<[rows, 100] f32>)
    symbols [rows] grid (%i = ceildiv(rows, 4)) {
  %c4 = arith.constant 4 : index
  %c100 = arith.constant 100 : index
  %row = arith.muli %i, %c4 : index
  %a = tile.load %x[%row, 0] over [0, 1] : !tile.tile<4x128xf32>
  // CHECK: tile.reduce add %{{.*}} dim 1 : !tile.tile<4x1xf32>
  %sum = tile.reduce add %a dim 1 : !tile.tile<4x1xf32>
  %column = tile.iota dim 1 : !tile.tile<1x128xindex>
  // What is beyond the row must not count in the variance.
  %d, %sq = tile.map (%v = %a, %s = %sum, %j = %column) -> (!tile.tile<4x128xf32>, !tile.tile<4x128xf32>) {
    %n = arith.constant 100.0 : f32
    %zero = arith.constant 0.0 : f32
    %mean = arith.divf %s, %n : f32
    %raw = arith.subf %v, %mean : f32
    %inside = arith.cmpi slt, %j, %c100 : index
    %dev = arith.select %inside, %raw, %zero : f32
    %square = arith.mulf %dev, %dev : f32
    tile.yield %dev, %square : f32, f32
  }
  %var = tile.reduce add %sq dim 1 : !tile.tile<4x1xf32>
  %gview = tile.access %gamma map<(i, j) -> [j]> : !tile.view<1x100xf32>
  %bview = tile.access %beta map<(i, j) -> [j]> : !tile.view<1x100xf32>
  %g = tile.load %gview[0, 0] over [0, 1] : !tile.tile<1x128xf32>
  %b = tile.load %bview[0, 0] over [0, 1] : !tile.tile<1x128xf32>
  %r = tile.map (%v = %d, %s = %var, %gg = %g, %bb = %b) -> !tile.tile<4x128xf32> {
    %n = arith.constant 100.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %s, %n : f32
    %safe = arith.addf %mean, %eps : f32
    %inverse = math.rsqrt %safe : f32
    %unit = arith.mulf %v, %inverse : f32
    %scaled = arith.mulf %unit, %gg : f32
    %shifted = arith.addf %scaled, %bb : f32
    tile.yield %shifted : f32
  }
  tile.store %r, %y[%row, 0] over [0, 1]
  tile.return
}

// 768 columns in f16: a warp holds a row, 16 bytes a lane, three times; four warps of a
// block hold four rows. gamma and beta do not depend on the kernels before: they are
// loaded above the wait.
#rows = #tile.layout<blocked([1, 8], [1, 32], [4, 1], repeat = [1, 3])>
#one = #tile.layout<slice(blocked([1, 8], [1, 32], [4, 1], repeat = [1, 3]), 0)>
#row = #tile.layout<slice(blocked([1, 8], [1, 32], [4, 1], repeat = [1, 3]), 1)>
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: tile.func @layer_norm_hopper
tile.func @layer_norm_hopper(
    %x: !tile.view<[rows, 768] f16>, %gamma: !tile.view<768xf16>,
    %beta: !tile.view<768xf16>, %y: !tile.view<[rows, 768] f16>)
    symbols [rows] grid (%i = ceildiv(rows, 4)) attributes {tile.launch = #tile.launch<warps = 4, blocks_per_sm = 8>} {
  %c4 = arith.constant 4 : index
  // CHECK: tile.dependency_launch
  tile.dependency_launch
  %gview = tile.access %gamma map<(i, j) -> [j]> : !tile.view<1x768xf16>
  %bview = tile.access %beta map<(i, j) -> [j]> : !tile.view<1x768xf16>
  %g = tile.load %gview[0, 0] over [0, 1] : !tile.tile<1x768xf16, #one>
  %b = tile.load %bview[0, 0] over [0, 1] : !tile.tile<1x768xf16, #one>
  // CHECK: tile.dependency_wait
  tile.dependency_wait
  %row = arith.muli %i, %c4 : index
  // CHECK: tile.load %{{.*}}[%{{.*}}, 0] over [0, 1] : !tile.tile<4x768xf16, #tile.layout<blocked([1, 8], [1, 32], [4, 1], repeat = [1, 3])>>
  %a16 = tile.load %x[%row, 0] over [0, 1] : !tile.tile<4x768xf16, #rows>
  %a = tile.map (%v = %a16) -> !tile.tile<4x768xf32, #rows> {
    %w = arith.extf %v : f16 to f32
    tile.yield %w : f32
  }
  // A row is in one warp: the reduction is registers, then shuffles.
  // CHECK: tile.reduce add %{{.*}} dim 1 : !tile.tile<4x1xf32, #tile.layout<{{.*}}>>
  %sum = tile.reduce add %a dim 1 : !tile.tile<4x1xf32, #row>
  %d, %sq = tile.map (%v = %a, %s = %sum) -> (!tile.tile<4x768xf32, #rows>, !tile.tile<4x768xf32, #rows>) {
    %n = arith.constant 0.00130208337 : f32
    %mean = arith.mulf %s, %n : f32
    %dev = arith.subf %v, %mean : f32
    %square = arith.mulf %dev, %dev : f32
    tile.yield %dev, %square : f32, f32
  }
  %var = tile.reduce add %sq dim 1 : !tile.tile<4x1xf32, #row>
  %r = tile.map (%v = %d, %s = %var, %gg = %g, %bb = %b) -> !tile.tile<4x768xf16, #rows> {
    %n = arith.constant 0.00130208337 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.mulf %s, %n : f32
    %safe = arith.addf %mean, %eps : f32
    %inverse = math.rsqrt %safe : f32
    %unit = arith.mulf %v, %inverse : f32
    %g32 = arith.extf %gg : f16 to f32
    %b32 = arith.extf %bb : f16 to f32
    %scaled = arith.mulf %unit, %g32 : f32
    %shifted = arith.addf %scaled, %b32 : f32
    %narrow = arith.truncf %shifted : f32 to f16
    tile.yield %narrow : f16
  }
  tile.store %r, %y[%row, 0] over [0, 1]
  tile.return
}
}
