// Shared memory, barriers, atomics, exchanges within a warp. One block of 128.
extern "C" {
__global__ void reverse(const int *a, int *o) { __shared__ int s[128]; int t = threadIdx.x; s[t] = a[t]; __syncthreads(); o[t] = s[127 - t]; }
__global__ void scan(const int *a, int *o) { extern __shared__ int d[]; int t = threadIdx.x; d[t] = a[t]; __syncthreads(); for (int k = 1; k < 128; k *= 2) { int v = t >= k ? d[t - k] : 0; __syncthreads(); d[t] += v; __syncthreads(); } o[t] = d[t]; }
__global__ void histogram(const int *a, int *o) { __shared__ int h[16]; int t = threadIdx.x; if (t < 16) h[t] = 0; __syncthreads(); atomicAdd(&h[a[t] & 15], 1); __syncthreads(); if (t < 16) atomicAdd(&o[t], h[t]); }
__global__ void atomics(const int *a, int *o) { int v = a[threadIdx.x]; atomicMax(&o[0], v); atomicMin(&o[1], v); atomicOr(&o[2], v); atomicXor(&o[3], v); atomicAnd(&o[4], v | 0xff); atomicInc((unsigned *)&o[5], 50); }
__global__ void swap_in(const int *a, int *o) { int old = o[0], seen; do { seen = old; old = atomicCAS(&o[0], seen, seen + a[threadIdx.x]); } while (old != seen); }
__global__ void add_floats(const float *a, float *o) { atomicAdd(&o[threadIdx.x & 3], a[threadIdx.x]); }
__global__ void shuffles(const int *a, int *o) { int t = threadIdx.x, v = a[t]; o[t] = __shfl_up_sync(~0u, v, 3) + 2 * __shfl_down_sync(~0u, v, 5) + 3 * __shfl_sync(~0u, v, t * 7, 16) + 5 * __shfl_xor_sync(~0u, v, 9, 16); }
__global__ void votes(const int *a, int *o) { int t = threadIdx.x; bool p = a[t] & 1; o[t] = __popc(__ballot_sync(~0u, p)) + 100 * __any_sync(~0u, a[t] == 7) + 1000 * __all_sync(~0u, a[t] < 1000000); }
__global__ void matches(const int *a, int *o) { int v = a[threadIdx.x] & 7; o[threadIdx.x] = __popc(__match_any_sync(~0u, v)); }
__global__ void reductions(const int *a, int *o) { int v = a[threadIdx.x]; o[threadIdx.x] = __reduce_add_sync(~0u, v) + __reduce_max_sync(~0u, v) - __reduce_min_sync(~0u, v) + (int)__reduce_xor_sync(~0u, (unsigned)v); }
__global__ void half_warps(const int *a, int *o) { int t = threadIdx.x, v = a[t]; if (t & 16) v = __shfl_xor_sync(0xffff0000u, v, 1); else v = -__shfl_xor_sync(0x0000ffffu, v, 2); o[t] = v; }
__global__ void regroup(const int *a, int *o) { int t = threadIdx.x, v = a[t]; if (v & 1) v = v * 3; else { for (int k = 0; k < (v & 7); k++) v += k; } __syncwarp(); o[t] = __shfl_xor_sync(~0u, v, 1); }
__global__ void count(const int *a, int *o) { int v = a[threadIdx.x]; o[threadIdx.x] = __syncthreads_count(v & 1) + 1000 * __syncthreads_or(v == 3) + 2000 * __syncthreads_and(v < 10); }
__global__ void transpose(const float *a, float *o) { __shared__ float s[8][17]; int x = threadIdx.x, y = threadIdx.y; s[y][x] = a[y * 16 + x]; __syncthreads(); o[x * 8 + y] = s[y][x]; }
}
