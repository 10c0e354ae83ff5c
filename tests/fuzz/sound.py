"""What must hold of every result: finite, inside its bounds, errors that are errors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

import eiplane


def faults(layer: eiplane.LayerResult, plugin: bool = False, noisy: bool = False) -> Iterator[str]:
    """Return what is wrong with the numbers of a layer, each beginning with its kind.

    Parameters
    ----------
    layer : LayerResult
    plugin : bool
        Whether whole vectors are estimated by the plug-in, which only its error brings inside.
    noisy : bool
        Whether outputs have noise, and so no bins.
    """
    of_outputs = math.inf if noisy else math.log2(layer.out_bins)
    yield from _faults_of_edges(layer, min(math.log2(layer.in_bins), of_outputs))
    most = min(layer.n_in * math.log2(layer.in_bins), layer.n_out * of_outputs)
    if layer.bounds is not None:
        yield from _faults_of_bounds(layer.bounds.ei_bounds, most, "ei")
        entropy = layer.bounds.output_entropy_bounds
        if not noisy:
            yield from _faults_of_bounds(entropy, layer.n_out * of_outputs, "entropy")
    if layer.joint is not None:
        yield from _faults_of_joint(layer.joint, most, layer.n_out * of_outputs, plugin)


def _faults_of_edges(layer: eiplane.LayerResult, most: float) -> Iterator[str]:
    for name in ("pairwise_sensitivity", "pairwise_ei"):
        part = getattr(layer, name)
        if part is None:
            continue
        if not np.isfinite(part.edges).all() or not math.isfinite(part.total):
            yield f"not finite of {name}"
        elif part.method == "exact":
            slack = 1e-9 + (part.error_bound or 0.0)
            if not (math.isfinite(slack) and (part.error_bound or 0.0) >= 0.0):
                yield f"error_bound of {name}: {part.error_bound}"
            if part.edges.min() < -slack or part.edges.max() > most + slack:
                yield f"outside 0..log2 of {name}: {part.edges.min()}, {part.edges.max()}"
        else:
            error = part.edges_stderr
            if error is None or not np.isfinite(error).all() or not (part.stderr or 0.0) >= 0.0:
                yield f"no error of {name}"
            elif part.edges_plugin is not None and (
                part.edges_plugin.max() > most + 1e-9 or part.edges_plugin.min() < -1e-9
            ):
                yield f"plugin outside 0..log2 of {name}"
            elif (part.edges - most > 6 * error + 1e-9).any():
                yield f"sampled beyond log2 of {name}: {part.edges.max()} > {most}"
            elif not math.isfinite(part.stderr or 0.0):
                yield f"stderr not finite of {name}"
        if not 0.0 <= part.outlier_fraction <= 1.0 + 1e-12:
            yield f"outlier fraction of {name}: {part.outlier_fraction}"


def _faults_of_bounds(bounds: tuple[float, float], most: float, what: str) -> Iterator[str]:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        yield f"bounds not finite of {what}: {bounds}"
    elif low > high or low < 0.0:
        yield f"bounds of {what}: {bounds}"
    elif high > most + 1e-6:
        yield f"bounds wider than trivial of {what}: {bounds}, at most {most}"


def _faults_of_joint(
    joint: eiplane.Joint, most: float, of_outputs: float, plugin: bool
) -> Iterator[str]:
    numbers = [joint.ei, joint.ei_stderr, *joint.ei_bounds, joint.output_entropy, joint.coverage]
    numbers += [joint.output_entropy_stderr, joint.outlier_fraction]
    numbers = [n for n in numbers if n is not None]  # not known: said so
    for more in (joint.influence_in, joint.influence_out):
        numbers += [] if more is None else more.tolist()
    if not all(map(math.isfinite, numbers)):
        yield f"not finite of joint: {numbers[:8]}"
        return
    yield from _faults_of_bounds(joint.ei_bounds, most, "ei")
    low, high = joint.ei_bounds
    if joint.ei is None:
        return
    if not low - 1e-6 <= joint.ei <= high + 1e-6:
        if not plugin:
            yield f"outside its bounds of ei: {joint.ei} in {joint.ei_bounds}"
        elif joint.ei_stderr is not None and (
            joint.ei + joint.ei_stderr < low - 1e-6 or joint.ei - joint.ei_stderr > high + 1e-6
        ):
            yield (
                "outside its bounds by more than its error of ei: "
                f"{joint.ei} +- {joint.ei_stderr}, {joint.ei_bounds}"
            )
    if min(joint.ei_stderr or 0.0, joint.output_entropy_stderr or 0.0) < 0.0:
        yield "negative error of joint"
    if joint.output_entropy is not None and joint.output_entropy > of_outputs + 1e-6:
        yield f"output entropy above log2 of joint: {joint.output_entropy}"
