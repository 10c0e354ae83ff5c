#define _DEFAULT_SOURCE /* madvise */
#include "joint/ei_joint.h"

#include "kernels/ei_eval.h"
#include "common/ei_math.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum {
    LOTS = 512,     /* at least as many as a block of ei_eval has samples */
    ROOMY = 1 << 21, /* slots up to which a table grows fourfold */
    NEAR = 12,      /* bits up to which a direct table stays in the nearest cache */
    WAITING_PAIRS = 4,       /* pairs of sets up to which single words wait to be counted, */
    LEAST_WAITING = 1 << 15, /* samples from which on they do, */
    MOST_WAITING = 1 << 22   /* and how many may wait */
};

#define GIVE_UP(code)                                                                              \
    do {                                                                                           \
        status = (code);                                                                           \
        goto done;                                                                                 \
    } while (0)

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t whole_groups(size_t n) { return (n + EI_GROUP - 1) / EI_GROUP * EI_GROUP; }

/* ---- the counter ---------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h)
{
    /* The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9ull;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBull;
    return h ^ (h >> 31);
}

static uint64_t hash_words(const uint64_t *key, size_t step, size_t words)
{
    uint64_t h = mix(key[0] + 0x9E3779B97F4A7C15ull);
    for (size_t w = 1; w < words; w++)
        h = mix((h + 0x9E3779B97F4A7C15ull) ^ key[w * step]);
    return h;
}

/* Memory for `count` times `size` bytes more, if the budget has it. Tables of megabytes are read all
 * over, so they go to large pages where the system has them. */
static int take(ei_budget *budget, size_t count, size_t size, void **memory)
{
    enum { LARGE_PAGE = 2 << 20 };
    size_t bytes;
    if (ei_mul(count, size, &bytes) || bytes > INT64_MAX - LARGE_PAGE)
        return EI_EOVERFLOW;
    if ((int64_t)bytes > budget->left)
        return EI_ELIMIT;
    if (bytes < 2 * LARGE_PAGE) {
        *memory = malloc(bytes);
    } else {
        const size_t whole = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        *memory = aligned_alloc(LARGE_PAGE, whole);
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

static void give_back(ei_budget *budget, void *memory, size_t bytes)
{
    if (memory != NULL) {
        free(memory);
        budget->left += (int64_t)bytes;
    }
}

static size_t slot_size(const ei_counter *c) { return c->dense ? 4 : 8; }

/* Empty slots. */
static int take_slots(const ei_counter *c, uint64_t n_slots, void **slots)
{
    int status = take(c->budget, n_slots, slot_size(c), slots);
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
    give_back(counter->budget, counter->slots, counter->n_slots * slot_size(counter));
    give_back(counter->budget, counter->entries, counter->capacity * (counter->words + 1) * 8);
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
            *next = hash_words(c->entries + i * (c->words + 1), 1, c->words);
            __builtin_prefetch(slots + (*next & mask), 1);
        }
    }
}

/* Room for `more` further vectors among the entries. */
static int reserve_entries(ei_counter *c, size_t more)
{
    if (c->n + more > UINT32_MAX - 1)
        return EI_EOVERFLOW;
    if (c->n + more > c->capacity) {
        uint64_t capacity = c->capacity + c->capacity / (c->capacity < ROOMY ? 1 : 2) + LOTS;
        capacity = capacity < c->n + more ? c->n + more : capacity;
        void *entries;
        int status = take(c->budget, capacity, (c->words + 1) * 8, &entries);
        if (status != EI_OK)
            return status;
        if (c->n)
            memcpy(entries, c->entries, c->n * (c->words + 1) * 8);
        give_back(c->budget, c->entries, c->capacity * (c->words + 1) * 8);
        c->entries = entries;
        c->capacity = capacity;
    }
    return EI_OK;
}

/* Room for at least `more` further vectors. */
static int reserve(ei_counter *c, size_t more)
{
    int status = reserve_entries(c, more);
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
        give_back(c->budget, c->slots, c->n_slots * 8);
        c->slots = memory;
        c->stale = 0;
        c->n_slots = n_slots;
    }
    return EI_OK;
}

