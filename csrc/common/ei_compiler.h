/* What is not standard C, each with a plain fallback: this is the one place that asks for a compiler.
 *
 * EI_GNU says that the compiler has GNU's attributes and vector extensions (GCC, Clang). Where it has
 * not, or where EI_PLAIN asks for it, the kernels' vectors are single doubles and all is C11.
 */
#ifndef EI_COMPILER_H
#define EI_COMPILER_H

#if defined(__GNUC__) && !defined(EI_PLAIN)
#define EI_GNU
#endif

#define EI_PRAGMA_(text) _Pragma(#text)

#if defined(EI_GNU)
#define EI_ALWAYS_INLINE inline __attribute__((always_inline, unused))
#define EI_PREFETCH(address) __builtin_prefetch(address, 1)
#elif defined(_MSC_VER)
#define EI_ALWAYS_INLINE __forceinline
#define EI_PREFETCH(address) ((void)(address))
#else
#define EI_ALWAYS_INLINE inline
#define EI_PREFETCH(address) ((void)(address))
#endif

/* In front of a loop of at most n rounds. Clang unrolls such loops unasked. */
#if defined(EI_GNU) && !defined(__clang__)
#define EI_UNROLL(n) EI_PRAGMA_(GCC unroll n)
#else
#define EI_UNROLL(n)
#endif

#endif
