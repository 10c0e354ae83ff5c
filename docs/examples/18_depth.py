"""
Through the depth of a transformer
==================================

Six blocks of six linear maps, their weights as drawn, but larger from block to block. Thirty-six
layers are too many for a symbol each: layers that do the same in different blocks have one role.
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
model = torch.nn.TransformerEncoder(block, num_layers=6, enable_nested_tensor=False)
for depth, layer in enumerate(model.layers):
    for weight in layer.parameters():
        if weight.ndim == 2:  # the encoder's blocks are copies, or they would be
            torch.nn.init.xavier_uniform_(weight, gain=0.5 + 0.25 * depth)
d = eiplane.analyze(model, input_size=(5, 16), measures=("sensitivity", "ei_parts"))
print(f"{len(d)} layers, from {d[0].name} to {d[-1].name}")

# %%
# A line a role. Of layers of several sizes bits per edge are compared.
ax = eiplane.plot.layers(d, normalize="edges")

# %%
# Several quantities on one axis, each with a line of its own; the feedforward maps alone.
feedforward = eiplane.Decomposition(
    tuple(layer for layer in d if "linear" in layer.name)
)
ax = eiplane.plot.layers(
    feedforward, quantities=["sensitivity", "ei_parts"], normalize="edges"
)

# %%
# In the causal plane a mark is a role, and colour is depth.
ax = d.plot(normalize="edges")

# %%
# Small and large layers in one plane: both axes are logarithmic, but around zero.
sizes = [(384, 96), (96, 24), (24, 10), (10, 2)]
funnel = torch.nn.Sequential(
    *(part for size in sizes for part in (torch.nn.Linear(*size), torch.nn.Tanh()))
)
wide = eiplane.analyze(funnel, measures=("sensitivity", "ei_parts", "bounds"))
ax = wide.plot(scale="symlog")

# %%
# Of EI of the whole only the bounds were asked for: they are bars without a mark, and no line leads
# through what is not known.
ax = eiplane.plot.layers(wide, quantities=["ei", "ei_parts"], scale="symlog")
