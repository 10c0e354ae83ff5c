"""Low-rank adapters: two thin matrices beside a base weight, or merged into it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import Skipped
from .entries import Entries, Entry, plain, swapped

__all__ = ["adapted", "is_adapter"]

Array = NDArray[np.float64]

_PART = re.compile(
    r"^(.*?)[._](lora_A|lora_B|lora[_.]down|lora[_.]up)(\.(?!weight$)[^.]+)?(\.weight)?$"
)
#: Parts of PEFT's other adapters: what they do to a base is not a sum with a product of two.
_OTHERS = re.compile(
    r"^(.*?)[._]?(lora_E|ia3_l|oft_[Rrs]|hra_u|hada_\w+|lokr_\w+|vera_(?:[AB]|lambda_\w+)|boft_[Rs]"
    r"|fourierft_spectrum|waveft_spectrum|vblora_\w+|bone_block|miss_block|c3a_kernel|shira_weight"
    r"|randlora_(?:[AB]|lambda|gamma)|poly_lora_\w+|road_(?:theta|alpha))(\.[^.]+)?(\.weight)?$"
)
_FIRST = ("lora_A", "lora_down", "lora.down")
_PREFIXES = ("", "base_model.model.", "base_model.model.model.", "base_model.")


def is_adapter(name: str) -> bool:
    """Return whether a name is that of one of an adapter's two matrices.

    What an adapter's second matrix gives is added to its base's output, what the first gives goes
    into the second: both are linear.
    """
    return _PART.match(name) is not None


def adapted(
    entries: Entries, skipped: list[Skipped], about: Mapping[str, Any] | None = None
) -> Entries:
    """Return entries with low-rank adapters merged into the bases that are there too.

    Parameters
    ----------
    entries : dict of str to Entry
    skipped : list of Skipped
        Takes bases whose adapters change them in a way that is not undone here.
    about : mapping, optional
        PEFT's ``adapter_config.json``. Without it the scale is not known: the adapter's matrices
        then stand beside their base.

    Returns
    -------
    dict of str to Entry
        The adapters' own matrices among them, in any case.

    Notes
    -----
    ``W + (alpha / r) B A`` (Hu et al., *LoRA*, 2021), ``alpha / sqrt(r)`` where PEFT's
    ``use_rslora`` says so. Each ``.alpha`` beside the matrices (as kohya's scripts write it) says
    the scale too.
    """
    entries = _without_others(entries, skipped)
    pairs: dict[tuple[str, str], dict[str, Entry]] = {}
    for name, entry in entries.items():
        if match := _PART.match(name):
            side = "A" if match[2] in _FIRST else "B"
            pairs.setdefault((match[1], match[3] or ""), {})[side] = entry
    made: dict[str, Entry] = {}
    gone: set[str] = {n for n in entries if n.endswith(".alpha")} if pairs else set()
    rescaled = {n.partition(".lora_magnitude_vector")[0] for n in entries if "lora_magn" in n}
    for (module, adapter), pair in pairs.items():
        base = _base(entries, module)
        if base is None or len(pair) != 2:
            continue
        if module in rescaled:
            gone.add(base.name)
            reason = "a DoRA adapter rescales it; merge the adapter and save the result"
            skipped.append(Skipped(module, reason))
            continue
        scale = _scale(entries, module, pair["A"].shape[0], about or {})
        if scale is None or pair["B"].shape[1] != pair["A"].shape[0]:
            continue
        before = made.get(base.name, base)
        turned = bool((about or {}).get("fan_in_fan_out"))
        whole = _merged(before, pair["A"], pair["B"], scale, turned)
        if whole is not None:
            made[base.name] = whole
            bias = base.name.removesuffix("weight") + "bias"
            own = made.get(bias, entries.get(bias))
            more = entries.get(f"{pair['B'].name.removesuffix('weight')}bias")
            title = whole.name.removesuffix("weight") + "bias"
            if more is not None and not adapter.endswith(".bias"):
                made[bias if own is not None else more.name] = _moved(title, own, more, scale)
            elif own is not None:
                made[bias] = replace(own, name=title)
    return swapped(entries, made, gone)


def _without_others(entries: Entries, skipped: list[Skipped]) -> Entries:
    """Return entries without what other adapters are made of, and without the bases they change."""
    gone: set[str] = set()
    for name in entries:
        match = _OTHERS.match(name)
        if match is None or (match[1] and name[len(match[1])] not in "._"):
            continue
        gone.add(name)
        base = _base(entries, match[1])
        if base is not None and base.name not in gone:
            gone |= {base.name, base.name.removesuffix("weight") + "bias"}
            reason = f"an adapter ({match[2]}) changes it; merge the adapter and save the result"
            skipped.append(Skipped(match[1], reason))
        elif base is None:
            skipped.append(Skipped(name, "a part of an adapter, which changes a base elsewhere"))
    return swapped(entries, {}, gone)


def _base(entries: Entries, module: str) -> Entry | None:
    for prefix in _PREFIXES:
        if module.startswith(prefix):
            rest = module.removeprefix(prefix)
            for name in (f"{rest}.base_layer.weight", f"{rest}.weight"):
                if name in entries and len(entries[name].shape) >= 2:
                    return entries[name]
    return None


def _scale(entries: Entries, module: str, rank: int, about: Mapping[str, Any]) -> float | None:
    own = entries.get(f"{module}.alpha")
    if own is not None and math.prod(own.shape) == 1:
        return float(plain(own.read()).reshape(-1)[0]) / rank
    alpha = about.get("lora_alpha")
    for pattern, value in dict(about.get("alpha_pattern") or {}).items():
        if re.search(rf"(^|\.){pattern}$", module):
            alpha = value
    if not isinstance(alpha, int | float) or rank < 1:
        return None
    return float(alpha) / (math.sqrt(rank) if about.get("use_rslora") else rank)


def _moved(title: str, bias: Entry | None, more: Entry, scale: float) -> Entry:
    """Return a bias with that of an adapter's second matrix added."""

    def read() -> Array:
        change = scale * plain(more.read()).astype(np.float64)
        return change if bias is None else plain(bias.read()).astype(np.float64) + change

    return Entry(title, more.shape, read, "", "F64")


def _merged(base: Entry, a: Entry, b: Entry, scale: float, turned: bool) -> Entry | None:
    n_out, n_in = b.shape[0], math.prod(a.shape[1:])
    matrix = (n_in, n_out) if turned else (n_out, n_in)
    if base.problem or matrix != (base.shape[0], math.prod(base.shape[1:])):
        return None

    def read() -> Array:
        first, second = (plain(part.read()).astype(np.float64) for part in (a, b))
        change = scale * second.reshape(n_out, -1) @ first.reshape(len(first), -1)
        change = change.T if turned else change
        return plain(base.read()).astype(np.float64) + change.reshape(base.shape)

    name = base.name.replace(".base_layer.weight", ".weight")
    return Entry(name, base.shape, read, "", "F64")
