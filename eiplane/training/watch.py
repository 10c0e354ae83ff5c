"""The weights of a model that is measured again and again, without reading its wiring each time.

Following a module's forward pass takes longer than measuring a small network. Where every weight
that was found is the very memory of a parameter, the next measurement can go to that memory
directly, for as long as the parameters stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analyze import Analysis, analyze
from ..extract import Extracted, ExtractOptions, is_model, to_network
from ..network import Layer, Network
from ..results import Decomposition
from ..run import Helpers, Settings
from .wiring import Wiring

__all__ = ["Repeated", "Watch", "called", "read_network", "rebuilt"]

#: Options of ``analyze`` that say how a model is read. They are used up by reading it.
_READING = ("input_size", "input_data", "strict", "key")


class Watch:
    """Gives a model's weights as they are now.

    Parameters
    ----------
    model : torch.nn.Module, callable, or anything that :func:`eiplane.analyze` takes
        A callable that is no module is called each time.
    options : mapping
        Of :func:`eiplane.analyze`.
    """

    def __init__(self, model: Any, options: Mapping[str, Any]) -> None:
        self.model = model
        self.options = dict(options)
        self._module = hasattr(model, "named_modules") and hasattr(model, "named_parameters")
        self._network: Network | None = None
        self._wiring: Wiring | None = None
        self._rest, self._seen_by_core = _rest(options), False
        self._from_data = options.get("ranges") == "data"
        if isinstance(options.get("input_data"), Iterator):
            raise ValueError(
                "a tracker goes through input_data at every record, and an iterator is used up by "
                "the first; give a list of batches or a DataLoader"
            )

    def read(self) -> tuple[Any, dict[str, Any]]:
        """Return what :func:`eiplane.analyze` should be given now.

        Returns
        -------
        weights : object
            What it takes as weights. Its arrays may be the model's own memory.
        options : dict
        """
        if not self._module:
            return called(self.model), self.options
        if self._from_data:  # ranges change as the weights do
            return self.model, self.options
        if self._network is not None and self._wiring is not None and self._wiring.same():
            return self._network if self._seen_by_core else rebuilt(
                self._network, replace
            ), self._rest
        self._network = None
        wiring, found = Wiring(self.model), _extracted(self.model, self.options)
        if found.skipped or not self._is_all_parameters(found.network):
            return self.model, self.options  # analyze says what was skipped
        self._network, self._wiring = found.network, wiring
        # Weights may have become NaN since: who measures these sees it, the others' layers do.
        self._seen_by_core = all(
            isinstance(layer, Layer) and layer.weight.dtype in (np.float32, np.float64)
            for layer in found.network
        )
        return found.network, self._rest

    def _is_all_parameters(self, network: Network) -> bool:
        """Return whether all that training changes is the layers' own memory, and nothing else.

        A norm's scale, an embedding or a learnt slope is in the ranges or functions as the number
        that it was when the model was read.
        """
        places = {p.data_ptr() for _, p in self.model.named_parameters() if p.device.type == "cpu"}
        used: set[int] = set()
        for layer in network.layers:
            if not isinstance(layer, Layer):
                return False
            arrays = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
            used.update(_address(a) for a in arrays)
        moving = any(b.is_floating_point() for _, b in self.model.named_buffers())
        return used == places and not moving


class Repeated:
    """Measures again and again: options that are those of the time before are not checked again.

    Parameters
    ----------
    measure : callable
        :func:`eiplane.analyze`, or another of its kind.
    more : dict
        Options beside those of each time.
    """

    def __init__(self, measure: Callable[..., Decomposition], more: dict[str, Any]) -> None:
        self._measure, self._more = measure, more
        self._last: tuple[dict[str, Any], Analysis] | None = None
        self._helpers = Helpers()

    def __call__(self, weights: Any, options: dict[str, Any]) -> Decomposition:
        """Return what the measure says of weights now."""
        if self._measure is not analyze:
            return self._measure(weights, **options, **self._more)
        if self._last is None or self._last[0] is not options:
            self._last = options, Analysis.of(**options, **self._more)
        return self._last[1](weights, self._helpers)

    def close(self) -> None:
        """End the threads that stay between measurements."""
        self._helpers.close()


def called(model: Any) -> Any:
    """Return what a callable that is no model itself gives, and anything else as it is."""
    return model() if callable(model) and not is_model(model) else model


def read_network(weights: Any, options: Mapping[str, Any]) -> tuple[Network, dict[str, Any]]:
    """Return the network that weights stand for, and the options that are left for it.

    Parameters
    ----------
    weights : object
    options : mapping
        Of :func:`eiplane.analyze`.
    """
    return _extracted(weights, options).network, _rest(options) | {"activation": None}


def _extracted(weights: Any, options: Mapping[str, Any]) -> Extracted:
    reading = {k: v for k, v in options.items() if k in ("activation", *_READING)}
    ranges = {k: v for k, v in options.items() if k in ("ranges", "quantiles")}
    quantiles = Settings("ei", **ranges).data_quantiles
    return to_network(weights, ExtractOptions(**reading, quantiles=quantiles))


def _rest(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not used up by reading."""
    return {k: v for k, v in options.items() if k not in _READING}


def rebuilt(network: Network, change: Callable[[Layer], Layer]) -> Network:
    """Return the network with every layer changed; layers in files stay as they are."""
    layers = [change(x) if isinstance(x, Layer) else x for x in network.layers]
    return network.changed(layers=layers)


def _address(array: NDArray[Any]) -> int:
    return int(np.asarray(array).__array_interface__["data"][0])
