"""
Groups of neurons, and single ones
==================================

Which inputs does the layer listen to as a whole, and what passes between two groups? The layer here
has two halves that hardly talk to each other.
"""

import matplotlib.pyplot as plt
import numpy as np

import eiplane

rng = np.random.default_rng(2)
weight = rng.normal(size=(6, 6)) * 0.15
weight[:3, :3] += rng.normal(size=(3, 3)) * 2.0
weight[3:, 3:] += rng.normal(size=(3, 3)) * 2.0
layer = eiplane.Layer(weight, -weight.sum(axis=1) / 2, name="two halves")

first, second = [0, 1, 2], [3, 4, 5]
for inputs in (first, second):
    for outputs in (first, second):
        r = eiplane.ei_between(layer, inputs, outputs, samples=200_000)
        print(
            f"inputs {inputs} → outputs {outputs}: {r.ei:.3f} ± {r.ei_stderr:.3f} bits"
        )

# %%
# The influence of each input on the whole output, and of the whole input on each output.
result = eiplane.analyze([layer])[0]
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
axes[0].bar(range(6), result.influence_in)
axes[0].set(xlabel="input A", ylabel="bits", title="I(X_A; Y)")
axes[1].bar(range(6), result.influence_out)
axes[1].set(xlabel="output B", title="I(X; Y_B)")
