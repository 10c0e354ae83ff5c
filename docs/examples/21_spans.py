"""
What gets through several layers
================================

A network of three layers, each of its spans measured at once: from the input of one layer to the
output of another, with nothing binned on the way. What single layers let through says little about
what all of them do together.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import eiplane

rng = np.random.default_rng(0)
weights = [
    rng.normal(size=(n, m)) * 1.5 / np.sqrt(m) for m, n in ((8, 8), (8, 6), (6, 4))
]
d = eiplane.analyze(
    weights, "tanh", spans="all", measures=("sensitivity", "ei_parts", "ei")
)
print(d)

# %%
# The deeper the span, the less each input says by itself of each output.
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
eiplane.plot.causal_plane(d, ax=axes[0])
places = np.arange(len(d))
axes[1].bar(places - 0.2, [layer.ei for layer in d], 0.4, label="EI")
axes[1].bar(places + 0.2, [layer.ei_parts for layer in d], 0.4, label="EI_parts")
axes[1].set_xticks(places, [layer.name for layer in d])
axes[1].set(xlabel="layer or span", ylabel="bits")
_ = axes[1].legend(frameon=False)

# %%
# Sixteen outputs of eight bins are too many to count. What is known of EI then are bounds: a model
# of the outputs, fitted to samples, proves how much there can be at most, and a model of the inputs
# given the outputs how much there is at least.
wide = [rng.normal(size=(n, m)) / np.sqrt(m) for m, n in ((16, 24), (24, 16))]
with warnings.catch_warnings():
    warnings.simplefilter("ignore", eiplane.SaturationWarning)
    span = eiplane.analyze(wide, "tanh", spans=[(0, 1)], measures=("ei_parts", "ei"))[0]
print(f"EI is between {span.ei_bounds[0]:.1f} and {span.ei_bounds[1]:.1f} bits")
print(f"EI_parts is {span.ei_parts:.2f} bits")
