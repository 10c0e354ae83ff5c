/* The exact engine: one way of cutting the outputs' line, made ready, and the memory of a row. */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* Merge neighbours, drop infinite thresholds, see whether the fast loop of the sensitivity applies. */
static void prepare_intervals(ei_exact *x, size_t m, const double *thresholds, const int32_t *labels)
{
    size_t n = 0;
    x->labels[0] = labels[0];
    for (size_t j = 0; j < m; j++) {
        double t = thresholds[j];
        int32_t label = labels[j + 1];
        if (t == -INFINITY) {
            x->labels[n = 0] = label;
        } else if (t < INFINITY && label != x->labels[n]) {
            x->thresholds[n++] = t;
            x->labels[n] = label;
        }
    }
    x->n_thresholds = n;
    x->drops = 0;
    int32_t found = -1, many = 0;
    for (size_t j = 0; j <= n; j++) {
        if (x->labels[j] < 0)
            x->drops = 1;
        else if (found >= 0 && x->labels[j] != found)
            many = 1;
        else
            found = x->labels[j];
    }
    x->one_label = !many;
    memset(x->cell_of, 0, x->out_bins * sizeof *x->cell_of);
    int runs = 0;
    x->simple = 1;
    x->kept_from = -1;
    x->kept_to = (int32_t)n;
    x->n_pieces = 0;
    for (size_t j = 0; j <= n; j++) {
        int kept = x->labels[j] >= 0;
        if (kept && (j == 0 || x->labels[j - 1] < 0)) {
            runs++;
            x->kept_from = (int32_t)j - 1;
            x->kept_to = (int32_t)n;
        }
        if (!kept) {
            if (j > 0 && x->labels[j - 1] >= 0)
                x->kept_to = (int32_t)j - 1;
            continue;
        }
        if (x->cell_of[x->labels[j]]++)
            x->simple = 0;
        x->from[x->n_pieces] = (int32_t)j - 1;
        x->to[x->n_pieces] = (int32_t)j;
        x->piece_sign[x->n_pieces++] = 1.0;
    }
    if (runs != 1)
        x->simple = 0;
    if (x->drops) {
        x->from[x->n_pieces] = x->kept_from;
        x->to[x->n_pieces] = x->kept_to;
        x->piece_sign[x->n_pieces++] = -1.0;
    }
}

void ex_close_engine(ei_exact *x)
{
    if (x == NULL)
        return;
    void *all[] = {x->thresholds, x->labels, x->beta, x->from, x->to, x->piece_sign,
                   x->near_from, x->near_to, x->near_sign, x->t_hi, x->t_lo,
                   x->y, x->a, x->sorted, x->order, x->suffix, x->list, x->list_suffix, x->packed, x->large,
                   x->s, x->left, x->right, x->left_kept, x->right_kept, x->cell_of, x->label_of,
                   x->base, x->sign, x->p, x->mean, x->term, x->point, x->value, x->log_mean, x->price,
                   x->phi_row, x->phi_edge, x->phi_plan, x->coefficient, x->scratch, x->direct,
                   x->distance, x->cut, x->nodes, x->waves.at, x->rest.at,
                   x->radii.at};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ei_free(all[i]);
    for (size_t i = 0; i <= EX_NODES; i++)
        ei_free(x->cosines[i]);
    ei_free(x);
}

/* Tolerance of a probability, and how far out probability matters beside it (1 at the top). */
void ex_set_tolerance(ei_exact *x, double tolerance)
{
    x->tolerance = tolerance;
    x->tail = sqrt(2.0 * ei_log(16.0 * x->in_bins / tolerance));
}

