"""One run of a torch module, every operator of it followed."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...network import Network, Unknown
from ...results import Skipped
from ..flow import PYTHON, Codes, Flow, Operand
from ..flow.finish import finished
from .addresses import Addresses
from .call import Call, arrays_in, numbers, tensors_in
from .constants import Constants
from .elementwise import UNTAGGED, elementwise
from .fused import is_fused, unfused
from .handlers import HANDLERS
from .higher import is_higher, ran
from .layouts import Layouts
from .leaving import FROM_DATA, Change, EndlessError, Leaving, Returned
from .noise import drawn, is_random
from .recurrent import CELLS, LAYERS, gates, has_scripted_recurrence
from .shadows import Shadows
from .still import Still
from .tensors import (
    as_tensors,
    has_storage,
    range_of_input,
    read_by,
    refuse_layouts,
    results_of,
    shares,
    written_by,
)
from .uses import Uses
from .written import Written

__all__ = ["Run"]

#: Functions that are followed as a whole, not by the operators that they are made of.
_WHOLE = LAYERS | CELLS | {"scaled_dot_product_attention"}

_GIVEN = "a recurrent layer takes it, as a constant input or a first state"

#: Functions that make text.
_TEXT = frozenset(["__repr__", "__str__", "__format__"])


class Run:
    """One run of a module, followed.

    Parameters
    ----------
    torch : module
    module : torch.nn.Module
    flow : Flow, optional
        What the run is reported to.
    change : Change, optional
        What Python is to be handed in place of the data's numbers.
    returned : Returned, optional
        Where those come back, if other runs showed it.
    still : frozenset of str
        Parameters whose products with constants are layers.
    """

    def __init__(
        self,
        torch: Any,
        module: Any,
        flow: Flow | None = None,
        change: Change | None = None,
        returned: Returned | None = None,
        still: frozenset[str] = frozenset(),
    ) -> None:
        self.torch = torch
        self.flow = Flow() if flow is None else flow
        self._addresses = Addresses(torch)
        self.constants = Constants(torch, module, self._addresses)
        self.failure: Exception | None = None
        self._shadows = Shadows(torch, self._addresses, self.flow)
        self._layouts = Layouts(torch)
        self._uses = Uses(torch, self.constants)
        self.covered, self.cover = self._uses.covered, self._uses.cover
        self.written = Written(self)
        self.maps_of_constants = Still(self.flow, self.constants, still)
        self.leaving = Leaving(torch, change or Change(), returned)
        self.returns = True  # whether the module returned any numbers
        self._seen_storages: set[int] = set()
        self._addresses.tell(self._seen_storages.difference_update)
        self._busy = False
        self._again: Any = None  # what follows the parts of an operator
        self._parts = 0
        self._drawn = False  # random numbers were
        self._below = has_scripted_recurrence(torch, module)  # of what takes operators apart
        self._inside = False  # of an operator that is followed as a whole

    # -- running

    def follow(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the module and follow it."""
        torch, run = self.torch, self

        class Operators(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[name-defined,misc]
            supports_higher_order_operators = True

            @classmethod
            def _should_skip_dynamo(cls) -> bool:
                return False  # or torch would import its compiler, which takes seconds

            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                return run._operator(func, args, kwargs or {})

        class Functions(torch.overrides.TorchFunctionMode):  # type: ignore[name-defined,misc]
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                return run._function(func, args, kwargs or {})

        self._again = Operators
        below = torch._C._AutoDispatchBelowAutograd if self._below else contextlib.nullcontext
        try:
            for value in tensors_in(torch, (args, kwargs)):
                begun = self.flow.begin("input", tuple(value.shape), range_of_input(value))
                self._shadows.put(value, begun)
            with Functions(), below(), Operators():
                out = module(*args, **kwargs)
                if inspect.isgenerator(out):
                    out = list(out)
            self._result(out)
        finally:
            self._addresses.close()

    def _result(self, out: Any) -> None:
        """Report what the module has returned: tensors, or numbers that left torch."""
        tensors = tensors_in(self.torch, out)
        several = any(tensor.numel() > 1 for tensor in tensors)
        for tensor in tensors:
            operand = self.operand(tensor)
            if operand.codes is not None:
                self.flow.use(operand, None, aside=several and not tensor.ndim)
        arrays = [] if tensors else arrays_in(out)
        self.returns = bool(tensors or arrays)
        for left in self.leaving.left():
            found = np.asarray(left.read())
            if any(a.shape == found.shape and np.array_equal(a, found) for a in arrays):
                self.flow.use(left, None)

    def _function(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = getattr(func, "__name__", "")
        if self._busy:  # with its own bookkeeping
            return func(*args, **kwargs)
        if name in _TEXT and not self._inside:  # which is read by people
            return self._hidden(lambda: func(*args, **kwargs))
        if self._inside or name not in _WHOLE:
            if self.leaving.by(name) and not self._inside:
                found = tensors_in(self.torch, (args, kwargs))
                return self.leaving.function(self, name, func, args, kwargs, found)
            return func(*args, **kwargs)
        return self._as_whole(name, func, args, kwargs)

    def _as_whole(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Run and follow what is one thing, and not the operators that it is made of."""
        out = self._hidden(lambda: func(*args, **kwargs))
        if name == "scaled_dot_product_attention":
            self._guarded(lambda: self._attention(func, args, kwargs, out))
        else:
            self._guarded(lambda: gates(self, name, args, kwargs, out))
            self._uses.say(tensors_in(self.torch, (args, kwargs)), _GIVEN)
        return out

    def _hidden(self, work: Any) -> Any:
        """Do something without following its operators."""
        self._inside = True
        try:
            return work()
        finally:
            self._inside = False

    def _attention(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Follow attention as one operator: which ones it is made of depends on its mask."""
        tensors = tensors_in(self.torch, (args, kwargs))
        operands = {id(t): self.operand(t) for t in tensors}
        parts = (*args, *(kwargs[n] for n in ("query", "key", "value") if n in kwargs))
        self._uses.mark(tensors, operands, "scaled_dot_product_attention", args, kwargs)
        self._made([out])
        if any(operand.codes is not None for operand in operands.values()):
            name = "scaled_dot_product_attention"
            call = Call(name, func, parts, {}, [out], tensors, operands)
            self.put(out, HANDLERS[name](self, call)[0])
        else:
            self._constant("attention", tensors, [out], False)

    def _operator(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self._inside:
            return func(*args, **kwargs)
        if is_higher(self.torch, func):
            return self._in_parts(lambda: ran(self.torch, func, args, kwargs))
        func, args = self._layouts.written_out(self, func, args)
        name = func._schema.name.removeprefix("aten::")
        if name in LAYERS | CELLS:  # as a script or a graph calls them
            return self._as_whole(name, func, args, kwargs)
        if is_fused(name):
            made = self._in_parts(lambda: unfused(self.torch, name, args, kwargs))
            if made is not NotImplemented:
                return made
        elif self._parts or self._below:  # nothing has taken it apart before it came here
            made = self._in_parts(lambda: func.decompose(*args, **kwargs))
            if made is not NotImplemented:
                return made
        args = as_tensors(self.torch, func, args)
        tensors, operands = self._guarded(lambda: self._seen(func, args, kwargs))
        took = self._guarded(lambda: self._took(func, args, kwargs, tensors, operands))
        if func is self.torch.ops.aten._local_scalar_dense.default and not isinstance(
            args[0], self.torch.Tensor
        ):
            return args[0]  # a traced program's constant, which arrives as a number already
        dynamic = [t for t in tensors if operands[id(t)].codes is not None]
        self._guarded(lambda: self.leaving.shaped(self, func, dynamic))
        out = func(*args, **kwargs)
        self._guarded(lambda: self._followed(func, args, kwargs, out, tensors, operands, took))
        if isinstance(out, bool | int | float | complex):
            return self._guarded(lambda: self.leaving.operator(self, func, dynamic, out))
        return out

    def _in_parts(self, work: Any) -> Any:
        """Follow the parts of an operator."""
        self._parts += 1
        try:
            with self._again():
                return work()
        finally:
            self._parts -= 1

    def _guarded(self, work: Any) -> Any:
        self._busy = True
        try:
            return work()
        except EndlessError:
            raise
        except Exception as error:
            self.failure = error
            raise
        finally:
            self._busy = False

    # -- what is known of tensors

    def dynamic(self, tensor: Any) -> bool:
        """Return whether a tensor depends on the network's input."""
        return has_storage(tensor) and self._shadows.holds(tensor)

    def put(self, tensor: Any, codes: Codes | None) -> None:
        """Write down what a tensor holds."""
        if has_storage(tensor):
            self._shadows.put(tensor, codes, writes=True)

    def operand(self, tensor: Any) -> Operand:
        """Return what is known of a tensor."""
        precision = 2.0**-23
        if tensor.is_floating_point():
            precision = float(self.torch.finfo(tensor.dtype).eps)
        codes = self._shadows.get(tensor) if has_storage(tensor) else None
        if codes is None and tensor.is_floating_point() and self._is_new(tensor):
            codes = self._returned(tensor)
        return Operand(codes, lambda: numbers(tensor), precision)

    def _is_new(self, tensor: Any) -> bool:
        """Return whether no operator that was seen has made a tensor."""
        if not has_storage(tensor) or self.constants.knows(tensor):
            return False
        return tensor.untyped_storage()._cdata not in self._seen_storages

    def _returned(self, tensor: Any) -> Codes | None:
        """Report a tensor that came from where numbers have left for, unless it is a constant."""
        if any(n > 1 and not step for n, step in zip(tensor.shape, tensor.stride(), strict=True)):
            at = tuple(slice(None) if step else slice(0, 1) for step in tensor.stride())
            self._returned(tensor[at])  # each place of memory once
            return self._shadows.get(tensor)
        sites, doubtful = self.leaving.tensor(numbers(tensor))
        if sites is None:
            self._made([tensor])
            return None
        codes = self.flow.event(
            PYTHON, self.leaving.left(sites), tuple(tensor.shape), lambda _: Unknown(),
            unknown="its numbers leave torch and come back, so what becomes of them is not seen",
        )  # fmt: skip
        if doubtful:
            self.flow.doubt(codes)
        self.flow.hidden = self.flow.hidden or not sites
        self._shadows.put(tensor, codes)
        return codes

    def _made(self, tensors: list[Any]) -> None:
        """Note what operators have made."""
        self._seen_storages.update(map(self._addresses.hold, tensors))

    def _seen(self, func: Any, args: Any, kwargs: Any) -> tuple[list[Any], dict[int, Operand]]:
        """Return the tensors among the arguments and, by id, what is known of them.

        Before the call, which may write to them.
        """
        tensors, found = tensors_in(self.torch, (args, kwargs)), {}
        writes = func._schema.is_mutable
        written = written_by(func, args, kwargs) if writes else None
        if func is self.torch.ops.aten.lift_fresh.default and not self.leaving:
            self._made(tensors)  # of numbers that Python has, and none has left
        for tensor in tensors:
            refuse_layouts(tensor)
            operand = self.operand(tensor)
            if writes and operand.codes is not None:
                operand.codes = operand.codes.copy()
            if writes and tensor is written:
                kept = numbers(tensor).copy()
                operand.read = lambda kept=kept: kept  # type: ignore[misc]
            found[id(tensor)] = operand
        return tensors, found

    def _took(
        self, func: Any, args: Any, kwargs: Any, tensors: list[Any], operands: dict[int, Operand]
    ) -> frozenset[str] | None:
        """Return where numbers left that an operator takes; None if it takes none."""
        fixed: list[Any] = []
        if self.leaving and self._is_pointwise(func):
            read = read_by(func, args, kwargs, tensors)
            fixed = [t for t in read if operands[id(t)].codes is None and has_storage(t)]
        named = [t for t in fixed if self.constants.names(t)]
        fresh = [numbers(t) for t in fixed if all(t is not n for n in named)]
        return self.leaving.called(func, args, kwargs, fresh, [numbers(t) for t in named])

    def _is_pointwise(self, func: Any) -> bool:
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        return self.torch.Tag.pointwise in func.tags or name in UNTAGGED

    def _followed(
        self,
        func: Any,
        args: Any,
        kwargs: Any,
        out: Any,
        tensors: list[Any],
        operands: dict[int, Operand],
        took: frozenset[str] | None,
    ) -> None:
        torch = self.torch
        outs = results_of(torch, func, args, kwargs, out)
        for tensor in tensors_in(torch, outs):
            refuse_layouts(tensor)
        results = [t for t in outs if isinstance(t, torch.Tensor) and has_storage(t)]
        if "set_" not in func._schema.name:  # a storage that comes from elsewhere
            self._made(results)
        namespace, _, name = func._schema.name.partition("::")
        writes = func._schema.is_mutable
        if namespace != "aten":
            name = f"{namespace}::{name}"
        elif name.endswith("_") and not name.endswith("__"):
            name = name.rstrip("_")
        dynamic = [t for t in tensors if operands[id(t)].codes is not None]
        if is_random(torch, func, name):
            self._drawn = True
            drawn(self, name, results)
            return
        if self._layouts.followed(self, tensors, operands, outs):
            return
        if took is not None:
            self._uses.say(tensors, FROM_DATA)
            used = [operands[id(t)] for t in dynamic] + self.leaving.left(took)
            for tensor in results:
                codes = self.flow.event(PYTHON, used, tuple(tensor.shape), lambda _: Unknown(),
                                        unknown=FROM_DATA)  # fmt: skip
                self._shadows.put(tensor, codes, writes)
            return
        self.maps_of_constants.follows = False
        if not dynamic:
            first = self.maps_of_constants.begun(name, args, operands)
            if first is None:
                self._constant(name, tensors, results, writes)
                return
            self._uses.begun(first)
            dynamic = [first]
        if not results:
            return
        moved = torch.Tag.inplace_view in func.tags and name not in _RESIZED
        if (moved or not writes) and all(shares(t, tensors) for t in results):
            return  # a view, perhaps of the tensor itself
        pointwise = torch.Tag.pointwise in func.tags or name in UNTAGGED
        if pointwise:
            self._uses.mark_entries(tensors, operands, name)
        else:
            self._uses.mark(tensors, operands, name, args, kwargs)
        if self._drawn and all(self.flow.is_noise(operands[id(t)].codes) for t in dynamic):
            self.constants.computed([t for t in results if not shares(t, tensors)], tensors)
        call = Call(name, func, args, kwargs, outs, tensors, operands)
        handler = HANDLERS.get(name)
        made = None if handler is None else handler(self, call)
        if made is NotImplemented or handler is None:
            made = elementwise(self, call) if pointwise else self.unknown(call)
            if pointwise and len(outs) > 1:  # it is the first of them
                made = [made, *self.unknown(call)[1:]]
        several = made if isinstance(made, list) else [made] * len(outs)
        for tensor, codes in zip(outs, several, strict=True):
            if isinstance(tensor, torch.Tensor) and has_storage(tensor):
                self._shadows.put(tensor, codes, writes)

    def unknown(self, call: Call) -> list[Codes | None]:
        """Report an operator that is not known."""
        reason = f"its output goes to {call.name}, which eiplane does not know"
        operands = [call.operand(t) for t in call.tensors if call.dynamic(t)]
        return [
            self.flow.event(call.name, operands, tuple(tensor.shape), lambda _: Unknown(),
                            unknown=reason)
            if isinstance(tensor, self.torch.Tensor) else None
            for tensor in call.outs
        ]  # fmt: skip

    def _constant(self, name: str, tensors: list[Any], results: list[Any], writes: bool) -> None:
        """Note what a constant was computed of."""
        fresh = [t for t in results if not shares(t, tensors)]
        self.constants.computed(results if writes else fresh, [t for t in tensors])
        self._uses.constant(name, tensors)

    # -- what comes of it

    def still_layers(self) -> frozenset[str]:
        """Return the parameters that map constants alone: layers, if a run is told so."""
        return self.maps_of_constants.layers(self._uses.used, self.covered)

    def note(self, names: frozenset[str], reason: str) -> None:
        """List the weights of some names."""
        for n in names:
            self.flow.noted.setdefault(self.constants.title(n), reason)
            self.covered.add(n)

    def finish(
        self, refused: Mapping[str, str] | None = None
    ) -> tuple[Network | None, tuple[Skipped, ...]]:
        """Return the layers, and the weights that made none; some may be refused by name."""
        for title, reason in self._uses.left():
            self.flow.noted.setdefault(title, reason)
        return finished(self.flow, refused)


#: They change a tensor's shape in place, and what it holds as well.
_RESIZED = frozenset(["resize", "resize_as"])
