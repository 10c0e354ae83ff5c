"""The main job: from weights to the decomposition of every layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from .extract import ExtractOptions, to_network
from .joint import JointOptions, checked_memory, joint
from .network import Channel, Layer, Network, Stage, automatic_range, discretize
from .pairwise import Measure, check_method, measure
from .results import Decomposition, LayerResult, Pairwise
from .run import (
    Progress,
    Range,
    Runner,
    Sampling,
    Settings,
    checked_threads,
    entropy_of,
    progress_bar,
)

__all__ = ["analyze"]


def analyze(
    weights: Any,
    activation: Any = None,
    *,
    measures: str | Iterable[str] = ("sensitivity", "ei_parts", "ei"),
    bins: int | tuple[int, int] = 8,
    in_range: Sequence[float] = (0.0, 1.0),
    out_range: Any = "auto",
    outliers: str = "clip",
    baseline: float = 0.0,
    method: str = "auto",
    samples: int | None = None,
    tol: float | None = None,
    estimator: str = "auto",
    memory_limit: int | None = None,
    spans: Any = "layers",
    layers: Any = None,
    input_size: Sequence[int] | None = None,
    input_data: Any = None,
    strict: bool = False,
    rng: int | np.random.Generator | np.random.SeedSequence | None = 0,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> Decomposition:
    """Measure the causal structure of a network, layer by layer, in bits.

    Every layer's inputs are set to maximum-entropy noise, ``do(L1 = Hmax)``: independent and
    uniform on their range. Inputs and outputs are binned at fixed width, and the information
    between them is measured (Mattsson, Michaud and Hoel, Entropy 22(12) 1429, 2020, section 2).

    Parameters
    ----------
    weights : array_like, list, mapping, eiplane.Layer, torch.nn.Module or path
        One weight matrix of shape (n_out, n_in); a list of matrices, of ``(W, b)`` pairs or of
        :class:`eiplane.Layer`; a torch Module; a state dict; the path of a ``.npz``,
        ``.safetensors``, ``.pt`` (weights only) or ``.onnx`` file.
    activation : str, Activation, or one a layer, optional
        What follows every layer. Sigmoid for arrays when left out; a Module brings its own; a state
        dict or a file of weights needs it.
    measures : str or iterable of str
        What to compute: ``"sensitivity"``, ``"ei_parts"``, ``"ei"``, or what follows from them
        (``"degeneracy"``, ``"phi"``, ``"degeneracy_joint"``, ``"output_entropy"``,
        ``"effectiveness"``).
    bins : int or (int, int)
        Bins of inputs and outputs, 2 to 1024, or (in_bins, out_bins).
    in_range : (float, float)
        Range of the network's inputs. Every later layer takes its predecessor's output range;
        layers of a state dict or a file, which says nothing of the wiring, all take this one.
    out_range : "auto", (float, float) or list of those, one a layer
        Range of the outputs. ``"auto"``: the activation's own where it is bounded, else the image
        of mean +- 4 standard deviations of the pre-activation.
    outliers : {"clip", "drop"}
        Whether values outside the range fall in the end bins, or the sample is left out.
    baseline : float
        Where the other inputs are held while one is perturbed, for the sensitivity.
    method : {"auto", "exact", "sample"}
        How the pairwise measures are found; ``"auto"`` is exact where the layer allows it.
    samples : int, optional
        Number of samples; with ``tol`` the most to take.
    tol : float, optional
        Sample until the standard error is below this, in bits.
    estimator : {"auto", "conditional", "wide", "plugin"}
        Of ``ei``: ``"conditional"`` counts vectors, which serves up to some 20 bits of output
        entropy; ``"wide"`` computes the probabilities of a few hundred samples, at any width, for
        single layers; ``"auto"`` counts where that works. ``"plugin"`` is the paper's.
    memory_limit : int, optional
        Bytes that counting whole vectors may take, for ``ei``; 4 GiB when left out. What needs more
        is a MemoryError, before the memory is taken.
    spans : "layers", "all" or list of (first, last)
        Also measure through several layers at once: ``"all"`` adds every chain of consecutive
        layers; a list of pairs of names or positions measures just those.
    layers : str, iterable of str or callable, optional
        Which layers to measure: names, globs, or a function of (name, layer).
    input_size, input_data : optional
        Shape of a Module's input, or an example of it, where shapes cannot be known otherwise.
    strict : bool
        Whether a part that cannot be analysed is an error instead of a warning.
    rng : int, numpy Generator or SeedSequence, or None
        Decides every random number; None takes fresh entropy.
    threads : int, optional
        Number of threads; else ``EIPLANE_THREADS``, else all CPUs.
    executor : concurrent.futures.Executor, optional
        Where to run the work instead: a process pool, a cluster.
    progress : bool or callable, optional
        None shows a bar on a terminal when the work is long; a callable gets (done, total, what).

    Returns
    -------
    Decomposition
        A sequence of :class:`eiplane.LayerResult`.

    Raises
    ------
    TypeError, ValueError
        For bad input; the message names the layer, what was given and what would be right.

    Examples
    --------
    >>> import numpy as np, eiplane
    >>> d = eiplane.analyze([np.eye(3)], activation="identity", out_range=(0, 1))
    >>> round(d[0].ei_parts, 6)
    9.0
    """
    settings = Settings(
        measures, bins=bins, in_range=in_range, out_range=out_range, outliers=outliers,
        baseline=baseline, method=method, samples=samples, tol=tol, estimator=estimator,
    )  # fmt: skip
    workers = checked_threads(threads, executor)
    options = JointOptions(settings.estimator, checked_memory(memory_limit))
    sampling = Sampling(entropy_of(rng), samples=settings.samples, tol=settings.tol)
    found = to_network(weights, ExtractOptions(activation, layers, input_size, input_data, strict))
    plan = Plan(found.network, settings)
    targets = plan.spans(spans, found.selected)
    with progress_bar(progress) as tell, Runner(workers, executor, tell) as runner:
        results = tuple(
            _measure(
                plan.target(first, last), settings, options, sampling.of_layer(first, last), runner
            )
            for first, last in targets
        )
    return Decomposition(
        results, found.skipped, settings.to_dict() | {"rng": str(sampling.entropy)}
    )


@dataclass(frozen=True)
class Target:
    """One thing to measure, a layer or a span of them.

    Parameters
    ----------
    channel : Channel
        Bears the name.
    activation : str
        Of the last layer.
    in_range, out_range : tuple of float
    edge_shape : tuple of int
        Of the per-edge arrays.
    """

    channel: Channel
    activation: str
    in_range: Range
    out_range: Range
    edge_shape: tuple[int, ...]


class Plan:
    """Ranges and channels of a network's layers, each found when it is needed.

    Parameters
    ----------
    network : Network
    settings : Settings
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        self.network = network
        self.settings = settings
        self.names = [str(layer.name) for layer in network]
        self.index = {name: i for i, name in enumerate(self.names)}
        self._out_ranges: dict[int, Range] = {}
        settings.range_of(0, len(network))  # a list of the wrong length fails at once

    def in_range(self, index: int) -> Range:
        """Return the range of a layer's inputs: joined over the layers that feed it."""
        ranges = {self.names[i]: self.out_range(i) for i in self._sources(index)}
        return self.network.in_range_of(self.names[index], self.settings.in_range, ranges)

    def out_range(self, index: int) -> Range:
        """Return the range of a layer's outputs."""
        # Whatever it depends on comes first: no recursion, which a deep network would exhaust.
        needed, todo = set(), [index]
        while todo:
            at = todo.pop()
            if at not in self._out_ranges and at not in needed:
                needed.add(at)
                todo += self._sources(at) if self._chosen(at) == "auto" else []
        for at in sorted(needed):  # layers stand in order of execution
            chosen = self._chosen(at)
            if chosen == "auto":
                chosen = automatic_range(self.network[at].load(), self.in_range(at))
            self._out_ranges[at] = chosen
        return self._out_ranges[index]

    def _chosen(self, index: int) -> Literal["auto"] | Range:
        return self.settings.range_of(index, len(self.network))

    def _sources(self, index: int) -> list[int]:
        """Return the layers whose output ranges make a layer's input range."""
        name = self.names[index]
        if name in self.network.in_ranges:
            return []
        return [self.index[source] for source in self.network.sources[name]]

    def target(self, first: int, last: int) -> Target:
        """Return what is measured from the input of one layer to the output of another."""
        layer = self.network[last].load()
        name, out_range = self.names[last], self.out_range(last)
        in_range = self.in_range(first)
        before = tuple(_stage(self.network[i].load()) for i in range(first, last))
        channel = discretize(layer, self.settings.binning, in_range, out_range, before)
        shape = layer.edge_shape
        if first != last:
            name = f"{self.names[first]}..{name}"
            shape = (channel.n_out, channel.n_in)
        return Target(replace(channel, name=name), layer.function, in_range, out_range, shape)

    def spans(self, spans: Any, selected: Sequence[str]) -> list[tuple[int, int]]:
        """Return the spans to measure, as pairs of positions.

        Parameters
        ----------
        spans : "layers", "all" or list of pairs of names or positions
        selected : sequence of str
            Names of the layers that were asked for.
        """
        singles = [(self.index[name], self.index[name]) for name in selected]
        if isinstance(spans, str):
            if spans == "layers":
                return singles
            if spans != "all":
                raise ValueError(f"spans must be 'layers', 'all' or a list of pairs, got {spans!r}")
            wanted = {i for i, _ in singles}
            longer = [
                (first, last)
                for first in range(len(self.names))
                for last in range(first + 1, len(self.names))
                if {first, last} <= wanted and self._break(first, last) is None
            ]
            return singles + longer
        pairs = []
        for pair in spans:
            if isinstance(pair, str) or len(tuple(pair)) != 2:
                raise ValueError(f"spans: a span is a pair (first, last), got {pair!r}")
            first, last = (self._position(end) for end in pair)
            if first > last:
                raise ValueError(f"spans: {pair!r} ends before it begins")
            reason = self._break(first, last)
            if reason:
                raise ValueError(f"spans: {pair!r} is not a chain of dense layers: {reason}")
            pairs.append((first, last))
        return pairs

    def _position(self, end: Any) -> int:
        if isinstance(end, str) and end in self.index:
            return self.index[end]
        if isinstance(end, (int, np.integer)) and -len(self.names) <= end < len(self.names):
            return int(end) % len(self.names)
        raise ValueError(f"spans: no layer {end!r}; there are {', '.join(self.names)}")

    def _break(self, first: int, last: int) -> str | None:
        """Say why the layers are no chain that can be measured at once, or None."""
        for i in range(first, last + 1):
            if first != last and not self.network[i].is_dense:
                return f"{self.names[i]!r} is not dense"
            if i > first and self._sources(i) != [i - 1]:
                return f"{self.names[i]!r} is not fed by {self.names[i - 1]!r} alone"
            if i > first and self.names[i] not in self.network.straight:
                return f"{self.names[i]!r} takes what {self.names[i - 1]!r} gives in another order"
        return None


