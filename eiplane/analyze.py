"""The main job: from weights to the decomposition of every layer."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .extract import Extracted, ExtractOptions, parts_of, to_network
from .joint import JointOptions, checked_memory
from .measuring import Together, measure_layer, measure_part
from .network import Network, RangeRule, spans_of
from .plan import Plan
from .results import Decomposition, LayerResult
from .run import (
    Helpers,
    Progress,
    Runner,
    Sampling,
    Settings,
    checked_threads,
    entropy_of,
    progress_bar,
    stage,
    warn_assumed,
)

__all__ = ["Analysis", "analyze"]


def analyze(
    weights: Any,
    activation: Any = None,
    *,
    measures: str | Iterable[str] = ("sensitivity", "ei_parts", "ei"),
    bins: int | tuple[int, int] = 8,
    in_range: Sequence[float] | Mapping[Any, Any] | None = None,
    out_range: Any = "auto",
    outliers: str = "clip",
    baseline: float = 0.0,
    method: str = "auto",
    samples: int | None = None,
    tol: float | None = None,
    estimator: str = "auto",
    ranges: str = "auto",
    quantiles: Sequence[float] = (0.001, 0.999),
    noise: Any = None,
    memory_limit: int | None = None,
    spans: Any = "layers",
    layers: Any = None,
    edges: bool = True,
    input_size: Sequence[int] | None = None,
    input_data: Any = None,
    strict: bool = False,
    key: str | None = None,
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
        :class:`eiplane.Layer`; a torch Module or a program of ``torch.export``; a state dict; the
        path of a ``.npz``, ``.safetensors``, ``.pt`` (weights only), ``.pt2`` or ``.onnx`` file.
    activation : str, Activation, or one a layer, optional
        What follows every layer. Sigmoid for arrays when left out; a Module brings its own; a state
        dict or a file of weights needs it.
    measures : str or iterable of str
        What to compute: ``"sensitivity"``, ``"ei_parts"``, ``"ei"``, or what follows from them
        (``"degeneracy"``, ``"phi"``, ``"degeneracy_joint"``, ``"output_entropy"``,
        ``"effectiveness"``, ``"determinism"``, ``"specificity"``, ``"redundancy_in"``,
        ``"redundancy_out"``). ``"bounds"`` gives rigorous bounds of EI, phi and H(Y) in closed
        form, without a sample, at any width.
    bins : int or (int, int)
        Bins of inputs and outputs, 2 to 1024, or (in_bins, out_bins).
    in_range : (float, float), or mapping of layers to those
        Range of the network's inputs, (0, 1) when left out. Every later layer takes its
        predecessor's output range; layers of a state dict or a file, which says nothing of the
        wiring, all take this one. A mapping of layers' names or globs to pairs sets those layers'
        own; under None the network's.
    out_range : "auto", (float, float), list of those, one a layer, or mapping
        Range of the outputs. ``"auto"``: the activation's own where it is bounded, else the image
        of mean +- 4 standard deviations of the pre-activation. A mapping is as of ``in_range``.
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
    ranges : {"auto", "data"}
        Where ranges come from that ``in_range`` and ``out_range`` do not give by name. ``"auto"``:
        from activations and interval arithmetic. ``"data"``: a Module, a program or an ONNX graph
        runs on all of ``input_data``, once, in evaluation mode, and each layer's inputs and outputs
        have the range that they really had. What the data did not reach has that of ``"auto"``.
    quantiles : (float, float)
        Where a range from data begins and ends, of all numbers of all batches, outputs or inputs
        alike: each within 1/64 of its distance from 0 or 1. ``(0, 1)`` is exactly the least and the
        greatest. Where both are the same number the least and the greatest are taken, and a range
        of width 1 about what never changes.
    noise : float, ("gaussian", std), ("uniform", width) or "dither", optional
        Noise added to every output, by its standard deviation or its full width; then outputs are
        not binned, and what is measured is the continuous information, which does not depend on
        output bins. ``"dither"`` keeps them but averages over where they begin; that is uniform
        noise as wide as a bin. Edges are exact. Of whole vectors only bounds are known, from
        samples where ``"ei"`` is asked for. For single layers without pooling.
    memory_limit : int, optional
        Bytes that counting whole vectors may take, for ``ei``; 4 GiB when left out. What needs more
        is a MemoryError, before the memory is taken.
    spans : "layers", "all" or list of (first, last)
        Also measure through several layers at once, from the input of the first to the output of
        the last: ``"all"`` adds every chain of consecutive dense layers; a list of pairs of names
        or positions measures just those. Of a torch Module also any parts by their names: blocks
        with residuals, branches, convolutions. Those are run as they are.
    layers : str, iterable of str or callable, optional
        Which layers to measure: names, globs, or a function of (name, layer).
    edges : bool
        Whether results keep the matrices of their edges. False: their sums only, and one layer's
        matrices are in memory at a time, which for a file is all that is read of it at once.
    input_size : sequence of int, optional
        Shape of the input of a Module or an ONNX graph, where it cannot be known otherwise.
    input_data : array, tensor, tuple, mapping or iterable of those, optional
        An example of the input of a Module, a program or an ONNX graph: one argument, several in a
        tuple, or named ones. Anything else that can be gone through, such as a list or a
        ``DataLoader``, is taken for batches: the first is the example, and ``ranges="data"`` takes
        them all. Of a batch that is a pair (inputs, labels), or any sequence, the first entries are
        taken, as many as ``forward`` cannot do without; of a mapping the entries whose names
        ``forward`` knows.
    strict : bool
        Whether a part that cannot be analysed is an error instead of a warning.
    key : str, optional
        Which network of a checkpoint (or a mapping) that holds several: ``"generator"``.
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
    return Analysis({k: v for k, v in locals().items() if k != "weights"})(weights)


class Analysis:
    """Options of :func:`analyze`, checked once, for weights that are measured again and again.

    Parameters
    ----------
    options : mapping
        All of :func:`analyze`, by name.

    Raises
    ------
    TypeError, ValueError
        For options that are none.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = dict(options)
        self.settings = Settings(
            given["measures"],
            **{name: given[name] for name in _OF_SETTINGS},
        )
        self._workers = checked_threads(given["threads"], given["executor"])
        self._edges = given["edges"]
        if not isinstance(self._edges, bool | np.bool_):
            raise TypeError(f"edges must be True or False, got {self._edges!r}")
        self._joint = JointOptions(self.settings.estimator, checked_memory(given["memory_limit"]))
        self._options = given
        self._plain = pickle.dumps(self.settings.to_dict())  # to give away copies of
        self._last: _Wiring | None = None

    @classmethod
    def of(cls, **options: Any) -> Analysis:
        """Return the analysis with some of the options, the others as :func:`analyze` has them."""
        bound = inspect.signature(analyze).bind(None, **options)
        bound.apply_defaults()
        return cls({k: v for k, v in bound.arguments.items() if k != "weights"})

    def __call__(self, weights: Any, helpers: Helpers | None = None) -> Decomposition:
        """Return what :func:`analyze` returns for these weights.

        ``helpers``: threads that are there already, of who measures again and again.
        """
        given, settings = self._options, self.settings
        entropy = entropy_of(given["rng"])
        sampling = Sampling(entropy, samples=settings.samples, tol=settings.tol)
        with progress_bar(given["progress"]) as tell:
            wiring = self._wiring(weights, tell)
            targets, plan = wiring.targets, wiring.plan(settings)
            results: list[LayerResult] = []
            with Runner(self._workers, given["executor"], tell, helpers) as runner:
                small = Together(settings, self._edges, runner, results)
                for number, (first, last) in enumerate(targets, start=1):
                    stage(tell, number, len(targets))
                    if isinstance(first, int) and isinstance(last, int):
                        target = plan.target(first, last)
                        if small.takes(target):
                            continue
                        draws = sampling.of_layer(first, last)
                        part = measure_layer(
                            target, settings, self._joint, draws, runner, self._edges
                        )
                    else:
                        small.measure()
                        ends = (weights, str(first), str(last))
                        part = measure_part(ends, wiring.options, plan, sampling, runner, tell)
                        part = part if self._edges else part.without_edges()
                    results.append(part)
                small.measure()
        starts = [first for first, _ in targets if isinstance(first, int)]
        warn_assumed(plan.assumed(starts), settings.input_range)  # what fails needs no warning
        used = pickle.loads(self._plain) | {"rng": str(sampling.entropy)}
        return Decomposition(tuple(results), wiring.found.skipped, used)

    def _wiring(self, weights: Any, tell: Progress | None) -> _Wiring:
        """Return how weights are wired: those of the very network that came last, as they were."""
        last, given = self._last, self._options
        if last is not None and last.found.network is weights:
            return last
        options = ExtractOptions(
            given["activation"], given["layers"], given["input_size"], given["input_data"],
            given["strict"], given["key"], self.settings.data_quantiles, tell,
        )  # fmt: skip
        found = to_network(weights, options)
        spans = given["spans"]
        parts = frozenset() if isinstance(spans, str) else parts_of(weights)
        targets = spans_of(found.network, spans, found.selected, parts)
        made = _Wiring(options, found, targets)
        if isinstance(weights, Network) and not callable(given["layers"]):
            self._last = made
        return made


#: Options that say what is measured, beside the measures.
_OF_SETTINGS = (
    "bins", "in_range", "out_range", "outliers", "baseline", "method", "samples", "tol",
    "estimator", "ranges", "quantiles", "noise",
)  # fmt: skip


@dataclass
class _Wiring:
    """A network as it was found, and what of it is measured."""

    options: ExtractOptions
    found: Extracted
    targets: list[tuple[int, int] | tuple[str, str]]
    rules: dict[str, RangeRule] = field(default_factory=dict)

    def plan(self, settings: Settings) -> Plan:
        """Return a new plan: ranges follow from the weights, which may have changed."""
        named = [pair for pair in self.targets if isinstance(pair[0], str)]
        others = [str(end) for pair in named for end in pair]
        return Plan(self.found.network, settings, others, self.rules)
