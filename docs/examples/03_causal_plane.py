"""
Three kinds of layers in the causal plane
=========================================

A copy, a layer in which every output mixes all inputs, and one whose outputs all do the same: as
sensitive as each other, they differ in how much of it survives when everything varies at once.
"""

import numpy as np

import eiplane

n = 6
mix = np.random.default_rng(1).normal(size=(n, n))
kinds = {
    "copy": 6.0 * np.eye(n),
    "mix": 6.0 / np.sqrt(n) * mix,
    "all the same": 6.0 / np.sqrt(n) * np.ones((n, n)),
}
layers = [eiplane.Layer(w, -w.sum(axis=1) / 2, "sigmoid", name) for name, w in kinds.items()]
d = eiplane.Decomposition(tuple(eiplane.analyze([layer])[0] for layer in layers))
print(d)

# %%
# To the right lies what is sensitive, to the left what is degenerate. The biases centre the inputs, so
# that no output is stuck at an end of its range.
ax = d.plot()

# %%
# The same points, not turned: on the diagonal ``ei_parts`` is zero.
ax = d.plot(rotated=False)
