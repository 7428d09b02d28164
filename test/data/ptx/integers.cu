// Integer arithmetic, bits, comparisons. All kernels: a, b in, out.
#define AT int i = blockIdx.x * blockDim.x + threadIdx.x
extern "C" {
__global__ void wrap(const int *a, const int *b, int *o) { AT; o[i] = a[i] * b[i] + (a[i] - b[i]); }
__global__ void divide(const int *a, const int *b, int *o) { AT; o[i] = a[i] / b[i] * 7 + a[i] % b[i]; }
__global__ void unsigned_divide(const unsigned *a, const unsigned *b, unsigned *o) { AT; o[i] = a[i] / b[i] ^ a[i] % b[i]; }
__global__ void high(const int *a, const int *b, int *o) { AT; o[i] = __mulhi(a[i], b[i]) ^ (int)__umulhi(a[i], b[i]); }
__global__ void wide(const int *a, const int *b, long long *o) { AT; o[i] = (long long)a[i] * b[i] + ((long long)a[i] << 20) / (b[i] | 1); }
__global__ void shifts(const int *a, const int *b, int *o) { AT; o[i] = (a[i] << (b[i] & 31)) ^ (a[i] >> (b[i] & 15)) ^ (int)((unsigned)a[i] >> (b[i] & 7)); }
__global__ void bits(const int *a, const int *b, int *o) { AT; o[i] = __popc(a[i]) + 100 * __clz(b[i]) + 10000 * __ffs(a[i]) ^ __brev(b[i]); }
__global__ void bytes(const unsigned *a, const unsigned *b, unsigned *o) { AT; o[i] = __byte_perm(a[i], b[i], 0x2715); }
__global__ void extremes(const int *a, const int *b, int *o) { AT; o[i] = max(a[i], b[i]) - min(a[i] >> 1, b[i] >> 1) + abs(a[i] >> 2); }
__global__ void logic(const int *a, const int *b, int *o) { AT; int x = a[i], y = b[i]; o[i] = (x & ~y) | (y ^ (x >> 3)) & ~(x | 0xff); }
__global__ void narrow(const signed char *a, const unsigned short *b, short *o) { AT; o[i] = (short)(a[i] * b[i] + (a[i] > 3)); }
__global__ void compare(const int *a, const int *b, int *o) { AT; o[i] = (a[i] < b[i]) + 2 * ((unsigned)a[i] < (unsigned)b[i]) + 4 * (a[i] == b[i]); }
__global__ void wide128(const unsigned long long *a, const unsigned long long *b, unsigned long long *o) { AT; unsigned __int128 p = (unsigned __int128)a[i] * b[i] + a[i]; o[i] = (unsigned long long)(p >> 64) ^ (unsigned long long)p; }
}