static int same(const uint64_t *stored, const uint64_t *key, size_t ld, size_t words)
{
    for (size_t w = 0; w < words; w++)
        if (stored[w] != key[w * ld])
            return 0;
    return 1;
}

/* At most LOTS vectors, for which there is room. */
static void add_some(ei_counter *c, const uint64_t *keys, size_t ld, size_t step,
                     const uint64_t *weights, size_t n, uint32_t *ids)
{
    if (c->dense) {
        uint32_t *slots = c->slots;
        if (c->dense > NEAR) {
            for (size_t i = 0; i < n; i++)
                __builtin_prefetch(slots + keys[i * step], 1);
            for (size_t i = 0; i < n; i++)
                __builtin_prefetch(c->entries + 2 * (uint64_t)slots[keys[i * step]], 1);
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
        hash[i] = hash_words(keys + i * step, ld, c->words);
        __builtin_prefetch(slots + (hash[i] & mask), 1);
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t slot = slots[hash[i] & mask], id = (slot & 0xffffffffull) - 1;
        if (slot != 0)
            __builtin_prefetch(c->entries + id * stride, 1);
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
                same(c->entries + id * stride, key, ld, c->words))
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
        const size_t some = least(LOTS, n - i);
        int status = reserve(counter, some);
        if (status != EI_OK)
            return status;
        add_some(counter, keys + i * step, ld, step, weights ? weights + i : NULL, some,
                 ids ? ids + i : NULL);
    }
    return EI_OK;
}

/* ---- many single words at once ---------------------------------------------------------------- */

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
        (void)reserve_entries(c, n);
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
        status = reserve_entries(c, count);
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

/* Single words that wait to be counted. */
typedef struct {
    uint64_t *keys, *spare;
    size_t n, capacity;
} waiting;

static int flush(waiting *w, ei_counter *c)
{
    int status;
    if (c->n == 0)
        status = count_parted(c, w->keys, w->spare, w->n);
    else
        status = ei_counter_add(c, w->keys, 1, 1, NULL, w->n, NULL);
    w->n = 0;
    return status;
}

/* ---- vectors -------------------------------------------------------------------------------- */

static unsigned bits_of(uint32_t bins)
{
    unsigned bits = 1;
    while (((uint32_t)1 << bits) < bins)
        bits++;
    return bits;
}

static unsigned row_bits(const ei_channel *c, int32_t row)
{
    return bits_of((size_t)row < c->n_in ? c->in_bins : c->out_bins);
}

size_t ei_rows_words(const ei_channel *channel, const ei_rows *rows, unsigned *bits)
{
    size_t words = 1;
    unsigned used = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const unsigned b = row_bits(channel, rows->rows[i]);
        if (used + b > 64) {
            words++;
            used = 0;
        }
        used += b;
    }
    if (bits)
        *bits = words == 1 ? used : 64;
    return words;
}

/* The bins of a block of samples: inputs[k * LOTS + s], outputs[o * LOTS + s]. */
typedef struct {
    ei_eval eval;
    uint16_t *map; /* interval to output bin; out_bins where dropped */
    int drops;
    uint32_t *inputs; /* NULL unless asked for */
    uint16_t *outputs;
    uint16_t *scratch;
    uint8_t *kept, *outside;
} bins;

static void close_bins(bins *b)
{
    ei_eval_close(&b->eval);
    ei_free(b->map);
    ei_free(b->inputs);
    ei_free(b->outputs);
    ei_free(b->scratch);
    ei_free(b->kept);
    ei_free(b->outside);
}

