/* What is done once for a whole row of inputs (exact/ei_row.c, ei_plan.c, ei_series.c, ei_between.c);
 * included by ei_exact_impl.h. */

EI_FORCE vd ex_abs(vd x) { return V_REAL(V_BITS(x) & 0x7fffffffffffffffull); }

/* Up to a vector of numbers from `at` on, and zeros behind the n there are. */
EI_FORCE vd ex_from(const double *w, size_t at, size_t n)
{
    return n - at < VD ? ex_some(w + at, n - at) : *(const vd *)(w + at);
}

/* The same of floats. */
EI_FORCE vd ex_from_floats(const float *w, size_t at, size_t n)
{
    vd x = {0};
    if (n - at < VD) {
        for (size_t i = 0; i < n - at; i++)
            V_LANE(x, i) = (double)w[at + i];
        return x;
    }
#if EI_VBYTES > 8
    typedef float vf __attribute__((vector_size(EI_VBYTES / 2), aligned(4), may_alias));
    return __builtin_convertvector(*(const vf *)(w + at), vd);
#else
    return (double)w[at];
#endif
}

/* As many of them as there is room for before n. */
EI_FORCE void ex_to(double *out, size_t at, size_t n, vd x)
{
    if (n - at < VD)
        memcpy(out + at, &x, (n - at) * sizeof(double));
    else
        *(vd *)(out + at) = x;
}

/* All bits where x is below zero, or -0. */
EI_FORCE vu ex_below_zero(vd x) { return (vu){0} - (V_BITS(x) >> 63); }

/* From w, or, if that is NULL (a constant when inlined, as `usual` is), from narrow. */
EI_FORCE void ex_widths_from(const double *w, const float *narrow, size_t n, double divisor, const int usual,
                             double negligible, double *out, double sums[3])
{
    vd sum[EX_SUBS], squares[EX_SUBS], count[EX_SUBS];
    const vd zero = {0}, one = zero + 1.0;
    const double factor = usual ? 1.0 / divisor : 1.0;
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        vd all = zero, powers = zero, many = zero;
        for (size_t at = sub * VD; at < n; at += EX_LANES) {
            vd a = ex_abs(w != NULL ? ex_from(w, at, n) : ex_from_floats(narrow, at, n));
            a = usual ? a * factor : a / divisor;
            const vu some = ~ex_below_zero(a - negligible);
            a = V_REAL(V_BITS(a) & some);
            all += a;
            powers += a * a;
            many += V_REAL(V_BITS(one) & some);
            ex_to(out, at, n, a);
        }
        sum[sub] = all;
        squares[sub] = powers;
        count[sub] = many;
    }
    sums[0] = ex_reduce(sum);
    sums[1] = ex_reduce(squares);
    sums[2] = ex_reduce(count);
}

EI_FN void ex_widths(const double *w, const float *narrow, size_t n, double divisor, double negligible,
                     double *out, double sums[3])
{
    if (!(divisor > 1e-290 && divisor < 1e290)) { /* so small or large that its inverse may not be usual */
        if (w != NULL)
            ex_widths_from(w, NULL, n, divisor, 0, negligible, out, sums);
        else
            ex_widths_from(NULL, narrow, n, divisor, 0, negligible, out, sums);
    } else if (w != NULL) {
        ex_widths_from(w, NULL, n, divisor, 1, negligible, out, sums);
    } else {
        ex_widths_from(NULL, narrow, n, divisor, 1, negligible, out, sums);
    }
}

EI_FN void ex_sizes(const double *w, size_t n, double out[2])
{
    vd sizes[EX_SUBS], squares[EX_SUBS];
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        vd all = {0}, powers = {0};
        for (size_t at = sub * VD; at < n; at += EX_LANES) {
            const vd x = ex_from(w, at, n);
            all += ex_abs(x);
            powers += x * x;
        }
        sizes[sub] = all;
        squares[sub] = powers;
    }
    out[0] = ex_reduce(sizes);
    out[1] = ex_reduce(squares);
}

