/* What the files of the joint engine share. ej_: inside this folder alone. */
#ifndef EI_JOINT_INTERNAL_H
#define EI_JOINT_INTERNAL_H

#include "joint/ei_joint.h"
#include "kernels/ei_eval.h"

enum {
    LOTS = EI_BLOCK, /* samples at once: as many as a block of ei_eval may have */
    ROOMY = 1 << 21  /* slots up to which a table grows fourfold */
};

/* ---- words --------------------------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t h)
{
    /* The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9ull;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBull;
    return h ^ (h >> 31);
}

static inline uint64_t ej_hash(const uint64_t *key, size_t step, size_t words)
{
    uint64_t h = mix(key[0] + 0x9E3779B97F4A7C15ull);
    for (size_t w = 1; w < words; w++)
        h = mix((h + 0x9E3779B97F4A7C15ull) ^ key[w * step]);
    return h;
}

static inline int ej_same(const uint64_t *stored, const uint64_t *key, size_t ld, size_t words)
{
    for (size_t w = 0; w < words; w++)
        if (stored[w] != key[w * ld])
            return 0;
    return 1;
}

/* ---- ei_counter.c -------------------------------------------------------------------------------- */

/* Memory for `count` times `size` bytes more, if the budget has it. Tables of megabytes are read all
 * over, so they go to large pages where the system has them. */
int ej_take(ei_budget *budget, size_t count, size_t size, void **memory);
void ej_give_back(ei_budget *budget, void *memory, size_t bytes);

/* Room for `more` further vectors among the entries. */
int ej_reserve_entries(ei_counter *c, size_t more);

/* ---- ei_parted.c: many single words at once ------------------------------------------------------ */

/* Single words that wait to be counted. */
typedef struct {
    uint64_t *keys, *spare;
    size_t n, capacity;
} ej_waiting;

/* Count those that wait. */
int ej_flush(ej_waiting *w, ei_counter *c);

/* ---- ei_pack.c: vectors of samples --------------------------------------------------------------- */

/* The bins of a block of samples: inputs[k * LOTS + s], outputs[o * LOTS + s]. */
typedef struct {
    ei_memory memory;
    ei_eval eval;
    uint16_t *map; /* interval to output bin; out_bins where dropped */
    int drops;
    uint32_t *inputs; /* NULL unless asked for */
    uint16_t *outputs;
    uint16_t *scratch;
    uint8_t *kept, *outside;
} ej_bins;

int ej_bins_open(ej_bins *b, const ei_channel *c, int with_inputs);
void ej_bins_close(ej_bins *b);

/* Evaluate n samples (whole groups) from the draws; `kept` where anything may be dropped. */
void ej_bins_fill(ej_bins *b, size_t n);

/* Pack rows of n samples: word w of sample s to keys[w * LOTS + s]. Returns the number of words. */
size_t ej_pack(const ej_bins *b, const ei_rows *rows, size_t n, uint64_t *keys);

/* Whether a job's sets have bins of inputs. */
int ej_with_inputs(const ei_channel *channel, const ei_joint_job *job);

/* Of the first `some` samples: how many have any output outside its range; the bins of every output. */
uint64_t ej_count_outside(ej_bins *b, size_t some);
void ej_count_margins(const ej_bins *b, size_t some, uint64_t *margins);

/* Move the kept samples to the front. */
size_t ej_compact(uint64_t *keys, size_t words, const uint8_t *kept, size_t n);

#endif
