// mma.sync through inline PTX, ldmatrix, cp.async, mbarriers. One warp, except pipeline.
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cstdint>
__device__ uint32_t pair(const void *p) { return *(const uint32_t *)p; }
extern "C" {
__global__ void mma_half(const __half *a, const __half *b, float *c) { // a 16x16, b 8x16 (n, k), c 16x8
  int g = threadIdx.x / 4, t = threadIdx.x % 4; float d[4] = {0, 0, 0, 0};
  uint32_t x[4] = {pair(a + g * 16 + 2 * t), pair(a + (g + 8) * 16 + 2 * t), pair(a + g * 16 + 2 * t + 8), pair(a + (g + 8) * 16 + 2 * t + 8)};
  uint32_t y[2] = {pair(b + g * 16 + 2 * t), pair(b + g * 16 + 2 * t + 8)};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1]; c[(g + 8) * 8 + 2 * t] = d[2]; c[(g + 8) * 8 + 2 * t + 1] = d[3]; }
__global__ void mma_brain(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c) {
  int g = threadIdx.x / 4, t = threadIdx.x % 4; float d[4] = {0, 0, 0, 0};
  uint32_t x[4] = {pair(a + g * 16 + 2 * t), pair(a + (g + 8) * 16 + 2 * t), pair(a + g * 16 + 2 * t + 8), pair(a + (g + 8) * 16 + 2 * t + 8)};
  uint32_t y[2] = {pair(b + g * 16 + 2 * t), pair(b + g * 16 + 2 * t + 8)};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1]; c[(g + 8) * 8 + 2 * t] = d[2]; c[(g + 8) * 8 + 2 * t + 1] = d[3]; }
__global__ void mma_tf32(const float *a, const float *b, float *c) { // a 16x8, b 8x8 (n, k)
  int g = threadIdx.x / 4, t = threadIdx.x % 4; float d[4] = {0, 0, 0, 0};
  uint32_t x[4] = {pair(a + g * 8 + t), pair(a + (g + 8) * 8 + t), pair(a + g * 8 + t + 4), pair(a + (g + 8) * 8 + t + 4)};
  uint32_t y[2] = {pair(b + g * 8 + t), pair(b + g * 8 + t + 4)};
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1]; c[(g + 8) * 8 + 2 * t] = d[2]; c[(g + 8) * 8 + 2 * t + 1] = d[3]; }
__global__ void mma_bytes(const int8_t *a, const int8_t *b, int *c) { // a 16x32, b 8x32 (n, k)
  int g = threadIdx.x / 4, t = threadIdx.x % 4; int d[4] = {0, 0, 0, 0};
  uint32_t x[4] = {pair(a + g * 32 + 4 * t), pair(a + (g + 8) * 32 + 4 * t), pair(a + g * 32 + 4 * t + 16), pair(a + (g + 8) * 32 + 4 * t + 16)};
  uint32_t y[2] = {pair(b + g * 32 + 4 * t), pair(b + g * 32 + 4 * t + 16)};
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1]; c[(g + 8) * 8 + 2 * t] = d[2]; c[(g + 8) * 8 + 2 * t + 1] = d[3]; }
__global__ void matrices(const __half *a, uint32_t *o) { // four 8x8, plain and transposed
  __shared__ __align__(16) __half s[256]; int t = threadIdx.x; for (int k = t; k < 256; k += 32) s[k] = a[k]; __syncwarp();
  uint32_t at = (uint32_t)__cvta_generic_to_shared(s + 8 * t), r[4];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
  for (int k = 0; k < 4; k++) o[k * 32 + t] = r[k];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
  for (int k = 0; k < 4; k++) o[128 + k * 32 + t] = r[k]; }
__global__ void copy_groups(const int *a, int *o) { // two groups in flight
  __shared__ __align__(16) int s[2][128]; int t = threadIdx.x;
  for (int k = 0; k < 2; k++) { uint32_t at = (uint32_t)__cvta_generic_to_shared(&s[k][t]);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\n cp.async.commit_group;" ::"r"(at), "l"(a + k * 128 + t) : "memory"); }
  asm volatile("cp.async.wait_group 1;" ::: "memory"); __syncthreads(); int v = s[0][127 - t];
  asm volatile("cp.async.wait_group 0;" ::: "memory"); __syncthreads(); o[t] = v + 2 * s[1][t ^ 1]; }
__global__ void hand_over(const int *a, int *o) { // warp 0 fills, the others read, by mbarrier
  __shared__ int s[32]; __shared__ __align__(8) uint64_t full; int t = threadIdx.x;
  uint32_t at = (uint32_t)__cvta_generic_to_shared(&full);
  if (t == 0) asm volatile("mbarrier.init.shared.b64 [%0], 32;" ::"r"(at) : "memory"); __syncthreads();
  if (t < 32) { s[t] = a[t]; asm volatile("{ .reg .b64 st; mbarrier.arrive.shared.b64 st, [%0]; }" ::"r"(at) : "memory"); o[t] = 0; }
  else { asm volatile("{ .reg .pred p; again: mbarrier.try_wait.parity.shared.b64 p, [%0], 0; @!p bra again; }" ::"r"(at) : "memory"); o[t] = s[t & 31] * (t >> 5); } }
}
