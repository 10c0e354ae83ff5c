"""What a graph is run on: data of the user's, or an example that its inputs declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batches import batches_of
from ..options import ExtractOptions
from .call import is_float
from .program import Program

__all__ = ["data", "examples"]

Inputs = dict[str, NDArray[Any]]

#: Sizes that a graph leaves open: the batch, and others such as a sequence's length or an image's,
#: of which the first is taken that the graph can be run with.
_BATCH, _OPEN = 1, (4, 32, 224)


def _declared(entry: Any) -> list[int | str | None] | None:
    """Return the sizes of an input: a number, a name, or None where it says nothing."""
    kind = entry.type.tensor_type
    if not entry.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    found: list[int | str | None] = []
    for dim in kind.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value > 0:
            found.append(int(dim.dim_value))
        else:
            found.append(dim.dim_param or None)
    return found


def _type(program: Program, entry: Any) -> Any:
    if not entry.type.HasField("tensor_type"):
        raise ValueError(f"input {entry.name!r} is no tensor; give input_data= for it")
    return program.onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)


def _example(name: str, shape: Sequence[int], dtype: Any, rng: np.random.Generator) -> Any:
    """Return numbers between 0 and 1; first entries of tables; masks that leave nothing out."""
    if is_float(dtype):
        return rng.random(shape).astype(dtype)
    on = "mask" in name.lower() or dtype.kind == "b"
    return np.full(shape, 1 if on else 0).astype(dtype)


def examples(program: Program, options: ExtractOptions) -> Iterator[Inputs]:
    """Yield examples to try, best first.

    Parameters
    ----------
    program : Program
    options : ExtractOptions
        ``input_size`` is the shape of the first input, with its batch or without.

    Yields
    ------
    dict of str to ndarray
    """
    shapes = {entry.name: _declared(entry) for entry in program.inputs}
    first = program.inputs[0].name if program.inputs else ""
    given: list[tuple[int, ...] | None] = [None]
    if options.input_size is not None:
        if not program.inputs:
            raise ValueError("the graph has no input that input_size= could be of")
        size = _size(options.input_size)
        rank = None if shapes[first] is None else len(shapes[first] or ())
        given = [size] if rank in (None, len(size)) else []
        if rank is None or rank == len(size) + 1:
            given.append((1, *size))
        if not given:
            raise ValueError(f"input_size {size} does not fit the input {first!r} of {rank} axes")
    for entry in program.inputs:
        if shapes[entry.name] is None and (entry.name != first or given == [None]):
            raise ValueError(
                f"the shape of the input {entry.name!r} is not known: give input_size= or "
                "input_data="
            )
    left_open = any(not isinstance(n, int) for shape in shapes.values() for n in shape or ["?"])
    for size_here in given:
        for one in _OPEN if left_open else _OPEN[:1]:
            sizes = _sizes(shapes, first, size_here, one)
            rng = np.random.default_rng(0)
            yield {
                entry.name: _example(entry.name, sizes[entry.name], _type(program, entry), rng)
                for entry in program.inputs
            }


def _size(value: Any) -> tuple[int, ...]:
    try:
        size = tuple(int(n) for n in value)
    except TypeError:
        raise TypeError(
            f"input_size must be a sequence of sizes such as (1, 28, 28), not {value!r}"
        ) from None
    if any(n < 1 for n in size):
        raise ValueError(f"input_size must be of positive sizes, not {size}")
    return size


def _sizes(
    shapes: Mapping[str, list[int | str | None] | None],
    first: str,
    given: tuple[int, ...] | None,
    one: int,
) -> dict[str, tuple[int, ...]]:
    """Return all inputs' shapes: sizes of one name are the same wherever they stand."""
    named: dict[str, int] = {}
    if given is not None:
        named = {n: k for n, k in zip(shapes[first] or [], given, strict=False)
                 if isinstance(n, str)}  # fmt: skip
    for shape in shapes.values():
        if shape and isinstance(shape[0], str):
            named.setdefault(shape[0], _BATCH)
    found = {}
    for name, shape in shapes.items():
        if name == first and given is not None:
            found[name] = given
            continue
        found[name] = tuple(
            n if isinstance(n, int)
            else (_BATCH if k == 0 else one) if n is None else named.get(n, one)
            for k, n in enumerate(shape or ())
        )  # fmt: skip
    return found


def data(program: Program, given: Any) -> Iterator[Inputs]:
    """Yield the batches that the user gave.

    Parameters
    ----------
    program : Program
    given : object
        As :func:`eiplane.extract.batches.batches_of` takes it. A batch that is larger than the
        graph can take at once, because it fixes its batch size, comes in several.

    Yields
    ------
    dict of str to ndarray

    Raises
    ------
    ValueError
        For inputs that are missing, that the graph does not have, or of another shape.
    """
    names = [entry.name for entry in program.inputs]
    for batch in batches_of(given):
        args, kwargs = batch.arguments(len(names), frozenset(names))
        if len(args) > len(names):
            raise ValueError(f"input_data has {len(args)} arrays, the graph {_listed(names)}")
        arrays = dict(zip(names, args, strict=False)) | kwargs
        if len(kwargs) == 1 == len(names) and names[0] not in arrays:
            arrays = {names[0]: next(iter(kwargs.values()))}
        strange, missing = [set(arrays) - set(names), set(names) - set(arrays)]
        if strange or missing:
            what = f"no {sorted(missing)[0]!r}" if missing else f"{sorted(strange)[0]!r} besides"
            raise ValueError(f"input_data has {what}; the graph takes {_listed(names)}")
        yield from _in_parts(
            program,
            {e.name: _array(e.name, arrays[e.name], _type(program, e)) for e in program.inputs},
        )


def _listed(names: list[str]) -> str:
    return f"{len(names)} inputs ({', '.join(names)})" if len(names) != 1 else f"{names[0]!r} alone"


def _array(name: str, value: Any, dtype: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" and not is_float(array.dtype):
        raise ValueError(f"input_data for {name!r} is of type {array.dtype}, not numbers")
    return array.astype(dtype, copy=False)


def _in_parts(program: Program, arrays: Inputs) -> Iterator[Inputs]:
    """Yield a batch as the graph's own batch size cuts it."""
    parts = 1
    for entry in program.inputs:
        shape, array = _declared(entry), arrays[entry.name]
        if shape is None:
            continue
        fits = len(shape) == array.ndim and all(
            k == 0 or not isinstance(n, int) or n == m
            for k, (n, m) in enumerate(zip(shape, array.shape, strict=True))
        )
        if not fits:
            wanted = ", ".join("?" if n is None else str(n) for n in shape)
            raise ValueError(
                f"input_data for {entry.name!r} has the shape {array.shape}, the graph takes "
                f"({wanted})"
            )
        if shape and isinstance(shape[0], int) and array.shape[0] != shape[0]:
            if array.shape[0] % shape[0]:
                raise ValueError(
                    f"input_data for {entry.name!r} has {array.shape[0]} entries, the graph takes "
                    f"{shape[0]} at once"
                )
            parts = array.shape[0] // shape[0]
    for k in range(parts):
        yield {
            e.name: a if parts == 1 else a[k * len(a) // parts : (k + 1) * len(a) // parts]
            for e, a in ((e, arrays[e.name]) for e in program.inputs)
        }
