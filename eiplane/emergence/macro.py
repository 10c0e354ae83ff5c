"""``eiplane.macro_units``: groups of neurons as the macro units of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from .. import pairwise
from ..joint import JointOptions, between, channel_of, checked_memory
from ..run import (
    Progress,
    Runner,
    Sampling,
    Settings,
    checked_threads,
    entropy_of,
    progress_bar,
)
from .grouping import EXHAUSTED, SEARCHES, Grouping
from .partitions import checked_groups
from .units import MacroUnits

__all__ = ["macro_units"]


def macro_units(
    layer: Any,
    *,
    search: str | Sequence[Sequence[int]] = "auto",
    tied: bool = False,
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
) -> MacroUnits:
    """Find the groups of a layer's neurons that are more than their parts.

    A macro unit is a group G of inputs and outputs. Its EI is ``I(X_G; Y_G)``, all other inputs
    perturbed as noise (:func:`eiplane.ei_between`); its integrated information is that less the EI
    of the edges inside. The partition of all neurons is sought whose units have the greatest
    integrated information together. One group of all neurons has the layer's phi; smaller groups
    have more where synergy is inside them and redundancy between them. Of partitions with as much
    the one with more EI is taken, and of those the finest, so what does not interact stays apart.

    Parameters
    ----------
    layer : eiplane.Layer, array_like of shape (n_out, n_in), or (weight, bias)
    search : {"auto", "exhaustive", "greedy", "spectral"}, or sequence of groups
        ``"spectral"`` clusters the neurons by the singular vectors of the EI of the edges, at every
        number of groups; ``"greedy"`` merges the two groups that are best merged; ``"exhaustive"``
        goes through all partitions, of 8 neurons at most. ``"auto"`` is exhaustive up to those,
        spectral and greedy up to 24 neurons, and spectral beyond. Up to 24 neurons partitions are
        refined: single neurons moved, groups joined. What a search finds is good and, unless it was
        exhaustive, not proved to be the best. A partition has to be better by two standard errors.
        Groups of places
        are measured as they are, outputs counted after the inputs: of a 3→2 layer 0, 1, 2 are the
        inputs and 3, 4 the outputs.
    tied : bool
        Whether input i and output i are one neuron, of which both go together: the state of a
        recurrent layer. Groups are then of those.
    activation, bins, in_range, out_range, outliers, samples, tol, estimator, memory_limit, rng, \
threads, executor, progress
        As in :func:`eiplane.ei_between`.

    Returns
    -------
    MacroUnits

    Raises
    ------
    TypeError, ValueError
        For bad input.

    Examples
    --------
    Output 0 is on if both of the inputs 0 and 1 are, output 1 copies input 2.

    >>> import numpy as np, eiplane
    >>> both = eiplane.Layer([[20.0, 20, 0], [0, 0, 20]], [-30.0, -10])
    >>> for unit in eiplane.macro_units(both, bins=2):
    ...     print(unit.inputs, unit.outputs, round(unit.phi, 2))
    (0, 1) (0,) 0.02
    (2,) (1,) 0.0
    """
    settings = Settings(
        "ei", bins=bins, in_range=in_range, out_range=out_range, outliers=outliers,
        samples=samples, tol=tol, estimator=estimator,
    )  # fmt: skip
    workers = checked_threads(threads, executor)
    channel = channel_of(layer, activation, settings)
    if channel.groups > 1:
        raise ValueError(f"layer {channel.name!r}: macro units are not for grouped layers")
    n_in, n_out = channel.n_in, channel.n_out
    if tied and n_in != n_out:
        raise ValueError(f"tied neurons need as many outputs as inputs, got {n_in}→{n_out}")
    count = n_in if tied else n_in + n_out
    given = None if isinstance(search, str) else checked_groups(search, count, "neuron")
    if given is None and search not in SEARCHES:
        raise ValueError(f"search is {', '.join(map(repr, SEARCHES))}, or groups; got {search!r}")
    if search == "exhaustive" and count > EXHAUSTED:
        raise ValueError(
            f"an exhaustive search goes up to {EXHAUSTED} neurons, and there are {count}; "
            "search='greedy' or 'spectral' would do"
        )
    options = JointOptions(settings.estimator, checked_memory(memory_limit), influence=False)
    sampling = Sampling(entropy_of(rng), samples=settings.samples, tol=settings.tol)
    with progress_bar(progress) as tell, Runner(workers, executor, tell) as runner:
        edges = pairwise.measure("ei_parts", channel, "auto", sampling, runner).edges
        grouping = Grouping(
            channel, edges, tied, lambda p: between(channel, p, sampling, options, runner)
        )
        if given is not None:
            return MacroUnits(channel.name, grouping.units(given), "given")
        return grouping.searched(str(search))
