// One network down the stairs of lowering/pipelines.py: what each level has, and no longer has.
// RUN: stepwell-opt %s --stop-after nn | filecheck %s --check-prefix=NN
// RUN: stepwell-opt %s --stop-after fusion | filecheck %s --check-prefix=FUSION
// RUN: stepwell-opt %s --stop-after generic | filecheck %s --check-prefix=GENERIC
// RUN: stepwell-opt %s --stop-after tile --target cpu-avx2 | filecheck %s --check-prefix=TILE
// RUN: stepwell-opt %s --stop-after engine --target cpu-avx2 | filecheck %s --check-prefix=ENGINE
// RUN: stepwell-opt %s --stop-after tile --target cpu-avx2 -p convert-tile-to-llvm -t llvm | filecheck %s --check-prefix=LLVM

// On a GPU weights stay as they are, and kernels have a launch, layouts and shared memory.
// RUN: stepwell-opt %s --stop-after tile --target sm_90a | filecheck %s --check-prefix=GPU
// RUN: stepwell-opt %s --stop-after engine --target sm_90a | filecheck %s --check-prefix=ENGINE
// RUN: stepwell-opt %s --stop-after tile --target sm_90a -t ptx | filecheck %s --check-prefix=PTX

// RUN: stepwell-opt %s --stop-after nn --timing 2>&1 | filecheck %s --check-prefix=ORDER
// RUN: not stepwell-opt %s -p 'cse{' 2>&1 | filecheck %s --check-prefix=SYNTAX
// RUN: not stepwell-opt %s -p 'fold-constants{limt=1}' 2>&1 | filecheck %s --check-prefix=OPTION

// GPU: engine.launch @transpose__conv(
// GPU: engine.launch @conv_hard_swish__conv({{.*}}tensor<27x4xf32>
// GPU: tile.func @conv_hard_swish__conv({{.*}}tile.launch = #tile.launch<warps = {{.*}}tile.shared_bytes =
// GPU: tile.mma {{.*}}#tile.layout<mma_c(
// GPU-NOT: !tile.tile<{{[0-9x]*}}{{f32|f16}}>
// PTX: .target sm_90a
// PTX: // node: conv
// PTX: .visible .entry conv_hard_swish__conv(
// PTX: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
// ORDER: infer-shapes
// ORDER: verify-provenance
// SYNTAX: error: expected passes like 'a,b{option=1}', got 'cse{'
// OPTION: error: bad pass options in 'fold-constants{limt=1}': Provided arguments ["limt"] not found

// NN: nn.transpose %x
// NN: nn.conv {{.*}}channels_last = true
// NN-NEXT: nn.hard_swish
// NN-NEXT: nn.reduce
// NN-NEXT: nn.softmax
// FUSION: fusion.kernel "{{.*}}conv
// FUSION: nn.conv
// GENERIC: fusion.generic
// GENERIC-NOT: nn.conv
// TILE: tile.func
// TILE: tile.dot
// ENGINE: engine.slots
// ENGINE: engine.launch @
// LLVM: define

func.func @main(%x: tensor<?x3x8x8xf32, #nn.dims<n, 3, 8, 8>> {nn.name = "x"})
    -> (tensor<?x4xf32, #nn.dims<n, 4>> {nn.name = "y"}) {
  %w = nn.constant {value = dense<0.25> : tensor<4x3x3x3xf32>} : tensor<4x3x3x3xf32> loc("w")
  %s = nn.constant {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : tensor<4xf32> loc("s")
  %t = nn.constant {value = dense<[0.5, 0.5, 0.5, 0.5]> : tensor<4xf32>} : tensor<4xf32> loc("t")
  %three = nn.constant {value = dense<3.0> : tensor<f32>} : tensor<f32> loc("three")
  %six = nn.constant {value = dense<6.0> : tensor<f32>} : tensor<f32> loc("six")
  %a = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>}
    : (tensor<?x3x8x8xf32, #nn.dims<n, 3, 8, 8>>, tensor<4x3x3x3xf32>) -> tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>> loc("conv")
  %b = nn.batch_norm %a, %s, %t, %t, %s
    : (tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>> loc("norm")
  %c = nn.add %b, %three : (tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>>, tensor<f32>) -> tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>> loc("shift")
  %d = nn.clamp %c {min = 0.0 : f64, max = 6.0 : f64} : (tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>>) -> tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>> loc("clip")
  %e = nn.mul %b, %d : (tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>>, tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>>) -> tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>> loc("gate")
  %f = nn.div %e, %six : (tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>>, tensor<f32>) -> tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>> loc("sixth")
  %g = nn.reduce %f {kind = "mean", axes = array<i64: 2, 3>} : (tensor<?x4x8x8xf32, #nn.dims<n, 4, 8, 8>>) -> tensor<?x4xf32, #nn.dims<n, 4>> loc("pool")
  %h = nn.softmax %g : (tensor<?x4xf32, #nn.dims<n, 4>>) -> tensor<?x4xf32, #nn.dims<n, 4>> loc("softmax")
  func.return %h : tensor<?x4xf32, #nn.dims<n, 4>>
}
