"""
The layers of a transformer
===========================

An encoder layer holds six linear maps. Each projection of the attention is a layer; where the
inputs of each lie follows from the norms before it.
"""

import torch

import eiplane

torch.manual_seed(0)
block = torch.nn.TransformerEncoderLayer(
    d_model=16,
    nhead=2,
    dim_feedforward=32,
    activation="gelu",
    norm_first=True,
    batch_first=True,
)
d = eiplane.analyze(block, input_size=(5, 16), measures=("sensitivity", "ei_parts"))
print(d)

# %%
# Degeneracy against sensitivity, a point a projection.
ax = d.plot(rotated=False)

# %%
# What feeds what, as the run showed it: queries, keys and values take the same inputs and meet in
# the attention; what a residual adds goes round in an arc.
ax = eiplane.plot.network(d, max_nodes=12)
print(d.wiring.feeds["linear1"], d.wiring.meetings[1])
