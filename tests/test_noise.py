"""Noise on outputs: against quadrature of other kinds, binned values' limits and closed forms."""

import itertools
import warnings
from fractions import Fraction
from math import e, factorial, log2, pi, prod

import numpy as np
import pytest

import eiplane
from eiplane.cli.main import main
from eiplane.pairwise.laws import SumLaw

FUNCTIONS = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "hardtanh": lambda z: np.clip(z, -1, 1),
    "ceil": np.ceil,
}


def nodes(cuts, count=20):
    """Gauss and Legendre between neighbouring cuts."""
    x, w = np.polynomial.legendre.leggauss(count)
    cuts = np.unique(cuts)
    half = np.diff(cuts)[:, None] / 2
    return (cuts[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


def gaussian_truth(weights, bias, f, std, bins, kinks=()):
    """Edges of a neuron of one or two inputs on (0, 1): nested quadrature of x, Simpson's of t."""
    edges = np.linspace(0, 1, 3 * bins + 1)
    if len(weights) == 1:
        x, w = nodes(
            [*edges, *((k - bias) / weights[0] for k in kinks if 0 < (k - bias) / weights[0] < 1)]
        )
        rows = [(x, w, bias + weights[0] * x)]
    else:
        rows = []
        for one, weight in zip(*nodes([*edges, *corners(weights, bias, kinks)]), strict=True):
            level = bias + weights[0] * one
            inner = [(k - level) / weights[1] for k in kinks]
            x, w = nodes([*edges, *(v for v in inner if 0 < v < 1)])
            rows.append((np.stack([np.full_like(x, one), x]), weight * w, level + weights[1] * x))
    xs = np.concatenate([np.atleast_2d(r[0]) for r in rows], axis=1)
    mass, y = np.concatenate([r[1] for r in rows]), f(np.concatenate([r[2] for r in rows]))
    t = np.arange(y.min() - 9 * std, y.max() + 9 * std, std / 14)
    t = t[: len(t) - 1 + len(t) % 2]
    simpson = np.where(np.arange(len(t)) % 2, 4.0, 2.0)
    simpson[[0, -1]] = 1.0
    simpson *= (t[1] - t[0]) / 3
    cells = [np.minimum((x * bins).astype(int), bins - 1) for x in xs]
    density = np.zeros((len(weights), bins, len(t)))
    for k, at in enumerate(t):
        g = mass * np.exp(-0.5 * ((at - y) / std) ** 2) / (std * np.sqrt(2 * pi))
        for a, cell in enumerate(cells):
            density[a, :, k] = np.bincount(cell, g, bins) * bins

    def entropy(p):
        return -np.sum(simpson * p * np.log2(np.maximum(p, 1e-300)), axis=-1)

    return np.array([entropy(p.mean(axis=0)) - entropy(p).mean() for p in density])


def corners(weights, bias, kinks):
    """Where a line at which f has a kink leaves the square, along the first input."""
    found = [(k - bias - weights[1] * v) / weights[0] for k in kinks for v in np.linspace(0, 1, 13)]
    return [v for v in found if 0 < v < 1]


@pytest.mark.parametrize("name", ["identity", "sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("weights", [[1.7], [1.3, -0.8], [2.0, 0.05]], ids=str)
def test_gaussian_noise_against_quadrature(name, weights):
    kinks = [0.0] if name == "relu" else []
    truth = gaussian_truth(weights, -0.3, FUNCTIONS[name], 0.15, 4, kinks)
    layer = eiplane.Layer([weights], [-0.3], name)
    found = eiplane.analyze([layer], measures="ei_parts", bins=4, noise=0.15)[0]
    np.testing.assert_allclose(found.ei_edges[0], truth, atol=1e-8)
    assert found.pairwise_ei.error_bound < 1e-8
    assert found.method == "exact"


def test_gaussian_noise_under_sensitivity():
    """One input alone, the other one at the baseline: a neuron of one input."""
    for name in ("identity", "sigmoid", "tanh", "relu"):
        f = FUNCTIONS[name]
        layer = eiplane.Layer([[1.3, -0.8]], [-0.3], name)
        found = eiplane.analyze(
            [layer], measures="sensitivity", bins=4, noise=("gaussian", 0.1), baseline=0.25
        )[0]
        kinks = [0.0] if name == "relu" else []
        truth = [
            gaussian_truth([w], -0.3 + 0.25 * other, f, 0.1, 4, kinks)[0]
            for w, other in ((1.3, -0.8), (-0.8, 1.3))
        ]
        np.testing.assert_allclose(found.sensitivity_edges[0], truth, atol=1e-8)


def sum_density(x, widths):
    """Density of a sum of centred uniforms by truncated powers, of fractions or floats."""
    n, total = len(widths), 0 * widths[0]
    for taken in itertools.product((0, 1), repeat=n):
        beyond = x + sum(widths) / 2 - sum(w for w, k in zip(widths, taken, strict=True) if k)
        power = np.maximum(beyond, 0.0) if isinstance(beyond, np.ndarray) else max(beyond, 0)
        total = total + (-1) ** sum(taken) * power ** (n - 1)
    return total / (factorial(n - 1) * prod(widths))


@pytest.mark.parametrize(
    "widths",
    [[1, 0.25], [1, 1, 1, 1], [1, 1e-5, 0.3, 0.7, 0.01], [1, 1e-9, 2e-9, 3],
     [64, 1, 2, 16, 32, 4, 8], [0.31, 0.77, 0.13, 0.55, 0.91, 0.42, 0.68]],
    ids=str,
)  # fmt: skip
def test_the_law_of_a_few_uniforms_in_fractions(widths, generator):
    law = SumLaw.of(np.array(widths, float))
    half = sum(widths) / 2
    x = np.concatenate([generator.uniform(-half, half, 40), law.knots[:20] * 0.999])
    parts = [Fraction(w) for w in widths]
    exact = [float(sum_density(Fraction(v), parts)) for v in x]
    np.testing.assert_allclose(law.values(x), exact, rtol=0, atol=1e-14 / max(widths))
    assert law.values(np.array([-1.001 * half, 1.001 * half])).tolist() == [0.0, 0.0]
    assert law.distribution(np.array([-half, 0.0, half])) == pytest.approx([0, 0.5, 1], abs=1e-14)


def summed_truth(weights, bias, f, std, bins, kinks):
    """Edges of a neuron of a few inputs, 0 to 1: the law of z by truncated powers, Simpson's of t.

    f is nothing but its values between kinks.
    """
    found = []
    for a, weight in enumerate(weights):
        others = [abs(w) for i, w in enumerate(weights) if i != a]
        law = [*others, abs(weight) / bins]
        signs = np.array(list(itertools.product((-0.5, 0.5), repeat=len(law))))
        rows = []
        for k in range(bins):
            at = bias + sum(w for i, w in enumerate(weights) if i != a) / 2
            at += weight * (k + 0.5) / bins
            ends = at + signs @ law
            inside = [v for v in kinks if ends.min() < v < ends.max()]
            fine = np.arange(ends.min(), ends.max(), std / 2)
            z, w = nodes([*np.round(ends, 13), *inside, *fine], 12)
            rows.append((f(z), w * sum_density(z - at, law)))
        low, high = min(y.min() for y, _ in rows), max(y.max() for y, _ in rows)
        t = np.arange(low - 9 * std, high + 9 * std, std / 12)
        t = t[: len(t) - 1 + len(t) % 2]
        simpson = np.where(np.arange(len(t)) % 2, 4.0, 2.0) * (t[1] - t[0]) / 3
        simpson[[0, -1]] /= 2
        density = [
            np.exp(-0.5 * ((t[:, None] - y) / std) ** 2) @ mass / (std * np.sqrt(2 * pi))
            for y, mass in rows
        ]
        entropies = [
            -(simpson * p * np.log2(np.maximum(p, 1e-300))).sum()
            for p in [np.mean(density, axis=0), *density]
        ]
        found.append(entropies[0] - np.mean(entropies[1:]))
    return np.array(found)


@pytest.mark.parametrize(
    ("weights", "name", "kinks"),
    [([0.9, -0.7, 0.4, 0.6], "relu", [0.0]), ([1.5, 0.8, -1.1, 0.9, 0.5], "hardtanh", [-1.0, 1.0]),
     ([1.1, 0.7, 2.0, -0.9], "ceil", [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]),
     ([2.0, 0.02, -0.03, 0.5], "relu", [0.0])],
    ids=["relu", "hardtanh", "a jump", "towering"],
)  # fmt: skip
def test_gaussian_noise_and_kinks_of_a_few_inputs(weights, name, kinks):
    layer = eiplane.Layer([weights], [-0.3], name)
    found = eiplane.analyze([layer], measures="ei_parts", bins=3, noise=0.1)[0]
    truth = summed_truth(weights, -0.3, FUNCTIONS[name], 0.1, 3, kinks)
    np.testing.assert_allclose(found.ei_edges[0], truth, atol=1e-8)
    assert found.pairwise_ei.error_bound < 1e-8


def test_pieces_and_waves_are_the_same():
    """Seven inputs are integrated over pieces, the eighth, of no effect, makes it waves."""
    weights = np.random.default_rng(4).normal(size=7)
    few, many = (
        eiplane.analyze([eiplane.Layer([row], [0.1], "relu")], measures="ei_parts", noise=0.1)[0]
        for row in (weights, [*weights, 1e-13])
    )
    np.testing.assert_allclose(many.ei_edges[0, :7], few.ei_edges[0], atol=1e-10)


@pytest.mark.parametrize("name", ["tanh", "relu", "identity"])
@pytest.mark.parametrize(
    "weights", [[1e-300], [1e-16], [1e-320, 1e-320], [1e-12] * 4, [1e-18] * 9], ids=str
)
@pytest.mark.parametrize("bias", [0.0, 0.1, 1e6])
def test_weights_that_do_next_to_nothing(weights, bias, name):
    """However narrow z is beside where it is: nothing, not what rounding makes of it."""
    found = eiplane.analyze([eiplane.Layer([weights], [bias], name)], noise=0.1, bins=3)[0]
    assert found.ei_parts == pytest.approx(0.0, abs=1e-12)
    assert found.sensitivity == pytest.approx(0.0, abs=1e-12)
    assert found.pairwise_ei.error_bound < 1e-8
    assert 0.0 <= found.output_entropy_bounds[1] < 1e-6


def uniform_information(laws, width):
    """I(bin; Y + noise) where Y given each bin is uniform on an interval: trapezoids, in full."""

    def at(t):  # density of the sum of two uniforms, one a bin
        rows = []
        for low, high in laws:
            short, long = sorted((high - low, width))
            ramp = (short + long) / 2 - np.abs(t - (low + high) / 2)
            rows.append(np.clip(ramp / short, 0, 1) / long)
        return np.array(rows)

    cuts = [v + s for low, high in laws for v in (low, high) for s in (-width / 2, width / 2)]
    # Many short panels towards every corner, where the integrand is like x log x.
    cuts = np.unique(np.round(cuts, 14))
    graded = [
        a + (b - a) * s
        for a, b in itertools.pairwise(cuts)
        for s in np.concatenate([0.5 * 0.4 ** np.arange(30.0), 1 - 0.5 * 0.4 ** np.arange(30.0)])
    ]
    t, w = nodes(np.concatenate([cuts, graded]), 10)
    p = at(t)

    def entropy(q):
        return -np.sum(w * q * np.log2(np.maximum(q, 1e-300)), axis=-1)

    return entropy(p.mean(axis=0)) - entropy(p).mean()


@pytest.mark.parametrize("width", [0.07, 0.3, 1.0])
def test_uniform_noise_in_closed_form(width):
    layer = eiplane.Layer([[1.3]], [-0.2], "identity")
    laws = [(-0.2 + 1.3 * k / 5, -0.2 + 1.3 * (k + 1) / 5) for k in range(5)]
    found = eiplane.analyze([layer], bins=5, noise=("uniform", width))[0]
    truth = uniform_information(laws, width)
    assert found.ei_parts == pytest.approx(truth, abs=1e-8)
    assert found.sensitivity == pytest.approx(truth, abs=1e-8)


def test_uniform_noise_of_two_inputs():
    """Densities of sums of three uniforms by the distribution of two; graded panels over t."""
    weights, width, bins = [0.9, 0.4], 0.25, 3

    def two(u, a, b):  # distribution function of a sum of two centred uniforms
        corners_ = [(a + b) / 2, (a - b) / 2, (b - a) / 2, -(a + b) / 2]
        signs = [-1, 1, 1, -1]
        parts = [-s * np.maximum(u + c, 0) ** 2 for s, c in zip(signs, corners_, strict=True)]
        return sum(parts) / (2 * a * b)

    truth = []
    for a in (0, 1):
        own, other = weights[a] / bins, weights[1 - a]
        knots = [s @ np.array([own, other, width]) / 2 for s in
                 np.array(list(itertools.product((-1, 1), repeat=3)))]  # fmt: skip
        middles = [weights[a] * (k + 0.5) / bins + other / 2 for k in range(bins)]
        cuts = np.unique(np.round([m + k for m in middles for k in knots], 13))
        graded = [
            lo + (hi - lo) * s
            for lo, hi in itertools.pairwise(cuts)
            for s in np.concatenate(
                [0.5 * 0.4 ** np.arange(20.0), 1 - 0.5 * 0.4 ** np.arange(20.0)]
            )
        ]
        t, w = nodes(np.concatenate([cuts, graded]), 8)
        sides = [
            [two(t - m + side, own, other) for m in middles] for side in (width / 2, -width / 2)
        ]
        p = np.maximum(np.subtract(*sides) / width, 0)
        logs = np.log2(np.maximum(p, 1e-300)) - np.log2(np.maximum(p.mean(axis=0), 1e-300))
        truth.append(float((w * p * logs).sum(axis=1).mean()))
    layer = eiplane.Layer([weights], None, "identity")
    found = eiplane.analyze([layer], measures="ei_parts", bins=bins, noise=("uniform", width))[0]
    np.testing.assert_allclose(found.ei_edges[0], truth, atol=1e-8)


def test_little_uniform_noise_of_three_inputs():
    """Densities of sums of four uniforms, by powers with signs; panels from knot to knot."""
    weights, width, bins = [64.0, -4.0, 87.0], 1.5, 3

    def density(t, widths):
        found = np.zeros_like(t)
        for signs in itertools.product((-1.0, 1.0), repeat=len(widths)):
            found += prod(signs) * np.maximum(t + np.dot(signs, widths) / 2, 0) ** (len(widths) - 1)
        return np.maximum(found / (factorial(len(widths) - 1) * prod(widths)), 0.0)

    found = eiplane.analyze(
        eiplane.Layer([weights], None, "identity"),
        measures="ei_parts", in_range=(-0.5, 0.5), bins=bins, noise=("uniform", width),
    )[0].ei_edges  # fmt: skip
    for a in range(3):
        widths = [abs(w) for w in weights]
        widths[a] /= bins
        middles = weights[a] * (np.arange(bins) - (bins - 1) / 2) / bins
        signs = np.array(list(itertools.product((-0.5, 0.5), repeat=4)))
        t, w = nodes((middles[:, None] + signs @ [*widths, width]).ravel(), 60)
        p = np.array([density(t - m, [*widths, width]) for m in middles])
        own = -np.sum(w * p * np.log2(np.maximum(p, 1e-300)), axis=-1).mean()
        p = p.mean(axis=0)
        truth = -np.sum(w * p * np.log2(np.maximum(p, 1e-300))) - own
        assert found[0, a] == pytest.approx(truth, abs=1e-7)


def test_dither_is_the_average_over_bins_that_begin_anywhere():
    """Against the binned engine itself with ranges moved by hand, at many offsets."""
    layer = eiplane.Layer([[0.5, -0.7, 0.3, 0.9]], [0.1], "sigmoid")
    options = {"measures": "ei_parts"}
    found = eiplane.analyze([layer], noise="dither", bins=8, **options)[0]
    width = 1 / 8
    binned = [
        eiplane.analyze(
            [layer], bins=(8, 9), out_range=(-width * u, 1 + width - width * u), **options
        )[0].ei_edges
        for u in (np.arange(256) + 0.3) / 256
    ]
    np.testing.assert_allclose(found.ei_edges, np.mean(binned, axis=0), atol=1e-7)
    spread = np.ptp([b.sum() for b in binned])
    assert spread > 1e-3  # one place of the bins alone is another number
    same = eiplane.analyze([layer], noise=("uniform", width), bins=8, **options)[0]
    np.testing.assert_allclose(found.ei_edges, same.ei_edges, atol=1e-9)


def test_noise_does_not_depend_on_output_bins():
    layer = eiplane.Layer([[0.5, -0.7], [1.0, 2.0]], None, "tanh")
    for noise in (0.1, ("uniform", 0.2)):
        few, many = (
            eiplane.analyze([layer], bins=(6, n), noise=noise, measures="ei_parts")[0]
            for n in (2, 100)
        )
        np.testing.assert_allclose(few.ei_edges, many.ei_edges, atol=1e-9)


def test_little_noise_tends_to_fine_bins():
    """As noise goes to 0 and bins get fine both tend to the information without either."""
    layer = eiplane.Layer([[1.0, 0.4]], [0.0], "sigmoid")
    fine = eiplane.analyze([layer], bins=(4, 1024), out_range=(0.5, 0.9), measures="ei_parts")
    fine = fine[0].ei_edges
    far = [
        np.abs(
            eiplane.analyze([layer], bins=4, noise=s, measures="ei_parts")[0].ei_edges - fine
        ).max()
        for s in (0.02, 0.01, 0.005)
    ]
    assert far[2] < far[1] / 2.5 < far[0] / 6.25
    assert far[2] < 3e-2


def test_the_maxima_of_a_weight_become_one_curve():
    """One input through tanh: binned EI jumps about as the weight grows, dithered it does not."""
    weights = np.linspace(1.0, 4.0, 13)
    binned, dithered = (
        np.array([
            eiplane.analyze([[[w]]], activation="tanh", bins=8, in_range=(-1, 1), noise=noise,
                            measures="ei_parts")[0].ei_parts
            for w in weights
        ])
        for noise in (None, "dither")
    )  # fmt: skip
    assert np.abs(np.diff(dithered, 2)).max() < 0.4 * np.abs(np.diff(binned, 2)).max()
    assert (np.diff(np.sign(np.diff(dithered))) != 0).sum() <= 1


def softsign(z):
    return z / (1 + np.abs(z))


def hardswish(z):
    return z * np.clip(z / 6 + 0.5, 0, 1)


def hidden(z):
    """A kink that nobody told of."""
    return np.maximum(z, 0.25 * z + 0.1)


BENT = {"softsign": (softsign, [0.0]), "hardswish": (hardswish, [-3.0, 3.0])}


@pytest.mark.parametrize("name", BENT)
@pytest.mark.parametrize(
    ("weights", "bias", "std"), [([7.0], -2.0, 0.05), ([7.0], -2.0, 27.6), ([1.0, 6.5], 0.2, 27.6)]
)
def test_gaussian_noise_about_bends_inside_a_piece(name, weights, bias, std):
    f, kinks = BENT[name]
    truth = gaussian_truth(weights, bias, f, std, 4, kinks)
    layer = eiplane.Layer([weights], [bias], name)
    found = eiplane.analyze([layer], measures="ei_parts", bins=4, noise=std)[0]
    np.testing.assert_allclose(found.ei_edges[0], truth, atol=1e-9)


def test_gaussian_noise_about_a_bend_that_nobody_told_of():
    layer = eiplane.Layer([[1.5]], [-0.4], eiplane.Activation.from_function(hidden))
    found = eiplane.analyze([layer], measures="ei_parts", bins=4, noise=0.05)[0]
    truth = gaussian_truth([1.5], -0.4, hidden, 0.05, 4, [0.1 / 0.75])
    np.testing.assert_allclose(found.ei_edges[0], truth, atol=1e-9)


def test_little_gaussian_noise_of_two_wide_inputs():
    """A smooth function that waves would need thousands for: against counts in narrow cells."""
    weights, std, fine = np.array([1.0, 9.0]), 0.03, 40
    x = [(np.arange(n) + 0.5) / n for n in (400, 4000)]
    y = np.logaddexp(0, 3 * (weights[0] * x[0][:, None] + weights[1] * x[1])) / 3
    cell = np.floor(y / std * fine).astype(int) + 9 * fine
    kernel = np.exp(-0.5 * (np.arange(-9 * fine, 9 * fine + 1) / fine) ** 2)

    def entropy(some):
        p = np.convolve(np.bincount(some.ravel(), minlength=cell.max() + 1), kernel)
        p = p[p > 0] / p.sum()
        return -(p * np.log2(p)).sum()

    whole = entropy(cell)
    truth = [
        whole - (entropy(cell[:200]) + entropy(cell[200:])) / 2,
        whole - (entropy(cell[:, :2000]) + entropy(cell[:, 2000:])) / 2,
    ]
    layer = eiplane.Layer([weights], [0.0], "softplus(3)")
    found = eiplane.analyze([layer], measures="ei_parts", bins=2, noise=std)[0]
    np.testing.assert_allclose(found.ei_edges[0], truth, atol=1e-5)


@pytest.mark.parametrize(
    ("weights", "bias", "name"),
    [
        ([1.0, 1.0], -103.8, "softplus"),
        ([2.4e-304, -8.4e-304], 0.0, "leaky_relu(0.25)"),
        ([1e-310, 1e-310, 1e-310, 1e-310], 0.0, "tanh"),
        ([5e-324], 1e-320, "relu"),
    ],
)
@pytest.mark.parametrize("measure", ["ei_parts", "sensitivity"])
def test_gaussian_noise_leaves_nothing_of_what_hardly_moves(weights, bias, name, measure):
    layer = eiplane.Layer([weights], [bias], name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = eiplane.analyze([layer], measures=measure, noise=0.25)[0]
    part = found.pairwise_ei or found.pairwise_sensitivity
    assert part.edges.tolist() == [[0.0] * len(weights)]
    assert 0.0 < part.error_bound < 1e-12


def test_the_gaussian_closed_form_of_the_largest_and_the_least_weights():
    base = np.array([[0.7, -0.4], [-0.3, 0.6], [-1.0, -1.1]])
    # Noise is nothing to it: the logarithms of the singular values alone.
    of_base = 0.5 * log2(np.linalg.det(base.T @ base) / 144)
    closed = eiplane.gaussian_ei(base * 2.0**1023, 1e150)
    assert closed == pytest.approx(of_base + 2 * (1023 - log2(1e150)), rel=1e-12)
    assert 0.0 <= eiplane.gaussian_ei(base * 1e-308, 1e-150) < 1e-300


def test_the_gaussian_closed_form():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 5))
    std = 0.2
    covariance = np.eye(3) + weight @ weight.T / 12 / std**2
    assert eiplane.gaussian_ei(weight, std) == pytest.approx(
        0.5 * np.log2(np.linalg.det(covariance)), abs=1e-12
    )
    assert eiplane.gaussian_ei(weight, ("gaussian", std), in_range=(-1, 1)) == pytest.approx(
        eiplane.gaussian_ei(2 * weight, std), abs=1e-12
    )
    with pytest.raises(ValueError, match="is for Gaussian noise"):
        eiplane.gaussian_ei(weight, "dither")


def test_a_linear_layer_tends_to_the_log_determinant_within_the_gap():
    """One output of many inputs is nearly Gaussian; of one the gap is log2(2 pi e / 12) / 2."""
    gap = 0.5 * log2(2 * pi * e / 12)
    for n, close in ((1, gap), (2, gap), (40, 0.001)):
        weight = np.full((1, n), 1.0)
        layer = eiplane.Layer(weight, None, "identity")
        found = eiplane.analyze([layer], noise=0.01, bins=8, measures=("ei_parts", "ei"))[0]
        closed = eiplane.gaussian_ei(weight, 0.01)
        # What all inputs tell of the output, not binned, is between both bounds.
        low, high = found.output_entropy_bounds
        assert closed - close - 1e-9 <= low <= high <= closed + 1e-9
        assert high - low < close + 1e-6
        assert found.ei is None
        assert found.ei_bounds[0] >= found.ei_parts - 1e-6
    narrow = eiplane.analyze(
        [eiplane.Layer([[1.0]], None, "identity")], noise=0.002, measures="ei"
    )[0]
    exact = log2(1 / 0.002) - 0.5 * log2(2 * pi * e)  # h(uniform) - h(noise), but for its ends
    assert narrow.output_entropy_bounds[0] == pytest.approx(exact, abs=0.01)


def test_bounds_of_a_wider_layer_hold():
    """Two outputs that are one: twice the bound of one above, and one below."""
    layer = eiplane.Layer([[0.6, 0.3], [0.6, 0.3]], None, "sigmoid")
    single = eiplane.Layer([[0.6, 0.3]], None, "sigmoid")
    both = eiplane.analyze([layer], noise=0.1, measures="ei")[0]
    one = eiplane.analyze([single], noise=0.1, measures="ei")[0]
    assert both.output_entropy_bounds[1] == pytest.approx(
        2 * one.output_entropy_bounds[1], abs=1e-6
    )
    assert both.output_entropy_bounds[0] == pytest.approx(one.output_entropy_bounds[0], abs=1e-6)


def test_one_answer_for_any_number_of_threads():
    weight = np.random.default_rng(0).normal(size=(6, 30)) / 5
    for noise in (0.1, "dither"):
        pairwise = {"noise": noise, "measures": ("sensitivity", "ei_parts")}
        runs = [eiplane.analyze(weight, threads=n, **pairwise) for n in (1, 3)]
        np.testing.assert_allclose(runs[0][0].ei_edges, runs[1][0].ei_edges, rtol=0, atol=1e-13)


def test_what_is_said_of_noise(capsys, tmp_path):
    path = str(tmp_path / "w.npy")
    np.save(path, np.array([[0.5, 1.0]]))
    arguments = ["analyze", path, "--activation", "tanh", "--measures", "ei_parts", "--noise"]
    for words, noise in (
        ("0.25", 0.25), ("uniform,0.25", ("uniform", 0.25)), ("dither", "dither"),
    ):  # fmt: skip
        result = eiplane.analyze(path, activation="tanh", noise=noise, measures="ei_parts")
        assert main([*arguments, words]) == 0
        assert capsys.readouterr().out == f"{result}\n"
    assert result.settings["noise"] == "dither"
    with pytest.raises(SystemExit):
        main([*arguments, "laplace,1"])


@pytest.mark.parametrize(
    ("noise", "options", "message"),
    [
        (0.0, {}, "above 0 and finite"),
        (-1, {}, "above 0 and finite"),
        (float("nan"), {}, "above 0 and finite"),
        (True, {}, "noise is a standard deviation"),
        ("white", {}, "noise is a standard deviation"),
        (("laplace", 1), {}, "noise is a standard deviation"),
        ((1, 2, 3), {}, "noise is a standard deviation"),
        (0.1, {"outliers": "drop"}, "noise goes with outliers='clip'"),
        (0.1, {"method": "sample"}, "noise goes with outliers='clip'"),
        (0.1, {"spans": "all"}, "noise is for single layers"),
        (1e-9, {}, "is too little"),
        (("uniform", 1e-9), {}, "is too little"),
    ],
)
def test_bad_noise(noise, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        eiplane.analyze([np.eye(2), np.eye(2)], noise=noise, **options)


def test_what_takes_too_much_is_refused_at_first_sight(monkeypatch):
    """A few places of a function show that its waves do not end: the whole is not computed."""
    from eiplane.pairwise import gaussian

    sizes = []
    smeared = gaussian._Row._smeared

    def told(self, t, y, mass):
        sizes.append(len(t))
        return smeared(self, t, y, mass)

    monkeypatch.setattr(gaussian._Row, "_smeared", told)
    weights = np.append(np.full(19, 0.3), 2000.0)[None]
    for name in ("tanh", "hardtanh", "sigmoid", "sign"):
        with pytest.raises(ValueError, match="is too little for so few inputs"):
            eiplane.analyze([weights], name, noise=0.02, measures="ei_parts")
    assert sizes
    assert max(sizes) <= 64
    sizes.clear()
    assert eiplane.analyze([np.full((1, 20), 0.3)], "tanh", noise=0.1)[0].ei_parts > 0
    assert max(sizes) > 200


def sums_of_uniforms(count, width, steps):
    """The distribution function of a sum of uniforms on (0, width), by convolving small steps."""
    law = np.ones(1)
    for _ in range(count):
        law = np.convolve(law, np.full(steps, 1 / steps))
    at = width / steps * (np.arange(len(law) + 1) + 0.5 * count - 0.5)
    return lambda v: np.interp(v, at, np.concatenate([[0.0], np.cumsum(law)]))


def towering(steps, dz, count=8, small=0.5, tall=150.0, noise=0.05, bins=4):
    """I(x; y + noise) of ``y = sigmoid(tall x + a sum of small ones)``, on a grid of z."""
    law = sums_of_uniforms(count, small, steps)
    t = np.arange(-10 * noise, 1 + 10 * noise, noise / 12)
    given = []
    for k in range(bins):
        low, high = tall * k / bins, tall * (k + 1) / bins
        z = np.arange(low + dz / 2, min(high + count * small, 42.0), dz)
        p = (law(z - low) - law(z - high)) * bins / tall * dz
        y, p = np.append(1 / (1 + np.exp(-z)), 1.0), np.append(p, 1.0 - p.sum())  # 1 beyond 42
        given.append(np.exp(-(((t[:, None] - y) / noise) ** 2) / 2) @ p)
    given = np.array(given) / (noise * np.sqrt(2 * np.pi))

    def entropy(density):
        seen = density[density > 0]
        return -(seen * np.log2(seen)).sum() * noise / 12

    return entropy(given.mean(axis=0)) - np.mean([entropy(p) for p in given])


def test_one_weight_that_towers_above_many_is_answered_with_its_doubt():
    coarse, fine = towering(50, 0.02), towering(100, 0.01)
    truth = fine + (fine - coarse) / 3
    layer = eiplane.Layer(np.append(np.full(8, 0.5), 150.0)[None], activation="sigmoid")
    found = eiplane.analyze([layer], noise=0.05, bins=4, measures="ei_parts")[0].pairwise_ei
    assert found.edges[0, -1] == pytest.approx(truth, abs=2e-8)
    assert 1e-12 < found.error_bound < 1e-8
