"""
Two neurons on a third
======================

Sensitivity and EI of the edges of A, B→C over both weights. Sensitivity asks one neuron at a time
and does not see the other; EI does: a strong edge drowns a weak one.
"""

import matplotlib.pyplot as plt
import numpy as np

import eiplane

# %%
# A layer for each pair of weights.

axis = np.linspace(-10.0, 10.0, 41)
pairs = {f"{a:.1f},{b:.1f}": np.array([[a, b]]) for a in axis for b in axis}
d = eiplane.analyze(
    pairs, "sigmoid", measures="degeneracy", bins=32, in_range={"*": (0, 1)}
)

figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4), sharey=True, layout="constrained")
for ax, name in zip(axes, ("sensitivity", "ei_parts", "degeneracy"), strict=True):
    values = np.reshape([getattr(layer, name) for layer in d], (axis.size, axis.size))
    image = ax.pcolormesh(axis, axis, values.T, shading="nearest")
    figure.colorbar(image, ax=ax, shrink=0.85)
    ax.set_title(f"{name} (bits)", fontsize=10)
    ax.set_xlabel("weight of A→C")
axes[0].set_ylabel("weight of B→C")