def _stage(layer: Layer) -> Stage:
    return Stage(layer.n_in, layer.n_out, layer.matrix(), layer.offsets(), layer.activation)


def _measure(
    target: Target,
    settings: Settings,
    options: JointOptions,
    sampling: Sampling,
    runner: Runner,
) -> LayerResult:
    channel = target.channel
    parts: dict[str, Pairwise] = {}
    check_method(channel, settings.method)
    wanted: tuple[Measure, ...] = ("sensitivity", "ei_parts")
    for which in wanted:
        if which in settings.measures:
            part = measure(which, channel, settings.method, sampling, runner)
            parts[which] = _shaped(part, target.edge_shape)
    whole = None
    if "ei" in settings.measures:
        whole = joint(channel, sampling, options, runner, parts.get("ei_parts"))
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
        parts.get("sensitivity"),
        parts.get("ei_parts"),
        whole,
    )


def _shaped(part: Pairwise, shape: tuple[int, ...]) -> Pairwise:
    """Return the same numbers in the shape of the weight."""
    return replace(
        part,
        edges=part.edges.reshape(shape),
        edges_stderr=None if part.edges_stderr is None else part.edges_stderr.reshape(shape),
        edges_plugin=None if part.edges_plugin is None else part.edges_plugin.reshape(shape),
    )
