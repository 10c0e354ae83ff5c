"""Whole vectors of a layer with noise on its outputs: bounds, and the Gaussian closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import checked_noise, real_array
from ..pairwise.noisy import NoisyLayer
from ..results import VectorBounds
from ..run import Runner, checked_range
from .bounds import lower_bound
from .noised import noised_bounds

__all__ = ["gaussian_ei", "noisy_bounds"]

Array = NDArray[np.float64]

#: Variance of a Gaussian with the entropy of a uniform of width 1; that uniform's own is 1 / 12.
_SAME_ENTROPY = 1.0 / (2.0 * math.pi * math.e)

#: Widens bounds that rest on the exact engines, bits.
_SLACK = 1e-7


def gaussian_ei(weight: Any, noise: Any, *, in_range: Sequence[float] = (0.0, 1.0)) -> float:
    """Return the EI of a linear layer with Gaussian noise, its inputs taken for Gaussian; in bits.

    ``log2 det(I + W C W' / s^2) / 2`` with C the covariance of the inputs and s the noise's
    standard deviation: the capacity formula of a Gaussian channel. Uniform inputs of the same
    covariance have at most as much EI, and at most ``log2(2 pi e / 12) / 2`` = 0.2546 bits for each
    dimension of W's image less (R. Zamir and M. Feder, *A generalization of the entropy power
    inequality*, IEEE Trans. Inf. Theory 39(5) 1723, 1993).

    Parameters
    ----------
    weight : array_like of shape (n_out, n_in)
    noise : float or ("gaussian", std)
        Standard deviation of the noise on every output.
    in_range : (float, float)
        Of the inputs: C is a twelfth of the square of its width on the diagonal.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        For bad input.

    Examples
    --------
    >>> import eiplane
    >>> round(eiplane.gaussian_ei([[2.0, 0], [0, 1]], 0.1), 4)
    4.162
    """
    matrix = np.asarray(real_array(weight, "weight"), np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"weight must have rows and columns, got shape {matrix.shape}")
    given = checked_noise(noise)
    if given is None or given.kind != "gaussian":
        raise ValueError(f"the closed form is for Gaussian noise, got {noise!r}")
    low, high = checked_range(in_range, "in_range")
    return _log_det(matrix, 1.0 / 12.0, high - low, given.scale)


def _log_det(weight: Array, share: float, width: float, std: float) -> float:
    """Return the capacity for inputs whose variance is that share of their squared width."""
    # Singular values, ratios and their squares may leave float64; logarithms do not.
    exponent = math.frexp(float(np.abs(weight).max()))[1]
    values = np.linalg.svd(np.ldexp(weight, -exponent), compute_uv=False)
    values = values[values > 0.0]
    ratios = np.log2(values) + (
        exponent + math.log2(width) - math.log2(std) + 0.5 * math.log2(share)
    )
    return float(0.5 * np.logaddexp2(0.0, 2.0 * ratios).sum())


def noisy_bounds(
    noisy: NoisyLayer, edges: Array | None, key: int | None, runner: Runner
) -> VectorBounds:
    """Return bounds of whole vectors with noise.

    Parameters
    ----------
    noisy : NoisyLayer
    edges : ndarray of float64, shape (n_out, n_in), or None
        ``I(X_A; Y_B + noise)``, where known.
    key : int or None
        Of the random numbers of samples (:mod:`.noised`); None: none are taken.
    runner : Runner

    Returns
    -------
    VectorBounds
        ``output_entropy_bounds`` are those of ``h(Y + noise) - h(noise)``, what EI tends to as the
        input bins get ever finer.
    """
    own = noisy.outputs(runner)
    low, high = float(own.max()) - _SLACK, float(own.sum()) + _SLACK
    layer, noise = noisy.layer, noisy.noise
    width = noisy.around.in_range[1] - noisy.around.in_range[0]
    if layer.groups == 1 and layer.activation.kind == "identity" and noise.kind == "gaussian":
        weight = layer.matrix()
        low = max(low, _log_det(weight, _SAME_ENTROPY, width, noise.scale))
        high = min(high, _log_det(weight, 1.0 / 12.0, width, noise.scale))
    most = min(high, layer.n_in * math.log2(noisy.around.in_bins))
    least = max(lower_bound(edges if layer.groups == 1 else None, None) - _SLACK, 0.0)
    if key is not None and layer.groups == 1 and high > 2.0 * _SLACK * len(own):
        information, output = noised_bounds(noisy, key, runner)
        low, high = max(low, output[0]), min(high, output[1])
        most, least = min(most, high, information[1]), max(least, information[0])
    high = max(high, low)
    return VectorBounds((min(least, most), most), (max(low, 0.0), high))
