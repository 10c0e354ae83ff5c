/* Threads over the core, for ThreadSanitizer: the same work cut into pieces, on many threads at once,
 * gives the numbers of a single one. Built by `run`, together with all of csrc. */
#include "exact/ei_exact.h"
#include "joint/ei_wide.h"
#include "kernels/ei_kernels.h"
#include "pairs/ei_pairs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_IN = 7, N_OUT = 24, BINS = 8, THREADS = 8, SAMPLES = 4096 };

static double weight[N_OUT * N_IN], bias[N_OUT], thresholds[BINS - 1];
static int32_t labels[BINS];
static uint16_t outside[1];
static ei_channel channel;
static volatile int32_t never;

typedef struct {
    size_t start, stop;
    double *exact, *alone, *sampled;
    int status;
} piece;

static void *work(void *argument)
{
    piece *p = argument;
    const size_t rows = p->stop - p->start, edges = rows * N_IN;
    double *more = calloc(6 * edges + rows * (BINS + 2), sizeof *more);
    uint64_t *dropped = calloc(rows, sizeof *dropped);
    int64_t *spread = calloc(EI_FOLLOWED, sizeof *spread);
    if (!more || !dropped || !spread)
        abort();
    double *marginal = more + 6 * edges, *bound = marginal + rows * BINS, *out = bound + rows;
    const ei_exact_out exact = {.information = p->exact, .marginal = marginal, .bound = bound,
                                .outside = out};
    p->status = ei_exact_parts(&channel, p->start, p->stop, &never, &exact);
    const ei_exact_out alone = {.information = p->alone, .marginal = marginal, .bound = bound,
                                .outside = out};
    p->status |= ei_exact_sensitivity(&channel, p->start, p->stop, &never, &alone);
    const ei_job job = {.key = 7, .out_start = p->start, .out_stop = p->stop, .in_stop = N_IN,
                        .count = SAMPLES, .masks = -1};
    const ei_pairs_out pairs = {p->sampled,       more,   more + edges, more + 2 * edges, more + 3 * edges,
                                more + 4 * edges, spread, dropped};
    p->status |= ei_pairs_run(&channel, &job, &never, &pairs);
    free(spread);
    free(dropped);
    free(more);
    return NULL;
}

/* The wide engine with its cooling: samples that threads share out. */

enum { U = 4, Z = 6, WIDE = 16 };

static double wide_weight[Z * U], in_lo[WIDE * U], in_hi[WIDE * U], out_lo[WIDE * Z], out_hi[WIDE * Z];
static uint8_t correct[WIDE];
static uint32_t stream[WIDE];

typedef struct {
    size_t start, stop;
    double (*found)[WIDE];
    double (*cavity)[WIDE * U];
    int status;
} share;

static void *filter(void *argument)
{
    share *s = argument;
    const size_t a = s->start;
    const ei_wide_job job = {.n_in = U, .n_out = Z, .weight = wide_weight, .pieces = 1,
                             .iterations = 24, .damping = 0.8, .tolerance = 1e-3, .sweeps = 8,
                             .key = 7, .purpose = 3};
    const ei_wide_out out = {s->found[0] + a, s->found[1] + a, s->found[2] + a, s->found[3] + a,
                             s->cavity[0] + a * U, s->cavity[1] + a * U};
    s->status = ei_wide_run(&job, s->stop - a, in_lo + a * U, in_hi + a * U, out_lo + a * Z,
                            out_hi + a * Z, correct + a, stream + a, &out, &never);
    return NULL;
}

static int wide(void)
{
    static double found[2][4][WIDE], cavity[2][2][WIDE * U];
    for (size_t i = 0; i < Z * U; i++)
        wide_weight[i] = (double)((i * 37) % 23) / 11.0 - 0.99;
    for (size_t s = 0; s < WIDE; s++) {
        correct[s] = s % 2 == 0;
        stream[s] = (uint32_t)s;
        for (size_t k = 0; k < U; k++) {
            in_lo[s * U + k] = -0.5;
            in_hi[s * U + k] = s % 3 ? 0.5 : 0.1;
        }
        for (size_t b = 0; b < Z; b++) {
            out_lo[s * Z + b] = -0.3 - 0.02 * (double)s;
            out_hi[s * Z + b] = 0.2 + 0.03 * (double)b;
        }
    }
    share shares[THREADS], whole = {0, WIDE, found[0], cavity[0], 0};
    pthread_t threads[THREADS];
    int status = 0;
    for (size_t t = 0; t < THREADS; t++) {
        shares[t] = (share){WIDE * t / THREADS, WIDE * (t + 1) / THREADS, found[1], cavity[1], 0};
        if (pthread_create(&threads[t], NULL, filter, &shares[t]))
            return 2;
    }
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        status |= shares[t].status;
    }
    filter(&whole);
    for (size_t s = 0; s < WIDE; s++) /* volumes of what is less than the cube */
        status |= !(found[0][0][s] < 0.0 && found[0][3][s] < 0.0);
    return status | whole.status | !!memcmp(found[0], found[1], sizeof found[0]) |
           !!memcmp(cavity[0], cavity[1], sizeof cavity[0]);
}

int main(void)
{
    for (size_t i = 0; i < N_OUT * N_IN; i++)
        weight[i] = (double)((i * 37) % 23) / 11.0 - 1.0;
    for (size_t b = 0; b < N_OUT; b++)
        bias[b] = (double)(b % 5) * 0.1;
    for (int k = 0; k < BINS; k++)
        labels[k] = k;
    for (int k = 0; k < BINS - 1; k++)
        thresholds[k] = -1.5 + 0.5 * k;
    channel = (ei_channel){.n_in = N_IN, .in_hi = 1.0, .in_bins = BINS, .out_bins = BINS,
                           .n_last = N_IN, .n_out = N_OUT, .weight = weight, .bias = bias,
                           .n_rules = 1, .n_thresholds = BINS - 1, .thresholds = thresholds,
                           .labels = labels, .outside = outside};
    static double found[2][3][N_OUT * N_IN];
    piece whole = {0, N_OUT, found[0][0], found[0][1], found[0][2], 0};
    piece pieces[THREADS];
    pthread_t threads[THREADS];
    for (size_t t = 0; t < THREADS; t++) { /* first of all: the choice of kernels races, if it can */
        const size_t start = N_OUT * t / THREADS, at = start * N_IN;
        pieces[t] = (piece){start, N_OUT * (t + 1) / THREADS, found[1][0] + at, found[1][1] + at,
                            found[1][2] + at, 0};
        if (pthread_create(&threads[t], NULL, work, &pieces[t]))
            return 2;
    }
    int status = 0;
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        status |= pieces[t].status;
    }
    work(&whole);
    if (status | whole.status || memcmp(found[0], found[1], sizeof found[0])) {
        fprintf(stderr, "threads: status %d, or other numbers than one thread's\n", status);
        return 1;
    }
    if ((status = wide())) {
        fprintf(stderr, "threads: the wide engine: status %d, or other numbers\n", status);
        return 1;
    }
    puts("threads: ok");
    return 0;
}
