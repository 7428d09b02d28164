// Calls: through pointers, virtual, recursive; stack memory, printf, 128-bit words.
#include <alloca.h>
#include <cassert>
#include <cstdio>
#define AT int i = blockIdx.x * blockDim.x + threadIdx.x
typedef int (*Function)(int);
__device__ __noinline__ int twice(int x) { return 2 * x; }
__device__ __noinline__ int square(int x) { return x * x; }
__device__ __noinline__ int negated(int x) { return -x; }
__device__ Function functions[3] = {twice, square, negated};
struct Shape { __device__ virtual int area(int x) const { return x; } };
struct Rectangle : Shape { int width; __device__ Rectangle(int w) : width(w) {} __device__ int area(int x) const override { return width * x; } };
struct Triangle : Shape { int base; __device__ Triangle(int b) : base(b) {} __device__ int area(int x) const override { return base * x / 2; } };
__device__ __noinline__ int ackermann(int m, int n) { return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }
__device__ int odd(int n);
__device__ __noinline__ int even(int n) { return n == 0 ? 1 : odd(n - 1); }
__device__ __noinline__ int odd(int n) { return n == 0 ? 0 : even(n - 1); }
__device__ __noinline__ int measured(const Shape *s, int x) { return s->area(x) + 1; }
extern "C" {
__global__ void pointers(const int *a, const int *b, int *o) { AT; o[i] = functions[((unsigned)a[i]) % 3](b[i] & 1023); }
__global__ void virtuals(const int *a, const int *b, int *o) { AT; Rectangle r(a[i] & 15); Triangle t(a[i] & 31); const Shape *s = (b[i] & 1) ? (const Shape *)&r : &t; o[i] = measured(s, b[i] & 255); }
__global__ void recursion(const int *a, const int *b, int *o) { AT; o[i] = ackermann(a[i] & 1, b[i] & 3) + 100 * even(a[i] & 7); }
__global__ void stack(const int *a, const int *b, int *o) { AT; int n = (a[i] & 15) + 1; int *p = (int *)alloca(n * sizeof(int)); for (int k = 0; k < n; k++) p[(k * 17 + 3) % n] = b[i] + k; int s = 0; for (int k = 0; k < n; k++) s += p[k] * (k + 1); o[i] = s; }
__global__ void print(const int *a, const int *b, int *o) { AT; if (i < 3) o[i] = printf("%d: %5.2f [%-4s] %x %c %lld %u%%\n", i, a[i] * 0.5, i == 1 ? "one" : "no", b[i], 'a' + i, (long long)b[i] << 33, 7u); }
__global__ void spaces(const int *a, const int *b, int *o) { AT; __shared__ int s[128]; int l[4]; s[threadIdx.x] = a[i]; l[i & 3] = b[i]; __syncthreads(); const int *p = i % 3 == 0 ? &s[threadIdx.x] : i % 3 == 1 ? &l[i & 3] : &b[i]; o[i] = *p * 2 + __isShared(p); }
__global__ void heap(const int *a, const int *b, int *o) { AT; int n = (a[i] & 7) + 1; int *p = (int *)malloc(n * sizeof(int)); for (int k = 0; k < n; k++) p[k] = b[i] ^ k; int s = 0; for (int k = 0; k < n; k++) s += p[k]; free(p); o[i] = s; }
__global__ void asserted(const int *a, const int *b, int *o) { AT; assert(a[i] < 1000000 || i != 77); o[i] = 1; }
}
