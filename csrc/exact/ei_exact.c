/* The exact pairwise engine.
 *
 * Setting. Write x_k = mid + range v_k with v_k uniform on [-1/2, 1/2]; then z = mean + S with
 * S = sum a_k v_k. Signs do not matter: v_k and the bins are symmetric, so a_k = |w_k| range >= 0.
 * With D = 1 / in_bins and m_i the centre of bin i,
 *
 *     P(S <= s | x_A in bin i) = F_A(s - a_A m_i),                                             (1)
 *
 * F_A the distribution function of the sum of independent uniforms of widths {a_k, k != A} and
 * a_A D. So all that is needed is the distribution function of a sum of uniforms ("widths"), at
 * many points, and differences of it over the thresholds that lie inside the support.
 *
 * Each file opens with the part of the mathematics that it holds:
 *     ei_series.c       route 1, the series (2)
 *     ei_expansion.c    route 2, narrow inputs by the derivatives of the row, (4)
 *     ei_between.c      of many such inputs a few, and between them interpolation
 *     ei_agree.c        rows of a few inputs more: a series cut off early, by errors that agree
 *     ei_nodes.c        of many bins a few places
 *     ei_recursion.c    route 3, closed form over the dominant few, (5)
 *     ei_subsets.c      route 4, few inputs by sums over subsets, (7)
 *     ei_plan.c         which of 1 and 3 for one set of widths
 *     ei_bounds.c       the rest of (2), (3), and from probabilities to bits
 *     ei_row.c          one output: thresholds, cells, information (6)
 *     ei_edge.c         one edge on its own
 *     ei_route.c        which route a row takes
 *     ei_rare.c         rarely kept rows: inputs confined
 *     ei_few_row.c      rarely kept rows of few inputs, with ei_few.c
 *     ei_parts.c        a row, every input perturbed
 *     ei_sensitivity.c  a row, one input perturbed at a time
 *     ei_engine.c       memory, and what a layer's rows share
 * and this one, layers. Each route carries a bound of its truncation and rounding (the latter to first
 * order in the unit roundoff); a row or edge takes the cheapest route whose bound is small enough, or
 * else the best, and reports it.
 */
#include "exact/ei_exact.h"
#include "exact/ei_exact_internal.h"
#include "kernels/ei_rows.h"

/* What the rows of one rule share. */
typedef struct {
    ei_exact *x, *limits; /* limits: NULL where there are none */
    int outside;          /* whether everything lies outside, where there are none */
    double *unused, *row, *edges; /* n_in */
} rule_engine;

/* Labels of the intervals that ei_channel calls limits: 0 inside, -1 outside. NULL: no memory. */
static ei_exact *open_limits(const ei_channel *c, size_t rule)
{
    const uint16_t *outside = c->outside + rule * (c->n_limits + 1);
    int32_t *labels = ei_alloc(c->n_limits + 1, sizeof *labels);
    if (labels == NULL)
        return NULL;
    for (size_t j = 0; j <= c->n_limits; j++)
        labels[j] = outside[j] ? -1 : 0;
    ei_exact *x = ex_open_engine(c, c->n_limits, c->limits + rule * c->n_limits, labels, 2);
    ei_free(labels);
    return x;
}

static int open_rule(const ei_channel *c, size_t rule, rule_engine *e)
{
    const size_t m = c->n_thresholds;
    e->x = ex_open_engine(c, m, c->thresholds + rule * m, c->labels + rule * (m + 1), c->out_bins);
    e->limits = c->n_limits > 0 ? open_limits(c, rule) : NULL;
    e->outside = c->n_limits == 0 && c->outside[rule];
    e->unused = ei_alloc(c->n_in, sizeof *e->unused);
    e->row = ei_alloc(c->n_in, sizeof *e->row);
    e->edges = ei_alloc(c->n_in, sizeof *e->edges);
    const int limits = c->n_limits == 0 || e->limits != NULL;
    if (e->x && e->limits && e->limits->n_thresholds > 0 && e->limits->n_thresholds <= BESIDE)
        e->x->beside = e->limits;
    return e->x && limits && e->unused && e->row && e->edges ? EI_OK : EI_ENOMEM;
}

static void close_rule(rule_engine *e)
{
    ei_free(e->unused);
    ei_free(e->row);
    ei_free(e->edges);
    ex_close_engine(e->limits);
    ex_close_engine(e->x);
}

static row_weights row_of(const ei_channel *c, const rule_engine *e, size_t o)
{
    row_weights row;
    if (c->sums != NULL) {
        row = ex_known_weights(c->bias[o], c->sums + o * EI_SUMS);
        row.weight = c->weight == NULL ? NULL : c->weight + o * c->n_in;
        row.narrow = c->weight == NULL ? c->narrow + o * c->n_in : NULL;
        row.room = e->row;
    } else {
        const ei_matrix rows = {c->n_in, c->weight, c->narrow};
        row = ex_row_weights(e->x, ei_row(&rows, o, e->row), c->bias[o]);
    }
    return row;
}

