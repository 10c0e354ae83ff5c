/* The wide engine's hot loops, written once; included by kernels_*.c after ei_kernels_impl.h, whose
 * vector types and macros it uses. */
#include "kernels/ei_wide_kernels.h"
#include "kernels/ei_wide_nodes.h"

enum { WL = EI_WIDE_LANES, WS = WL / VD };

EI_FORCE vd wd_max(vd a, vd b) { return v_select(V_MASK(a > b), a, b); }
EI_FORCE vd wd_min(vd a, vd b) { return v_select(V_MASK(a < b), a, b); }
EI_FORCE vd wd_abs(vd a) { return V_REAL(V_BITS(a) & 0x7fffffffffffffffull); }

EI_FORCE vd wd_sqrt(vd x)
{
    for (int i = 0; i < VD; i++)
        V_LANE(x, i) = sqrt(V_LANE(x, i));
    return x;
}

/* The integrand falls to exp(-24.5), seven deviations of a normal, at the ends of the interval that
 * the nodes span; it is smooth inside, so that 24 nodes give nine digits. Nothing cancels: an
 * interval much narrower than the deviation, or far out in a tail, needs no formula of its own. */
EI_FN void wd_tilt_lanes(const ei_wide_sites *sites, size_t at)
{
    const vd h = *(const vd *)(sites->h + at), l = *(const vd *)(sites->l + at);
    const vd a = *(const vd *)(sites->lo + at), b = *(const vd *)(sites->hi + at);
    const vd zero = {0}, tiny = zero + 1e-290;
    const vd free = h / wd_max(l, tiny);
    const vd mode = wd_min(wd_max(free, a), b);
    const vd slope = v_select(V_MASK(mode == free), zero, h - l * mode);
    const vd steep = wd_abs(slope);
    const vd reach = 49.0 / (steep + wd_sqrt(slope * slope + 49.0 * l) + tiny);
    const vd from = wd_max(a - mode, zero - reach), to = wd_min(b - mode, reach);
    const vd width = to - from;
    const vd half = 0.5 * l;
    vd e[EI_WIDE_NODES], mass = zero, first = zero;
    for (int i = 0; i < EI_WIDE_NODES; i++) {
        const vd d = from + width * ei_wide_node[i];
        const vd exponent = wd_min(wd_max(d * (slope - half * d), zero - 700.0), zero);
        e[i] = ei_wide_weight[i] * v_exp(exponent);
        mass += e[i];
        first += e[i] * ei_wide_node[i];
    }
    first /= mass;
    vd second = zero, third = zero, fourth = zero;
    for (int i = 0; i < EI_WIDE_NODES; i++) {
        const vd d = ei_wide_node[i] - first;
        const vd square = d * d;
        second += e[i] * square;
        third += e[i] * (square * d);
        fourth += e[i] * (square * square);
    }
    second /= mass;
    const vd w2 = width * width;
    *(vd *)(sites->mean + at) = mode + (from + width * first);
    *(vd *)(sites->variance + at) = w2 * second;
    vd log_mass = {0};
    for (int i = 0; i < VD; i++)
        V_LANE(log_mass, i) = ei_log(V_LANE(mass, i) * V_LANE(width, i));
    *(vd *)(sites->log_mass + at) = log_mass + mode * (h - half * mode);
    if (sites->third != NULL) {
        *(vd *)(sites->third + at) = w2 * width * (third / mass);
        *(vd *)(sites->fourth + at) = w2 * w2 * (fourth / mass - 3.0 * (second * second));
    }
}

EI_FN void wd_tilt(const ei_wide_sites *sites)
{
    for (size_t at = 0; at < sites->n; at += VD)
        wd_tilt_lanes(sites, at);
}

/* acc_(i, c) -= or += sum over from <= t < to of left_(t, i) right_(t, c); a block of eight by eight,
 * so many rows at a time that eight vectors hold them. */
EI_FORCE void wd_block(const double *left, const double *right, size_t from, size_t to, int add,
                       double *acc)
{
    for (int row = 0; row < WL; row += VD) {
        vd s[VD][WS];
        for (int i = 0; i < VD; i++)
            for (int c = 0; c < WS; c++)
                s[i][c] = *(const vd *)(acc + (row + i) * WL + c * VD);
        for (size_t t = from; t < to; t++) {
            const double *l = left + t * WL + row, *r = right + t * WL;
            for (int i = 0; i < VD; i++)
                for (int c = 0; c < WS; c++) {
                    const vd product = l[i] * *(const vd *)(r + c * VD);
                    s[i][c] = add ? s[i][c] + product : s[i][c] - product;
                }
        }
        for (int i = 0; i < VD; i++)
            for (int c = 0; c < WS; c++)
                *(vd *)(acc + (row + i) * WL + c * VD) = s[i][c];
    }
}

