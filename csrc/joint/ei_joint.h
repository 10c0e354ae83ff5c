/* Counting whole binned vectors, and the entropy of outputs within cells of the inputs.
 *
 * A vector is a set of rows: row r < n_in is the bin of input r, row n_in + o the bin of output o.
 * Its bins are packed into 64-bit words and counted by the exact words: no two vectors are merged.
 *
 * ei_pack.c: bins into words; ei_count.c: the loop over samples that counts them; ei_counter.c: the
 * table that they are counted in; ei_parted.c: the same in parts, where it is large; ei_shards.c: the
 * same by several threads, none of which has to wait for what another merges; ei_cells.c: draws
 * within cells of the inputs.
 */
#ifndef EI_JOINT_H
#define EI_JOINT_H

#include "common/ei_channel.h"
#include "joint/ei_counter.h"

/* A set of rows that makes up a vector. */
typedef struct {
    size_t n;
    const int32_t *rows;
} ei_rows;

/* Words of a vector of these rows; *bits (if not NULL) gets the bits in use of a single word. */
size_t ei_rows_words(const ei_channel *channel, const ei_rows *rows, unsigned *bits);

typedef struct {
    uint64_t key;
    uint32_t purpose;
    uint64_t first, count; /* samples; first a multiple of 64 */
    size_t n_sets;
    const ei_rows *sets;
    size_t n_pairs;
    const int32_t *pairs; /* n_pairs x 2: sets to be counted together */
} ei_joint_job;

/* Count the vectors of every set and pair of sets. A sample of which any output is dropped is left
 * out. sets[i] has ei_rows_words words; a pair has one, position in the first counter << 32 |
 * position in the second one.
 * margins: n_out x out_bins, or NULL. *kept: samples counted. *outside: samples of which any output
 * lies outside its range. All are added to. */
int ei_joint_count(const ei_channel *channel, const ei_joint_job *job, ei_counter *sets,
                   ei_counter *pairs, uint64_t *margins, uint64_t *kept, uint64_t *outside,
                   ei_cancel cancel);

/* ---- shared out among threads: draw in ranges, count in shards ----------------------------------- */

/* Pack the vectors of every set, and count nothing: word w of the s-th kept sample of set i to
 * keys[i][w * ld + s]; ld at least job->count. Pairs are not looked at. *kept is set; margins and
 * *outside are added to, as by ei_joint_count. */
int ei_joint_draw(const ei_channel *channel, const ei_joint_job *job, uint64_t *const *keys,
                  size_t ld, uint64_t *margins, uint64_t *kept, uint64_t *outside,
                  ei_cancel cancel);

/* Stretches of an array: from ends[2 p] up to ends[2 p + 1]. */
typedef struct {
    size_t n;
    const uint64_t *ends;
} ei_stretches;

/* number < of <= 2^16. */
typedef struct {
    uint32_t number, of;
} ei_shard;

/* Count the vectors that are of a shard, by their hash: equal ones are of one. Vector s has word w at
 * keys[w * ld + s]; of those of the shard places[s] gets position in the counter << b | shard, the
 * least b for which 2^b shards are enough. EI_EOVERFLOW: that does not fit. */
int ei_shard_vectors(ei_counter *counter, const uint64_t *keys, size_t ld, const ei_stretches *of,
                     ei_shard shard, uint32_t *places, ei_cancel cancel);

/* Count the pairs of places one[s] << 32 | two[s] whose first one is of a shard. */
int ei_shard_pairs(ei_counter *counter, const uint32_t *one, const uint32_t *two,
                   const ei_stretches *of, ei_shard shard, ei_cancel cancel);

/* The entries of a shard's pairs, places being those in all shards' vectors one after the other:
 * before those of shard k there are one[k] of the first set, two[k] of the second. */
int ei_shard_places(const ei_counter *pairs, const uint64_t *one, const uint64_t *two,
                    uint32_t shards, uint64_t *entries);

/* ---- what is made of them ------------------------------------------------------------------------ */

/* Sums over the entries of a pair's counter of number * v and number * v^2, v = log2(number) -
 * one[first] - two[second] in units of 2^-16 bits (the square in 2^-16 too): integers, so that the
 * order does not matter. one, two: logarithms of the sets' counts, in the same units.
 * Numbers add up to less than 2^31, logarithms are below 32. EI_EOVERFLOW: a place beyond n_one or
 * n_two. */
int ei_joint_moments(const uint64_t *entries, size_t n, const int32_t *one, size_t n_one,
                     const int32_t *two, size_t n_two, int64_t sums[2]);

typedef struct {
    uint64_t key;
    uint32_t purpose;       /* of the cells; purpose + 1 of the draws within them */
    uint64_t first, count;  /* cells; first a multiple of 64 */
    const uint8_t *given;   /* n_in: whether the cell holds this input; the others are free */
    size_t n_strata;        /* inputs whose bins the number of the cell decides */
    const int32_t *strata;  /* which; in_bins^n_strata below 2^63 */
    uint32_t draws;         /* a cell, 16 .. 2^16, a power of two */
    uint32_t attempts;      /* at most this many times `draws` where samples are dropped */
    ei_rows outputs;        /* rows from n_in on */
    size_t n_levels;
    const double *gains;    /* n_levels x draws: what the (c + 1)th occurrence of a vector adds */
} ei_cells_job;

/* For every cell: draw inside it until `draws` samples are kept, and add up the gains of the output
 * vector (whole: cells x n_levels) and, summed over the outputs, of each output alone (parts; each
 * one by itself in `each`, cells x n_levels x outputs.n, unless NULL). singles: vectors seen once.
 * ok: 0 where the cell's own draw was dropped (cells follow the inputs' distribution given that the
 * sample is kept) or the attempts did not do; its numbers are then 0. *spent: evaluations. */
int ei_joint_cells(const ei_channel *channel, const ei_cells_job *job, double *whole, double *parts,
                   double *each, uint32_t *singles, uint8_t *ok, uint64_t *spent, ei_cancel cancel);

#endif
