"""Networks from torch modules, through one run of their own forward pass.

torch is not imported here: there is no module to read before the user has done so.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..network import Network
from ..results import Skipped
from .aten import Run, tensors_in
from .batches import batches_of
from .flow.observed import Observer
from .options import ExtractOptions
from .programs import Example, in_parts, recurrent_by_name
from .reruns import once, rerun
from .steady import adds, unsteady
from .untouched import State, untouched

__all__ = ["examples", "from_module"]

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


def from_module(
    module: Any, options: ExtractOptions, example: Example | None = None
) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of a module, in order of execution.

    The module runs once, in evaluation mode and without gradients, on an example input; where
    ranges are to come from data, on all of them. Its mode, gradients, buffers and hooks and all
    random states are afterwards as they were.

    Parameters
    ----------
    module : torch.nn.Module
    options : ExtractOptions
        ``input_size`` or ``input_data`` where the input's shape does not follow from the module.
    example : Example, optional
        What a program was exported with; it is run on that if the options have neither.

    Returns
    -------
    network : Network
        With names as in ``module.named_parameters()``, less a last ``weight``. Parts of one weight
        that mean different things have their own: ``attn.in_proj.q``, ``lstm.weight_ih_l0.i``.
    skipped : tuple of Skipped

    Raises
    ------
    ValueError
        If an input is needed, the forward pass fails, or there is no layer.
    """
    torch = sys.modules["torch"]
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    kind = type(module).__name__
    _refuse(module, kind, torch)
    with untouched(module, torch) as state, recurrent_by_name(torch, module):
        inputs, data = examples(module, options, example)
        run, used = _followed(torch, module, inputs, kind, state)
        told: dict[str, Any] = {}
        others: list[Any] = []
        if run.leaving:
            run, others, returned = rerun(torch, module, used, run, state)
            told["returned"] = returned
        still = run.still_layers()
        if still and not others:
            more = once(torch, module, used, state, {**told, "still": still})
            if adds(run.finish()[0], more.finish()[0]):
                run, told["still"] = more, still
        network, skipped = run.finish()
        if network is not None and others:
            refused = unsteady(network, others)
            if refused:
                network, skipped = run.finish(refused)
        skipped += _packed(module)
        if network is None:
            _without_layers(run, used, kind, torch)
            listed = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:8])
            raise ValueError(
                f"{kind} has no layer that eiplane can analyse" + (f" ({listed})" if listed else "")
            )
        if data is not None and options.quantiles is not None:
            observer = Observer(run.flow.layers, options.quantiles)
            del run
            if "returned" in told:
                told["returned"] = told["returned"].elsewhere()
            _observe(observer, torch, module, itertools.chain(inputs, data), options, told)
            network = network.changed(seen=observer.seen())
    return network, skipped


def _packed(module: Any) -> tuple[Skipped, ...]:
    """Return the parts whose weights are no tensors but packed, as torch's quantised layers are."""
    return tuple(
        Skipped(
            name or type(part).__name__,
            f"its weights are packed ({part._get_name()}); analyse the model as it was before, "
            "or with weights that are quantised and dequantised again",
        )
        for name, part in module.named_modules()
        if hasattr(part, "_packed_params") and callable(getattr(part, "weight", None))
    )


def _without_layers(run: Run, used: Inputs, kind: str, torch: Any) -> None:
    """Raise ValueError if there is a plain reason for finding nothing."""
    if not run.returns:
        raise ValueError(
            f"the forward pass of {kind} returns no tensor, so it is not known what its result is"
        )
    if any(t.numel() == 0 for t in tensors_in(torch, used)):
        raise ValueError(
            f"the example input of {_shapes(torch, *used)} is empty: nothing went through {kind}"
        )


