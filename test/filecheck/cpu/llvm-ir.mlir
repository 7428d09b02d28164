// RUN: stepwell-opt %s -t llvm | filecheck %s

// CHECK: @table = private constant [2 x float] [float 0x3FF0000000000000, float 0x4000000000000000], align 64
llvm.mlir.global private constant @table(dense<[1.0, 2.0]> : tensor<2xf32>)
    {alignment = 64 : i64} : !llvm.array<2 x f32>

// CHECK-LABEL: define float @arithmetic(
// CHECK-SAME: <16 x float> %[[A:.*]], <16 x float> %[[B:.*]], i32 %[[I:.*]], ptr %[[P:.*]]) nounwind {
llvm.func @arithmetic(%a: vector<16xf32>, %b: vector<16xf32>, %i: i32, %p: !llvm.ptr)
    -> f32 {
  // CHECK: %[[LESS:.*]] = fcmp olt <16 x float> %[[A]], %[[B]]
  %c = llvm.fcmp "olt" %a, %b : vector<16xf32>
  // CHECK: %[[MIN:.*]] = select <16 x i1> %[[LESS]], <16 x float> %[[A]], <16 x float> %[[B]]
  %d = llvm.select %c, %a, %b : vector<16xi1>, vector<16xf32>
  // CHECK: %[[LANE:.*]] = extractelement <16 x float> %[[MIN]], i32 %[[I]]
  %e = llvm.extractelement %d[%i : i32] : vector<16xf32>
  // CHECK: call <16 x float> @llvm.fma.v16f32({{.*}}, <16 x float> splat (float 0x3FF0000000000000))
  %one = llvm.mlir.constant(dense<1.0> : vector<16xf32>) : vector<16xf32>
  %f = llvm.call_intrinsic "llvm.fma.v16f32"(%a, %b, %one)
      : (vector<16xf32>, vector<16xf32>, vector<16xf32>) -> vector<16xf32>
  // CHECK: fadd contract nsz <16 x float>
  %g = llvm.fadd %f, %d {fastmathFlags = #llvm.fastmath<contract, nsz>} : vector<16xf32>
  // CHECK: store <16 x float> %{{.*}}, ptr %[[P]], align 4
  llvm.store %g, %p {alignment = 4 : i64} : vector<16xf32>, !llvm.ptr
  // CHECK: %[[OLD:.*]] = atomicrmw xchg ptr %[[P]], i32 %[[I]] acquire
  %old = llvm.atomicrmw xchg %p, %i acquire : !llvm.ptr, i32
  // CHECK: load float, ptr @table
  %t = llvm.mlir.addressof @table : !llvm.ptr
  %q = llvm.load %t : !llvm.ptr -> f32
  %four = llvm.mlir.constant(4 : i32) : i32
  // CHECK: %[[C:.*]] = icmp slt i32 %[[OLD]], 4
  // CHECK-NEXT: br i1 %[[C]], label %[[DONE:.*]], label %[[OTHER:.*]]
  %less = llvm.icmp "slt" %old, %four : i32
  llvm.cond_br %less, ^done(%q : f32), ^other
  // CHECK: [[DONE]]:
  // CHECK-NEXT: phi float [ %{{.*}}, %b0 ], [ %[[LANE]], %[[OTHER]] ]
^done(%r: f32):
  llvm.return %r : f32
^other:
  llvm.br ^done(%e : f32)
}

// CHECK: declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
