/* One edge of the exact engine by its row's expansion or series (exact/ei_expansion.c, ei_series.c); included
 * by ei_exact_impl.h. */

/* What is added up over the cells of an edge. */
typedef struct {
    vd sum[EX_SUBS], costs[EX_SUBS];
    double missed;
} ex_totals;

EI_FORCE ei_exact_edge ex_edge(const ex_totals *totals)
{
    return (ei_exact_edge){.sum = ex_reduce(totals->sum), .costs = ex_reduce(totals->costs),
                           .missed = totals->missed};
}

/* Where the costs of eight cells come from, and what is known of them. */
typedef struct {
    vd base, sign, log_mean, price, least;
} ex_cell;

EI_FORCE ex_cell ex_cells_at(const double *base, const double *sign, const ei_exact_costs *costs, size_t at)
{
    return (ex_cell){*(const vd *)(base + at), *(const vd *)(sign + at),
                     *(const vd *)(costs->log_mean + at), *(const vd *)(costs->price + at),
                     (vd){0} + costs->least};
}

EI_FORCE vd ex_cell_log(const ex_cell *cell, vd p, vd *costs)
{
    return ex_costly(p, cell->log_mean, cell->price, cell->least, costs);
}

#include "kernels/ei_exact_nodes_impl.h"

/* Eight cells by the nodes of an expansion. */
EI_FORCE int ex_expansion_nodes(const ei_exact_expansion *row, vd scaled[EX_SUBS][EI_EXACT_TERMS],
                                const ex_cell cell[EX_SUBS], size_t n_terms, ex_totals *totals)
{
    const ei_exact_nodes *nodes = row->nodes;
    ex_node_sums sums;
    memset(&sums, 0, sizeof sums);
    for (int sub = 0; sub < EX_SUBS; sub++) {
        vd even[EI_EXACT_NODES], odd[EI_EXACT_NODES], distance[EX_DISTANCES];
        for (size_t j = 0; j < EI_EXACT_NODES; j++) {
            const double *beta = nodes->beta[j];
            odd[j] = (vd){0};
            even[j] = cell[sub].base;
            for (size_t k = 0; k < n_terms; k += 2) {
                odd[j] += scaled[sub][k] * beta[k];
                even[j] += scaled[sub][k + 1] * beta[k + 1];
            }
        }
        /* Term k is a polynomial of degree k, and at most 3.3 in size. */
        vd left = {0};
        for (size_t degree = EX_DEGREE + EX_DISTANCES; degree-- > EX_DEGREE;) {
            if (degree < n_terms)
                left += ex_abs(scaled[sub][degree]) * 3.3;
            distance[degree - EX_DEGREE] = left;
        }
        ex_nodes(nodes, even, odd, distance, &cell[sub], sub, &sums);
    }
    return ex_nodes_hold(nodes, (double)(2 * row->n_pairs + (size_t)row->middle), &sums, totals);
}

EI_FN ei_exact_edge ex_expansion(const ei_exact_expansion *row, const double *powers, size_t n_terms)
{
    ex_totals totals;
    memset(&totals, 0, sizeof totals);
    for (size_t c = 0; c < row->n_cells; c += EX_LANES) {
        vd scaled[EX_SUBS][EI_EXACT_TERMS];
        ex_cell cell[EX_SUBS];
        for (int sub = 0; sub < EX_SUBS; sub++) {
            const double *term = row->term + c * EI_EXACT_TERMS + sub * VD;
            cell[sub] = ex_cells_at(row->base, row->sign, &row->costs, c + (size_t)(sub * VD));
            for (size_t k = 0; k < n_terms; k++)
                scaled[sub][k] = *(const vd *)(term + k * EX_LANES) * powers[k];
        }
        if (row->nodes != NULL && ex_promising(row->nodes, row->sign + c, row->costs.log_mean + c) &&
            ex_expansion_nodes(row, scaled, cell, n_terms, &totals))
            continue;
        for (int sub = 0; sub < EX_SUBS; sub++) {
            vd sum = {0}, costs = {0};
            const double *beta = row->beta;
            for (size_t i = 0; i < row->n_pairs; i++, beta += EI_EXACT_TERMS) {
                vd odd = scaled[sub][0] * beta[0], even = cell[sub].base + scaled[sub][1] * beta[1];
                for (size_t k = 2; k < n_terms; k += 2) {
                    odd += scaled[sub][k] * beta[k];
                    even += scaled[sub][k + 1] * beta[k + 1];
                }
                sum += ex_cell_log(&cell[sub], even + odd, &costs) +
                       ex_cell_log(&cell[sub], even - odd, &costs);
            }
            if (row->middle) {
                vd even = cell[sub].base;
                for (size_t k = 1; k < n_terms; k += 2)
                    even += scaled[sub][k] * beta[k];
                sum += ex_cell_log(&cell[sub], even, &costs);
            }
            totals.sum[sub] += sum * cell[sub].sign;
            totals.costs[sub] += costs * cell[sub].sign;
        }
    }
    return ex_edge(&totals);
}

