"""Means on two levels: made-up numbers of known means, and the surrogate's own samples."""

import math
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from test_wide import channel_of, dense

import eiplane
from eiplane import _core
from eiplane.joint.estimator import Standing
from eiplane.joint.filtering import filter_unit
from eiplane.joint.levels import Controlled, Deviations, controlled_mean, share_out, two_levels
from eiplane.joint.means import Means
from eiplane.joint.rounds import Rounds
from eiplane.joint.surrogate import Controls, surrogate_unit
from eiplane.joint.volumes import FilterUnit, problem


def made_up(rng, few, many):
    """A value of mean 3, a surrogate that goes with it, and a control of mean 0 for that."""
    control, own, off = rng.standard_normal((3, many))
    surrogate = 7.0 + 2.0 * control + own
    values = 3.0 + 0.5 * (surrogate - 7.0) + 0.1 * off
    return values[:few], surrogate, Controlled(control[:, None], np.zeros(1))


def test_two_levels_are_unbiased_and_know_their_error():
    rng = np.random.default_rng(0)
    scores, deviations = [], []
    for _ in range(1500):
        values, surrogate, controls = made_up(rng, 24, 200)
        mean, found = two_levels(values, surrogate[:24], surrogate, controls)
        scores.append((mean.value - 3.0) / math.sqrt(mean.variance))
        deviations.append((found.unexplained, found.surrogate))
    assert abs(np.mean(scores)) < 4.0 / math.sqrt(1500)
    assert 0.93 < np.std(scores) < 1.1
    np.testing.assert_allclose(np.mean(deviations, axis=0), (0.1, 0.5), rtol=0.05)


def test_a_surrogate_that_tells_nothing_costs_nothing():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(50)
    mean, found = two_levels(
        values, np.zeros(50), np.zeros(400), Controlled(np.zeros((400, 0)), np.zeros(0))
    )
    assert mean.value == pytest.approx(values.mean())
    assert mean.variance == pytest.approx(values.var() / 50, rel=0.05)
    assert found.surrogate == 0.0


def test_control_variates_of_sampled_means_count_their_error():
    rng = np.random.default_rng(2)
    control = rng.standard_normal((300, 1))
    values = 1.0 + 4.0 * control[:, 0]
    exact = controlled_mean(values, Controlled(control, np.zeros(1)))
    sampled = controlled_mean(values, Controlled(control, np.array([0.01])))
    assert exact.value == pytest.approx(1.0) and exact.variance < 1e-20
    assert sampled.variance == pytest.approx(16.0 * 0.01)


@pytest.mark.parametrize("costs", [(1.0, 1.0), (100.0, 1.0), (7.0, 0.2)])
def test_samples_are_shared_out_at_the_least_cost(costs):
    found, target = Deviations(0.3, 4.0), 0.05
    few, many = share_out(found, costs, target, math.inf)

    def variance(n, m):
        return (1.1 * 0.3) ** 2 / n + 4.0**2 / m

    assert variance(few, many) <= target**2
    spent = costs[0] * few + costs[1] * many
    for n in np.geomspace(few / 8, few * 8, 200):
        left = target**2 - (1.1 * 0.3) ** 2 / n
        if left > 0.0:
            assert costs[0] * n + costs[1] * 16.0 / left > 0.98 * spent - sum(costs)
    few, many = share_out(found, costs, target, 0.1 * spent)
    assert costs[0] * few + costs[1] * many <= 0.1 * spent + sum(costs)
    assert share_out(Deviations(0.0, 0.0), costs, target, 1.0) == (0, 0)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "silu", "relu"])
