/* Runs one kernel of the core, or one call of an engine, by itself, for bench/roofline.py and
 * bench/guard.py.
 *
 *     kernels list
 *     kernels CASE INSTRUCTIONS RUNS [BATCHES]
 *
 * Without BATCHES it runs the kernel so often and says nothing: what an instruction counter wants. With
 * it, it prints the least and the median time of a run in nanoseconds, over so many batches of RUNS.
 */
#define _POSIX_C_SOURCE 200112L
#include "exact/ei_exact.h"
#include "joint/ei_given.h"
#include "joint/ei_joint.h"
#include "kernels/ei_exact_kernels.h"
#include "kernels/ei_given_kernels.h"
#include "kernels/ei_info.h"
#include "kernels/ei_wide_kernels.h"
#include "pairs/ei_pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SAMPLES = 8192, WORDS = SAMPLES / 64, BLOCK = 512, MANY = 64, CELLS = 64 * 64,
    WAVES = 1024, /* of the circle of the outputs given cells */
    SHARDS = 4, ROWS = 16, COLUMNS = 64
};

static const ei_kernels *k;
static uint32_t draws[SAMPLES], edges[64], offset[SAMPLES];
static uint16_t labels[4 * SAMPLES], map[64], small[4 * EI_SMALL_CELLS];
static uint64_t masks[64 * WORDS], other[64 * WORDS], counts[64 * 64], table[16 * CELLS];
static double values[MANY * BLOCK], more[128 * BLOCK], weight[MANY * 128], bias[MANY], cuts[64];
static double scratch[8 * CELLS], pointwise[CELLS], logs[4096];
static double base[64], sign[64], term[64 * EI_EXACT_TERMS], beta[64 * EI_EXACT_TERMS], powers[32];
static double sine[64 * 64], cosine[64 * 64], phi[64], own_phi[64], u[8 * 64], v[8 * 64];
static double size[32], turn_s[WAVES / 2], turn_c[WAVES / 2], complex_[2][WAVES * EI_GIVEN_LANES];
static double columns[COLUMNS * COLUMNS], gram[COLUMNS * COLUMNS], diagonal[COLUMNS], site[6][SAMPLES];
static uint64_t vectors[2][SAMPLES];
static uint32_t places[2][SAMPLES];
static volatile double sink;

static double unit(void) { return (double)rand() / RAND_MAX; }

static void fill(double *x, size_t n, double lo, double hi)
{
    for (size_t i = 0; i < n; i++)
        x[i] = lo + (hi - lo) * unit();
}

static void prepare(void)
{
    srand(1);
    k->draw(7, 0, 3, 0, SAMPLES, draws);
    for (int i = 0; i < 63; i++) {
        edges[i] = (uint32_t)((((uint64_t)i + 1) << 32) / 64);
        cuts[i] = -2.0 + 4.0 * (i + 1) / 64;
        map[i] = (uint16_t)i;
    }
    map[63] = 63;
    fill(more, 128 * BLOCK, 0.0, 1.0);
    fill(values, MANY * BLOCK, -2.0, 2.0);
    fill(weight, MANY * 128, -1.0, 1.0);
    fill(logs, 4096, 1.0, 1e6);
    for (int i = 0; i < 64 * WORDS; i++) {
        masks[i] = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
        other[i] = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
    }
    for (int i = 0; i < SAMPLES; i++) {
        offset[i] = (uint32_t)(rand() & 63) * 64;
        for (int b = 0; b < 4; b++)
            labels[b * SAMPLES + i] = (uint16_t)(rand() & 63);
    }
    for (int i = 0; i < 16 * CELLS; i++)
        table[i] = (uint64_t)(rand() & 1023);
    fill(base, 64, 0.01, 0.02);
    fill(term, 64 * EI_EXACT_TERMS, -0.001, 0.001);
    fill(beta, 64 * EI_EXACT_TERMS, -0.001, 0.001);
    fill(powers, 32, 0.0, 1.0);
    fill(phi, 64, 0.0, 0.01);
    fill(sine, 64 * 64, -0.01, 0.01);
    fill(cosine, 64 * 64, -0.01, 0.01);
    for (int i = 0; i < 64; i++)
        sign[i] = 1.0;
    fill(columns, COLUMNS * COLUMNS, -1.0, 1.0);
    for (int i = 0; i < 32; i++)
        size[i] = 2.0 - i / 32.0; /* downwards */
    k->given->turns(2.0 * 3.14159265358979323846 / WAVES, WAVES / 2, turn_s, turn_c);
    for (int i = 0; i < SAMPLES; i++)
        for (int set = 0; set < 2; set++) { /* some 2000 vectors, most of them seldom */
            vectors[set][i] = (uint64_t)(2000 * unit() * unit() * unit());
            places[set][i] = (uint32_t)vectors[set][i]; /* its last two bits say the shard */
        }
    fill(site[0], SAMPLES, -3.0, 3.0); /* h */
    fill(site[1], SAMPLES, 0.1, 4.0);  /* l */
    fill(site[2], SAMPLES, -2.0, 0.0); /* lo */
    fill(site[3], SAMPLES, 0.5, 2.0);  /* hi */
}