/* Where a row's information goes, if anybody asks for it. */
static double *place_of(const ei_channel *c, const rule_engine *e, size_t at, const ei_exact_out *out)
{
    if (out->information != NULL)
        return out->information + at * c->n_in;
    return out->total != NULL ? e->edges : NULL;
}

static void add_up(const ei_channel *c, const rule_engine *e, size_t at, const double *information,
                   const ei_exact_out *out)
{
    if (out->total != NULL && information != NULL)
        out->total[at] = e->x->total >= 0.0 ? e->x->total : e->x->k->total(information, c->n_in);
}

/* An output, whose numbers go to place `at`. */
static int parts_row(const ei_channel *c, const rule_engine *e, row_weights *weights, size_t at,
                     double *information, ei_cancel cancel, const ei_exact_out *out)
{
    double inside[2] = {1.0, 0.0}, ignored;
    e->x->inside = NAN;
    int status = ex_row_parts(e->x, weights, information, out->marginal + at * c->out_bins,
                              out->bound + at, cancel);
    if (e->limits != NULL && e->x->inside >= 0.0)
        inside[0] = e->x->inside;
    else if (e->limits != NULL && status == EI_OK)
        status = ex_row_parts(e->limits, weights, NULL, inside, &ignored, cancel);
    out->outside[at] = e->outside ? 1.0 : 1.0 - inside[0];
    add_up(c, e, at, information, out);
    return status;
}

static int sensitivity_row(const ei_channel *c, const rule_engine *e, row_weights *weights, size_t at,
                           double *information, ei_cancel cancel, const ei_exact_out *out)
{
    e->x->total = NAN;
    double ignored, dropped, outside = e->outside ? (double)c->n_in : 0.0;
    int status = EI_OK;
    if ((e->limits == NULL || ex_row_stands_still(e->limits, weights, &ignored)) &&
        ex_row_stands_still(e->x, weights, out->bound + at)) {
        ex_nothing(e->x, out->information ? information : NULL);
        if (out->total != NULL)
            out->total[at] = 0.0;
        out->outside[at] = e->outside ? 1.0 : 0.0;
        return EI_OK;
    }
    if (e->limits != NULL)
        status = ex_row_sensitivity(e->limits, weights, e->unused, &outside, &ignored, cancel);
    if (status == EI_OK)
        status = ex_row_sensitivity(e->x, weights, information, &dropped, out->bound + at, cancel);
    out->outside[at] = outside / (double)c->n_in;
    add_up(c, e, at, information, out);
    return status;
}

/* All rows, those of one rule after the other; either of the two may be NULL. */
static int each_row(const ei_channel *c, size_t start, size_t stop, ei_cancel cancel,
                    const ei_exact_out *alone, const ei_exact_out *together)
{
    int status = EI_OK;
    for (size_t rule = 0; rule < c->n_rules && status == EI_OK; rule++) {
        rule_engine e = {0};
        for (size_t o = start; o < stop && status == EI_OK; o++) {
            if (ei_rule(c, o) != rule)
                continue;
            const size_t at = o - start;
            if (e.x == NULL)
                status = open_rule(c, rule, &e);
            if (status != EI_OK)
                break;
            row_weights row = row_of(c, &e, o);
            if (alone != NULL)
                status = sensitivity_row(c, &e, &row, at, place_of(c, &e, at, alone), cancel, alone);
            if (status == EI_OK && together != NULL)
                status = parts_row(c, &e, &row, at, place_of(c, &e, at, together), cancel, together);
        }
        close_rule(&e);
    }
    return status;
}

int ei_exact_parts(const ei_channel *c, size_t start, size_t stop, ei_cancel cancel,
                   const ei_exact_out *out)
{
    return each_row(c, start, stop, cancel, NULL, out);
}

int ei_exact_sensitivity(const ei_channel *c, size_t start, size_t stop, ei_cancel cancel,
                         const ei_exact_out *out)
{
    return each_row(c, start, stop, cancel, out, NULL);
}

int ei_exact_both(const ei_channel *c, size_t start, size_t stop, ei_cancel cancel,
                  const ei_exact_out *alone, const ei_exact_out *together)
{
    return each_row(c, start, stop, cancel, alone, together);
}

void ei_exact_sums(const ei_matrix *rows, size_t count, double *sums)
{
    const ei_exact_kernels *k = ei_active()->exact;
    for (size_t o = 0; o < count; o++, sums += EI_SUMS) {
        row_weights row;
        if (rows->wide == NULL) {
            row = ex_summed_floats(k, rows->narrow + o * rows->n, rows->n, sums + EI_SIZES);
        } else {
            row = ex_summed(k, rows->wide + o * rows->n, rows->n);
            k->sizes(row.weight, rows->n, sums + EI_SIZES);
        }
        sums[EI_GREATEST] = row.greatest;
        sums[EI_SUM] = row.sum.hi;
        sums[EI_SUM_LOW] = row.sum.lo;
        sums[EI_TOTAL] = ldexp(row.sum.hi + row.sum.lo, row.exponent);
    }
}

double ei_exact_total(const double *x, size_t rows, size_t n)
{
    double total = 0.0;
    for (size_t o = 0; o < rows; o++)
        total += ei_active()->exact->total(x + o * n, n);
    return total;
}
