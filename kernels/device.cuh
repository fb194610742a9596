// What kernels are written with: the only file with PTX and warp intrinsics.
//
// The same kernels are compiled by nvcc for a GPU and by g++ for the host runner (host/runner.h),
// where threads of a block are fibers and each primitive below is emulated exactly and checked.
#pragma once
#include <stdint.h>

#ifdef __CUDACC__
#define DEVICE __device__ __forceinline__
#define METHOD __device__ __forceinline__
// A kernel takes one struct by value; it is declared a second time in src/device/cuda, and a test
// compares the two. `min_blocks` resident blocks a multiprocessor bound the registers.
#define KERNEL(name, Args, max_threads, min_blocks)                                   \
    extern "C" __global__ void __launch_bounds__(max_threads, min_blocks) name(       \
        const __grid_constant__ Args args)
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define UNROLL_TWICE _Pragma("unroll 2")
#else
#include "host/runner.h"
#define DEVICE static inline
#define METHOD inline
#define KERNEL(name, Args, max_threads, min_blocks)                                   \
    static void name(const Args& args);                                               \
    static const host::Kernel host_##name(#name, sizeof(Args), max_threads,           \
                                          [](const void* a) { name(*(const Args*)a); }); \
    static void name(const Args& args)
#define UNROLL
#define ROLLED
#define UNROLL_TWICE
#endif

// ---- numbers ------------------------------------------------------------------------------------

// A bfloat16 as its bits: the upper half of a float.
struct bf16 {
    uint16_t bits;
};

// 8 channels at one place of a plane, the unit of every activation: 16 bytes, aligned.
struct alignas(16) Pixel {
    uint32_t pair[4];  // channels 2i and 2i + 1 in the lower and upper half
};

DEVICE float bits_to_float(uint32_t bits) {
#ifdef __CUDACC__
    return __uint_as_float(bits);
#else
    float x;
    memcpy(&x, &bits, 4);
    return x;
#endif
}

DEVICE uint32_t float_to_bits(float x) {
#ifdef __CUDACC__
    return __float_as_uint(x);
#else
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
#endif
}

DEVICE float to_float(bf16 x) { return bits_to_float((uint32_t)x.bits << 16); }
DEVICE float low(uint32_t pair) { return bits_to_float(pair << 16); }
DEVICE float high(uint32_t pair) { return bits_to_float(pair & 0xffff0000u); }

