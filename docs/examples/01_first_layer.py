"""
One layer, every edge
=====================

A layer is a weight matrix and an activation. The result has numbers for the layer, and for each
edge arrays in the shape of the weight.
"""

import numpy as np

import eiplane

weight = np.array([[3.0, 0.0, 0.0], [1.0, -1.0, 0.5], [0.2, 0.2, 0.2]])
d = eiplane.analyze(weight, activation="sigmoid")
print(d)

# %%
# The first output listens to one input alone, so all that it knows is in one edge. The second mixes
# three inputs: each edge of it loses to the others.
layer = d[0]
print("EI of the edges\n", layer.ei_edges.round(3))
print("sensitivity of the edges\n", layer.sensitivity_edges.round(3))

# %%
# As a heat map, a row an output and a column an input.
eiplane.plot.edges(layer)