/* The next vector of a row, to what its sums came to. */
EI_FORCE void ex_next_sum(vd x, vd *sum, vd *rest, vd *most, vd *sizes, vd *squares)
{
    const vd size = ex_abs(x);
    ex_two_add(sum, rest, x);
    *most = v_select(V_MASK(size > *most), size, *most);
    *sizes += size;
    *squares += x * x;
}

EI_FN double ex_float_sums(const float *w, size_t n, double hi[EX_LANES], double lo[EX_LANES], double out[2])
{
    vd sums[EX_SUBS], rests[EX_SUBS], sizes[EX_SUBS], squares[EX_SUBS], most[EX_SUBS];
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        vd one = {0}, two = {0}, left = {0}, right = {0}; /* as ex_sum: every other eight */
        vd all = {0}, powers = {0}, greatest = {0};
        size_t at = sub * VD;
        for (; at + EX_LANES < n; at += 2 * EX_LANES) {
            ex_next_sum(ex_from_floats(w, at, n), &one, &left, &greatest, &all, &powers);
            ex_next_sum(ex_from_floats(w, at + EX_LANES, n), &two, &right, &greatest, &all, &powers);
        }
        if (at < n)
            ex_next_sum(ex_from_floats(w, at, n), &one, &left, &greatest, &all, &powers);
        ex_two_add(&one, &left, two);
        sums[sub] = one;
        rests[sub] = left + right;
        sizes[sub] = all;
        squares[sub] = powers;
        most[sub] = greatest;
    }
    memcpy(hi, sums, sizeof sums);
    memcpy(lo, rests, sizeof rests);
    out[0] = ex_reduce(sizes);
    out[1] = ex_reduce(squares);
    double found[EX_LANES], greatest = 0.0;
    memcpy(found, most, sizeof most);
    for (int l = 0; l < EX_LANES; l++)
        greatest = found[l] > greatest ? found[l] : greatest;
    return greatest;
}

EI_FN double ex_total(const double *x, size_t n)
{
    vd sums[EX_SUBS];
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        vd one = {0}, two = {0}; /* every other eight: neither waits for the other */
        size_t at = sub * VD;
        for (; at + EX_LANES < n; at += 2 * EX_LANES) {
            one += ex_from(x, at, n);
            two += ex_from(x, at + EX_LANES, n);
        }
        if (at < n)
            one += ex_from(x, at, n);
        sums[sub] = one + two;
    }
    return ex_reduce(sums);
}

EI_FN double ex_envelope(const double *width, size_t n, double scale)
{
    vd sum[EX_SUBS];
    const vd one = (vd){0} + 1.0;
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        vd all = {0};
        for (size_t at = sub * VD; at < n; at += EX_LANES) {
            const vd x = ex_from(width, at, n), square = x * x * scale;
            all += v_select(ex_below_zero(square - one), square, one);
        }
        sum[sub] = all;
    }
    return ex_reduce(sum);
}

/* The first `count` (a constant when inlined) sums of powers. */
EI_FORCE void ex_some_powers(const double *width, size_t n, double scale, const int count, double *out)
{
    vd sums[EI_EXACT_POWERS][EX_SUBS];
    const vd one = (vd){0} + 1.0;
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        vd acc[EI_EXACT_POWERS];
        for (int m = 0; m < count; m++)
            acc[m] = (vd){0};
        for (size_t at = sub * VD; at < n; at += EX_LANES) {
            vd x = ex_from(width, at, n) * scale;
            x = V_REAL(V_BITS(x) & ~ex_below_zero(one - x));
            const vd square = x * x;
            vd power = square;
            for (int m = 0; m < count; m++) {
                acc[m] += power;
                power *= square;
            }
        }
        for (int m = 0; m < count; m++)
            sums[m][sub] = acc[m];
    }
    for (int m = 0; m < count; m++)
        out[m] = ex_reduce(sums[m]);
}

