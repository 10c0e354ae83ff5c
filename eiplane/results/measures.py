"""What is measured of a layer: its edges, its whole vectors, or why neither was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import _core

__all__ = ["Joint", "Pairwise", "Skipped", "Totals", "VectorBounds"]

Array = NDArray[np.float64]


def _total(edges: Array) -> float:
    """Return the sum over the edges, added up as the core adds up those that nobody keeps."""
    if edges.size == 0:
        return 0.0
    rows = len(edges) if edges.ndim else 1
    return _core.total(np.require(edges.reshape(rows, -1), np.float64, "C"))


@dataclass(frozen=True, eq=False)
class Pairwise:
    """A measure of every edge of a layer, in bits.

    Parameters
    ----------
    edges : ndarray of float64, the shape of the weight
        The mutual information of every edge. Where it was sampled, the plug-in estimate is
        corrected for its bias: the number of occupied cells says in how many bins the input may lie
        given the output, and so how much of the table was never seen. With many samples that is
        Miller and Madow's correction (*Note on the bias of information estimates*, 1955),
        ``(K_xy - K_x - K_y + 1) / (2 samples ln 2)``, K being the numbers of occupied cells. An
        edge without information is then 0 on average, so it may come out a little below.
    method : str
        ``"exact"`` or ``"sample"``.
    samples : int or None
        The number of samples; None where exact.
    stderr : float or None
        Standard error of the sum, covariances between edges included, and what is not known of
        the bias; None where exact.
    edges_stderr : ndarray or None
        Standard error of every edge, with the same doubt; None where exact.
    edges_plugin : ndarray or None
        The uncorrected estimates, those of the paper; None where exact.
    error_bound : float or None
        Where exact: the greatest error of any edge, in bits.
    outlier_fraction : float
        Share of the outputs' values that lay outside the output range.
    """

    edges: Array
    method: str
    samples: int | None = None
    stderr: float | None = None
    edges_stderr: Array | None = None
    edges_plugin: Array | None = None
    error_bound: float | None = None
    outlier_fraction: float = 0.0

    @property
    def total(self) -> float:
        """Sum over the edges, in bits."""
        return _total(self.edges)

    @property
    def total_stderr(self) -> float:
        """Standard error of the sum, in bits; 0 where exact."""
        return self.stderr or 0.0

    @property
    def total_plugin(self) -> float:
        """Sum of the uncorrected edges, in bits; of the exact ones where nothing was sampled."""
        return _total(self.edges if self.edges_plugin is None else self.edges_plugin)

    @property
    def count(self) -> int:
        """Number of edges."""
        return self.edges.size

    def totals(self) -> Totals:
        """Return what does not grow with the layer."""
        total = self.total
        plugin = total if self.edges_plugin is None else self.total_plugin
        return Totals(
            total,
            self.count,
            self.method,
            self.samples,
            self.stderr,
            plugin,
            self.error_bound,
            self.outlier_fraction,
        )


@dataclass(frozen=True)
class Totals:
    """A pairwise measure of which the edges were not kept, in bits.

    Parameters
    ----------
    total : float
        Sum over the edges.
    count : int
        Number of edges.
    method, samples, stderr, error_bound, outlier_fraction
        As of :class:`Pairwise`.
    total_plugin : float
        Sum of the uncorrected edges.
    """

    total: float
    count: int
    method: str
    samples: int | None
    stderr: float | None
    total_plugin: float
    error_bound: float | None
    outlier_fraction: float

    #: Not kept.
    edges: ClassVar[None] = None
    edges_stderr: ClassVar[None] = None
    edges_plugin: ClassVar[None] = None

    @property
    def total_stderr(self) -> float:
        """Standard error of the sum, in bits; 0 where exact."""
        return self.stderr or 0.0


@dataclass(frozen=True, eq=False)
class Joint:
    """Measures of whole binned vectors, in bits.

    Parameters
    ----------
    ei : float or None
        ``I(L1; L2)`` under ``do(L1 = Hmax)``. None where ``saturated``: it is known to lie between
        its bounds, and no more. (The plug-in estimator's value is given all the same.)
    ei_stderr : float or None
        Its standard error; None with it.
    ei_bounds : tuple of float
        Rigorous lower and upper bound.
    output_entropy : float or None
        ``H(Y)`` of the binned output vector; None where it is not known.
    output_entropy_stderr : float or None
        Its standard error; None with it.
    output_entropy_bounds : tuple of float or None
        Rigorous lower and upper bound of ``output_entropy``.
    estimator : str
        ``"conditional"`` where vectors were counted or nothing had to be sampled, ``"wide"`` where
        the probabilities of samples were computed instead (of any piece of the layer),
        ``"plugin"`` for the paper's.
    samples : int
        Number of evaluations of the layer; of the wide estimator, of samples whose
        probabilities were computed, by either of its ways.
    coverage : float or None
        ``1 - f1 / N``: the estimated share of the output distribution that the sample has seen.
        None where nothing was counted.
    saturated : bool
        Whether neither way works: too few samples to count, and no single affine layer whose
        probabilities could be computed (a span, average pooling, almost everything dropped).
    converged : bool or None
        Whether ``tol`` was reached; None where none was asked for.
    influence_in : ndarray of float64, shape (n_in,), or None
        ``I(X_A; Y)`` of each input with the whole output.
    influence_out : ndarray of float64, shape (n_out,), or None
        ``I(X; Y_B)`` of the whole input with each output.
    outlier_fraction : float
        Share of the samples with any output outside the output range.
    influence_in_stderr, influence_out_stderr : ndarray of float64 or None
        Standard errors of the influences.
    """

    ei: float | None
    ei_stderr: float | None
    ei_bounds: tuple[float, float]
    output_entropy: float | None
    output_entropy_stderr: float | None
    estimator: str
    samples: int
    coverage: float | None
    saturated: bool
    converged: bool | None = None
    influence_in: Array | None = None
    influence_out: Array | None = None
    outlier_fraction: float = 0.0
    influence_in_stderr: Array | None = None
    influence_out_stderr: Array | None = None
    output_entropy_bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class VectorBounds:
    """Rigorous bounds of whole binned vectors, in bits, where they alone were asked for.

    Parameters
    ----------
    ei_bounds : tuple of float
        Of ``I(L1; L2)``.
    output_entropy_bounds : tuple of float
        Of ``H(Y)``.
    """

    ei_bounds: tuple[float, float]
    output_entropy_bounds: tuple[float, float]


@dataclass(frozen=True)
class Skipped:
    """A part of a network that was not analysed.

    Parameters
    ----------
    name : str
    reason : str
    """

    name: str
    reason: str
