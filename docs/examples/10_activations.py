"""
The same weights under many activations
=======================================

What a function keeps apart, the layer can tell apart. Any elementwise function will do, also one
that turns around or jumps.
"""

import matplotlib.pyplot as plt
import numpy as np

import eiplane

weight = np.random.default_rng(3).normal(size=(6, 6))
functions = [
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "gelu",
    "leaky_relu(0.2)",
    eiplane.Activation.from_function(np.sin, "sine", natural_range=(-1, 1)),
    eiplane.Activation.from_function(np.round, "staircase"),
]
rows = tuple(
    eiplane.analyze(
        [eiplane.Layer(weight, None, f, getattr(f, "name", f))], samples=50_000
    )[0]
    for f in functions
)
print(eiplane.Decomposition(rows))

# %%
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
place = np.arange(len(rows))
ax.bar(place - 0.2, [layer.ei_parts for layer in rows], 0.38, label="EI_parts")
ax.bar(place + 0.2, [layer.ei for layer in rows], 0.38, label="EI")
ax.set_xticks(place, [layer.name for layer in rows], rotation=25, ha="right")
ax.set_ylabel("bits")
ax.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
