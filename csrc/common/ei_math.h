/* Elementary functions as plain arithmetic.
 *
 * libm picks different code on different CPUs, so its last digit is not the same everywhere. These
 * are sums and products in a fixed order: the same bits on every instruction set, and loops over
 * them vectorise. The stated errors are checked in tests/test_core.py.
 */
#ifndef EI_MATH_H
#define EI_MATH_H

#include "common/ei_compiler.h"

#include <stdint.h>
#include <string.h>

#define EI_INLINE static EI_ALWAYS_INLINE

EI_INLINE double ei_from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

EI_INLINE uint64_t ei_to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* log(x) = e ln 2 + 2 atanh((m - 1) / (m + 1)), x = m 2^e, sqrt(1/2) < m <= sqrt 2.
 * The two parts are returned apart. x positive, finite and normal. */
EI_INLINE double ei_log_parts(double x, double *exponent)
{
    /* Adding the distance from sqrt(1/2) to 1 carries into the exponent just where m > sqrt 2. */
    uint64_t shifted = ei_to_bits(x) + (0x3ff0000000000000ull - 0x3fe6a09e667f3bcdull);
    double e = ei_from_bits((shifted >> 52) | 0x4330000000000000ull) - (4503599627370496.0 + 1023.0);
    double m = ei_from_bits((shifted & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull);
    double s = (m - 1.0) / (m + 1.0);
    double q = s * s;
    double p = 1.0 / 23.0;
    p = p * q + 1.0 / 21.0;
    p = p * q + 1.0 / 19.0;
    p = p * q + 1.0 / 17.0;
    p = p * q + 1.0 / 15.0;
    p = p * q + 1.0 / 13.0;
    p = p * q + 1.0 / 11.0;
    p = p * q + 1.0 / 9.0;
    p = p * q + 1.0 / 7.0;
    p = p * q + 1.0 / 5.0;
    p = p * q + 1.0 / 3.0;
    *exponent = e;
    return 2.0 * s + 2.0 * s * (q * p);
}

/* Base-2 logarithm, error below 4e-16 (1 + |log2 x|). x positive, finite and normal. */
EI_INLINE double ei_log2(double x)
{
    double e, l = ei_log_parts(x, &e);
    return e + l * 1.4426950408889634074;
}

/* Natural logarithm, same preconditions and error. */
EI_INLINE double ei_log(double x)
{
    double e, l = ei_log_parts(x, &e);
    return e * 0.69314718055994530942 + l;
}

/* exp(x), relative error below 4e-16; x is clamped to [-700, 700]. */
EI_INLINE double ei_exp(double x)
{
    x = x < -700.0 ? -700.0 : x;
    x = x > 700.0 ? 700.0 : x;
    double k = x * 1.4426950408889634074 + 6755399441055744.0; /* rounds to an integer */
    uint64_t n = ei_to_bits(k);
    k -= 6755399441055744.0;
    double r = (x - k * 0.69314718036912381649) - k * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r;
    return (1.0 + p) * ei_from_bits((n + 1023) << 52);
}

/* Chebyshev coefficients of (1 + x) exp(x^2) erfc(x) in t = (x - 2) / (x + 2), x >= 0; computed
 * with 40 digits from the function's values at 64 nodes. */
static const double ei_erfc_chebyshev[28] = {
    1.5533827552141598222,
    -0.22836472289031625551,
    0.0078657223265960052074,
    0.010488864927603514264,
    -0.0025468631391996633374,
    -0.000028878658172054085206,
    0.000087999437989666001294,
    -3.4745017165396843926e-7,
    -3.5980662238990515894e-6,
    -1.4381599404319033322e-7,
    1.5958722403552472785e-7,
    2.1492268688640918387e-8,
    -6.0666877321742036724e-9,
    -1.954937092727580694e-9,
    7.1536858987784539924e-11,
    1.287232118225773848e-10,
    1.7599922759007792189e-11,
    -5.0565968304848091718e-12,
    -2.1654727131652190062e-12,
    -1.0392975350294391094e-13,
    1.2986864745218391365e-13,
    3.7299696907612372977e-14,
    -7.0756262435001491625e-16,
    -3.0060414192794109616e-15,
    -7.1919740200845368801e-16,
    4.6706732045434014963e-17,
    7.0918423712075391332e-17,
    1.6170791079896452193e-17,
};

/* erfc(x), relative error below 1e-14 for |x| < 20. */
EI_INLINE double ei_erfc(double x)
{
    double a = x < 0.0 ? -x : x;
    double t = 2.0 * ((a - 2.0) / (a + 2.0));
    double b0 = 0.0, b1 = 0.0, b2;
    for (int i = 27; i > 0; i--) {
        b2 = b1;
        b1 = b0;
        b0 = t * b1 - b2 + ei_erfc_chebyshev[i];
    }
    double tail = 0.5 * t * b0 - b1 + 0.5 * ei_erfc_chebyshev[0];
    tail = tail * ei_exp(-a * a) / (1.0 + a);
    return x < 0.0 ? 2.0 - tail : tail;
}

#endif
