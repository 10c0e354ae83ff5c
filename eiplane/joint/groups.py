"""Information between groups of neurons: some inputs of a layer and some of its outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from ..results import Joint
from ..run import (
    Progress,
    Purpose,
    Runner,
    Sampling,
    Settings,
    checked_threads,
    entropy_of,
    progress_bar,
)
from .bounds import WholeBounds, trivial_bounds
from .budget import DEFAULT_SAMPLES
from .engine import measure
from .estimates import counted_information
from .layers import channel_of
from .options import JointOptions, checked_memory
from .saturation import is_saturated, warn_saturated
from .settle import settled_information, settled_output
from .task import Target
from .vectors import Counted, Counter, CountJob

__all__ = ["Group", "between", "ei_between"]

#: Samples for every combination of input bins from which on one stream serves a pair of groups.
_ENOUGH = 64
#: Pairs with a single output that are computed one by one, some milliseconds each.
_ALONE = 256
#: Vectors to be counted in that stream, where no number of samples is given.
_WORK = 1 << 25

Group = tuple[int, ...]


def ei_between(
    layer: Any,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    activation: Any = None,
    bins: int | tuple[int, int] = 8,
    in_range: Sequence[float] = (0.0, 1.0),
    out_range: Any = "auto",
    outliers: str = "clip",
    samples: int | None = None,
    tol: float | None = None,
    estimator: str = "auto",
    memory_limit: int | None = None,
    rng: int | np.random.Generator | np.random.SeedSequence | None = 0,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> Joint | list[Joint]:
    """Measure the EI between a group of inputs and a group of outputs, in bits.

    ``I(X_G; Y_O)`` of the binned vectors of the two groups under ``do(L1 = Hmax)``: all inputs are
    perturbed, those outside the group too, as noise.

    Parameters
    ----------
    layer : eiplane.Layer, array_like of shape (n_out, n_in), or (weight, bias)
    inputs, outputs : sequence of int, or sequence of such sequences
        Places of neurons. With lists of groups the i-th group of inputs goes with the i-th of
        outputs; a list with a single group goes with all of the other. Many groups share
        one stream of samples.
    activation : str or Activation, optional
        Of a bare weight; sigmoid when left out.
    bins, in_range, out_range, outliers, samples, tol, estimator, rng, threads, executor, progress
        As in :func:`eiplane.analyze`. With ``outliers="drop"`` a sample is left out if any output
        of the layer is out of range, in the groups or not. The warning of
        :class:`eiplane.SaturationWarning` names the groups.
    memory_limit : int, optional
        Bytes that counting may take; 4 GiB when left out.

    Returns
    -------
    Joint or list of Joint
        One for every pair of groups: ``ei``, ``ei_stderr``, ``ei_bounds``, ``output_entropy`` (of
        the group), ... ``ei`` is None where ``saturated``. A list if either argument was a list of
        groups.

    Raises
    ------
    TypeError, ValueError
        For bad input.

    Examples
    --------
    >>> import numpy as np, eiplane
    >>> swap = eiplane.Layer(np.eye(2)[::-1], activation="identity")
    >>> eiplane.ei_between(swap, [0], [1], out_range=(0, 1)).ei
    3.0
    """
    settings = Settings(
        "ei", bins=bins, in_range=in_range, out_range=out_range, outliers=outliers,
        samples=samples, tol=tol, estimator=estimator,
    )  # fmt: skip
    workers = checked_threads(threads, executor)
    channel = channel_of(layer, activation, settings)
    pairs, many = _pairs(inputs, outputs, channel)
    options = JointOptions(settings.estimator, checked_memory(memory_limit), influence=False)
    sampling = Sampling(entropy_of(rng), samples=settings.samples, tol=settings.tol)
    with progress_bar(progress) as tell, Runner(workers, executor, tell) as runner:
        results = between(channel, pairs, sampling, options, runner)
    for (group, _), result in zip(pairs, results, strict=True):
        warn_saturated(f"{channel.name!r}, inputs {list(group)}", result, channel.drops)
    return results if many else results[0]


def _pairs(
    inputs: Sequence[Any], outputs: Sequence[Any], channel: Channel
) -> tuple[list[tuple[Group, Group]], bool]:
    ins, many_in = _groups("inputs", inputs, channel.n_in * channel.groups)
    outs, many_out = _groups("outputs", outputs, channel.n_out)
    if len(ins) != len(outs) and 1 not in (len(ins), len(outs)):
        raise ValueError(
            f"{len(ins)} groups of inputs and {len(outs)} of outputs were given; "
            "give as many, or one of either"
        )
    count = max(len(ins), len(outs))
    pairs = [(ins[i % len(ins)], outs[i % len(outs)]) for i in range(count)]
    return pairs, many_in or many_out


def _groups(what: str, value: Sequence[Any], count: int) -> tuple[list[Group], bool]:
    items = list(value)
    if not items:
        raise ValueError(f"{what}: a group needs at least one neuron")
    many = not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in items)
    groups = []
    for group in items if many else [items]:
        try:
            members = list(group)
        except TypeError:
            raise TypeError(f"{what} must be places of neurons, or lists of them") from None
        for i in members:
            if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
                raise TypeError(f"{what} must be places of neurons, got {i!r}")
            if not -count <= i < count:
                raise ValueError(f"{what}: there is no neuron {i}; the layer has {count}")
        places = sorted({int(i) % count for i in members})
        if not members or len(places) != len(members):
            raise ValueError(f"{what}: a group has at least one neuron and none twice: {members}")
        groups.append(tuple(places))
    return groups, many


def between(
    channel: Channel,
    pairs: list[tuple[Group, Group]],
    sampling: Sampling,
    options: JointOptions,
    runner: Runner,
) -> list[Joint]:
    """Measure what :func:`ei_between` does, of a channel.

    Parameters
    ----------
    channel : Channel
    pairs : list of (inputs, outputs)
        Places of neurons, each group in rising order, none empty.
    sampling : Sampling
    options : JointOptions
    runner : Runner

    Returns
    -------
    list of Joint
        One for every pair.
    """
    results: dict[tuple[Group, Group], Joint] = {}
    distinct = list(dict.fromkeys(pairs))
    shared = _shareable(channel, distinct, sampling, options)
    if shared:
        results |= _from_one_stream(channel, shared, sampling, options, runner)
    for pair in distinct:
        if pair not in results:
            key = _key(sampling, pair)
            target = Target(
                channel,
                _mask(pair[0], channel.n_in * channel.groups),
                _mask(pair[1], channel.n_out),
            )
            results[pair] = measure(target, key, sampling, options, runner)
    return [results[pair] for pair in pairs]


def _key(sampling: Sampling, pair: tuple[Group, Group]) -> int:
    """Return the key of a pair of groups: its own, whichever others are asked for."""
    words = [sampling.key(Purpose.GROUPS), len(pair[0]), *pair[0], *pair[1]]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def _mask(places: Group, count: int) -> NDArray[np.bool_]:
    mask = np.zeros(count, bool)
    mask[list(places)] = True
    return mask


def _samples(sampling: Sampling, work: int) -> int:
    if sampling.samples is not None:
        return sampling.samples
    return min(DEFAULT_SAMPLES, max(1 << 14, _WORK // work))


def _shareable(
    channel: Channel,
    pairs: list[tuple[Group, Group]],
    sampling: Sampling,
    options: JointOptions,
) -> list[tuple[Group, Group]]:
    """Return the pairs that one stream of samples is to serve, if there are several."""
    if len(pairs) < 2 or channel.groups > 1:
        return []
    if options.estimator == "plugin":
        return pairs
    if sampling.tol is not None:
        return []
    samples = _samples(sampling, 3 * len(pairs))
    few = [p for p in pairs if channel.in_bins ** len(p[0]) * _ENOUGH <= samples]
    if not channel.stages and not channel.drops:  # single outputs are exact by themselves
        alone = [p for p in few if len(p[1]) == 1]
        few = few if len(alone) > _ALONE else [p for p in few if len(p[1]) > 1]
    return few if len(few) > 1 else []


def _from_one_stream(
    channel: Channel,
    pairs: list[tuple[Group, Group]],
    sampling: Sampling,
    options: JointOptions,
    runner: Runner,
) -> dict[tuple[Group, Group], Joint]:
    ins = list(dict.fromkeys(group for group, _ in pairs))
    outs = list(dict.fromkeys(group for _, group in pairs))
    sets = [*ins, *(tuple(channel.n_in + o for o in group) for group in outs)]
    both = tuple((ins.index(a), len(ins) + outs.index(b)) for a, b in pairs)
    job = CountJob(sampling.key(Purpose.GROUPS), 0, 0, 0, tuple(sets), both)
    counter = Counter(channel, job, runner, options.memory)
    counter.extend(_samples(sampling, len(sets) + len(both)))
    counted = counter.result()
    plugin = options.estimator == "plugin"
    results = {}
    for i, (pair, (one, two)) in enumerate(zip(pairs, both, strict=True)):
        bounds = trivial_bounds(len(pair[0]), len(pair[1]), channel.in_bins, channel.out_bins)
        results[pair] = _joint(counted, (one, two, i), channel, pair, bounds, plugin)
    if sampling.tol is not None:
        results = {
            pair: replace(
                r, converged=bool((r.ei_stderr or 0.0) <= sampling.tol and not r.saturated)
            )
            for pair, r in results.items()
        }
    return results


def _joint(
    counted: Counted,
    places: tuple[int, int, int],
    channel: Channel,
    groups: tuple[Group, Group],
    bounds: tuple[float, float],
    plugin: bool,
) -> Joint:
    """Return the information of a pair of counted sets."""
    one, two, pair = places
    outside = counted.outside / max(counted.samples, 1)
    name = "plugin" if plugin else "conditional"
    if counted.kept == 0:
        return Joint(None, None, bounds, None, None, name, counted.samples, 0.0, True,
                     outlier_fraction=outside)  # fmt: skip
    inputs, outputs = groups
    known = None if channel.drops else len(inputs) * math.log2(channel.in_bins)
    information, output = counted_information(counted, one, two, pair, known, plugin)
    saturated = is_saturated(information.coverage, information.bias)
    most = len(outputs) * math.log2(channel.out_bins)
    found = settled_information(information, bounds, saturated, plugin)
    entropy = settled_output(output, WholeBounds(bounds, (0.0, most), (0.0, most)), plugin)
    return Joint(
        found.value,
        found.stderr,
        bounds,
        entropy.value,
        entropy.stderr,
        name,
        counted.samples,
        information.coverage,
        saturated,
        outlier_fraction=outside,
        output_entropy_bounds=entropy.bounds,
    )
