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
 * 1. Series. With phi the characteristic function, phi(w) = prod sinc(w a_k / 2), and
 *    w_q = (q + 1/2) h,
 *        F(s) = 1/2 + sum_q phi(w_q) sin(w_q s) / (pi (q + 1/2)),                              (2)
 *    up to P(|S - s| > L), L = 2 pi / h half a period, where the square wave behind (2) turns over. We
 *    take L = max |s| + R with P(|S| > R) below the tolerance: uniforms are strictly
 *    sub-Gaussian, P(S > R) <= exp(-R^2 / (2 var S)), and |S| <= sum a_k / 2 (Hoeffding 1963;
 *    Arbel, Marchal, Nguyen 2020). Given a bin of x_A, probabilities are at most in_bins times as
 *    large. The rest after T terms: |sinc x| <= E(x) = exp(-x^2 / 6) for x^2 <= 3 (from the product
 *    of sinc over its zeros), and <= exp(-1/2) sqrt(3) / x beyond. -d log E / d log x is
 *    min(x^2 / 3, 1), which never falls; so if W = w_T, p = sum min(x_k^2 / 3, 1) there and
 *    B = prod E(x_k), then |phi(w)| <= B (W / w)^p beyond, and the rest is at most
 *        B / pi (1 / (T + 1/2) + 1 / p).                                                       (3)
 *    All edges of a row share the sines of the thresholds; an edge's own coefficients are products
 *    of all factors but one, by prefix and suffix products, or by division where a factor is
 *    certainly not small.
 * 2. Expansion. Averaging over v_A is what turns F_rest, with x_A held, into F_all. Its inverse on
 *    exp(i w s) is the generating function of the Bernoulli polynomials:
 *        F_rest(s - a v) = sum_k (-a)^k B_k(v + 1/2) / k! F_all^(k)(s),                        (4)
 *    exactly so for every wave of (2) with w a < 2 pi. Averaged over the bins, the polynomials are
 *    one table for the whole layer, the derivatives of F_all one for the row, and an edge costs a
 *    small matrix product. |B_k(v + 1/2)| / k! <= 3.3 / (2 pi)^k bounds the rest (Lehmer 1940).
 * 3. Closed form over the dominant few. If a few widths tower over the others, (2) converges
 *    slowly. Order widths upwards, let G_d^(k) be the k-fold integral of the distribution function of
 *    the smooth rest plus the d least of the dominant ones, G_d^(k)(s) = E (s - S_d)_+^k / k!. Then
 *        G_d^(k)(s) = (G_{d-1}^(k+1)(s + a_d / 2) - G_{d-1}^(k+1)(s - a_d / 2)) / a_d,          (5)
 *    which is a polynomial (moments of S_d) right of the support, 0 left of it, and at d = 0 the
 *    integrated series. Whoever stands outside the support stops the recursion, so well separated
 *    widths cost next to nothing, and as a_d is of the size of the support of S_{d-1} or greater,
 *    little cancels. With no smooth rest, (5) is inclusion and exclusion with the order of sums that
 *    loses least.
 * 4. Rarely kept. Where samples are dropped, errors count by the share that is kept. So, if a row's bound
 * is too great for that:
 *    - Inputs that must lie in a small part of their range for the sample to be kept, wherever the
 *      others are, are confined to it. That changes nothing given that the sample is kept, and makes
 *      the share greater. It leaves a row like any other, but for the bins of such inputs, which are
 *      cut.
 *    - Rows of few inputs are done again by (5) over all widths, in double-double (ei_few.c).
 * Each route carries a bound of its truncation and rounding (the latter to first order in the unit
 * roundoff); a row or edge takes the cheapest route whose bound is small enough, or else the best,
 * and reports it.
 *
 * From probabilities to bits. If every probability of a distribution over m cells is off by at most
 * e, its entropy is off by at most m eta(e), eta(e) = -e log2 e (eta's modulus of continuity for
 * e < 1/e), and if they are off by V in sum, by m eta(V / m) (eta is concave). A cell is the
 * difference of F at two thresholds. I = H(Y) - mean_i H(Y | i) adds two such errors; for H(Y), whose
 * cells are known, eta's slope is the better bound where a cell is not nearly empty. Given that a
 * sample is kept, which has probability kappa,
 *     I = (1/kappa) [mean_i sum_c s_c p_ic log2 p_ic - sum_c s_c p_c log2 p_c]                  (6)
 * where c runs over the kept cells (s = 1) and their union (s = -1); bounded alike.
 */
#include "exact/ei_exact.h"

#include "common/ei_dd.h"
#include "kernels/ei_exact_kernels.h"
#include "exact/ei_few.h"
#include "kernels/ei_kernels.h"
#include "common/ei_math.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846
#define EPS DBL_EPSILON /* twice the unit roundoff */

enum {
    DOMINANT = EI_EXACT_DOMINANT,
    BATCH = 512,             /* points evaluated at once */
    ORDERS = EI_EXACT_TERMS + DOMINANT + 2,
    MAX_WAVES = 1 << 17,     /* of a series evaluated point by point */
    MAX_TABLE = 1 << 20,     /* entries of a table of sines, and of prefix products */
    MAX_CUTS = 64            /* inputs of a row that are confined */
};

/* Bits that an edge may be off by before a row is done again. */
static const double TARGET = 5e-10;

/* An output that is kept more rarely than this counts as never kept: it tells nothing. */
static const double NEVER = 1e-12;

/* ---- the engine ----------------------------------------------------------------------------- */

/* How far a distribution function may be off: `point` anywhere (and independently so at any two
 * thresholds), plus a smooth error of total variation `variation`. */
typedef struct {
    double point, variation;
} row_error;

/* The distribution function of one set of widths, ready to be evaluated. */
typedef struct {
    int dominant;                    /* K */
    double width[DOMINANT + 1];      /* width[d], d = 1 .. K, upwards */
    double reach[DOMINANT + 1];      /* half the support of S_d, less its negligible tails */
    double moment[DOMINANT + 1][DOMINANT + 1]; /* E S_d^l / l! */
    size_t n_waves;                  /* 0: no smooth rest */
    double half_step, half_period;
    double *phi;                     /* n_waves, padded with zeros */
    double *coefficient;             /* of the K-fold integral */
    double *scratch;                 /* 2 n_waves */
    double side[DOMINANT + 2];       /* polynomial beside the series: see base_polynomial */
    double right[DOMINANT + 1][DOMINANT / 2 + 1], base[DOMINANT + 1]; /* as in ei_exact_sum */
    row_error error;                 /* of the distribution function */
} sum_plan;

typedef struct {
    size_t n_in;
    double lo, hi, baseline;
    uint32_t in_bins, out_bins;
    const ei_exact_kernels *k;

    /* Intervals of z, neighbours with one label merged, infinite thresholds gone. */
    size_t n_thresholds;
    double *thresholds;
    int32_t *labels; /* n_thresholds + 1 */
    int one_label;   /* all intervals have the same one: nothing to learn */
    int drops;

    double *beta; /* [half + middle][EI_EXACT_TERMS], (-1)^k B_k / k! (2 pi)^k averaged over a bin */
    size_t n_pairs;
    double tolerance;  /* of a probability: what is cut off */
    double allowed;    /* rounding that may come on top */
    double tail;       /* standard deviations beyond which probability is negligible */
    double negligible; /* so are widths below this, beside 1 */

    /* Sensitivity. */
    int simple; /* all labels differ and the kept ones are a run */
    size_t n_pieces;
    int32_t *from, *to;
    double *piece_sign;
    int32_t kept_from, kept_to;
    double *t_hi, *t_lo, *y;

    dd *distance;    /* thresholds less the mean, in full; see fine_view */
    struct cut *cut; /* inputs that are confined */

    /* Scratch of a row. */
    double *a;       /* widths, as the weights are ordered */
    double *sorted;  /* the positive ones downwards */
    uint32_t *order; /* their inputs */
    double *suffix;  /* suffix[i] = sum of squares of sorted[i ..] */
    double *list, *list_suffix; /* another set of widths */
    double *packed;             /* widths gathered for a kernel */
    double *s;                  /* thresholds inside the support, less the mean */
    int32_t *left, *right;      /* cell on either side of each; -1 none */
    uint8_t *left_kept, *right_kept;
    int32_t last; /* cell right of the last threshold inside */
    int32_t *cell_of, *label_of;
    double *base, *sign, *p, *mean;
    uint32_t *direct; /* positions of wide inputs */
    double *term;
    double *point, *value; /* of the distribution function */
    double *waves, *prefix;     /* growing buffers */
    size_t waves_size, prefix_size;
    double *phi_row, *phi_edge, *phi_plan, *coefficient; /* MAX_WAVES + 8 each */
    double *scratch;                                     /* twice that */
    sum_plan plan, row_plan;
} ei_exact;

/* An input that is confined to centre +- length / 2 of v, which is [low, high] - 1/2. */
struct cut {
    size_t input;
    double centre, length, low, high;
    int inside; /* what is kept lies within one of its bins */
};

static size_t padded(size_t n) { return (n + 7) & ~(size_t)7; }

static double eta(double x) { return x > 0.0 ? -x * ei_log2(x) : 0.0; }

/* Bits that such an error can cost; see the top. m cells of probabilities p; `turns` thresholds lie
 * between a kept and a dropped interval, and `kept` is kept. p may be NULL. */
static double bits_bound(const ei_exact *x, size_t m, const double *p, size_t turns, row_error e,
                         double kept)
{
    const double most = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
    const double two = 2.0 * e.point, share = e.variation / (double)m, all = two + share;
    if (!(all < 0.01) || !(kept > 0.0))
        return most;
    double bound = (double)m * (eta(all) + eta(share)); /* H(Y | i), and the smooth part of H(Y) */
    for (size_t c = 0; c < m; c++) {
        double cell = eta(two);
        if (p != NULL && p[c] > 2.0 * two) {
            /* eta is steepest at the lower end. */
            const double steep = two * (1.4426950408889634 - ei_log2(p[c] - two));
            cell = steep < cell ? steep : cell;
        }
        bound += cell;
    }
    if (turns > 0) {
        double edges = (double)turns * e.point + e.variation; /* error of kappa */
        if (!(edges < 0.1 * kept))
            return most;
        bound = (bound + 2.0 * eta(edges) + edges * (most + 1.0)) / (kept - edges);
    }
    bound += 64.0 * EPS;
    return bound < most ? bound : most;
}

/* 1 / n! */
static const double inverse_factorial[] = {
    1.0,
    1.0,
    0.5,
    0.16666666666666666,
    0.041666666666666664,
    0.008333333333333333,
    0.001388888888888889,
    0.0001984126984126984,
    2.48015873015873e-05,
    2.7557319223985893e-06,
    2.755731922398589e-07,
    2.505210838544172e-08,
    2.08767569878681e-09,
    1.6059043836821613e-10,
    1.1470745597729725e-11,
    7.647163731819816e-13,
    4.779477332387385e-14,
    2.8114572543455206e-15,
    1.5619206968586225e-16,
    8.22063524662433e-18,
    4.110317623312165e-19,
    1.9572941063391263e-20,
    8.896791392450574e-22,
    3.868170170630684e-23,
    1.6117375710961184e-24,
    6.446950284384474e-26,
};

/* beta(i, k) for i counted from the middle: (2 pi)^k (-1)^k times the mean of B_k(v + 1/2) / k! over
 * bin i. B_k(v + 1/2) = sum_l C(k, l) B_{k-l}(1/2) v^l. */
