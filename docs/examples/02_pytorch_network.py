"""
A network of PyTorch
====================

A module is run once and followed: every weight with a known way to its output becomes a layer, with
the activation that really follows it.
"""

import torch

import eiplane

torch.manual_seed(0)


class Net(torch.nn.Module):
    """Two hidden layers, one of them normalised."""

    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(6, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.fc2 = torch.nn.Linear(8, 5)
        self.out = torch.nn.Linear(5, 3)

    def forward(self, x):
        x = torch.tanh(self.norm(self.fc1(x)))
        x = self.fc2(x)
        x = x * torch.sigmoid(x)  # SiLU, written out
        return self.out(x)


d = eiplane.analyze(Net())
print(d)

# %%
# The batch normalisation is part of ``fc1``, and ``fc2`` is known as SiLU by what it does.
ax = d.plot()
