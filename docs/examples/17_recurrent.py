"""
A memory, seen through time
===========================

A GRU that is a delay line: its first neuron takes the input, each of the others what the one before
it held. What is left of an input after k steps is in neuron k, whole; after as many steps as there
are neurons it is gone.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import eiplane

n = 4
gru = torch.nn.GRU(1, n).double()
with torch.no_grad():
    for parameter in gru.parameters():
        parameter.zero_()
    gru.bias_ih_l0[:n] = 40.0  # the reset gate is open,
    gru.bias_ih_l0[n : 2 * n] = -40.0  # the update gate lets the new state through,
    gru.weight_ih_l0[2 * n, 0] = 0.01  # which is (nearly) linear this near to 0
    gru.weight_hh_l0[2 * n + 1 :, : n - 1] = torch.eye(n - 1).double()

t = eiplane.through_time(
    gru, perturb="input", lags=range(n + 2), state_range=(0, 0.01), measures="ei_parts"
)
print(t)

# %%
# Which neuron knows about the input, and when.
known = np.stack([layer.ei_edges[:, 0] for layer in t], axis=1)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
image = axes[0].imshow(known, cmap="viridis", vmin=0)
axes[0].set(xlabel="lag (steps)", ylabel="neuron", title="EI from the input (bits)")
axes[0].set_yticks(range(n))
figure.colorbar(image, ax=axes[0], shrink=0.8)
eiplane.plot.lags(t, axes[1], quantities=("ei_parts",))