static void bernoulli_table(ei_exact *x)
{
    const int K = EI_EXACT_TERMS;
    /* half[n] = (2 pi)^n B_n(1/2) / n!, from z/2 / sinh(z/2) = sum B_n(1/2) z^n / n!. */
    double half[EI_EXACT_TERMS + 1], series[EI_EXACT_TERMS + 1];
    for (int n = 0; n <= K; n++)
        series[n] = n % 2 ? 0.0 : inverse_factorial[n + 1];
    for (int n = 0; n <= K; n++)
        for (int j = 0; j < n; j++)
            series[n] *= PI; /* (2 pi)^n / 2^n */
    for (int n = 0; n <= K; n++) {
        half[n] = n == 0 ? 1.0 : 0.0;
        for (int j = 1; j <= n; j++)
            half[n] -= series[j] * half[n - j];
    }
    const double D = 1.0 / x->in_bins;
    const int odd = x->in_bins % 2;
    for (size_t i = 0; i < x->n_pairs + (size_t)odd; i++) {
        double centre = odd ? (double)(i + 1) : (double)i + 0.5;
        if (i == x->n_pairs)
            centre = 0.0; /* the middle bin comes last */
        /* mean[l] = (2 pi)^l mean(v^l) / l!, by powers of centre and half a bin, all positive. */
        double mean[EI_EXACT_TERMS + 1], c[EI_EXACT_TERMS + 1], r[EI_EXACT_TERMS + 1];
        c[0] = r[0] = 1.0;
        for (int l = 1; l <= K; l++) {
            c[l] = c[l - 1] * (2.0 * PI * centre * D) / l;
            r[l] = r[l - 1] * (PI * D) / (l + 1);
        }
        for (int l = 0; l <= K; l++) {
            mean[l] = 0.0;
            for (int j = 0; j <= l; j += 2)
                mean[l] += c[l - j] * r[j];
        }
        for (int k = 1; k <= K; k++) {
            double b = 0.0;
            for (int l = k; l >= 0; l--)
                b += half[k - l] * mean[l];
            x->beta[i * EI_EXACT_TERMS + (size_t)(k - 1)] = k % 2 ? -b : b;
        }
    }
}

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

static void close_engine(ei_exact *x)
{
    if (x == NULL)
        return;
    void *all[] = {x->thresholds, x->labels, x->beta, x->from, x->to, x->piece_sign, x->t_hi, x->t_lo,
                   x->y, x->a, x->sorted, x->order, x->suffix, x->list, x->list_suffix, x->packed,
                   x->s, x->left, x->right, x->left_kept, x->right_kept, x->cell_of, x->label_of,
                   x->base, x->sign, x->p, x->mean, x->term, x->point, x->value, x->waves, x->phi_row,
                   x->phi_edge, x->phi_plan, x->coefficient, x->scratch, x->direct, x->prefix,
                   x->distance, x->cut};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ei_free(all[i]);
    ei_free(x);
}

/* Tolerance of a probability, and how far out probability matters beside it (1 at the top). */
static void set_tolerance(ei_exact *x, double tolerance)
{
    x->tolerance = tolerance;
    x->tail = sqrt(2.0 * ei_log(16.0 * x->in_bins / tolerance));
}

/* An engine for one way of cutting the outputs' line: m thresholds, labels of the m + 1 intervals. */
static ei_exact *open_engine(const ei_channel *c, size_t m, const double *thresholds,
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
    x->k = ei_active()->exact;
    x->n_pairs = c->in_bins / 2;
    const size_t n = c->n_in + 9, cells = padded((size_t)out_bins + 1);
    int fine = 1;
#define NEW(field, count) fine = (x->field = ei_zalloc((count), sizeof *x->field)) != NULL && fine
#define RAW(field, count) fine = (x->field = ei_alloc((count), sizeof *x->field)) != NULL && fine
    NEW(thresholds, m + 1);
    NEW(labels, m + 1);
    NEW(beta, (x->n_pairs + 1) * EI_EXACT_TERMS);
    NEW(from, m + 2);
    NEW(to, m + 2);
    NEW(piece_sign, m + 2);
    NEW(t_hi, m + 1);
    NEW(t_lo, m + 1);
    NEW(y, (m + 1) * EI_EXACT_LANES);
    NEW(a, n);
    NEW(sorted, n);
    NEW(order, n);
    NEW(suffix, n + 1);
    NEW(list, n);
    NEW(list_suffix, n + 1);
    NEW(packed, n + 8);
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
    NEW(direct, n);
    NEW(distance, m + 1);
    NEW(cut, MAX_CUTS);
    NEW(term, cells * EI_EXACT_TERMS);
    NEW(point, (m > BATCH ? m : BATCH) + 8);
    NEW(value, (m > BATCH ? m : BATCH) + 8);
    RAW(phi_row, MAX_WAVES + 8);
    RAW(phi_edge, MAX_WAVES + 8);
    RAW(phi_plan, MAX_WAVES + 8);
    RAW(coefficient, MAX_WAVES + 8);
    RAW(scratch, 2 * (MAX_WAVES + 8));
#undef NEW
#undef RAW
    if (!fine) {
        close_engine(x);
        return NULL;
    }
    prepare_intervals(x, m, thresholds, labels);
    bernoulli_table(x);
    for (uint32_t i = 0; i < out_bins; i++)
        x->cell_of[i] = -1;
    /* Such errors cost 2 m eta(2 e): about 8e-10 and 1.5e-10 bits, but where there are so many cells
     * that double precision is not up to it. */
    const double cells_most = (double)(out_bins < m + 1 ? out_bins : m + 1);
    x->allowed = 1.9e-10 / (cells_most * (43.0 + ei_log2(cells_most)));
    set_tolerance(x, fmax(0.2 * x->allowed, 1e-15));
    x->negligible = 1e-18 / ((double)c->in_bins * (double)c->n_in);
    return x;
}

static double *grow(ei_exact *x, size_t size)
{
    if (size > x->waves_size) {
        ei_free(x->waves);
        x->waves = ei_alloc(size, sizeof(double));
        x->waves_size = x->waves == NULL ? 0 : size;
    }
    return x->waves;
}

/* ---- bounds --------------------------------------------------------------------------------- */

/* Widths downwards with suffix sums of squares, some of them set aside. */
typedef struct {
    const double *width, *suffix;
    size_t n, first; /* those before `first` are dominant */
    size_t without;  /* index left out, or n */
    double extra;    /* one more width, or 0 */
} width_set;

/* log of B of (3) at frequency w, and the slope p. */
static double log_envelope(const width_set *set, double w, double *slope)
{
    const double turn = 2.0 * 1.7320508075688772 / w; /* x = sqrt 3 */
    double product = 1.0, log_b = 0.0, p = 0.0;
    size_t i = set->first;
    for (; i < set->n && set->width[i] > turn; i++) {
        if (i == set->without)
            continue;
        product *= 1.0505350 / (0.5 * w * set->width[i]); /* exp(-1/2) sqrt 3 = 1.05053... */
        p += 1.0;
        if (product < 1e-200) {
            log_b -= 200.0 * 2.302585092994046;
            product *= 1e200;
        }
    }
    double squares = set->suffix[i];
    if (set->without >= i && set->without < set->n)
        squares -= set->width[set->without] * set->width[set->without];
    if (squares < 0.0)
        squares = 0.0;
    if (set->extra > turn) {
        product *= 1.0505350 / (0.5 * w * set->extra);
        p += 1.0;
    } else {
        squares += set->extra * set->extra;
    }
    *slope = p + w * w * squares / 12.0;
    return log_b + ei_log(product) - w * w * squares / 24.0;
}

/* Bound of the terms of (2) from T on, each divided by w^order. */
static double series_rest(const width_set *set, double h, double T, int order, double gain)
{
    double p, w = (T + 0.5) * h;
    double b = log_envelope(set, w, &p) - order * ei_log(w) + gain;
    return ei_exp(b) / PI * (1.0 / (T + 0.5) + 1.0 / (p + order + 1e-300));
}

