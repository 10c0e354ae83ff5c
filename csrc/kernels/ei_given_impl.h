/* Entropies of single outputs given cells of inputs: the hot loops, written once; included after
 * ei_exact_impl.h, whose functions it uses. */
#include "kernels/ei_given_kernels.h"

enum { GV = EI_GIVEN_LANES, GS = GV / VD };

EI_FORCE vd gv_places(size_t q)
{
    vd x = {0};
    for (int i = 0; i < VD; i++)
        V_LANE(x, i) = (double)(q + (size_t)i);
    return x;
}

EI_FORCE vd gv_abs(vd a) { return V_REAL(V_BITS(a) & 0x7fffffffffffffffull); }

/* sin(x) / x; 1 near 0. */
EI_FORCE vd gv_sinc(vd x)
{
    vd s, c;
    ex_sincos(x, &s, &c);
    const vu small = V_MASK(gv_abs(x) < 1e-9);
    return v_select(small, (vd){0} + 1.0, s / v_select(small, (vd){0} + 1.0, x));
}

/* sin(bins x) / (bins sin x): where sin x is 0, cos(bins x) / cos(x), both 1 or -1. */
EI_FORCE vd gv_dirichlet(vd x, double bins)
{
    vd s, c, many, along;
    ex_sincos(x, &s, &c);
    ex_sincos(bins * x, &many, &along);
    const vu small = V_MASK(gv_abs(s) < 1e-9);
    const vd one = (vd){0} + 1.0;
    return v_select(small, along, many) / v_select(small, c, bins * v_select(small, one, s));
}

EI_FN void gv_products(const double *size, size_t n, double bins, double step, size_t first,
                       size_t last, double *out)
{
    for (size_t q = first; q < last; q += VD) {
        const vd w = gv_places(q) * step;
        vd product = (vd){0} + 1.0;
        for (size_t k = 0; k < n; k++) {
            const vd x = w * size[k];
            product *= bins > 0.0 ? gv_dirichlet(x, bins) : gv_sinc(x);
            if (k % 4 == 3 && !ex_any(V_MASK(gv_abs(product) > EI_GIVEN_ZERO)))
                break;
        }
        *(vd *)(out + q) = v_select(V_MASK(gv_abs(product) > EI_GIVEN_ZERO), product, (vd){0});
    }
}

EI_FN void gv_turns(double angle, size_t n, double *sine, double *cosine)
{
    for (size_t q = 0; q < n; q += VD) {
        vd s, c;
        ex_sincos(gv_places(q) * angle, &s, &c);
        *(vd *)(sine + q) = s;
        *(vd *)(cosine + q) = c;
    }
}

/* One butterfly: a + w b, a - w b, eight lanes of each. */
EI_FORCE void gv_butterfly(double *re, double *im, size_t a, size_t b, double c, double s)
{
    for (int i = 0; i < GS; i++) {
        vd *ra = (vd *)(re + a * GV) + i, *ia = (vd *)(im + a * GV) + i;
        vd *rb = (vd *)(re + b * GV) + i, *ib = (vd *)(im + b * GV) + i;
        const vd x = *rb * c - *ib * s, y = *rb * s + *ib * c;
        *rb = *ra - x;
        *ib = *ia - y;
        *ra += x;
        *ia += y;
    }
}

EI_FN void gv_transform(double *re, double *im, size_t n, const double *sine, const double *cosine)
{
    for (size_t half = 1; half < n; half *= 2) {
        const size_t stride = n / (2 * half);
        for (size_t start = 0; start < n; start += 2 * half)
            for (size_t k = 0; k < half; k++)
                gv_butterfly(re, im, start + k, start + k + half, cosine[k * stride],
                             sine[k * stride]);
    }
}

EI_FN void gv_surprise(const double *lanes, size_t n, double *h, double *total)
{
    for (size_t j = 0; j < n; j++) {
        vd plogp[GS], p[GS];
        for (int i = 0; i < GS; i++) {
            const vd x = *(const vd *)(lanes + j * GV + (size_t)(i * VD));
            p[i] = v_select(V_MASK(x > 0.0), x, (vd){0});
            plogp[i] = ex_xlog2(p[i]);
        }
        h[j] -= ex_reduce(plogp);
        total[j] += ex_reduce(p);
    }
}

static const ei_given_kernels EI_CAT(ei_given_kernels, EI_NAME) = {
    .products = gv_products,
    .turns = gv_turns,
    .transform = gv_transform,
    .surprise = gv_surprise,
};
