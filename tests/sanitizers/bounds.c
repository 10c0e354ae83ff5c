/* The bounds of vectors on small layers of every shape, for valgrind and the sanitizers: nothing is
 * read that was not written. The same job after the heap has held other numbers gives the same bits.
 * Built by `run`, together with all of csrc. */
#include "joint/ei_bounds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 3, MOST = 16, PIECES = 2 };

static uint64_t state;

static double draw(void) /* in (-1/2, 1/2) */
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / 9007199254740992.0 - 0.5 + 0x1p-54;
}

/* Leave numbers of one size all over the heap. */
static void soil(double with)
{
    enum { BLOCKS = 12 };
    double *held[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t n = (size_t)1 << (i + 2);
        held[i] = malloc(n * sizeof(double));
        for (size_t k = 0; held[i] && k < n; k++)
            held[i][k] = with;
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(held[i]);
}

static int run(size_t n_in, size_t n_out, size_t pieces)
{
    double weight[MOST * MOST], v[SAMPLES * MOST], log_q[3][SAMPLES], log_r[3][SAMPLES];
    double lo[SAMPLES * PIECES * MOST], hi[SAMPLES * PIECES * MOST];
    static const double soils[3] = {0.0, 1e300, -1e-300};
    int32_t never = 0;
    state = n_in * 100 + n_out * 10 + pieces;
    for (size_t i = 0; i < n_out * n_in; i++)
        weight[i] = 4.0 * draw() + (i % n_in == 0 ? 1.0 : 0.0);
    for (size_t s = 0; s < SAMPLES; s++) {
        for (size_t k = 0; k < n_in; k++)
            v[s * n_in + k] = draw();
        for (size_t j = 0; j < n_out; j++) {
            double z = 0.0;
            for (size_t k = 0; k < n_in; k++)
                z += weight[j * n_in + k] * v[s * n_in + k];
            for (size_t p = 0; p < pieces; p++) { /* the second one far off, or none */
                const size_t at = (s * pieces + p) * n_out + j;
                lo[at] = z - 0.25 + 3.0 * (double)p;
                hi[at] = lo[at] + (p && j % 2 ? 0.0 : 0.5);
            }
        }
    }
    const ei_bounds_job job = {.n_in = n_in, .n_out = n_out, .weight = weight, .pieces = pieces,
                               .uniform = 1e-3, .bins = 8, .block = (n_in + 2) / 3, .first = 5,
                               .again = 2, .damping = 0.7};
    for (size_t i = 0; i < 3; i++) {
        soil(soils[i]);
        const int status = ei_bounds_forward(&job, SAMPLES, lo, hi, log_q[i], &never) |
                           ei_bounds_backward(&job, SAMPLES, lo, hi, v, log_r[i], &never);
        if (status)
            return 1;
        for (size_t s = 0; s < SAMPLES; s++)
            if (!isfinite(log_q[i][s]) || !isfinite(log_r[i][s]))
                return 2;
    }
    for (size_t i = 1; i < 3; i++)
        if (memcmp(log_q[0], log_q[i], sizeof *log_q) || memcmp(log_r[0], log_r[i], sizeof *log_r))
            return 3;
    return 0;
}

int main(void)
{
    static const size_t shapes[][2] = {{1, 1}, {5, 3}, {3, 6}, {12, 4}, {4, 12}, {16, 9}, {9, 16}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t pieces = 1; pieces <= PIECES; pieces++) {
            const int wrong = run(shapes[i][0], shapes[i][1], pieces);
            if (wrong) {
                fprintf(stderr, "bounds: %zu inputs, %zu outputs, %zu pieces: %s\n", shapes[i][0],
                        shapes[i][1], pieces,
                        wrong == 1 ? "failed" : wrong == 2 ? "not finite" : "other numbers");
                return 1;
            }
        }
    puts("bounds: ok");
    return 0;
}