static int open_bins(bins *b, const ei_channel *c, int with_inputs)
{
    memset(b, 0, sizeof *b);
    int status = ei_eval_open(&b->eval, c, 0, c->n_out);
    b->map = ei_alloc(c->n_thresholds + 1, sizeof *b->map);
    b->inputs = with_inputs ? ei_alloc(c->n_in * LOTS, sizeof *b->inputs) : NULL;
    b->outputs = ei_alloc(c->n_out * LOTS, sizeof *b->outputs);
    b->scratch = ei_alloc(LOTS, sizeof *b->scratch);
    b->kept = ei_alloc(LOTS, 1);
    b->outside = ei_alloc(LOTS, 1);
    if (status != EI_OK)
        return status;
    if (!b->map || (with_inputs && !b->inputs) || !b->outputs || !b->scratch || !b->kept ||
        !b->outside)
        return EI_ENOMEM;
    for (size_t j = 0; j <= c->n_thresholds; j++) {
        b->drops |= c->labels[j] < 0;
        b->map[j] = (uint16_t)(c->labels[j] < 0 ? (int32_t)c->out_bins : c->labels[j]);
    }
    return EI_OK;
}

/* Evaluate n samples (whole groups) from the draws; `kept` where anything may be dropped. */
static void fill_bins(bins *b, size_t n)
{
    ei_eval *e = &b->eval;
    const ei_channel *c = e->channel;
    ei_eval_forward(e, n);
    for (size_t o = 0; o < c->n_out; o++)
        e->kernels->label(e->z + o * EI_PANEL, c->n_out * EI_PANEL, n, c->thresholds,
                          c->n_thresholds, b->map, b->outputs + o * LOTS);
    if (b->inputs)
        for (size_t k = 0; k < c->n_in; k++)
            e->kernels->offsets(e->draws + k * e->block, n, c->in_bins, 1, b->inputs + k * LOTS);
    if (b->drops) {
        memset(b->kept, 1, n);
        for (size_t o = 0; o < c->n_out; o++)
            for (size_t s = 0; s < n; s++)
                b->kept[s] &= b->outputs[o * LOTS + s] != c->out_bins;
    }
}

/* Pack rows of n samples: word w of sample s to keys[w * LOTS + s]. Returns the number of words. */
static size_t pack(const bins *b, const ei_rows *rows, size_t n, uint64_t *keys)
{
    const ei_channel *c = b->eval.channel;
    size_t word = 0;
    unsigned used = 0;
    memset(keys, 0, n * sizeof *keys);
    for (size_t i = 0; i < rows->n; i++) {
        const size_t row = (size_t)rows->rows[i];
        const unsigned bits = row_bits(c, rows->rows[i]);
        if (used + bits > 64) {
            word++;
            used = 0;
            memset(keys + word * LOTS, 0, n * sizeof *keys);
        }
        uint64_t *key = keys + word * LOTS;
        if (row < c->n_in) {
            const uint32_t *in = b->inputs + row * LOTS;
            for (size_t s = 0; s < n; s++)
                key[s] |= (uint64_t)in[s] << used;
        } else {
            const uint16_t *out = b->outputs + (row - c->n_in) * LOTS;
            for (size_t s = 0; s < n; s++)
                key[s] |= (uint64_t)out[s] << used;
        }
        used += bits;
    }
    return word + 1;
}

/* Move the kept samples to the front. */
static size_t compact(uint64_t *keys, size_t words, const uint8_t *kept, size_t n)
{
    size_t to = 0;
    for (size_t s = 0; s < n; s++)
        if (kept[s]) {
            for (size_t w = 0; w < words; w++)
                keys[w * LOTS + to] = keys[w * LOTS + s];
            to++;
        }
    return to;
}

