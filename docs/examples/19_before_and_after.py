"""
Before and after pruning
========================

The weakest half of every layer's edges is set to zero. What does that do to the causal structure?
"""

import numpy as np

import eiplane
from eiplane.cli.demo import demo_network, iris_snapshots

network = demo_network(iris_snapshots())
pruned = []
for layer in network:
    weights = layer.matrix().copy()
    weights[abs(weights) < np.median(abs(weights))] = 0.0
    pruned.append(eiplane.Layer(weights, name=layer.name))
before, after = eiplane.analyze(network), eiplane.analyze(pruned)

# %%
# In the causal plane an arrow leads each layer to where it went.
ax = eiplane.plot.compare({"trained": before, "pruned": after})

# %%
# By how much a quantity changed, with two standard errors.
ax = eiplane.plot.changes(before, after, quantity="phi")

# %%
# The edges of one layer after it. ``eiplane.report.write_report({"trained": before, "pruned":
# after}, "page.html")`` puts all of this on one page.
ax = eiplane.plot.edges(after["layer 2"])