static void need(int status)
{
    if (status != 0) {
        fprintf(stderr, "a call of the core failed with status %d\n", status);
        exit(1);
    }
}

static void run_draw(void) { k->draw(7, 0, 3, 64, SAMPLES, draws); }
static void run_inputs(void) { k->inputs(draws, SAMPLES, 0.0, 0x1p-32, values, 16); }
static void run_affine(void) { k->affine(weight, 128, bias, 128, MANY, more, values, BLOCK / 16); }
static void run_sigmoid(void)
{
    memcpy(values, weight, SAMPLES * sizeof *values);
    k->activate(EI_SIGMOID, 0.0, 0.0, values, SAMPLES);
}
static void run_draw_masks(void) { k->draw_masks(draws, WORDS, edges, 7, masks, WORDS); }
static void run_value_masks(void)
{
    for (int b = 0; b < MANY; b++)
        k->value_masks(values + b * 16, MANY * 16, BLOCK / 64, cuts + 28, 7, other, WORDS);
}
static void run_count_masks(void)
{
    k->count_masks(masks, WORDS, 7, other, WORDS, 7, WORDS, counts);
}
static void run_scatter(void)
{
    ei_scatter(offset, labels, SAMPLES, SAMPLES, 4, CELLS, small, table, CELLS);
}
static void run_offsets(void) { k->offsets(draws, SAMPLES, 64, 64, offset); }
static void label_with(size_t m)
{
    for (int b = 0; b < MANY; b++)
        k->label(values + b * 16, MANY * 16, BLOCK, cuts, m, map, labels);
}
static void run_label(void) { label_with(15); }
static void run_label_many(void) { label_with(63); }
static void run_log2(void) { k->log2(logs, 4096, scratch); }
static void run_measure(void)
{
    for (int i = 0; i < 64; i++)
        sink = ei_measure(k, table + 64 * i, 8, 8, 8, scratch, pointwise).information;
}
static void run_measure_many(void)
{
    sink = ei_measure(k, table, 64, 64, 64, scratch, pointwise).information;
}
static void run_expansion(void)
{
    const ei_exact_expansion row = {.n_cells = 8, .base = base, .sign = sign, .term = term, .n_pairs = 4,
                                    .beta = beta, .costs = {base, base, 0.0}};
    for (int i = 0; i < 64; i++)
        sink = k->exact->expansion(&row, powers, 10).sum;
}
static void run_series(void)
{
    const ei_exact_series row = {.n_cells = 8, .base = base, .sign = sign, .n_waves = 32, .sine = sine,
                                 .cosine = cosine, .half_step = 0.3, .n_bins = 8, .u = u, .v = v,
                                 .phi = own_phi, .costs = {base, base, 0.0}};
    for (int i = 0; i < 64; i++)
        sink = k->exact->series(&row, phi, 0.7).sum;
}

/* Exact EI_parts of rows of n inputs, as a layer's are: few (sums over subsets), some (recursion) or many
 * (the row's derivatives). */
static void parts_of(size_t n)
{
    static const int32_t labels[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static const uint16_t outside[1];
    static double thresholds[15], information[ROWS * 128], marginal[ROWS * 16], bound[ROWS], left[ROWS];
    for (int i = 0; i < 15; i++)
        thresholds[i] = (i - 7) / 4.0;
    const ei_channel c = {
        .n_in = n, .n_last = n, .n_out = ROWS, .in_hi = 1.0, .in_bins = 16, .out_bins = 16,
        .weight = weight, .bias = bias, .n_rules = 1, .n_thresholds = 15, .thresholds = thresholds,
        .labels = labels, .outside = outside,
    };
    const ei_exact_out out = {.information = information, .marginal = marginal, .bound = bound,
                              .outside = left};
    need(ei_exact_parts(&c, 0, ROWS, NULL, &out));
    sink = information[0];
}
static void run_few(void) { parts_of(5); }
static void run_some(void) { parts_of(12); }
static void run_many(void) { parts_of(128); }

static void run_row_sums(void)
{
    static double room[128], sums[ROWS * EI_SUMS];
    const ei_matrix rows = {128, weight, NULL};
    ei_exact_sums(&rows, ROWS, room, sums);
    sink = sums[0];
}

/* Plug-in counts shared out: every shard's vectors, then its pairs. */
static void run_shard_vectors(void)
{
    const uint64_t ends[2] = {0, SAMPLES};
    const ei_stretches all = {1, ends};
    for (int set = 0; set < 2; set++)
        for (uint32_t shard = 0; shard < SHARDS; shard++) {
            ei_budget budget = {1 << 26};
            ei_counter counter;
            need(ei_counter_open(&counter, 1, 0, &budget));
            need(ei_shard_vectors(&counter, vectors[set], SAMPLES, &all, (ei_shard){shard, SHARDS},
                                  places[set], NULL));
            ei_counter_close(&counter);
        }
}
static void run_shard_pairs(void)
{
    const uint64_t ends[2] = {0, SAMPLES};
    const ei_stretches all = {1, ends};
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        ei_budget budget = {1 << 26};
        ei_counter counter;
        need(ei_counter_open(&counter, 1, 0, &budget));
        need(ei_shard_pairs(&counter, places[0], places[1], &all, (ei_shard){shard, SHARDS}, NULL));
        ei_counter_close(&counter);
    }
}

