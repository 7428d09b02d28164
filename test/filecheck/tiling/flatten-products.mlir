// RUN: stepwell-opt %s -p flatten-products,assign-schedules --no-locations | filecheck %s

// Rows of a convolution become one dim, and with few channels the window does too
// (with it the last two axes of the input: a window's row is one run in memory).
module attributes {stepwell.target = "sm_90a"} {
// CHECK-LABEL: func.func @conv
// CHECK: schedule #fusion.schedule<contraction, grid = [pq = {{.*}}, o = {{.*}}], loops = [rsc = 32], tile = [pq = {{.*}}, o = {{.*}}, rsc = 32], options = [blocks = {{.*}}, flat = 1, stages = {{.*}}, warp_rows = {{.*}}, warps = {{.*}}]>
// CHECK: fusion.generic [pq: 196, o: 32, reduction rsc: 27]
// CHECK-SAME: [pq floordiv 14 + rsc floordiv 9 - 1, 3 * (pq mod 14) + rsc mod 9 - 3] where
func.func @conv(%x: tensor<14x14x3xf32>, %w: tensor<3x3x3x32xf32>) -> tensor<14x14x32xf32> {
  %0 = fusion.kernel "conv__c" (%a = %x, %b = %w) : (tensor<14x14x3xf32>, tensor<3x3x3x32xf32>) -> tensor<14x14x32xf32> {
    %1 = fusion.generic [p: 14, q: 14, o: 32, reduction r: 3, reduction s: 3, reduction c: 3]
        ins(%a[p + r - 1, q + s - 1, c] where [p + r - 1 < 14, q + s - 1 < 14] else 0.0 : tensor<14x14x3xf32>, %b[r, s, c, o] : tensor<3x3x3x32xf32>)
        outs(add [p, q, o] : tensor<14x14x32xf32>) {
    ^bb0(%s: f32, %t: f32):
      %e = arith.mulf %s, %t : f32
      fusion.yield %e : f32
    }
    fusion.yield %1 : tensor<14x14x32xf32>
  }
  func.return %0 : tensor<14x14x32xf32>
}
}
