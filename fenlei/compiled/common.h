/* What all the loops are written with. */

#ifndef FENLEI_COMMON_H
#define FENLEI_COMMON_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* One copy of a function for each kind of processor, chosen when the module is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EACH_PROCESSOR
#endif

/* Into each of those copies. */
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#if defined(__GNUC__)
#define PREFETCH(place) __builtin_prefetch(place)
#else
#define PREFETCH(place)
#endif

#endif
