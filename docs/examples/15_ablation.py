"""
Do edges of high EI matter more?
================================

A tenth of a network's edges is set to zero, from those of least EI to those of most, and the
accuracy is measured: the paper's ablation, on the Iris network that comes with the package.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

import eiplane
from eiplane.cli.demo import demo_network, iris_snapshots

layers = demo_network(iris_snapshots())
x, y = load_iris(return_X_y=True)
x = x / 8.0


def accuracy(weights):
    """Return the share of flowers that the network names."""
    h = x
    for w in weights:
        h = 1.0 / (1.0 + np.exp(-h @ w.T))
    return float((h.argmax(axis=1) == y).mean())


weights = [layer.matrix() for layer in layers]
d = eiplane.analyze(layers, measures="ei_parts")
shares = np.linspace(0.0, 1.0, 11)
lost = []
for low, high in pairwise(shares):
    cut = []
    for w, result in zip(weights, d, strict=True):
        rank = result.ei_edges.ravel().argsort().argsort().reshape(w.shape) / w.size
        cut.append(np.where((rank >= low) & (rank < high), 0.0, w))
    lost.append(accuracy(weights) - accuracy(cut))

figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
ax.bar(100 * (shares[:-1] + 0.05), [100 * v for v in lost], 8)
ax.set_xlabel("edges removed: percentile of EI")
ax.set_ylabel("accuracy lost (points)")
print(f"accuracy {accuracy(weights):.3f}")
