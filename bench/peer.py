"""The authors' package, deep-ei 0.7.0, on one dense layer.

Its ``topology_of`` raises "None cannot be a node" on current networkx. It is only a way to look up
a layer's shapes and activations, so these are handed over directly; the measuring is its own.
Its batches are of 20 samples by default; here they are of 5,000, which is faster.
"""

from __future__ import annotations

from types import SimpleNamespace

import deep_ei
import numpy as np
import torch

BATCH = 5000


class Peer:
    """deep-ei on the layer ``sigmoid(W x)``, inputs and outputs 0..1."""

    def __init__(self, weight: np.ndarray) -> None:
        n_out, n_in = weight.shape
        self.layer = torch.nn.Linear(n_in, n_out, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.from_numpy(weight))
        sides = {
            "input": {"activation": torch.nn.Sigmoid(), "shape": (1, n_in)},
            "output": {"activation": torch.nn.Sigmoid(), "shape": (1, n_out)},
        }
        self.topology = SimpleNamespace(nodes={self.layer: sides})

    def _call(self, function, samples: int, bins: int):
        with torch.no_grad():
            return function(
                self.layer,
                self.topology,
                samples=samples,
                batch_size=min(samples, BATCH),
                in_range=(0, 1),
                in_bins=bins,
                out_range=(0, 1),
                out_bins=bins,
                activation=torch.nn.Sigmoid(),
            )

    def ei_edges(self, samples: int, bins: int = 8) -> np.ndarray:
        """EI of every edge, (n_out, n_in)."""
        return np.asarray(self._call(deep_ei.ei_parts_matrix, samples, bins)).T

    def sensitivity_edges(self, samples: int, bins: int = 8) -> np.ndarray:
        """Sensitivity of every edge, (n_out, n_in)."""
        return np.asarray(self._call(deep_ei.sensitivity_matrix, samples, bins)).T

    def ei(self, samples: int, bins: int = 8) -> float:
        """EI of the whole vectors."""
        return float(self._call(deep_ei.ei, samples, bins))
