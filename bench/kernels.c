/* Runs one kernel of the core by itself, for bench/roofline.py and bench/guard.py.
 *
 *     kernels list
 *     kernels CASE INSTRUCTIONS RUNS [BATCHES]
 *
 * Without BATCHES it runs the kernel so often and says nothing: what an instruction counter wants. With
 * it, it prints the least and the median time of a run in nanoseconds, over so many batches of RUNS.
 */
#define _POSIX_C_SOURCE 200112L
#include "kernels/ei_exact_kernels.h"
#include "kernels/ei_info.h"
#include "pairs/ei_pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 8192, WORDS = SAMPLES / 64, BLOCK = 512, MANY = 64, CELLS = 64 * 64 };

static const ei_kernels *k;
static uint32_t draws[SAMPLES], edges[64], offset[SAMPLES];
static uint16_t labels[4 * SAMPLES], map[64], small[4 * EI_SMALL_CELLS];
static uint64_t masks[64 * WORDS], other[64 * WORDS], counts[64 * 64], table[16 * CELLS];
static double values[MANY * BLOCK], more[128 * BLOCK], weight[MANY * 128], bias[MANY], cuts[64];
static double scratch[8 * CELLS], pointwise[CELLS], logs[4096];
static double base[64], sign[64], term[64 * EI_EXACT_TERMS], beta[64 * EI_EXACT_TERMS], powers[32];
static double sine[64 * 64], cosine[64 * 64], phi[64], u[8 * 64], v[8 * 64];
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
    const ei_exact_expansion row = {8, base, sign, term, 4, 0, beta};
    for (int i = 0; i < 64; i++)
        sink = k->exact->expansion(&row, powers, 10);
}
static void run_series(void)
{
    const ei_exact_series row = {8, base, sign, 32, sine, cosine, 0.3, 8, u, v};
    for (int i = 0; i < 64; i++)
        sink = k->exact->series(&row, phi, 0.7);
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