/* Fewest waves (a multiple of 8) with a rest below the tolerance; 0 if more than `most`. */
static size_t waves_needed(const width_set *set, double h, int order, double gain, double tolerance,
                           size_t most)
{
    size_t high = 8;
    while (series_rest(set, h, (double)high, order, gain) > tolerance) {
        high *= 2;
        if (high > most)
            return 0;
    }
    size_t low = high / 2;
    while (high - low > 8 && high - low > low / 16) {
        size_t middle = padded((low + high) / 2);
        if (middle >= high)
            break;
        if (series_rest(set, h, (double)middle, order, gain) > tolerance)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* phi(q) of the given widths. Those with arguments up to 1 by the series of log sinc,
 * log sinc x = -sum zeta(2 m) / (m pi^(2 m)) x^(2 m): the error is then that of a sum of small
 * numbers, whatever their count. `widths` is overwritten. Returns how many were multiplied. */
static size_t characteristic(ei_exact *x, double *widths, size_t n, double half_step, size_t n_waves,
                             double *phi)
{
    static const double zeta[EI_EXACT_POWERS] = {
        0.16666666666666666,    0.005555555555555556,   0.0003527336860670194,
        2.6455026455026456e-05, 2.1377799155576935e-06, 1.803670234005331e-07,
        1.5661391322766983e-08, 1.3884130493737299e-09, 1.2504359176004997e-10,
        1.1402575602296091e-11, 1.0502923908637557e-12, 9.754877841593701e-14,
        9.123468230859098e-15,  8.5837197618956095e-16};
    const double limit = 1.0 / ((2.0 * (double)n_waves - 1.0) * half_step);
    size_t large = 0;
    for (size_t i = 0; i < n; i++) {
        if (widths[i] > limit) {
            double t = widths[large];
            widths[large++] = widths[i];
            widths[i] = t;
        }
    }
    x->k->sinc_product(widths, large, half_step, n_waves, phi);
    size_t small = n - large;
    if (small == 0)
        return large;
    /* In units of the greatest argument, which is 1 at most. */
    double *scaled = widths + large;
    for (size_t i = 0; i < small; i++)
        scaled[i] /= limit;
    for (size_t i = small; i < padded(small); i++)
        scaled[i] = 0.0;
    double sums[EI_EXACT_POWERS];
    x->k->power_sums(scaled, padded(small), sums);
    for (size_t q = 0; q < n_waves; q++) {
        double u = (2.0 * (double)q + 1.0) / (2.0 * (double)n_waves - 1.0);
        double square = u * u, sum = 0.0;
        for (int m = EI_EXACT_POWERS; m-- > 0;)
            sum = sum * square + zeta[m] * sums[m];
        phi[q] *= ei_exp(-sum * square);
    }
    return large;
}

/* ---- route 3: recursion over the dominant widths ---------------------------------------------- */

static double power_polynomial(const double *moment, int k, double s)
{
    /* E (s - S)^k / k! = sum over even l of moment[l] s^(k - l) / (k - l)! */
    double square = s * s, sum = 0.0;
    for (int l = 0; l <= k; l += 2)
        sum = sum * square + moment[l] * inverse_factorial[k - l];
    return k % 2 ? sum * s : sum;
}

/* The k-fold integral of (2), |s| within the reach: half E (s - S)^k / k!, plus the mean of Q_k(s - S),
 * plus the waves, where Q_k is the polynomial by which the k-fold integral of the square wave with
 * mean zero differs from half sgn(x) x^k / k!. side[l], l odd: Q_k(x) = sum side[l] x^(k-l) / (k-l)!. */
static double base_polynomial(const sum_plan *plan, int k, double s)
{
    double value = 0.5 * power_polynomial(plan->moment[0], k, s);
    for (int l = 1; l <= k; l += 2)
        value += plan->side[l] * power_polynomial(plan->moment[0], k - l, s);
    return value;
}

static void prepare_side(sum_plan *plan, int most)
{
    /* Zero mean over half a period P: P^k / (2 (k + 1)!) = sum_l side[l] P^(k-l) / (k - l + 1)!. */
    const double P = plan->half_period;
    double power[DOMINANT + 2];
    power[0] = 1.0;
    for (int i = 1; i <= most; i++)
        power[i] = power[i - 1] * P;
    for (int k = 1; k <= most; k += 2) {
        double c = 0.5 * power[k] * inverse_factorial[k + 1];
        for (int l = 1; l < k; l += 2)
            c -= plan->side[l] * power[k - l] * inverse_factorial[k - l + 1];
        plan->side[k] = c;
    }
}

/* The polynomials in the form that the kernel takes. */
static void prepare_polynomials(sum_plan *plan)
{
    const int K = plan->dominant;
    for (int d = 0; d <= K; d++)
        for (int l = 0; l <= K - d; l += 2)
            plan->right[d][l / 2] = plan->moment[d][l] * inverse_factorial[K - d - l];
    for (int k = 0; k <= K; k++)
        plan->base[k] = 0.0;
    for (int l = 0; l <= K; l += 2)
        plan->base[K - l] += 0.5 * plan->moment[0][l] * inverse_factorial[K - l];
    for (int i = 1; i <= K && plan->n_waves > 0; i += 2)
        for (int l = 0; l <= K - i; l += 2)
            plan->base[K - i - l] += plan->side[i] * plan->moment[0][l] * inverse_factorial[K - i - l];
}

/* points is padded to a multiple of 8 here. */
static void distribution(const ei_exact *x, const sum_plan *plan, double *points, size_t n, double *out)
{
    const ei_exact_sum sum = {plan->dominant, plan->width, plan->reach, plan->right[0], plan->base,
                              plan->n_waves, plan->half_step, plan->coefficient};
    for (size_t i = n; i < padded(n); i++)
        points[i] = points[n - 1];
    x->k->distribution(&sum, points, padded(n), out);
}

/* Orders -most .. K - d (as in (5); negative ones are derivatives) of G_d at s, lengths measured in
 * `unit` to stay in range: out[most + k] = G_d^(k)(s) / unit^k. */
static void derivatives(const ei_exact *x, const sum_plan *plan, double unit, int d, int most,
                        double s, double *out)
{
    const int top = plan->dominant - d;
    double scale = 1.0;
    if (s >= plan->reach[d] || s <= -plan->reach[d]) {
        for (int k = -most; k < 0; k++)
            out[most + k] = 0.0;
        for (int k = 0; k <= top; k++, scale /= unit)
            out[most + k] = s < 0.0 ? 0.0 : power_polynomial(plan->moment[d], k, s) * scale;
    } else if (d == 0) {
        double *sine = plan->scratch, *cosine = plan->scratch + plan->n_waves;
        x->k->waves(plan->half_step * s, plan->n_waves, sine, cosine);
        for (int k = -most; k <= top; k++)
            out[most + k] = 0.0;
        for (size_t q = plan->n_waves; q-- > 0;) {
            const double odd = 2.0 * (double)q + 1.0, w = odd * plan->half_step * unit;
            const double c = plan->phi[q] / (0.5 * PI * odd);
            /* Derivative j of sin(w s): w^j times sin, cos, -sin, -cos. */
            const double wave[4] = {c * sine[q], c * cosine[q], -c * sine[q], -c * cosine[q]};
            double power = 1.0;
            for (int j = 0; j <= most; j++, power *= w)
                out[most - j] += power * wave[j & 3];
            power = 1.0 / w;
            for (int k = 1; k <= top; k++, power /= w)
                out[most + k] += power * wave[-k & 3];
        }
        for (int k = 0; k <= top; k++, scale /= unit)
            out[most + k] += base_polynomial(plan, k, s) * scale;
    } else {
        double above[ORDERS], below[ORDERS];
        const double half = 0.5 * plan->width[d];
        derivatives(x, plan, unit, d - 1, most, s + half, above);
        derivatives(x, plan, unit, d - 1, most, s - half, below);
        for (int k = -most; k <= top; k++)
            out[most + k] = (above[most + k + 1] - below[most + k + 1]) * (unit / plan->width[d]);
    }
}

/* Error of (5) with K dominant widths above a rest that is off by `base` in its K-fold integral; how
 * often that is evaluated, on average, and how many nodes the recursion has. */
static double recursion_error(const double *width, const double *reach, int K, double base,
                              double *leaves, double *nodes)
{
    double e = base;
    *leaves = *nodes = 1.0;
    for (int d = 1; d <= K; d++) {
        const int k = K - d + 1;
        const double far = reach[d] + 0.5 * width[d] + reach[d - 1];
        double beside = EPS * (k + 6);
        for (int i = 1; i <= k; i++)
            beside *= far / i;
        e = 2.0 * (e > beside ? e : beside) / width[d];
        double inner = EPS;
        for (int i = 1; i < k; i++)
            inner *= 2.0 * reach[d] / i;
        e += inner;
        /* Points go in groups of eight neighbours, so a few more than by chance. */
        double share = 2.0 * reach[d - 1] / reach[d] + 0.3;
        share = share < 2.0 ? share : 2.0;
        *nodes = 1.0 + *nodes * share;
        *leaves *= share;
    }
    return e;
}

typedef struct {
    double reach, half_period; /* of the smooth rest */
    double gain;               /* log of prod 2 / a_d */
    double error, leaves, nodes;
    size_t n_waves;
} split;

/* What K dominant widths cost and how exact they are. n_waves is 0 with error infinite if the series
 * would need too many. */
static split consider(const ei_exact *x, const width_set *all, int K, double reach0, double evaluated)
{
    width_set set = *all;
    set.first = (size_t)K;
    split r = {.reach = reach0};
    r.half_period = reach0 + (K || evaluated > reach0 ? reach0 : evaluated);
    double width[DOMINANT + 1] = {0}, reach[DOMINANT + 1];
    reach[0] = reach0;
    for (int d = 1; d <= K; d++) {
        width[d] = all->width[K - d];
        reach[d] = reach[d - 1] + 0.5 * width[d];
        r.gain += ei_log(2.0 / width[d]);
    }
    double base = 0.0;
    if (reach0 > 0.0) {
        const double h = 2.0 * PI / r.half_period;
        r.n_waves = waves_needed(&set, h, K, r.gain, 0.5 * x->tolerance, MAX_WAVES);
        if (r.n_waves == 0) {
            r.error = INFINITY;
            return r;
        }
        base = K == 0 ? 30.0 * EPS : 8.0 * EPS;
        double beside = 4.0 * EPS;
        for (int k = 1; k <= K; k++) {
            base *= 2.0 * r.half_period / PI;
            beside *= r.half_period / k;
        }
        base += beside;
    }
    r.error = recursion_error(width, reach, K, base, &r.leaves, &r.nodes);
    return r;
}

/* Rough time of the distribution function at one point, nanoseconds. */
static double point_cost(const split *r)
{
    return 2.0 * r->nodes + r->leaves * (0.5 * (double)r->n_waves + 1.0);
}

/* Half the support of the widths from `first` on, less tails that may be neglected. */
static double smooth_reach(const ei_exact *x, const width_set *set, size_t first)
{
    double half = 0.0;
    const double tail = x->tail * sqrt(set->suffix[first] / 12.0);
    for (size_t i = first; i < set->n && half < tail; i++)
        half += 0.5 * set->width[i];
    return half < tail ? half : tail;
}

/* Fill a plan for the widths, K of them dominant. phi and coefficient have room for n_waves. */
static void make_plan(ei_exact *x, sum_plan *plan, const width_set *set, int K, const split *r)
{
    const size_t n = set->n;
    plan->dominant = K;
    plan->n_waves = r->n_waves;
    plan->half_period = r->half_period;
    plan->half_step = r->n_waves ? PI / r->half_period : 0.0;
    plan->reach[0] = r->reach;
    /* Moments of the smooth rest, E S^l / l!, one width after the other. */
    double *moment = plan->moment[0];
    memset(moment, 0, sizeof plan->moment[0]);
    moment[0] = 1.0;
    for (size_t i = (size_t)K; i < n && K > 1; i++) {
        const double square = 0.25 * set->width[i] * set->width[i];
        for (int l = K - K % 2; l >= 2; l -= 2) {
            double term = 1.0;
            for (int j = 2; j <= l; j += 2) {
                term *= square / (j * (j + 1));
                moment[l] += moment[l - j] * term;
            }
        }
    }
    for (int d = 1; d <= K; d++) {
        const double width = set->width[K - d], square = 0.25 * width * width;
        plan->width[d] = width;
        plan->reach[d] = plan->reach[d - 1] + 0.5 * width;
        memcpy(plan->moment[d], plan->moment[d - 1], sizeof plan->moment[0]);
        for (int l = K - K % 2; l >= 2; l -= 2) {
            double term = 1.0;
            for (int j = 2; j <= l; j += 2) {
                term *= square / (j * (j + 1));
                plan->moment[d][l] += plan->moment[d][l - j] * term;
            }
        }
    }
    plan->error = (row_error){r->error + x->tolerance, 0.0};
    if (r->n_waves > 0)
        prepare_side(plan, K);
    prepare_polynomials(plan);
    if (r->n_waves == 0)
        return;
    memcpy(x->packed, set->width + K, (n - (size_t)K) * sizeof(double));
    size_t multiplied = characteristic(x, x->packed, n - (size_t)K, 0.5 * plan->half_step, r->n_waves,
                                       plan->phi);
    double rounding = 0.0, heights = 0.0;
    for (size_t q = 0; q < r->n_waves; q++) {
        const double odd = 2.0 * (double)q + 1.0, w = odd * plan->half_step;
        double c = plan->phi[q] / (0.5 * PI * odd);
        rounding += K ? 0.0 : fabs(c) * (10.0 + 2.0 * odd);
        heights += fabs(plan->phi[q]);
        for (int k = 0; k < K; k++)
            c /= w;
        /* sin, -cos, -sin, cos, ... */
        plan->coefficient[q] = (K & 3) == 1 || (K & 3) == 2 ? -c : c;
    }
    /* Waves of wrong heights are averaged by the dominant widths, never amplified. */
    plan->error.point += 0.5 * EPS * rounding;
    plan->error.variation = 0.5 * EPS * 3.0 * (double)(multiplied + 8) * 2.0 * heights;
}

/* The best plan for the distribution function of a set of widths (nothing left out, no extra). */
static void choose_plan(ei_exact *x, sum_plan *plan, const width_set *set, double evaluated,
                        double n_points)
{
    split best = {.error = INFINITY};
    int best_k = -1;
    double best_cost = INFINITY;
    for (int K = 0; K <= DOMINANT && (size_t)K <= set->n; K++) {
        split r = consider(x, set, K, smooth_reach(x, set, (size_t)K), evaluated);
        double cost = n_points * point_cost(&r) + 0.6 * (double)(r.n_waves * (set->n - (size_t)K));
        int good = r.error <= x->allowed, was_good = best.error <= x->allowed;
        if (best_k < 0 || (good && !was_good) || (good && cost < best_cost) ||
            (!good && !was_good && r.error < best.error)) {
            best = r;
            best_k = K;
            best_cost = cost;
        }
        if (good && r.n_waves <= 32)
            break;
    }
    if (best.error == INFINITY) { /* nothing at all converges: say so */
        best.n_waves = 8;
        best.half_period = best.reach = smooth_reach(x, set, 0);
        best.half_period += evaluated;
        best_k = 0;
    }
    make_plan(x, plan, set, best_k, &best);
}

/* ---- one row -------------------------------------------------------------------------------- */

/* What is inside the support of one row. */
typedef struct {
    size_t n_widths;    /* positive */
    double reach;       /* |S| beyond this is negligible */
    size_t n_s;         /* thresholds inside */
    size_t first;       /* index of the first of them */
    size_t n_labels;    /* kept labels that occur */
    size_t n_cells;     /* padded, with the union of the kept cells if some are dropped */
    int drops;
    size_t turns;       /* thresholds between a kept and a dropped interval */
    double evaluated;   /* greatest |s| */
} row_view;

/* Exponent of the greatest weight, so that scaling by its power of two loses nothing. */
static int row_exponent(const double *w, size_t n, double *greatest)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++) {
        double v = fabs(w[i]);
        most = v > most ? v : most;
    }
    *greatest = most;
    int e = 0;
    if (most > 0.0)
        frexp(most, &e);
    return e;
}

