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
    "copy": 3.0 * np.eye(n),
    "mix": 3.0 / np.sqrt(n) * mix,
    "all the same": 3.0 / np.sqrt(n) * np.ones((n, n)),
}
layers = [eiplane.Layer(w, None, "sigmoid", name) for name, w in kinds.items()]
d = eiplane.Decomposition(
    tuple(eiplane.analyze([layer], in_range=(-1, 1))[0] for layer in layers)
)
print(d)

# %%
# To the right lies what is sensitive, to the left what is degenerate.
ax = d.plot()

# %%
# The same points, not turned: on the diagonal ``ei_parts`` is zero.
ax = d.plot(rotated=False)
