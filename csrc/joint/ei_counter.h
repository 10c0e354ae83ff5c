/* Counting vectors of 64-bit words, by the exact words: no two vectors are merged. */
#ifndef EI_COUNTER_H
#define EI_COUNTER_H

#include "common/ei_common.h"

/* Bytes that counters may still take. One thread at a time. */
typedef struct {
    int64_t left;
} ei_budget;

/* Vectors and how often they occurred. */
typedef struct {
    size_t words;      /* 64-bit words of a vector */
    unsigned dense;    /* above 0: one word below 2^dense, looked up in a table; else hashed */
    uint64_t n;        /* distinct vectors */
    uint64_t capacity; /* of entries */
    uint64_t *entries; /* n x (words + 1): the vector, how often it occurred */
    void *slots;       /* dense: uint32_t id + 1; hashed: hash's high half, id + 1 */
    uint64_t n_slots;  /* hashed: a power of two, at least twice n */
    int stale;         /* whether the slots lack entries */
    ei_budget *budget;
} ei_counter;

/* An empty counter. words >= 1; dense <= 24, and 0 unless words is 1. The budget outlives it. */
int ei_counter_open(ei_counter *counter, size_t words, unsigned dense, ei_budget *budget);
void ei_counter_close(ei_counter *counter);

/* Count n vectors, each `weights[i]` times (NULL: once). Word w of vector i is keys[w * ld + i * step].
 * ids, if not NULL, gets the vectors' positions. EI_ELIMIT: the budget would not do; the counter is
 * then only fit to be closed. EI_EOVERFLOW: 2^32 - 1 distinct vectors. */
int ei_counter_add(ei_counter *counter, const uint64_t *keys, size_t ld, size_t step,
                   const uint64_t *weights, size_t n, uint32_t *ids);

#endif