int ei_joint_count(const ei_channel *channel, const ei_joint_job *job, ei_counter *sets,
                   ei_counter *pairs, uint64_t *margins, uint64_t *kept, uint64_t *outside,
                   ei_cancel cancel)
{
    int status, with_inputs = 0;
    size_t words = 1;
    for (size_t i = 0; i < job->n_sets; i++) {
        words = sets[i].words > words ? sets[i].words : words;
        for (size_t r = 0; r < job->sets[i].n; r++)
            with_inputs |= (size_t)job->sets[i].rows[r] < channel->n_in;
    }
    bins b;
    status = open_bins(&b, channel, with_inputs);
    uint64_t *keys = ei_alloc(words * LOTS, sizeof *keys);
    uint32_t *ids = ei_alloc((job->n_sets + 1) * LOTS, sizeof *ids);
    waiting *wait = ei_zalloc(job->n_pairs + 1, sizeof *wait);
    if (wait && job->n_pairs <= WAITING_PAIRS && job->count >= LEAST_WAITING)
        for (size_t i = 0; i < job->n_pairs; i++) {
            void *memory;
            wait[i].capacity = least(job->count, MOST_WAITING);
            if (take(pairs[i].budget, 2 * wait[i].capacity, 8, &memory) != EI_OK) {
                wait[i].capacity = 0; /* then without */
                continue;
            }
            wait[i].keys = memory;
            wait[i].spare = wait[i].keys + wait[i].capacity;
        }
    if (!wait && status == EI_OK)
        status = EI_ENOMEM;
    if (status != EI_OK || !keys || !ids)
        GIVE_UP(status != EI_OK ? status : EI_ENOMEM);
    ei_eval *e = &b.eval;
    for (uint64_t at = 0; at < job->count; at += e->block) {
        if (ei_cancelled(cancel))
            GIVE_UP(EI_ECANCELLED);
        const size_t some = least(e->block, job->count - at), n = whole_groups(some);
        ei_eval_draw(e, job->key, job->purpose, job->first + at, n);
        fill_bins(&b, n);
        if (channel->n_limits) {
            memset(b.outside, 0, some);
            for (size_t o = 0; o < channel->n_out; o++) {
                e->kernels->label(e->z + o * EI_PANEL, channel->n_out * EI_PANEL, n, channel->limits,
                                  channel->n_limits, channel->outside, b.scratch);
                for (size_t s = 0; s < some; s++)
                    b.outside[s] |= (uint8_t)b.scratch[s];
            }
            for (size_t s = 0; s < some; s++)
                *outside += b.outside[s];
        }
        size_t used = some;
        for (size_t i = 0; i < job->n_sets; i++) {
            const size_t w = pack(&b, job->sets + i, some, keys);
            if (b.drops)
                used = compact(keys, w, b.kept, some);
            status = ei_counter_add(sets + i, keys, LOTS, 1, NULL, used, ids + i * LOTS);
            if (status != EI_OK)
                goto done;
        }
        for (size_t i = 0; i < job->n_pairs; i++) {
            const uint32_t *one = ids + (size_t)job->pairs[2 * i] * LOTS;
            const uint32_t *two = ids + (size_t)job->pairs[2 * i + 1] * LOTS;
            uint64_t *to = keys;
            if (wait[i].capacity) {
                if (wait[i].n + used > wait[i].capacity) {
                    status = flush(wait + i, pairs + i);
                    if (status != EI_OK)
                        goto done;
                }
                to = wait[i].keys + wait[i].n;
                wait[i].n += used;
            }
            for (size_t s = 0; s < used; s++)
                to[s] = (uint64_t)one[s] << 32 | two[s];
            if (wait[i].capacity)
                continue;
            status = ei_counter_add(pairs + i, keys, LOTS, 1, NULL, used, NULL);
            if (status != EI_OK)
                goto done;
        }
        if (margins)
            for (size_t o = 0; o < channel->n_out; o++)
                for (size_t s = 0; s < some; s++)
                    if (!b.drops || b.kept[s])
                        margins[o * channel->out_bins + b.outputs[o * LOTS + s]]++;
        *kept += used;
    }
    for (size_t i = 0; i < job->n_pairs; i++)
        if (wait[i].n) {
            status = flush(wait + i, pairs + i);
            if (status != EI_OK)
                goto done;
        }
done:
    if (wait)
        for (size_t i = 0; i < job->n_pairs; i++)
            give_back(pairs[i].budget, wait[i].keys, 2 * wait[i].capacity * 8);
    ei_free(wait);
    close_bins(&b);
    ei_free(keys);
    ei_free(ids);
    return status;
}

