"""
A convolution
=============

One position of a convolution is a layer from its receptive field to its channels, and every
position is the same. Edges come in the shape of the kernel.
"""

import matplotlib.pyplot as plt
import torch

import eiplane

torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU(),
    torch.nn.Flatten(), torch.nn.Linear(4 * 4 * 4, 3),
)  # fmt: skip
with torch.no_grad():  # the first channel looks for vertical edges
    net[0].weight[0, 0] = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
d = eiplane.analyze(net, input_size=(1, 8, 8), measures=("sensitivity", "ei_parts"))
print(d)

# %%
# EI of each entry of the four kernels of the first layer.
edges = d["0"].ei_edges
print(edges.shape)
figure, axes = plt.subplots(1, 4, figsize=(8, 2.3), layout="constrained")
for k, ax in enumerate(axes):
    image = ax.imshow(edges[k, 0], vmin=0, vmax=edges.max())
    ax.set_title(f"channel {k}", fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
figure.colorbar(image, ax=axes, label="EI (bits)", shrink=0.8)
