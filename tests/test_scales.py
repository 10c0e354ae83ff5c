"""Scales against published sets, all partitions and dense grids, each written here from its words.

The sets: *causal-emergence-zoo* 0.1.0 (T. Sauce and others, MIT licence; values to 12 digits), the
tests of *PyInform* 0.1.0 (ELIFE at ASU, MIT licence; six digits), the tests of *PyMergence*
(A. Jansma), and figures of E. Hoel, *Causal Emergence 2.0*, arXiv 2503.13395 (2025).
"""

import itertools
from math import log2

import numpy as np
import pytest

import eiplane


def rows(*blocks):
    """A matrix from pairs of a row and how often it comes."""
    return np.array([row for row, times in blocks for _ in range(times)], float)


def cycle(blocks, size):
    return np.kron(np.roll(np.eye(blocks), 1, axis=1), np.full((size, size), 1 / size))


#: What follows what in the graph of the set's two walks, grown by preferential attachment.
ATTACHED = (
    (1, 2),
    (0, 2, 3, 4, 5, 6, 7),
    (0, 1, 3, 4),
    (1, 2),
    (1, 2, 5, 6, 7),
    (1, 4),
    (1, 4),
    (1, 4),
)


def walk(alpha):
    """A walker that stays one time in ten and prefers nodes of many neighbours."""
    found = 0.1 * np.eye(8)
    for node, others in enumerate(ATTACHED):
        weight = np.array([(len(ATTACHED[other]) + 1.0) ** alpha for other in others])
        found[node, list(others)] = 0.9 * weight / weight.sum()
    return found


PAIRS = np.kron(np.eye(2), cycle(2, 2))
NOISY = np.kron(np.eye(2) * 0.4 + 0.05, np.ones((2, 2)))

#: name: matrix, EI, the best groups by effectiveness as the set has them, and their effectiveness.
ZOO = {
    "identity_3": (np.eye(3), 1.584962500721, "0|1|2", 1.0),
    "degenerate_3": (np.eye(3)[[0, 0, 0]], 0.0, "0|1|2", 0.0),
    "two_block_noisy_4": (NOISY, 0.531004406411, "01|23", 0.531004406411),
    "cycle_4": (cycle(4, 1), 2.0, "0|1|2|3", 1.0),
    "mesoscale_cycle_6": (cycle(3, 2), 1.584962500721, "01|23|45", 1.0),
    "hierarchical_two_cycle_8": (PAIRS, 2.0, "01|23|45|67", 1.0),
    "preferential_attachment_alpha0_8": (walk(0), 0.734866115312, "023|14|567", 0.284654160497),
    "preferential_attachment_alpha2_8": (walk(2), 0.468379617666, "0234567|1", 0.194253955285),
}


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_of_causal_emergence(name):
    matrix, ei, best, effectiveness = ZOO[name]
    groups = [tuple(map(int, group)) for group in best.split("|")]
    t = eiplane.tpm(matrix, macro=groups)
    assert t.ei == pytest.approx(ei, abs=2e-12)
    assert t.macro.effectiveness == pytest.approx(effectiveness, abs=2e-12)
    found = eiplane.tpm(matrix, objective="effectiveness").macro
    assert found.effectiveness == pytest.approx(effectiveness, abs=2e-12)
    for how in ("greedy", "spectral"):
        some = eiplane.tpm(matrix, objective="effectiveness", macro=how).macro
        assert some.effectiveness <= effectiveness + 2e-12


HOEL = rows(
    ([1 / 5] * 5 + [0] * 3, 1), ([1 / 7, 3 / 7, 1 / 7, 0, 1 / 7, 0, 1 / 7, 0], 1),
    ([0] + [1 / 6] * 6 + [0], 1), ([1 / 7, 0, 1 / 7, 1 / 7, 1 / 7, 1 / 7, 2 / 7, 0], 1),
    ([1 / 9, 2 / 9, 2 / 9, 1 / 9, 0, 2 / 9, 1 / 9, 0], 1), ([1 / 7] * 7 + [0], 1),
    ([1 / 6, 1 / 6, 0, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 0], 1), ([0] * 7 + [1], 1),
)  # fmt: skip

#: Those of the tests of PyInform; the last four are of Hoel, Entropy 19 188 (2017).
INFORM = [
    ([[0.2, 0.8], [0.75, 0.25]], 0.231593),
    ([[1 / 3, 1 / 3, 1 / 3], [0.25, 0.75, 0], [0.125, 0.5, 0.375]], 0.202701),
    (rows(([1 / 3, 1 / 3, 1 / 3, 0], 2), ([0, 0, 0, 1], 2)), 1.0),
    (rows(([1 / 7] * 7 + [0], 7), ([0] * 7 + [1], 1)), 0.543564),
    (HOEL, 0.805890),
    (rows(([1 / 8] * 8, 6), ([0] * 6 + [1, 0], 1), ([0] * 7 + [1], 1)), 0.630241),
]


