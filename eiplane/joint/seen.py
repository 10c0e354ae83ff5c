"""What filtered samples have shown, put together: an estimate and its error.

*Doubt.* The evidence without its correction is above the truth, with all of it mostly below. Most
of it is taken, and part of it is doubt; of information the part of what both terms' corrections
differ by, and of the second term's. From small layers of known truth: see ``DOUBT``. Where some
samples were cooled (:mod:`.cooling`) they say what filtering misses, and no doubt is left but that
about their mean.

*Pieces.* Where a label is a union of intervals (``sin``, ``abs``) there are two estimates, one of
them too small on average and the other too great (:mod:`.branches`): see ``GAP``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cooling import Cooled
from .estimates import Estimate
from .filtering import Filtered
from .levels import Mean
from .surrogate import Surrogates
from .volumes import LIKELIER, SHARE

__all__ = ["Missed", "Seen", "corrected", "missed"]

Array = NDArray[np.float64]

#: The share of the correction that is doubt: over layers of 2 to 6 inputs and 6 to 40 outputs
#: :data:`.volumes.SHARE` of it was right but for as much.
DOUBT = 0.15

#: The share of what two estimates of a sum over branches differ by that is doubt.
GAP = 0.25

#: Of what cooling corrects, the share that is doubt: what the chain's start leaves.
_LEFT = 0.02

#: Of cooled samples, the share that may fail.
_FAILED = 0.05


@dataclass(frozen=True, eq=False)
class Seen:
    """What all samples have shown: the filtered ones first, among those with a surrogate."""

    output: Array
    joint: Array
    corrected: NDArray[np.bool_]
    good: NDArray[np.bool_]
    unsettled: int
    cheap_output: Array
    cheap_joint: Array
    controls: Array
    gap: Array

    @classmethod
    def of(cls, found: list[Filtered], surrogates: list[Surrogates]) -> Seen:
        """Return what units of both kinds have shown."""
        output, within, kept = (
            np.concatenate([getattr(f, name) for f in found])
            for name in ("output", "within", "kept")
        )
        for part in (output, within, kept):
            np.maximum(part[:, 1], -LIKELIER, out=part[:, 1])
        cheap, cheap_within, cheap_kept = (
            np.concatenate([getattr(f, name) for f in surrogates])
            for name in ("output", "within", "kept")
        )
        controls = np.column_stack([
            np.concatenate([getattr(f.controls, name) for f in surrogates])
            for name in ("output", "within")
        ])  # fmt: skip
        return cls(
            output,
            output - within + kept,
            np.concatenate([f.corrected for f in found]),
            np.isfinite(output[:, 0]) & np.isfinite(within[:, 0]) & np.isfinite(kept[:, 0]),
            sum(f.unsettled for f in found),
            cheap,
            cheap - cheap_within + cheap_kept,
            controls,
            np.concatenate([f.gap for f in found]),
        )

    def doubt(self, joint: bool) -> float:
        """Return the doubt that labels in pieces make, in bits: of the information, or of H(Y)."""
        own = self.gap[self.good].mean(axis=0)
        return GAP * float(np.linalg.norm(own) if joint else abs(own[0]))


def corrected(
    mean: Mean, correction: Array, apart: float, shift: float, error: float, doubt: float = 0.0
) -> Estimate:
    """Return a mean with its correction.

    Parameters
    ----------
    mean : Mean
    correction : ndarray of float64
        Of samples.
    apart : float
        The second term's, of a difference of two.
    shift, error : float
        What else is added, and its standard error.
    doubt : float
        What labels in pieces make.
    """
    variance = mean.variance + SHARE**2 * float(correction.var()) / len(correction)
    bias = math.hypot(DOUBT * math.hypot(float(correction.mean()), apart), doubt)
    value = mean.value + SHARE * float(correction.mean()) + shift
    return Estimate(max(value, 0.0), math.sqrt(variance + error * error + bias * bias), bias, 1.0)


@dataclass(frozen=True, eq=False)
class Missed:
    """What the first so many samples' volumes lack, without correction; in bits.

    Parameters
    ----------
    output, joint : ndarray of float64, shape (kept samples,)
        Of ``-log2 p(y)``, and of the information. NaN where cooling did not work.
    """

    output: Array
    joint: Array

    @property
    def good(self) -> NDArray[np.bool_]:
        """Of which samples it is known."""
        return np.isfinite(self.output) & np.isfinite(self.joint)

    @property
    def works(self) -> bool:
        """Whether it is known of nearly all."""
        good = self.good
        return bool(good.sum() >= 8 and (~good).sum() <= _FAILED * len(good))

    def added(
        self,
        mean: Mean,
        rest: Array,
        lacking: Array,
        shift: float,
        error: float,
        doubt: float,
    ) -> Estimate:
        """Return a mean with what its samples lack.

        Parameters
        ----------
        mean : Mean
        rest : ndarray of float64, shape (filtered,)
            By what the samples differ from each other, besides what is known of them all.
        lacking : ndarray of float64, shape (kept samples,)
            One of those of this class.
        shift, error : float
            What else is added, and its standard error.
        doubt : float
            What labels in pieces make.
        """
        beside = rest[: len(lacking)]
        good = self.good & np.isfinite(beside)
        own = lacking[good]
        both = float(np.cov(own, beside[good])[0, 1])
        variance = mean.variance + float(own.var(ddof=1)) / len(own) + 2.0 * both / len(rest)
        bias = math.hypot(_LEFT * float(own.mean()), doubt)
        value = mean.value + float(own.mean()) + shift
        variance = max(variance, 0.25 * mean.variance) + error * error + bias * bias
        return Estimate(max(value, 0.0), math.sqrt(variance), bias, 1.0)


def missed(cooled: Sequence[Cooled]) -> Missed:
    """Return what cooled samples lack."""
    output, within, kept = (
        np.concatenate([getattr(c, name) for c in cooled]) for name in ("output", "within", "kept")
    )
    return Missed(output, output - within + kept)
