// Matrices in fragments: the wmma interface; mma of doubles and of 4 bits.
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
using namespace nvcuda;
template <int M, int N, int K, typename T, typename C> __device__ void multiply(const T *a, const T *b, C *c) {
  wmma::fragment<wmma::matrix_a, M, N, K, T, wmma::row_major> x; wmma::fragment<wmma::matrix_b, M, N, K, T, wmma::col_major> y; wmma::fragment<wmma::accumulator, M, N, K, C> z;
  wmma::fill_fragment(z, C(1)); wmma::load_matrix_sync(x, a, K); wmma::load_matrix_sync(y, b, K); wmma::mma_sync(z, x, y, z);
  for (int k = 0; k < z.num_elements; k++) z.x[k] = z.x[k] * C(2); wmma::store_matrix_sync(c, z, N, wmma::mem_row_major); }
extern "C" {
__global__ void wmma_half(const __half *a, const __half *b, float *c) { multiply<16, 16, 16>(a, b, c); }
__global__ void wmma_brain(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c) { multiply<32, 8, 16>(a, b, c); }
__global__ void wmma_bytes(const signed char *a, const signed char *b, int *c) { multiply<8, 32, 16>(a, b, c); }
__global__ void wmma_double(const double *a, const double *b, double *c) { multiply<8, 8, 4>(a, b, c); }
__global__ void mma_double(const double *a, const double *b, double *c) { // a 8x4, b 8x4 (n, k)
  int g = threadIdx.x / 4, t = threadIdx.x % 4; double d[2] = {0, 0}, x = a[g * 4 + t], y = b[g * 4 + t];
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1},{%2},{%3},{%0,%1};" : "+d"(d[0]), "+d"(d[1]) : "d"(x), "d"(y)); c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1]; }
__global__ void mma_nibbles(const uint32_t *a, const uint32_t *b, int *c) { // a 8x32, b 8x32 (n, k), 8 of 4 bits a word
  int g = threadIdx.x / 4, t = threadIdx.x % 4; int d[2] = {0, 0};
  asm volatile("mma.sync.aligned.m8n8k32.row.col.s32.s4.u4.s32 {%0,%1},{%2},{%3},{%0,%1};" : "+r"(d[0]), "+r"(d[1]) : "r"(a[g * 4 + t]), "r"(b[g * 4 + t])); c[g * 8 + 2 * t] = d[0]; c[g * 8 + 2 * t + 1] = d[1]; }
}
