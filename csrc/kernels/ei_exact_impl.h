/* The exact engine's hot loops, written once; included by ei_kernels_impl.h, whose vector
 * types and macros it uses. */

enum { EX_LANES = EI_EXACT_LANES, EX_SUBS = EX_LANES / VD };

/* Eight lanes in one fixed order. */
EI_FORCE double ex_reduce(const vd lanes[EX_SUBS])
{
    double x[EX_LANES];
    memcpy(x, lanes, sizeof x);
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/* 1 / m for some m of each sixteenth of the mantissas from sqrt(1/2) to sqrt 2, exactly 1 where 1 lies, and
 * log2 m. */
static const double ex_log_scale[16] = {
    1.3836391674353192, 1.326291993987297,  1.2735093305685115, 1.2247670714057521,
    1.1796183913269438, 1.1376800081681882, 1.0986212750080355, 1.0621554447285235,
    1.0280326183855024, 1.0,                0.934174721261053,  0.8826409191001775,
    0.83649559173089,   0.7949355847108498, 0.7573098027807991, 0.7230848499609425,
};
static const double ex_log_part[16] = {
    -0.46846775856394496, -0.40739843148543176, -0.3488095297853368,  -0.2925074007538724,
    -0.23832022061955993, -0.18609483220834785, -0.1356941353009159,  -0.08699491767519009,
    -0.0398860404427268,  0.0,                  0.09823568850406905,  0.18010146289809043,
    0.2575701574985002,   0.3310901343436199,   0.4010444915020283,   0.4677631455873558,
};

/* Entries of a table of sixteen, chosen by the last four bits of each lane. */
EI_FORCE vd ex_choose(const double table[16], vu at)
{
#if EI_VBYTES == 64
    return (vd)_mm512_permutex2var_pd(_mm512_loadu_pd(table), (__m512i)at, _mm512_loadu_pd(table + 8));
#else
    vd chosen = {0};
    for (int i = 0; i < VD; i++)
        V_LANE(chosen, i) = table[V_LANE(at, i) & 15];
    return chosen;
#endif
}

/* log2 |x|, below 2e-15 off and finite for 0. Rounding may leave a probability a little below
 * zero; its absolute value then costs no more than its distance from zero does. log2(1) is 0. */
EI_FORCE vd ex_log2(vd x)
{
    vu bits = V_BITS(x) & 0x7fffffffffffffffull;
    vu shifted = bits + (0x3ff0000000000000ull - 0x3fe6a09e667f3bcdull);
    vd e = V_REAL((shifted >> 52) | 0x4330000000000000ull) - (4503599627370496.0 + 1023.0);
    vd m = V_REAL((shifted & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull);
    vd t = m * ex_choose(ex_log_scale, shifted >> 48) - 1.0;
    /* log2(1 + t) / t, interpolated at the Chebyshev nodes of |t| < 0.03925. */
    vd t2 = t * t, t4 = t2 * t2;
    vd a0 = 1.4426950408889563 + t * -0.7213475204444754;
    vd a1 = 0.4808983471099389 + t * -0.3606737603545029;
    vd a2 = 0.28853853140706104 + t * -0.24044874436979252;
    vd a3 = 0.20659412162207033 + t * -0.1807822414794245;
    return (e + ex_choose(ex_log_part, shifted >> 48)) + t * ((a0 + t2 * a1) + t4 * (a2 + t2 * a3));
}

EI_FORCE vd ex_xlog2(vd x) { return x * ex_log2(x); }

/* x log2 |x| of a cell, whose costs are added up. */
EI_FORCE vd ex_costly(vd x, vd log_mean, vd price, vd least, vd *costs)
{
    const vd log = ex_log2(x), away = V_REAL(V_BITS(log - log_mean) & 0x7fffffffffffffffull);
    *costs += v_select(V_MASK(x >= least), away, price);
    return x * log;
}

/* Sine and cosine, |x| below 2^20: errors below 2e-16 beside x's own. */
EI_FORCE void ex_sincos(vd x, vd *sine, vd *cosine)
{
    vd k = x * 0.6366197723675814 + 6755399441055744.0; /* rounds to an integer */
    vu n = V_BITS(k);
    k -= 6755399441055744.0;
    /* pi / 2 in three parts of 33 bits: the first two products are exact. */
    vd r = ((x - k * 1.5707963267341256) - k * 6.077100506303966e-11) - k * 2.0222662487959506e-21;
    vd z = r * r, z2 = z * z, z4 = z2 * z2;
    vd s = (-0.16666666666666666 + z * 0.008333333333330946) +
           z2 * (-0.0001984126983675497 + z * 2.755731610068303e-06) +
           z4 * (-2.5051131455427946e-08 + z * 1.591810123027412e-10);
    vd c = (0.041666666666666664 + z * -0.0013888888888887395) +
           z2 * (2.4801587298763433e-05 + z * -2.7557317270560326e-07) +
           z4 * (2.0876146024689747e-09 + z * -1.1382614868556325e-11);
    s = r + r * z * s;
    c = (1.0 - 0.5 * z) + z2 * c;
    vu odd = (vu){0} - (n & 1);
    *sine = V_REAL(V_BITS(v_select(odd, c, s)) ^ ((n & 2) << 62));
    *cosine = V_REAL(V_BITS(v_select(odd, s, c)) ^ (((n + 1) & 2) << 62));
}

/* 2 q + 1 for the lanes of a vector that starts at q. */
EI_FORCE vd ex_odds(size_t q)
{
    vd x = {0};
    for (int i = 0; i < VD; i++)
        V_LANE(x, i) = (double)(2 * (q + (size_t)i) + 1);
    return x;
}

EI_FN void ex_sinc(double angle, size_t n_waves, double *out)
{
    for (size_t q = 0; q < n_waves; q += VD) {
        vd x = ex_odds(q) * angle, s, c;
        ex_sincos(x, &s, &c);
        *(vd *)(out + q) = s / x;
    }
}

EI_FN void ex_sinc_product(const double *width, size_t n, double scale, size_t n_waves, double *out)
{
    for (size_t q = 0; q < n_waves; q += VD) {
        const vd odds = ex_odds(q) * scale;
        vd product = (vd){0} + 1.0;
        for (size_t k = 0; k < n; k++) {
            vd x = odds * width[k], s, c;
            ex_sincos(x, &s, &c);
            product *= s / x;
        }
        *(vd *)(out + q) = product;
    }
}

/* `count` numbers, at most a vector's, and zeros behind them. */
EI_FORCE vd ex_some(const double *w, size_t count)
{
    vd x = {0};
    memcpy(&x, w, count * sizeof(double));
    return x;
}

EI_FN double ex_greatest(const double *w, size_t n)
{
    enum { CHAINS = 4 }; /* so that one comparison need not wait for the other */
    vd most[CHAINS];
    memset(most, 0, sizeof most);
    size_t i = 0;
    for (; i + CHAINS * VD <= n; i += CHAINS * VD) {
        for (size_t c = 0; c < CHAINS; c++) {
            const vd x = V_REAL(V_BITS(*(const vd *)(w + i + c * VD)) & 0x7fffffffffffffffull);
            most[c] = v_select(V_MASK(x > most[c]), x, most[c]);
        }
    }
    for (; i < n; i += VD) {
        vd x = n - i < VD ? ex_some(w + i, n - i) : *(const vd *)(w + i);
        x = V_REAL(V_BITS(x) & 0x7fffffffffffffffull);
        most[0] = v_select(V_MASK(x > most[0]), x, most[0]);
    }
    double greatest = 0.0;
    for (size_t c = 0; c < CHAINS; c++)
        for (int l = 0; l < VD; l++)
            greatest = V_LANE(most[c], l) > greatest ? V_LANE(most[c], l) : greatest;
    return greatest;
}

/* *sum + x, what is rounded off gathered in *rest. */
EI_FORCE void ex_two_add(vd *sum, vd *rest, vd x)
{
    const vd before = *sum, after = before + x, back = after - before; /* two_sum */
    *rest += (before - (after - back)) + (x - back);
    *sum = after;
}

EI_FN void ex_sum(const double *w, size_t n, double scale, double more, double hi[EX_LANES],
                  double lo[EX_LANES])
{
    vd sums[2][EX_SUBS], rests[2][EX_SUBS]; /* every other eight: neither waits for the other */
    memset(sums, 0, sizeof sums);
    memset(rests, 0, sizeof rests);
    size_t i = 0;
    for (; i + 2 * EX_LANES <= n; i += 2 * EX_LANES)
        for (size_t half = 0; half < 2; half++)
            for (size_t sub = 0; sub < EX_SUBS; sub++)
                ex_two_add(&sums[half][sub], &rests[half][sub],
                           *(const vd *)(w + i + half * EX_LANES + sub * VD) * scale * more);
    for (size_t half = 0; i < n; i += EX_LANES, half++)
        for (size_t sub = 0; sub < EX_SUBS && i + sub * VD < n; sub++) {
            const size_t at = i + sub * VD;
            ex_two_add(&sums[half][sub], &rests[half][sub],
                       (n - at < VD ? ex_some(w + at, n - at) : *(const vd *)(w + at)) * scale * more);
        }
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        ex_two_add(&sums[0][sub], &rests[0][sub], sums[1][sub]);
        rests[0][sub] += rests[1][sub];
    }
    memcpy(hi, sums[0], sizeof sums[0]);
    memcpy(lo, rests[0], sizeof rests[0]);
}

EI_FN void ex_tables(const double *points, size_t n, double half_step, size_t n_waves, size_t stride,
                     double *sine, double *cosine)
{
    enum { DIRECT = 8 }; /* every so many waves, sines are not turned out of those before */
    for (size_t i = 0; i < n; i += VD) {
        const vd angle = *(const vd *)(points + i) * half_step;
        vd s = {0}, c = {0}, ds, dc;
        ex_sincos(angle * 2.0, &ds, &dc);
        for (size_t q = 0; q < n_waves; q++) {
            const double odd = 2.0 * (double)q + 1.0, f = 1.0 / (1.5707963267948966 * odd);
            if (q % DIRECT == 0) {
                ex_sincos(angle * odd, &s, &c);
            } else {
                const vd next = c * dc - s * ds;
                s = s * dc + c * ds;
                c = next;
            }
            *(vd *)(sine + q * stride + i) = s * f;
            *(vd *)(cosine + q * stride + i) = c * f;
        }
    }
}

EI_FN void ex_between(const double *waves, size_t stride, size_t n_waves, size_t n_cells, double *out)
{
    for (size_t c = 0; c < n_cells; c += VD) {
        double *to = out + c / EX_LANES * EX_LANES * n_waves + c % EX_LANES;
        for (size_t q = 0; q < n_waves; q++) {
            const double *from = waves + q * stride + c;
            *(vd *)(to + q * EX_LANES) = *(const vd *)from - *(const vd *)(from - 1);
        }
    }
}

EI_FN void ex_waves(double angle, size_t n_waves, double *sine, double *cosine)
{
    for (size_t q = 0; q < n_waves; q += VD) {
        vd s, c;
        ex_sincos(ex_odds(q) * angle, &s, &c);
        *(vd *)(sine + q) = s;
        *(vd *)(cosine + q) = c;
    }
}

EI_FORCE int ex_any(vu mask)
{
    uint64_t any = 0;
    for (int i = 0; i < VD; i++)
        any |= V_LANE(mask, i);
    return any != 0;
}

/* The integrated series within reach[0]. */
EI_FN vd ex_leaf(const ei_exact_sum *sum, vd s)
{
    const vd angle = s * sum->half_step;
    vd total = {0}, sine = {0}, cosine = {0}, ds, dc;
    ex_sincos(angle * 2.0, &ds, &dc);
    for (size_t q = 0; q < sum->n_waves; q++) {
        if (q % 32 == 0) {
            ex_sincos(angle * (double)(2 * q + 1), &sine, &cosine);
        } else {
            vd next = cosine * dc - sine * ds;
            sine = sine * dc + cosine * ds;
            cosine = next;
        }
        total += (sum->dominant % 2 ? cosine : sine) * sum->coefficient[q];
    }
    vd value = (vd){0} + sum->base[sum->dominant];
    for (int k = sum->dominant; k-- > 0;)
        value = value * s + sum->base[k];
    return value + total;
}

/* G_d of order dominant - d. Lanes outside the support need no recursion. */
EI_FN vd ex_integral(const ei_exact_sum *sum, int d, vd s)
{
    const vd reach = (vd){0} + sum->reach[d];
    const vu right = V_MASK(s >= reach), inside = ~right & V_MASK(s > -reach);
    const int order = sum->dominant - d;
    vd value = {0};
    if (ex_any(right)) {
        const double *c = sum->right + d * (EI_EXACT_DOMINANT / 2 + 1);
        const vd square = s * s;
        vd v = (vd){0} + c[0];
        for (int l = 1; l <= order / 2; l++)
            v = v * square + c[l];
        if (order % 2)
            v *= s;
        value = V_REAL(V_BITS(v) & right);
    }
    if (ex_any(inside)) {
        vd v;
        if (d == 0) {
            v = ex_leaf(sum, s);
        } else {
            const double width = sum->width[d];
            v = (ex_integral(sum, d - 1, s + 0.5 * width) -
                 ex_integral(sum, d - 1, s - 0.5 * width)) / width;
        }
        value = v_select(inside, v, value);
    }
    return value;
}

EI_FN void ex_distribution(const ei_exact_sum *sum, const double *points, size_t n, double *out)
{
    const vd one = (vd){0} + 1.0;
    for (size_t i = 0; i < n; i += VD) {
        vd f = ex_integral(sum, sum->dominant, *(const vd *)(points + i));
        f = V_REAL(V_BITS(f) & V_MASK(f > (vd){0}));
        *(vd *)(out + i) = v_select(V_MASK(f < one), f, one);
    }
}

EI_FN double ex_entropy(const double *p, const double *sign, size_t n_cells)
{
    vd total[EX_SUBS];
    memset(total, 0, sizeof total);
    for (size_t c = 0; c < n_cells; c += EX_LANES)
        for (int sub = 0; sub < EX_SUBS; sub++) {
            const size_t at = c + (size_t)(sub * VD);
            total[sub] += ex_xlog2(*(const vd *)(p + at)) * *(const vd *)(sign + at);
        }
    return ex_reduce(total);
}

#include "kernels/ei_exact_row_impl.h"
#include "kernels/ei_exact_edge_impl.h"
#include "kernels/ei_steps_impl.h"
#include "kernels/ei_subsets_impl.h"

static const ei_exact_kernels EI_CAT(ei_exact_kernels, EI_NAME) = {
    .name = EI_STR(EI_NAME),
    .expansion = ex_expansion,
    .series = ex_series,
    .tables = ex_tables,
    .between = ex_between,
    .sinc = ex_sinc,
    .sinc_product = ex_sinc_product,
    .widths = ex_widths,
    .sizes = ex_sizes,
    .float_sums = ex_float_sums,
    .total = ex_total,
    .envelope = ex_envelope,
    .power_sums = ex_power_sums,
    .damp = ex_damp,
    .moments = ex_moments,
    .derivatives = ex_derivatives,
    .tilted = ex_tilted,
    .greatest = ex_greatest,
    .sum = ex_sum,
    .waves = ex_waves,
    .distribution = ex_distribution,
    .entropy = ex_entropy,
    .interpolant = ex_interpolant,
    .subsets = ex_subsets,
    .steps = ex_steps,
};