def test_surrogates_are_of_the_samples_that_are_filtered(activation, drop):
    ranges = {"sigmoid": (0.35, 0.65), "silu": (-0.3, 0.4), "relu": (0.0, 0.6)}
    out_range, spread = (ranges[activation], 1.0) if drop else (None, 3.0)
    channel = channel_of(dense(30, 12, spread), activation, drop=drop, out_range=out_range)
    p = problem(channel, np.arange(30) < 20, np.ones(12, bool), 3)
    dear = [filter_unit(FilterUnit(p, a, 20)) for a in (0, 20)]
    cheap = surrogate_unit(FilterUnit(p, 0, 40, 0))
    for name in ("output", "within", "kept"):
        wanted = np.concatenate([getattr(f, name)[:, 0] for f in dear])
        found = getattr(cheap, name)
        assert found.shape == wanted.shape
        if name == "kept" and not drop:
            assert not found.any() and not wanted.any()
            continue
        assert len(wanted) >= 10
        assert np.corrcoef(found, wanted)[0, 1] > 0.95
        assert abs(np.mean(found - wanted)) < 0.1 * wanted.mean()
    assert not surrogate_unit(FilterUnit(p, 0, 40, 1)).output.any()


def test_no_round_follows_where_only_doubt_is_left():
    rounds = Rounds(1000, 1 << 20, 0.1)
    assert rounds.next(1000, Standing(0.5, doubt=0.2)) is None
    # 0.5^2 = 0.06^2 + sampling; what is left for sampling is 0.08^2.
    wanted = 1000 * (0.25 - 0.0036) / 0.0064 * 1.2
    assert rounds.next(1000, Standing(0.5, doubt=0.06)) >= min(wanted, 16_000)
    assert rounds.next(1000, Standing(0.09, doubt=0.06)) is None


def test_influences_of_inputs_are_no_more_than_the_whole():
    # Pairs of an input's bin and 12 bits of outputs, counted, gave more than the whole.
    weight = dense(12, 7, 4.0)
    layer = eiplane.analyze(weight, measures="ei", threads=2)[0]
    assert layer.output_entropy > 11.5
    influence, stderr = layer.joint.influence_in, layer.joint.influence_in_stderr
    error = math.hypot(layer.ei_stderr, float(stderr.sum()))
    assert influence.sum() < layer.ei + error
    one = eiplane.ei_between(weight, [5], range(7), samples=1 << 20)
    assert abs(influence[5] - one.ei) < 4.0 * math.hypot(stderr[5], one.ei_stderr) + 0.02


def test_both_levels_are_the_same_everywhere():
    def run(**where):
        return eiplane.analyze(dense(40, 20, 3.0), measures=("ei", "ei_parts"), **where)[0].joint

    one = run(threads=1)
    assert one.estimator == "wide"
    before, others = _core.active(), [run(threads=3)]
    with ProcessPoolExecutor(2) as pool:
        others.append(run(executor=pool))
    try:
        for name in _core.supported():
            _core.select(name)
            others.append(run(threads=2))
    finally:
        _core.select(before)
    for other in others:
        assert (other.ei, other.ei_stderr, other.samples) == (one.ei, one.ei_stderr, one.samples)
        assert other.output_entropy == one.output_entropy
        np.testing.assert_array_equal(other.influence_in, one.influence_in)


def test_the_share_that_is_kept_has_the_error_of_all_draws():
    """Against draws themselves: a first few are counted, and many more or hardly any."""
    rng = np.random.default_rng(0)

    def drawn(count, share):
        nothing = np.zeros(rng.binomial(count, share))
        return Controls(nothing, nothing, count, 0, np.zeros((0, 2), np.int64))

    for first, then in ((2048, 60_000), (4096, 300)):
        found = [Means.of([drawn(first, 0.12)]).log_kept([drawn(then, 0.12)]) for _ in range(400)]
        logs, errors = np.array(found).T
        assert abs(logs.mean() - math.log2(0.12)) < 5 * errors.mean() / 20
        assert logs.std() == pytest.approx(errors.mean(), rel=0.15)
    assert Means(np.zeros(2), np.zeros(2), 1.0, None).log_kept([drawn(100, 1.0)]) == (0.0, 0.0)
