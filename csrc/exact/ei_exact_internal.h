/* What the files of the exact engine share. The mathematics is at the head of each; ei_exact.c has the
 * setting, and the list of them. ex_: shared inside this folder alone. */
#ifndef EI_EXACT_INTERNAL_H
#define EI_EXACT_INTERNAL_H

#include "common/ei_dd.h"
#include "common/ei_math.h"
#include "kernels/ei_exact_kernels.h"
#include "kernels/ei_kernels.h"

#include <float.h>
#include <math.h>

#define PI 3.14159265358979323846
#define EPS DBL_EPSILON /* twice the unit roundoff */

enum {
    DOMINANT = EI_EXACT_DOMINANT,
    BATCH = 512,             /* points evaluated at once */
    ORDERS = EI_EXACT_TERMS + DOMINANT + 2,
    MAX_WAVES = 1 << 17,     /* of a series evaluated point by point */
    COMPARABLE = 32,         /* of a row that is not sorted */
    MAX_TABLE = 1 << 20,     /* entries of a table of sines, and of prefix products */
    MAX_CUTS = 64,           /* inputs of a row that are confined */
    BESIDE = 8,     /* thresholds of another cut */
    EX_NODES = 24   /* of an interpolant, at most */
};

/* Bits that an edge may be off by before a row is done again. */
static const double TARGET = 5e-10;

/* Nor may it be off by more where errors agree; see ei_agree.c. */
static const double PROMISE = 9e-10;

/* An output that is kept more rarely than this counts as never kept: it tells nothing. */
static const double NEVER = 1e-12;

static const double BULK = 0.8;  /* greatest w a / (2 pi) for the expansion */

static const double SAFE = 2.52; /* sinc is at least 0.23 up to here: dividing by it is harmless */

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

/* Memory that grows with need; see ex_grow. */
typedef struct {
    double *at;
    size_t size;
} grown;

typedef struct ei_exact {
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

    double most_beta[EI_EXACT_TERMS]; /* the greatest of any bin, in size */
    double *beta; /* [half + middle][EI_EXACT_TERMS], (-1)^k B_k / k! (2 pi)^k averaged over a bin */
    size_t n_pairs;
    ei_exact_nodes *nodes; /* NULL if there are few bins; see ei_nodes.c */
    double half[EI_EXACT_TERMS + 1]; /* (2 pi)^n B_n(1/2) / n! */
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
    double still; /* the bound of a row where nothing moves */
    double *t_hi, *t_lo, *y;
    int32_t *near_from, *near_to; /* the pieces that a row's inputs can reach */
    double *near_sign;

    /* Another cut of the same outputs, of few thresholds, whose probability to be kept is to be known too:
     * `inside`, if a row's route finds it on the way. */
    const struct ei_exact *beside;
    double at_beside[BESIDE], inside;

    double total; /* of a row's edges, where it was found on the way; else NAN */

    double *cosines[EX_NODES + 1]; /* see ei_between.c */
    dd *distance;    /* thresholds less the mean, in full; see fine_view */
    struct cut *cut; /* inputs that are confined */

    /* Scratch of a row. */
    double *a;       /* widths, as the weights are ordered */
    double *sorted;  /* the positive ones downwards */
    uint32_t *order; /* their inputs */
    double *suffix;  /* suffix[i] = sum of squares of sorted[i ..] */
    double *list, *list_suffix; /* another set of widths */
    double *packed, *large;     /* widths gathered for a kernel */
    double *s;                  /* thresholds inside the support, less the mean */
    int32_t *left, *right;      /* cell on either side of each; -1 none */
    uint8_t *left_kept, *right_kept;
    int32_t last; /* cell right of the last threshold inside */
    int32_t *cell_of, *label_of;
    double *base, *sign, *p, *mean;
    uint32_t *direct; /* positions of wide inputs */
    double *term;
    double *point, *value; /* of the distribution function */
    double *log_mean, *price;   /* of cells; see ei_agree.c */
    grown waves, rest, radii;
    size_t room;                                         /* waves in each of these */
    double *phi_row, *phi_edge, *phi_plan, *coefficient;
    double *scratch;                                     /* twice as many */
    sum_plan plan, row_plan;
} ei_exact;

/* An input that is confined to centre +- length / 2 of v, which is [low, high] - 1/2. */
struct cut {
    size_t input;
    double centre, length, low, high;
    int inside; /* what is kept lies within one of its bins */
};

