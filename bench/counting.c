/* Counting by itself: EI of a small layer from plain samples, with none of eiplane's code.
 *
 * H(Y) from a table of counts; H(Y | cell) from draws within cells of random inputs. Entropies by Chao, Wang and Jost's
 * estimator (2013). See counting.py for the interface. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int n_in, n_out, in_bins, out_bins, activation, drop;
    const double *weight, *bias;
    double in_lo, in_hi, out_lo, out_hi;
} layer;

static uint64_t state[4];

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

/* xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64. */
static uint64_t next(void) {
    const uint64_t result = rotate(state[1] * 5, 7) * 9, t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotate(state[3], 45);
    return result;
}

static void seed(uint64_t x) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (x += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        state[i] = z ^ (z >> 31);
    }
}

static double uniform(void) { return (double)(next() >> 11) * 0x1p-53; }

static double activate(int kind, double z) {
    switch (kind) {
    case 0: return z;
    case 1: return 1.0 / (1.0 + exp(-z));
    case 2: return tanh(z);
    case 3: return z > 0.0 ? z : 0.0;
    case 4: return 0.5 * z * (1.0 + erf(z / sqrt(2.0)));
    default: return z / (1.0 + exp(-z));
    }
}

/* The outputs' bins of an input as one number (a hash of them, where they are too many); 0: dropped. */
static uint64_t code(const layer *l, const double *x) {
    uint64_t h = 1;
    for (int j = 0; j < l->n_out; j++) {
        double z = l->bias[j];
        const double *w = l->weight + (size_t)j * l->n_in;
        for (int k = 0; k < l->n_in; k++)
            z += w[k] * x[k];
        double v = (activate(l->activation, z) - l->out_lo) / (l->out_hi - l->out_lo) * l->out_bins;
        if (l->drop && (v < 0.0 || v > l->out_bins))
            return 0;
        int bin = v < 0.0 ? 0 : v >= l->out_bins ? l->out_bins - 1 : (int)v;
        h = (h + (uint64_t)bin + 1) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h ? h : 1;
}

static double digamma(double x) {
    double shift = 0.0;
    for (; x < 10.0; x += 1.0)
        shift -= 1.0 / x;
    double r = 1.0 / (x * x);
    return shift + log(x) - 0.5 / x - r * (1.0 / 12 - r * (1.0 / 120 - r / 252));
}

/* Chao, Wang and Jost's entropy in nats, from counts; the variance of -ln p too. */
static double entropy(const uint32_t *counts, size_t distinct, double n, double *variance) {
    double sum = 0.0, mean = 0.0, square = 0.0, f1 = 0.0, f2 = 0.0, own = digamma(n);
    for (size_t i = 0; i < distinct; i++) {
        double c = counts[i], surprise = log(n / c);
        if (!counts[i])
            continue;
        sum += c / n * (own - digamma(c));
        mean += c / n * surprise;
        square += c / n * surprise * surprise;
        f1 += c == 1.0;
        f2 += c == 2.0;
    }
    if (variance)
        *variance = square - mean * mean;
    if (f1 == 0.0)
        return sum;
    double a = f2 > 0.0 ? 2.0 * f2 / ((n - 1.0) * f1 + 2.0 * f2) : 2.0 / ((n - 1.0) * (f1 - 1.0) + 2.0);
    double q = 1.0 - a, tail = 0.0, power = 1.0;
    for (double j = 1.0; j < 40.0 / a && j < 4e8; j += 1.0) { /* the series, term by term */
        power *= q;
        tail += power / (n - 1.0 + j);
    }
    return sum + f1 / n * tail;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* H(Y) of so many samples: found = {H in bits, its standard error, H of the first half, kept share, coverage}. 0, or 1
 * where the table is full. */
int count_outputs(const layer *l, uint64_t key, uint64_t samples, int log_size, double *found) {
    size_t size = (size_t)1 << log_size, mask = size - 1, used = 0;
    uint64_t *keys = calloc(size, sizeof *keys), kept = 0;
    uint32_t *counts = calloc(size, sizeof *counts);
    double *x = malloc(sizeof *x * (size_t)l->n_in), variance;
    int full = 0;
    seed(key);
    found[2] = 0.0;
    for (uint64_t s = 0; s < samples && !full; s++) {
        if (s == samples / 2 && kept)
            found[2] = entropy(counts, size, (double)kept, NULL) / M_LN2;
        for (int k = 0; k < l->n_in; k++)
            x[k] = l->in_lo + (l->in_hi - l->in_lo) * uniform();
        uint64_t h = code(l, x);
        if (!h)
            continue;
        kept++;
        size_t i = (h ^ (h >> 32)) & mask;
        while (keys[i] && keys[i] != h)
            i = (i + 1) & mask;
        if (!keys[i]) {
            keys[i] = h;
            full = ++used > size / 4 * 3;
        }
        counts[i]++;
    }
    size_t singles = 0;
    for (size_t i = 0; i < size; i++)
        singles += counts[i] == 1;
    if (!full && kept) {
        found[0] = entropy(counts, size, (double)kept, &variance) / M_LN2;
        found[1] = sqrt(variance / (double)kept) / M_LN2;
        found[3] = (double)kept / (double)samples;
        found[4] = 1.0 - (double)singles / (double)kept;
    }
    free(keys);
    free(counts);
    free(x);
    return full;
}

static double of_codes(uint64_t *codes, size_t n, uint32_t *counts) {
    size_t distinct = 0;
    qsort(codes, n, sizeof *codes, by_value);
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && codes[j] == codes[i])
            j++;
        counts[distinct++] = (uint32_t)(j - i);
        i = j;
    }
    return entropy(counts, distinct, (double)n, NULL) / M_LN2;
}