static void run_products(void) { k->given->products(size, 32, 8.0, 0.01, 0, WAVES, values); }
static void run_transform(void)
{
    memcpy(complex_[0], more, sizeof complex_[0]);
    memcpy(complex_[1], more, sizeof complex_[1]);
    k->given->transform(complex_[0], complex_[1], WAVES, turn_s, turn_c);
}
static void run_tilt(void)
{
    const ei_wide_sites sites = {.n = 512, .h = site[0], .l = site[1], .lo = site[2], .hi = site[3],
                                 .log_mass = site[4], .mean = site[5], .variance = scratch};
    k->wide->tilt(&sites);
}
static void run_gram(void)
{
    k->wide->gram(columns, columns, COLUMNS, diagonal, COLUMNS / 8, gram);
}

/* What one run works through: `work` units. */
static const struct {
    const char *name, *unit;
    double work;
    void (*run)(void);
} cases[] = {
    {"draw", "draw", SAMPLES, run_draw},
    {"inputs", "value", SAMPLES, run_inputs},
    {"affine", "multiply-add", 128.0 * MANY * BLOCK, run_affine},
    {"sigmoid", "value", SAMPLES, run_sigmoid},
    {"draw_masks", "comparison", SAMPLES * 7.0, run_draw_masks},
    {"value_masks", "comparison", MANY * BLOCK * 7.0, run_value_masks},
    {"count_masks", "increment", SAMPLES, run_count_masks},
    {"scatter", "increment", 4.0 * SAMPLES, run_scatter},
    {"offsets", "draw", SAMPLES, run_offsets},
    {"label", "value", MANY * BLOCK, run_label},
    {"label_many", "value", MANY * BLOCK, run_label_many},
    {"log2", "value", 4096, run_log2},
    {"measure", "cell", 64 * 64, run_measure},
    {"measure_many", "cell", CELLS, run_measure_many},
    {"expansion", "probability", 64 * 8 * 8, run_expansion},
    {"series", "probability", 64 * 8 * 8, run_series},
    {"few_inputs", "edge", ROWS * 5, run_few},
    {"some_inputs", "edge", ROWS * 12, run_some},
    {"many_inputs", "edge", ROWS * 128, run_many},
    {"row_sums", "weight", ROWS * 128, run_row_sums},
    {"shard_vectors", "vector", 2.0 * SAMPLES, run_shard_vectors},
    {"shard_pairs", "pair", SAMPLES, run_shard_pairs},
    {"given_products", "factor", 32.0 * WAVES, run_products},
    {"given_transform", "value", WAVES * EI_GIVEN_LANES, run_transform},
    {"wide_tilt", "site", 512, run_tilt},
    {"wide_gram", "multiply-add", COLUMNS * COLUMNS * COLUMNS / 2.0, run_gram},
};

enum { CASES = sizeof cases / sizeof *cases };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double times[1024];
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (int i = 0; i < CASES; i++)
            printf("%s %g %s\n", cases[i].name, cases[i].work, cases[i].unit);
        return 0;
    }
    int at = 0;
    while (argc >= 4 && at < CASES && strcmp(argv[1], cases[at].name) != 0)
        at++;
    if (argc < 4 || at == CASES || ei_select(argv[2]) != 0) {
        fprintf(stderr, "usage: kernels list | kernels CASE INSTRUCTIONS RUNS [BATCHES]\n");
        return 2;
    }
    k = ei_active();
    prepare();
    int runs = atoi(argv[3]), batches = argc > 4 ? atoi(argv[4]) : 1;
    batches = batches < 1 ? 1 : batches > 1024 ? 1024 : batches;
    for (int b = 0; b < batches; b++) {
        double start = now();
        for (int r = 0; r < runs; r++)
            cases[at].run();
        times[b] = (now() - start) / runs;
    }
    if (argc > 4) {
        qsort(times, (size_t)batches, sizeof *times, compare);
        printf("%g %g\n", times[0], times[batches / 2]);
    }
    return 0;
}
