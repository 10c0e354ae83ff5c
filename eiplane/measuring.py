"""Measuring what a plan says: a layer, small layers together, a part of a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .extract import ExtractOptions, between
from .joint import JointOptions, closed_bounds, joint, noisy_bounds, vector_bounds
from .pairwise import (
    Called,
    Measure,
    NoisyLayer,
    Small,
    Surroundings,
    check_method,
    measure,
    totals,
)
from .plan import Plan, Target
from .results import Joint, LayerResult, Pairwise, Totals, VectorBounds
from .run import Progress, Purpose, Runner, Sampling, Settings

__all__ = ["Together", "measure_layer", "measure_part"]


class Together:
    """Small layers that come one after the other, measured at once where no edges are kept.

    Parameters
    ----------
    settings : Settings
    edges : bool
    runner : Runner
    results : list of LayerResult
        Where they go, in their order.
    """

    def __init__(
        self, settings: Settings, edges: bool, runner: Runner, results: list[LayerResult]
    ) -> None:
        wanted = _wanted(settings)
        pairs_alone = len(wanted) == len(settings.measures) and settings.noise is None
        self._small = Small(wanted, settings.method) if pairs_alone and not edges else None
        self._settings, self._runner, self._results = settings, runner, results
        self._targets: list[Target] = []

    def takes(self, target: Target) -> bool:
        """Take a layer; if not, it is its turn, and what was taken before is measured."""
        taken = self._small is not None and self._small.takes(target.channel)
        if not taken:
            self.measure()
            taken = self._small is not None and self._small.takes(target.channel)
        if taken:
            self._targets.append(target)
        return taken

    def measure(self) -> None:
        """Measure what was taken."""
        if self._small is not None and self._targets:
            found = self._small.totals(self._runner)
            for target, kept in zip(self._targets, found, strict=True):
                self._results.append(_result(target, self._settings, kept))
            self._targets = []


def _wanted(settings: Settings) -> list[Measure]:
    """Return the pairwise measures that are wanted."""
    both: tuple[Measure, ...] = ("sensitivity", "ei_parts")
    return [which for which in both if which in settings.measures]


def _result(
    target: Target,
    settings: Settings,
    kept: Mapping[Measure, Pairwise | Totals],
    whole: Joint | None = None,
    bounds: VectorBounds | None = None,
) -> LayerResult:
    channel = target.channel
    return LayerResult(
        channel.name,
        channel.n_in * channel.groups,
        channel.n_out,
        target.activation,
        channel.in_bins,
        channel.out_bins,
        target.in_range,
        target.out_range,
        settings.outliers,
        kept.get("sensitivity"),
        kept.get("ei_parts"),
        whole,
        target.range_source,
        bounds,
        target.wiring,
    )


def measure_layer(
    target: Target,
    settings: Settings,
    options: JointOptions,
    sampling: Sampling,
    runner: Runner,
    edges: bool,
) -> LayerResult:
    """Measure a layer, or a span of them.

    Parameters
    ----------
    target : Target
    settings : Settings
    options : JointOptions
    sampling : Sampling
        Of the layer.
    runner : Runner
    edges : bool
        Whether the matrices of the edges are kept.
    """
    channel = target.channel
    kept: dict[Measure, Pairwise | Totals] = {}
    known: Pairwise | None = None
    wanted = _wanted(settings)
    noisy = _noisy(target, settings)
    check_method(channel, settings.method, wanted)
    vectors = bool(settings.measures & {"ei", "bounds"})
    if noisy is None and not edges and not vectors:
        kept.update(totals(wanted, channel, settings.method, sampling, runner).items())
        wanted = []
    for which in wanted:
        if noisy is not None:
            part = noisy.measure(which, runner)
        else:
            part = measure(which, channel, settings.method, sampling, runner)
        part = _shaped(part, target.edge_shape)
        kept[which] = part if edges else part.totals()
        if which == "ei_parts":  # which whole vectors are told of
            known = part
        del part  # else it were there while the next is measured
    whole = bounds = None
    if noisy is not None:
        if vectors:
            informed = None if known is None else known.edges.reshape(channel.n_out, -1)
            key = sampling.key(Purpose.JOINT) if "ei" in settings.measures else None
            bounds = noisy_bounds(noisy, informed, key, runner)
    elif "ei" in settings.measures:
        whole = joint(channel.widened(), sampling, options, runner, known)
    elif "bounds" in settings.measures:
        bounds = closed_bounds(channel.widened(), runner, known)
    return _result(target, settings, kept, whole, bounds)


def measure_part(
    ends: tuple[Any, str, str],
    options: ExtractOptions,
    plan: Plan,
    sampling: Sampling,
    runner: Runner,
    tell: Progress | None,
) -> LayerResult:
    """Measure a part of a module by running it."""
    settings = plan.settings
    if settings.method == "exact" or settings.noise is not None:
        what = "method='exact'" if settings.method == "exact" else "noise"
        raise ValueError(
            f"spans: {ends[1:]!r} is no chain of dense layers, and {what} is for those"
        )
    with between(*ends, options) as part:
        in_range, source = plan.part_range(part)
        out_range = plan.part_output(part)
        called = Called(
            part.name, part.run, part.n_in, part.n_out, in_range, out_range, settings.bins,
            settings.outliers == "drop", settings.baseline, tell,
        )  # fmt: skip
        found: dict[str, Pairwise] = {}
        purposes: dict[Measure, Purpose] = {
            "sensitivity": Purpose.SINGLE,
            "ei_parts": Purpose.PAIRS,
        }
        for which, purpose in purposes.items():
            if which in settings.measures:
                key = sampling.of_part(part.name).key(purpose)
                found[which] = called.measure(which, key, sampling.samples, sampling.tol)
        bounds = None
        if settings.measures & {"ei", "bounds"}:
            key = sampling.of_part(part.name).key(Purpose.JOINT)
            whole = key if "ei" in settings.measures else None
            known = found.get("ei_parts")
            bounds = vector_bounds(called, known, whole, sampling.samples, runner)
    return LayerResult(
        part.name,
        part.n_in,
        part.n_out,
        part.kind,
        *settings.bins,
        in_range,
        out_range,
        settings.outliers,
        found.get("sensitivity"),
        found.get("ei_parts"),
        None,
        source,
        bounds,
        plan.network.wiring,
    )


def _noisy(target: Target, settings: Settings) -> NoisyLayer | None:
    """Return the layer with its noise; None if there is none."""
    if settings.noise is None:
        return None
    if target.layer is None:
        raise ValueError(
            f"layer {target.channel.name!r}: noise is for single layers without pooling"
        )
    around = Surroundings(target.in_range, settings.bins[0], settings.baseline)
    return NoisyLayer(target.layer, settings.noise, around, target.out_range, settings.bins[1])


def _shaped(part: Pairwise, shape: tuple[int, ...]) -> Pairwise:
    """Return the same numbers in the shape of the weight."""
    if part.edges.shape == shape:
        return part
    return replace(
        part,
        edges=part.edges.reshape(shape),
        edges_stderr=None if part.edges_stderr is None else part.edges_stderr.reshape(shape),
        edges_plugin=None if part.edges_plugin is None else part.edges_plugin.reshape(shape),
    )
