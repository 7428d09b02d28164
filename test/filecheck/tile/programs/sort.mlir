// RUN: stepwell-opt %s | filecheck %s
// RUN: stepwell-opt %s --generic | stepwell-opt | filecheck %s

// The k greatest of each row with their positions: a descending sort with a payload.

// One cell: a row of up to 128 keys; what is beyond the row sorts to the end.
// CHECK-LABEL: tile.func @topk_upper
tile.func @topk_upper(
    %x: !tile.view<[rows, n] f32>, %values: !tile.view<[rows, 5] f32>,
    %places: !tile.view<[rows, 5] i64>)
    symbols [rows, n] grid (%i = rows) {
  // CHECK: tile.load %{{.*}}[%{{.*}}, 0] over [1] fill -inf : !tile.tile<128xf32>
  %keys = tile.load %x[%i, 0] over [1] fill -inf : !tile.tile<128xf32>
  %place = tile.iota dim 0 : !tile.tile<128xi64>
  // CHECK: tile.sort %{{.*}}, %{{.*}} dim 0 descending : !tile.tile<128xf32>, !tile.tile<128xi64>
  %k, %p = tile.sort %keys, %place dim 0 descending : !tile.tile<128xf32>, !tile.tile<128xi64>
  // The store drops all beyond the five columns of the result.
  tile.store %k, %values[%i, 0] over [1]
  tile.store %p, %places[%i, 0] over [1]
  tile.return
}

// 1024 keys a row in a block of four warps, two keys a thread and bit of the index: the
// partner of a bitonic step differs in one bit, so the layout says whether it is in the
// same thread, in another lane, or in another warp.
#keys = #tile.layout<blocked([1, 8], [1, 32], [1, 4])>
#ordered = #tile.layout<blocked([1, 2], [1, 32], [1, 4], repeat = [1, 4])>
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: tile.func @sort_hopper
tile.func @sort_hopper(
    %x: !tile.view<[rows, 1024] f32>, %values: !tile.view<[rows, 1024] f32>,
    %places: !tile.view<[rows, 1024] i32>)
    symbols [rows] grid (%i = rows) attributes {tile.launch = #tile.launch<warps = 4>} {
  tile.dependency_wait
  %keys = tile.load %x[%i, 0] over [0, 1] : !tile.tile<1x1024xf32, #keys>
  %place = tile.iota dim 1 : !tile.tile<1x1024xi32, #keys>
  // CHECK: tile.sort %{{.*}}, %{{.*}} dim 1 descending : !tile.tile<1x1024xf32, #tile.layout<blocked([1, 8], [1, 32], [1, 4])>>
  %k, %p = tile.sort %keys, %place dim 1 descending : !tile.tile<1x1024xf32, #keys>, !tile.tile<1x1024xi32, #keys>
  // Stores of 8 bytes a lane, side by side.
  // CHECK: tile.convert_layout %{{.*}} : !tile.tile<1x1024xf32, #tile.layout<blocked([1, 2], [1, 32], [1, 4], repeat = [1, 4])>>
  %ko = tile.convert_layout %k : !tile.tile<1x1024xf32, #ordered>
  %po = tile.convert_layout %p : !tile.tile<1x1024xi32, #ordered>
  tile.store %ko, %values[%i, 0] over [0, 1]
  tile.store %po, %places[%i, 0] over [0, 1]
  tile.return
}
}
