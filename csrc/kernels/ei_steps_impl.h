/* Edges whose other inputs are held (exact/ei_sensitivity.c); included by ei_exact_impl.h. */

/* a b = *hi + *lo (Dekker, Numer. Math. 18, 1971). */
EI_FORCE void ex_two_product(vd a, vd b, vd *hi, vd *lo)
{
    vd p = a * b;
    vd ca = a * 134217729.0, cb = b * 134217729.0;
    vd a1 = ca - (ca - a), b1 = cb - (cb - b);
    vd a2 = a - a1, b2 = b - b1;
    *hi = p;
    *lo = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2;
}

/* Greatest integer not above x, 0 <= x < 2^51. */
EI_FORCE vd ex_floor(vd x)
{
    vd k = (x + 4503599627370496.0) - 4503599627370496.0;
    return k - V_REAL(V_MASK(k > x) & V_BITS((vd){0} + 1.0));
}

/* With the other inputs held, z runs from its value at one end of the input's range to that at the
 * other, and threshold j is crossed at y_j input bins from the end where z is least (counting from
 * either end gives the same information). An interval of outputs holds whole input bins, which are
 * certain, and a part of at most two. */
EI_FN void ex_steps(const ei_exact_steps *row, const double *weight, double *information,
                    double *kept_mass)
{
    const vd one = (vd){0} + 1.0, zero = {0};
    const vd bins = zero + row->n_bins;
    for (int sub = 0; sub < EX_SUBS; sub++) {
        const vd w = *(const vd *)(weight + sub * VD);
        const vu up = V_MASK(w > zero);
        const vd e_hi = v_select(up, zero + row->lo_hi, zero + row->hi_hi);
        const vd e_lo = v_select(up, zero + row->lo_lo, zero + row->hi_lo);
        vd z_hi, z_lo;
        ex_two_product(w, e_hi, &z_hi, &z_lo);
        z_lo += w * e_lo;
        const vd span = V_REAL(V_BITS(w) & 0x7fffffffffffffffull) * row->range;
        double *y = row->scratch;
        vu divided = {0};
        for (size_t j = 0; j < row->n_thresholds; j++) {
            /* threshold - z_start, as if exactly and rounded once */
            const vd a = zero + row->t_hi[j];
            vd d = a - z_hi, back = d - a;
            vd err = (a - (d - back)) - (z_hi + back);
            vd distance = d + (err + (row->t_lo[j] - z_lo));
            vd at = distance / span * bins;
            const vu above = V_MASK(at > zero), below = V_MASK(at < bins);
            divided |= above & below;
            *(vd *)(y + j * VD) = v_select(below, V_REAL(V_BITS(at) & above), bins);
        }
        vd inside = zero, outside = zero;
        const size_t n_pieces = ex_any(divided) ? row->n_pieces : 0; /* no inputs, nothing to learn */
        for (size_t j = 0; j < n_pieces; j++) {
            const int32_t i0 = row->from[j], i1 = row->to[j];
            const vd a = i0 < 0 ? zero : *(const vd *)(y + i0 * VD);
            const vd b = i1 < (int32_t)row->n_thresholds ? *(const vd *)(y + i1 * VD) : bins;
            const vd length = b - a;
            if (!ex_any(V_BITS(length)))
                continue;
            const vd fa = ex_floor(a), fb = ex_floor(b);
            const vu same = V_MASK(fa == fb);
            const vd first = v_select(same, length, fa + one - a);
            const vd last = V_REAL(V_BITS(b - fb) & ~same);
            inside += row->sign[j] * (ex_xlog2(first) + ex_xlog2(last));
            outside += row->sign[j] * ex_xlog2(length / bins);
        }
        const vd k0 = row->kept_from < 0 ? zero : *(const vd *)(y + row->kept_from * VD);
        const vd k1 = row->kept_to < (int32_t)row->n_thresholds ? *(const vd *)(y + row->kept_to * VD)
                                                                : bins;
        const vd kept = (k1 - k0) / bins;
        const vd value = (inside / bins - outside) / kept;
        *(vd *)(information + sub * VD) = V_REAL(V_BITS(value) & V_MASK(value > zero));
        *(vd *)(kept_mass + sub * VD) = kept;
    }
}
