"""``eiplane.through_time``: from a recurrent model to its causal structure at every lag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..joint import JointOptions, checked_memory
from ..joint.cells import CellEntropy
from ..joint.saturation import warn_saturated
from ..results import Joint, LayerResult, Pairwise
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
from . import collapsed
from .around import surroundings
from .read import read_cell
from .result import ThroughTime
from .sampled import DEFAULT_SAMPLES, MOST_SAMPLES, Samples, cell_entropies, matrices, sensitivities
from .setup import Setup

__all__ = ["through_time"]

Array = NDArray[np.float64]


def through_time(
    model: Any,
    *,
    lags: int | Iterable[int] = (1, 2, 4, 8),
    perturb: str = "state",
    inputs: Any = "noise",
    measures: str | Iterable[str] = ("sensitivity", "ei_parts", "ei"),
    state: str = "hidden",
    sizes: tuple[int, int | tuple[int, ...]] | None = None,
    activation: Any = None,
    bins: int | tuple[int, int] = 8,
    in_range: Sequence[float] = (0.0, 1.0),
    state_range: Any = "auto",
    outliers: str = "clip",
    baseline: float = 0.0,
    method: str = "auto",
    samples: int | None = None,
    tol: float | None = None,
    estimator: str = "auto",
    memory_limit: int | None = None,
    rng: int | np.random.Generator | np.random.SeedSequence | None = 0,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> ThroughTime:
    """Measure the causal structure of a recurrent network through time, in bits.

    The state ``h_t`` or the input ``x_t`` is set to maximum-entropy noise, ``do(h_t = Hmax)``, the
    network runs on, and the information between what was set and ``h_(t + k)`` is measured as that
    between the inputs and outputs of a layer (Mattsson, Michaud and Hoel, Entropy 22(12) 1429,
    2020, section 2): EI, EI_parts, sensitivity, phi and what follows from them, for every lag k.

    Parameters
    ----------
    model : torch.nn.RNN, LSTM, GRU, their cells, mapping, arrays or callable
        Also a state dict that holds one recurrent network; weights of a plain cell as one matrix
        ``w_h``, ``(w_x, w_h)`` or ``(w_x, w_h, bias)``, for ``h' = f(w_x x + w_h h + bias)``; a
        function that takes x of shape (samples, inputs) and h of shape (samples, state) and
        returns the next h; or a torch Module that does. Of several levels the state is that of all.
    lags : int or iterable of int
        Steps. ``h_t`` is the state after ``x_t`` was read: the state is measured from lag 1 on,
        the input from lag 0 on, ``x_t`` to ``h_t``.
    perturb : {"state", "input"}
        What is set.
    inputs : {"noise", "fixed"}, array_like of shape (sequences, steps, inputs), or list of such
        What surrounds it. ``"noise"``: inputs uniform on their range, fresh at every step, and what
        of the state is not set uniform on its own. ``"fixed"``: both held at the baseline. Data:
        windows of these sequences, drawn at random, and the state that the model has there, run
        from rest. Sequences of different lengths are a list of arrays of shape (steps, inputs), or
        a packed sequence of torch; each window that is long enough is drawn as often. Under
        sensitivity all of it is held at the baseline, inputs from data at their average.
    measures : str or iterable of str
        As in :func:`eiplane.analyze`, without ``"bounds"``.
    state : {"hidden", "all"}
        Which part of an LSTM's state is set and measured: h, or h and the cells c; of a tuple the
        first, or all.
    sizes : (int, int or tuple of int), optional
        How many neurons x and h have, where a function does not tell. ``(2, (3, 3))``: h is a tuple
        of two, as the (h, c) of an LSTM, given and returned; the first is what is hidden.
    activation : str or Activation, optional
        Of plain weights; tanh when left out.
    bins : int or (int, int)
        Before and after.
    in_range : (float, float)
        Of the inputs x.
    state_range : "auto", (float, float) or array_like of shape (state, 2)
        Of the state's neurons, before and after alike. ``"auto"``: that of a function with bounds
        (-1 to 1 of a GRU or the h of an LSTM), and where there are none what is seen within 64
        steps from rest, quantiles 0.001 and 0.999.
    outliers : {"clip", "drop"}
        Whether values of the state outside its range fall in the end bins, or the run is left out
        at that lag: of an edge where its own output is outside, of whole vectors where any is.
    baseline : float
        Where neurons are held.
    method : {"auto", "exact", "sample"}
        ``"auto"`` measures a lag that is a single layer as such, edges exactly: any lag of a linear
        cell, the first of a plain one. Others are sampled.
    samples : int, optional
        Runs of the model for each of EI_parts, the vectors' entropy and that within cells; 65,536
        when left out. With ``tol`` the most to take, 4,194,304 when left out.
    tol : float, optional
        Take four times as many runs of a lag, from 65,536 on, until the standard errors of all that
        is measured of it are at most this, in bits. ``converged`` says whether EI's is.
    estimator : {"auto", "conditional", "wide", "plugin"}
        Of ``ei``. ``"auto"`` and ``"conditional"`` count vectors of sampled lags; ``"plugin"`` is
        the paper's. ``"wide"`` is for lags that are a single layer, for which all are as in
        :func:`eiplane.analyze`.
    memory_limit : int, optional
        Bytes that what is kept of all runs may take; 4 GiB when left out. What needs more is a
        MemoryError, before the memory is taken.
    rng, threads, executor, progress
        As in :func:`eiplane.analyze`. A function written by hand must be picklable for an executor
        of other processes.

    Returns
    -------
    ThroughTime
        A :class:`eiplane.Decomposition`, a lag in the place of a layer: ``t.lag(4).ei``. Of a state
        of at most 12 bits when binned also the transition matrices: ``t.tpm(lag)``.

    Raises
    ------
    TypeError, ValueError
        For bad input, or a state that leaves the finite numbers.

    Examples
    --------
    A state of two neurons that change places at every step:

    >>> import numpy as np, eiplane
    >>> swap = np.array([[0.0, 1], [1, 0]])
    >>> t = eiplane.through_time(swap, activation="identity", lags=(1, 2), state_range=(0, 1))
    >>> t.lag(1).ei, t.lag(1).ei_edges.round(3).tolist(), t.lag(2).ei_edges.round(3).tolist()
    (6.0, [[0.0, 3.0], [3.0, 0.0]], [[3.0, 0.0], [0.0, 3.0]])
    """
    settings = Settings(
        measures, bins=bins, in_range=in_range, baseline=baseline, method=method, samples=samples,
        tol=tol, outliers=outliers, estimator=estimator,
    )  # fmt: skip
    options = JointOptions(settings.estimator, checked_memory(memory_limit), influence=False)
    if "bounds" in settings.measures:
        raise ValueError("measures: 'bounds' are for layers")
    for name, value, known in (
        ("perturb", perturb, ("state", "input")), ("state", state, ("hidden", "all")),
    ):  # fmt: skip
        if value not in known:
            raise ValueError(f"{name} is {' or '.join(map(repr, known))}, got {value!r}")
    cell = read_cell(model, activation, sizes)
    if perturb == "input" and cell.n_inputs == 0:
        raise ValueError("perturb='input' needs a model with inputs")
    chosen = _checked_lags(lags, 1 if perturb == "state" else 0)
    workers = checked_threads(threads, executor)
    sampling = Sampling(entropy_of(rng), samples=settings.samples, tol=settings.tol)
    with cell.ready():
        around, source = surroundings(cell, inputs, settings, state_range, sampling)
    places = cell.hidden if state == "hidden" else cell.n_state
    setup = Setup(
        cell, perturb, chosen, places, settings.bins, settings.baseline, around,
        settings.outliers == "drop",
    )  # fmt: skip
    if around.lengths is not None and around.lengths.max() < setup.window:
        raise ValueError(
            f"sequences of {around.lengths.max()} steps are too short for a lag of "
            f"{chosen[-1]}: {setup.window} are needed"
        )
    with cell.ready(), progress_bar(progress) as tell, Runner(workers, executor, tell) as runner:
        found, tiny = _measure(setup, settings, options, sampling, runner)
    source = source if perturb == "state" else "given"
    results = tuple(_result(setup, lag, found[lag], source) for lag in chosen)
    for result in results:
        if result.joint is not None:
            warn_saturated(repr(result.name), result.joint, setup.drop)
    kept = settings.to_dict() | {
        "perturb": perturb, "inputs": around.kind, "state": state, "rng": str(sampling.entropy),
    }  # fmt: skip
    return ThroughTime(results, (), kept, chosen, perturb, tiny)


def _checked_lags(lags: int | Iterable[int], least: int) -> tuple[int, ...]:
    given = [lags] if isinstance(lags, (int, np.integer)) else list(lags)
    if not given:
        raise ValueError("lags: give at least one")
    for lag in given:
        if isinstance(lag, bool) or not isinstance(lag, (int, np.integer)):
            raise TypeError(f"lags are whole numbers of steps, got {lag!r}")
        if lag < least:
            raise ValueError(f"lags begin at {least} here, got {lag}")
        if lag >= 2**31:
            raise ValueError(f"lags are below 2**31 steps, got {lag}")
    return tuple(sorted({int(lag) for lag in given}))


_Found = tuple[Pairwise | None, Pairwise | None, Joint | None]


def _measure(
    setup: Setup, settings: Settings, options: JointOptions, sampling: Sampling, runner: Runner
) -> tuple[dict[int, _Found], dict[int, Array]]:
    """Return the measures of every lag, and transition matrices."""
    alone = [lag for lag in setup.lags if collapsed.applies(setup, lag)]
    if settings.method == "sample":
        alone = []
    rest = [lag for lag in setup.lags if lag not in alone]
    if settings.method == "exact" and rest:
        raise ValueError(
            f"method='exact' is for lags that are a single layer, and lag {rest[0]} is none; use "
            "method='auto' or 'sample'"
        )
    if settings.estimator == "wide" and rest and "ei" in settings.measures:
        raise ValueError(
            f"estimator='wide' is for lags that are a single layer, and lag {rest[0]} is none; use "
            "estimator='auto', 'conditional' or 'plugin'"
        )
    found: dict[int, _Found] = {}
    wanted = [m in settings.measures for m in ("sensitivity", "ei_parts", "ei")]
    for lag in alone:
        layer = collapsed.collapse(setup, lag)
        found[lag] = (
            layer.sensitivity(runner) if wanted[0] else None,
            layer.ei_parts(runner) if wanted[1] else None,
            layer.joint(sampling.of_layer(lag), options, runner) if wanted[2] else None,
        )
    count = settings.samples or DEFAULT_SAMPLES
    sampler = _Sampler(setup, wanted, options, sampling, runner)
    if rest and settings.tol is None:
        found |= sampler.measured(tuple(rest), count)
    elif rest:
        found |= sampler.until(tuple(rest))
    tiny = matrices(setup, sampling.key(Purpose.JOINT), count, runner) if wanted[2] else {}
    return found, tiny


@dataclass(frozen=True, eq=False)
class _Sampler:
    """How lags that are no single layer are sampled.

    Parameters
    ----------
    setup : Setup
    wanted : list of bool
        Sensitivity, EI_parts, EI.
    options : JointOptions
    sampling : Sampling
    runner : Runner
    """

    setup: Setup
    wanted: list[bool]
    options: JointOptions
    sampling: Sampling
    runner: Runner

    def until(self, lags: tuple[int, ...]) -> dict[int, _Found]:
        """Sample every lag until its errors are small enough, or the runs are used up."""
        assert self.sampling.tol is not None
        most = self.sampling.samples or MOST_SAMPLES
        found: dict[int, _Found] = {}
        left, count = lags, min(DEFAULT_SAMPLES, most)
        while True:
            some = self.measured(left, count)
            found |= {lag: _marked(one, self.sampling.tol) for lag, one in some.items()}
            left = tuple(lag for lag in left if not _settled(found[lag], self.sampling.tol))
            if not left or count >= most:
                return found
            count = min(4 * count, most)

    def measured(self, lags: tuple[int, ...], count: int) -> dict[int, _Found]:
        """Sample lags with so many runs."""
        setup, runner = replace(self.setup, lags=lags), self.runner
        alone, parts, whole = self.wanted
        swept: dict[int, Pairwise] = {}
        if alone:
            swept = sensitivities(setup, self.sampling.key(Purpose.SINGLE), count, runner)
        if not (parts or whole):
            return {lag: (swept.get(lag), None, None) for lag in lags}
        stream = Samples(setup, self.sampling.key(Purpose.PAIRS), count, runner, self.options)
        keys = {lag: self.sampling.of_layer(lag).key(Purpose.JOINT) for lag in lags}
        cells: dict[int, CellEntropy] = {}
        if whole and not self.options.published:
            cells = cell_entropies(setup, self.sampling.key(Purpose.JOINT), count, runner)
        return {
            lag: (
                swept.get(lag),
                stream.pairwise(lag) if parts else None,
                stream.joint(lag, cells.get(lag), keys[lag], runner) if whole else None,
            )
            for lag in lags
        }


def _settled(found: _Found, tol: float) -> bool:
    alone, together, joint = found
    errors = [one.stderr or 0.0 for one in (alone, together) if one is not None]
    return max(errors, default=0.0) <= tol and (joint is None or bool(joint.converged))


def _marked(found: _Found, tol: float) -> _Found:
    """Say of EI whether its error is small enough."""
    alone, together, joint = found
    if joint is not None:
        good = not joint.saturated and (joint.ei_stderr or 0.0) <= tol
        joint = replace(joint, converged=good)
    return alone, together, joint


def _result(setup: Setup, lag: int, found: _Found, source: str) -> LayerResult:
    in_range, out_range = (
        (float(s[:, 0].min()), float(s[:, 1].max())) for s in (setup.in_span, setup.out_span)
    )
    return LayerResult(
        f"lag {lag}",
        setup.n_in,
        setup.places,
        setup.cell.kind,
        setup.bins[0],
        setup.bins[1],
        in_range,
        out_range,
        "drop" if setup.drop else "clip",
        found[0],
        found[1],
        found[2],
        source,
    )