/* H(Y | cell), averaged over the cells of random kept inputs, every cell of so many draws: found = {mean of H in bits, its
 * standard error, mean of H less what a part of the draws gives, its standard error}; parts of that many draws. */
void count_within(const layer *l, uint64_t key, uint64_t cells, int draws, int part, double *found) {
    double *x = malloc(sizeof *x * (size_t)l->n_in), *start = malloc(sizeof *x * (size_t)l->n_in);
    uint64_t *codes = malloc(sizeof *codes * (size_t)draws), *copy = malloc(sizeof *codes * (size_t)draws);
    uint32_t *counts = malloc(sizeof *counts * (size_t)draws);
    double sum[2] = {0.0, 0.0}, square[2] = {0.0, 0.0}, width = (l->in_hi - l->in_lo) / l->in_bins;
    seed(key);
    for (uint64_t c = 0; c < cells; c++) {
        do
            for (int k = 0; k < l->n_in; k++) {
                double u = uniform() * l->in_bins;
                start[k] = l->in_lo + width * floor(u);
                x[k] = l->in_lo + width * u;
            }
        while (!code(l, x));
        for (int d = 0; d < draws;) {
            for (int k = 0; k < l->n_in; k++)
                x[k] = start[k] + width * uniform();
            if ((codes[d] = code(l, x)))
                d++;
        }
        double value[2] = {0.0, 0.0};
        memcpy(copy, codes, sizeof *codes * (size_t)draws);
        for (int q = 0; part < draws && q < draws / part; q++)
            value[1] -= of_codes(copy + q * part, (size_t)part, counts) * part / draws;
        value[0] = of_codes(codes, (size_t)draws, counts);
        value[1] += value[0];
        for (int i = 0; i < 2; i++) {
            sum[i] += value[i];
            square[i] += value[i] * value[i];
        }
    }
    for (int i = 0; i < 2; i++) {
        double n = (double)cells, mean = sum[i] / n;
        found[2 * i] = mean;
        found[2 * i + 1] = sqrt(fmax(square[i] / n - mean * mean, 0.0) / n);
    }
    free(x);
    free(start);
    free(codes);
    free(copy);
    free(counts);
}
