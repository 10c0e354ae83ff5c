"""
How many samples EI takes
=========================

The paper's estimator counts whole vectors and falls, slowly, towards the truth. The one used here
takes ``H(Y | X)`` inside cells of the inputs, and is near it at once.
"""

import numpy as np

import eiplane

weight = np.random.default_rng(0).uniform(-5, 5, size=(5, 5)) / np.sqrt(5)
c = eiplane.convergence(
    eiplane.Layer(weight, name="5→5"),
    samples=[100, 1000, 10_000, 100_000, 1_000_000],
    quantities=["conditional", "plugin"],
)
print(c)

# %%
# The band holds the doubt about an estimate's bias where there is an estimate of that.

ax = eiplane.plot.convergence(c)
