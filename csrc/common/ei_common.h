/* What every file of the core shares: status codes, the cancel flag, alignment.
 *
 * The core is plain C11 and knows no Python. It checks no arguments: each header lists what the
 * caller has to see to. Functions that can fail return a status.
 */
#ifndef EI_COMMON_H
#define EI_COMMON_H

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
    return __builtin_mul_overflow(a, b, out);
}

/* 64-byte aligned memory, or NULL; released with ei_free. */
void *ei_alloc(size_t count, size_t size);
void *ei_zalloc(size_t count, size_t size);
void ei_free(void *pointer);

#endif
