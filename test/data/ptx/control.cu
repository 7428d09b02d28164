// Divergence, loops, switches, calls, local arrays, tables.
#define AT int i = blockIdx.x * blockDim.x + threadIdx.x
__constant__ int table[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
__device__ int counter[4] = {10, 20, 30, 40};
struct Pair { int first, second; };
__device__ __noinline__ int collatz(int n) { int k = 0; while (n != 1 && k < 200) { n = n & 1 ? 3 * n + 1 : n >> 1; k++; } return k; }
__device__ __noinline__ Pair swap(Pair p) { Pair q = {p.second * 2, p.first}; return q; }
__device__ __noinline__ float blend(float a, double b, short c) { return a * 2.0f + (float)b - c; }
extern "C" {
__global__ void diverge(const int *a, const int *b, int *o) { AT; if (a[i] > b[i]) { if (a[i] & 1) o[i] = a[i] - b[i]; else o[i] = a[i] + b[i]; } else o[i] = -b[i]; }
__global__ void loop(const int *a, const int *b, int *o) { AT; int s = 0; for (int k = 0; k < (a[i] & 31); k++) { if (k == (b[i] & 15)) continue; s += k * b[i]; if (s > 100000) break; } o[i] = s; }
__global__ void choose(const int *a, const int *b, int *o) { AT; int r; switch (a[i] & 7) { case 0: r = b[i] * 3; break; case 1: r = b[i] / 3; break; case 2: r = b[i] ^ 77; break; case 3: r = 1 << (b[i] & 7); break; case 4: r = b[i] % 9; break; case 5: r = ~b[i]; break; case 6: r = b[i] - 1000; break; default: r = 0; } o[i] = r; }
__global__ void steps(const int *a, const int *b, int *o) { AT; o[i] = (a[i] & 1) ? collatz((a[i] & 255) + 1) : collatz((b[i] & 127) + 2) + 1000; }
__global__ void structs(const int *a, const int *b, int *o) { AT; Pair p = {a[i], b[i]}; p = swap(swap(p)); o[i] = p.first * 3 + p.second; }
__global__ void mixed(const int *a, const int *b, float *o) { AT; o[i] = blend((float)(a[i] & 1023), (double)(b[i] & 1023) / 4, (short)(a[i] & 63)); }
__global__ void local(const int *a, const int *b, int *o) { AT; int s[16]; for (int k = 0; k < 16; k++) s[(k * 5 + a[i]) & 15] = k * b[i]; o[i] = s[b[i] & 15] + s[(a[i] + 1) & 15]; }
__global__ void lookup(const int *a, const int *b, int *o) { AT; o[i] = table[a[i] & 15] * counter[b[i] & 3]; }
__global__ void early(const int *a, const int *b, int *o) { AT; if (a[i] & 1) return; o[i] = b[i]; }
__global__ void vectors(const int4 *a, const int2 *b, int4 *o) { AT; int4 v = a[i]; int2 w = b[i]; o[i] = make_int4(v.w + w.x, v.z - w.y, v.y * w.x, v.x ^ w.y); }
}