/* (threshold - bias - centre sum w) / scale, all scaled by 2^-e and as if exactly. */
static dd sum_weights(const double *w, size_t n, int e)
{
    dd lanes[4] = {{0.0, 0.0}};
    const double scale = ldexp(1.0, e < -1000 ? 1000 : -e), more = e < -1000 ? ldexp(1.0, -e - 1000) : 1.0;
    for (size_t i = 0; i < n; i++) {
        dd s = two_sum(lanes[i & 3].hi, w[i] * scale * more);
        lanes[i & 3] = (dd){s.hi, lanes[i & 3].lo + s.lo};
    }
    return dd_add(dd_add(lanes[0], lanes[1]), dd_add(lanes[2], lanes[3]));
}

/* One threshold less `offset`, both scaled. Overflow on the way means: far away. */
static dd threshold_distance(double t, double bias, dd offset, int e)
{
    const double ts = ldexp(t, -e), bs = ldexp(bias, -e);
    if (!(fabs(ts) < 1e290) || !(fabs(bs) < 1e290))
        return (dd){t > bias ? INFINITY : -INFINITY, 0.0};
    return dd_sub(dd_sub((dd){ts, 0.0}, (dd){bs, 0.0}), offset);
}

/* Threshold j at s: one inside the support is noted. Zero when there can be no more. */
static int view_threshold(ei_exact *x, row_view *v, size_t j, double s)
{
    if (s >= v->reach) {
        v->first = v->n_s ? v->first : j;
        return 0;
    }
    if (s > -v->reach) {
        if (v->n_s == 0)
            v->first = j;
        x->s[v->n_s++] = s;
        v->evaluated = fabs(s) > v->evaluated ? fabs(s) : v->evaluated;
    }
    return 1;
}

/* Cells: the kept labels on either side of the thresholds inside. */
static void view_cells(ei_exact *x, row_view *v)
{
    for (size_t b = 0; b <= v->n_s; b++) {
        const int32_t label = x->labels[v->first + b];
        int32_t cell = -1;
        if (label < 0) {
            v->drops = 1;
        } else {
            cell = x->cell_of[label];
            if (cell < 0) {
                cell = x->cell_of[label] = (int32_t)v->n_labels;
                x->label_of[v->n_labels++] = label;
            }
        }
        if (b > 0) {
            x->right[b - 1] = cell;
            v->turns += (cell < 0) != (x->left[b - 1] < 0);
        }
        if (b < v->n_s)
            x->left[b] = cell;
        x->last = cell;
    }
    for (size_t c = 0; c < v->n_labels; c++)
        x->cell_of[x->label_of[c]] = -1;
    v->n_cells = padded(v->n_labels + (size_t)v->drops);
    for (size_t c = 0; c < v->n_cells; c++)
        x->sign[c] = c < v->n_labels ? 1.0 : c == v->n_labels && v->drops ? -1.0 : 0.0;
}

static void view_row(ei_exact *x, const double *w, double bias, row_view *v)
{
    memset(v, 0, sizeof *v);
    const size_t n = x->n_in;
    double greatest;
    const int e = row_exponent(w, n, &greatest);
    const dd centre = two_sum(0.5 * x->lo, 0.5 * x->hi);
    const dd offset = dd_mul(centre, sum_weights(w, n, e));
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        double a = greatest > 0.0 ? fabs(w[i]) / greatest : 0.0;
        a = a < x->negligible ? 0.0 : a;
        x->a[i] = a;
        sum += a;
        squares += a * a;
        v->n_widths += a > 0.0;
    }
    const double tail = x->tail * sqrt(squares / 12.0);
    v->reach = 0.5 * sum < tail ? 0.5 * sum : tail;
    const double unit = ldexp(greatest, -e) * (x->hi - x->lo);
    v->first = x->n_thresholds;
    for (size_t j = 0; j < x->n_thresholds; j++) {
        dd d = threshold_distance(x->thresholds[j], bias, offset, e);
        /* Without any spread, z >= t decides. */
        double s = greatest > 0.0 ? d.hi / unit : d.hi > 0.0 ? INFINITY : -INFINITY;
        if (!view_threshold(x, v, j, s))
            break;
    }
    view_cells(x, v);
}

/* cells[c * stride] += sum over thresholds of value, right of one minus left of it; the union of the
 * kept cells too. */
static void to_cells(const ei_exact *x, const row_view *v, size_t b, double value, double *cells)
{
    const int32_t l = x->left[b], r = x->right[b];
    if (l >= 0)
        cells[l] += value;
    if (r >= 0)
        cells[r] -= value;
    if (v->drops && (l < 0) != (r < 0))
        cells[v->n_labels] += l >= 0 ? value : -value;
}

/* Probabilities of the cells from the distribution function at the thresholds. */
static void cells_of(const ei_exact *x, const row_view *v, const double *f, double *cells)
{
    memset(cells, 0, v->n_cells * sizeof(double));
    if (x->last >= 0) {
        cells[x->last] = 1.0;
        if (v->drops)
            cells[v->n_labels] = 1.0;
    }
    for (size_t b = 0; b < v->n_s; b++)
        to_cells(x, v, b, f[b], cells);
}

static double row_entropy(const ei_exact *x, const row_view *v, const double *p)
{
    return x->k->entropy(p, x->sign, v->n_cells);
}

typedef struct {
    double kept, entropy; /* of (6), given the cuts */
    double mass;          /* kept, however rarely */
    double share;         /* probability that the inputs are as the cuts have them */
    row_error error;      /* the greatest of any edge */
    ei_cancel cancel;
} row_state;

static double information_of(const ei_exact *x, const row_state *state, double sum)
{
    const double most = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
    double value = (sum / (double)x->in_bins - state->entropy) / state->kept;
    return !(value > 0.0) ? 0.0 : value > most ? most : value;
}

static void note_error(row_state *state, row_error e)
{
    if (e.point > state->error.point)
        state->error.point = e.point;
    if (e.variation > state->error.variation)
        state->error.variation = e.variation;
}

/* Rounding of a series with coefficients phi that are products of so many factors. `steps`: turns of
 * the recurrence for the sines of the input bins. A wave's height is off by a few units in the last
 * place a factor; its variation over the thresholds is at most twice its share of the density. */
static void note_rounding(const ei_exact *x, row_state *state, const double *phi, size_t n_waves,
                          size_t multiplied, double steps)
{
    double point = 0.0, heights = 0.0;
    for (size_t q = 0; q < n_waves; q++) {
        const double f = fabs(phi[q]), half = (double)q + 0.5;
        point += f * ((8.0 + 2.5 * steps) / (PI * half) + 1.5);
        heights += f;
    }
    note_error(state, (row_error){x->tolerance + 0.5 * EPS * point,
                                  0.5 * EPS * 3.0 * (double)(multiplied + 8) * 2.0 * heights});
}

/* Downwards; ties in the order of the inputs. */
static void sort_widths(double *key, uint32_t *order, size_t n)
{
    /* Heap sort: no worst case, no memory. */
    for (size_t start = n / 2, end = n; end > 1;) {
        if (start > 0) {
            start--;
        } else {
            end--;
            double t = key[0];
            key[0] = key[end];
            key[end] = t;
            uint32_t o = order[0];
            order[0] = order[end];
            order[end] = o;
        }
        size_t root = start;
        for (;;) {
            size_t child = 2 * root + 1;
            if (child >= end)
                break;
            if (child + 1 < end && (key[child + 1] < key[child] ||
                                    (key[child + 1] == key[child] && order[child + 1] > order[child])))
                child++;
            if (!(key[child] < key[root] || (key[child] == key[root] && order[child] > order[root])))
                break;
            double t = key[root];
            key[root] = key[child];
            key[child] = t;
            uint32_t o = order[root];
            order[root] = order[child];
            order[child] = o;
            root = child;
        }
    }
}

static void sort_row(ei_exact *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_in; i++) {
        if (x->a[i] > 0.0) {
            x->sorted[n] = x->a[i];
            x->order[n++] = (uint32_t)i;
        }
    }
    sort_widths(x->sorted, x->order, n);
    x->suffix[n] = 0.0;
    for (size_t i = n; i-- > 0;)
        x->suffix[i] = x->suffix[i + 1] + x->sorted[i] * x->sorted[i];
}

/* A run of equal bins of one input, of widths `width`, the first about `first`, in units of the row's
 * greatest width: F_A of (1) at every bin's centre and threshold. Adds up what the bins have. */
static int edge_bins(ei_exact *x, const row_view *v, size_t at, double width, double first, size_t bins,
                     row_state *state, double *sum)
{
    /* Widths without A, and A's bin put in its place. */
    size_t n = 0;
    int placed = 0;
    for (size_t i = 0; i < v->n_widths; i++) {
        if (!placed && x->sorted[i] <= width) {
            x->list[n++] = width;
            placed = 1;
        }
        if (i != at)
            x->list[n++] = x->sorted[i];
    }
    if (!placed)
        x->list[n++] = width;
    /* Leave out what moves F by less than 1e-17: F' <= 1 / widths[0]. */
    double dropped = 0.0;
    while (n > 1 && dropped + x->list[n - 1] < 1e-17 * x->list[0])
        dropped += x->list[--n];
    x->list_suffix[n] = 0.0;
    for (size_t i = n; i-- > 0;)
        x->list_suffix[i] = x->list_suffix[i + 1] + x->list[i] * x->list[i];
    const width_set set = {x->list, x->list_suffix, n, 0, n, 0.0};
    sum_plan *plan = &x->plan;
    plan->phi = x->phi_plan;
    plan->coefficient = x->coefficient;
    plan->scratch = x->scratch;
    choose_plan(x, plan, &set, v->evaluated + 0.5 * x->sorted[at], (double)bins * (double)v->n_s);
    note_error(state, plan->error);
    const size_t many = v->n_s < BATCH ? BATCH / v->n_s : 1; /* bins at once */
    for (size_t i = 0; i < bins; i += many) {
        const size_t count = bins - i < many ? bins - i : many;
        for (size_t l = 0; l < count; l++) {
            const double shift = first + width * (double)(i + l);
            for (size_t b = 0; b < v->n_s; b++)
                x->point[l * v->n_s + b] = x->s[b] - shift;
        }
        distribution(x, plan, x->point, count * v->n_s, x->value);
        for (size_t l = 0; l < count; l++) {
            cells_of(x, v, x->value + l * v->n_s, x->p);
            *sum += row_entropy(x, v, x->p);
        }
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
    }
    return EI_OK;
}

/* An edge on its own. */
static int single_edge(ei_exact *x, const row_view *v, size_t at, row_state *state, double *sum)
{
    const double a = x->sorted[at], bin = a / (double)x->in_bins;
    *sum = 0.0;
    return edge_bins(x, v, at, bin, 0.5 * (bin - a), x->in_bins, state, sum);
}

