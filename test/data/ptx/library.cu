// Kernels of the libraries: cooperative groups, CUB, libcu++; blocks and grids that wait.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_scan.cuh>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/pipeline>
namespace cg = cooperative_groups;
#define AT int i = blockIdx.x * blockDim.x + threadIdx.x
extern "C" {
__global__ void cg_reduce(const int *a, const int *b, int *o) { AT; auto block = cg::this_thread_block(); auto tile = cg::tiled_partition<8>(block); int s = cg::reduce(tile, a[i] & 1023, cg::plus<int>()); int m = cg::reduce(tile, b[i], cg::greater<int>()); o[i] = s ^ m; }
__global__ void cg_scan(const int *a, const int *b, int *o) { AT; auto tile = cg::tiled_partition<32>(cg::this_thread_block()); o[i] = cg::inclusive_scan(tile, a[i] & 255) - cg::exclusive_scan(tile, b[i] & 15); }
__global__ void cg_coalesced(const int *a, int *count, int *o) { AT; if (a[i] & 1) { auto g = cg::coalesced_threads(); int base; if (g.thread_rank() == 0) base = atomicAdd(count, (int)g.size()); base = g.shfl(base, 0); o[base + g.thread_rank()] = a[i]; } }
__global__ void cg_labeled(const int *a, const int *b, int *o) { AT; auto g = cg::labeled_partition(cg::coalesced_threads(), a[i] & 3); o[i] = g.size() * 100 + cg::reduce(g, b[i] & 7, cg::plus<int>()); }
__global__ void cub_scan(const int *a, const int *b, int *o) { typedef cub::BlockScan<int, 128> Scan; __shared__ typename Scan::TempStorage temp; AT; int x; Scan(temp).InclusiveSum(a[i] & 1023, x); o[i] = x + b[i]; }
__global__ void cub_sort(const int *a, const int *b, int *o) { typedef cub::BlockRadixSort<int, 128, 1, int> S; __shared__ typename S::TempStorage temp; AT; int k[1] = {a[i]}, v[1] = {b[i]}; S(temp).Sort(k, v); o[i] = k[0] ^ v[0]; }
__global__ void cuda_barrier(const int *a, const int *b, int *o) { __shared__ cuda::barrier<cuda::thread_scope_block> bar; __shared__ int s[128]; AT; if (threadIdx.x == 0) init(&bar, blockDim.x); __syncthreads(); s[threadIdx.x] = a[i]; bar.arrive_and_wait(); int x = s[127 - threadIdx.x]; auto token = bar.arrive(); x ^= b[i]; bar.wait(std::move(token)); s[threadIdx.x] = x; bar.arrive_and_wait(); o[i] = s[threadIdx.x ^ 64]; }
__global__ void cuda_memcpy_async(const int *a, const int *b, int *o) { __shared__ alignas(16) int s[128]; __shared__ cuda::barrier<cuda::thread_scope_block> bar; auto block = cg::this_thread_block(); if (threadIdx.x == 0) init(&bar, blockDim.x); block.sync(); cuda::memcpy_async(block, s, a + blockIdx.x * 128, cuda::aligned_size_t<16>(512), bar); bar.arrive_and_wait(); AT; o[i] = s[127 - threadIdx.x] + b[i]; }
__global__ void cuda_pipeline(const int *a, const int *b, int *o) { __shared__ int s[2][128]; AT; auto pipe = cuda::make_pipeline(); int total = 0; pipe.producer_acquire(); cuda::memcpy_async(&s[0][threadIdx.x], &a[i], sizeof(int), pipe); pipe.producer_commit(); for (int k = 0; k < 4; k++) { if (k < 3) { pipe.producer_acquire(); cuda::memcpy_async(&s[(k + 1) & 1][threadIdx.x], k & 1 ? &a[i] : &b[i], sizeof(int), pipe); pipe.producer_commit(); } pipe.consumer_wait(); total = total * 3 + s[k & 1][threadIdx.x]; pipe.consumer_release(); } o[i] = total; }
__global__ void message(const int *a, int *flag, int *o) { if (blockIdx.x == 0 && threadIdx.x == 0) { o[0] = a[0] * 2; cuda::atomic_ref<int, cuda::thread_scope_device> f(flag[0]); f.store(1, cuda::memory_order_release); } if (blockIdx.x == 1 && threadIdx.x == 0) { cuda::atomic_ref<int, cuda::thread_scope_device> f(flag[0]); while (f.load(cuda::memory_order_acquire) == 0) __nanosleep(20); o[1] = o[0] + 1; } }
__global__ void last_block(const int *a, unsigned *count, int *o) { __shared__ bool last; AT; __shared__ int s[128]; s[threadIdx.x] = a[i] & 255; __syncthreads(); for (int k = 64; k; k >>= 1) { if (threadIdx.x < k) s[threadIdx.x] += s[threadIdx.x + k]; __syncthreads(); } if (threadIdx.x == 0) { o[blockIdx.x] = s[0]; __threadfence(); last = atomicInc(count, gridDim.x) == gridDim.x - 1; } __syncthreads(); if (last && threadIdx.x == 0) { __threadfence(); int t = 0; for (int k = 0; k < gridDim.x; k++) t += ((volatile int *)o)[k]; o[128] = t; } }
__global__ void grid_barrier(const int *a, const int *b, int *o) { auto grid = cg::this_grid(); AT; o[i] = a[i]; grid.sync(); int x = o[gridDim.x * blockDim.x - 1 - i]; grid.sync(); o[i] = x + b[i]; }
__global__ void __cluster_dims__(2, 1, 1) clusters(const int *a, const int *b, int *o) { __shared__ int s[128]; auto c = cg::this_cluster(); AT; s[threadIdx.x] = a[i]; c.sync(); int *other = c.map_shared_rank(s, c.block_rank() ^ 1); int x = other[threadIdx.x]; atomicAdd(&other[threadIdx.x], 1); c.sync(); o[i] = x + s[threadIdx.x] + b[i]; }
}
