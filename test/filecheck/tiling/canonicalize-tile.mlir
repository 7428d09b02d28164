// RUN: stepwell-opt %s -p canonicalize-tile | filecheck %s

// CHECK-LABEL: tile.func @views_compose
tile.func @views_compose(%x: !tile.view<4x16x8xf32>, %ids: !tile.view<4xi64>, %y: !tile.view<4x8x16xf32>) grid (%i = 4) {
  // CHECK-NEXT: %[[V:.*]] = tile.access %x indices(%ids) map<(c, r) -> [at$0, r - 1, c] where [r - 1 < 16] else 0.0 with [at$0 = 0[0]]> : !tile.view<8x18xf32>
  %a = tile.access %x indices(%ids) map<(b, r, c) -> [at$0, r, c] with [at$0 = 0[b]]> : !tile.view<4x16x8xf32>
  %b = tile.access %a map<(c, r) -> [0, r - 1, c] where [r - 1 < 16] else 0.0> : !tile.view<8x18xf32>
  // CHECK-NEXT: %[[T:.*]] = tile.load %[[V]][0, 0] over [0, 1] : !tile.tile<8x16xf32>
  %t = tile.load %b[0, 0] over [0, 1] : !tile.tile<8x16xf32>
  %c = tile.access %y map<(b, c, r) -> [b, c, r]> : !tile.view<4x8x16xf32>
  // CHECK-NEXT: tile.store %[[T]], %y[%i, 0, 0] over [1, 2]
  tile.store %t, %c[%i, 0, 0] over [1, 2]
  tile.return
}

// Two maps that fill with different values stay two.
// CHECK-LABEL: tile.func @fills_differ
tile.func @fills_differ(%x: !tile.view<8xf32>, %y: !tile.view<12xf32>) grid () {
  // CHECK: tile.access
  %a = tile.access %x map<(i) -> [i - 1] where [i - 1 < 8] else 1.0> : !tile.view<10xf32>
  // CHECK: tile.access
  %b = tile.access %a map<(i) -> [i - 1] where [i - 1 < 10] else 2.0> : !tile.view<12xf32>
  %t = tile.load %b[0] over [0] : !tile.tile<12xf32>
  tile.store %t, %y[0] over [0]
  tile.return
}

// CHECK-LABEL: tile.func @movement_composes
tile.func @movement_composes(%x: !tile.view<8x4x2xf32>, %y: !tile.view<64xf32>) grid () {
  // CHECK-NEXT: %[[A:.*]] = tile.load
  %a = tile.load %x[0, 0, 0] over [0, 1, 2] : !tile.tile<8x4x2xf32>
  // CHECK-NEXT: %[[B:.*]] = tile.transpose %[[A]] [2, 0, 1] : !tile.tile<2x8x4xf32>
  %b = tile.transpose %a [1, 2, 0] : !tile.tile<4x2x8xf32>
  %c = tile.transpose %b [1, 2, 0] : !tile.tile<2x8x4xf32>
  %d = tile.transpose %c [0, 1, 2] : !tile.tile<2x8x4xf32>
  // CHECK-NEXT: %[[R:.*]] = tile.reshape %[[B]] : !tile.tile<64xf32>
  %e = tile.reshape %d : !tile.tile<16x4xf32>
  %f = tile.reshape %e : !tile.tile<64xf32>
  %g = tile.extract %f [0] : !tile.tile<64xf32>
  // CHECK-NEXT: tile.store %[[R]]
  tile.store %g, %y[0] over [0]
  tile.return
}

// CHECK-LABEL: tile.func @broadcast_of_a_constant
tile.func @broadcast_of_a_constant(%y: !tile.view<4x8xf32>) grid () {
  // CHECK-NEXT: %[[A:.*]] = tile.full 2.0 : !tile.tile<4x8xf32>
  %a = tile.full 2.0 : !tile.tile<1x1xf32>
  %b = tile.broadcast %a : !tile.tile<4x1xf32>
  %c = tile.broadcast %b : !tile.tile<4x8xf32>
  // CHECK-NEXT: %[[N:.*]] = arith.constant 3 : index
  %n = tile.dim "3"
  // CHECK-NEXT: tile.store %[[A]], %y[%[[N]], 0]
  tile.store %c, %y[%n, 0] over [0, 1]
  tile.return
}

