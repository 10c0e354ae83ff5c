/* What every file of the core shares: status codes, the cancel flag, alignment.
 *
 * The core is plain C11 and knows no Python. It checks no arguments: each header lists what the
 * caller has to see to. Functions that can fail return a status.
 */
#ifndef EI_COMMON_H
#define EI_COMMON_H

#include "common/ei_compiler.h"

#include <stddef.h>
#include <stdint.h>

enum ei_status {
    EI_OK = 0,
    EI_ENOMEM = 1,     /* an allocation failed */
    EI_ECANCELLED = 2, /* the cancel flag was raised */
    EI_EOVERFLOW = 3,  /* a size or a counter would not fit */
    EI_ELIMIT = 4      /* the caller's memory limit was reached */
};

/* Polled every few milliseconds; work stops soon after it becomes non-zero. NULL: never. */
typedef const volatile int32_t *ei_cancel;

static inline int ei_cancelled(ei_cancel flag) { return flag != NULL && *flag != 0; }

/* Samples come in groups of 64 (one word of a bit mask, four panels of 16 doubles). */
enum { EI_GROUP = 64, EI_PANEL = 16 };

/* a * b into *out; non-zero if it does not fit. */
static inline int ei_mul(size_t a, size_t b, size_t *out)
{
#if defined(EI_GNU)
    return __builtin_mul_overflow(a, b, out);
#else
    *out = a * b;
    return b != 0 && a > SIZE_MAX / b;
#endif
}

static inline size_t ei_least(size_t a, size_t b) { return a < b ? a : b; }

/* n samples, filled up to whole groups. */
static inline size_t ei_whole_groups(size_t n) { return (n + EI_GROUP - 1) / EI_GROUP * EI_GROUP; }

/* Memory at a multiple of `alignment` (a power of two, a pointer's size at least), bytes not 0, or NULL;
 * released with ei_free. */
void *ei_aligned(size_t alignment, size_t bytes);

/* 64-byte aligned memory, or NULL; released with ei_free. */
void *ei_alloc(size_t count, size_t size);
void *ei_zalloc(size_t count, size_t size);
void ei_free(void *pointer);

/* What one piece of work holds, released together. All zero to begin with. */
enum { EI_HELD = 48 };
typedef struct {
    void *block[EI_HELD];
    int n;
    int failed; /* an allocation did */
} ei_memory;

/* As ei_alloc and ei_zalloc; a failure is remembered, so that one look at the end will do. */
void *ei_hold(ei_memory *memory, size_t count, size_t size);
void *ei_hold_zeros(ei_memory *memory, size_t count, size_t size);
void ei_release(ei_memory *memory);

/* `status`, or EI_ENOMEM where that is EI_OK and an allocation failed. */
static inline int ei_held(const ei_memory *memory, int status)
{
    return status == EI_OK && memory->failed ? EI_ENOMEM : status;
}

#endif