/* Widths downwards with suffix sums of squares, some of them set aside. */
typedef struct {
    const double *width, *suffix;
    size_t n, first; /* those before `first` are dominant */
    size_t without;  /* index left out, or n */
    double extra;    /* one more width, or 0 */
} width_set;

typedef struct {
    double reach, half_period; /* of the smooth rest */
    double gain;               /* log of prod 2 / a_d */
    double error, leaves, nodes;
    size_t n_waves;
} split;

/* One output's weights, and what every use of them begins with. */
typedef struct {
    const double *weight;  /* NULL: nobody has asked for them in float64 yet, see ex_weights */
    const float *narrow;   /* then those */
    double *room;          /* for the others */
    double bias, greatest; /* in size */
    int exponent;          /* of the greatest: scaling by its power of two loses nothing */
    dd sum;                /* of the weights, scaled by 2^-exponent */
} row_weights;

/* What is inside the support of one row. */
typedef struct {
    size_t n_widths;    /* positive; the greatest is 1 */
    double squares;     /* sum of theirs */
    double reach;       /* |S| beyond this is negligible */
    size_t n_s;         /* thresholds inside */
    size_t first;       /* index of the first of them */
    size_t n_labels;    /* kept labels that occur */
    size_t n_cells;     /* padded, with the union of the kept cells if some are dropped */
    int drops;
    size_t turns;       /* thresholds between a kept and a dropped interval */
    double evaluated;   /* greatest |s| */
    size_t n_beside;    /* x->at_beside */
} row_view;

/* Which edges of a row the expansion takes. */
typedef struct {
    double reference; /* the greatest width that it converges for; 0: none */
    double widest;    /* the greatest that its terms are enough for */
    double moments[EI_EXACT_TERMS + 2]; /* sum over q of |phi_q / (pi (q + 1/2))| y^k / (1 - y), or a bound
                                           of it, y = w_q reference / (2 pi) */
} expansion_range;

typedef struct {
    double kept, entropy; /* of (6), given the cuts */
    double mass;          /* kept, however rarely */
    double share;         /* probability that the inputs are as the cuts have them */
    row_error error;      /* the greatest of any edge */
    double bits;          /* what interpolation costs on top, or what is left out */
    double missed;        /* by nodes instead of bins */
    size_t first, cells;  /* those that edges are asked for: some, padded, from one on */
    double agreed;        /* error of a cell that averages out over the bins of every edge; 0: the others' */
    double costs;         /* what the greatest of any edge makes of it; see ei_agree.c */
    ei_cancel cancel;
} row_state;

/* A row in full: all lengths scaled by powers of two such that the greatest width is about 1, and
 * x->distance[j], threshold j less the row's mean, in double-double. */
typedef struct {
    int exponent;  /* weights are scaled by 2^-exponent */
    dd range;      /* of the inputs, scaled */
    dd half;       /* half the support */
    double widest; /* greatest width */
    double place;  /* greatest error of a distance, of those inside the support */
} full_row;

/* What the cuts leave of a row: S = shift + the sum of the confined inputs. */
typedef struct {
    full_row full;
    size_t n; /* x->cut[0 .. n - 1] */
    double share;
    dd shift;
    double unit; /* greatest width left */
} cut_row;

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

static inline size_t padded(size_t n) { return (n + 7) & ~(size_t)7; }

static inline double eta(double x) { return x > 0.0 ? -x * ei_log2(x) : 0.0; }

/* Put a value of term k (1-based) at cell c. */
static inline size_t term_at(size_t c, size_t k)
{
    return (c / 8 * EI_EXACT_TERMS + (k - 1)) * 8 + c % 8;
}

static inline dd full_width(const full_row *row, double weight)
{
    return dd_times(row->range, ldexp(fabs(weight), -row->exponent));
}

/* ---- ei_engine.c ------------------------------------------------------------------------------- */

void ex_close_engine(ei_exact *x);
void ex_set_tolerance(ei_exact *x, double tolerance);
ei_exact *ex_open_engine(const ei_channel *c, size_t m, const double *thresholds,
                         const int32_t *labels, uint32_t out_bins);
/* What rows of few inputs can do without: the waves' memory and the table of ei_expansion.c. */
int ex_open_series(ei_exact *x, size_t waves);
/* Room for so many; what was there is lost. NULL: no memory. */
double *ex_grow(grown *memory, size_t size);