// To the nearest bfloat16, ties to even; what is not a number stays so.
DEVICE bf16 to_bf16(float x) {
    uint32_t bits = float_to_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
    return {(uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}

// Two bfloat16, the first in the lower half.
DEVICE uint32_t to_pair(float first, float second) {
#ifdef __CUDACC__
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
#else
    return (uint32_t)to_bf16(first).bits | (uint32_t)to_bf16(second).bits << 16;
#endif
}

// The 8 channels of a pixel as floats, and back.
DEVICE void to_floats(Pixel pixel, float (&x)[8]) {
    UNROLL for (int i = 0; i < 4; i++) {
        x[2 * i] = low(pixel.pair[i]);
        x[2 * i + 1] = high(pixel.pair[i]);
    }
}

DEVICE Pixel to_pixel(const float (&x)[8]) {
    Pixel pixel;
    UNROLL for (int i = 0; i < 4; i++) pixel.pair[i] = to_pair(x[2 * i], x[2 * i + 1]);
    return pixel;
}

// A product that is rounded before anything is added to it: kernels that must agree in every bit do
// not leave it to the compiler which are fused.
DEVICE float rounded_product(float a, float b) {
#ifdef __CUDACC__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

// Says what holds where a number of the arguments is one that the kernel knows: the host makes it from
// an enumeration, whose numbers a test compares with these. The host runner looks; on a GPU, kernels at
// the limit of their registers would spill for it.
DEVICE void must_be(bool known) {
#ifdef __CUDACC__
    (void)known;
#else
    if (!known) host::fail("a code that the kernel does not know");
#endif
}

DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

// ---- where a thread is --------------------------------------------------------------------------

DEVICE int thread_idx() { return (int)threadIdx.x; }
DEVICE int n_threads() { return (int)blockDim.x; }
DEVICE int lane_idx() { return (int)threadIdx.x & 31; }
DEVICE int warp_idx() { return (int)threadIdx.x >> 5; }

// Every thread of the block arrives before one goes on; writes before it are seen after it.
DEVICE void sync_block() {
#ifdef __CUDACC__
    __syncthreads();
#else
    host::sync_block();
#endif
}

// ---- memory -------------------------------------------------------------------------------------

// A tensor in global memory that no block of the launch writes.
template <class T>
struct In {
    const T* data;
    METHOD T operator[](int64_t i) const {
#ifndef __CUDACC__
        host::read(data + i, sizeof(T), alignof(T), true);
#endif
        return data[i];
    }
};

#ifdef __CUDACC__
template <>
METHOD Pixel In<Pixel>::operator[](int64_t i) const {
    uint4 v = __ldg(reinterpret_cast<const uint4*>(data) + i);
    return {{v.x, v.y, v.z, v.w}};
}
template <>
METHOD float In<float>::operator[](int64_t i) const {
    return __ldg(data + i);
}
#endif

// A tensor in global memory that the launch writes. A block reads only what it wrote itself, or
// what no block writes.
template <class T>
struct Out {
    T* data;
    METHOD T read(int64_t i) const {
#ifndef __CUDACC__
        host::read(data + i, sizeof(T), alignof(T), false);
#endif
        return data[i];
    }
    METHOD void write(int64_t i, T value) const {
#ifndef __CUDACC__
        host::write(data + i, sizeof(T), alignof(T));
#endif
        data[i] = value;
    }
};

// An array in the block's shared memory, `len` of T from byte `offset`, which must be aligned.
template <class T>
struct Shared {
    T* data;
#ifndef __CUDACC__
    int len;
#endif
    METHOD T& operator[](int i) const {
#ifndef __CUDACC__
        if (i < 0 || i >= len) host::fail("an index outside its shared array");
#endif
        return data[i];
    }
};

template <class T>
DEVICE Shared<T> shared(int offset, int len) {
#ifdef __CUDACC__
    extern __shared__ __align__(1024) unsigned char shared_memory[];
    (void)len;
    return {reinterpret_cast<T*>(shared_memory + offset)};
#else
    return {(T*)host::shared((uint32_t)offset, len * sizeof(T), alignof(T)), len};
#endif
}

// Copies 16 bytes from global to shared memory (byte address `to`, a multiple of 16) without
// waiting; zeros where not `valid`, and then nothing is read.
DEVICE void copy_async(int to, const In<Pixel>& from, int64_t i, bool valid) {
#ifdef __CUDACC__
    extern __shared__ __align__(1024) unsigned char shared_memory[];
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared_memory) + (uint32_t)to;
    int n = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address),
                 "l"(from.data + i), "r"(n)
                 : "memory");
#else
    host::copy_async((uint32_t)to, from.data + i, valid);
#endif
}

// Ends a group of copies of this thread.
DEVICE void commit_copies() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    host::commit_copies();
#endif
}

// Waits until at most the latest `N` groups of this thread's copies are under way. Other threads
// see them after sync_block().
template <int N>
DEVICE void wait_copies() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
    host::wait_copies(N);
#endif
}

// ---- grids whose blocks are all resident --------------------------------------------------------

// A tensor in global memory that the blocks of one cooperative launch exchange: before the launch
// anyone writes it; in it each place is written once at most, by one block, and read by others after a
// grid_barrier() alone (grid_barrier.cuh, which says why plain loads see it then).
template <class T>
struct Exchanged {
    T* data;
    METHOD T fetch(int64_t i) const {
#ifndef __CUDACC__
        host::fetch(data + i, sizeof(T), alignof(T));
#endif
        return data[i];
    }
    METHOD void publish(int64_t i, T value) const {
#ifndef __CUDACC__
        host::publish(data + i, sizeof(T), alignof(T));
#endif
        data[i] = value;
    }
};

