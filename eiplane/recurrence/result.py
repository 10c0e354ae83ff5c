"""What :func:`eiplane.through_time` returns: a decomposition with a lag in the place of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..emergence import Transitions, tpm
from ..results import Decomposition, LayerResult

__all__ = ["ThroughTime"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ThroughTime(Decomposition):
    """The causal structure of a recurrent network through time: a result for every lag.

    It is a :class:`eiplane.Decomposition` whose layers are called ``"lag 1"`` and so on, so that
    tables, files, trackers and the causal plane work as for the layers of a network.

    Parameters
    ----------
    layers, skipped, settings
        As of :class:`eiplane.Decomposition`.
    lags : tuple of int
    perturb : str
        ``"state"`` or ``"input"``.
    matrices : mapping of int to ndarray of float64, shape (states, states)
        Of a tiny state, by lag: the transition matrix between its binned vectors. They are numbered
        with the first neuron's bin counting most.
    """

    lags: tuple[int, ...] = ()
    perturb: str = "state"
    matrices: Mapping[int, Array] = field(default_factory=dict, repr=False)

    def lag(self, lag: int) -> LayerResult:
        """Return the result of a lag.

        Raises
        ------
        KeyError
            If it was not measured.
        """
        if lag not in self.lags:
            raise KeyError(f"no lag {lag}; there are {', '.join(map(str, self.lags))}")
        return self.layers[self.lags.index(lag)]

    def tpm(self, lag: int = 1, **options: Any) -> Transitions:
        """Measure the transition matrix of a tiny state; see :func:`eiplane.tpm`.

        Where rows are noisy, the finite number of runs that they come from makes them look more
        certain: EI of many states is then too high, which ``lag(lag).ei`` is not.

        Parameters
        ----------
        lag : int
        **options
            Of :func:`eiplane.tpm`. States are named by their bins, if not otherwise.

        Returns
        -------
        Transitions

        Raises
        ------
        ValueError
            If the state has more than 12 bits, inputs were perturbed, or the lag was not measured.
        """
        if lag not in self.matrices:
            known = ", ".join(map(str, self.matrices)) or (
                "none: the state must be perturbed, and have at most 12 bits when binned"
            )
            raise ValueError(f"no transition matrix of lag {lag}; there are {known}")
        result = self.lag(lag)
        if "names" not in options:
            cells = np.ndindex(*(result.in_bins,) * result.n_in)
            dot = "." if result.in_bins > 10 else ""
            options["names"] = [dot.join(map(str, cell)) for cell in cells]
        return tpm(self.matrices[lag], **options)

    def _lags(self) -> dict[str, Any]:
        return {"lags": self.lags, "perturb": self.perturb, "matrices": self.matrices}

    def to_dict(self, edges: bool = True) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; see :meth:`.Decomposition.to_dict`."""
        own: dict[str, Any] = {"perturb": self.perturb, "lags": list(self.lags)}
        if edges and self.matrices:
            own["matrices"] = {str(k): m.tolist() for k, m in self.matrices.items()}
        return super().to_dict(edges) | own
