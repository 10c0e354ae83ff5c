/* Double-double arithmetic: unevaluated sums of two doubles, of about 104 bits. Finite arguments, far
 * from overflow; no operation's error is above 2^-102 times the sizes that it adds or multiplies, but
 * for underflow. */
#ifndef EI_DD_H
#define EI_DD_H

#include "common/ei_math.h"

typedef struct {
    double hi, lo;
} dd;

EI_INLINE dd two_sum(double a, double b)
{
    double s = a + b, t = s - a;
    return (dd){s, (a - (s - t)) + (b - t)};
}

/* Dekker, Numer. Math. 18, 1971. */
EI_INLINE dd two_product(double a, double b)
{
    double p = a * b, ca = a * 134217729.0, cb = b * 134217729.0;
    double a1 = ca - (ca - a), b1 = cb - (cb - b), a2 = a - a1, b2 = b - b1;
    return (dd){p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2};
}

EI_INLINE dd dd_add(dd a, dd b)
{
    dd s = two_sum(a.hi, b.hi);
    return two_sum(s.hi, s.lo + (a.lo + b.lo));
}

EI_INLINE dd dd_sub(dd a, dd b) { return dd_add(a, (dd){-b.hi, -b.lo}); }

EI_INLINE dd dd_mul(dd a, dd b)
{
    dd p = two_product(a.hi, b.hi);
    return two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

EI_INLINE dd dd_times(dd a, double b) { return dd_mul(a, (dd){b, 0.0}); }

EI_INLINE dd dd_div(dd a, dd b)
{
    const double first = a.hi / b.hi;
    dd rest = dd_sub(a, dd_times(b, first));
    const double second = rest.hi / b.hi;
    rest = dd_sub(rest, dd_times(b, second));
    dd q = two_sum(first, second);
    return two_sum(q.hi, q.lo + rest.hi / b.hi);
}

EI_INLINE dd dd_half(dd a) { return (dd){0.5 * a.hi, 0.5 * a.lo}; }

EI_INLINE int dd_less(dd a, dd b) { return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo); }

#endif
