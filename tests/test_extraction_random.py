"""Random modules: each layer has the sensitivity of what ran, or it is listed; none differs.

``EIPLANE_RANDOM_MODULES=20000 EIPLANE_RANDOM_SEED=1 pytest tests/test_extraction_random.py`` takes
as many modules from that seed on.
"""

import copy
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

#: Bits. The sweep places each step to 3e-9 of the range, which is far less.
TOLERANCE = 1e-6


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
    sizes = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (weight, directions)]
    a, b = (r / np.where(n == 0, 1.0, n) for r, n in zip((weight, directions), sizes, strict=True))
    zero = ~a.any(1)[:, None] & ~b.any(1)
    angle = np.sqrt(np.maximum(0.0, 1.0 - (a @ b.T) ** 2))
    # By chance few are that near; weights that nearly cancel keep few digits in single precision.
    with np.errstate(divide="ignore"):
        return (angle < 1e-4 + 1e-6 / sizes[1].T) & (a.any(1)[:, None] & b.any(1)) | zero


def rows_of(layer, site, values=None):
    """Return a layer's weights, or something of each; of a grouped one that is none, widened."""
    values = layer.weight if values is None else values
    rows = np.asarray(values, dtype=float).reshape(len(values), -1)
    if site.pool and layer.n_in == site.n_in * layer.groups:
        return np.resize(rows, (len(rows), site.n_in))
    if layer.groups == 1 or site.conv is not None:
        return rows
    per_group = len(rows) // layer.groups
    wide = np.zeros((len(rows), layer.groups, rows.shape[1]))
    wide[np.arange(len(rows)), np.arange(len(rows)) // per_group] = rows
    return wide.reshape(len(rows), -1)


def is_of(name, base):
    """Return whether a layer's name is that of a map, or of a part of it.

    Layers of several maps that are summed stand beside those: ``test_extraction_sums.py``.
    """
    if "+" in name:
        return False
    return name == base or name.startswith(tuple(f"{base}{c}" for c in ".[# "))


def sensitivity(layer, in_range, out_range, bins):
    """Return eiplane's answer, and its own error: it samples what is pooled."""
    samples = None if layer.pool is None else 20_000
    made = eiplane.analyze([layer], measures="sensitivity", in_range=in_range, samples=samples,
                           out_range=out_range, bins=bins)[0].pairwise_sensitivity  # fmt: skip
    error = 0.0 if made.method == "exact" else 6 * float(made.edges_stderr.max()) + 3e-3
    return made.edges.reshape(layer.n_out, -1), error


def unsure(layer, in_range, out_range, bins):
    """Return what single precision may make of each row's answers: bins that move as much.

    It decides which bin a step's value at its edge belongs to, and of a bin that is barely met the
    information rises steeply. Weights that are made on the way have no more digits.
    """
    by = 2.0**-22 * max(np.ptp(out_range), *np.abs(out_range))
    found = [sensitivity(layer, in_range, (out_range[0] + s, out_range[1] + s), bins)[0]
             for s in (-by, 0.0, by)]  # fmt: skip
    return 2 * np.ptp(found, axis=0).max(1, keepdims=True)


def gaps(found, real):
    """Return how far each row's answers are from those of each real one."""
    return np.abs(found[:, None] - real[None]).max(2)


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
    wrong, notes = [], []
    uses = module.sites()
    exact = copy.deepcopy(module).double()
    rounded = any(name in ("half", "bfloat") for b in module.blocks for name, _ in b.steps)
    # Numbers of few digits are taken as exact.
    tolerance, accuracy = (0.05, 0.02) if rounded else (TOLERANCE, 1e-4)
    names = {k: f"maps.{module.alias(k)}" for k, _ in uses}
    for name in dict.fromkeys(names.values()):
        sites = [Site(exact, at) for at in uses if names[at[0]] == name]
        # A pooling of features that differ belongs to no layer, nor does a scale behind one.
        sites += [Site(exact, s.at, t) for s in sites if s.pool for t in (False, "pool")]
        mine = [n for n in layers if is_of(n.name, name) or "constant" in n.name]
        fits = [np.zeros((n.n_out, len(sites), max(s.n_out for s in sites)), bool) for n in mine]
        near = [False] * len(mine)
        for u, site in enumerate(sites):
            in_range, out_range, bins = settings_of(rng, site)
            inputs = rng.uniform(*in_range, size=(40, site.n_in))
            real = counted(site, range(site.n_out), in_range, out_range, bins)
            directions, finer = site.directions(), False
            for i, layer in enumerate(mine):
                rows = rows_of(layer, site)
                if layer.n_in != site.n_in * (layer.groups if site.conv else 1):
                    continue
                # The weight of a mean of places is another.
                match = np.ones((len(rows), site.n_out), bool)
                match = match if site.pool else alike(directions, rows)
                near[i] |= match.any()
                if not match.any():
                    notes.append((layer.name, u, "other directions"))
                    continue
                found, error = sensitivity(layer, in_range, out_range, bins)
                gap = gaps(rows_of(layer, site, found), real)
                if not finer and (match & (gap > tolerance + error)).any():
                    # A step out of a bin and back again, within one cell of the sweep.
                    finer = True
                    real = counted(site, range(site.n_out), in_range, out_range, bins, cells=12_288)
                    gap = gaps(rows_of(layer, site, found), real)
                if layer.pool is None and (match & (gap > tolerance + error)).any():
                    error = error + unsure(layer, in_range, out_range, bins)
                fits[i][:, u, : site.n_out] = (
                    match & (gap <= tolerance + error) & same_values(layer, site, inputs, accuracy)
                )
                if not fits[i][:, u].any():
                    notes.append((layer.name, u, np.where(match, gap, np.nan).round(6).tolist()))
        for i, layer in enumerate(mine):
            if not fits[i].any((1, 2)).all() and (near[i] or "constant" not in layer.name):
                wrong.append((layer.name, layer.activation.name, notes))
        met = np.any([f.any(0) for f in fits], axis=0) if fits else np.zeros((len(sites), 99), bool)
        for u, site in enumerate(sites):
            gone = listed is None or any(is_of(n, name) or "constant" in n for n in listed)
            rows = np.any([met[v] for v, s in enumerate(sites) if s.at == site.at], axis=0)
            # A use that always comes to the same leaves no trace beside others that do not.
            still = len(sites) > 1 and unchanging(site, rng)
            if not gone and not still and not rows[: site.n_out].all():
                wrong.append((name, u, "neither found nor listed", met[u].tolist()))
    return len(layers), 0 if listed is None else len(listed), wrong


def unchanging(site, rng):
    """Return whether a map's outputs come to the same whatever goes into it."""
    if site.conv is not None:
        return False
    outputs = site.outputs(rng.uniform(-3.0, 3.0, size=(200, site.n_in)))
    return bool((np.ptp(outputs, axis=0) == 0.0).all())


def same_values(layer, site, inputs, accuracy):
    """Return which rows of a layer compute what which rows of the real map do."""
    found = layer(np.tile(inputs, (1, layer.groups if site.conv is not None else 1)))
    groups = [site.outputs(inputs, g) for g in range(site.groups)]
    per_group = site.n_out // site.groups
    real = np.stack([groups[r // per_group][:, r] for r in range(site.n_out)], 1)
    gap = np.abs(found[:, :, None] - real[:, None]) > accuracy * (1 + np.abs(real[:, None]))
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