EI_FN void wd_gram(const double *left, const double *right, size_t terms, const double *diagonal,
                   size_t n_panels, double *out)
{
    const size_t rows = n_panels * WL;
    for (size_t p = 0; p < n_panels; p++)
        for (size_t b = 0; b <= p; b++) {
            double *acc = out + (p * rows + b * WL) * WL;
            memset(acc, 0, WL * WL * sizeof *acc);
            wd_block(left + b * terms * WL, right + p * terms * WL, 0, terms, 1, acc);
            if (b == p)
                for (size_t i = 0; i < WL; i++)
                    acc[i * WL + i] += diagonal[b * WL + i];
        }
}

/* x_b = U_bb^-T x_b, a block of eight rows. */
EI_FORCE void wd_forward(const double *diagonal, const double *inverse, double *x)
{
    for (int i = 0; i < WL; i++)
        for (int c = 0; c < WS; c++) {
            vd s = *(const vd *)(x + i * WL + c * VD);
            for (int t = 0; t < i; t++)
                s -= diagonal[t * WL + i] * *(const vd *)(x + t * WL + c * VD);
            *(vd *)(x + i * WL + c * VD) = s * inverse[i];
        }
}

/* x = U^-T x; panels of U are `rows` long. */
EI_FORCE void wd_substitute(const double *u, const double *inverse, size_t n_panels, size_t rows,
                            size_t from, double *x)
{
    for (size_t b = from / WL; b < n_panels; b++) {
        const double *panel = u + b * rows * WL;
        wd_block(panel, x, from, b * WL, 0, x + b * WL * WL);
        wd_forward(panel + b * WL * WL, inverse + b * WL, x + b * WL * WL);
    }
}

EI_FN void wd_solve(const double *u, const double *inverse, size_t n_panels, size_t from, double *x)
{
    wd_substitute(u, inverse, n_panels, n_panels * WL, from, x);
}

EI_FN int wd_factor(double *a, size_t n_panels, double *inverse)
{
    const size_t rows = n_panels * WL;
    for (size_t p = 0; p < n_panels; p++) {
        double *panel = a + p * rows * WL, *d = panel + p * WL * WL;
        wd_substitute(a, inverse, p, rows, 0, panel); /* the rows above the diagonal block */
        wd_block(panel, panel, 0, p * WL, 0, d);
        for (size_t i = 0; i < WL; i++) {
            if (!(d[i * WL + i] > 0.0))
                return -1;
            const double one = 1.0 / sqrt(d[i * WL + i]);
            inverse[p * WL + i] = one;
            for (size_t c = i; c < WL; c++)
                d[i * WL + c] *= one;
            for (size_t r = i + 1; r < WL; r++)
                for (size_t c = r; c < WL; c++)
                    d[r * WL + c] -= d[i * WL + r] * d[i * WL + c];
        }
    }
    return 0;
}

EI_FN void wd_project(const double *x, const double *y, size_t from, size_t terms, double *square,
                      double *along)
{
    for (int c = 0; c < WS; c++) {
        vd s = *(const vd *)(square + c * VD), m = *(const vd *)(along + c * VD);
        for (size_t t = from; t < terms; t++) {
            const vd v = *(const vd *)(x + t * WL + c * VD);
            s += v * v;
            m += v * y[t];
        }
        *(vd *)(square + c * VD) = s;
        *(vd *)(along + c * VD) = m;
    }
}

/* What the base adds to the block of panels p and r: rows i of p, columns of r. */
EI_FORCE void wd_base(const ei_wide_pairs *w, size_t p, size_t r, double *acc)
{
    const size_t split = w->split / WL, later = w->n_panels * WL - w->split;
    memset(acc, 0, WL * WL * sizeof *acc);
    if (w->prior == NULL || r < split)
        return;
    if (p >= split) {
        const double *gram = w->gram + ((r - split) * later + (p - split) * WL) * WL;
        memcpy(acc, gram, WL * WL * sizeof *acc);
        return;
    }
    const double *prior = w->prior + ((r - split) * w->split + p * WL) * WL;
    for (size_t i = 0; i < WL; i++)
        for (size_t c = 0; c < WL; c++)
            acc[i * WL + c] = prior[i * WL + c] * w->part[p * WL + i];
}

/* Correlations in place of covariances; 0 where a column meets itself or an earlier one. Returns the
 * greatest square. */
EI_FORCE double wd_correlate(const ei_wide_pairs *w, size_t p, size_t r, double *acc)
{
    double peak[WL] = {0};
    for (size_t i = 0; i < WL; i++) {
        const double scale = w->scale[p * WL + i];
        for (size_t c = 0; c < WL; c++) {
            double rho = acc[i * WL + c] * (scale * w->scale[r * WL + c]);
            rho = p == r && c <= i ? 0.0 : rho;
            acc[i * WL + c] = rho;
            peak[c] = rho * rho > peak[c] ? rho * rho : peak[c];
        }
    }
    double most = 0.0;
    for (size_t c = 0; c < WL; c++)
        most = peak[c] > most ? peak[c] : most;
    return most;
}

/* Take the strong ones out. */
EI_FN void wd_note(ei_wide_pairs *w, size_t p, size_t r, double *acc)
{
    for (size_t i = 0; i < WL; i++)
        for (size_t c = 0; c < WL; c++) {
            const double rho = acc[i * WL + c];
            if (rho * rho > w->limit * w->limit && w->n_strong < w->room) {
                w->strong[w->n_strong++] = (ei_wide_strong){p * WL + i, r * WL + c, rho};
                acc[i * WL + c] = 0.0;
            }
        }
}