int ei_joint_moments(const uint64_t *entries, size_t n, const int32_t *one, size_t n_one,
                     const int32_t *two, size_t n_two, int64_t sums[2])
{
    enum { SMALL = 256 };
    int32_t logs[SMALL];
    for (int i = 1; i < SMALL; i++)
        logs[i] = (int32_t)(ei_log2((double)i) * 65536.0 + 0.5);
    sums[0] = sums[1] = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t pair = entries[2 * i], number = entries[2 * i + 1];
        if ((pair >> 32) >= n_one || (pair & 0xffffffffull) >= n_two)
            return EI_EOVERFLOW;
        const int64_t own = number < SMALL ? logs[number]
                                           : (int64_t)(ei_log2((double)number) * 65536.0 + 0.5);
        const int64_t v = own - one[pair >> 32] - two[pair & 0xffffffffull];
        sums[0] += (int64_t)number * v;
        sums[1] += (int64_t)number * ((v * v) >> 16);
    }
    return EI_OK;
}

/* ---- cells ---------------------------------------------------------------------------------- */

/* Vectors of one cell and how often each was seen; emptied by a new stamp. */
typedef struct {
    size_t words;
    uint32_t mask, stamp;
    uint32_t *stamps, *counts;
    uint64_t *keys;
} tally;

static int open_tally(tally *t, size_t words, uint32_t draws)
{
    memset(t, 0, sizeof *t);
    t->words = words;
    t->mask = 4 * draws - 1;
    t->stamps = ei_zalloc(t->mask + (size_t)1, sizeof *t->stamps);
    t->counts = ei_alloc(t->mask + (size_t)1, sizeof *t->counts);
    t->keys = ei_alloc((t->mask + (size_t)1) * words, sizeof *t->keys);
    return t->stamps && t->counts && t->keys ? EI_OK : EI_ENOMEM;
}

static void close_tally(tally *t)
{
    ei_free(t->stamps);
    ei_free(t->counts);
    ei_free(t->keys);
}

static void empty_tally(tally *t)
{
    if (++t->stamp == 0) {
        memset(t->stamps, 0, (t->mask + (size_t)1) * sizeof *t->stamps);
        t->stamp = 1;
    }
}

/* How often the vector was seen before. */
static uint32_t see(tally *t, const uint64_t *key)
{
    uint32_t at = (uint32_t)hash_words(key, LOTS, t->words) & t->mask;
    for (; t->stamps[at] == t->stamp; at = (at + 1) & t->mask)
        if (same(t->keys + at * t->words, key, LOTS, t->words))
            return t->counts[at]++;
    t->stamps[at] = t->stamp;
    t->counts[at] = 1;
    for (size_t w = 0; w < t->words; w++)
        t->keys[at * t->words + w] = key[w * LOTS];
    return 0;
}

typedef struct {
    const ei_channel *channel;
    const ei_cells_job *job;
    bins b;
    tally seen;
    uint64_t *keys;
    uint32_t *margins;       /* outputs.n x out_bins: counts within the cell */
    uint32_t *cells;         /* n_in x 64: bins of the cells of a lot */
    uint32_t *start, *width; /* in_bins: first draw of a bin, number of draws in it */
    uint32_t *singles;
    double *whole, *parts, *each;
} worker;

/* Add samples from .. to of the block to the cell's numbers. */
static void add_samples(worker *w, size_t from, size_t to, size_t cell)
{
    const ei_cells_job *job = w->job;
    const uint32_t out_bins = w->channel->out_bins;
    const size_t n = job->outputs.n, levels = job->n_levels;
    double *whole = w->whole + cell * levels, *parts = w->parts + cell * levels;
    for (size_t s = from; s < to; s++) {
        const uint32_t before = see(&w->seen, w->keys + s);
        w->singles[cell] += (uint32_t)(before == 0) - (uint32_t)(before == 1);
        for (size_t l = 0; l < levels; l++)
            whole[l] += job->gains[l * job->draws + before];
    }
    for (size_t i = 0; i < n; i++) {
        const uint16_t *label =
            w->b.outputs + ((size_t)job->outputs.rows[i] - w->channel->n_in) * LOTS;
        uint32_t *count = w->margins + i * out_bins;
        for (size_t l = 0; l < levels; l++) {
            const double *gain = job->gains + l * job->draws;
            double sum = 0.0;
            for (size_t s = from; s < to; s++)
                sum += gain[count[label[s]]++];
            parts[l] += sum;
            if (w->each)
                w->each[(cell * levels + l) * n + i] += sum;
            if (l + 1 < levels) /* the same samples again for the next level */
                for (size_t s = from; s < to; s++)
                    count[label[s]]--;
        }
    }
}

