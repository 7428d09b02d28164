// Tensor copies by maps that are kernel parameters: a tile, a column of pixels, a store.
#include <cstdint>
struct alignas(64) TensorMap { uint8_t bytes[128]; };
__device__ uint32_t at(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }
__device__ void prepare(uint64_t *bar, uint32_t bytes) {
  if (threadIdx.x == 0) { asm volatile("mbarrier.init.shared.b64 [%0], 1;" :: "r"(at(bar)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("{ .reg .b64 s; mbarrier.arrive.expect_tx.shared.b64 s, [%0], %1; }" :: "r"(at(bar)), "r"(bytes) : "memory"); }
  __syncthreads(); }
__device__ void await(uint64_t *bar) { asm volatile("{ .reg .pred p; again: mbarrier.try_wait.parity.shared.b64 p, [%0], 0; @!p bra again; }" :: "r"(at(bar)) : "memory"); }
extern "C" {
__global__ void tile(const __grid_constant__ TensorMap map, int x, int y, float *o) { // a box of 8 x 4 singles
  __shared__ alignas(128) float s[32]; __shared__ uint64_t bar; prepare(&bar, sizeof s);
  if (threadIdx.x == 0) asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" :: "r"(at(s)), "l"(&map), "r"(x), "r"(y), "r"(at(&bar)) : "memory");
  await(&bar); o[threadIdx.x] = s[threadIdx.x]; }
__global__ void column(const __grid_constant__ TensorMap map, int w, int h, int n, short s_, short r, float *o) { // 4 channels of 8 pixels
  __shared__ alignas(128) float s[32]; __shared__ uint64_t bar; prepare(&bar, sizeof s);
  if (threadIdx.x == 0) asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};" :: "r"(at(s)), "l"(&map), "r"(0), "r"(w), "r"(h), "r"(n), "r"(at(&bar)), "h"(s_), "h"(r) : "memory");
  await(&bar); o[threadIdx.x] = s[threadIdx.x]; }
__global__ void stored(const __grid_constant__ TensorMap map, int x, int y, const float *a) {
  __shared__ alignas(128) float s[32]; s[threadIdx.x] = a[threadIdx.x] * 2; asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); __syncthreads();
  if (threadIdx.x == 0) { asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" :: "l"(&map), "r"(x), "r"(y), "r"(at(s)) : "memory");
    asm volatile("cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;" ::: "memory"); } }
}
