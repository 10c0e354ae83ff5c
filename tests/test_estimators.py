"""The way to an estimator: the plan, the table, the rounds, the results of pieces."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import eiplane
from eiplane.joint import JointOptions
from eiplane.joint import choice as table
from eiplane.joint.engine import measure
from eiplane.joint.estimator import Estimator, Measured, Nodes, PieceResult, Standing
from eiplane.joint.plan import make_plan
from eiplane.joint.rounds import run_pieces
from eiplane.joint.task import Target
from eiplane.network import Binning, Layer, discretize
from eiplane.pairwise import exact
from eiplane.run import Runner, Sampling

OPTIONS = JointOptions()


def channel_of(weight, bins=(4, 4), drop=False, out_range=(0.0, 1.0), activation="sigmoid"):
    layer = Layer(np.asarray(weight, float), activation=activation)
    return discretize(layer, Binning(*bins, drop), (0.0, 1.0), out_range)


def results_of(channel, sampling, options=OPTIONS, given=None, parts=False):
    target = Target.whole(channel)
    if given is not None:
        target = Target(channel, np.isin(np.arange(channel.n_in), given), target.wanted)
    with Runner(1) as runner:
        edges = exact.ei_parts(channel, runner) if parts else None
        plan = make_plan(target, 3, options, runner, edges)
        return plan, [e.result() for e in run_pieces(plan, channel, sampling)]


def dense(n_out, n_in, seed=0, scale=4.0):
    return np.random.default_rng(seed).uniform(-scale, scale, (n_out, n_in)) / math.sqrt(n_in)


@pytest.mark.parametrize(
    ("weight", "estimator", "given", "samples", "name"),
    [
        (dense(5, 1), "conditional", None, 1000, "exact"),
        (dense(1, 5), "conditional", None, 1000, "exact"),
        (dense(3, 2), "conditional", None, 1000, "conditional"),
        (dense(3, 4), "conditional", [0], 1000, "direct"),
        (dense(3, 4), "conditional", [0, 1, 2], 1000, "conditional"),
        (dense(3, 4), "conditional", [], 1000, "uninformed"),
        (dense(3, 4), "plugin", [], 1000, "uninformed"),
        (dense(5, 1), "plugin", None, 1000, "plugin"),
        (dense(3, 4), "plugin", None, 1000, "plugin"),
    ],
)
def test_who_measures_a_piece(weight, estimator, given, samples, name):
    options = JointOptions(estimator)
    _, (result,) = results_of(channel_of(weight), Sampling(0, samples=samples), options, given)
    assert result.estimator == name
    assert (result.samples == 0) == (name == "exact")
    assert (result.coverage is None) == (name == "exact")


def test_pieces_of_one_layer_go_to_different_estimators():
    weight = np.zeros((5, 4))
    weight[:3, :3], weight[3:, 3] = dense(3, 3), [2.0, -1.0]
    plan, results = results_of(channel_of(weight), Sampling(0, samples=20_000))
    assert [r.estimator for r in results] == ["conditional", "exact"]
    assert plan.sampled == 1
    assert [p.task.rows.tolist() for p in plan.pieces] == [[0, 1, 2], [3, 4]]
    whole = measure(
        Target.whole(channel_of(weight)), 3, Sampling(0, samples=20_000), OPTIONS, Runner(1)
    )
    assert whole.ei == results[0].information.value + results[1].information.value
    assert whole.ei_bounds[0] == sum(r.information.bounds[0] for r in results)
    assert whole.samples == results[0].samples


def truth(channel, each):
    """H(Y) and I(X; Y) on a grid of `each` values of every input."""
    step = (np.arange(each) + 0.5) / each
    x = np.array(list(itertools.product(step, repeat=channel.n_in))).T
    z = channel.weight @ x + channel.bias[:, None]
    y = channel.bins_of(z)
    cell = np.floor(x * channel.in_bins).astype(int)

    def entropy(columns):
        code = np.zeros(columns.shape[1], int)
        for column in columns:  # four bins each
            code = 4 * code + column
        number = np.bincount(code)
        share = number[number > 0] / columns.shape[1]
        return -(share * np.log2(share)).sum()

    h = entropy(y)
    return h, entropy(cell) + h - entropy(np.vstack([cell, y]))


@pytest.mark.parametrize("seed", range(6))
def test_bounds_of_both_quantities_hold(seed):
    channel = channel_of(dense(4, 2, seed, 6.0))
    output, information = truth(channel, 1200)
    for estimator, samples in itertools.product(("conditional", "plugin"), (500, 50_000)):
        _, (result,) = results_of(
            channel, Sampling(seed, samples=samples), JointOptions(estimator), parts=True
        )
        for found, value in ((result.output, output), (result.information, information)):
            assert found.bounds[0] - 1e-3 <= value <= found.bounds[1] + 1e-3
            assert found.bounds[0] < found.bounds[1]
            if samples > 500:
                assert abs(found.value - value) < 4 * found.stderr + 2e-3


def made(name, says, hopeless=False, after=0):
    """An estimator that says a number, good enough once `after` evaluations were made."""

    class Made(Estimator):
        runs: list[tuple[int, int | None]] = []  # noqa: RUF012

        @classmethod
        def applies(cls, task, samples):
            return task.channel.n_out > 2

        def run(self, samples, most):
            self.runs.append((samples, most))
            return Standing(0.0 if samples >= after else 1.0, False, hopeless)

        def result(self):
            value = Measured(says, 0.25, (says - 1, says + 1))
            nodes = Nodes.exact(np.full(len(self.task.given_places), 0.5))
            return PieceResult(
                self.name, value, value, self.runs[-1][0], None, False, 0.0, nodes, None
            )

    Made.name = name
    return Made


def test_a_new_estimator_is_one_entry(monkeypatch):
    kind = made("made", 1.5)
    row = table.ESTIMATORS["auto"]
    monkeypatch.setitem(table.ESTIMATORS, "auto", (kind, *row))
    weight = np.zeros((5, 5))
    weight[:3, :2], weight[3:, 2:] = dense(3, 2), dense(2, 3)
    channel = channel_of(weight)
    _, results = results_of(channel, Sampling(0, samples=10_000))
    assert [r.estimator for r in results] == ["made", "conditional"]
    assert kind.runs == [(5_000, None)]
    joint = measure(Target.whole(channel), 3, Sampling(0, samples=10_000), OPTIONS, Runner(1))
    assert joint.ei == 1.5 + results[1].information.value
    assert joint.ei_stderr == pytest.approx(math.hypot(0.25, results[1].information.stderr))
    assert joint.influence_in[:2].tolist() == [0.5, 0.5]
    assert joint.influence_out is None  # one piece does not know


@pytest.mark.parametrize("samples", [None, 1 << 20])
def test_rounds_go_on_until_the_tolerance(monkeypatch, samples):
    kind = made("made", 1.0, after=1_000_000)
    monkeypatch.setitem(table.ESTIMATORS, "auto", (kind,))
    results_of(channel_of(dense(3, 3)), Sampling(0, samples=samples, tol=0.3))
    sizes = [n for n, _ in kind.runs]
    assert sizes == sorted(set(sizes)) and sizes[-2] < 1_000_000 <= sizes[-1]
    assert all(n <= most for n, most in kind.runs)


def test_a_hopeless_piece_is_handed_on(monkeypatch):
    first, never, second = made("first", 1.0, True), made("never", 2.0), made("second", 3.0, True)
    never.applies = classmethod(lambda cls, task, samples: False)
    monkeypatch.setitem(table.ESTIMATORS, "auto", (first, never, second))
    for sampling in (Sampling(0), Sampling(0, tol=0.1)):
        for kind in (first, never, second):
            kind.runs.clear()
        _, (result,) = results_of(channel_of(dense(3, 3)), sampling)
        assert result.estimator == "second"  # none is left after it: its word stands
        assert len(first.runs) == len(second.runs) == 1 and first.runs == second.runs
        assert not never.runs


def test_counting_gives_up_to_whoever_comes_next(monkeypatch):
    kind = made("after", 7.0)
    row = table.ESTIMATORS["conditional"]
    monkeypatch.setitem(table.ESTIMATORS, "auto", (*row, kind))
    wide, narrow = channel_of(dense(40, 40), (8, 8)), channel_of(dense(4, 4))
    assert results_of(wide, Sampling(0))[1][0].estimator == "after"
    assert results_of(narrow, Sampling(0))[1][0].estimator == "conditional"
    assert eiplane.analyze(dense(40, 40), measures="ei")[0].ei == 7.0


@pytest.mark.parametrize("outliers", ["clip", "drop"])
@pytest.mark.parametrize("estimator", ["conditional", "plugin"])
def test_inputs_that_do_not_count_tell_nothing(estimator, outliers):
    """Groups without a weight between them, whatever their pieces are measured by."""
    weight = np.zeros((6, 6))
    weight[0, 0], weight[1, 1:3], weight[2:4, 3], weight[4:, 4:] = 1.0, 0.5, [1.0, 0.4], 0.5
    layer = Layer(weight, activation="identity")
    settings = {"out_range": (0.0, 1.0), "estimator": estimator, "outliers": outliers}
    pieces = [([0], [0]), ([1, 2], [1]), ([3], [2, 3]), ([4, 5], [4, 5])]
    for (inputs, own), (_, outputs) in itertools.product(pieces, repeat=2):
        found = eiplane.ei_between(layer, inputs, outputs, samples=20_000, **settings)
        if own == outputs:
            assert found.ei > 0.5
        else:
            assert found.ei == pytest.approx(0.0, abs=5 * found.ei_stderr + 1e-9)
        assert found.ei_bounds[0] - 1e-9 <= found.ei + 5 * found.ei_stderr
        assert estimator == "plugin" or found.ei <= found.ei_bounds[1] + 1e-9
        assert found.output_entropy > 1.0
