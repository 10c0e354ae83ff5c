/* What is done once for a whole row of inputs (exact/ei_row.c, ei_plan.c, ei_series.c, ei_between.c);
 * included by ei_exact_impl.h. */

EI_FORCE vd ex_abs(vd x) { return V_REAL(V_BITS(x) & 0x7fffffffffffffffull); }

/* Up to a vector of numbers from `at` on, and zeros behind the n there are. */
EI_FORCE vd ex_from(const double *w, size_t at, size_t n)
{
    return n - at < VD ? ex_some(w + at, n - at) : *(const vd *)(w + at);
}

/* As many of them as there is room for before n. */
EI_FORCE void ex_to(double *out, size_t at, size_t n, vd x)
{
    if (n - at < VD)
        memcpy(out + at, &x, (n - at) * sizeof(double));
    else
        *(vd *)(out + at) = x;
}

EI_FN void ex_widths(const double *w, size_t n, double divisor, double negligible, double *out,
                     double sums[3])
{
    vd sum[EX_SUBS], squares[EX_SUBS], count[EX_SUBS];
    memset(sum, 0, sizeof sum);
    memset(squares, 0, sizeof squares);
    memset(count, 0, sizeof count);
    const vd zero = {0}, one = zero + 1.0;
    const int usual = divisor > 1e-290 && divisor < 1e290; /* so is its inverse */
    const double factor = usual ? 1.0 / divisor : 1.0;
    for (size_t i = 0; i < n; i += EX_LANES) {
        for (size_t sub = 0; sub < EX_SUBS && i + sub * VD < n; sub++) {
            const size_t at = i + sub * VD;
            vd a = ex_abs(ex_from(w, at, n));
            a = usual ? a * factor : a / divisor;
            a = V_REAL(V_BITS(a) & ~V_MASK(a < zero + negligible));
            sum[sub] += a;
            squares[sub] += a * a;
            count[sub] += V_REAL(V_BITS(one) & V_MASK(a > zero));
            ex_to(out, at, n, a);
        }
    }
    sums[0] = ex_reduce(sum);
    sums[1] = ex_reduce(squares);
    sums[2] = ex_reduce(count);
}

EI_FN void ex_sizes(const double *w, size_t n, double out[2])
{
    vd sizes[EX_SUBS], squares[EX_SUBS];
    memset(sizes, 0, sizeof sizes);
    memset(squares, 0, sizeof squares);
    for (size_t i = 0; i < n; i += EX_LANES) {
        for (size_t sub = 0; sub < EX_SUBS && i + sub * VD < n; sub++) {
            const vd x = ex_from(w, i + sub * VD, n);
            sizes[sub] += ex_abs(x);
            squares[sub] += x * x;
        }
    }
    out[0] = ex_reduce(sizes);
    out[1] = ex_reduce(squares);
}

EI_FN double ex_total(const double *x, size_t n)
{
    vd sums[2][EX_SUBS]; /* every other eight: neither waits for the other */
    memset(sums, 0, sizeof sums);
    for (size_t i = 0; i < n; i += EX_LANES) {
        for (size_t sub = 0; sub < EX_SUBS && i + sub * VD < n; sub++)
            sums[i / EX_LANES % 2][sub] += ex_from(x, i + sub * VD, n);
    }
    for (size_t sub = 0; sub < EX_SUBS; sub++)
        sums[0][sub] += sums[1][sub];
    return ex_reduce(sums[0]);
}

EI_FN double ex_envelope(const double *width, size_t n, double scale)
{
    vd sum[EX_SUBS];
    memset(sum, 0, sizeof sum);
    const vd one = (vd){0} + 1.0;
    for (size_t i = 0; i < n; i += EX_LANES) {
        for (size_t sub = 0; sub < EX_SUBS && i + sub * VD < n; sub++) {
            const vd x = ex_from(width, i + sub * VD, n), square = x * x * scale;
            sum[sub] += v_select(V_MASK(square < one), square, one);
        }
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
            x = V_REAL(V_BITS(x) & ~V_MASK(x > one));
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

EI_FN void ex_derivatives(const double *points, size_t n, double half_step, double unit,
                          const double *phi, size_t n_waves, size_t n_terms, double *out)
{
    for (size_t i = 0; i < n; i += VD) {
        const vd s = *(const vd *)(points + i) * half_step;
        vd acc[EI_EXACT_TERMS + 1];
        for (size_t k = 0; k <= n_terms; k++)
            acc[k] = (vd){0};
        for (size_t q = n_waves; q-- > 0;) { /* from the small terms to the great */
            const double odd = 2.0 * (double)q + 1.0, step = odd * half_step * unit;
            double f = phi[q] / (1.5707963267948966 * odd);
            vd sine, cosine;
            ex_sincos(s * odd, &sine, &cosine);
            acc[0] += sine * f;
            for (size_t k = 1; k < n_terms; k += 2) { /* sin turns into cos, -sin, -cos, sin */
                f *= step;
                acc[k] += cosine * f;
                f *= -step;
                acc[k + 1] += sine * f;
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
            vd x[EI_EXACT_TERMS + 1], e[EI_EXACT_TERMS + 1], y[EI_EXACT_TERMS + 1];
            x[0] = e[0] = one;
            for (size_t k = 1; k <= n_terms; k++)
                x[k] = share[k] * beta[k - 1];
            for (size_t k = 1; k <= n_terms; k++)
                e[k] = e[k - 1] * x[1] * -inverse[k];
            for (size_t k = 2; k <= n_terms; k++)
                y[k] = e[k] + x[1] * e[k - 1];
            for (size_t j = 2; j <= n_terms; j++)
                for (size_t k = j; k <= n_terms; k++)
                    y[k] += x[j] * e[k - j];
            for (size_t k = 2; k <= n_terms; k++) {
                const vd size = ex_abs(y[k]);
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

EI_FN void ex_chebyshev(const double *c, size_t n_terms, double most, double top, const double *width,
                        size_t n, double *out)
{
    const double scale = 2.0 / (most * most);
    const vd zero = {0}, upto = zero + most, highest = zero + top;
    for (size_t i = 0; i < n; i += VD) {
        const vd x = ex_from(width, i, n), square = x * x;
        const vd t = square * scale - 1.0, twice = t + t;
        vd one = {0}, two = {0}; /* Clenshaw's sums */
        for (size_t k = n_terms; k-- > 1;) {
            const vd next = (twice * one - two) + c[k];
            two = one;
            one = next;
        }
        vd value = square * ((t * one - two) + c[0]);
        value = v_select(V_MASK(value < highest), value, highest);
        value = V_REAL(V_BITS(value) & V_MASK(value > zero) & ~V_MASK(x > upto));
        ex_to(out, i, n, value);
    }
}
