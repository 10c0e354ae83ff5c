"""
A macro scale with more to say
==============================

Four noisy neurons in two pairs: a pair fires for sure if both of the other pair did, and else each
of its neurons at random. Neuron by neuron this is mostly noise. As two units that are on or off it
is nearly a copy (Hoel, Albantakis and Tononi, PNAS 110, 19790, 2013, figure 2: 1.15 and 1.55 bits).
"""

import itertools

import numpy as np

import eiplane

states = np.array(list(itertools.product([0, 1], repeat=4)))
first, second = states[:, :2].all(axis=1), states[:, 2:].all(axis=1)
# A row a state, a column a neuron.
fires = np.where([second, second, first, first], 1.0, 0.3).T
matrix = np.prod(np.where(states, fires[:, None], 1 - fires[:, None]), axis=-1)

# %%
# The search may do better than the two pairs of the paper: it is free to group any states.
pairs = [np.flatnonzero((first == a) & (second == b)) for a in (0, 1) for b in (0, 1)]
names = ["".join(map(str, s)) for s in states]
paper = eiplane.tpm(matrix, macro=pairs, names=names)
print(paper)
print()
print(eiplane.tpm(matrix, names=names))

# %%
axes = eiplane.plot.transitions(paper)