def examples(
    module: Any, options: ExtractOptions, example: Example | None = None
) -> tuple[Iterable[Inputs], Iterator[Inputs] | None]:
    """Return inputs to try on a module, best first, and the batches of data that are left.

    Parameters
    ----------
    module : torch.nn.Module
    options : ExtractOptions
    example : Example, optional
        What a program was exported with.

    Returns
    -------
    inputs : iterable of (args, kwargs)
    data : iterator of (args, kwargs), or None
        None without ``input_data``.
    """
    torch = sys.modules["torch"]
    if options.input_data is not None:
        at_once = None if example is None else example.at_once
        data = (
            part
            for args, kwargs in _data(module, options.input_data, torch)
            for part in in_parts(args, kwargs, at_once)
        )
        first = next(data, None)
        if first is None:
            raise ValueError("input_data is empty: there is no batch to run the network on")
        return [first], data
    if example is not None and options.input_size is None:
        return [(example.args, example.kwargs)], None
    return _guesses(module, options, torch, type(module).__name__), None


def _followed(
    torch: Any, module: Any, inputs: Iterable[Inputs], kind: str, state: State
) -> tuple[Run, Inputs]:
    """Return the run on the first input that the module takes, and that input."""
    errors: list[tuple[str, Exception]] = []
    for args, kwargs in inputs:
        for _ in range(2):
            run = Run(torch, module)
            try:
                run.follow(module, args, kwargs)
                return run, (args, kwargs)
            except MemoryError:
                raise
            except Exception as error:
                if run.failure is not None:  # not the module's fault
                    raise run.failure from error
                if state.be_eager():  # it compiles a part of itself
                    state.begin()
                    continue
                errors.append((_shapes(torch, args, kwargs), error))
                break
    shapes, first = errors[0]
    raise ValueError(
        f"the forward pass of {kind} failed on an example input of {shapes} "
        f"({type(first).__name__}: {first}); give one that it takes with input_size= or "
        "input_data="
    ) from first


def _observe(
    observer: Observer,
    torch: Any,
    module: Any,
    data: Iterable[Inputs],
    options: ExtractOptions,
    told: Mapping[str, Any],
) -> None:
    """Run a module on all batches."""
    try:
        total = len(options.input_data)  # of a list or a DataLoader
    except TypeError:
        total = 0
    for done, (args, kwargs) in enumerate(data, 1):
        run = Run(torch, module, observer.next_run(), **told)
        try:
            run.follow(module, args, kwargs)
        except MemoryError:
            raise
        except Exception as error:
            if run.failure is not None:
                raise
            raise ValueError(
                f"the forward pass of {type(module).__name__} failed on batch {done} of "
                f"input_data, of {_shapes(torch, args, kwargs)} ({type(error).__name__}: {error})"
            ) from error
        vars(run).clear()  # what it holds refers to itself in circles, and is large
        if options.progress is not None:
            options.progress(done, max(done, total), "ranges from data")


def _refuse(module: Any, kind: str, torch: Any) -> None:
    for name, parameter in module.named_parameters():
        if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
            raise ValueError(
                f"parameter {name!r} of {kind} is lazy and has no shape yet; run the module once"
            )
        if parameter.is_meta:
            raise ValueError(
                f"parameter {name!r} of {kind} is on the meta device: it has no values"
            )


# -- the example input ------------------------------------------------------------------------


def _tensor(value: Any, torch: Any, device: Any, dtype: Any) -> Any:
    """Return an array or a tensor as a tensor where the module is; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(device)
    if isinstance(value, np.ndarray | np.number):
        made = torch.as_tensor(np.ascontiguousarray(value))
        return made.to(device, dtype if made.is_floating_point() else None)
    return value


def _kind_of(module: Any, torch: Any) -> tuple[Any, Any]:
    """Return device and type of a module's numbers."""
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    if first is None:
        return torch.device("cpu"), torch.get_default_dtype()
    return first.device, first.dtype


