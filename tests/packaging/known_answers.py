"""Print digests of results that have to be the same bits on every platform and instruction set.

Everything that the compiled core computes: exact and sampled pairwise measures, counts of whole
vectors. What NumPy sums on the way to ``ei`` (its linear algebra differs between platforms in the
last digit) is printed rounded to ten digits.
"""

from __future__ import annotations

import hashlib

import numpy as np

import eiplane
from eiplane import _core


def weights(*shape: int) -> np.ndarray:
    """Return weights that no platform's arithmetic can change: small multiples of 1/64."""
    places = np.arange(np.prod(shape), dtype=np.uint64)
    mixed = (places * np.uint64(2654435761) + np.uint64(97)) % np.uint64(257)
    return (mixed.astype(np.float64) - 128.0).reshape(shape) / 64.0


def digest(array: np.ndarray) -> str:
    """Return a short name of an array's bits."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def main() -> None:
    """Print a line a result."""
    layers = [weights(6, 9) / 2, weights(4, 6)]
    for kind in _core.supported():
        _core.select(kind)
        for activation in ("sigmoid", "relu", "tanh", "gelu", "softplus", "sin"):
            for bins in (2, 8, 31):
                for outliers in ("clip", "drop"):
                    options = {"bins": bins, "outliers": outliers, "rng": 7}
                    exact = eiplane.analyze(layers, activation, measures="degeneracy", **options)
                    drawn = eiplane.analyze(
                        layers, activation, measures="degeneracy", method="sample",
                        samples=3000, **options,
                    )  # fmt: skip
                    found = [digest(x.ei_edges) for d in (exact, drawn) for x in d]
                    found += [digest(x.sensitivity_edges) for d in (exact, drawn) for x in d]
                    print("all", activation, bins, outliers, *found)
        whole = eiplane.analyze(layers[1:], "sigmoid", measures="ei", samples=1 << 16, rng=7)[0]
        print("all", "ei", f"{whole.ei:.10g}", f"{whole.output_entropy:.10g}", whole.coverage)


if __name__ == "__main__":
    main()