EI_FN double wd_pairs(ei_wide_pairs *w)
{
    double total[WL] = {0};
    w->n_strong = 0;
    for (size_t r = 0; r < w->n_panels; r++)
        for (size_t p = 0; p <= r; p++) {
            double acc[WL * WL];
            wd_base(w, p, r, acc);
            wd_block(w->q + p * w->terms * WL, w->q + r * w->terms * WL, 0, w->terms,
                     w->prior == NULL, acc);
            if (wd_correlate(w, p, r, acc) > w->limit * w->limit)
                wd_note(w, p, r, acc);
            for (size_t i = 0; i < WL; i++) {
                const double third = w->third[p * WL + i] / 6.0;
                const double fourth = w->fourth[p * WL + i] / 24.0;
                for (size_t c = 0; c < WL; c++) {
                    const double rho = acc[i * WL + c], square = rho * rho;
                    total[c] += square * (third * w->third[r * WL + c] * rho +
                                          fourth * w->fourth[r * WL + c] * square);
                }
            }
        }
    return ((total[0] + total[4]) + (total[2] + total[6])) +
           ((total[1] + total[5]) + (total[3] + total[7]));
}

/* Rows i to i + n (a constant when inlined), from column k0 on. */
EI_FORCE void wd_adjust_rows(double *rows, size_t stride, size_t i, const int n, size_t k0,
                             const double *along, const double *by)
{
    double part[4][WL];
    for (int r = 0; r < n; r++)
        for (int t = 0; t < WL; t++)
            part[r][t] = along[(size_t)t * stride + i + (size_t)r] * by[t];
    for (size_t k = k0; k < stride; k += VD) {
        vd s[4];
        for (int r = 0; r < n; r++)
            s[r] = *(const vd *)(rows + (i + (size_t)r) * stride + k);
        for (int t = 0; t < WL; t++) {
            const vd a = *(const vd *)(along + (size_t)t * stride + k);
            for (int r = 0; r < n; r++)
                s[r] += part[r][t] * a;
        }
        for (int r = 0; r < n; r++)
            *(vd *)(rows + (i + (size_t)r) * stride + k) = s[r];
    }
}

EI_FN void wd_adjust(double *rows, size_t stride, size_t first, size_t last, const double *along,
                     const double *by)
{
    size_t i = first;
    for (; i + 4 <= last; i += 4)
        wd_adjust_rows(rows, stride, i, 4, i / WL * WL, along, by);
    for (; i < last; i++)
        wd_adjust_rows(rows, stride, i, 1, i / WL * WL, along, by);
}

EI_FN void wd_room(size_t n, const double *z, const double *lo, const double *hi,
                   const double *inverse, double *down, double *up)
{
    vd low[WS], high[WS];
    for (int c = 0; c < WS; c++) {
        low[c] = (vd){0} + *down;
        high[c] = (vd){0} + *up;
    }
    for (size_t at = 0; at < n; at += WL)
        for (int c = 0; c < WS; c++) {
            const size_t i = at + (size_t)c * VD;
            const vd here = *(const vd *)(z + i), by = *(const vd *)(inverse + i);
            const vd a = (*(const vd *)(lo + i) - here) * by, b = (*(const vd *)(hi + i) - here) * by;
            low[c] = wd_max(wd_min(a, b), low[c]);
            high[c] = wd_min(wd_max(a, b), high[c]);
        }
    for (int c = 0; c < WS; c++)
        for (int i = 0; i < VD; i++) {
            *down = V_LANE(low[c], i) > *down ? V_LANE(low[c], i) : *down;
            *up = V_LANE(high[c], i) < *up ? V_LANE(high[c], i) : *up;
        }
}

EI_FN void wd_move(size_t n, double step, const double *along, double *z)
{
    for (size_t at = 0; at < n; at += VD)
        *(vd *)(z + at) += step * *(const vd *)(along + at);
}

EI_FN double wd_square(double l, double lo, double hi)
{
    const double width = hi - lo;
    double mass = 0.0, second = 0.0;
    for (int at = 0; at < EI_WIDE_NODES; at += VD) {
        vd s;
        for (int i = 0; i < VD; i++)
            V_LANE(s, i) = lo + width * ei_wide_node[at + i];
        const vd square = s * s, e = v_exp((-0.5 * l) * square);
        for (int i = 0; i < VD; i++) {
            const double part = ei_wide_weight[at + i] * V_LANE(e, i);
            mass += part;
            second += part * V_LANE(square, i);
        }
    }
    return second / mass;
}

static const ei_wide_kernels EI_CAT(ei_wide_kernels, EI_NAME) = {
    .tilt = wd_tilt,
    .gram = wd_gram,
    .factor = wd_factor,
    .solve = wd_solve,
    .project = wd_project,
    .pairs = wd_pairs,
    .adjust = wd_adjust,
    .room = wd_room,
    .move = wd_move,
    .square = wd_square,
};
