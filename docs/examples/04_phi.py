"""
Integrated information: synergy and redundancy
==============================================

Phi is what the whole layer knows beyond its edges. Copies of one message are counted once by EI and
many times by the edges: phi is negative. A difference of two inputs tells more about the pair than
about either: phi is positive.
"""

import matplotlib.pyplot as plt
import numpy as np

import eiplane

redundant = np.zeros((4, 4))
redundant[:, 0] = 1.0  # four outputs that copy one input
synergy = np.array([[1, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1], [1, 0, 0, 1]]) / 2.0

rows = []
for name, weight in (
    ("redundant", redundant),
    ("copy", np.eye(4)),
    ("differences", synergy),
):
    d = eiplane.analyze([eiplane.Layer(weight, None, "identity", name)])
    rows.append(d[0])
print(eiplane.Decomposition(tuple(rows)))

# %%
# As bars: what is found edge by edge, and in the whole.
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
place = np.arange(len(rows))
ax.bar(place - 0.2, [layer.ei_parts for layer in rows], 0.38, label="EI_parts")
ax.bar(place + 0.2, [layer.ei for layer in rows], 0.38, label="EI")
ax.set_xticks(place, [f"{layer.name}\nphi = {layer.phi:.2f}" for layer in rows])
ax.set_ylabel("bits")
ax.legend(frameon=False)
