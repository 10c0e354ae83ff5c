"""Layers of two inputs and many outputs, against areas of the polygons that the square is cut into.

No sampling and nothing of eiplane: every line on which an output changes its bin cuts the polygons
that it meets; an output vector's probability is the area of its polygons.
"""

import math
from collections import defaultdict

import numpy as np
import pytest

import eiplane


def logit(p):
    return math.log(p / (1.0 - p))


FUNCTIONS = {
    "sigmoid": (lambda z: 1.0 / (1.0 + math.exp(-z)), lambda y: [logit(y)] if 0 < y < 1 else []),
    "relu": (lambda z: max(z, 0.0), lambda y: [y] if y > 0.0 else [0.0]),
    "abs": (abs, lambda y: [y, -y] if y > 0.0 else []),
    "square": (lambda z: z * z, lambda y: [math.sqrt(y), -math.sqrt(y)] if y > 0.0 else []),
}


def cut(polygon, normal, level):
    """Return the parts of a convex polygon on either side of a line."""
    side = polygon @ normal - level
    if (side <= 0.0).all():
        return [polygon]
    if (side >= 0.0).all():
        return [polygon]
    parts = [], []
    for a, b, s, t in zip(polygon, np.roll(polygon, -1, 0), side, np.roll(side, -1), strict=True):
        if s <= 0.0:
            parts[0].append(a)
        if s >= 0.0:
            parts[1].append(a)
        if s * t < 0.0:
            for part in parts:
                part.append(a + (b - a) * (s / (s - t)))
    return [np.array(part) for part in parts]


def area(polygon):
    x, y = polygon.T
    return 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def truth(weight, bias, name, out_range, bins):
    """EI and H(Y), to rounding."""
    function, inverse = FUNCTIONS[name]
    low, high = out_range
    ends = [low + (high - low) * k / bins[1] for k in range(1, bins[1])]
    levels = [z for y in ends for z in inverse(y)]
    whole, within = defaultdict(float), 0.0
    for i in range(bins[0]):
        for j in range(bins[0]):
            corners = np.array([[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]]) / bins[0]
            polygons = [corners]
            for row, shift in zip(weight, bias, strict=True):
                for level in levels:
                    polygons = [q for p in polygons for q in cut(p, row, level - shift)]
            cell = defaultdict(float)
            for polygon in polygons:
                z = weight @ polygon.mean(axis=0) + bias
                place = [(function(v) - low) / (high - low) * bins[1] for v in z]
                cell[tuple(min(max(int(p), 0), bins[1] - 1) for p in place)] += area(polygon)
            for label, size in cell.items():
                whole[label] += size
                share = size * bins[0] ** 2
                if share > 0.0:
                    within -= size * math.log2(share)
    assert sum(whole.values()) == pytest.approx(1.0, abs=1e-12)
    output = -sum(p * math.log2(p) for p in whole.values() if p > 0.0)
    return output - within, output


CASES = [
    ("sigmoid", 8, 3.0, (8, 8)), ("sigmoid", 24, 2.0, (4, 4)), ("relu", 12, 2.0, (8, 8)),
    ("abs", 8, 3.0, (4, 8)), ("square", 5, 2.0, (8, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "n_out", "spread", "bins"), CASES)
def test_two_inputs_of_many_outputs(name, n_out, spread, bins):
    rng = np.random.default_rng([n_out, bins[0]])
    weight = rng.uniform(-spread, spread, (n_out, 2))
    bias = rng.normal(size=n_out) - weight.sum(axis=1) / 2.0
    layer = eiplane.Layer(weight, bias, name)
    options = {"measures": "ei", "bins": bins, "threads": 1}
    found = [eiplane.analyze(layer, rng=k, **options)[0] for k in range(2)]
    found += [eiplane.analyze(layer, rng=k, estimator="wide", **options)[0] for k in range(3)]
    ei, output = truth(weight, bias, name, found[0].out_range, bins)
    for f in found:
        assert f.ei_stderr < 0.02 * f.ei
        assert abs(f.ei - ei) < 3.5 * f.ei_stderr
        assert abs(f.output_entropy - output) < 3.5 * f.output_entropy_stderr
        assert f.ei_bounds[0] <= ei <= f.ei_bounds[1]
    assert abs(np.mean([f.ei for f in found[2:]]) - ei) < 2.5 * found[2].ei_stderr
    bounds = eiplane.analyze(layer, measures="bounds", bins=bins)[0]
    assert bounds.ei_bounds[0] <= ei <= bounds.ei_bounds[1]
    assert bounds.output_entropy_bounds[0] <= output <= bounds.output_entropy_bounds[1]