#a = #tile.layout<blocked([1, 4], [4, 8], [1, 1])>
#b = #tile.layout<blocked([1, 2], [2, 16], [1, 1], repeat = [2, 1])>
// CHECK-LABEL: tile.func @conversions_cancel
tile.func @conversions_cancel(%x: !tile.view<4x32xf32>, %y: !tile.view<4x32xf32>) grid () {
  // CHECK-NEXT: %[[A:.*]] = tile.load
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<4x32xf32, #a>
  %b = tile.convert_layout %a : !tile.tile<4x32xf32, #b>
  %c = tile.convert_layout %b : !tile.tile<4x32xf32, #a>
  // CHECK-NEXT: tile.store %[[A]]
  tile.store %c, %y[0, 0] over [0, 1]
  tile.return
}

// Conversions that do not cancel become one.
#r = #tile.layout<blocked([4, 1], [1, 32], [1, 1])>
// CHECK-LABEL: tile.func @conversions_compose
tile.func @conversions_compose(%x: !tile.view<4x32xf32>, %y: !tile.view<4x32xf32>) grid () {
  // CHECK-NEXT: %[[A:.*]] = tile.load
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<4x32xf32, #a>
  // CHECK-NEXT: %[[R:.*]] = tile.convert_layout %[[A]] : !tile.tile<4x32xf32, #tile.layout<blocked([4, 1], [1, 32], [1, 1])>>
  %b = tile.convert_layout %a : !tile.tile<4x32xf32, #b>
  %c = tile.convert_layout %b : !tile.tile<4x32xf32, #r>
  // CHECK-NEXT: tile.store %[[R]]
  tile.store %c, %y[0, 0] over [0, 1]
  tile.return
}

// A value that others use stays, and what is composed reads its source.
// CHECK-LABEL: tile.func @used_twice
tile.func @used_twice(%x: !tile.view<8x4xf32>, %y: !tile.view<8x4xf32>, %z: !tile.view<4x8xf32>) grid () {
  // CHECK-NEXT: %[[A:.*]] = tile.load
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<8x4xf32>
  // CHECK-NEXT: %[[B:.*]] = tile.transpose %[[A]] [1, 0]
  %b = tile.transpose %a [1, 0] : !tile.tile<4x8xf32>
  %c = tile.transpose %b [1, 0] : !tile.tile<8x4xf32>
  // CHECK-NEXT: tile.store %[[A]], %y
  tile.store %c, %y[0, 0] over [0, 1]
  // CHECK-NEXT: tile.store %[[B]], %z
  tile.store %b, %z[0, 0] over [0, 1]
  tile.return
}

// A map that changes nothing but the sizes says where memory ends: it stays.
// CHECK-LABEL: tile.func @identity_of_other_sizes
tile.func @identity_of_other_sizes(%x: !tile.view<8xf32>, %y: !tile.view<8xf32>) grid () {
  %a = tile.access %x map<(i) -> [i]> : !tile.view<8xf32>
  // CHECK-NEXT: %[[V:.*]] = tile.access %x map<(i) -> [i]> : !tile.view<4xf32>
  %b = tile.access %x map<(i) -> [i]> : !tile.view<4xf32>
  // CHECK-NEXT: %[[A:.*]] = tile.load %x[0] over [0]
  %c = tile.load %a[0] over [0] : !tile.tile<8xf32>
  // CHECK-NEXT: %[[B:.*]] = tile.load %[[V]][0] over [0]
  %d = tile.load %b[0] over [0] : !tile.tile<8xf32>
  tile.store %c, %y[0] over [0]
  tile.store %d, %y[0] over [0]
  tile.return
}
