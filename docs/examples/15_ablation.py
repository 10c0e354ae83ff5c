"""
Which edges can go?
===================

Edges are set to zero, those that are worth least first, and the accuracy is measured: ranked by
their EI, by what EI_parts of the layer loses without them, by their absolute weight, and at random.
The Iris network that comes with the package. Here plain magnitude keeps the most.
"""

import numpy as np
from sklearn.datasets import load_iris

import eiplane
from eiplane.cli.demo import demo_network, iris_snapshots

x, y = load_iris(return_X_y=True)
x = x / 8.0


def accuracy(layers):
    """Return the share of flowers that the network names."""
    h = x
    for layer in layers:
        h = 1.0 / (1.0 + np.exp(-(h @ layer.matrix().T + layer.offsets())))
    return float((h.argmax(axis=1) == y).mean())


layers = demo_network(iris_snapshots())
curves = [
    eiplane.ablate(layers, by, evaluate=accuracy, rng=seed)
    for by, seeds in [
        ("ei", [0]),
        ("delta_ei_parts", [0]),
        ("weight", [0]),
        ("random", range(10)),
    ]
    for seed in seeds
]
for curve in curves[:4]:
    print(f"{curve.by:15s} mean accuracy on the way {curve.area:.3f}")
chance = np.mean([c.area for c in curves if c.by == "random"])
print(f"{'random':15s} mean accuracy on the way {chance:.3f}")

# %%
# The band of the random order is from the worst to the best of ten.
ax = eiplane.plot.ablation(curves, label="accuracy")

# %%
# What EI_parts of the last layer loses (or gains: an edge is noise to its neighbours) without each
# edge, in bits.
print(eiplane.delta_ei_parts(layers[-1]).round(3))