/* ---- the row's routes --------------------------------------------------------------------------- */

static const double BULK = 0.6;   /* greatest w a / (2 pi) for the expansion */
static const double SAFE = 1.9;   /* sinc is at least 0.49 up to here: dividing by it is harmless */

/* Widest input for every (even) number of terms, beside `reference`; see 2 at the top. moments[k]:
 * sum over q of |phi_q / (pi (q + 1/2))| (w_q reference / (2 pi))^k, or a bound of it. */
static void expansion_limits(const ei_exact *x, const double *moments, double highest,
                             double limits[EI_EXACT_TERMS / 2])
{
    const double cap = BULK / highest;
    double before = 0.0;
    for (int n = 2; n <= EI_EXACT_TERMS; n += 2) {
        /* 3.3 ratio^(n + 1) moments[n + 1] / (1 - BULK) <= tolerance / 4 */
        double most = cap, m = moments[n + 1];
        if (m > 0.0) {
            double e = ei_log(x->tolerance * 0.25 * (1.0 - BULK) / 3.3) - ei_log(m);
            e = e / (n + 1);
            most = e > 50.0 ? cap : ei_exp(e);
            most = most < cap ? most : cap;
        }
        before = limits[n / 2 - 1] = most > before ? most : before;
    }
}

/* Edges whose width is within the limits, by the row's derivatives. information[A] is set for those. */
static int expand_edges(ei_exact *x, const row_view *v, const double *limits, double reference,
                        const row_state *state, double *information)
{
    const ei_exact_expansion row = {v->n_cells, x->mean, x->sign, x->term, x->n_pairs,
                                    (int)(x->in_bins % 2), x->beta};
    const double widest = limits[EI_EXACT_TERMS / 2 - 1];
    const size_t often = 1 + 200000 / ((size_t)x->in_bins * v->n_cells);
    size_t since = 0;
    for (size_t i = 0; i < x->n_in; i++) {
        const double ratio = x->a[i] / reference;
        if (!(ratio > 0.0) || ratio > widest)
            continue;
        size_t terms = 2;
        while (ratio > limits[terms / 2 - 1])
            terms += 2;
        double powers[EI_EXACT_TERMS];
        powers[0] = ratio;
        for (size_t k = 1; k < terms; k++)
            powers[k] = powers[k - 1] * ratio;
        information[i] = information_of(x, state, x->k->expansion(&row, powers, terms));
        if (++since >= often) {
            since = 0;
            if (ei_cancelled(state->cancel))
                return EI_ECANCELLED;
        }
    }
    return EI_OK;
}

/* Put a value of term k (1-based) at cell c. */
static size_t term_at(size_t c, size_t k)
{
    return (c / 8 * EI_EXACT_TERMS + (k - 1)) * 8 + c % 8;
}

/* Terms needed for the widest edge that the expansion takes. */
static size_t terms_needed(const ei_exact *x, const double *limits, double reference)
{
    double widest = 0.0;
    for (size_t i = 0; i < x->n_in; i++)
        if (x->a[i] <= limits[EI_EXACT_TERMS / 2 - 1] * reference && x->a[i] > widest)
            widest = x->a[i];
    size_t terms = 2;
    while (terms < EI_EXACT_TERMS && widest > limits[terms / 2 - 1] * reference)
        terms += 2;
    return terms;
}

/* Greatest width not above `limit`. */
static double widest_below(const ei_exact *x, double limit)
{
    double widest = 0.0;
    for (size_t i = 0; i < x->n_in; i++)
        if (x->a[i] <= limit && x->a[i] > widest)
            widest = x->a[i];
    return widest;
}

/* Finish what every route needs: the row's entropy and kept mass from x->mean. */
static void settle(const ei_exact *x, const row_view *v, row_state *state, double *marginal)
{
    for (size_t c = 0; c < v->n_labels; c++) {
        double p = x->mean[c];
        p = p < 0.0 ? 0.0 : p > 1.0 ? 1.0 : p;
        if (marginal != NULL)
            marginal[x->label_of[c]] = p * state->share;
    }
    state->mass = v->drops ? x->mean[v->n_labels] : v->n_labels ? 1.0 : 0.0;
    state->kept = state->mass * state->share > NEVER ? state->mass : 0.0;
    state->entropy = row_entropy(x, v, x->mean);
}

/* Routes 1 and 2 without dominant widths. */
static int series_row(ei_exact *x, const row_view *v, size_t T, double half_period, row_state *state,
                      double *information, double *marginal)
{
    const size_t cells = v->n_cells;
    const double half_step = PI / half_period;
    const double top = (2.0 * (double)T - 1.0) * half_step; /* greatest frequency */
    double *tables = grow(x, 2 * cells * T + 2 * EI_EXACT_PANEL * T + 2 * T);
    if (tables == NULL)
        return EI_ENOMEM;
    double *sine = tables, *cosine = sine + cells * T, *u = cosine + cells * T,
           *w = u + EI_EXACT_PANEL * T, *s = w + EI_EXACT_PANEL * T, *c = s + T;
    memset(tables, 0, 2 * cells * T * sizeof(double));
    memset(x->base, 0, cells * sizeof(double));
    for (size_t b = 0; b < v->n_s; b++) {
        x->point[b] = 0.5;
        x->k->waves(half_step * x->s[b], T, s, c);
        /* The cells that the threshold touches: +1 left, -1 right. */
        int32_t touched[3] = {x->left[b], x->right[b], -1};
        double with[3] = {1.0, -1.0, 0.0};
        if (v->drops && (touched[0] < 0) != (touched[1] < 0)) {
            touched[2] = (int32_t)v->n_labels;
            with[2] = touched[0] >= 0 ? 1.0 : -1.0;
        }
        for (int i = 0; i < 3; i++) {
            if (touched[i] < 0)
                continue;
            const size_t at = (size_t)touched[i] / 8 * 8 * T + (size_t)touched[i] % 8;
            for (size_t q = 0; q < T; q++) {
                const double f = with[i] / (PI * ((double)q + 0.5));
                sine[at + q * 8] += f * s[q];
                cosine[at + q * 8] += f * c[q];
            }
        }
    }
    cells_of(x, v, x->point, x->base);

    /* All factors: narrow ones at once; `wide` ones, by which one cannot divide, apart. */
    size_t n_wide = 0, n = 0;
    for (size_t i = 0; i < x->n_in; i++) {
        if (x->a[i] * top * 0.5 > SAFE)
            x->direct[n_wide++] = (uint32_t)i;
        else if (x->a[i] > 0.0)
            x->packed[n++] = x->a[i];
    }
    double *phi = x->phi_row, *edge = x->phi_edge, *factor = x->phi_plan;
    size_t multiplied = characteristic(x, x->packed, n, 0.5 * half_step, T, phi) + n_wide;
    double *prefix = NULL;
    if (n_wide > 0) {
        /* prefix[k] = phi of the narrow ones times the factors before k; then backwards. */
        prefix = x->prefix;
        if (n_wide * T > x->prefix_size) {
            ei_free(x->prefix);
            prefix = x->prefix = ei_alloc(n_wide * T, sizeof(double));
            x->prefix_size = prefix == NULL ? 0 : n_wide * T;
            if (prefix == NULL)
                return EI_ENOMEM;
        }
        for (size_t k = 0; k < n_wide; k++) {
            memcpy(prefix + k * T, phi, T * sizeof(double));
            x->k->sinc(0.5 * half_step * x->a[x->direct[k]], T, factor);
            for (size_t q = 0; q < T; q++)
                phi[q] *= factor[q];
        }
    }

    /* The row itself: probabilities, and derivatives in units of reference / (2 pi). */
    memcpy(x->mean, x->base, cells * sizeof(double));
    for (size_t q = T; q-- > 0;)
        for (size_t k = 0; k < cells; k++)
            x->mean[k] += phi[q] * sine[k / 8 * 8 * T + q * 8 + k % 8];
    note_rounding(x, state, phi, T, multiplied, 0.0);
    settle(x, v, state, marginal);
    if (information == NULL || v->n_labels < 2 || !(state->kept > 0.0))
        return EI_OK;

    const double reference = widest_below(x, BULK * 2.0 * PI / top);
    double widest = 0.0;
    if (reference > 0.0) {
        double moments[EI_EXACT_TERMS + 2] = {0}, limits[EI_EXACT_TERMS / 2];
        const double unit = reference / (2.0 * PI);
        for (size_t q = 0; q < T; q++) {
            const double step = (2.0 * (double)q + 1.0) * half_step * unit;
            double term = fabs(phi[q]) / (PI * ((double)q + 0.5));
            for (int k = 0; k < EI_EXACT_TERMS + 2; k++, term *= step)
                moments[k] += term;
        }
        expansion_limits(x, moments, top * unit, limits);
        widest = limits[EI_EXACT_TERMS / 2 - 1] * reference;
        const size_t terms = terms_needed(x, limits, reference);
        for (size_t at = 0; at < cells; at += 8) {
            double *term = x->term + at * EI_EXACT_TERMS;
            memset(term, 0, terms * 8 * sizeof(double));
            for (size_t q = T; q-- > 0;) {
                const double step = (2.0 * (double)q + 1.0) * half_step * unit;
                const double *sq = sine + (at * T + q * 8), *cq = cosine + (at * T + q * 8);
                double f = phi[q];
                for (size_t k = 1; k <= terms; k++) {
                    f *= k % 2 ? step : -step; /* derivatives of sin: cos, -sin, -cos, sin */
                    const double *wave = k % 2 ? cq : sq;
                    for (int l = 0; l < 8; l++)
                        term[(k - 1) * 8 + (size_t)l] += f * wave[l];
                }
            }
        }
        int status = expand_edges(x, v, limits, reference, state, information);
        if (status != EI_OK)
            return status;
    }

    /* The wider ones, each with its own coefficients. */
    const ei_exact_series row = {cells, x->base, x->sign, T, sine, cosine, half_step, x->in_bins, u, w};
    const double per_bin = 0.5 * half_step / (double)x->in_bins;
    double *after = x->scratch; /* product of the wide factors behind */
    for (size_t q = 0; q < T; q++)
        after[q] = 1.0;
    for (size_t k = n_wide; k-- > 0;) {
        const double a = x->a[x->direct[k]];
        x->k->sinc(per_bin * a, T, edge);
        for (size_t q = 0; q < T; q++)
            edge[q] *= prefix[k * T + q] * after[q];
        note_rounding(x, state, edge, T, multiplied, EI_EXACT_PANEL);
        information[x->direct[k]] = information_of(x, state, x->k->series(&row, edge, a));
        x->k->sinc(0.5 * half_step * a, T, factor);
        for (size_t q = 0; q < T; q++)
            after[q] *= factor[q];
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
    }
    for (size_t i = 0; i < x->n_in; i++) {
        const double a = x->a[i];
        if (!(a > widest) || a * top * 0.5 > SAFE)
            continue;
        x->k->sinc(per_bin * a, T, edge);
        x->k->sinc(0.5 * half_step * a, T, factor);
        for (size_t q = 0; q < T; q++)
            edge[q] *= phi[q] / factor[q];
        note_rounding(x, state, edge, T, multiplied, EI_EXACT_PANEL);
        information[i] = information_of(x, state, x->k->series(&row, edge, a));
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
    }
    return EI_OK;
}

