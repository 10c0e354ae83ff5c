#include "joint/ei_given.h"
#include "joint/ei_given_few.h"

#include "common/ei_math.h"
#include "kernels/ei_given_kernels.h"
#include "kernels/ei_kernels.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_GIVEN_LANES };

static const double PI = 3.14159265358979323846;
static const double ENOUGH = 5e-10; /* bits that errors of the closed form may cost */

/* One look, on n points. */
typedef struct {
    const ei_given_row *row;
    const ei_given_few *few; /* u's distribution in closed form; NULL: by its series */
    const ei_given_kernels *kernels;
    size_t n, waves, top; /* waves: n / 2 + 1, padded; beyond top u's are zero */
    double *own, *centres; /* characteristic functions, `waves` each */
    double *sine, *cosine; /* of the cuts, `waves` each */
    double *turn_s, *turn_c; /* of the transform, n / 2 each */
    double *re, *im;       /* n x LANES */
    double *h, *all, *cross; /* n each */
    double *points, *below; /* n each: some centres, less than u's reach from a cut, and P(z < cut) */
    uint32_t *place;       /* of a wave in the transform: its bits in reverse */
    ei_memory memory;
} look;

static int open_look(look *l, const ei_given_row *row, const ei_given_few *few, size_t n)
{
    memset(l, 0, sizeof *l);
    l->row = row;
    l->few = few;
    l->kernels = ei_active()->given;
    l->n = n;
    l->waves = (n / 2 + 1 + LANES - 1) / LANES * LANES;
    double **waves[] = {&l->own, &l->centres, &l->sine, &l->cosine};
    for (size_t i = 0; i < sizeof waves / sizeof *waves; i++)
        *waves[i] = ei_hold(&l->memory, l->waves, sizeof(double));
    double **halves[] = {&l->turn_s, &l->turn_c};
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++)
        *halves[i] = ei_hold(&l->memory, n / 2, sizeof(double));
    l->re = ei_hold(&l->memory, n * LANES, sizeof(double));
    l->im = ei_hold(&l->memory, n * LANES, sizeof(double));
    l->h = ei_hold_zeros(&l->memory, n, sizeof(double));
    l->all = ei_hold_zeros(&l->memory, n, sizeof(double));
    l->cross = ei_hold_zeros(&l->memory, n, sizeof(double));
    l->points = ei_hold(&l->memory, few != NULL ? n : LANES, sizeof(double));
    l->below = ei_hold(&l->memory, few != NULL ? n : LANES, sizeof(double));
    l->place = ei_hold(&l->memory, n, sizeof *l->place);
    if (l->memory.failed)
        return EI_ENOMEM;
    l->place[0] = 0;
    for (size_t q = 1; q < n; q++)
        l->place[q] = l->place[q / 2] / 2 + (q % 2 ? (uint32_t)(n / 2) : 0);
    l->kernels->turns(2.0 * PI / (double)n, n / 2, l->turn_s, l->turn_c);
    ei_given_of_s(&row->sums, PI / row->half, l->waves, l->centres);
    if (few != NULL)
        return EI_OK;
    ei_given_of_u(&row->sums, PI / row->half, l->waves, l->own);
    for (size_t q = 0; q <= n / 2; q++)
        if (l->own[q] != 0.0)
            l->top = q + 1;
    return EI_OK;
}

/* Add the indicator function of z below a cut, from one end of the circle, to a lane of the spectrum:
 * on each wave (exp(-i w cut) - exp(i w half)) i / w. */
static void add_below(look *l, double cut, size_t lane, double sign)
{
    const double half = l->row->half;
    const size_t n = l->n;
    l->kernels->turns(PI * (cut / half), (l->top + LANES - 1) / LANES * LANES, l->sine, l->cosine);
    l->re[lane] += sign * (cut + half) / (2.0 * half);
    for (size_t q = 1; q < l->top; q++) {
        const double end = q % 2 ? -1.0 : 1.0;
        const double by = sign * l->own[q] / (2.0 * PI * (double)q);
        const double re = l->sine[q] * by, im = (l->cosine[q] - end) * by;
        l->re[l->place[q] * LANES + lane] += re;
        l->im[l->place[q] * LANES + lane] += 2 * q == n ? 0.0 : im;
        if (2 * q < n) {
            l->re[l->place[n - q] * LANES + lane] += re;
            l->im[l->place[n - q] * LANES + lane] -= im;
        }
    }
}

/* The standard normal's distribution function at sqrt(2) t. */
static double normal_below(double t)
{
    return t < -6.4 ? 0.0 : t > 6.4 ? 1.0 : 0.5 * ei_erfc(-t);
}

