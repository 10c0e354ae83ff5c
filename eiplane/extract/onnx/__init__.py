"""Networks from ONNX graphs, run once and followed node by node.

What the onnx package's own reference implementation computes is followed with the same signals as
the operators of a module; so all that holds for modules holds here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files import require
from ...network import Network
from ...results import Skipped
from ..flow.observed import NotFiniteError, Observer
from ..options import ExtractOptions
from .files import load
from .inputs import data, examples
from .program import Program
from .run import Run

__all__ = ["from_onnx"]

Inputs = dict[str, NDArray[Any]]


def from_onnx(path: Path, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of an ONNX graph, in order of execution.

    Parameters
    ----------
    path : Path
    options : ExtractOptions
        ``input_size`` where the graph leaves more than its batch size open, or ``input_data``:
        an array, a tuple in the order of the graph's inputs, a mapping of their names, or an
        iterable of those.

    Returns
    -------
    network : Network
        Named as the weights, less a last ``weight``, or by the nodes where exporting has renamed
        the weights.
    skipped : tuple of Skipped

    Raises
    ------
    ImportError
        If onnx is missing (``pip install "eiplane[onnx]"``).
    ValueError
        For a file that is no whole graph, or a graph without layers.
    """
    if options.activation is not None:
        raise ValueError(f"{path}: an ONNX graph brings its own activations; leave activation out")
    onnx = require("onnx", "onnx")
    model, weights = load(onnx, path)
    require("onnx.reference", "onnx")
    try:
        return _network(Program(onnx, model, weights), options)
    except MemoryError as error:
        raise ValueError(f"{path}: its shapes take more memory than there is ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except (LookupError, RuntimeError, ArithmeticError, AttributeError) as error:
        # The onnx package has its own ways to say that a graph makes no sense.
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: the graph cannot be read ({said})") from error


def _network(program: Program, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    inputs: Iterable[Inputs]
    batches = None
    if options.input_data is not None:
        batches = data(program, options.input_data)
        example = next(batches, None)
        if example is None:
            raise ValueError("input_data is empty: there is no batch to run the network on")
        inputs = [example]
    else:
        inputs = examples(program, options)
    run = _followed(program, inputs)
    network, skipped = run.finish()
    if network is None:
        listed = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:8])
        raise ValueError(
            "the graph has no layer that eiplane can analyse" + (f" ({listed})" if listed else "")
        )
    if batches is not None and options.quantiles is not None:
        observer = Observer(run.flow.layers, options.quantiles)
        del run
        _observe(observer, program, itertools.chain(inputs, batches), options)
        network = network.changed(seen=observer.seen())
    return network, skipped


def _followed(program: Program, inputs: Iterable[Inputs]) -> Run:
    """Return the run on the first input that the graph takes."""
    first: ValueError | None = None
    shapes = ""
    for example in inputs:
        run = Run(program)
        try:
            run.follow(example)
            return run
        except (ValueError, np.linalg.LinAlgError) as error:
            if first is None:
                first = ValueError(str(error))
                shapes = ", ".join(f"{n} {tuple(v.shape)}" for n, v in example.items())
    said = f"{first}" if first is not None else "it has no inputs"
    raise ValueError(
        f"the graph cannot be run on an example input of {shapes} ({said}); give one that it takes "
        "with input_size= or input_data="
    )


def _observe(
    observer: Observer, program: Program, batches: Iterable[Inputs], options: ExtractOptions
) -> None:
    """Run a graph on all batches."""
    try:
        total = len(options.input_data)  # of a list, say
    except TypeError:
        total = 0
    for done, batch in enumerate(batches, 1):
        run = Run(program, observer.next_run())
        try:
            run.follow(batch)
        except NotFiniteError:
            raise
        except ValueError as error:
            shapes = ", ".join(f"{n} {tuple(v.shape)}" for n, v in batch.items())
            raise ValueError(
                f"the graph failed on batch {done} of input_data, of {shapes} ({error})"
            ) from error
        if options.progress is not None:
            options.progress(done, max(done, total), "ranges from data")