static void next_cell(worker *w)
{
    empty_tally(&w->seen);
    memset(w->margins, 0, w->job->outputs.n * w->channel->out_bins * sizeof *w->margins);
}

/* Put the draws of samples from .. to inside the cell (of 64 in `cells`); the free inputs stay. */
static void confine(worker *w, size_t from, size_t to, size_t cell)
{
    for (size_t k = 0; k < w->channel->n_in; k++) {
        if (!w->job->given[k])
            continue;
        uint32_t *draws = w->b.eval.draws + k * w->b.eval.block;
        const uint32_t bin = w->cells[k * EI_GROUP + cell];
        const uint32_t start = w->start[bin];
        const uint64_t width = w->width[bin];
        for (size_t s = from; s < to; s++)
            draws[s] = start + (uint32_t)((draws[s] * width) >> 32);
    }
}

/* Choose 64 cells; ok says which of them can occur. */
static void choose_cells(worker *w, uint64_t first, uint8_t *ok)
{
    const ei_cells_job *job = w->job;
    const ei_channel *c = w->channel;
    ei_eval *e = &w->b.eval;
    ei_eval_draw(e, job->key, job->purpose, first, EI_GROUP);
    for (size_t k = 0; k < c->n_in; k++)
        e->kernels->offsets(e->draws + k * e->block, EI_GROUP, c->in_bins, 1,
                            w->cells + k * EI_GROUP);
    for (size_t s = 0; s < EI_GROUP; s++) {
        uint64_t rest = first + s;
        for (size_t t = 0; t < job->n_strata; t++) {
            w->cells[(size_t)job->strata[t] * EI_GROUP + s] = (uint32_t)(rest % c->in_bins);
            rest /= c->in_bins;
        }
    }
    memset(ok, 1, EI_GROUP);
    if (w->b.drops) {
        fill_bins(&w->b, EI_GROUP);
        memcpy(ok, w->b.kept, EI_GROUP);
    }
}

/* Cells without drops: `n` cells, several to a block or several blocks to a cell. */
static void plain_cells(worker *w, uint64_t first, size_t at, size_t n)
{
    const ei_cells_job *job = w->job;
    ei_eval *e = &w->b.eval;
    const size_t draws = job->draws, total = n * draws;
    const size_t step = draws > e->block ? e->block : e->block / draws * draws;
    for (size_t done = 0; done < total;) {
        size_t some = least(step, total - done);
        if (draws > e->block)
            some = least(some, draws - done % draws);
        const size_t lot = whole_groups(some);
        ei_eval_draw(e, job->key, job->purpose + 1, first * draws + done, lot);
        for (size_t s = 0; s < some; s += draws)
            confine(w, s, least(s + draws, some), (done + s) / draws);
        fill_bins(&w->b, lot);
        pack(&w->b, &job->outputs, some, w->keys);
        for (size_t s = 0; s < some; s += draws) {
            if ((done + s) % draws == 0)
                next_cell(w);
            add_samples(w, s, least(s + draws, some), at + (done + s) / draws);
        }
        done += some;
    }
}