/* Surprise at eight kinds, were z normal about the centre, weighed by their probabilities. */
static void normal_surprise(look *l, size_t first)
{
    const ei_given_row *row = l->row;
    double variance = 0.0;
    for (size_t k = 0; k < row->sums.n_parts; k++)
        variance += row->sums.parts[k] * row->sums.parts[k] / 12.0;
    const double scale = 1.0 / sqrt(2.0 * variance);
    for (size_t j = 0; j < l->n; j++) {
        const double turn = (double)j / (double)l->n;
        const double x = 2.0 * row->half * (2 * j > l->n ? turn - 1.0 : turn);
        const double *share = l->re + j * LANES;
        double mass[LANES] = {0};
        for (size_t i = 0; i <= row->n_all; i++) {
            const size_t lane = (size_t)row->all_kind[i] - first; /* those below wrap around */
            if (lane >= LANES || !(share[lane] > 1e-14)) /* the rest is rounding */
                continue;
            const double from = i > 0 ? (row->all_cuts[i - 1] - x) * scale : -INFINITY;
            const double to = i < row->n_all ? (row->all_cuts[i] - x) * scale : INFINITY;
            mass[lane] += normal_below(to) - normal_below(from);
        }
        for (size_t c = 0; c < LANES; c++)
            if (share[c] > 1e-14)
                l->cross[j] -= share[c] * ei_log2(fmax(mass[c], EI_GIVEN_LEAST));
    }
}

/* The lane of an interval's kind, if it is among these eight; LANES or more: it is not. */
static size_t lane_of(const look *l, size_t interval, size_t first)
{
    return (size_t)l->row->kind[interval] - first; /* kinds below wrap around */
}

/* Probabilities of eight kinds by Fourier series. */
static void kinds_by_series(look *l, size_t first)
{
    const ei_given_row *row = l->row;
    memset(l->im, 0, l->n * LANES * sizeof(double));
    for (size_t i = 0; i <= row->n_cuts; i++) {
        const size_t lane = lane_of(l, i, first);
        if (lane >= LANES)
            continue;
        if (i > 0)
            add_below(l, row->cuts[i - 1], lane, -1.0);
        if (i < row->n_cuts)
            add_below(l, row->cuts[i], lane, 1.0);
        else
            l->re[lane] += 1.0;
    }
    l->kernels->transform(l->re, l->im, l->n, l->turn_s, l->turn_c);
}

/* The same in closed form. Point t of the circle, from its seam on, is that of place (n / 2 + 1 + t) % n;
 * the last interval and the first meet at the seam. Where u reaches no cut, one kind is certain. */
static void kinds_in_closed_form(look *l, size_t first)
{
    const ei_given_row *row = l->row;
    const size_t n = l->n;
    const double step = 2.0 * row->half / (double)n, reach = l->few->reach;
    for (size_t t = 0, i = 0; t < n; t++) {
        const double x = -row->half + step * (double)(t + 1);
        while (i < row->n_cuts && x >= row->cuts[i])
            i++;
        const size_t lane = lane_of(l, t + 1 < n ? i : 0, first);
        if (lane < LANES)
            l->re[(n / 2 + 1 + t) % n * LANES + lane] += 1.0;
    }
    for (size_t i = 0; i <= row->n_cuts; i++) {
        const size_t left = lane_of(l, i, first);
        const size_t right = lane_of(l, i < row->n_cuts ? i + 1 : 0, first);
        if (left >= LANES && right >= LANES)
            continue;
        const double cut = i < row->n_cuts ? row->cuts[i] : row->half;
        const ptrdiff_t from = (ptrdiff_t)ceil((cut - reach + row->half) / step) - 1;
        const size_t count =
            ei_least((size_t)fmax(floor((cut + reach + row->half) / step) - (double)from, 0.0), n);
        for (size_t k = 0; k < count; k++)
            l->points[k] = cut - (-row->half + step * (double)(from + (ptrdiff_t)k + 1));
        for (size_t k = 0; k < count; k++) /* less what it is where u is nothing */
            l->im[k] = l->points[k] > 0.0 ? 1.0 : 0.0;
        ei_given_few_below(l->few, l->points, count, l->below);
        for (size_t k = 0; k < count; k++) {
            const size_t t = (size_t)(from + (ptrdiff_t)k + (ptrdiff_t)n) % n;
            double *share = l->re + (n / 2 + 1 + t) % n * LANES;
            const double more = l->below[k] - l->im[k];
            if (left < LANES)
                share[left] += more;
            if (right < LANES)
                share[right] -= more;
        }
    }
}

