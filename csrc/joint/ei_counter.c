/* The table that counts distinct words: direct where words are short, else hashed, within a budget. */
#define _DEFAULT_SOURCE /* madvise */
#include "joint/ei_joint_internal.h"

#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { NEAR = 12 }; /* bits up to which a direct table stays in the nearest cache */

int ej_take(ei_budget *budget, size_t count, size_t size, void **memory)
{
    enum { LARGE_PAGE = 2 << 20 };
    size_t bytes;
    if (ei_mul(count, size, &bytes) || bytes > INT64_MAX - LARGE_PAGE)
        return EI_EOVERFLOW;
    if ((int64_t)bytes > budget->left)
        return EI_ELIMIT;
    if (bytes < 2 * LARGE_PAGE) {
        *memory = ei_alloc(bytes, 1);
    } else {
        const size_t whole = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        *memory = ei_aligned(LARGE_PAGE, whole);
#ifdef MADV_HUGEPAGE
        if (*memory != NULL)
            (void)madvise(*memory, whole, MADV_HUGEPAGE);
#endif
    }
    if (*memory == NULL)
        return EI_ENOMEM;
    budget->left -= (int64_t)bytes;
    return EI_OK;
}

void ej_give_back(ei_budget *budget, void *memory, size_t bytes)
{
    if (memory != NULL) {
        ei_free(memory);
        budget->left += (int64_t)bytes;
    }
}

static size_t slot_size(const ei_counter *c) { return c->dense ? 4 : 8; }

/* Empty slots. */
static int take_slots(const ei_counter *c, uint64_t n_slots, void **slots)
{
    int status = ej_take(c->budget, n_slots, slot_size(c), slots);
    if (status == EI_OK)
        memset(*slots, 0, n_slots * slot_size(c));
    return status;
}

int ei_counter_open(ei_counter *counter, size_t words, unsigned dense, ei_budget *budget)
{
    memset(counter, 0, sizeof *counter);
    counter->words = words;
    counter->dense = dense;
    counter->budget = budget;
    counter->n_slots = dense ? (uint64_t)1 << dense : 1024;
    return take_slots(counter, counter->n_slots, &counter->slots);
}

void ei_counter_close(ei_counter *counter)
{
    if (counter->budget == NULL)
        return;
    ej_give_back(counter->budget, counter->slots, counter->n_slots * slot_size(counter));
    ej_give_back(counter->budget, counter->entries, counter->capacity * (counter->words + 1) * 8);
    memset(counter, 0, sizeof *counter);
}

/* Enter all vectors into new slots. */
static void rebuild(const ei_counter *c, uint64_t *slots, uint64_t n_slots)
{
    enum { AHEAD = 32 };
    const uint64_t mask = n_slots - 1;
    uint64_t hash[AHEAD] = {0};
    for (uint64_t i = 0; i < c->n + AHEAD; i++) {
        uint64_t *next = hash + i % AHEAD;
        if (i >= AHEAD) {
            uint64_t at = *next & mask;
            while (slots[at])
                at = (at + 1) & mask;
            slots[at] = (*next & 0xffffffff00000000ull) | (i - AHEAD + 1);
        }
        if (i < c->n) {
            *next = ej_hash(c->entries + i * (c->words + 1), 1, c->words);
            EI_PREFETCH(slots + (*next & mask));
        }
    }
}

int ej_reserve_entries(ei_counter *c, size_t more)
{
    if (c->n + more > UINT32_MAX - 1)
        return EI_EOVERFLOW;
    if (c->n + more > c->capacity) {
        uint64_t capacity = c->capacity + c->capacity / (c->capacity < ROOMY ? 1 : 2) + LOTS;
        capacity = capacity < c->n + more ? c->n + more : capacity;
        void *entries;
        int status = ej_take(c->budget, capacity, (c->words + 1) * 8, &entries);
        if (status != EI_OK)
            return status;
        if (c->n)
            memcpy(entries, c->entries, c->n * (c->words + 1) * 8);
        ej_give_back(c->budget, c->entries, c->capacity * (c->words + 1) * 8);
        c->entries = entries;
        c->capacity = capacity;
    }
    return EI_OK;
}

