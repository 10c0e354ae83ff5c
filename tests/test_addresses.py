"""Addresses of storages: not given to others, and given back where an interrupt may come."""

import sys
import types

import pytest

torch = pytest.importorskip("torch")

from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.extract.aten.addresses import Addresses  # noqa: E402


class _Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(3, 4, batch_first=True)
        self.cell = torch.nn.GRUCell(4, 4)
        self.table = torch.nn.Embedding(5, 4)

    def forward(self, x):
        steps, _ = self.lstm(x)
        h = self.table(torch.tensor([0, 3]))
        for k in range(steps.shape[1]):
            h = self.cell(steps[:, k], h)
        return h * 2 if h.max().item() > 0.5 else h  # and runs again


class _Breaks(torch.nn.Module):
    def __init__(self, error):
        super().__init__()
        self.fc, self.error = torch.nn.Linear(4, 4), error

    def forward(self, x):
        for _ in range(50):
            x = self.fc(x)
        raise self.error


def _modules():
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return {
        "chain": (nn.Sequential(*[nn.Linear(4, 4) for _ in range(60)]), (1, 4)),
        "convolutions": (nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(),
                                       nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2)),
                         (1, 1, 8, 8)),
        "transformer": (nn.TransformerEncoder(layer, 2), (1, 3, 8)),
        "recurrent": (_Recurrent(), (2, 5, 3)),
        "reparametrised": (nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
                                         nn.Linear(4, 2)), (1, 4)),
    }  # fmt: skip


def _counted(monkeypatch):
    """Return how many weak references torch has given out, and taken back, from now on."""
    count = types.SimpleNamespace(out=0, back=0)
    give, take = torch.UntypedStorage._weak_ref, torch.UntypedStorage._free_weak_ref

    def given(storage):
        count.out += 1
        return give(storage)

    def taken(address):
        count.back += 1
        return take(address)

    monkeypatch.setattr(torch.UntypedStorage, "_weak_ref", given)
    monkeypatch.setattr(torch.UntypedStorage, "_free_weak_ref", staticmethod(taken))
    return count


@pytest.mark.parametrize("name", ["chain", "convolutions", "transformer", "recurrent",
                                  "reparametrised"])  # fmt: skip
def test_no_destructor_of_python_runs_in_extraction(name, monkeypatch):
    # Python drops what is raised in one, so that Ctrl-C would be lost there.
    module, size = _modules()[name]
    count, seen = _counted(monkeypatch), set()
    to_network(module, ExtractOptions(input_size=size))  # whatever is imported is by now
    count.out = count.back = 0

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name == "__del__":
            seen.add(frame.f_code.co_qualname if sys.version_info >= (3, 11) else "__del__")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        network = to_network(module, ExtractOptions(input_size=size)).network
    finally:
        sys.setprofile(before)
    assert len(network) and not seen
    assert count.out == count.back > 5


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_addresses_are_given_back_after_a_failure(error, monkeypatch):
    count = _counted(monkeypatch)
    with pytest.raises((ValueError, KeyboardInterrupt)):
        to_network(_Breaks(error), ExtractOptions(input_size=(1, 4)))
    assert count.out == count.back > 5


def test_an_address_is_not_given_to_another_storage_before_it_is_told():
    addresses, forgotten = Addresses(torch), []
    addresses.tell(forgotten.extend)
    kept, seen = torch.zeros(3), set()
    at = addresses.hold(kept)
    assert at == kept.untyped_storage()._cdata == addresses.hold(kept[1:])
    for _ in range(500):
        address = addresses.hold(torch.zeros(3))  # which is gone at once
        assert address not in seen - set(forgotten)
        seen.add(address)
    assert forgotten and at not in forgotten
    held = seen - set(forgotten) - {at}
    assert len(held) < 200  # the others do not pile up
    forgotten.clear()
    addresses.sweep()
    assert held <= set(forgotten)
    forgotten.clear()
    addresses.close()
    assert forgotten == [at]


def test_an_interrupt_between_forgetting_and_giving_back_frees_nothing_twice(monkeypatch):
    count = _counted(monkeypatch)
    addresses = Addresses(torch)
    tensors = [torch.zeros(2) for _ in range(10)]
    for tensor in tensors:
        addresses.hold(tensor)

    def stop(_):
        raise KeyboardInterrupt

    addresses.tell(stop)
    with pytest.raises(KeyboardInterrupt):
        addresses.close()
    addresses._forget.pop()
    addresses.close()
    addresses.close()
    assert count.out == count.back == 10