EI_FN void ex_power_sums(const double *width, size_t n, double scale, size_t n_powers, double *out)
{
    if (n_powers <= 6)
        ex_some_powers(width, n, scale, 6, out);
    else if (n_powers <= 8)
        ex_some_powers(width, n, scale, 8, out);
    else if (n_powers <= 10)
        ex_some_powers(width, n, scale, 10, out);
    else if (n_powers <= 12)
        ex_some_powers(width, n, scale, 12, out);
    else
        ex_some_powers(width, n, scale, EI_EXACT_POWERS, out);
}

EI_FN void ex_damp(const double *coefficient, size_t n_powers, size_t n_waves, double last, double *phi)
{
    for (size_t q = 0; q < n_waves; q += VD) {
        const vd u = ex_odds(q) / last, square = u * u;
        vd sum = {0};
        for (size_t m = n_powers; m-- > 0;)
            sum = sum * square + coefficient[m];
        vd exponent = -sum * square;
        const vu far = V_MASK(exponent < (vd){0} - 700.0);
        exponent = V_REAL(V_BITS(exponent) & ~far);
        const vd factor = V_REAL(V_BITS(v_exp(exponent)) & ~far);
        *(vd *)(phi + q) *= factor;
    }
}

EI_FN void ex_moments(const double *phi, size_t n_waves, double step, size_t n, double *out)
{
    vd sums[EI_EXACT_TERMS + 2][EX_SUBS];
    memset(sums, 0, sizeof sums);
    const vd one = (vd){0} + 1.0;
    for (size_t q = 0; q < n_waves; q += EX_LANES) {
        for (size_t sub = 0; sub < EX_SUBS; sub++) {
            const size_t at = q + sub * VD;
            const vd odds = ex_odds(at), y = odds * step;
            const vd size = ex_abs(*(const vd *)(phi + at));
            vd term = size / (odds * 1.5707963267948966 * (one - y));
            term = V_REAL(V_BITS(term) & V_MASK(size > (vd){0}));
            for (size_t k = 0; k < n; k++) {
                sums[k][sub] += term;
                term *= y;
            }
        }
    }
    for (size_t k = 0; k < n; k++)
        out[k] = ex_reduce(sums[k]);
}

EI_FN void ex_derivatives(const double *sine, const double *cosine, size_t stride, size_t n, double step,
                          const double *phi, size_t n_waves, size_t n_terms, double *out)
{
    for (size_t i = 0; i < n; i += VD) {
        vd acc[EI_EXACT_TERMS + 1];
        for (size_t k = 0; k <= n_terms; k++)
            acc[k] = (vd){0};
        for (size_t q = n_waves; q-- > 0;) { /* from the small terms to the great */
            const double turn = (2.0 * (double)q + 1.0) * step;
            const vd s = *(const vd *)(sine + q * stride + i), c = *(const vd *)(cosine + q * stride + i);
            double f = phi[q];
            acc[0] += s * f;
            for (size_t k = 1; k < n_terms; k += 2) { /* sin turns into cos, -sin, -cos, sin */
                f *= turn;
                acc[k] += c * f;
                f *= -turn;
                acc[k + 1] += s * f;
            }
        }
        for (size_t k = 0; k <= n_terms; k++)
            *(vd *)(out + k * n + i) = acc[k];
    }
}

