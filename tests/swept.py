"""Layers held against the real module: an input is swept, what comes out is binned and counted."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import eiplane
from eiplane.extract import ExtractOptions, to_network


class Net(nn.Module):
    """A module of a function and its parts."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._forward = forward

    def forward(self, *inputs):
        return self._forward(self, *inputs)


def extracted(module, **options):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_network(module, ExtractOptions(**options))


def counted_sensitivity(function, n_in, out_range, bins=8, in_range=(0.0, 1.0), steps=4096):
    """Sum over edges of I(x_A; y_B): one input swept, the others 0, bins counted."""
    lo, hi = in_range
    sweep = lo + (np.arange(steps) + 0.5) / steps * (hi - lo)
    total = 0.0
    for a in range(n_in):
        x = np.zeros((steps, n_in))
        x[:, a] = sweep
        y = function(x)
        width = (out_range[1] - out_range[0]) / bins
        out = np.clip(np.floor((y - out_range[0]) / width), 0, bins - 1).astype(int)
        inputs = np.minimum((sweep - lo) / (hi - lo) * bins, bins - 1).astype(int)
        for b in range(y.shape[1]):
            table = np.zeros((bins, bins))
            np.add.at(table, (inputs, out[:, b]), 1.0 / steps)
            rows, columns = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
            there = table > 0
            total += float((table[there] * np.log2(table[there] / (rows * columns)[there])).sum())
    return total


def check(module, name, function, n_in, **options):
    """Hold one layer's sensitivity against a sweep of the real function of the first layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d = eiplane.analyze(module, measures="sensitivity", layers=name, **options)
    (layer,) = d

    def real(x):
        with torch.no_grad():
            return function(torch.as_tensor(x, dtype=torch.float32)).double().numpy()

    expected = counted_sensitivity(real, n_in, layer.out_range, in_range=layer.in_range)
    assert layer.sensitivity == pytest.approx(expected, abs=0.02 * max(1.0, expected))
    return layer
