"""Transition matrices against published values, fractions and all partitions; macro units."""

import itertools
import json
from fractions import Fraction
from math import log2

import numpy as np
import pytest

import eiplane
from eiplane.cli.main import main
from eiplane.emergence.partitions import partitions
from eiplane.emergence.search import linkage


def information(matrix):
    """EI by its definition, from exact fractions; logarithms are all that is rounded."""
    rows = [[Fraction(p).limit_denominator(10**6) for p in row] for row in matrix]
    n = len(rows)
    mean = [sum(row[j] for row in rows) / n for j in range(len(rows[0]))]
    return sum(float(p / n) * log2(p / mean[j]) for r in rows for j, p in enumerate(r) if p)


def mixed():
    m = np.zeros((4, 4))
    m[:3, :3], m[3, 3] = 1 / 3, 1.0
    return m


def rows(*nexts):
    return np.eye(len(nexts))[list(nexts)]


#: name: (matrix, EI, determinism, degeneracy), each from its definition by hand.
KNOWN = {
    "identity": (np.eye(4), 2.0, 1.0, 0.0),
    "permutation": (rows(2, 0, 3, 1), 2.0, 1.0, 0.0),
    "uniform": (np.full((4, 4), 0.25), 0.0, 0.0, 0.0),
    "all to one": (rows(3, 3, 3, 3), 0.0, 1.0, 1.0),
    # Hoel, Entropy 19 188 (2017): one of three states at random, each left out once.
    "left out": ((1 - rows(1, 2, 0, 3)) / 3, 2 - log2(3), 1 - log2(3) / 2, 0.0),
    "three and one": (mixed(), 2 - 0.75 * log2(3), 1 - 0.375 * log2(3), 0.0),
    # The gates of the tests of einet 0.1.0 (T. Byrum and others, CRAN), after Klein and Hoel 2020.
    "copy copy": (rows(0, 2, 1, 3), 2.0, 1.0, 0.0),
    "and and": (rows(0, 0, 0, 3), 2 - 0.75 * log2(3), 1.0, 0.375 * log2(3)),
    "or or": (rows(0, 3, 3, 3), 2 - 0.75 * log2(3), 1.0, 0.375 * log2(3)),
    "or copy": (rows(0, 2, 3, 3), 1.5, 1.0, 0.25),
    "star": (rows(0, 0, 0, 0), 0.0, 1.0, 1.0),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_standard_examples(name):
    matrix, ei, determinism, degeneracy = KNOWN[name]
    t = eiplane.tpm(matrix)
    assert t.ei == pytest.approx(ei, abs=1e-12)
    assert t.ei == pytest.approx(information(matrix), abs=1e-12)
    assert t.determinism == pytest.approx(determinism, abs=1e-12)
    assert t.degeneracy == pytest.approx(degeneracy, abs=1e-12)
    assert t.effectiveness == pytest.approx(determinism - degeneracy, abs=1e-12)
    assert t.specificity == pytest.approx(1 - degeneracy, abs=1e-12)


def test_three_states_that_mix_and_one_alone():
    t = eiplane.tpm(mixed())
    assert round(t.ei, 3) == 0.811
    assert t.macro.ei == pytest.approx(1.0, abs=1e-12)
    assert t.macro.groups == ((0, 1, 2), (3,))
    assert t.macro.emergence == pytest.approx(0.75 * log2(3) - 1, abs=1e-12)
    np.testing.assert_allclose(t.macro.matrix, np.eye(2), atol=1e-15)


def test_seven_states_that_mix_and_one_alone():
    """Hoel, Entropy 19 188 (2017), section 3: no other partition has the whole bit."""
    m = np.zeros((8, 8))
    m[:7, :7], m[7, 7] = 1 / 7, 1.0
    t = eiplane.tpm(m)
    assert t.ei == pytest.approx(3 - 7 / 8 * log2(7), abs=1e-12)
    assert t.macro.groups == (tuple(range(7)), (7,))
    assert t.macro.effectiveness == pytest.approx(1.0, abs=1e-12)


def pairs_of_neurons():
    states = np.array(list(itertools.product([0, 1], repeat=4)))
    first, second = states[:, :2].all(axis=1), states[:, 2:].all(axis=1)
    fires = np.where([second, second, first, first], 1.0, 0.3).T
    matrix = np.prod(np.where(states, fires[:, None], 1 - fires[:, None]), axis=-1)
    return matrix, [np.flatnonzero((first == a) & (second == b)) for a in (0, 1) for b in (0, 1)]


def test_the_network_of_four_noisy_neurons():
    """Hoel, Albantakis and Tononi, PNAS 110 19790 (2013), figure 2: 1.15 bits, 1.55 as pairs."""
    matrix, groups = pairs_of_neurons()
    t = eiplane.tpm(matrix, macro=groups)
    assert round(t.ei, 2) == 1.15
    assert round(t.macro.ei, 2) == 1.55
    assert round(t.effectiveness, 2) == 0.29
    assert round(t.macro.effectiveness, 2) == 0.78
    assert t.macro.search == "given"
    assert eiplane.tpm(matrix).macro.ei >= t.macro.ei - 1e-12


#: W. W. Zachary, Journal of Anthropological Research 33 (1977), 452-473: who met whom.
KARATE = """0 1-8 10-13 17 19 21 31|1 2 3 7 13 17 19 21 30|2 3 7-9 13 27 28 32|3 7 12 13|4 6 10|
5 6 10 16|6 16|8 30 32 33|9 33|13 33|14 32 33|15 32 33|18 32 33|19 33|20 32 33|22 32 33|
23 25 27 29 32 33|24 25 27 31|25 31|26 29 33|27 33|28 31 33|29 32 33|30 32 33|31 32 33|32 33"""


def karate():
    graph = np.zeros((34, 34))
    for entry in KARATE.replace("\n", "").split("|"):
        one, *others = entry.split()
        for word in others:
            low, _, high = word.partition("-")
            for other in range(int(low), int(high or low) + 1):
                graph[int(one), other] = graph[other, int(one)] = 1.0
    assert graph.sum() == 2 * 78
    return graph


def test_the_karate_club():
    """The value that the README of einet prints, of Klein and Hoel, Complexity 2020 8932526."""
    t = eiplane.tpm(karate(), normalize=True)
    assert t.ei == pytest.approx(2.3500950888734686, abs=1e-12)
    assert t.macro.emergence > 0.0


def test_nodes_without_a_way_out_are_left_out():
    """einet 0.1.0's tests have a graph with one node that leads anywhere: 0 bits."""
    graph = np.array([[0.0, 2, 1], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="row 1 sums to 0"):
        eiplane.tpm(graph, normalize=True)
    t = eiplane.tpm(graph[graph.sum(axis=1) > 0], normalize=True)
    assert (t.ei, t.macro) == (0.0, None)


def test_single_states_make_up_the_whole():
    matrix = np.random.default_rng(3).dirichlet(np.full(7, 0.5), size=7)
    t = eiplane.tpm(matrix)
    assert t.ei_states.mean() == pytest.approx(information(matrix), abs=1e-5)
    np.testing.assert_allclose(t.effect, matrix.mean(axis=0), atol=1e-15)
    own = [-sum(p * log2(p) for p in row if p > 0) for row in matrix]
    np.testing.assert_allclose(t.determinism_states, 1 - np.array(own) / log2(7), atol=1e-12)


def plain_macro(matrix, groups):
    """The matrix between groups, by the words of its definition."""
    return np.array(
        [[np.mean([matrix[i, list(to)].sum() for i in group]) for to in groups] for group in groups]
    )


def plain_partitions(states):
    """All partitions: the first state alone or in any group of a partition of the others."""
    if not states:
        yield []
        return
    for rest in plain_partitions(states[1:]):
        yield [(states[0],), *rest]
        for i, group in enumerate(rest):
            yield [*rest[:i], (states[0], *group), *rest[i + 1 :]]


def test_all_partitions_are_gone_through_once():
    for n, bell in ((1, 1), (2, 2), (3, 5), (5, 52), (7, 877)):
        assert len({tuple(labels) for labels in partitions(n)}) == bell


@pytest.mark.parametrize("seed", range(12))
def test_the_searches_against_all_partitions(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 7))
    matrix = rng.dirichlet(np.full(n, 0.15), size=n)
    best = max(
        eiplane.tpm(plain_macro(matrix, groups), macro=None).ei
        for groups in plain_partitions(list(range(n)))
    )
    found = {how: eiplane.tpm(matrix, macro=how).macro for how in ("exhaustive", "auto")}
    assert found["exhaustive"].ei == pytest.approx(best, abs=1e-12)
    for how in ("greedy", "spectral"):
        macro = eiplane.tpm(matrix, macro=how).macro
        assert macro.ei <= best + 1e-12
        np.testing.assert_allclose(macro.matrix, plain_macro(matrix, macro.groups), atol=1e-14)
        found[how] = macro
    assert max(found["greedy"].ei, found["spectral"].ei) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("how", ["greedy", "spectral"])
def test_blocks_hidden_by_a_permutation(how):
    """Blocks of different sizes that mix inside and go round: the macro scale is a permutation."""
    rng = np.random.default_rng(5)
    sizes = [3, 7, 11, 5, 14]
    block = np.repeat(range(5), sizes)
    matrix = np.zeros((40, 40))
    for i in range(40):
        to = block == (block[i] + 1) % 5
        matrix[i, to] = 1 / to.sum()
    order = rng.permutation(40)
    t = eiplane.tpm(matrix[np.ix_(order, order)], macro=how)
    assert t.macro.ei == pytest.approx(log2(5), abs=1e-12)
    assert {tuple(sorted(order[list(g)])) for g in t.macro.groups} == {
        tuple(np.flatnonzero(block == b)) for b in range(5)
    }


def test_the_objective():
    twins = np.kron(np.array([[0.1, 0.9], [0.9, 0.1]]), np.eye(2)[[1, 0]] * 0 + 0.5)
    t = eiplane.tpm(twins, objective="effectiveness")
    assert t.macro.groups == ((0, 1), (2, 3))
    micro, macro = information(twins), information([[0.1, 0.9], [0.9, 0.1]])
    assert micro == pytest.approx(macro)  # as much EI, of half as many bits
    assert t.macro.effectiveness == pytest.approx(macro, abs=1e-12)
    assert eiplane.tpm(twins).macro.groups == tuple((i,) for i in range(4))


def test_linkage_joins_by_average_distance():
    pytest.importorskip("scipy")
    from scipy.cluster import hierarchy

    place = np.random.default_rng(0).normal(size=(30, 3))
    tree = hierarchy.linkage(place, "average")
    labels = np.arange(30)
    for step, (a, b) in enumerate(linkage(place), start=1):
        labels = np.where(labels == b, a, labels)
        theirs = hierarchy.fcluster(tree, 30 - step, "maxclust")
        assert {frozenset(np.flatnonzero(labels == v)) for v in set(labels)} == {
            frozenset(np.flatnonzero(theirs == v)) for v in set(theirs)
        }


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        ([[0.5, 0.4], [0.5, 0.5]], {}, "row 0 .* sums to 0.9, not to 1; normalize=True"),
        ([[0.9, 0.8], [0.1, 0.2]], {}, "give the transpose"),
        ([[1.5, -0.5], [0, 1]], {}, r"entry \[0, 1\] .* is negative"),
        ([[np.nan, 1], [0, 1]], {}, r"NaN or infinite, the first nan at \[0, 0\]"),
        ([1.0], {}, "has rows and columns"),
        (np.zeros((0, 0)), {}, "has rows and columns"),
        ([[1j]], {}, "real"),
        ([["a"]], {}, "transition matrix"),
        (np.eye(3), {"macro": "best"}, "macro is 'auto'"),
        (np.eye(3), {"macro": [(0, 1)]}, "state 2 is in no group"),
        (np.eye(3), {"macro": [(0, 1), (1, 2)]}, "state 1 is in two groups"),
        (np.eye(3), {"macro": [(0, 1, 3), (2,)]}, "there is no state 3"),
        (np.eye(3), {"macro": [(0, 1), (), (2,)]}, "at least one state"),
        (np.eye(3), {"macro": [0, 1, 2]}, "a sequence of places"),
        (np.eye(3), {"objective": "phi"}, "objective is"),
        (np.eye(3), {"names": "AB"}, "2 names were given for 3 states"),
        (np.eye(11), {"macro": "exhaustive"}, "goes up to 10 states"),
        (np.eye(3)[:2], {"macro": "greedy"}, "needs a square matrix"),
    ],
)
def test_bad_input(matrix, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        eiplane.tpm(matrix, **options)


def test_what_is_not_searched_is_said():
    t = eiplane.tpm(np.eye(1025))
    assert t.macro is None
    assert "no macro scale was looked for among 1025 states" in str(t)


def test_single_precision_will_do():
    matrix = np.random.default_rng(0).dirichlet(np.ones(50), size=50)
    t = eiplane.tpm(matrix.astype(np.float32), macro=None)
    assert t.ei == pytest.approx(eiplane.tpm(matrix, macro=None).ei, abs=1e-6)


def test_printed_kept_and_sent_on(tmp_path):
    t = eiplane.tpm(mixed(), names="ABCD")
    text = str(t)
    assert "{A, B, C} {D}" in text
    assert "0.8113" in text
    assert "0.1887 bits" in text
    found = json.loads(t.to_json(tmp_path / "t.json"))
    assert json.loads((tmp_path / "t.json").read_text()) == found
    assert found["macro"]["groups"] == [[0, 1, 2], [3]]
    assert found["ei_states"] == pytest.approx(t.ei_states.tolist())
    assert "matrix" not in t.to_dict(states=False)
    assert "{A, B, C}" in t._repr_html_()
    frame = t.to_dataframe()
    assert frame.loc["D", "ei_states"] == pytest.approx(2.0)
    assert frame["group"].tolist() == [0, 0, 0, 1]


def test_rich_prints_the_same_numbers(capsys):
    from rich.console import Console

    t = eiplane.tpm(mixed())
    Console(width=200).print(t)
    shown = capsys.readouterr().out
    assert shown.split() == [w for w in str(t).split() if set(w) != {"-"}]


def test_the_command(tmp_path, capsys):
    np.save(tmp_path / "P.npy", mixed())
    np.savez(tmp_path / "P.npz", p=mixed())
    (tmp_path / "P.csv").write_text("\n".join(",".join(map(repr, r)) for r in mixed().tolist()))
    for name in ("P.npy", "P.npz", "P.csv"):
        assert main(["tpm", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out == f"{eiplane.tpm(mixed())}\n"
    assert main(["tpm", str(tmp_path / "P.npy"), "--format", "json", "--macro", "none"]) == 0
    assert json.loads(capsys.readouterr().out)["macro"] is None
    assert main(["tpm", str(tmp_path / "P.npy"), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "state,ei_states,determinism_states,effect,group"
    assert len(lines) == 5
    np.save(tmp_path / "bad.npy", np.ones((2, 2)))
    assert main(["tpm", str(tmp_path / "bad.npy")]) == 1
    assert "sums to 2" in capsys.readouterr().err
    (tmp_path / "P.npy").write_bytes(b"nothing")
    assert main(["tpm", str(tmp_path / "P.npy")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_picture(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    order = [3, 0, 1, 2]
    axes = eiplane.plot.transitions(eiplane.tpm(mixed()[np.ix_(order, order)]))
    assert len(axes) == 2
    np.testing.assert_allclose(axes[0].images[0].get_array(), mixed()[np.ix_(order, order)])
    np.testing.assert_allclose(axes[1].images[0].get_array(), np.eye(2), atol=1e-15)
    assert "EI 1 bits" in axes[1].get_title()
    assert [t.get_text() for t in axes[1].get_yticklabels()] == ["{0}", "{1,2,3}"]
    np.save(tmp_path / "P.npy", mixed())
    assert main(["tpm", str(tmp_path / "P.npy"), "--plot", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").stat().st_size > 1000


# -- groups of neurons


def tables(layer, inputs, outputs, bins, fine=24):
    """EI between groups of a small layer, from a dense grid of midpoints."""
    n = layer.weight.shape[1]
    grid = (np.arange(fine) + 0.5) / fine
    x = np.stack(np.meshgrid(*[grid] * n, indexing="ij"), -1).reshape(-1, n)
    y = 1 / (1 + np.exp(-(x @ layer.weight.T + layer.bias)))

    def label(v, which):
        cells = np.minimum((v[:, which] * bins).astype(int), bins - 1)
        return np.ravel_multi_index(cells.T, [bins] * len(which))

    a, b = label(x, inputs), label(y, outputs)
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(x))
    p, q = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log2((joint / p / q)[seen])).sum())


def test_the_units_of_a_small_layer_are_the_best_of_all_partitions():
    layer = eiplane.Layer([[20.0, 20, 0], [0, 0, 20]], [-30.0, -10])

    def phi(groups):
        total = 0.0
        for group in groups:
            ins, outs = [i for i in group if i < 3], [i - 3 for i in group if i >= 3]
            if ins and outs:
                whole = tables(layer, ins, outs, 2)
                total += whole - sum(tables(layer, [a], [b], 2) for a in ins for b in outs)
        return total

    best = max(map(phi, plain_partitions(list(range(5)))))
    for how in ("auto", "exhaustive", "greedy", "spectral"):
        units = eiplane.macro_units(layer, bins=2, search=how)
        assert {(u.inputs, u.outputs) for u in units} == {((0, 1), (0,)), ((2,), (1,))}, how
        assert units.phi == pytest.approx(best, abs=5e-3)  # the grid's own error


@pytest.mark.parametrize("seed", [5, 10, 12])
def test_halves_that_do_not_talk_are_not_joined(seed):
    """What is found is worth no less than the halves; a neuron that adds little is left out."""
    rng = np.random.default_rng(seed)
    weight = np.zeros((4, 4))
    weight[:2, :2], weight[2:, 2:] = rng.normal(size=(2, 2)) * 9, rng.normal(size=(2, 2)) * 9
    rows_, columns = rng.permutation(4), rng.permutation(4)
    shuffled = weight[np.ix_(rows_, columns)]
    layer = eiplane.Layer(shuffled, -shuffled.sum(axis=1) / 2)
    units = eiplane.macro_units(layer, bins=4, search="spectral")
    for unit in units:
        assert len({int(columns[i] < 2) for i in unit.inputs} | {
            int(rows_[o] < 2) for o in unit.outputs
        }) == 1  # fmt: skip
    halves = [
        [*np.flatnonzero((columns < 2) == half), *(4 + np.flatnonzero((rows_ < 2) == half))]
        for half in (False, True)
    ]
    given = eiplane.macro_units(layer, bins=4, search=halves)
    assert units.phi >= given.phi - 2 * given.phi_stderr - 1e-9
    whole = eiplane.ei_between(layer, range(4), range(4), bins=4)
    assert sum(u.ei for u in given) == pytest.approx(whole.ei, abs=0.02)


def test_tied_neurons_stay_together():
    weight = np.zeros((4, 4))
    weight[0, [0, 2]] = weight[2, [0, 2]] = 20.0
    weight[1, 3] = weight[3, 1] = 20.0
    layer = eiplane.Layer(weight, [-30.0, -10, -10, -10])
    units = eiplane.macro_units(layer, bins=2, tied=True)
    assert all(u.inputs == u.outputs for u in units)
    assert {u.inputs for u in units} == {(0, 2), (1, 3)}


def test_given_units_are_what_ei_between_finds():
    layer = eiplane.Layer(np.random.default_rng(0).normal(size=(2, 3)) * 4)
    units = eiplane.macro_units(layer, bins=3, search=[(0, 1, 3), (2, 4)])
    assert (units[0].inputs, units[0].outputs) == ((0, 1), (0,))
    between = eiplane.ei_between(layer, [0, 1], [0], bins=3)
    assert units[0].ei == pytest.approx(between.ei, abs=1e-9)
    edges = eiplane.analyze([layer], bins=3, measures="ei_parts")[0].ei_edges
    assert units[0].ei_parts == pytest.approx(edges[0, :2].sum(), abs=1e-9)
    assert units[0].effectiveness == pytest.approx(between.ei / (2 * log2(3)))
    assert "given search" in str(units)
    assert json.loads(units.to_json())["units"][1]["inputs"] == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "best"}, "search is 'auto'"),
        ({"search": [(0, 1)]}, "neuron 2 is in no group"),
        ({"tied": True}, "as many outputs as inputs"),
        ({"search": "exhaustive"}, "up to 8 neurons, and there are 9"),
    ],
)
def test_bad_units(options, message):
    with pytest.raises(ValueError, match=message):
        eiplane.macro_units(np.ones((4, 5)), **options)


def test_units_are_measured_to_a_tolerance():
    layer = eiplane.Layer(np.random.default_rng(5).normal(size=(6, 6)))
    groups = [(0, 1, 2, 6, 7, 8), (3, 4, 5, 9, 10, 11)]
    rough, fine = (
        eiplane.macro_units(layer, search=groups, tol=tol, rng=1) for tol in (0.05, 0.005)
    )
    for unit in fine:
        assert unit.joint.converged and unit.joint.ei_stderr <= 0.005
    assert sum(u.joint.samples for u in fine) > sum(u.joint.samples for u in rough)
