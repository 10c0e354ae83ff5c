"""Quantities that follow from what was measured: their values, standard errors and bounds.

Each function takes a result and returns None where what it needs was not measured, or is worth
nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .measures import Joint, Pairwise, Totals

if TYPE_CHECKING:
    from .quantities import Quantities

__all__ = [
    "degeneracy_edges",
    "degeneracy_joint",
    "degeneracy_joint_bounds",
    "determinism",
    "determinism_bounds",
    "divided",
    "effectiveness",
    "effectiveness_bounds",
    "error_bound",
    "less",
    "of_inputs",
    "of_outputs",
    "phi",
    "phi_bounds",
    "redundancy",
    "redundancy_stderr",
    "specificity",
    "specificity_bounds",
    "together",
]

Array = NDArray[np.float64]
Bounds = tuple[float, float]


def phi(result: Quantities) -> float | None:
    """Return ``ei - ei_parts``, like from like."""
    joint = _trusted(result)
    if joint is None:
        return None
    parts = result.ei_parts_plugin if joint.estimator == "plugin" else result.ei_parts
    return less(joint.ei, parts)


def phi_bounds(result: Quantities) -> Bounds | None:
    """Return the bounds of phi."""
    if result.ei_bounds is None or result.pairwise_ei is None:
        return None
    return _widened(result.ei_bounds, result.pairwise_ei, -1.0)


def together(of: float | None, *errors: float | None, whole: float = 1.0) -> float | None:
    """Return the standard error of a sum or difference, as a share of ``whole``, if it is known."""
    if of is None or None in errors:
        return None
    return math.hypot(*(e for e in errors if e is not None)) / whole


def degeneracy_edges(result: Quantities) -> Array | None:
    """Return sensitivity less EI, edge by edge."""
    if result.pairwise_ei is None or result.pairwise_sensitivity is None:
        return None
    alone, together = result.pairwise_sensitivity.edges, result.pairwise_ei.edges
    return None if alone is None or together is None else alone - together


def error_bound(result: Quantities) -> float | None:
    """Return the greatest error of any exact edge."""
    parts = (result.pairwise_ei, result.pairwise_sensitivity)
    bounds = [p.error_bound for p in parts if p is not None and p.error_bound is not None]
    return max(bounds) if bounds else None


def _trusted(result: Quantities) -> Joint | None:
    """Return the measures of whole vectors, unless they are worth nothing."""
    return None if result.joint is None or result.joint.saturated else result.joint


def _trusted_ei(result: Quantities) -> float | None:
    joint = _trusted(result)
    return None if joint is None else joint.ei


def degeneracy_joint(result: Quantities) -> float | None:
    """Return ``sensitivity - ei``."""
    return less(result.sensitivity, _trusted_ei(result))


def degeneracy_joint_bounds(result: Quantities) -> Bounds | None:
    """Return the bounds of that."""
    if result.ei_bounds is None or result.pairwise_sensitivity is None:
        return None
    low, high = result.ei_bounds
    return _widened((-high, -low), result.pairwise_sensitivity, 1.0)


def _widened(bounds: Bounds, part: Pairwise | Totals, sign: float) -> Bounds:
    """Return bounds of a sum (or a difference) of what has these bounds and a pairwise measure."""
    error = 4.0 * part.total_stderr
    if part.error_bound is not None:
        error += part.error_bound * part.count
    return bounds[0] + sign * part.total - error, bounds[1] + sign * part.total + error


def divided(value: Any, whole: float) -> Any:
    """Return a number, or bounds, as a share; None of None."""
    if value is None:
        return None
    return tuple(v / whole for v in value) if isinstance(value, tuple) else value / whole


def of_inputs(result: Quantities) -> float:
    """Return the greatest entropy of the inputs."""
    return result.n_in * math.log2(result.in_bins)


def of_outputs(result: Quantities) -> float:
    """Return the greatest entropy of the outputs."""
    return result.n_out * math.log2(result.out_bins)


def effectiveness(result: Quantities) -> float | None:
    """Return ``ei`` as a share of the greatest."""
    share: float | None = divided(_trusted_ei(result), of_inputs(result))
    return share


def effectiveness_bounds(result: Quantities) -> Bounds | None:
    """Return the bounds of that."""
    share: Bounds | None = divided(result.ei_bounds, of_inputs(result))
    return share


def specificity(result: Quantities) -> float | None:
    """Return ``H(Y)`` as a share of the greatest."""
    joint = _trusted(result)
    share: float | None = divided(
        None if joint is None else joint.output_entropy, of_outputs(result)
    )
    return share


def specificity_bounds(result: Quantities) -> Bounds | None:
    """Return the bounds of that."""
    share: Bounds | None = divided(result.output_entropy_bounds, of_outputs(result))
    return share


def determinism(result: Quantities) -> float | None:
    """Return ``1 - H(Y | X)`` as a share of the greatest entropy."""
    ei, share = _trusted_ei(result), specificity(result)
    if ei is None or share is None:
        return None
    return 1.0 - share + ei / of_outputs(result)


def determinism_bounds(result: Quantities) -> Bounds | None:
    """Return the bounds of that."""
    if result.ei_bounds is None or result.output_entropy_bounds is None:
        return None
    most, (i0, i1), (h0, h1) = of_outputs(result), result.ei_bounds, result.output_entropy_bounds
    return max(1.0 - (h1 - i0) / most, 0.0), min(1.0 - max(h0 - i1, 0.0) / most, 1.0)


def redundancy(result: Quantities, influence: Array | None) -> float | None:
    """Return the sum of the nodes' influences over ``ei``."""
    ei = _trusted_ei(result)
    return None if influence is None or ei is None or not ei > 0.0 else float(influence.sum()) / ei


def redundancy_stderr(share: float | None, result: Quantities, of: Array | None) -> float | None:
    """Return the standard error of that."""
    if share is None or result.ei is None or result.ei_stderr is None:
        return None
    own = 0.0 if of is None else float(np.sqrt((of**2).sum()))
    return math.hypot(own, share * result.ei_stderr) / result.ei


def less(a: float | None, b: float | None) -> float | None:
    """Return a difference, if it is known."""
    return None if a is None or b is None else a - b
