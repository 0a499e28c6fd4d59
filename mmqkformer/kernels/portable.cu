// CUDA C++ that is plain C++ as well. A kernel's threads share nothing, so that as plain C++ a
// call is one thread: set_thread says which, and of how many.
//
// Compiled with STORAGE, the type of currents and spikes in memory (Half, BFloat16, float or
// double), STEPS, the number T of time steps, and TOGETHER, the number of neighbours that a thread
// reads and writes at once. Kernels take pointers, Index and double only.

typedef long long Index;

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void __launch_bounds__(256)
#define DEVICE __device__ __forceinline__

DEVICE Index first_thread() { return blockIdx.x * (Index)blockDim.x + threadIdx.x; }
DEVICE Index all_threads() { return gridDim.x * (Index)blockDim.x; }
#else
#include <cmath>
using std::exp;
using std::fabs;
using std::floor;
using std::rint;
#define KERNEL extern "C" void
#define DEVICE static inline

static Index the_thread = 0, the_threads = 1;

extern "C" void set_thread(Index thread, Index threads) {
    the_thread = thread;
    the_threads = threads;
}

DEVICE Index first_thread() { return the_thread; }
DEVICE Index all_threads() { return the_threads; }
#endif

#define FOR_EACH(i, count) \
    for (Index i = first_thread(); i < (count); i += all_threads())

// Few steps live in registers, which takes unrolled loops; more would take many seconds to compile
#if defined(__CUDACC__) && STEPS <= 16
#define FOR_STEPS(t) _Pragma("unroll") for (int t = 0; t < STEPS; ++t)
#define FOR_STEPS_BACKWARD(t) _Pragma("unroll") for (int t = STEPS - 1; t >= 0; --t)
#else
#define FOR_STEPS(t) for (int t = 0; t < STEPS; ++t)
#define FOR_STEPS_BACKWARD(t) for (int t = STEPS - 1; t >= 0; --t)
#endif

#ifdef __CUDACC__
#define FOR_LANES(l) _Pragma("unroll") for (int l = 0; l < TOGETHER; ++l)
#else
#define FOR_LANES(l) for (int l = 0; l < TOGETHER; ++l)
#endif

struct Half { unsigned short bits; };
struct BFloat16 { unsigned short bits; };

union FloatBits {
    float value;
    unsigned int bits;
};

DEVICE unsigned int bits_of(float value) {
    FloatBits both;
    both.value = value;
    return both.bits;
}

DEVICE float float_of(unsigned int bits) {
    FloatBits both;
    both.bits = bits;
    return both.value;
}

DEVICE double widen(double x) { return x; }
DEVICE float widen(float x) { return x; }
DEVICE float widen(BFloat16 x) { return float_of((unsigned int)x.bits << 16); }

DEVICE float widen(Half x) {
#ifdef __CUDACC__
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
#else
    unsigned int sign = (x.bits & 0x8000u) << 16, magnitude = x.bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return float_of(sign | 0x7f800000u | magnitude << 13);
    // The exponent's bias is 15 in place of 127; the product is exact, of subnormals as well
    return float_of(sign | bits_of(float_of(magnitude << 13) * float_of(0x77800000u)));
#endif
}

// Rounds to nearest, ties to even.
DEVICE void store(double *to, double x) { *to = x; }
DEVICE void store(float *to, float x) { *to = x; }

DEVICE void store(BFloat16 *to, float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to->bits) : "f"(x));
#else
    unsigned int bits = bits_of(x);
    bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to->bits = is_nan ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
#endif
}

DEVICE void store(Half *to, float x) {
#ifdef __CUDACC__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(x));
#else
    unsigned int bits = bits_of(x), magnitude = bits & 0x7fffffffu, rounded;
    if (magnitude > 0x7f800000u) {
        rounded = 0x7e00u;  // not a number
    } else if (magnitude >= 0x477ff000u) {
        rounded = 0x7c00u;  // from 65520 on: infinite
    } else if (magnitude < 0x38800000u) {
        // Below 2^-14: the unit in the last place of a half is that of a float from 0.5 to 1
        rounded = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    } else {
        rounded = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    }
    to->bits = (bits >> 16 & 0x8000u) | rounded;
#endif
}

typedef STORAGE Storage;
typedef decltype(widen(Storage())) Wide;  // of the membrane: float, or double for double

// Neighbours in memory, which are one access where their address is a multiple of their size.
template <typename T> struct alignas(sizeof(T) * TOGETHER) Pack { T at[TOGETHER]; };

template <typename T> DEVICE Pack<T> read(const T *from) {
    return *reinterpret_cast<const Pack<T> *>(from);
}

template <typename T> DEVICE void write(T *to, const Pack<T> &pack) {
    *reinterpret_cast<Pack<T> *>(to) = pack;
}