/* Room for at least `more` further vectors. */
static int reserve(ei_counter *c, size_t more)
{
    int status = ej_reserve_entries(c, more);
    if (status != EI_OK)
        return status;
    if (!c->dense && (c->stale || 2 * (c->n + more) > c->n_slots)) {
        uint64_t n_slots = 2 * c->n_slots;
        while (2 * (c->n + more) > n_slots)
            n_slots *= 2;
        void *memory;
        status = EI_ELIMIT;
        if (n_slots <= ROOMY) /* fewer rebuildings while that costs little */
            status = take_slots(c, 2 * n_slots, &memory);
        if (status == EI_OK)
            n_slots *= 2;
        else
            status = take_slots(c, n_slots, &memory);
        if (status != EI_OK)
            return status;
        rebuild(c, memory, n_slots);
        ej_give_back(c->budget, c->slots, c->n_slots * 8);
        c->slots = memory;
        c->stale = 0;
        c->n_slots = n_slots;
    }
    return EI_OK;
}

/* At most LOTS vectors, for which there is room. */
static void add_some(ei_counter *c, const uint64_t *keys, size_t ld, size_t step,
                     const uint64_t *weights, size_t n, uint32_t *ids)
{
    if (c->dense) {
        uint32_t *slots = c->slots;
        if (c->dense > NEAR) {
            for (size_t i = 0; i < n; i++)
                EI_PREFETCH(slots + keys[i * step]);
            for (size_t i = 0; i < n; i++)
                EI_PREFETCH(c->entries + 2 * (uint64_t)slots[keys[i * step]]);
        }
        for (size_t i = 0; i < n; i++) {
            const uint64_t key = keys[i * step];
            uint32_t id = slots[key];
            if (id == 0) {
                c->entries[2 * c->n] = key;
                c->entries[2 * c->n + 1] = 0;
                id = slots[key] = (uint32_t)++c->n;
            }
            c->entries[2 * (uint64_t)id - 1] += weights ? weights[i] : 1;
            if (ids)
                ids[i] = id - 1;
        }
        return;
    }
    uint64_t *slots = c->slots;
    const uint64_t mask = c->n_slots - 1;
    const size_t stride = c->words + 1;
    uint64_t hash[LOTS];
    for (size_t i = 0; i < n; i++) {
        hash[i] = ej_hash(keys + i * step, ld, c->words);
        EI_PREFETCH(slots + (hash[i] & mask));
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t slot = slots[hash[i] & mask], id = (slot & 0xffffffffull) - 1;
        if (slot != 0)
            EI_PREFETCH(c->entries + id * stride);
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t *key = keys + i * step;
        const uint64_t tag = hash[i] & 0xffffffff00000000ull;
        uint64_t at = hash[i] & mask, id;
        for (;; at = (at + 1) & mask) {
            const uint64_t slot = slots[at];
            if (slot == 0) {
                id = c->n++;
                slots[at] = tag | (id + 1);
                for (size_t w = 0; w < c->words; w++)
                    c->entries[id * stride + w] = key[w * ld];
                c->entries[id * stride + c->words] = 0;
                break;
            }
            id = (slot & 0xffffffffull) - 1;
            if ((slot & 0xffffffff00000000ull) == tag &&
                ej_same(c->entries + id * stride, key, ld, c->words))
                break;
        }
        c->entries[id * stride + c->words] += weights ? weights[i] : 1;
        if (ids)
            ids[i] = (uint32_t)id;
    }
}

int ei_counter_add(ei_counter *counter, const uint64_t *keys, size_t ld, size_t step,
                   const uint64_t *weights, size_t n, uint32_t *ids)
{
    for (size_t i = 0; i < n; i += LOTS) {
        const size_t some = ei_least(LOTS, n - i);
        int status = reserve(counter, some);
        if (status != EI_OK)
            return status;
        add_some(counter, keys + i * step, ld, step, weights ? weights + i : NULL, some,
                 ids ? ids + i : NULL);
    }
    return EI_OK;
}
