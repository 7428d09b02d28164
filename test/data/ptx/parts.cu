// Parts of words: SIMD intrinsics, dot products, three-way extremes, narrow floats, rounding.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#define AT int i = blockIdx.x * blockDim.x + threadIdx.x
extern "C" {
__global__ void halves(const unsigned *a, const unsigned *b, unsigned *o) { AT; o[i] = __vadd2(a[i], b[i]) ^ __vmaxs2(a[i], b[i]) + __vminu2(a[i], b[i]) * 3; }
__global__ void bytes(const unsigned *a, const unsigned *b, unsigned *o) { AT; o[i] = __vabsdiffu4(a[i], b[i]) + __vadd4(a[i], b[i]) * 3 ^ __vcmpgtu4(a[i], b[i]); }
__global__ void saturated(const unsigned *a, const unsigned *b, unsigned *o) { AT; o[i] = __vaddss2(a[i], b[i]) ^ __vsubus4(a[i], b[i]); }
__global__ void sums(const unsigned *a, const unsigned *b, unsigned *o) { AT; o[i] = __vsadu4(a[i], b[i]) + __dp4a(a[i], b[i], 5u) + __dp2a_lo(a[i], b[i], 7u); }
__global__ void signed_dots(const int *a, const int *b, int *o) { AT; o[i] = __dp4a(a[i], b[i], -5) + __dp2a_hi(a[i], b[i], 9); }
__global__ void three(const int *a, const int *b, int *o) { AT; o[i] = __vimax3_s32(a[i], b[i], a[i] ^ b[i]) - __vimin_s32_relu(a[i], b[i]) + __viaddmax_s32(a[i] >> 2, b[i] >> 2, 77); }
__global__ void nth(const unsigned *a, const unsigned *b, unsigned *o) { AT; o[i] = __fns(a[i], b[i] & 31, (int)(b[i] >> 5 & 7) - 3); }
__global__ void rounded(const double *a, const double *b, double *o) { AT; o[i] = __dadd_rz(a[i], b[i]) + __dmul_ru(a[i], b[i]) - __fma_rd(a[i], b[i], a[i]) + __ddiv_ru(a[i], b[i]); }
__global__ void from_long(const long long *a, const long long *b, float *o) { AT; o[i] = __ll2float_rz(a[i]) + __ull2float_ru((unsigned long long)b[i]); }
__global__ void narrow(const float *a, const float *b, unsigned *o) { AT; __nv_fp8x2_storage_t p = __nv_cvt_float2_to_fp8x2(make_float2(a[i], b[i]), __NV_SATFINITE, __NV_E4M3); __nv_fp8x2_storage_t q = __nv_cvt_halfraw2_to_fp8x2(__floats2half2_rn(a[i], b[i]), __NV_SATFINITE, __NV_E5M2); o[i] = p | q << 16; }
__global__ void flushed(const __half *a, const __half *b, __half *o) { AT; __half2 x = __halves2half2(a[i], b[i]); __half2 r = __hfma2_relu(x, x, __hneg2(x)); o[i] = __hadd(__low2half(r), __high2half(r)); }
}
