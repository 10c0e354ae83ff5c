"""The npz files that decompositions are kept in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files import check_regular, is_damage, kind_of, write_whole
from ..network import Wiring
from .layer import PARTS, LayerResult
from .measures import Skipped, Totals
from .plain import plain

__all__ = ["read_archive", "write_archive"]

#: Of what :func:`write_archive` writes: 2 of results without edges, which 1 does not know.
FORMAT = 2

Contents = tuple[
    tuple[LayerResult, ...], tuple[Skipped, ...], dict[str, Any], dict[str, Any] | None
]


def write_archive(
    path: str | Path,
    layers: Sequence[LayerResult],
    skipped: Sequence[Skipped],
    settings: dict[str, Any],
    lags: dict[str, Any] | None = None,
) -> None:
    """Write what a decomposition consists of, whole or not at all.

    Parameters
    ----------
    path : path-like
    layers : sequence of LayerResult
    skipped : sequence of Skipped
    settings : dict
        Plain values.
    lags : dict, optional
        What :class:`eiplane.ThroughTime` has beside those, by name.
    """
    arrays: dict[str, Any] = {}
    packed = [_pack(layer, f"{i}", arrays) for i, layer in enumerate(layers)]
    header = {
        "format": FORMAT if any(map(_without_edges, layers)) else 1,
        "settings": settings,
        "skipped": [[s.name, s.reason] for s in skipped],
        "layers": packed,
    }
    wiring = next((layer.wiring for layer in layers if layer.wiring is not None), None)
    if wiring is not None:  # one network's: of all layers
        header["wiring"] = wiring.to_dict()
    if lags is not None:
        matrices = {f"matrices/{lag}": matrix for lag, matrix in lags["matrices"].items()}
        arrays |= matrices
        header["through_time"] = {**lags, "lags": list(lags["lags"]), "matrices": list(matrices)}
    arrays["header"] = np.array(json.dumps(header))
    write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_archive(path: str | Path) -> Contents:
    """Read what :func:`write_archive` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    layers : tuple of LayerResult
    skipped : tuple of Skipped
    settings : dict
    lags : dict or None
        None of what is no :class:`eiplane.ThroughTime`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file.
    """
    try:
        check_regular(Path(path))
        with np.load(path, allow_pickle=False) as arrays:
            header = json.loads(str(_array(arrays, "header")))
            if header["format"] > FORMAT:
                raise ValueError(f"it has format {header['format']}, newer than this version's")
            layers = tuple(_unpack(LayerResult, x, arrays) for x in header["layers"])
            if "wiring" in header:
                wiring = Wiring.from_dict(header["wiring"])
                layers = tuple(replace(layer, wiring=wiring) for layer in layers)
            skipped = tuple(Skipped(*s) for s in header["skipped"])
            lags = _lags(header, len(layers), arrays)
            return layers, skipped, header["settings"], lags
    except Exception as error:
        if not is_damage(error):
            raise
        kind = kind_of(path, "eiplane.load")
        if kind:
            raise ValueError(
                f"{path} is not a decomposition that eiplane saved: it is {kind}"
            ) from None
        reason = "it is no archive of arrays" if "pickle" in str(error) else error
        raise ValueError(f"{path} is not a decomposition that eiplane saved: {reason}") from error


def _lags(header: dict[str, Any], count: int, arrays: Any) -> dict[str, Any] | None:
    """Return what a result through time has of its own."""
    if "through_time" not in header:
        return None
    lags, perturb, names = (header["through_time"][k] for k in ("lags", "perturb", "matrices"))
    if len(lags) != count or not all(type(lag) is int for lag in lags):
        raise ValueError("its lags are not those of its layers")
    matrices = {}
    for name in names:
        matrix = matrices[int(name.removeprefix("matrices/"))] = _array(arrays, name)
        if matrix.dtype != np.float64 or matrix.ndim != 2:
            raise ValueError(f"{name} is no matrix of real numbers")
    return {"lags": tuple(lags), "perturb": str(perturb), "matrices": matrices}


def _array(arrays: Any, name: str) -> Any:
    """Return an array; a member that is none, or unpacks to far too much text, is not read."""
    member = arrays.zip.getinfo(f"{name}.npy")
    with arrays.zip.open(member) as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{name} is no array of real numbers")
    if name == "header" and member.file_size > 200 * member.compress_size + (1 << 20):
        raise ValueError("its header unpacks to more than one that was saved does")
    return arrays[name]


def _pack(value: Any, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as JSON values; arrays go to ``arrays`` under a key of their own."""
    out: dict[str, Any] = {}
    for f in fields(value):
        if f.name == "wiring":
            continue
        item = getattr(value, f.name)
        if isinstance(item, np.ndarray):
            arrays[f"{prefix}/{f.name}"] = item
            item = {"array": f"{prefix}/{f.name}"}
        elif f.name in PARTS and item is not None:
            item = _pack(item, f"{prefix}/{f.name}", arrays)
        out[f.name] = plain(item)
    return out


def _without_edges(layer: LayerResult) -> bool:
    return any(isinstance(getattr(layer, name), Totals) for name in PARTS)


def _kind_of(name: str, packed: dict[str, Any]) -> type[Any]:
    """Return which of what a part may be has the fields that were packed."""
    first, *others = PARTS[name]
    return next((k for k in others if set(packed) == {f.name for f in fields(k)}), first)


def _unpack(kind: type[Any], packed: dict[str, Any], arrays: Any) -> Any:
    out: dict[str, Any] = {}
    for key, item in packed.items():
        if isinstance(item, dict) and set(item) == {"array"}:
            item = _array(arrays, item["array"])
            if not isinstance(item, np.ndarray) or item.dtype.kind not in "fiub":
                raise ValueError(f"{key} is no array of real numbers")
        elif key in PARTS and item is not None:
            item = _unpack(_kind_of(key, item), item, arrays)
        elif isinstance(item, list):
            item = tuple(item)
        out[key] = item
    return kind(**out)
