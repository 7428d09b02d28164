// Floating point: arithmetic, rounding, conversions, elementary functions.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define AT int i = blockIdx.x * blockDim.x + threadIdx.x
extern "C" {
__global__ void polynomial(const float *a, const float *b, float *o) { AT; o[i] = fmaf(a[i], b[i], a[i]) - b[i] / a[i]; }
__global__ void directed(const float *a, const float *b, float *o) { AT; o[i] = __fadd_rz(a[i], b[i]) + __fmul_ru(a[i], b[i]); }
__global__ void doubles(const double *a, const double *b, double *o) { AT; o[i] = fma(a[i], b[i], 1.0) / (fabs(b[i]) + 1.0) + sqrt(fabs(a[i])); }
__global__ void elementary(const float *a, const float *b, float *o) { AT; o[i] = expf(a[i]) + logf(fabsf(b[i]) + 1.0f) + tanhf(a[i]) + rsqrtf(fabsf(b[i]) + 1.0f); }
__global__ void fast(const float *a, const float *b, float *o) { AT; o[i] = __expf(a[i]) + __sinf(b[i]) + __fdividef(a[i], b[i]); }
__global__ void error_function(const float *a, const float *b, float *o) { AT; o[i] = 0.5f * a[i] * (1.0f + erff(b[i] * 0.70710678f)); }
__global__ void extremes(const float *a, const float *b, float *o) { AT; o[i] = fmaxf(a[i], b[i]) - fminf(a[i], 0.5f) + floorf(b[i]) + truncf(a[i]) + rintf(b[i]) + ceilf(a[i]); }
__global__ void to_int(const float *a, const float *b, int *o) { AT; o[i] = (int)a[i] + 3 * __float2int_rn(b[i]) + 5 * __float2int_rd(a[i]) + 7 * __float2int_ru(b[i]); }
__global__ void to_unsigned(const float *a, const float *b, unsigned *o) { AT; o[i] = (unsigned)(a[i] * 1e9f) ^ (unsigned)(unsigned char)(int)b[i]; }
__global__ void from_int(const int *a, const int *b, float *o) { AT; o[i] = (float)a[i] + __int2float_rz(b[i]); }
__global__ void halves(const __half *a, const __half *b, __half *o) { AT; o[i] = __hfma(a[i], b[i], a[i]) + a[i] * b[i]; }
__global__ void half_pairs(const __half2 *a, const __half2 *b, __half2 *o) { AT; o[i] = __hmax2(__hadd2(a[i], b[i]), __hmul2(a[i], b[i])); }
__global__ void brain(const __nv_bfloat16 *a, const __nv_bfloat16 *b, __nv_bfloat16 *o) { AT; o[i] = __float2bfloat16(__bfloat162float(a[i]) * __bfloat162float(b[i])); }
__global__ void narrowing(const float *a, const float *b, __half *o) { AT; o[i] = __hadd(__float2half_rn(a[i]), __float2half_rz(b[i])); }
__global__ void special(const float *a, const float *b, int *o) { AT; o[i] = isnan(a[i]) + 2 * isinf(b[i]) + 4 * (a[i] < b[i]) + 8 * !(a[i] >= b[i]); }
}