/* Route 3, with the expansion for the narrow inputs and single_edge for the others. */
static int dominated_row(ei_exact *x, const row_view *v, int K, const split *r, row_state *state,
                         double *information, double *marginal)
{
    const width_set set = {x->sorted, x->suffix, v->n_widths, 0, v->n_widths, 0.0};
    sum_plan *plan = &x->row_plan;
    plan->phi = x->phi_row;
    plan->coefficient = x->coefficient;
    plan->scratch = x->scratch;
    if (r != NULL)
        make_plan(x, plan, &set, K, r);
    else
        choose_plan(x, plan, &set, v->evaluated, (double)v->n_s);
    note_error(state, plan->error);
    memcpy(x->point, x->s, v->n_s * sizeof(double));
    distribution(x, plan, x->point, v->n_s, x->value);
    cells_of(x, v, x->value, x->mean);
    settle(x, v, state, marginal);
    if (information == NULL || v->n_labels < 2 || !(state->kept > 0.0))
        return EI_OK;

    double widest = 0.0;
    if (r != NULL && plan->n_waves > 0) {
        const double top = (2.0 * (double)plan->n_waves - 1.0) * plan->half_step;
        double below = BULK * 2.0 * PI / top;
        if ((size_t)K < v->n_widths && below > x->sorted[K])
            below = x->sorted[K];
        const double reference = widest_below(x, below);
        if (reference > 0.0) {
            const double unit = reference / (2.0 * PI);
            double moments[EI_EXACT_TERMS + 2] = {0}, limits[EI_EXACT_TERMS / 2];
            double gain = 1.0;
            for (int d = 1; d <= K; d++)
                gain *= 2.0 * unit / plan->width[d];
            for (size_t q = 0; q < plan->n_waves; q++) {
                const double step = (2.0 * (double)q + 1.0) * plan->half_step * unit;
                double term = fabs(plan->phi[q]) / (PI * ((double)q + 0.5)), integrated = term * gain;
                for (int k = 0; k < K; k++)
                    integrated /= step;
                for (int k = 0; k < EI_EXACT_TERMS + 2; k++, term *= step, integrated *= step)
                    moments[k] += k > K && integrated < term ? integrated : term;
            }
            expansion_limits(x, moments, top * unit, limits);
            widest = limits[EI_EXACT_TERMS / 2 - 1] * reference;
            widest = widest < x->sorted[K] || K == 0 ? widest : x->sorted[K];
            const size_t terms = terms_needed(x, limits, reference);
            memset(x->term, 0, v->n_cells * EI_EXACT_TERMS * sizeof(double));
            double *column = x->p;
            for (size_t b = 0; b < v->n_s; b++) {
                double out[ORDERS];
                derivatives(x, plan, unit, K, (int)terms, x->s[b], out);
                for (size_t k = 1; k <= terms; k++) {
                    memset(column, 0, v->n_cells * sizeof(double));
                    to_cells(x, v, b, out[terms - k], column);
                    for (size_t c = 0; c < v->n_cells; c++)
                        x->term[term_at(c, k)] += column[c];
                }
                if (ei_cancelled(state->cancel))
                    return EI_ECANCELLED;
            }
            int status = expand_edges(x, v, limits, reference, state, information);
            if (status != EI_OK)
                return status;
        }
    }
    for (size_t i = 0; i < v->n_widths; i++) {
        if (!(x->sorted[i] > widest))
            break;
        if (i > 0 && x->sorted[i] == x->sorted[i - 1]) {
            information[x->order[i]] = information[x->order[i - 1]];
            continue;
        }
        double sum;
        int status = single_edge(x, v, i, state, &sum);
        if (status != EI_OK)
            return status;
        information[x->order[i]] = information_of(x, state, sum);
    }
    return EI_OK;
}

/* Number of widths above a limit, of the sorted ones. */
static size_t count_above(const ei_exact *x, size_t n, double limit)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (x->sorted[middle] > limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Choose between the routes by their rough costs, in nanoseconds. */
static int route(ei_exact *x, const row_view *v, row_state *state, double *information, double *marginal)
{
    const size_t n = v->n_widths;
    const double half_period = v->reach + v->evaluated, h = 2.0 * PI / half_period;
    double squares = 0.0, most = 0.0;
    for (size_t i = 0; i < x->n_in; i++) {
        squares += x->a[i] * x->a[i];
        most = x->a[i] > most ? x->a[i] : most;
    }
    /* Many comparable inputs: all arguments below sqrt 3 at the frequency where the Gaussian envelope
     * has fallen low enough. No need to sort. */
    const double rest = squares - most * most;
    if (rest > 0.0) {
        const double w = sqrt(24.0 * ei_log(1.0 / x->tolerance) / rest);
        if (w * 0.5 * most < 1.7 && w / h < 60.0) {
            size_t T = 0;
            double left;
            do {
                T += 8;
                const double at = ((double)T + 0.5) * h, p = at * at * rest / 12.0;
                left = ei_exp(-0.5 * p) / PI * (1.0 / ((double)T + 0.5) + 1.0 / p);
            } while (left > 0.5 * x->tolerance && T < 64);
            if (left <= 0.5 * x->tolerance && 0.5 * ((double)T + 0.5) * h * most < 1.7320508)
                return series_row(x, v, T, half_period, state, information, marginal);
        }
    }
    sort_row(x);
    const width_set all = {x->sorted, x->suffix, n, 0, n, 0.0};
    width_set without = all;
    without.without = 0;
    without.extra = x->sorted[0] / (double)x->in_bins;
    const double pairs = 0.5 * (double)x->in_bins, cells = (double)v->n_cells;
    const double points = (double)x->in_bins * (double)v->n_s;
    double best = INFINITY;
    size_t T0 = waves_needed(&without, h, 0, 0.0, 0.5 * x->tolerance, MAX_WAVES / 8);
    if (T0 > 0 && T0 * v->n_cells <= MAX_TABLE) {
        const double top = (2.0 * (double)T0 - 1.0) * 0.5 * h;
        const double wide = (double)count_above(x, n, BULK * 2.0 * PI / top);
        if (wide * (double)T0 <= MAX_TABLE)
            best = 0.5 * (double)(n * T0) + wide * (pairs * cells * (double)T0 * 0.12 +
                                                    (double)T0 * (double)x->in_bins * 0.6);
        if (T0 <= 64 && best < INFINITY)
            return series_row(x, v, T0, half_period, state, information, marginal);
    }
    int best_k = -1; /* series_row */
    split best_split = {0};
    for (int K = 1; K <= 8 && (size_t)K < n; K++) {
        split r = consider(x, &all, K, smooth_reach(x, &all, (size_t)K), 0.0);
        if (r.error > x->allowed || r.n_waves > MAX_WAVES / 16)
            continue;
        const double T = (double)r.n_waves, top = (2.0 * T - 1.0) * PI / r.half_period;
        double limit = BULK * 2.0 * PI / top;
        limit = limit < x->sorted[K] ? limit : x->sorted[K];
        const double single = (double)count_above(x, n, limit);
        double cost = (double)n * T * 0.5 + (double)v->n_s * r.leaves * T * (12.0 + K) +
                      single * (points * point_cost(&r) + (double)n * T * 0.6 + 3000.0);
        if (cost < best) {
            best = cost;
            best_k = K;
            best_split = r;
        }
        if (r.n_waves <= 32)
            break;
    }
    if (n <= DOMINANT) {
        /* Every edge by itself: the closed form, if it holds. */
        split r = consider(x, &all, (int)n, 0.0, 0.0);
        const double cost = (double)n * (points * point_cost(&r) + 3000.0);
        if (best == INFINITY || (r.error <= x->allowed && cost < best))
            return dominated_row(x, v, 0, NULL, state, information, marginal);
    }
    if (best_k < 0 && best < INFINITY)
        return series_row(x, v, T0, half_period, state, information, marginal);
    return dominated_row(x, v, best_k < 0 ? 0 : best_k, best_k < 0 ? NULL : &best_split, state,
                         information, marginal);
}

/* ---- rarely kept rows ----------------------------------------------------------------------- */

/* A row in full: all lengths scaled by powers of two such that the greatest width is about 1, and
 * x->distance[j], threshold j less the row's mean, in double-double. */
typedef struct {
    int exponent;  /* weights are scaled by 2^-exponent */
    dd range;      /* of the inputs, scaled */
    dd half;       /* half the support */
    double widest; /* greatest width */
    double place;  /* greatest error of a distance, of those inside the support */
} full_row;

static dd full_width(const full_row *row, double weight)
{
    return dd_times(row->range, ldexp(fabs(weight), -row->exponent));
}

static full_row view_full(ei_exact *x, const double *w, double bias)
{
    full_row row = {0};
    double greatest;
    const int e = row.exponent = row_exponent(w, x->n_in, &greatest);
    const dd range = two_sum(x->hi, -x->lo);
    int f;
    frexp(range.hi, &f);
    row.range = (dd){ldexp(range.hi, -f), ldexp(range.lo, -f)};
    row.widest = full_width(&row, greatest).hi;
    for (size_t i = 0; i < x->n_in; i++)
        row.half = dd_add(row.half, dd_half(full_width(&row, w[i])));
    const dd offset = dd_mul(two_sum(0.5 * x->lo, 0.5 * x->hi), sum_weights(w, x->n_in, e));
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const dd d = threshold_distance(x->thresholds[j], bias, offset, e);
        const double hi = ldexp(d.hi, -f);
        x->distance[j] = (dd){hi, fabs(hi) < INFINITY ? ldexp(d.lo, -f) : 0.0};
    }
    const double terms = ldexp(fabs(ldexp(bias, -e)) + fabs(offset.hi), -f);
    row.place = 0x1p-96 * (terms + row.half.hi);
    return row;
}

/* What the cuts leave of a row: S = shift + the sum of the confined inputs. */
typedef struct {
    full_row full;
    size_t n; /* x->cut[0 .. n - 1] */
    double share;
    dd shift;
    double unit; /* greatest width left */
} cut_row;

/* The input's place among the cuts, behind the last of them if it is not cut yet; NULL: no room. */
static struct cut *cut_of(ei_exact *x, size_t n_cuts, size_t input)
{
    size_t c = 0;
    while (c < n_cuts && x->cut[c].input != input)
        c++;
    if (c == MAX_CUTS)
        return NULL;
    if (c == n_cuts)
        x->cut[c] = (struct cut){.input = input, .length = 1.0, .high = 1.0};
    return &x->cut[c];
}

/* What is kept lies between the first and the last threshold, if the outermost intervals are dropped.
 * So a_k v_k lies there too, but for what the others can make up. Widened to a grid on which centres
 * and lengths are exact; the kept samples stay within whatever the rounding. */