/* An engine for one way of cutting the outputs' line: m thresholds, labels of the m + 1 intervals. */
ei_exact *ex_open_engine(const ei_channel *c, size_t m, const double *thresholds,
                         const int32_t *labels, uint32_t out_bins)
{
    ei_exact *x = ei_zalloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->n_in = c->n_in;
    x->lo = c->in_lo;
    x->hi = c->in_hi;
    x->baseline = c->baseline;
    x->in_bins = c->in_bins;
    x->out_bins = out_bins;
    x->inside = NAN;
    x->k = ei_active()->exact;
    x->n_pairs = c->in_bins / 2;
    const size_t n = c->n_in + 9, cells = padded((size_t)out_bins + 1) + 8;
    int fine = 1;
#define NEW(field, count) fine = (x->field = ei_zalloc((count), sizeof *x->field)) != NULL && fine
    NEW(thresholds, m + 1);
    NEW(labels, m + 1);
    NEW(from, m + 2);
    NEW(to, m + 2);
    NEW(piece_sign, m + 2);
    NEW(near_from, m + 2);
    NEW(near_to, m + 2);
    NEW(near_sign, m + 2);
    NEW(t_hi, m + 1);
    NEW(t_lo, m + 1);
    NEW(y, (m + 1) * EI_EXACT_LANES);
    NEW(a, n);
    NEW(sorted, 2 * n); /* the second half of both for sorting */
    NEW(order, 2 * n);
    NEW(suffix, n + 1);
    NEW(list, n);
    NEW(list_suffix, n + 1);
    NEW(packed, n);
    NEW(large, n);
    NEW(s, m + 1);
    NEW(left, m + 1);
    NEW(right, m + 1);
    NEW(left_kept, m + 1);
    NEW(right_kept, m + 1);
    NEW(cell_of, out_bins);
    NEW(label_of, cells);
    NEW(base, cells);
    NEW(sign, cells);
    NEW(p, cells);
    NEW(mean, cells);
    NEW(log_mean, cells);
    NEW(price, cells);
    NEW(direct, n);
    NEW(distance, m + 1);
    NEW(cut, MAX_CUTS);
    NEW(point, (m > BATCH ? m : BATCH) + BESIDE + 16);
    NEW(value, (m > BATCH ? m : BATCH) + BESIDE + 16);
#undef NEW
    if (!fine) {
        ex_close_engine(x);
        return NULL;
    }
    prepare_intervals(x, m, thresholds, labels);
    for (uint32_t i = 0; i < out_bins; i++)
        x->cell_of[i] = -1;
    /* Such errors cost 2 m eta(2 e): about 8e-10 and 1.5e-10 bits, but where there are so many cells
     * that double precision is not up to it. */
    const double cells_most = (double)(out_bins < m + 1 ? out_bins : m + 1);
    x->allowed = 1.9e-10 / (cells_most * (43.0 + ei_log2(cells_most)));
    ex_set_tolerance(x, fmax(0.2 * x->allowed, 1e-15));
    x->still = ex_still_bound(x);
    x->negligible = 1e-18 / ((double)c->in_bins * (double)c->n_in);
    return x;
}

static int open_terms(ei_exact *x)
{
    if (x->term != NULL)
        return EI_OK;
    const size_t cells = padded((size_t)x->out_bins + 1);
    ei_free(x->beta); /* an earlier attempt may have run out of memory half way */
    x->beta = ei_zalloc((x->n_pairs + 1) * EI_EXACT_TERMS, sizeof(double));
    if (x->beta == NULL)
        return EI_ENOMEM;
    ex_bernoulli_table(x);
    if (ex_open_nodes(x) != EI_OK)
        return EI_ENOMEM;
    x->term = ei_zalloc(cells * EI_EXACT_TERMS, sizeof(double));
    return x->term == NULL ? EI_ENOMEM : EI_OK;
}

int ex_open_series(ei_exact *x, size_t waves)
{
    if (open_terms(x) != EI_OK)
        return EI_ENOMEM;
    if (waves <= x->room)
        return EI_OK;
    double **all[] = {&x->phi_row, &x->phi_edge, &x->phi_plan, &x->coefficient, &x->scratch};
    x->room = 0;
    int fine = 1;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        ei_free(*all[i]);
        *all[i] = ei_alloc((all[i] == &x->scratch ? 2 : 1) * (waves + 8), sizeof(double));
        fine = fine && *all[i] != NULL;
    }
    x->room = fine ? waves : 0;
    return fine ? EI_OK : EI_ENOMEM;
}

double *ex_grow(grown *memory, size_t size)
{
    if (size > memory->size) {
        ei_free(memory->at);
        memory->at = ei_alloc(size, sizeof(double));
        memory->size = memory->at == NULL ? 0 : size;
    }
    return memory->at;
}
