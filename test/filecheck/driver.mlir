// RUN: stepwell-opt %s | filecheck %s --check-prefix=ROUNDTRIP
// RUN: stepwell-opt %s -p 'cse,dce' | filecheck %s
// RUN: stepwell-opt %s --no-locations | filecheck %s --check-prefix=BARE
// RUN: not stepwell-opt %s -p no-such-pass 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not stepwell-opt missing.mlir 2>&1 | filecheck %s --check-prefix=MISSING

// ROUNDTRIP-LABEL: @equal_ops_become_one
// CHECK-LABEL: @equal_ops_become_one
func.func @equal_ops_become_one(%x: i32) -> i32 {
  // ROUNDTRIP: arith.addi %x, %x : i32 loc("a")
  // ROUNDTRIP: arith.addi %x, %x : i32 loc("b")
  // BARE: arith.addi %x, %x : i32{{$}}
  // CHECK: %[[SUM:.*]] = arith.addi %x, %x : i32 loc(fused["a", "b"])
  // CHECK-NEXT: arith.muli %[[SUM]], %[[SUM]] : i32{{$}}
  // CHECK-NEXT: func.return
  %a = arith.addi %x, %x : i32 loc("a")
  %b = arith.addi %x, %x : i32 loc("b")
  %c = arith.muli %a, %b : i32
  %dead = arith.muli %c, %c : i32
  func.return %c : i32
}

// UNKNOWN: error: unknown pass: no-such-pass
// UNKNOWN-NEXT: note: known passes:
// MISSING: error: expected a file, got 'missing.mlir', which does not exist