/* ---- ei_bounds.c ------------------------------------------------------------------------------- */

double ex_bits_bound(const ei_exact *x, size_t m, const double *p, size_t turns, row_error e,
                     double kept);
double ex_state_bound(const ei_exact *x, const row_view *v, const row_state *state);
size_t ex_waves_needed(const width_set *set, double h, int order, double gain, double tolerance,
                       size_t most);

/* ---- ei_recursion.c ---------------------------------------------------------------------------- */

void ex_prepare_side(sum_plan *plan, int most);
void ex_prepare_polynomials(sum_plan *plan);
void ex_distribution(const ei_exact *x, const sum_plan *plan, double *points, size_t n, double *out);
void ex_derivatives(const ei_exact *x, const sum_plan *plan, double unit, int d, int most,
                    double s, double *out);
double ex_recursion_error(const double *width, const double *reach, int K, double base,
                          double *leaves, double *nodes);

/* ---- ei_plan.c --------------------------------------------------------------------------------- */

/* What ex_characteristic is told of widths. */
typedef struct {
    const double *width;
    size_t n;
    double greatest, squares; /* sum of them */
} some_widths;

size_t ex_characteristic(ei_exact *x, const some_widths *all, double half_step, size_t n_waves,
                         double *phi);
split ex_consider(const ei_exact *x, const width_set *all, int K, double reach0, double evaluated);
double ex_point_cost(const split *r);
double ex_smooth_reach(const ei_exact *x, const width_set *set, size_t first);
void ex_make_plan(ei_exact *x, sum_plan *plan, const width_set *set, int K, const split *r);
void ex_choose_plan(ei_exact *x, sum_plan *plan, const width_set *set, double evaluated,
                    double n_points);

/* ---- ei_row.c ---------------------------------------------------------------------------------- */

/* Weights and what they sum up to, without a bias. */
row_weights ex_summed(const ei_exact_kernels *k, const double *w, size_t n);
/* The same of floats, and what `sizes` gives. */
row_weights ex_summed_floats(const ei_exact_kernels *k, const float *w, size_t n, double sizes[2]);
row_weights ex_row_weights(const ei_exact *x, const double *w, double bias);
/* The same of a row whose EI_SUMS are known; the weights may be missing. */
row_weights ex_known_weights(double bias, const double *known);
const double *ex_weights(row_weights *row, size_t n); /* in float64 */
dd ex_sum_weights(const ei_exact_kernels *k, const double *w, size_t n, int e);
dd ex_threshold_distance(double t, double bias, dd offset, int e);
int ex_view_threshold(ei_exact *x, row_view *v, size_t j, double s);
/* Set x->a, with 0 for negligible ones; their number, sum of squares and reach. `w` may be x->a; it is
 * NULL for weights of float32, `narrow`. */
void ex_view_widths(ei_exact *x, const double *w, const float *narrow, double divisor, row_view *v);
void ex_view_cells(ei_exact *x, row_view *v);
void ex_view_row(ei_exact *x, const row_weights *row, row_view *v);
void ex_to_cells(const ei_exact *x, const row_view *v, size_t b, double value, double *cells);
void ex_cells_of(const ei_exact *x, const row_view *v, const double *f, double *cells);
double ex_row_entropy(const ei_exact *x, const row_view *v, const double *p);
void ex_nothing(const ei_exact *x, double *information); /* no edge has any */
double ex_information_of(const ei_exact *x, const row_state *state, double sum);
double ex_edge_information(const ei_exact *x, row_state *state, const ei_exact_edge *edge);
void ex_note_error(row_state *state, row_error e);
void ex_note_rounding(const ei_exact *x, row_state *state, const ei_exact_edge *edge, size_t multiplied,
                      double steps);
void ex_settle(const ei_exact *x, const row_view *v, row_state *state, double *marginal);

/* ---- ei_edge.c --------------------------------------------------------------------------------- */

void ex_sort_row(ei_exact *x);
int ex_edge_bins(ei_exact *x, const row_view *v, size_t at, double width, double first, size_t bins,
                 row_state *state, double *sum);
int ex_single_edge(ei_exact *x, const row_view *v, size_t at, row_state *state, double *sum);

/* ---- ei_expansion.c ---------------------------------------------------------------------------- */

void ex_bernoulli_table(ei_exact *x);
/* Its entries for a bin whose centre is so many bins from the middle. */
void ex_bernoulli(const double half[EI_EXACT_TERMS + 1], double in_bins, double centre,
                  double beta[EI_EXACT_TERMS]);