static void confine(ei_exact *x, const double *w, double bias, cut_row *row)
{
    const size_t m = x->n_thresholds;
    const full_row *full = &row->full;
    *row = (cut_row){.full = view_full(x, w, bias), .share = 1.0};
    dd half = full->half, low = {-half.hi, -half.lo}, high = half;
    if (x->labels[0] < 0 && dd_less(low, x->distance[0]))
        low = x->distance[0];
    if (x->labels[m] < 0 && dd_less(x->distance[m - 1], high))
        high = x->distance[m - 1];
    if (!dd_less(low, high))
        return;
    const dd middle = {0.5, 0.0};
    int changed = 1;
    for (int pass = 0; pass < 8 && changed; pass++) {
        changed = 0;
        for (size_t k = 0; k < x->n_in; k++) {
            if (!(ldexp(fabs(w[k]), -full->exponent) > 1e-12))
                continue;
            struct cut *cut = cut_of(x, row->n, k);
            if (cut == NULL)
                continue;
            const dd a = full_width(full, w[k]);
            const dd others = dd_sub(half, dd_times(a, 0.5 * cut->length));
            const dd shift = dd_sub(row->shift, dd_times(a, cut->centre));
            double from = dd_add(dd_div(dd_sub(dd_sub(low, shift), others), a), middle).hi - 1e-15;
            double to = dd_add(dd_div(dd_add(dd_sub(high, shift), others), a), middle).hi + 1e-15;
            from = from > cut->low ? from : cut->low;
            to = to < cut->high ? to : cut->high;
            if (!(to - from <= 0.5 * cut->length) || !(to - from > NEVER))
                continue;
            int exponent;
            frexp(to - from, &exponent);
            const double grid = ldexp(1.0, exponent - 5), before = cut->length, bins = x->in_bins;
            const dd old = dd_times(a, cut->centre);
            cut->inside = cut->inside || floor(from * bins) + 1.0 >= ceil(to * bins);
            from = floor(from / grid) * grid;
            to = ceil(to / grid) * grid;
            cut->low = from > cut->low ? from : cut->low;
            cut->high = to < cut->high ? to : cut->high;
            cut->length = cut->high - cut->low;
            cut->centre = 0.5 * (cut->low + cut->high) - 0.5;
            row->shift = dd_add(row->shift, dd_sub(dd_times(a, cut->centre), old));
            half = dd_sub(half, dd_times(a, 0.5 * (before - cut->length)));
            row->share *= cut->length / before;
            row->n += cut == &x->cut[row->n];
            changed = 1;
        }
    }
}

/* As view_row, with the cuts. */
static void view_cut(ei_exact *x, const double *w, cut_row *row, row_view *v)
{
    memset(v, 0, sizeof *v);
    row->unit = 0.0;
    for (size_t i = 0; i < x->n_in; i++)
        x->a[i] = full_width(&row->full, w[i]).hi;
    for (size_t c = 0; c < row->n; c++)
        x->a[x->cut[c].input] *= x->cut[c].length;
    for (size_t i = 0; i < x->n_in; i++)
        row->unit = x->a[i] > row->unit ? x->a[i] : row->unit;
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < x->n_in; i++) {
        double a = x->a[i] / row->unit;
        a = a < x->negligible ? 0.0 : a;
        x->a[i] = a;
        sum += a;
        squares += a * a;
        v->n_widths += a > 0.0;
    }
    const double tail = x->tail * sqrt(squares / 12.0);
    v->reach = 0.5 * sum < tail ? 0.5 * sum : tail;
    v->first = x->n_thresholds;
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const dd d = x->distance[j];
        const double s = fabs(d.hi) < INFINITY ? dd_sub(d, row->shift).hi / row->unit : d.hi;
        if (!view_threshold(x, v, j, s))
            break;
    }
    view_cells(x, v);
}

/* The edge of a confined input: its bins are whole ones between two parts. */
static int cut_edge(ei_exact *x, const row_view *v, const cut_row *row, const struct cut *cut,
                    double weight, row_state *state, double *information)
{
    const dd a = dd_times(full_width(&row->full, weight), 1.0 / row->unit);
    const double bins = x->in_bins, start = floor(cut->low * bins), stop = ceil(cut->high * bins);
    *information = 0.0;
    if (cut->inside || stop - start < 2.0)
        return EI_OK;
    size_t at = 0;
    while (at < v->n_widths && x->order[at] != cut->input)
        at++;
    if (at == v->n_widths)
        return EI_OK; /* negligible */
    const dd origin = {cut->centre + 0.5, 0.0};
    const dd place[4] = {{cut->low, 0.0},
                         dd_div((dd){start + 1.0, 0.0}, (dd){bins, 0.0}),
                         dd_div((dd){stop - 1.0, 0.0}, (dd){bins, 0.0}),
                         {cut->high, 0.0}};
    double total = 0.0;
    for (int part = 0; part < 3; part++) {
        const size_t count = part == 1 ? (size_t)(stop - start) - 2 : 1;
        const dd length = dd_sub(place[part + 1], place[part]);
        if (count == 0 || !(length.hi > 0.0))
            continue;
        const dd width = dd_times(length, 1.0 / (double)count);
        const double first = dd_mul(a, dd_add(dd_sub(place[part], origin), dd_half(width))).hi;
        double sum = 0.0;
        int status = edge_bins(x, v, at, dd_mul(a, width).hi, first, count, state, &sum);
        if (status != EI_OK)
            return status;
        total += sum * (width.hi / cut->length);
    }
    *information = information_of(x, state, total * bins);
    return EI_OK;
}

static double row_bound(const ei_exact *x, const row_view *v, const row_state *state)
{
    if (v->drops && state->kept == 0.0)
        return 0.0;
    return bits_bound(x, v->n_labels, x->mean, v->turns, state->error, v->drops ? state->kept : 1.0);
}

/* A row by the usual routes; `row` is NULL without cuts. */
static int attempt(ei_exact *x, const double *weight, double bias, cut_row *row, row_view *v,
                   row_state *state, double *information, double *marginal, double *bound)
{
    *state = (row_state){.cancel = state->cancel, .share = row == NULL ? 1.0 : row->share};
    if (information != NULL)
        memset(information, 0, x->n_in * sizeof(double));
    if (marginal != NULL)
        memset(marginal, 0, x->out_bins * sizeof(double));
    *bound = 0.0;
    if (row == NULL)
        view_row(x, weight, bias, v);
    else
        view_cut(x, weight, row, v);
    if (v->n_s == 0) {
        /* One interval holds everything. */
        if (marginal != NULL && v->n_labels > 0)
            marginal[x->label_of[0]] = state->share;
        *bound = v->n_widths ? bits_bound(x, 2, NULL, 0, (row_error){x->tolerance, 0.0}, 1.0) : 0.0;
        return EI_OK;
    }
    int status = route(x, v, state, information, marginal);
    if (row != NULL && information != NULL && v->n_labels > 1 && state->kept > 0.0) {
        sort_row(x);
        for (size_t c = 0; c < row->n && status == EI_OK; c++) {
            const struct cut *cut = &x->cut[c];
            status = cut_edge(x, v, row, cut, weight[cut->input], state, &information[cut->input]);
        }
    }
    *bound = row_bound(x, v, state);
    return status;
}

/* The few positive widths of a row, upwards, and their inputs. */
typedef struct {
    int n;
    size_t input[EI_FEW];
    dd width[EI_FEW];
    double rest; /* sum of the widths left out */
} few_widths;

/* Zero if there are more. */
static int find_few(const ei_exact *x, const double *weight, const full_row *row, few_widths *few)
{
    *few = (few_widths){0};
    for (size_t i = 0; i < x->n_in; i++) {
        const dd a = full_width(row, weight[i]);
        if (!(a.hi > 1e-26)) { /* moves a distribution function by as much, and no more */
            few->rest += a.hi;
            continue;
        }
        if (few->n == EI_FEW)
            return 0;
        int k = few->n++;
        for (; k > 0 && dd_less(a, few->width[k - 1]); k--) {
            few->width[k] = few->width[k - 1];
            few->input[k] = few->input[k - 1];
        }
        few->width[k] = a;
        few->input[k] = i;
    }
    return few->n > 0;
}

/* Width `at` made that of a bin. */
static void prepare_edge(const ei_exact *x, const few_widths *few, int at, double place, ei_few_sum *sum)
{
    const dd bin = dd_div(few->width[at], (dd){x->in_bins, 0.0});
    dd list[EI_FEW];
    memcpy(list, few->width, sizeof list);
    int k = at;
    for (; k > 0 && dd_less(bin, list[k - 1]); k--)
        list[k] = list[k - 1];
    list[k] = bin;
    ei_few_prepare(sum, list, few->n, place);
}

/* As cells_of, of the points moved by `shift`; cells in `cells`, those kept in sum. */
static int few_cells(const ei_exact *x, const row_view *v, const ei_few_sum *sum, dd shift, dd *scratch,
                     ei_cancel cancel, double *cells)
{
    memset(scratch, 0, v->n_cells * sizeof *scratch);
    if (x->last >= 0)
        scratch[x->last].hi = 1.0;
    for (size_t b = 0; b < v->n_s; b++) {
        const dd f = ei_few_distribution(sum, dd_sub(x->distance[v->first + b], shift));
        const int32_t l = x->left[b], r = x->right[b];
        if (l >= 0)
            scratch[l] = dd_add(scratch[l], f);
        if (r >= 0)
            scratch[r] = dd_sub(scratch[r], f);
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
    }
    double kept = 0.0;
    for (size_t c = 0; c < v->n_cells; c++) {
        cells[c] = c < v->n_labels && scratch[c].hi > 0.0 ? scratch[c].hi : 0.0;
        kept += cells[c];
    }
    cells[v->n_labels] = kept;
    return EI_OK;
}

/* A row of few inputs in double-double, if that is better than *bound and not too much work. Everything
 * is divided by what is kept, as (6) allows, so that only the probabilities' relative errors count. */
static int few_row(ei_exact *x, const double *weight, double bias, ei_cancel cancel,
                   double *information, double *marginal, double *bound)
{
    static const double WORK = 1e9; /* nodes of the recursion */
    const full_row row = view_full(x, weight, bias);
    few_widths few;
    if (!find_few(x, weight, &row, &few))
        return EI_OK;
    row_view view = {.reach = INFINITY, .first = x->n_thresholds}, *v = &view;
    dd reach = {0.0, 0.0};
    for (int k = 0; k < few.n; k++)
        reach = dd_add(reach, dd_half(few.width[k]));
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const dd s = x->distance[j];
        const int left = !dd_less((dd){-reach.hi, -reach.lo}, s), right = !dd_less(s, reach);
        if (!view_threshold(x, v, j, left ? -INFINITY : right ? INFINITY : s.hi))
            break;
    }
    view_cells(x, v);
    if (v->turns == 0)
        return EI_OK;
    const double place = row.place + few.rest;
    ei_few_sum sum;
    ei_few_prepare(&sum, few.width, few.n, place);
    double error = sum.error, work = 0.0;
    for (int k = 0; k < few.n; k++) {
        prepare_edge(x, &few, k, place, &sum);
        error = sum.error > error ? sum.error : error;
        work += sum.nodes * (double)v->n_s * (double)x->in_bins;
    }
    if (information != NULL && work > WORK)
        return EI_OK;
    dd *scratch = ei_alloc(v->n_cells, sizeof *scratch);
    if (scratch == NULL)
        return EI_ENOMEM;
    ei_few_prepare(&sum, few.width, few.n, place);
    int status = few_cells(x, v, &sum, (dd){0.0, 0.0}, scratch, cancel, x->mean);
    const double kept = x->mean[v->n_labels], cells = (double)v->n_cells + (double)x->in_bins;
    double reached = 0.0;
    if (kept > NEVER) {
        /* Logarithms and sums of the normalised probabilities are rounded too. */
        reached = bits_bound(x, v->n_labels, NULL, v->turns, (row_error){error, 0.0}, kept) +
                  EPS * (256.0 + 16.0 * cells);
    }
    if (status != EI_OK || reached >= *bound)
        goto done;
    *bound = reached;
    if (information != NULL)
        memset(information, 0, x->n_in * sizeof(double));
    if (marginal != NULL) {
        memset(marginal, 0, x->out_bins * sizeof(double));
        for (size_t c = 0; c < v->n_labels; c++)
            marginal[x->label_of[c]] = x->mean[c] < 1.0 ? x->mean[c] : 1.0;
    }
    if (information == NULL || v->n_labels < 2 || !(kept > NEVER))
        goto done;
    for (size_t c = 0; c <= v->n_labels; c++)
        x->mean[c] /= kept;
    const row_state state = {.kept = 1.0, .entropy = row_entropy(x, v, x->mean)};
    for (int k = 0; k < few.n; k++) {
        if (k > 0 && fabs(weight[few.input[k]]) == fabs(weight[few.input[k - 1]])) {
            information[few.input[k]] = information[few.input[k - 1]];
            continue;
        }
        prepare_edge(x, &few, k, place, &sum);
        double total = 0.0;
        for (size_t i = 0; i < x->in_bins; i++) {
            const double twice = 2.0 * (double)i + 1.0 - (double)x->in_bins;
            const dd shift = dd_div(dd_times(few.width[k], twice), (dd){2.0 * x->in_bins, 0.0});
            status = few_cells(x, v, &sum, shift, scratch, cancel, x->p);
            if (status != EI_OK)
                goto done;
            for (size_t c = 0; c <= v->n_labels; c++)
                x->p[c] /= kept;
            total += row_entropy(x, v, x->p);
        }
        information[few.input[k]] = information_of(x, &state, total);
    }
