/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a library of kernels has beside kernels: what it was made from, and which of its code this
 * processor runs. It needs no C library.
 */

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

EXPORTED const char *numchic_identity(void) { return NUMCHIC_IDENTITY; }

#if defined(_WIN32)
int DllMainCRTStartup(void *library, unsigned reason, void *reserved)
{
    (void)library, (void)reason, (void)reserved;
    return 1;
}
#endif

#if defined(__x86_64__)
#include <cpuid.h>

static int has(unsigned found, unsigned wanted) { return (found & wanted) == wanted; }

/* Which registers the operating system keeps, or nothing if it does not say. */
static unsigned kept_registers(unsigned features)
{
    unsigned low, high;
    if (!has(features, bit_OSXSAVE))
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Level of x86-64: 4 (AVX-512), 3 (AVX2, FMA, BMI), 2 (SSE4.2); 0 for older processors. */
EXPORTED int numchic_level(void)
{
    unsigned a, b, c, d, features = 0, more = 0, extended = 0;
    if (!__get_cpuid(1, &a, &b, &features, &d))
        return 0;
    __get_cpuid_count(7, 0, &a, &more, &c, &d);
    __get_cpuid(0x80000001, &a, &b, &extended, &d);
    const unsigned kept = kept_registers(features);
    if (!has(features, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B))
        return 0;
    if (!has(features, bit_FMA | bit_MOVBE | bit_AVX | bit_F16C) ||
        !has(more, bit_AVX2 | bit_BMI | bit_BMI2) || !has(extended, bit_LZCNT) || !has(kept, 0x06))
        return 2;
    if (!has(more, bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL) ||
        !has(kept, 0xE6))
        return 3;
    return 4;
}
#else
/* 1: there is one kind of code. */
EXPORTED int numchic_level(void) { return 1; }
#endif