/* Set the range's widest width. */
void ex_expansion_widest(const ei_exact *x, expansion_range *range);
/* How many terms a width takes, of those that are not above the widest. */
size_t ex_terms_for(const ei_exact *x, const expansion_range *range, double width);
int ex_expand_edges(ei_exact *x, const row_view *v, const expansion_range *range, row_state *state,
                    double *information);
ei_exact_edge ex_one_expansion(const ei_exact *x, const ei_exact_expansion *row, double ratio, size_t terms);
double ex_widest_below(const ei_exact *x, double limit);

/* ---- ei_nodes.c -------------------------------------------------------------------------------- */

enum { EX_MANY_BINS = 24 };

/* After ex_bernoulli_table. EI_OK or EI_ENOMEM. */
int ex_open_nodes(ei_exact *x);

/* ---- ei_between.c ------------------------------------------------------------------------------ */

/* Edges by interpolation; returns up to which width they are done, 0 if none are. */
double ex_between_edges(ei_exact *x, const row_view *v, const ei_exact_expansion *row,
                        const expansion_range *range, row_state *state, double *information);

/* ---- ei_agree.c -------------------------------------------------------------------------------- */

/* Whether a layer's rows can do with it, and the tolerance that they take. */
int ex_may_agree(const ei_exact *x, int attempt);
enum { EX_ATTEMPTS = 2 };
double ex_agreed_tolerance(const ei_exact *x, int attempt);
/* What the cells' costs are, from x->mean, once the row is settled. */
void ex_price(ei_exact *x, const row_view *v, row_state *state);
/* Of the cells that edges are asked for. */
ei_exact_costs ex_costs(const ei_exact *x, const row_state *state);
/* The nodes, of rows whose cells have their price: of others what they miss is not held against what is kept. */
const ei_exact_nodes *ex_nodes_of(const ei_exact *x, const row_state *state);
/* Whether that is certain before all edges are done. */
int ex_too_costly(const row_state *state);
double ex_agreed_bits(const row_view *v, const row_state *state);
/* The row by its series; zero if that is not worth it. *status is set otherwise. */
int ex_agreed_row(ei_exact *x, const row_view *v, row_state *state, double *information,
                  double *marginal, int *status);

/* ---- ei_series.c ------------------------------------------------------------------------------- */

/* So many waves, or fewer if errors agree. */
int ex_series_row(ei_exact *x, const row_view *v, size_t n_waves, double half_period,
                  row_state *state, double *information, double *marginal);

/* ---- ei_subsets.c ------------------------------------------------------------------------------ */

/* Zero if that is not exact enough, or the table too large. *status is set otherwise. */
int ex_subsets_row(ei_exact *x, const row_view *v, row_state *state, double *information,
                   double *marginal, int *status);

/* ---- ei_route.c -------------------------------------------------------------------------------- */

int ex_route(ei_exact *x, const row_view *v, row_state *state, double *information, double *marginal);

/* ---- ei_rare.c --------------------------------------------------------------------------------- */

full_row ex_view_full(ei_exact *x, const double *w, double bias);
void ex_confine(ei_exact *x, const double *w, double bias, cut_row *row);
void ex_view_cut(ei_exact *x, const double *w, cut_row *row, row_view *v);
int ex_cut_edge(ei_exact *x, const row_view *v, const cut_row *row, const struct cut *cut,
                double weight, row_state *state, double *information);

/* ---- ei_few_row.c ------------------------------------------------------------------------------ */

int ex_few_row(ei_exact *x, const double *weight, double bias, ei_cancel cancel,
               double *information, double *marginal, double *bound);

/* ---- ei_parts.c -------------------------------------------------------------------------------- */

int ex_row_parts(ei_exact *x, row_weights *weights, double *information,
                 double *marginal, double *bound, ei_cancel cancel);

/* ---- ei_sensitivity.c -------------------------------------------------------------------------- */

/* Whether no input reaches a threshold from the baseline, so that nobody learns anything; if so the bound
 * of the error. The weights themselves are not read. */
double ex_still_bound(const ei_exact *x); /* x->still */
int ex_row_stands_still(ei_exact *x, const row_weights *weights, double *bound);
int ex_row_sensitivity(ei_exact *x, row_weights *weights, double *information,
                       double *dropped, double *bound, ei_cancel cancel);

#endif
