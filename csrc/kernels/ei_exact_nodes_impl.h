/* Eight cells by a few nodes instead of all the bins (exact/ei_nodes.c has the mathematics); included by
 * ei_exact_edge_impl.h. */

enum {
    EX_DEGREE = 2 * EI_EXACT_NODES - 1,   /* of the interpolant */
    EX_DISTANCES = 2 * EI_EXACT_NODES + 1 /* from polynomials of degree EX_DEGREE .. 2 EX_DEGREE + 1 */
};

/* Of eight cells. */
typedef struct {
    vd sum[EX_SUBS], squares[EX_SUBS], missed[EX_SUBS];
} ex_node_sums;

/* A sub-vector's cells from their values even +- odd at the nodes; `distance` of them from polynomials. */
EI_FORCE void ex_nodes(const ei_exact_nodes *nodes, const vd *even, const vd *odd, const vd *distance,
                       const ex_cell *cell, int sub, ex_node_sums *sums)
{
    enum { N = EI_EXACT_NODES };
    const vd zero = {0}, one = zero + 1.0;
    const vu some = ~V_MASK(cell->sign == zero);
    vd sum = zero, squares = zero, both[N], differ[N], size[2 * N], first = zero, positive = one;
    for (int j = 0; j < N; j++) {
        const vd up = even[j] + odd[j], down = even[j] - odd[j];
        const vd log_up = ex_log2(up), log_down = ex_log2(down);
        const vd x = log_up - cell->log_mean, y = log_down - cell->log_mean;
        const vd least = v_select(V_MASK(up < down), up, down);
        positive = v_select(V_MASK(least < positive), least, positive);
        sum += (up * log_up + down * log_down) * nodes->weight[j];
        squares += (x * x + y * y) * nodes->weight[j];
        both[j] = (log_up + log_down) * 0.6931471805599453;
        differ[j] = (log_up - log_down) * 0.6931471805599453;
    }
    for (int k = 0; k < N; k++) {
        vd a = zero, b = zero;
        for (int j = 0; j < N; j++) {
            a += both[j] * nodes->even[k][j];
            b += differ[j] * nodes->odd[k][j];
        }
        first = k == 0 ? a : first;
        size[2 * k] = ex_abs(a);
        size[2 * k + 1] = ex_abs(b);
    }
    vd swing = zero, product = size[0] * distance[2 * N];
    for (int k = 1; k < 2 * N; k++) {
        swing += size[k];
        product += size[k] * distance[2 * N - k];
    }
    vd far = zero + 1e9, near = zero + 1e9;
    for (int r = 0; r < EI_EXACT_RIMS; r++) {
        vd most = first - 20.0;
        for (int k = 1; k < 2 * N; k++)
            most += size[k] * nodes->rim[r][k];
        const vu within = V_MASK(most <= zero);
        most = V_REAL(V_BITS(most) & within); /* else it is not used */
        most = v_select(V_MASK(most > zero - 700.0), most, zero - 700.0);
        const vd height = v_exp(most) * 485165195.40979; /* exp(20) */
        const vd f = v_select(within, height * nodes->far[r], far);
        const vd g = v_select(within, height * nodes->near[r], near);
        far = v_select(V_MASK(f < far), f, far);
        near = v_select(V_MASK(g < near), g, near);
    }
    vd lowest = first - swing;
    lowest = v_select(V_MASK(lowest > zero - 700.0), lowest, zero - 700.0);
    lowest = v_select(V_MASK(lowest < zero), lowest, zero);
    lowest = v_exp(lowest);
    const vd off = (distance[0] + near + 1e-13) * nodes->lebesgue;
    vd missed = (2.0 * (product + distance[2 * N]) + far + off * off / lowest) * 1.4426950408889634;
    /* No cell may come near where its logarithm is no longer smooth, or where its costs are others. */
    const vu fine = V_MASK(lowest - 16.0 * off > zero + cell->least) & V_MASK(positive > zero);
    missed = v_select(fine, missed, one);
    sums->sum[sub] = V_REAL(V_BITS(sum) & some) * cell->sign;
    sums->squares[sub] = V_REAL(V_BITS(squares) & some);
    sums->missed[sub] = V_REAL(V_BITS(missed) & some);
}

/* Whether that is enough for the eight cells; if so they are added. */
EI_FORCE int ex_nodes_hold(const ei_exact_nodes *nodes, double n_bins, ex_node_sums *sums, ex_totals *totals)
{
    const double missed = ex_reduce(sums->missed);
    if (!(missed <= nodes->limit))
        return 0;
    totals->missed += missed;
    for (int sub = 0; sub < EX_SUBS; sub++) {
        vd root = sums->squares[sub];
        for (int l = 0; l < VD; l++)
            V_LANE(root, l) = sqrt(V_LANE(root, l));
        totals->sum[sub] += sums->sum[sub] * n_bins;
        totals->costs[sub] += root * n_bins;
    }
    return 1;
}

/* Nodes are rarely enough for cells far out: whether to try. */
EI_FORCE int ex_promising(const ei_exact_nodes *nodes, const double *sign, const double *log_mean)
{
    int fine = 1;
    for (int l = 0; l < EX_LANES; l++)
        fine &= sign[l] == 0.0 || log_mean[l] >= nodes->least_log;
    return fine;
}

/* How far the distribution function is from polynomials of degree m = EX_DEGREE .. as a function of the place
 * in the range of the input, which is an angle of `whole`, at most: sum over the waves of
 * 2 y^(m+1) / ((m+1)! (1 - y / (m+2))) or 1, y a quarter of their angle; 1 / (1 - z) <= 2 up to a half. */
EI_FN void ex_wave_distances(const ei_exact_series *row, double whole, double *far)
{
    const vd zero = {0}, one = zero + 1.0;
    vd sums[EX_DISTANCES][EX_SUBS];
    memset(sums, 0, sizeof sums);
    double start = 4.0, inverse[EX_DISTANCES];
    for (int k = 1; k <= EX_DEGREE + 1; k++)
        start /= (double)k;
    for (int m = 0; m < EX_DISTANCES; m++)
        inverse[m] = 1.0 / (double)(m + EX_DEGREE + 2);
    for (size_t q = 0; q < row->n_waves; q += EX_LANES) {
        for (size_t sub = 0; sub < EX_SUBS; sub++) {
            const size_t at = q + sub * VD;
            const vd odds = ex_odds(at), y = odds * (0.25 * whole);
            const vd height = ex_abs(*(const vd *)(row->phi + at)) / (odds * 1.5707963267948966);
            vd power = zero + start;
            for (int k = 0; k <= EX_DEGREE; k++)
                power *= y;
            for (int m = 0; m < EX_DISTANCES; m++) {
                const vd z = y * inverse[m];
                const vu small = V_MASK(z <= zero + 0.5) & V_MASK(power < one);
                sums[m][sub] += height * v_select(small, power, one);
                power *= z;
            }
        }
    }
    for (int m = 0; m < EX_DISTANCES; m++)
        far[m] = ex_reduce(sums[m]);
}