@pytest.mark.parametrize(("matrix", "ei"), INFORM)
def test_the_values_of_inform(matrix, ei):
    assert eiplane.tpm(matrix, macro=None).ei == pytest.approx(ei, abs=5e-7)


def test_a_macro_scale_of_hoel_is_found():
    """Seven states that follow one another in many ways, and one alone: one bit."""
    macro = eiplane.tpm(HOEL).macro
    assert (macro.groups, macro.ei) == ((tuple(range(7)), (7,)), pytest.approx(1.0, abs=1e-12))


def mesoscale(whole, part, out):
    """Two groups of four that lead to each other, each with one state that leads to itself."""
    one = np.zeros((4, 4))
    one[0, 0], one[1:, 1:] = whole, part
    return np.block([[one, np.full((4, 4), out)], [np.full((4, 4), out), one]])


def test_the_values_of_pymergence():
    t = eiplane.tpm(INFORM[2][0], macro=None)
    assert t.determinism == pytest.approx(1 - log2(3) / 4, abs=1e-12)
    assert t.degeneracy == pytest.approx(1 - (log2(6) + log2(2)) / 4, abs=1e-12)
    t = eiplane.tpm(mesoscale(2 / 14, 1 / 21, 3 / 14), macro=None)
    noise = 12 / 14 * log2(3 / 14)
    own = 1 + (2 / 14 * log2(2 / 14) + noise) / 3, 1 + (3 / 21 * log2(1 / 21) + noise) / 3
    assert t.determinism == pytest.approx(own[0] / 4 + own[1] * 3 / 4, abs=1e-12)
    assert t.degeneracy == pytest.approx(0.0, abs=1e-12)


def test_the_figures_of_causal_emergence_2():
    """Its causal power is effectiveness: 0.67 and 1; 0.14 and 0.41; a gain of 0.13."""
    four = np.zeros((8, 8))
    four[:4, :4], four[4:, 4:] = np.eye(4), 0.25
    t = eiplane.tpm(four, macro=[(0,), (1,), (2,), (3,), (4, 5, 6, 7)])
    assert t.effectiveness == pytest.approx(2 / 3, abs=1e-12)
    assert t.macro.effectiveness == pytest.approx(1.0, abs=1e-12)
    halves = [range(4), range(4, 8)]
    t = eiplane.tpm(np.kron([[0.0355, 0.2145], [0.2145, 0.0355]], np.ones((4, 4))), macro=halves)
    assert (round(t.effectiveness, 2), round(t.macro.effectiveness, 2)) == (0.14, 0.41)
    t = eiplane.tpm(mesoscale(1 / 5, 1 / 15, 1 / 5), macro=halves)
    assert round(t.macro.effectiveness - t.effectiveness, 2) == 0.13


def plain_partitions(places):
    """All partitions: the first place alone, or in any group of a partition of the others."""
    if not places:
        yield []
        return
    for rest in plain_partitions(places[1:]):
        yield [(places[0],), *rest]
        for i, group in enumerate(rest):
            yield [*rest[:i], (places[0], *group), *rest[i + 1 :]]


def plain_worth(matrix, groups, objective):
    """What a partition of states is worth, by the words of the definitions."""
    macro = np.array([[matrix[np.ix_(g, h)].sum() / len(g) for h in groups] for g in groups])

    def entropy(p):
        return -sum(v * log2(v) for v in p if v > 0)

    ei = entropy(macro.mean(axis=0)) - np.mean([entropy(row) for row in macro])
    if objective == "ei":
        return ei
    return ei / log2(len(groups)) if len(groups) > 1 else 0.0


@pytest.mark.parametrize("objective", ["ei", "effectiveness"])
@pytest.mark.parametrize("how", ["greedy", "spectral"])
def test_no_state_moved_and_no_groups_joined_are_better_than_what_a_search_finds(how, objective):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        matrix = rng.dirichlet(np.full(9, 0.2), size=9)
        if seed % 2:
            matrix = np.eye(9)[rng.integers(0, 9, 9)]
        groups = eiplane.tpm(matrix, macro=how, objective=objective).macro.groups
        own = plain_worth(matrix, groups, objective)
        beside = [
            [*(g for g in groups if g not in (a, b)), a + b]
            for a, b in itertools.combinations(groups, 2)
        ]
        for group, state in ((g, s) for g in groups for s in g):
            left = [tuple(s for s in group if s != state)] if len(group) > 1 else []
            others = [g for g in groups if g != group]
            beside.append([*left, *others, (state,)])
            beside += [
                [*left, *(g for g in others if g != other), (*other, state)] for other in others
            ]
        assert max(plain_worth(matrix, b, objective) for b in beside) <= own + 1e-9


# -- groups of neurons