/* Probabilities of eight kinds of intervals, where the centre is at any point of the grid. */
static void kinds_from(look *l, size_t first)
{
    memset(l->re, 0, l->n * LANES * sizeof(double));
    if (l->few != NULL)
        kinds_in_closed_form(l, first);
    else
        kinds_by_series(l, first);
    l->kernels->surprise(l->re, l->n, l->h, l->all);
    if (l->row->n_all > 0)
        normal_surprise(l, first);
}

/* Averages over s: of h, of the share that is kept, of the normal surprise; and of h on every second
 * point. */
static double average(look *l, ei_given_found *found)
{
    const size_t n = l->n;
    memset(l->re, 0, n * LANES * sizeof(double));
    memset(l->im, 0, n * LANES * sizeof(double));
    for (size_t j = 0; j < n; j++) {
        l->re[l->place[j] * LANES] = l->h[j];
        l->re[l->place[j] * LANES + 1] = l->all[j];
        l->re[l->place[j] * LANES + 2] = l->cross[j];
    }
    l->kernels->transform(l->re, l->im, n, l->turn_s, l->turn_c);
    double sums[3] = {0}, coarse = 0.0;
    for (size_t q = 0; q <= n / 2; q++) {
        const double by = (q == 0 || 2 * q == n ? 1.0 : 2.0) * l->centres[q] / (double)n;
        for (size_t c = 0; c < 3; c++)
            sums[c] += by * l->re[q * LANES + c];
    }
    for (size_t q = 0; q <= n / 4; q++) { /* the spectrum of every second point */
        const double by = (q == 0 || 4 * q == n ? 1.0 : 2.0) * l->centres[q] / (double)n;
        coarse += by * (l->re[q * LANES] + l->re[(q + n / 2) * LANES]);
    }
    found->value = sums[0];
    found->kept = sums[1];
    found->normal = sums[2];
    return coarse;
}

/* -x log2 x of a small number. */
static double small_eta(double x) { return x > 0.0 ? -x * ei_log2(fmin(fmax(x, 1e-300), 0.3)) : 0.0; }

/* What errors of u's distribution in closed form cost. */
static double off_by(const ei_given_row *row, const ei_given_few *few)
{
    return (double)(row->n_cuts + 1) * small_eta(fmin(few->error, 0.3));
}

static int on_circle(const ei_given_row *row, const ei_given_few *few, size_t n,
                     ei_given_found *found, ei_cancel cancel)
{
    look l;
    int status = open_look(&l, row, few, n);
    for (size_t first = 0; status == EI_OK && first < row->n_kinds; first += LANES) {
        kinds_from(&l, first);
        if (ei_cancelled(cancel))
            status = EI_ECANCELLED;
    }
    if (status == EI_OK) {
        int drops = 0;
        for (size_t i = 0; i <= row->n_cuts; i++)
            drops |= row->kind[i] < 0;
        for (size_t j = 0; j < n && drops; j++)
            l.h[j] += l.all[j] > 0.0 ? l.all[j] * ei_log2(fmax(l.all[j], 1e-300)) : 0.0;
        const double coarse = average(&l, found);
        found->kept = drops ? found->kept : 1.0;
        found->error = fabs(found->value - coarse);
        if (few != NULL)
            found->error += off_by(row, few);
        else if (l.top == n / 2 + 1) { /* waves were left out */
            const double w = PI / row->half * (double)(n / 2);
            const double off = 2.0 * ei_given_rest(&row->sums, w, n / 2);
            found->error += (double)(row->n_cuts + 1) * small_eta(fmin(off, 0.3));
        }
    }
    ei_release(&l.memory);
    return status;
}

int ei_given_entropy(const ei_given_row *row, ei_given_found *found, ei_cancel cancel)
{
    const double wanted = 2.0 * ei_given_highest(&row->sums) * row->half / PI;
    size_t n = row->least;
    while ((double)n < wanted && n < row->start)
        n *= 2;
    /* Of few uniforms the series converges slowly. */
    ei_given_few few;
    int closed = 0;
    if (row->sums.n_parts <= EI_GIVEN_FEW) {
        ei_given_few_open(&few, &row->sums);
        closed = few.reach <= row->half && off_by(row, &few) <= ENOUGH;
    }
    for (;; n *= 2) {
        const int status = on_circle(row, closed ? &few : NULL, n, found, cancel);
        if (status != EI_OK || found->error < row->good || n >= row->most)
            return status;
    }
}