def _data(module: Any, data: Any, torch: Any) -> Iterator[Inputs]:
    """Yield the batches that the user gave."""
    where = _kind_of(module, torch)
    needed, names = _needed(module), _names(module)
    for batch in batches_of(data):
        args, kwargs = batch.arguments(needed, names)
        yield (
            tuple(_tensor(value, torch, *where) for value in args),
            {name: _tensor(value, torch, *where) for name, value in kwargs.items()},
        )


def _guesses(module: Any, options: ExtractOptions, torch: Any, kind: str) -> Iterator[Inputs]:
    """Yield the inputs to try, best first."""
    device, dtype = _kind_of(module, torch)
    generator = torch.Generator().manual_seed(0)

    def example(*shape: int) -> Any:
        return torch.rand(shape, generator=generator).to(device, dtype)

    embedding = _first(module, torch.nn.Embedding | torch.nn.EmbeddingBag)
    if options.input_size is not None:
        try:
            size = tuple(int(n) for n in options.input_size)
        except TypeError:
            raise TypeError(
                f"input_size must be a sequence of sizes such as (1, 28, 28), not "
                f"{options.input_size!r}"
            ) from None
        if any(n < 1 for n in size):
            raise ValueError(f"input_size must be of positive sizes, not {size}")
        for shape in (size, (1, *size), (2, *size)):
            yield (example(*shape),), {}
        if embedding is not None:
            for shape in (size, (1, *size)):
                yield (torch.zeros(shape, dtype=torch.long, device=device),), {}
        return
    dummy = getattr(module, "dummy_inputs", None)  # as models of transformers have
    if isinstance(dummy, Mapping):
        yield (), {name: _tensor(v, torch, device, dtype) for name, v in dummy.items()}
    sizes = None
    for owner in module.modules():
        sizes = _natural_sizes(owner, torch)
        if sizes is not None:
            break
    if not sizes:
        raise ValueError(
            f"the shape of {kind}'s input does not follow from its layers; give input_size=, such "
            "as (1, 3, 32, 32), or input_data=, an example"
        )
    if embedding is owner:
        for shape in sizes:
            yield (torch.zeros(shape, dtype=torch.long, device=device),), {}
    needed = _needed(module)
    for shape in sizes:
        yield (example(*shape),) * needed, {}


def _first(module: Any, kinds: Any) -> Any:
    return next((m for m in module.modules() if isinstance(m, kinds)), None)


def _natural_sizes(owner: Any, torch: Any) -> list[tuple[int, ...]] | None:
    """Return shapes that a module takes: none if its kind is unknown, None if it has no say."""
    nn = torch.nn
    if isinstance(owner, nn.Linear):
        return [(2, owner.in_features), (2, 4, owner.in_features), (owner.in_features,)]
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return [(1, 4), (4,)]
    if isinstance(owner, nn.RNNBase):
        return [(2, 3, owner.input_size)]
    if isinstance(owner, nn.RNNCellBase):
        return [(2, owner.input_size)]
    if isinstance(owner, nn.MultiheadAttention):
        return [(2, 3, owner.embed_dim)]
    if type(owner).__module__.startswith("transformers.") and type(owner).__name__ == "Conv1D":
        return [(2, int(owner.weight.shape[0])), (1, 4, int(owner.weight.shape[0]))]
    if isinstance(owner, nn.LayerNorm):
        return [(2, 4, *owner.normalized_shape)]
    # A wrong guess could trace a wrong network, so nothing after an unknown kind is guessed at.
    return [] if any(True for _ in owner.parameters(recurse=False)) else None


def _needed(module: Any) -> int:
    """Return the number of inputs that the forward pass cannot do without."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (AttributeError, TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = sum(p.default is p.empty and p.kind in positional for p in parameters)
    return max(1, needed)


def _names(module: Any) -> frozenset[str] | None:
    """Return the names of what the forward pass takes; None if it takes any."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (AttributeError, TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters)


def _shapes(torch: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    values = [*args, *kwargs.values()]
    shapes = [f"shape {tuple(v.shape)}" for v in values if isinstance(v, torch.Tensor)]
    return ", ".join(shapes) or "no tensors"