done:
    ei_free(scratch);
    return status;
}

/* Whether a row should be done again: few samples are kept, and errors count by their share. */
static int is_rare(const row_view *v, const row_state *state, double bound)
{
    const double error = (double)v->turns * state->error.point + state->error.variation;
    return v->turns > 0 && (state->mass + error) * state->share > NEVER &&
           (bound > TARGET || state->kept == 0.0);
}

/* information and marginal may be NULL. */
static int row_parts(ei_exact *x, const double *weight, double bias, double *information,
                     double *marginal, double *bound, ei_cancel cancel)
{
    row_view v;
    row_state state = {.cancel = cancel};
    if (ei_cancelled(cancel))
        return EI_ECANCELLED;
    int status = attempt(x, weight, bias, NULL, &v, &state, information, marginal, bound);
    if (status != EI_OK || !is_rare(&v, &state, *bound))
        return status;
    cut_row cuts, *row = &cuts;
    confine(x, weight, bias, row);
    if (row->n > 0) {
        status = attempt(x, weight, bias, row, &v, &state, information, marginal, bound);
        if (status != EI_OK)
            return status;
    } else {
        row = NULL;
    }
    if (is_rare(&v, &state, *bound)) {
        const double tolerance = x->tolerance, tail = x->tail, allowed = x->allowed;
        double kept = state.mass < 1.0 ? state.mass : 1.0;
        kept = kept > NEVER ? kept : NEVER;
        set_tolerance(x, fmax(tolerance * kept * 0.125, 1e-17));
        x->allowed = allowed * kept * 0.125;
        status = attempt(x, weight, bias, row, &v, &state, information, marginal, bound);
        x->tolerance = tolerance;
        x->tail = tail;
        x->allowed = allowed;
    }
    if (status == EI_OK && is_rare(&v, &state, *bound)) {
        if (state.kept == 0.0)
            *bound = INFINITY; /* it is not clear whether the output is ever kept */
        status = few_row(x, weight, bias, cancel, information, marginal, bound);
        if (*bound == INFINITY)
            *bound = 0.0;
    }
    return status;
}

/* ---- sensitivity ------------------------------------------------------------------------------ */

/* Where z is at the input's end with the least z, and how thresholds divide the input's bins, for one
 * edge and any labels. y[j]: threshold j in bins from that end, ascending, in [0, in_bins]. */
static double step_edge(ei_exact *x, const double *y, double *kept_out)
{
    const size_t n = x->n_thresholds;
    double *total = x->p, *part = x->mean; /* of every label; in the bin at hand */
    int32_t *touched = x->label_of;
    memset(total, 0, x->out_bins * sizeof(double));
    memset(part, 0, x->out_bins * sizeof(double));
    double inside = 0.0, kept = 0.0, at = 0.0;
    size_t n_touched = 0;
    for (size_t j = 0; j <= n; j++) {
        const double end = j < n ? y[j] : (double)x->in_bins;
        const int32_t label = x->labels[j];
        while (at < end) {
            double edge = floor(at) + 1.0, stop = end < edge ? end : edge;
            if (stop == edge && at == floor(at)) {
                /* Whole bins at once. */
                stop = floor(end);
            } else if (label >= 0) {
                if (part[label] == 0.0)
                    touched[n_touched++] = label;
                part[label] += stop - at;
            }
            if (label >= 0) {
                total[label] += stop - at;
                kept += stop - at;
            }
            at = stop;
            if (at == edge || stop != end) {
                double sum = 0.0;
                for (size_t i = 0; i < n_touched; i++) {
                    inside -= eta(part[touched[i]]);
                    sum += part[touched[i]];
                    part[touched[i]] = 0.0;
                }
                inside += eta(sum);
                n_touched = 0;
            }
        }
    }
    const double scale = 1.0 / (double)x->in_bins;
    *kept_out = kept * scale;
    if (!(kept > 0.0))
        return 0.0;
    double outside = eta(kept * scale);
    for (uint32_t i = 0; i < x->out_bins; i++)
        outside -= eta(total[i] * scale);
    return (inside * scale - outside) / (kept * scale);
}

/* kept: the probability that an edge's output is kept. */
static int row_sensitivity(ei_exact *x, const double *weight, double bias, double *information,
                           double *kept, double *bound, ei_cancel cancel)
{
    const size_t n = x->n_in, m = x->n_thresholds;
    const double most = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
    double greatest, least_kept = 1.0;
    const int e = row_exponent(weight, n, &greatest);
    const dd offset = dd_mul((dd){x->baseline, 0.0}, sum_weights(weight, n, e));
    for (size_t j = 0; j < m; j++) {
        const dd d = threshold_distance(x->thresholds[j], bias, offset, e);
        const int far = !(fabs(d.hi) < 1e290);
        x->t_hi[j] = far ? (d.hi > 0.0 ? 1e290 : -1e290) : d.hi;
        x->t_lo[j] = far ? 0.0 : d.lo;
    }
    const dd lo = two_sum(x->lo, -x->baseline), hi = two_sum(x->hi, -x->baseline);
    const ei_exact_steps row = {m, x->t_hi, x->t_lo, x->n_pieces, x->from, x->to, x->piece_sign,
                                x->kept_from, x->kept_to, lo.hi, lo.lo, hi.hi, hi.lo,
                                x->hi - x->lo, (double)x->in_bins, x->y};
    const size_t often = 1 + 100000 / (m + 1);
    for (size_t i = 0; i < n; i += EI_EXACT_LANES) {
        double w[EI_EXACT_LANES] = {0.0}, value[EI_EXACT_LANES], mass[EI_EXACT_LANES];
        const size_t count = n - i < EI_EXACT_LANES ? n - i : EI_EXACT_LANES;
        for (size_t l = 0; l < count; l++)
            w[l] = ldexp(weight[i + l], -e);
        if (x->simple) {
            x->k->steps(&row, w, value, mass);
        } else {
            for (size_t l = 0; l < count; l++) {
                const dd end = w[l] > 0.0 ? lo : hi;
                const dd start = dd_mul((dd){w[l], 0.0}, end);
                const double span = fabs(w[l]) * row.range;
                for (size_t j = 0; j < m; j++) {
                    double at = dd_sub((dd){x->t_hi[j], x->t_lo[j]}, start).hi / span * row.n_bins;
                    x->y[j] = !(at > 0.0) ? 0.0 : at < row.n_bins ? at : row.n_bins;
                }
                value[l] = step_edge(x, x->y, &mass[l]);
            }
        }
        for (size_t l = 0; l < count; l++) {
            double v = value[l];
            if (w[l] == 0.0 || !(v > 0.0) || mass[l] < NEVER)
                v = 0.0;
            information[i + l] = v > most ? most : v;
            if (w[l] == 0.0) {
                size_t j = 0;
                while (j < m && !(x->t_hi[j] > 0.0))
                    j++;
                mass[l] = x->labels[j] < 0 ? 0.0 : 1.0;
            }
            kept[i + l] = mass[l];
            if (mass[l] >= NEVER && mass[l] < least_kept)
                least_kept = mass[l];
        }
        if ((i / EI_EXACT_LANES) % often == 0 && ei_cancelled(cancel))
            return EI_ECANCELLED;
    }
    *bound = x->one_label ? 0.0
                          : bits_bound(x, x->n_pieces, NULL, x->drops ? 2 : 0,
                                       (row_error){2.0 * EPS, 0.0}, least_kept);
    return EI_OK;
}

/* ---- layers ------------------------------------------------------------------------------------- */

/* Labels of the intervals that ei_channel calls limits: 0 inside, -1 outside. NULL: no memory. */
static ei_exact *open_limits(const ei_channel *c)
{
    int32_t *labels = ei_alloc(c->n_limits + 1, sizeof *labels);
    if (labels == NULL)
        return NULL;
    for (size_t j = 0; j <= c->n_limits; j++)
        labels[j] = c->outside[j] ? -1 : 0;
    ei_exact *x = open_engine(c, c->n_limits, c->limits, labels, 2);
    ei_free(labels);
    return x;
}

int ei_exact_parts(const ei_channel *c, size_t start, size_t stop, ei_cancel cancel,
                   const ei_exact_out *out)
{
    ei_exact *x = open_engine(c, c->n_thresholds, c->thresholds, c->labels, c->out_bins);
    ei_exact *limits = c->n_limits > 0 ? open_limits(c) : NULL;
    int status = x == NULL || (c->n_limits > 0 && limits == NULL) ? EI_ENOMEM : EI_OK;
    for (size_t o = start; o < stop && status == EI_OK; o++) {
        const size_t at = o - start;
        const double *weight = c->weight + o * c->n_in;
        double inside[2] = {1.0, 0.0}, ignored;
        if (limits != NULL)
            status = row_parts(limits, weight, c->bias[o], NULL, inside, &ignored, cancel);
        if (status == EI_OK)
            status = row_parts(x, weight, c->bias[o],
                               out->information ? out->information + at * c->n_in : NULL,
                               out->marginal + at * c->out_bins, out->bound + at, cancel);
        out->outside[at] = c->n_limits == 0 && c->outside[0] ? 1.0 : 1.0 - inside[0];
    }
    close_engine(limits);
    close_engine(x);
    return status;
}

int ei_exact_sensitivity(const ei_channel *c, size_t start, size_t stop, ei_cancel cancel,
                         const ei_exact_out *out)
{
    ei_exact *x = open_engine(c, c->n_thresholds, c->thresholds, c->labels, c->out_bins);
    ei_exact *limits = c->n_limits > 0 ? open_limits(c) : NULL;
    double *kept = ei_alloc(c->n_in, sizeof *kept), *unused = ei_alloc(c->n_in, sizeof *unused);
    int status = EI_OK;
    if (x == NULL || (c->n_limits > 0 && limits == NULL) || kept == NULL || unused == NULL)
        status = EI_ENOMEM;
    for (size_t o = start; o < stop && status == EI_OK; o++) {
        const size_t at = o - start;
        const double *weight = c->weight + o * c->n_in;
        double ignored, outside = c->n_limits == 0 && c->outside[0] ? (double)c->n_in : 0.0;
        if (limits != NULL) {
            status = row_sensitivity(limits, weight, c->bias[o], unused, kept, &ignored, cancel);
            for (size_t i = 0; i < c->n_in && status == EI_OK; i++)
                outside += 1.0 - kept[i];
        }
        if (status == EI_OK)
            status = row_sensitivity(x, weight, c->bias[o], out->information + at * c->n_in, kept,
                                     out->bound + at, cancel);
        out->outside[at] = outside / (double)c->n_in;
    }
    ei_free(kept);
    ei_free(unused);
    close_engine(limits);
    close_engine(x);
    return status;
}
