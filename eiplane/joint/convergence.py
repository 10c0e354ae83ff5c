"""How the estimates of a layer settle as the sample grows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pairwise import sampled
from ..results import printable
from ..run import (
    Progress,
    Purpose,
    Runner,
    Sampling,
    Settings,
    checked_samples,
    checked_threads,
    entropy_of,
    progress_bar,
)
from .engine import measure
from .layers import channel_of
from .options import JointOptions, checked_memory
from .task import Target

__all__ = ["Convergence", "convergence"]

Array = NDArray[np.float64]

#: What is followed where nothing is said, and what can be, in the order in which it is drawn.
QUANTITIES = ("conditional", "plugin", "ei_parts")
ALL = ("wide", *QUANTITIES)


@dataclass(frozen=True, eq=False)
class Convergence:
    """Estimates along a growing sample, in bits.

    Parameters
    ----------
    name : str
        Of the layer.
    samples : ndarray of int64, shape (n,)
        Rising.
    values, stderr : mapping of str to ndarray of float64, shape (n,)
        By quantity: ``"wide"``, ``"conditional"`` and ``"plugin"``, the estimators of EI, and
        ``"ei_parts"`` (plug-in). A standard error counts the doubt about an estimate's bias, where
        there is an estimate of that. NaN where so few samples tell nothing; the plug-in has a value
        all the same.
    """

    name: str
    samples: NDArray[np.int64]
    values: dict[str, Array]
    stderr: dict[str, Array]

    def __str__(self) -> str:
        head = ["samples", *self.values]
        rows = [
            [f"{n}", *(self._cell(q, i) for q in self.values)] for i, n in enumerate(self.samples)
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [[h.rjust(w) for h, w in zip(r, widths, strict=True)] for r in [head, *rows]]
        return "\n".join("  ".join(line) for line in lines)

    def _cell(self, quantity: str, row: int) -> str:
        value, error = self.values[quantity][row], self.stderr[quantity][row]
        return "-" if np.isnan(value) else printable(f"{value:.4f} ± {error:.1g}")


def convergence(
    layer: Any,
    samples: Sequence[int] = (10, 100, 1000, 10_000, 100_000, 1_000_000),
    *,
    quantities: Iterable[str] = QUANTITIES,
    activation: Any = None,
    bins: int | tuple[int, int] = 8,
    in_range: Sequence[float] = (0.0, 1.0),
    out_range: Any = "auto",
    outliers: str = "clip",
    memory_limit: int | None = None,
    rng: int | np.random.Generator | np.random.SeedSequence | None = 0,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> Convergence:
    """Estimate the EI of a layer from ever more samples, as the paper's figure of convergence does.

    A larger sample holds the smaller ones. Nothing is warned of: estimates from too few samples
    are the point.

    Parameters
    ----------
    layer : eiplane.Layer, array_like of shape (n_out, n_in), or (weight, bias)
    samples : sequence of int
        Numbers of samples, each at least 2. The conditional estimator takes at least a few hundred
        evaluations, whatever is asked for.
    quantities : iterable of str
        Of ``"wide"`` (of single layers; some thousand samples do), ``"conditional"``,
        ``"plugin"``, ``"ei_parts"``; all but the first when left out.
    activation : str or Activation, optional
        Of a bare weight; sigmoid when left out.
    bins, in_range, out_range, outliers, memory_limit, rng, threads, executor, progress
        As in :func:`eiplane.analyze`.

    Returns
    -------
    Convergence

    Raises
    ------
    TypeError, ValueError
        For bad input.

    Examples
    --------
    >>> import numpy as np, eiplane
    >>> c = eiplane.convergence(np.eye(2), samples=[100, 10_000], quantities=["plugin"])
    >>> c.samples.tolist(), bool(c.values["plugin"][1] < 6)
    ([100, 10000], True)
    """
    settings = Settings(
        "ei", bins=bins, in_range=in_range, out_range=out_range, outliers=outliers, method="sample"
    )
    chosen = _chosen(list(quantities))
    sizes = sorted({_size(n) for n in _several(samples)})
    if not sizes:
        raise ValueError("samples: give at least one number of samples")
    workers = checked_threads(threads, executor)
    memory = checked_memory(memory_limit)
    channel = channel_of(layer, activation, settings)
    target = Target.whole(channel)
    sampling = Sampling(entropy_of(rng))
    key = sampling.key(Purpose.JOINT)
    values = {q: np.empty(len(sizes)) for q in chosen}
    errors = {q: np.empty(len(sizes)) for q in chosen}
    with progress_bar(progress) as tell, Runner(workers, executor, tell) as runner:
        for i, size in enumerate(sizes):
            sized = replace(sampling, samples=size)
            for quantity in chosen:
                if quantity == "ei_parts":
                    part = sampled.ei_parts(channel, sized, runner)
                    values[quantity][i] = part.total_plugin
                    errors[quantity][i] = part.stderr or 0.0
                    continue
                options = JointOptions(quantity, memory, influence=False)
                result = measure(target, key, sized, options, runner)
                known = result.ei is not None and result.ei_stderr is not None
                values[quantity][i] = result.ei if known else np.nan
                errors[quantity][i] = result.ei_stderr if known else np.nan
    return Convergence(channel.name, np.array(sizes, np.int64), values, errors)


def _chosen(wanted: list[str]) -> list[str]:
    chosen = [q for q in ALL if q in wanted]
    unknown = [q for q in wanted if q not in ALL]
    if unknown or not chosen:
        raise ValueError(f"quantities are {', '.join(ALL)}, got {unknown or 'none'}")
    return chosen


def _several(samples: Any) -> Iterable[Any]:
    if isinstance(samples, str) or not isinstance(samples, Iterable):
        raise TypeError(f"samples must be a sequence of whole numbers, got {samples!r}")
    return samples


def _size(value: Any) -> int:
    size = checked_samples(value)
    if size is None:
        raise TypeError("samples must be whole numbers, got None")
    return size
