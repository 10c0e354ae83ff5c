/* Many single words at once. First they are parted by their hashes, so that each part's table stays in
 * the cache. */
#include "joint/ei_joint_internal.h"

#include <string.h>

/* Count n single-word vectors into an empty counter: first they are parted by their hashes, so that
 * each part's table stays in the cache. `spare`: n words. The counter's slots are made when it is
 * next added to. Entries come out in an order that depends on the words alone. */
static int count_parted(ei_counter *c, const uint64_t *keys, uint64_t *spare, size_t n)
{
    enum { PART = 4096, MOST_PARTS = 1024 };
    const uint64_t spread = 0x9E3779B97F4A7C15ull; /* 2^64 / golden ratio: Knuth 6.4 */
    unsigned bits = 0;
    while ((n >> bits) > PART && ((size_t)1 << bits) < MOST_PARTS)
        bits++;
    const unsigned shift = 63 - bits; /* then one more, so that no shift is by 64 */
    if (n <= ROOMY) /* all at once, if there is room: large tables are slow to move */
        (void)ej_reserve_entries(c, n);
    size_t start[MOST_PARTS + 1] = {0};
    for (size_t i = 0; i < n; i++)
        start[((keys[i] * spread) >> shift >> 1) + 1]++;
    size_t longest = 0;
    for (size_t p = 0; p < (size_t)1 << bits; p++) {
        longest = start[p + 1] > longest ? start[p + 1] : longest;
        start[p + 1] += start[p];
    }
    size_t at[MOST_PARTS];
    memcpy(at, start, sizeof at);
    for (size_t i = 0; i < n; i++)
        spare[at[(keys[i] * spread) >> shift >> 1]++] = keys[i];
    size_t n_slots = 64;
    while (n_slots < 2 * longest)
        n_slots *= 2;
    uint32_t *slots = ei_alloc(n_slots, sizeof *slots);
    int status = slots ? EI_OK : EI_ENOMEM;
    for (size_t p = 0; p < (size_t)1 << bits && status == EI_OK; p++) {
        const size_t count = start[p + 1] - start[p];
        size_t mask = 63;
        while (mask + 1 < 2 * count)
            mask = 2 * mask + 1;
        memset(slots, 0, (mask + 1) * sizeof *slots);
        status = ej_reserve_entries(c, count);
        if (status != EI_OK)
            break;
        uint64_t *entries = c->entries + 2 * c->n;
        uint32_t found = 0;
        for (size_t i = start[p]; i < start[p + 1]; i++) {
            const uint64_t key = spare[i];
            size_t place = (key * spread) >> (32 - bits) & mask; /* the bits below the part's */
            while (slots[place] && entries[2 * (slots[place] - 1)] != key)
                place = (place + 1) & mask;
            if (slots[place] == 0) {
                slots[place] = ++found;
                entries[2 * (found - 1)] = key;
                entries[2 * (found - 1) + 1] = 0;
            }
            entries[2 * (slots[place] - 1) + 1]++;
        }
        c->n += found;
    }
    c->stale = 1;
    ei_free(slots);
    return status;
}

int ej_flush(ej_waiting *w, ei_counter *c)
{
    int status;
    if (c->n == 0)
        status = count_parted(c, w->keys, w->spare, w->n);
    else
        status = ei_counter_add(c, w->keys, 1, 1, NULL, w->n, NULL);
    w->n = 0;
    return status;
}
