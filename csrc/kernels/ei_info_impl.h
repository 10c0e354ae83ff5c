/* From counts to pointwise information; included by ei_kernels_impl.h. */

EI_FN void log2_of(const double *x, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        double v = x[i], l = ei_log2(v > 0.0 ? v : 1.0);
        out[i] = l;
    }
}

EI_FN uint64_t convert(const uint64_t *counts, size_t n, double *out, double *column,
                       uint64_t occupied[2])
{
    uint64_t sum = 0, some = 0, once = 0;
    for (size_t i = 0; i < n; i++) {
        double v = ei_from_bits(0x4330000000000000ull | counts[i]) - 4503599627370496.0;
        out[i] = v;
        column[i] += v;
        sum += counts[i];
        some += counts[i] != 0;
        once += counts[i] == 1;
    }
    occupied[0] += some;
    occupied[1] += once;
    return sum;
}

EI_FN void pointwise(const double *count, const double *log, const double *log_column, size_t n,
                     double log_row, double log_total, double *out, double sum[8],
                     double square[8])
{
    const vd none = {0};
    double s[8], q[8];
    memcpy(s, sum, sizeof s);
    memcpy(q, square, sizeof q);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l += VD) {
            const vd c = *(const vd *)(count + i + l);
            vd p = ((*(const vd *)(log + i + l) - log_row) - *(const vd *)(log_column + i + l)) +
                   log_total;
            p = V_REAL(V_BITS(p) & V_MASK(c > none));
            *(vd *)(out + i + l) = p;
            *(vd *)(s + l) += c * p;
            *(vd *)(q + l) += c * p * p;
        }
    for (size_t l = 0; i + l < n; l++) {
        double c = count[i + l];
        double p = ((log[i + l] - log_row) - log_column[i + l]) + log_total;
        p = c > 0.0 ? p : 0.0;
        out[i + l] = p;
        s[l] += c * p;
        q[l] += c * p * p;
    }
    memcpy(sum, s, sizeof s);
    memcpy(square, q, sizeof q);
}