/* One cell with drops: blocks until enough samples are kept. Returns whether they were. */
static int sparse_cell(worker *w, uint64_t number, size_t cell, size_t index, uint64_t *spent)
{
    const ei_cells_job *job = w->job;
    ei_eval *e = &w->b.eval;
    const uint64_t most = (uint64_t)job->draws * job->attempts;
    const size_t lot = least(e->block, whole_groups(job->draws));
    size_t kept = 0;
    next_cell(w);
    for (uint64_t done = 0; done + lot <= most && kept < job->draws; done += lot) {
        ei_eval_draw(e, job->key, job->purpose + 1, number * most + done, lot);
        confine(w, 0, lot, cell);
        fill_bins(&w->b, lot);
        *spent += lot;
        const size_t words = pack(&w->b, &job->outputs, lot, w->keys);
        const size_t n = compact(w->keys, words, w->b.kept, lot);
        for (size_t i = 0; i < job->outputs.n; i++) {
            uint16_t *label =
                w->b.outputs + ((size_t)job->outputs.rows[i] - w->channel->n_in) * LOTS;
            for (size_t s = 0, to = 0; s < lot; s++)
                if (w->b.kept[s])
                    label[to++] = label[s];
        }
        const size_t used = least(n, job->draws - kept);
        add_samples(w, 0, used, index);
        kept += used;
    }
    return kept == job->draws;
}

int ei_joint_cells(const ei_channel *channel, const ei_cells_job *job, double *whole, double *parts,
                   double *each, uint32_t *singles, uint8_t *ok, uint64_t *spent, ei_cancel cancel)
{
    const size_t n = job->outputs.n, levels = job->n_levels, count = job->count;
    worker w = {.channel = channel, .job = job, .whole = whole, .parts = parts, .each = each,
                .singles = singles};
    const size_t words = ei_rows_words(channel, &job->outputs, NULL);
    uint8_t lot_ok[EI_GROUP];
    int status = open_bins(&w.b, channel, 0);
    int second = open_tally(&w.seen, words, job->draws);
    w.keys = ei_alloc(words * LOTS, sizeof *w.keys);
    w.margins = ei_alloc(n * channel->out_bins, sizeof *w.margins);
    w.cells = ei_alloc(channel->n_in * EI_GROUP, sizeof *w.cells);
    w.start = ei_alloc(channel->in_bins, sizeof *w.start);
    w.width = ei_alloc(channel->in_bins, sizeof *w.width);
    if (status != EI_OK || second != EI_OK || !w.keys || !w.margins || !w.cells || !w.start ||
        !w.width)
        GIVE_UP(status != EI_OK ? status : EI_ENOMEM);
    for (uint64_t k = 0; k < channel->in_bins; k++) {
        const uint64_t lo = ((k << 32) + channel->in_bins - 1) / channel->in_bins;
        const uint64_t hi = (((k + 1) << 32) + channel->in_bins - 1) / channel->in_bins;
        w.start[k] = (uint32_t)lo;
        w.width[k] = (uint32_t)(hi - lo);
    }
    memset(whole, 0, count * levels * sizeof *whole);
    memset(parts, 0, count * levels * sizeof *parts);
    memset(singles, 0, count * sizeof *singles);
    if (each)
        memset(each, 0, count * levels * n * sizeof *each);
    for (size_t at = 0; at < count; at += EI_GROUP) {
        if (ei_cancelled(cancel))
            GIVE_UP(EI_ECANCELLED);
        const size_t some = least(EI_GROUP, count - at);
        choose_cells(&w, job->first + at, lot_ok);
        memcpy(ok + at, lot_ok, some);
        if (!w.b.drops) {
            plain_cells(&w, job->first + at, at, some);
            *spent += (uint64_t)some * job->draws;
            continue;
        }
        *spent += EI_GROUP;
        for (size_t i = 0; i < some; i++) {
            const size_t cell = at + i;
            if (!lot_ok[i] || sparse_cell(&w, job->first + cell, i, cell, spent))
                continue;
            ok[cell] = 0;
            singles[cell] = 0;
            memset(whole + cell * levels, 0, levels * sizeof *whole);
            memset(parts + cell * levels, 0, levels * sizeof *parts);
            if (each)
                memset(each + cell * levels * n, 0, levels * n * sizeof *each);
        }
    }
done:
    close_bins(&w.b);
    close_tally(&w.seen);
    ei_free(w.keys);
    ei_free(w.margins);
    ei_free(w.cells);
    ei_free(w.start);
    ei_free(w.width);
    return status;
}