FUNCTIONS = {"sigmoid": (lambda z: 1 / (1 + np.exp(-z)), 0, 1), "tanh": (np.tanh, -1, 1)}


class Counted:
    """A small layer whose inputs stand on a dense grid, each point as often as any other."""

    def __init__(self, weight, bias, name, bins, fine):
        function, low, high = FUNCTIONS[name]
        n = weight.shape[1]
        axis = (np.arange(fine) + 0.5) / fine
        x = np.stack(np.meshgrid(*[axis] * n, indexing="ij")).reshape(n, -1)
        y = (function(weight @ x + bias[:, None]) - low) / (high - low)
        self.bins, self.n_in, self.known = bins, n, {}
        self.values = np.clip((np.concatenate([x, y]) * bins).astype(int), 0, bins - 1)
        self.places = list(range(len(self.values)))

    def ei(self, inputs, outputs):
        """Between some of the places, inputs counted first."""
        key = tuple(inputs), tuple(outputs)
        if not (inputs and outputs):
            return 0.0
        if key not in self.known:
            one, other = (self.bins ** np.arange(len(k)) @ self.values[list(k)] for k in key)
            wide = int(other.max()) + 1
            p = np.bincount(one * wide + other, minlength=(int(one.max()) + 1) * wide)
            p = p.reshape(-1, wide) / len(one)
            q = p.sum(axis=1, keepdims=True) * p.sum(axis=0)
            self.known[key] = float((p[p > 0] * np.log2(p[p > 0] / q[p > 0])).sum())
        return self.known[key]

    def phi(self, group):
        inputs = [i for i in sorted(group) if i < self.n_in]
        outputs = [i for i in sorted(group) if i >= self.n_in]
        edges = sum(self.ei([a], [b]) for a in inputs for b in outputs)
        return self.ei(inputs, outputs) - edges


@pytest.mark.parametrize(
    ("seed", "sizes", "name", "bins", "fine", "kind"),
    [
        (0, (3, 3), "sigmoid", 4, 60, ""),
        (6, (2, 4), "tanh", 3, 300, "twins"),  # two outputs that are the same
        (4, (2, 4), "sigmoid", 4, 320, "alike"),  # two inputs that count as much
        (7, (3, 3), "tanh", 4, 60, "dead"),  # an input and an output without edges
        (9, (2, 5), "tanh", 4, 320, ""),
    ],
)
def test_macro_units_against_counting_and_all_partitions(seed, sizes, name, bins, fine, kind):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=sizes[::-1]) * 4
    bias = rng.normal(size=sizes[1]) * 0.3 - weight.sum(axis=1) / 2
    if kind == "twins":
        weight[-1], bias[-1] = weight[0], bias[0]
    elif kind == "alike":
        weight[:, 1] = weight[:, 0]
    elif kind == "dead":
        weight[-1], weight[:, 0] = 0, 0
    layer, counted = eiplane.Layer(weight, bias, name), Counted(weight, bias, name, bins, fine)
    best = max(sum(map(counted.phi, groups)) for groups in plain_partitions(counted.places))
    for how in ("auto", "greedy", "spectral"):
        units = eiplane.macro_units(layer, bins=bins, search=how)
        found = [(*u.inputs, *(o + sizes[0] for o in u.outputs)) for u in units]
        assert sorted(sum(found, ())) == counted.places
        for unit, group in zip(units, found, strict=True):
            off = 4 * (unit.ei_stderr or 0.0) + 4e-3  # and what the grid is off by
            assert unit.ei == pytest.approx(counted.ei(*split(group, sizes[0])), abs=off)
            assert unit.phi == pytest.approx(counted.phi(group), abs=off)
        own = sum(map(counted.phi, found))
        assert own <= best + 1e-12
        if how == "auto":
            assert own == pytest.approx(best, abs=4e-3)
            assert units.search == "exhaustive"


def split(group, n_in):
    return [i for i in group if i < n_in], [i for i in group if i >= n_in]


@pytest.mark.parametrize("how", ["greedy", "spectral"])
def test_no_neuron_moved_is_better_than_what_a_search_finds(how):
    rng = np.random.default_rng(25)
    weight = rng.normal(size=(4, 3)) * 5
    layer = eiplane.Layer(weight, -weight.sum(axis=1) / 2)
    units = eiplane.macro_units(layer, bins=2, search=how)
    groups = [(*u.inputs, *(o + 3 for o in u.outputs)) for u in units]
    for group, place in ((g, p) for g in groups for p in g):
        left = tuple(p for p in group if p != place)
        for other in [g for g in groups if g != group] + [()]:
            rest = [g for g in groups if g not in (group, other)]
            beside = [g for g in [*rest, left, (*other, place)] if g]
            phi = eiplane.macro_units(layer, bins=2, search=beside).phi
            assert phi <= units.phi + 2.5 * units.phi_stderr + 1e-9
