"""
Exact, sampled, and the plug-in's bias
======================================

Counting pairs of bins in a sample gives, even where there is no information at all, about
``(in_bins - 1)(out_bins - 1) / (2 S ln 2)`` bits an edge. On many edges that is far more than the
signal. Pairwise measures of a single layer need no sample: they are computed.
"""

import matplotlib.pyplot as plt
import numpy as np

import eiplane

weight = np.random.default_rng(0).normal(size=(20, 60)) * 0.3
exact = eiplane.analyze(weight, measures="ei_parts")[0]
print(f"exact: {exact.ei_parts:.4f} bits, an edge to within {exact.error_bound:.1e}")

# %%
# The same from ever more samples. Bars are two standard errors to either side.

sizes = 10 ** np.arange(2, 6)
found = [
    eiplane.analyze(weight, measures="ei_parts", method="sample", samples=int(n))[0]
    for n in sizes
]
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
ax.axhline(exact.ei_parts, color="k", lw=1, label="exact")
plugin = [layer.ei_parts_plugin for layer in found]
ax.plot(sizes, plugin, "s-", label="plug-in, as in the paper")
ax.errorbar(
    sizes,
    [layer.ei_parts for layer in found],
    [2 * layer.ei_parts_stderr for layer in found],
    fmt="o-",
    label="corrected, ± 2 standard errors",
)
ax.set(xscale="log", yscale="log", xlabel="samples", ylabel="EI_parts (bits)")
ax.legend(frameon=False)
