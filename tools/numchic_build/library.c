/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a library of kernels has beside kernels: what it was made from, which of its code this
 * processor runs, and the functions that LLVM makes calls of. It needs no C library.
 */
#include <stddef.h>

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

#if !defined(__APPLE__)
typedef unsigned long long __attribute__((may_alias, aligned(1))) word;

/* LLVM makes a call of it from loops that fill rows. */
__attribute__((visibility("hidden"))) void *memset(void *to, int value, size_t size)
{
    const word all = (unsigned char)value * 0x0101010101010101ULL;
    unsigned char *at = to, *end = at + size;
    for (; end - at >= 8; at += 8)
        *(word *)at = all;
    for (; at < end; at++)
        *at = (unsigned char)value;
    return to;
}
#endif

#if defined(__x86_64__)
#include <cpuid.h>

/* Whether the operating system keeps the upper halves of the registers. */
static int has_wide_registers(void)
{
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

/* 3: x86-64-v3 (AVX2, FMA, BMI), 2: x86-64-v2 (SSE4.2), 0: neither. */
EXPORTED int numchic_level(void)
{
    const unsigned v2 = bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B;
    const unsigned v3 = bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C;
    const unsigned v3_more = bit_AVX2 | bit_BMI | bit_BMI2;
    unsigned a, b, features = 0, more = 0, extended = 0, c, d;
    if (__get_cpuid(1, &a, &b, &features, &d) == 0 || (features & v2) != v2)
        return 0;
    __get_cpuid_count(7, 0, &a, &more, &c, &d);
    __get_cpuid(0x80000001, &a, &b, &extended, &d);
    if ((features & v3) == v3 && (more & v3_more) == v3_more && (extended & bit_LZCNT) &&
        has_wide_registers())
        return 3;
    return 2;
}
#else
/* 1: there is one kind of code. */
EXPORTED int numchic_level(void) { return 1; }
#endif
