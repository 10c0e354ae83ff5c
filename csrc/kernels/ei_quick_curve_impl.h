/* Sigmoid and tanh of quick layers where a register's lanes can be looked up; included by
 * ei_quick_impl.h. */

#if defined(__x86_64__) && EI_VBYTES == 64

/* tanh about 0, 1/2, ..., 15/2: polynomials, the constant first, that are right at Chebyshev's six points of
 * 1/4 to either side. With what is beyond the last one cut off they are within 4.6e-7. */
static const float quick_curve[6][16] = {
    {0.0f, 0.462116778f, 0.761594296f, 0.905148327f, 0.964027584f, 0.986614287f, 0.995054722f,
     0.998177886f, 0.999329329f, 0.999753237f, 0.999909222f, 0.999966621f, 0.999987721f,
     0.99999547f, 0.999998331f, 0.999999404f},
    {0.999999583f, 0.786447942f, 0.419974357f, 0.180706605f, 0.0706508234f, 0.0265922267f,
     0.00986603741f, 0.003640885f, 0.00134095084f, 0.000493517437f, 0.000181583251f,
     6.68045759e-05f, 2.45765495e-05f, 9.04127774e-06f, 3.32610966e-06f, 1.22360871e-06f},
    {3.02036517e-16f, -0.3633219f, -0.319890231f, -0.163582087f, -0.0681090802f, -0.0262346976f,
     -0.00981642585f, -0.00363391335f, -0.00133992231f, -0.00049334747f, -0.000181548952f,
     -6.67957793e-05f, -2.45738302e-05f, -9.04034732e-06f, -3.32577702e-06f, -1.22348752e-06f},
    {-0.333218962f, -0.0942617804f, 0.103598453f, 0.0878248736f, 0.0421104804f, 0.0170208365f,
     0.00647982722f, 0.00241391012f, 0.000892132986f, 0.000328754424f, 0.000121017452f,
     4.45300502e-05f, 1.63830719e-05f, 6.02718274e-06f, 2.21730193e-06f, 8.15703174e-07f},
    {3.29615214e-14f, 0.16000548f, 0.0294408556f, -0.0242929514f, -0.0179031957f,
     -0.00811493769f, -0.00321058277f, -0.00121256418f, -0.000450384017f, -0.000166272337f,
     -6.12475123e-05f, -2.25424428e-05f, -8.29435612e-06f, -3.05151934e-06f, -1.12261773e-06f,
     -4.12991369e-07f},
    {0.128414333f, -0.0246280506f, -0.0460577905f, -0.00303013623f, 0.00471881544f,
     0.00286452519f, 0.00122730015f, 0.000476096116f, 0.000178532107f, 6.6139437e-05f,
     2.43938939e-05f, 8.98248527e-06f, 3.30561829e-06f, 1.21622531e-06f, 4.47444876e-07f,
     1.64608849e-07f},
};

EI_FORCE __m512 quick_tanh_of(__m512 z)
{
    const __m512 magic = _mm512_set1_ps(6291456.0f); /* what is added to it is rounded to halves */
    const __m512 size = _mm512_range_ps(z, _mm512_set1_ps(7.749f), 0x0a); /* the smaller size */
    const __m512 rounded = _mm512_add_ps(size, magic);
    const __m512i at = _mm512_castps_si512(rounded); /* its lowest four bits are looked at */
    const __m512 u = _mm512_sub_ps(size, _mm512_sub_ps(rounded, magic));
    __m512 p = _mm512_permutexvar_ps(at, _mm512_loadu_ps(quick_curve[5]));
    EI_UNROLL(5)
    for (int power = 4; power >= 0; power--)
        p = _mm512_fmadd_ps(p, u, _mm512_permutexvar_ps(at, _mm512_loadu_ps(quick_curve[power])));
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
        _mm512_castps_si512(p), _mm512_castps_si512(z), _mm512_set1_epi32(INT32_MIN), 0xd8));
}

/* 16 values of quick_activate. */
EI_FORCE void quick_curve_of(int tanh, float *z, float *error)
{
    const __m512 half = _mm512_set1_ps(0.5f), wrong = _mm512_loadu_ps(error);
    __m512 value = _mm512_loadu_ps(z), steep;
    if (tanh) { /* 1 - value^2 + 2 wrong, as below */
        value = quick_tanh_of(value);
        steep = _mm512_add_ps(_mm512_add_ps(wrong, wrong), _mm512_set1_ps(1.000004f));
    } else { /* value (1 - value) + wrong */
        value = _mm512_fmadd_ps(quick_tanh_of(_mm512_mul_ps(value, half)), half, half);
        steep = _mm512_add_ps(_mm512_add_ps(wrong, value), _mm512_set1_ps(2e-6f));
    }
    steep = _mm512_fnmadd_ps(value, value, steep);
    _mm512_storeu_ps(z, value);
    _mm512_storeu_ps(error, _mm512_fmadd_ps(wrong, steep, _mm512_set1_ps(EI_CURVE)));
}

EI_FN void quick_curves(int activation, float *z, float *error, size_t n)
{
    if (activation == EI_TANH)
        for (size_t i = 0; i < n; i += 16)
            quick_curve_of(1, z + i, error + i);
    else
        for (size_t i = 0; i < n; i += 16)
            quick_curve_of(0, z + i, error + i);
}

#endif