// Orders what this thread has written or seen before it, for all threads of the device.
DEVICE void fence_grid() {
#ifdef __CUDACC__
    __threadfence();
#else
    host::fence_grid();
#endif
}

// Counts one up, and gives what was there before.
DEVICE uint64_t count_arrival(const Out<uint64_t>& arrivals) {
#ifdef __CUDACC__
    return atomicAdd(reinterpret_cast<unsigned long long*>(arrivals.data), 1ull);
#else
    return host::count_arrival(arrivals.data);
#endif
}

// Waits until so many have been counted.
DEVICE void await_arrivals(const Out<uint64_t>& arrivals, uint64_t n) {
#ifdef __CUDACC__
    while (*(volatile uint64_t*)arrivals.data < n) {
    }
#else
    host::await_arrivals(arrivals.data, n);
#endif
}

// ---- warps --------------------------------------------------------------------------------------

// The value of the lane whose number differs in the bits of `mask`.
DEVICE float shuffle_xor(float x, int mask) {
#ifdef __CUDACC__
    return __shfl_xor_sync(0xffffffffu, x, mask);
#else
    return host::shuffle_xor(x, mask);
#endif
}

DEVICE double shuffle_xor(double x, int mask) {
#ifdef __CUDACC__
    return __shfl_xor_sync(0xffffffffu, x, mask);
#else
    return host::shuffle_xor(x, mask);
#endif
}

// The sum over the lanes of a warp, on every lane; the order is a fixed tree.
template <class T>
DEVICE T warp_sum(T x) {
    UNROLL for (int mask = 16; mask > 0; mask /= 2) x += shuffle_xor(x, mask);
    return x;
}

// On which lanes of a warp `x` holds, a bit each.
DEVICE uint32_t lanes_where(bool x) {
#ifdef __CUDACC__
    return __ballot_sync(0xffffffffu, x);
#else
    return (uint32_t)warp_sum(x ? (double)(1u << lane_idx()) : 0.0);
#endif
}

// How many bits are set.
DEVICE int count_bits(uint32_t bits) {
#ifdef __CUDACC__
    return __popc(bits);
#else
    return __builtin_popcount(bits);
#endif
}

// Four 8x8 matrices of 16-bit values: lane l gives the byte address of row l % 8 of matrix l / 8
// in shared memory, and receives of matrix m the values 2 (l % 4) and + 1 of row l / 4.
DEVICE void load_matrices(uint32_t (&out)[4], int row) {
#ifdef __CUDACC__
    extern __shared__ __align__(1024) unsigned char shared_memory[];
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared_memory) + (uint32_t)row;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
#else
    host::load_matrices((uint32_t)row, out, false);
#endif
}

// The same, each matrix transposed: lane l receives of matrix m the value l / 4 of rows
// 2 (l % 4) and + 1.
DEVICE void load_matrices_transposed(uint32_t (&out)[4], int row) {
#ifdef __CUDACC__
    extern __shared__ __align__(1024) unsigned char shared_memory[];
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared_memory) + (uint32_t)row;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
#else
    host::load_matrices((uint32_t)row, out, true);
#endif
}

// d += a b with a of 16 x 16, b of 16 x 8 and d of 16 x 8, spread over a warp. With g = lane / 4
// and t = 2 (lane % 4): a holds (g, t), (g + 8, t), (g, t + 8), (g + 8, t + 8), each with the next
// column; b holds (t, g), (t + 8, g), each with the next row; d holds (g, t), (g, t + 1),
// (g + 8, t), (g + 8, t + 1).
DEVICE void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#ifdef __CUDACC__
    asm(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    host::multiply_add(d, a, b0, b1);
#endif
}

// ---- blocks -------------------------------------------------------------------------------------

// The sum over the threads of a block, on every thread; the order is fixed by the block's size.
// `room` holds a number for each warp, and is free again after the next sync_block().
template <class T>
DEVICE T block_sum(T x, const Shared<T>& room) {
    x = warp_sum(x);
    if (lane_idx() == 0) room[warp_idx()] = x;
    sync_block();
    T sum = 0;
    for (int warp = 0; warp < n_threads() / 32; warp++) sum += room[warp];
    return sum;
}
