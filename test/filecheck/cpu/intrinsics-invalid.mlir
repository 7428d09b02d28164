// RUN: not stepwell-opt %s -t llvm 2>&1 | filecheck %s

// LLVM would end the process: x86 has no instruction for it, and no library call fits.
// CHECK: error: expected an intrinsic this target can select, got llvm.exp.v16f32
llvm.func @unselectable(%a: vector<16xf32>) -> vector<16xf32> {
  %e = llvm.call_intrinsic "llvm.exp.v16f32"(%a) : (vector<16xf32>) -> vector<16xf32>
  llvm.return %e : vector<16xf32>
}
