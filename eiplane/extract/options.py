"""What extraction is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ..network import Activation, Layer, LazyLayer, Network
from ..results import Skipped
from ..run import Progress

__all__ = ["ActivationChoice", "ExtractOptions", "Extracted", "Selector", "activations_for"]

Selector = str | Iterable[str] | Callable[[str, Any], bool] | None
ActivationChoice = (
    str | Activation | Sequence[str | Activation] | Mapping[str, str | Activation] | None
)


@dataclass(frozen=True)
class ExtractOptions:
    """Options of :func:`eiplane.extract.to_network`.

    Parameters
    ----------
    activation : str, Activation, sequence or mapping of those, optional
        One for all layers, one for each, or by name or glob. Arrays are taken as sigmoid when it is
        left out; a state dict or a file of weights needs it; a module or an ONNX graph brings its
        own and takes none.
    layers : str, iterable of str or callable, optional
        Which layers to measure: a name, a glob (``"encoder.*.dense"``), several of those, or a
        function of name and layer that says whether. All when left out.
    input_size : sequence of int, optional
        Shape of the input of a module or an ONNX graph (of its first one), with the batch dimension
        (as torchinfo takes it) or without.
    input_data : array, tensor, tuple, mapping or iterable of those, optional
        An example input of a module or a graph instead: one argument, several, or named ones. Of an
        iterable, such as a DataLoader, the first is the example.
    strict : bool
        Whether a part that cannot be analysed is an error instead of a warning.
    key : str, optional
        Which of several state dicts in a checkpoint or a mapping.
    quantiles : tuple of float, optional
        Run a module or a graph on all of ``input_data``, and tell the ranges of what went into its
        layers and came out: between these quantiles.
    progress : callable, optional
        Told how many batches are done.
    """

    activation: ActivationChoice = None
    layers: Selector = None
    input_size: Sequence[int] | None = None
    input_data: Any = None
    strict: bool = False
    key: str | None = None
    quantiles: tuple[float, float] | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Extracted:
    """What :func:`eiplane.extract.to_network` found.

    Parameters
    ----------
    network : Network
        Every layer, in order; also those that were not selected, whose ranges others need.
    skipped : tuple of Skipped
        What could not be analysed, and why.
    selected : tuple of str
        Names of the layers to measure, in order.
    """

    network: Network
    skipped: tuple[Skipped, ...] = ()
    selected: tuple[str, ...] = ()


def matches(name: str, layer: Any, selector: Selector) -> bool:
    """Return whether a selector picks a layer.

    Parameters
    ----------
    name : str
    layer : object
        Handed to a callable.
    selector : Selector

    Returns
    -------
    bool
    """
    if selector is None:
        return True
    if isinstance(selector, str):
        return name == selector or fnmatchcase(name, selector)
    if callable(selector):
        return bool(selector(name, layer))
    return any(matches(name, layer, part) for part in selector)


def select(layers: Sequence[Layer | LazyLayer], selector: Selector) -> tuple[str, ...]:
    """Return the names of the layers that a selector picks, in the layers' order.

    Parameters
    ----------
    layers : sequence of Layer or LazyLayer
    selector : Selector

    Returns
    -------
    tuple of str

    Raises
    ------
    TypeError
        If the selector is none.
    ValueError
        If it, or a part of it, picks nothing; with the names that there are.
    """
    if selector is None:
        return tuple(str(layer.name) for layer in layers)
    if not isinstance(selector, str) and not callable(selector):
        try:
            selector = list(selector)
        except TypeError:
            selector = [selector]  # type: ignore[list-item]
        if not all(isinstance(part, str) for part in selector):
            raise TypeError(
                "layers must be a name, a glob, a list of those, or a callable of name and layer, "
                f"not {selector!r}"
            )
    parts: list[Selector] = selector if isinstance(selector, list) else [selector]
    for part in parts or [selector]:
        if not any(matches(str(layer.name), layer, part) for layer in layers):
            what = "picks none of the layers" if callable(part) else f"no layer matches {part!r}"
            raise ValueError(
                f"layers: {what}; there are {_listed([str(layer.name) for layer in layers])}"
            )
    return tuple(str(layer.name) for layer in layers if matches(str(layer.name), layer, selector))


def _listed(names: list[str], most: int = 60) -> str:
    text = ", ".join(map(repr, names[:most]))
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def activations_for(names: Sequence[str], choice: ActivationChoice) -> list[str | Activation]:
    """Return the activation of each layer, by the user's choice.

    Parameters
    ----------
    names : sequence of str
    choice : str, Activation, sequence or mapping
        One for all, one for each, or by name or glob.

    Returns
    -------
    list of str or Activation

    Raises
    ------
    ValueError
        For a wrong number of them, or a layer or a key of the mapping that has no counterpart.
    TypeError
        If it is none of those.
    """
    if isinstance(choice, str | Activation):
        return [choice] * len(names)
    if isinstance(choice, Mapping):
        keys = list(choice)
        found: list[str | Activation] = []
        used: set[str] = set()
        for name in names:
            key = name if name in choice else next((k for k in keys if fnmatchcase(name, k)), None)
            if key is None:
                raise ValueError(
                    f"activation: no entry for layer {name!r}; add one, or '*' for all others"
                )
            used.add(key)
            found.append(choice[key])
        for key in keys:
            if key not in used and key != "*":
                raise ValueError(
                    f"activation: no layer matches {key!r}; there are {_listed([*names])}"
                )
        return found
    if not isinstance(choice, Sequence):
        raise TypeError(
            f"activation must be a name, one per layer, or a mapping, not {type(choice).__name__}"
        )
    if len(choice) != len(names):
        raise ValueError(
            f"activation: {len(choice)} activations were given for {len(names)} layers "
            f"({_listed([*names])}); give one for all, or one for each"
        )
    return list(choice)
