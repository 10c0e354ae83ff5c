/* Sigmoid and tanh of quick layers where a register's lanes can be looked up; included by
 * ei_quick_impl.h. */

#if defined(__x86_64__) && EI_VBYTES == 64

/* tanh about 0, 1/4, ..., 31/4: polynomials, the constant first, that are right at Chebyshev's five points
 * of 1/8 to either side. With what is beyond the last one cut off they are within 3e-7. */
static const float quick_curve[5][32] = {
    {0.0f, 0.244918659f, 0.462117165f, 0.635148942f, 0.761594176f, 0.848283648f,
     0.905148268f, 0.941375554f, 0.964027584f, 0.978026092f, 0.986614287f, 0.991859734f,
     0.995054781f, 0.996997654f, 0.998177886f, 0.998894453f, 0.999329329f, 0.999593139f,
     0.999753237f, 0.999850333f, 0.999909222f, 0.999944925f, 0.999966621f, 0.999979734f,
     0.999987721f, 0.999992549f, 0.99999547f, 0.999997258f, 0.999998331f, 0.999998987f,
     0.999999404f, 0.999999642f},
    {0.999989927f, 0.940009356f, 0.78644979f, 0.596590638f, 0.419977874f, 0.28041634f,
     0.180706844f, 0.113811813f, 0.0706504583f, 0.0434646159f, 0.0265920088f, 0.0162141416f,
     0.00986594427f, 0.00599565636f, 0.00364084868f, 0.00220987014f, 0.0013409371f,
     0.000813534134f, 0.000493512372f, 0.000299359468f, 0.000181581388f, 0.000110138608f,
     6.6803892e-05f, 4.05191422e-05f, 2.45762967e-05f, 1.49063499e-05f, 9.04118497e-06f,
     5.48376556e-06f, 3.32607556e-06f, 2.01736816e-06f, 1.22359609e-06f, 7.421487e-07f},
    {1.61216853e-16f, -0.230221927f, -0.363427162f, -0.378920764f, -0.319851428f, -0.237872496f,
     -0.163566843f, -0.107140072f, -0.0681093335f, -0.0425097682f, -0.0262362156f, -0.016082257f,
     -0.00981721841f, -0.00597769488f, -0.00363423908f, -0.00220744195f, -0.00134004687f,
     -0.000813208637f, -0.00049339392f, -0.000299316685f, -0.000181566124f, -0.000110133289f,
     -6.68021166e-05f, -4.05185965e-05f, -2.45761621e-05f, -1.49063399e-05f, -9.04120498e-06f,
     -5.48378785e-06f, -3.32609261e-06f, -2.01737976e-06f, -1.22360359e-06f, -7.42153475e-07f},
    {-0.330745548f, -0.255543172f, -0.0947245657f, 0.0405651331f, 0.102700762f, 0.107934445f,
     0.0877630487f, 0.0629931316f, 0.0422021933f, 0.0271652788f, 0.017076835f, 0.0105838273f,
     0.00650385674f, 0.00397612946f, 0.00242323638f, 0.00147404568f, 0.000895630918f,
     0.000543808506f, 0.000330050359f, 0.000200264374f, 0.000121495446f, 7.37013688e-05f,
     4.47060593e-05f, 2.71170375e-05f, 1.64478461e-05f, 9.97631832e-06f, 6.05101468e-06f,
     3.67015241e-06f, 2.22606945e-06f, 1.3501832e-06f, 8.18928754e-07f, 4.96705752e-07f},
    {3.54111272e-14f, 0.138328522f, 0.163694128f, 0.0997291952f, 0.0280796066f, -0.0122913392f,
     -0.0248257164f, -0.0234805588f, -0.0178941078f, -0.0123366183f, -0.00806178339f,
     -0.00511065125f, -0.0031828417f, -0.00196146057f, -0.00120117108f, -0.000732792891f,
     -0.000446027901f, -0.000271106954f, -0.000164647296f, -9.9941899e-05f, -6.06466347e-05f,
     -3.67946413e-05f, -2.2320979e-05f, -1.35397941e-05f, -8.21282811e-06f, -4.98152576e-06f,
     -3.02152102e-06f, -1.83267161e-06f, -1.11158204e-06f, -6.74210014e-07f, -4.08932607e-07f,
     -2.48030574e-07f},
};

EI_FORCE __m512 quick_row(int power, __m512i at)
{
    return _mm512_permutex2var_ps(_mm512_loadu_ps(quick_curve[power]), at,
                                  _mm512_loadu_ps(quick_curve[power] + 16));
}

EI_FORCE __m512 quick_tanh_of(__m512 z)
{
    const __m512 magic = _mm512_set1_ps(3145728.0f); /* what is added to it is rounded to quarters */
    const __m512 size = _mm512_min_ps(_mm512_abs_ps(z), _mm512_set1_ps(7.874f));
    const __m512 rounded = _mm512_add_ps(size, magic);
    const __m512i at = _mm512_castps_si512(rounded); /* its lowest five bits are looked at */
    const __m512 u = _mm512_sub_ps(size, _mm512_sub_ps(rounded, magic));
    __m512 p = quick_row(4, at);
    p = _mm512_fmadd_ps(p, u, quick_row(3, at));
    p = _mm512_fmadd_ps(p, u, quick_row(2, at));
    p = _mm512_fmadd_ps(p, u, quick_row(1, at));
    p = _mm512_fmadd_ps(p, u, quick_row(0, at));
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
        _mm512_castps_si512(p), _mm512_castps_si512(z), _mm512_set1_epi32(INT32_MIN), 0xd8));
}

/* quick_activate of these two: the next 16 of n values. */
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
    size_t i = 0;
    if (activation == EI_TANH)
        for (; i + 32 <= n; i += 32) {
            quick_curve_of(1, z + i, error + i);
            quick_curve_of(1, z + i + 16, error + i + 16);
        }
    for (; i < n; i += 16)
        quick_curve_of(activation == EI_TANH, z + i, error + i);
}

#endif
