"""Random modules: each layer has the sensitivity of what ran, or it is listed. No silent difference.

``EIPLANE_RANDOM_MODULES=20000 EIPLANE_RANDOM_SEED=1 pytest tests/test_extraction_random.py`` takes
as many modules from that seed on.
"""

import os
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from random_modules import RandomModule, Site, counted  # noqa: E402

import eiplane  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402

MODULES = int(os.environ.get("EIPLANE_RANDOM_MODULES", "500"))
SEED = int(os.environ.get("EIPLANE_RANDOM_SEED", "0"))
PARTS = min(10, MODULES)

#: The accuracy of an activation that is recognised by its values, in bits.
TOLERANCE = 2e-5


def extracted(module, x):
    """Return the layers and the names that are listed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = to_network(module, ExtractOptions(input_data=x))
        except ValueError as error:
            assert "no layer that eiplane can analyse" in str(error), error
            return [], None
    return list(found.network), {s.name for s in found.skipped}


def alike(directions, weight):
    """Return which rows of a layer point where which rows of the real map do."""

    def unit(rows):
        size = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(size == 0, 1.0, size)

    a, b = unit(weight), unit(directions)
    zero = ~a.any(1)[:, None] & ~b.any(1)
    return (np.abs(a @ b.T) > 1 - 1e-5) | zero


def rows_of(layer, site, values=None):
    """Return a layer's weights, or something of each; of a grouped one that is none, widened."""
    values = layer.weight if values is None else values
    rows = np.asarray(values, dtype=float).reshape(len(values), -1)
    if layer.groups == 1 or site.conv is not None:
        return rows
    per_group = len(rows) // layer.groups
    wide = np.zeros((len(rows), layer.groups, rows.shape[1]))
    wide[np.arange(len(rows)), np.arange(len(rows)) // per_group] = rows
    return wide.reshape(len(rows), -1)


def settings_of(rng, site):
    """Return in_range, out_range and bins, chosen so that all bins are met."""
    in_range = [(0.0, 1.0), (-1.0, 1.0), (-2.0, 3.0)][rng.integers(3)]
    bins = int(rng.choice([2, 3, 5, 8]))
    x = rng.uniform(*in_range, size=(64, site.n_in))
    y = np.concatenate([site.outputs(x * (rng.random(x.shape) < 0.5), g)
                        for g in range(site.groups)])  # fmt: skip
    low, high = float(y.min()), float(y.max())
    wide = high - low
    return in_range, (low + 0.11 * wide - 0.013, high - 0.07 * wide + 0.017), bins


def differences(module, x, rng):
    """Return the number of layers, of rows that are listed, and what differs."""
    layers, listed = extracted(module, x)
    wrong = []
    uses = module.sites()
    rounded = any(name in ("half", "bfloat") for b in module.blocks for name, _ in b.steps)
    tolerance = 0.05 if rounded else TOLERANCE  # numbers of few digits are taken as exact
    for k in sorted({k for k, _ in uses}):
        mine = [
            layer for layer in layers
            if layer.name.startswith((f"maps.{k}.", f"maps.{k}[")) or layer.name == f"maps.{k}"
            or layer.name.startswith((f"maps.{k}#", "randommodule.constant"))
        ]  # fmt: skip
        sites = [Site(module, at) for at in uses if at[0] == k]
        rows = [rows_of(layer, sites[0]) for layer in mine]
        mine = [m for m, r in zip(mine, rows, strict=True) if r.shape[1] == sites[0].n_in]
        directions = sites[0].directions()
        match = [alike(directions, r) for r in rows if r.shape[1] == sites[0].n_in]
        pairs = [(m, a) for m, a in zip(mine, match, strict=True)
                 if a.any() or "constant" not in m.name]  # fmt: skip
        in_range, out_range, bins = settings_of(rng, sites[0])
        inputs = rng.uniform(*in_range, size=(40, sites[0].n_in))
        met = np.zeros((len(sites), sites[0].n_out), bool)
        real = [counted(s, range(s.n_out), in_range, out_range, bins) for s in sites]
        for layer, match in pairs:
            found = eiplane.analyze([layer], measures="sensitivity", in_range=in_range,
                                    out_range=out_range, bins=bins)[0].sensitivity_edges  # fmt: skip
            found = rows_of(layer, sites[0], found)
            fits = np.zeros((len(found), *met.shape), bool)
            for u, site in enumerate(sites):
                near = np.abs(found[:, None] - real[u][None]).max(2) <= tolerance
                fits[:, u] = match & near & same_values(layer, site, inputs)
            if not fits.any((1, 2)).all():
                at = np.flatnonzero(~fits.any((1, 2)))
                gaps = [[float(np.abs(found[i] - r[j]).max()) for r in real
                         for j in np.flatnonzero(match[i])] for i in at]  # fmt: skip
                wrong.append((layer.name, layer.activation.name, at.tolist(), gaps))
            met |= fits.any(0)
        gone = listed is None or any(
            name == f"maps.{k}" or name.startswith((f"maps.{k}.", f"maps.{k}[", f"maps.{k}#"))
            or "constant" in name for name in listed
        )  # fmt: skip
        if not met.all() and not gone:
            wrong.append((f"maps.{k}", "neither found nor listed", np.argwhere(~met).tolist()))
    return len(layers), 0 if listed is None else len(listed), wrong


def same_values(layer, site, inputs):
    """Return which rows of a layer compute what which rows of the real map do."""
    found = layer(np.tile(inputs, (1, layer.groups if site.conv is not None else 1)))
    groups = [site.outputs(inputs, g) for g in range(site.groups)]
    per_group = site.n_out // site.groups
    real = np.stack([groups[r // per_group][:, r] for r in range(site.n_out)], 1)
    gap = np.abs(found[:, :, None] - real[:, None]) > 1e-4 * (1 + np.abs(real[:, None]))
    return gap.mean(0) < 0.06


@pytest.mark.parametrize("part", range(PARTS))
def test_every_layer_has_the_sensitivity_of_what_ran_or_is_listed(part):
    wrong = []
    for i in range(part, MODULES, PARTS):
        seed = [SEED, i]
        rng = np.random.default_rng(seed)
        torch.manual_seed(int(rng.integers(1 << 31)))
        module = RandomModule(seed).eval()
        module = module.double() if rng.random() < 0.25 else module
        x = module.example(5).to(next(module.parameters()).dtype)
        found = differences(module, x, rng)[2]
        if found:
            wrong.append((seed, module.describe(), found))
    assert not wrong
