"""
EI of one edge over its weight
==============================

The paper's first figure: neuron A drives neuron B through a sigmoid. With a small weight the output
stays in one bin, with a large one it is a step. In between is a best weight, which depends on the
bins.
"""

import matplotlib.pyplot as plt
import numpy as np

import eiplane

# %%
# Every weight is a layer of its own, and all are measured at once.

weights = np.arange(0.0, 27.0, 0.1)
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for bins in (8, 16, 32, 64):
    # A state dict says nothing of any wiring, so nothing is chained.
    alone = {f"{w:.1f}": np.array([[w]]) for w in weights}
    d = eiplane.analyze(
        alone, "sigmoid", measures="ei_parts", bins=bins, in_range={"*": (0, 1)}
    )
    ei = np.array([layer.ei_parts for layer in d])
    (line,) = ax.plot(weights, ei, label=f"{bins} bins")
    ax.plot(weights[ei.argmax()], ei.max(), "o", color=line.get_color())
    best = weights[ei.argmax()]
    print(f"{bins:3d} bins: greatest EI {ei.max():.3f} bits at a weight of {best:.1f}")
ax.set_xlabel("weight of A→B")
ax.set_ylabel("EI (bits)")
ax.legend(frameon=False)
