/* Exact EI_parts of one layer by itself, for bench/edges.py.
 *
 *     edges IN RUNS OUT
 *
 * IN holds a layer as bench/edges.py writes it. Prints the least CPU time of a run, of one thread, in
 * nanoseconds, and writes the information of the edges and the bounds of the rows to OUT.
 */
#define _POSIX_C_SOURCE 200112L
#include "exact/ei_exact.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void *take(FILE *file, size_t n, size_t size)
{
    void *x = malloc(n * size);
    if (x == NULL || fread(x, size, n, file) != n)
        exit(2);
    return x;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    FILE *in = argc == 4 ? fopen(argv[1], "rb") : NULL;
    if (in == NULL)
        return 2;
    const int64_t *size = take(in, 5, sizeof *size);
    const double *range = take(in, 2, sizeof *range);
    const size_t n_in = (size_t)size[0], n_out = (size_t)size[1], m = (size_t)size[4];
    const uint16_t *outside = calloc(1, sizeof *outside);
    const ei_channel c = {
        .n_in = n_in, .n_last = n_in, .n_out = n_out, .in_lo = range[0], .in_hi = range[1],
        .in_bins = (uint32_t)size[2], .out_bins = (uint32_t)size[3], .n_rules = 1, .n_thresholds = m,
        .weight = take(in, n_out * n_in, sizeof(double)), .bias = take(in, n_out, sizeof(double)),
        .thresholds = take(in, m, sizeof(double)), .labels = take(in, m + 1, sizeof(int32_t)),
        .outside = outside,
    };
    fclose(in);
    double *information = calloc(n_out * n_in, sizeof *information);
    double *marginal = calloc(n_out * (size_t)size[3], sizeof *marginal);
    double *bound = calloc(n_out, sizeof *bound), *left = calloc(n_out, sizeof *left);
    const ei_exact_out out = {.information = information, .marginal = marginal, .bound = bound,
                              .outside = left};
    double least = 1e300;
    for (int run = 0; run <= atoi(argv[2]); run++) {
        const double start = now();
        if (ei_exact_parts(&c, 0, n_out, NULL, &out) != 0)
            return 1;
        const double took = now() - start;
        least = run > 0 && took < least ? took : least; /* the first warms up */
    }
    FILE *file = fopen(argv[3], "wb");
    if (file == NULL || fwrite(information, sizeof(double), n_out * n_in, file) != n_out * n_in ||
        fwrite(bound, sizeof(double), n_out, file) != n_out || fclose(file) != 0)
        return 2;
    printf("%.0f\n", least);
    return 0;
}
