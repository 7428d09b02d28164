// RUN: stepwell-opt %s --verify-diagnostics --split-input-file | filecheck %s

tile.func @unknown_symbol_in_view(
    // CHECK: 'n' uses the symbol n, which is not in symbols [m]
    %x: !tile.view<[n, 4] f32>) symbols [m] grid (%i = m) {
  tile.return
}

// -----

tile.func @unknown_symbol_in_grid(%x: !tile.view<4xf32>)
    // CHECK: 'k' uses the symbol k, which is not in symbols []
    grid (%i = k) {
  tile.return
}

// -----

// CHECK: expected the body to end in tile.return
tile.func @no_return(%x: !tile.view<4xf32>) grid (%i = 2) {
  llvm.unreachable
}

// -----

tile.func @unknown_symbol_in_dim(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: 'seq' uses the symbol seq
  %n = tile.dim "seq"
  tile.return
}

// -----

tile.func @unknown_symbol_in_map(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: 'n' uses the symbol n
  %v = tile.access %x map<(a, b) -> [a, b] where [a < n]> : !tile.view<8x16xf32>
  tile.return
}

// -----

tile.func @map_of_other_rank(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: map has 1 results, expected 2 for !tile.view<8x16xf32>
  %v = tile.access %x map<(a, b) -> [a]> : !tile.view<8x16xf32>
  tile.return
}

// -----

tile.func @map_of_other_dims(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: map has 3 dims, expected 2 for !tile.view<8x16xf32>
  %v = tile.access %x map<(a, b, c) -> [a, b]> : !tile.view<8x16xf32>
  tile.return
}

// -----

tile.func @map_of_missing_indices(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: map reads index view 0, but there are 0
  %v = tile.access %x map<(a, b) -> [at$0, b] with [at$0 = 0[a]]> : !tile.view<8x16xf32>
  tile.return
}

// -----

tile.func @access_changes_the_element(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected elements of type f32, got f16
  %v = tile.access %x map<(a, b) -> [a, b]> : !tile.view<8x16xf16>
  tile.return
}

// -----

tile.func @load_with_too_few_indices(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected 2 indices, got 1
  %a = tile.load %x[0] over [0] : !tile.tile<4xf32>
  tile.return
}

// -----

tile.func @load_over_a_dim_twice(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected distinct dims of the view in [0, 2), got [1, 1]
  %a = tile.load %x[0, 0] over [1, 1] : !tile.tile<4x4xf32>
  tile.return
}

// -----

tile.func @load_over_too_few_dims(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected one view dim per dim of !tile.tile<4x4xf32>, got [1]
  %a = tile.load %x[0, 0] over [1] : !tile.tile<4x4xf32>
  tile.return
}

// -----

tile.func @load_of_another_element(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected tile elements of type f32, got f16
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<4x4xf16>
  tile.return
}

// -----

tile.func @load_of_unsigned_bytes_as_such(%x: !tile.view<8xui8>) grid (%i = 2) {
  // CHECK: expected tile elements of type i8, got ui8
  %a = tile.load %x[0] over [0] : !tile.tile<4xui8>
  tile.return
}

// -----

tile.func @empty_tile(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected positive extents, got [0, 4]
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<0x4xf32>
  tile.return
}

// -----

tile.func @full_of_a_fraction(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: 0.5 is not a value of type i32
  %a = tile.full 0.5 : !tile.tile<4xi32>
  tile.return
}

// -----

tile.func @iota_of_floats(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected index or integer elements, got f32
  %a = tile.iota dim 0 : !tile.tile<4xf32>
  tile.return
}

// -----

tile.func @iota_of_a_missing_dim(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: expected a dim in [0, 1), got 1
  %a = tile.iota dim 1 : !tile.tile<4xi32>
  tile.return
}

// -----

tile.func @map_that_does_not_broadcast(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: input of shape [8, 16] does not broadcast to [8, 32]
  %b = tile.map (%u = %a) -> !tile.tile<8x32xf32> { tile.yield %u : f32 }
  tile.return
}

// -----

tile.func @map_yields_another_type(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected yielded values of types (f16), got (f32)
  %b = tile.map (%u = %a) -> !tile.tile<8x16xf16> { tile.yield %u : f32 }
  tile.return
}

// -----

tile.func @dot_of_other_depths(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected shapes MxK, KxN, MxN, got [8, 16], [8, 16], [8, 16]
  %b = tile.dot %a, %a, %a : !tile.tile<8x16xf32>
  tile.return
}

// -----

tile.func @reduce_of_a_missing_dim(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected a dim in [0, 2), got 2
  %b = tile.reduce add %a dim 2 : !tile.tile<8x1xf32>
  tile.return
}

// -----

tile.func @reduce_drops_the_dim(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected a result of type !tile.tile<8x1xf32>, got !tile.tile<8xf32>
  %b = tile.reduce add %a dim 1 : !tile.tile<8xf32>
  tile.return
}

// -----

tile.func @arg_reduce_of_a_sum(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected kind max or min, got add
  %b, %i2 = tile.arg_reduce add %a dim 1 : !tile.tile<8x1xf32>, !tile.tile<8x1xi64>
  tile.return
}

// -----

tile.func @sort_changes_types(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected the results to have the types of the inputs
  %b = tile.sort %a dim 1 : !tile.tile<8x16xf16>
  tile.return
}

// -----

tile.func @transpose_by_no_permutation(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected a permutation of 0..1, got [0, 0]
  %b = tile.transpose %a [0, 0] : !tile.tile<8x8xf32>
  tile.return
}

// -----

tile.func @broadcast_of_more_than_one(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: shape [8, 16] does not broadcast to [8, 32]
  %b = tile.broadcast %a : !tile.tile<8x32xf32>
  tile.return
}

// -----

tile.func @reshape_loses_elements(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: expected 128 elements, got 64
  %b = tile.reshape %a : !tile.tile<64xf32>
  tile.return
}

// -----

tile.func @extract_from_outside(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  %a = tile.full 0.0 : !tile.tile<8x16xf32>
  // CHECK: part [8, 2] at [0, 15] is not inside [8, 16]
  %b = tile.extract %a [0, 15] : !tile.tile<8x2xf32>
  tile.return
}

// -----

tile.func @value_before_its_definition(%x: !tile.view<8x16xf32>) grid (%i = 2) {
  // CHECK: value %b is used before it is defined
  %a = tile.reduce add %b dim 0 : !tile.tile<1xf32>
  tile.return
}
