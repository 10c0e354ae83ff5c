/* A few widths, by sums over subsets (csrc/exact/ei_subsets.c); included by ei_exact_impl.h. Lanes are
 * input bins. What is skipped is decided for eight of them at a time, so that every instruction set
 * adds up the same terms. */

/* The term of one subset where all of the small widths lie beyond its sum: a polynomial in the distance of
 * their centre. */
EI_FORCE vd ex_whole_term(const double *power, vd centre, const int degree)
{
    const vd square = centre * centre;
    vd value = (vd){0} + power[0];
    for (int l = 1; l <= degree / 2; l++)
        value = value * square + power[l];
    if (degree % 2)
        value *= centre;
    return value;
}

/* Where they may lie on both sides, by recursion over them. y, from least to most, is the distance of
 * their far end. */
EI_FN vd ex_split_term(const ei_exact_subsets *row, int d, vd y, double least, double most)
{
    const vd zero = {0};
    const double length = row->length[d], small = row->small[d];
    const int degree = row->degree + row->n_small - d;
    if (!(most > 0.0))
        return zero;
    if (least >= length)
        return ex_whole_term(row->power[d], y - 0.5 * length, degree);
    vd value;
    if (d == 1) {
        value = y * row->part;
        for (int k = 0; k < degree; k++)
            value *= y;
    } else {
        value = ex_split_term(row, d - 1, y, least, most);
        if (most > small)
            value -= ex_split_term(row, d - 1, y - small, least - small, most - small);
        value /= small;
    }
    if (most >= length) {
        const vd all = ex_whole_term(row->power[d], y - 0.5 * length, degree);
        value = v_select(V_MASK(y >= zero + length), all, value);
    }
    return V_REAL(V_BITS(value) & V_MASK(y > zero));
}

/* The distribution function at threshold s for the eight bins from i on. */
EI_FORCE void ex_subset_block(const ei_exact_subsets *row, double s, size_t i, const int degree,
                              vd out[EX_SUBS])
{
    const vd zero = {0}, one = zero + 1.0;
    const double length = row->length[row->n_small], *power = row->power[row->n_small];
    const size_t last = row->n_bins - i < EX_LANES ? row->n_bins - i - 1 : EX_LANES - 1;
    const double from = s - row->centre[i], to = s - row->centre[i + last];
    const double least = from < 0.0 ? -from : to > 0.0 ? to : 0.0;
    const double most = -to > from ? -to : from;
    const double greatest = row->reach - least, smallest = row->reach - most;
    vd place[EX_SUBS], inside[EX_SUBS];
    for (int sub = 0; sub < EX_SUBS; sub++) {
        place[sub] = s - *(const vd *)(row->centre + i + (size_t)(sub * VD));
        inside[sub] = row->reach - V_REAL(V_BITS(place[sub]) & 0x7fffffffffffffffull);
        out[sub] = zero;
    }
    for (size_t k = 0; k < row->n_subsets; k++) {
        const double sum = row->sum[k], factor = row->factor[k];
        if (!(greatest - sum > 0.0))
            continue;
        if (smallest - sum >= length) {
            for (int sub = 0; sub < EX_SUBS; sub++)
                out[sub] += ex_whole_term(power, inside[sub] - sum - 0.5 * length, degree) * factor;
        } else {
            for (int sub = 0; sub < EX_SUBS; sub++)
                out[sub] += ex_split_term(row, row->n_small, inside[sub] - sum, smallest - sum,
                                          greatest - sum) * factor;
        }
    }
    for (int sub = 0; sub < EX_SUBS; sub++) {
        vd f = v_select(V_MASK(place[sub] > zero), one - out[sub], out[sub]);
        f = V_REAL(V_BITS(f) & V_MASK(f > zero));
        out[sub] = v_select(V_MASK(f < one), f, one);
    }
}

EI_FORCE void ex_subset_cells(const ei_exact_subsets *row, const int degree)
{
    const size_t bins = (row->n_bins + EX_LANES - 1) / EX_LANES * EX_LANES;
    for (size_t i = 0; i < bins; i += EX_LANES) {
        vu real[EX_SUBS];
        for (int sub = 0; sub < EX_SUBS; sub++) {
            const vd twice = ex_odds(i + (size_t)(sub * VD)); /* the bin, doubled, and one */
            real[sub] = V_MASK(twice < (vd){0} + 2.0 * (double)row->n_bins);
        }
        for (size_t c = 0; c < row->n_cells; c++)
            for (int sub = 0; sub < EX_SUBS; sub++)
                *(vd *)(row->cells + c * bins + i + (size_t)(sub * VD)) =
                    V_REAL(V_BITS((vd){0} + row->base[c]) & real[sub]);
        for (size_t j = 0; j < row->n_thresholds; j++) {
            vd f[EX_SUBS];
            ex_subset_block(row, row->threshold[j], i, degree, f);
            for (int sub = 0; sub < EX_SUBS; sub++) {
                const vd value = V_REAL(V_BITS(f[sub]) & real[sub]);
                double *at = row->cells + i + (size_t)(sub * VD);
                const int32_t left = row->left[j], right = row->right[j];
                if (left >= 0)
                    *(vd *)(at + (size_t)left * bins) += value;
                if (right >= 0)
                    *(vd *)(at + (size_t)right * bins) -= value;
                if (row->kept_cell >= 0 && (left < 0) != (right < 0))
                    *(vd *)(at + (size_t)row->kept_cell * bins) += (left >= 0 ? 1.0 : -1.0) * value;
            }
        }
    }
}

EI_FN double ex_subsets(const ei_exact_subsets *row)
{
    switch (row->degree) { /* constants make the loops straight */
    case 0: ex_subset_cells(row, 0); break;
    case 1: ex_subset_cells(row, 1); break;
    case 2: ex_subset_cells(row, 2); break;
    case 3: ex_subset_cells(row, 3); break;
    case 4: ex_subset_cells(row, 4); break;
    case 5: ex_subset_cells(row, 5); break;
    default: ex_subset_cells(row, 6); break;
    }
    const size_t bins = (row->n_bins + EX_LANES - 1) / EX_LANES * EX_LANES;
    vd total[EX_SUBS];
    memset(total, 0, sizeof total);
    for (size_t c = 0; c < row->n_cells; c++) {
        const double *p = row->cells + c * bins;
        for (size_t i = 0; i < bins; i += EX_LANES)
            for (int sub = 0; sub < EX_SUBS; sub++)
                total[sub] += ex_xlog2(*(const vd *)(p + i + (size_t)(sub * VD))) * row->sign[c];
    }
    return ex_reduce(total);
}