/* u[i][q] = phi(q) cos(centre_i), v with the sine, for the n bins of a panel: centre_0 has the sine s and
 * the cosine c, and ds and dc turn one into the next. */
EI_FORCE void ex_chain(const ei_exact_series *row, size_t q, vd s, vd c, vd ds, vd dc, size_t n)
{
    const vd f = *(const vd *)(row->phi + q);
    for (size_t i = 0;; i++) {
        *(vd *)(row->u + i * row->n_waves + q) = f * c;
        *(vd *)(row->v + i * row->n_waves + q) = f * s;
        if (i + 1 == n)
            break;
        vd next = c * dc - s * ds;
        s = s * dc + c * ds;
        c = next;
    }
}

/* The first panel, and the edge's coefficients on the way. Half a bin is an angle of `half`, a whole one of
 * twice that, and their centres lie at half a bin or, if there is a middle bin, at a whole one. */
EI_FN ei_exact_edge ex_first_panel(const ei_exact_series *row, const double *rest, double half, size_t n)
{
    vd heights[EX_SUBS], weighted[EX_SUBS];
    memset(heights, 0, sizeof heights);
    memset(weighted, 0, sizeof weighted);
    for (size_t q = 0; q < row->n_waves; q += EX_LANES) {
        for (size_t sub = 0; sub < EX_SUBS; sub++) {
            const size_t at = q + sub * VD;
            const vd odds = ex_odds(at), x = odds * half;
            vd s, c;
            ex_sincos(x, &s, &c);
            const vd f = *(const vd *)(rest + at) * (s / x);
            const vd size = V_REAL(V_BITS(f) & 0x7fffffffffffffffull);
            const vd ds = 2.0 * s * c, dc = 1.0 - 2.0 * s * s;
            heights[sub] += size;
            weighted[sub] += size / (odds * 1.5707963267948966);
            *(vd *)(row->phi + at) = f;
            if (n > 0)
                ex_chain(row, at, row->n_bins % 2 ? ds : s, row->n_bins % 2 ? dc : c, ds, dc, n);
        }
    }
    return (ei_exact_edge){.heights = ex_reduce(heights), .weighted = ex_reduce(weighted)};
}

/* A later panel. */
EI_FN void ex_panel(const ei_exact_series *row, double first, double step, size_t n)
{
    for (size_t q = 0; q < row->n_waves; q += VD) {
        vd s, c, ds, dc;
        ex_sincos(ex_odds(q) * first, &s, &c);
        ex_sincos(ex_odds(q) * step, &ds, &dc);
        ex_chain(row, q, s, c, ds, dc, n);
    }
}

/* As a panel: u and v at the nodes, an input's whole width being an angle of `whole`. */
EI_FN void ex_node_panel(const ei_exact_series *row, double whole)
{
    for (size_t j = 0; j < EI_EXACT_NODES; j++) {
        const double angle = whole * row->nodes->place[j];
        for (size_t q = 0; q < row->n_waves; q += VD) {
            const vd f = *(const vd *)(row->phi + q);
            vd s, c;
            ex_sincos(ex_odds(q) * angle, &s, &c);
            *(vd *)(row->u + j * row->n_waves + q) = f * c;
            *(vd *)(row->v + j * row->n_waves + q) = f * s;
        }
    }
}

/* Sums of waves for n pairs of bins or nodes, n at most 4 (a constant when inlined). */
EI_FORCE void ex_pairs(const ei_exact_series *row, const double *sine, const double *cosine, size_t first,
                       const int n, vd *even, vd *odd)
{
    const size_t waves = row->n_waves;
    const double *u = row->u + first * waves, *v = row->v + first * waves;
    vd e[4], o[4];
    for (int i = 0; i < n; i++)
        e[i] = o[i] = (vd){0};
    for (size_t q = waves; q-- > 0;) { /* from the small terms to the great */
        const vd s = *(const vd *)(sine + q * EX_LANES), c = *(const vd *)(cosine + q * EX_LANES);
        for (int i = 0; i < n; i++) {
            e[i] += s * u[(size_t)i * waves + q];
            o[i] += c * v[(size_t)i * waves + q];
        }
    }
    for (int i = 0; i < n; i++) {
        even[i] = e[i];
        odd[i] = o[i];
    }
}

/* The cells of one sub-vector for `n` bins of a panel. */
EI_FORCE vd ex_tile(const ei_exact_series *row, const double *sine, const double *cosine,
                    const ex_cell *cell, size_t bin, const int n, vd *costs)
{
    vd even[4], odd[4], sum = {0};
    ex_pairs(row, sine, cosine, bin, n, even, odd);
    for (int i = 0; i < n; i++) {
        even[i] += cell->base;
        sum += ex_cell_log(cell, even[i] - odd[i], costs) + ex_cell_log(cell, even[i] + odd[i], costs);
    }
    return sum;
}