EI_FN void ex_tilted(const ei_exact_expansion *row, size_t n_terms, const double *most_beta,
                     const double *radius, size_t n_radii, double enough, double *slope, double *rest)
{
    const vd zero = {0}, one = zero + 1.0;
    double inverse[EI_EXACT_TERMS + 2]; /* of counting numbers */
    for (size_t k = 1; k <= n_terms + 1; k++)
        inverse[k] = 1.0 / (double)k;
    for (size_t c = 0; c < row->n_cells; c += VD) {
        const double *term = row->term + c / EX_LANES * EX_LANES * EI_EXACT_TERMS + c % EX_LANES;
        const vd base = *(const vd *)(row->base + c), sign = *(const vd *)(row->sign + c);
        const vu some = ~V_MASK(sign == zero) & V_MASK(base > zero);
        const vd p = v_select(some, base, one);
        vd share[EI_EXACT_TERMS + 1], most[EI_EXACT_TERMS + 1], tilted[EI_EXACT_TERMS + 1];
        share[0] = most[0] = one;
        for (size_t k = 1; k <= n_terms; k++) {
            share[k] = V_REAL(V_BITS(*(const vd *)(term + (k - 1) * EX_LANES) / p) & some);
            most[k] = ex_abs(share[k]) * most_beta[k - 1];
            tilted[k] = zero;
        }
        for (size_t i = 0; i < row->n_pairs + (size_t)row->middle; i++) {
            const double *beta = row->beta + i * EI_EXACT_TERMS;
            vd x[EI_EXACT_TERMS + 1], e[EI_EXACT_TERMS + 1];
            x[0] = e[0] = one;
            for (size_t k = 1; k <= n_terms; k++)
                x[k] = share[k] * beta[k - 1];
            for (size_t k = 1; k <= n_terms; k++)
                e[k] = e[k - 1] * (x[1] * -inverse[k]);
            for (size_t k = 2; k <= n_terms; k++) {
                vd y = e[k], odd = x[1] * e[k - 1];
                size_t j = 2;
                for (; j < k; j += 2) {
                    y += x[j] * e[k - j];
                    odd += x[j + 1] * e[k - j - 1];
                }
                if (j == k)
                    y += x[k];
                const vd size = ex_abs(y + odd);
                tilted[k] = v_select(V_MASK(size > tilted[k]), size, tilted[k]);
            }
        }
        *(vd *)(slope + c) = most[1];
        vu open = ~(vu){0};
        for (size_t i = 0; i < n_radii; i++) {
            if (!ex_any(open)) {
                *(vd *)(rest + i * row->n_cells + c) = zero;
                continue;
            }
            const vd angle = most[1] * radius[i];
            const vu far = V_MASK(angle > zero + 30.0);
            const vd e = v_exp(V_REAL(V_BITS(-angle) & ~far));
            vd sum = zero;
            for (size_t k = n_terms; k > 1; k--)
                sum = (sum + tilted[k]) * radius[i];
            sum *= radius[i];
            /* Beyond n_terms: sum over j of most[j] radius^j angle^m / m!, m = n_terms + 1 - j, and
             * exp(angle) times as much. */
            vd behind = zero, power = one;
            for (size_t j = 0; j <= n_terms; j++) {
                behind = (behind + most[j] * power) * (angle * inverse[n_terms + 1 - j]);
                power *= radius[i];
            }
            sum += behind / e;
            sum = V_REAL(V_BITS(v_select(far, zero + 2.0, sum)) & open);
            *(vd *)(rest + i * row->n_cells + c) = sum;
            open &= ~V_MASK(sum <= zero + enough);
        }
    }
}

EI_FN double ex_interpolant(const double *c, size_t n_terms, double most, double top,
                            const double *width, size_t n, double *out)
{
    const double scale = 2.0 / (most * most);
    const vd zero = {0}, upto = zero + most, highest = zero + top;
    vd sums[EX_SUBS];
    for (size_t sub = 0; sub < EX_SUBS; sub++) {
        vd total[2] = {zero, zero};
        for (size_t at = sub * VD; at < n; at += EX_LANES) {
            const vd x = ex_from(width, at, n), square = x * x, t = square * scale - 1.0;
            vd value = zero + c[n_terms - 1];
            for (size_t k = n_terms - 1; k-- > 0;)
                value = value * t + c[k];
            value *= square;
            value = v_select(ex_below_zero(highest - value), highest, value);
            value = V_REAL(V_BITS(value) & ~(ex_below_zero(value) | ex_below_zero(upto - x)));
            ex_to(out, at, n, value);
            total[0] += value; /* as ex_total */
            const vd other = total[0];
            total[0] = total[1];
            total[1] = other;
        }
        sums[sub] = total[0] + total[1];
    }
    return ex_reduce(sums);
}