/* The cells that the nodes are enough for: done[c / 8] tells. Returns how many blocks of eight are left. */
EI_FN size_t ex_series_nodes(const ei_exact_series *row, double width, ex_totals *totals, char *done)
{
    enum { AT_ONCE = 3 };
    const ei_exact_nodes *nodes = row->nodes;
    const double whole = row->half_step * width;
    double far[EX_DISTANCES];
    vd distance[EX_DISTANCES];
    size_t left = row->n_cells / EX_LANES;
    ex_wave_distances(row, whole, far);
    if (!(64.0 * far[EX_DISTANCES - 1] <= nodes->limit)) /* too much for any cells */
        return left;
    ex_node_panel(row, whole);
    for (int m = 0; m < EX_DISTANCES; m++)
        distance[m] = (vd){0} + 2.0 * far[m]; /* a cell has two thresholds */
    for (size_t c = 0; c < row->n_cells; c += EX_LANES) {
        ex_node_sums sums;
        memset(&sums, 0, sizeof sums);
        const int promising = ex_promising(nodes, row->sign + c, row->costs.log_mean + c);
        for (int sub = 0; sub < EX_SUBS && promising; sub++) {
            const double *sine = row->sine + c * row->n_waves + sub * VD;
            const double *cosine = row->cosine + c * row->n_waves + sub * VD;
            const ex_cell cell = ex_cells_at(row->base, row->sign, &row->costs, c + (size_t)(sub * VD));
            vd even[EI_EXACT_NODES], odd[EI_EXACT_NODES];
            for (size_t j = 0; j < EI_EXACT_NODES; j += AT_ONCE)
                ex_pairs(row, sine, cosine, j, AT_ONCE, even + j, odd + j);
            for (size_t j = 0; j < EI_EXACT_NODES; j++) {
                even[j] += cell.base;
                odd[j] = -odd[j];
            }
            ex_nodes(nodes, even, odd, distance, &cell, sub, &sums);
        }
        if (promising)
            done[c / EX_LANES] = (char)ex_nodes_hold(nodes, (double)row->n_bins, &sums, totals);
        left -= (size_t)done[c / EX_LANES];
    }
    return left;
}

EI_FN ei_exact_edge ex_series(const ei_exact_series *row, const double *rest, double width)
{
    ex_totals totals;
    memset(&totals, 0, sizeof totals);
    const size_t pairs = row->n_bins / 2, blocks = row->n_cells / EX_LANES;
    const double step = row->half_step * width / (double)row->n_bins;
    char done[1024 / EX_LANES + 2] = {0};
    size_t left = blocks;
    ei_exact_edge edge = {0};
    if (row->nodes != NULL) {
        edge = ex_first_panel(row, rest, 0.5 * step, 0);
        left = ex_series_nodes(row, width, &totals, done);
    }
    /* Bins are counted from the middle outwards: their centres lie at width / n_bins times
     * 1/2, 3/2, ... or, if there is a middle bin, at 0, 1, 2, ... */
    for (size_t i0 = 0; i0 < pairs && left > 0; i0 += EI_EXACT_PANEL) {
        const size_t n = pairs - i0 < EI_EXACT_PANEL ? pairs - i0 : EI_EXACT_PANEL;
        const double centre = row->n_bins % 2 ? (double)(i0 + 1) : (double)i0 + 0.5;
        if (i0 == 0)
            edge = ex_first_panel(row, rest, 0.5 * step, n);
        else
            ex_panel(row, centre * step, step, n);
        for (size_t c = 0; c < row->n_cells; c += EX_LANES) {
            for (int sub = 0; sub < EX_SUBS && !done[c / EX_LANES]; sub++) {
                const double *sine = row->sine + c * row->n_waves + sub * VD;
                const double *cosine = row->cosine + c * row->n_waves + sub * VD;
                const ex_cell cell = ex_cells_at(row->base, row->sign, &row->costs, c + (size_t)(sub * VD));
                vd sum = {0}, costs = {0};
                size_t i = 0;
                for (; i + 4 <= n; i += 4)
                    sum += ex_tile(row, sine, cosine, &cell, i, 4, &costs);
                for (; i < n; i++)
                    sum += ex_tile(row, sine, cosine, &cell, i, 1, &costs);
                totals.sum[sub] += sum * cell.sign;
                totals.costs[sub] += costs * cell.sign;
            }
        }
    }
    for (size_t c = 0; c < row->n_cells && row->n_bins % 2; c += EX_LANES) {
        for (int sub = 0; sub < EX_SUBS && !done[c / EX_LANES]; sub++) {
            const double *sine = row->sine + c * row->n_waves + sub * VD;
            const ex_cell cell = ex_cells_at(row->base, row->sign, &row->costs, c + (size_t)(sub * VD));
            vd even = {0}, costs = {0};
            for (size_t q = row->n_waves; q-- > 0;)
                even += *(const vd *)(sine + q * EX_LANES) * row->phi[q];
            totals.sum[sub] += ex_cell_log(&cell, even + cell.base, &costs) * cell.sign;
            totals.costs[sub] += costs * cell.sign;
        }
    }
    const ei_exact_edge sums = ex_edge(&totals);
    edge.sum = sums.sum;
    edge.costs = sums.costs;
    edge.missed = sums.missed;
    return edge;
}
