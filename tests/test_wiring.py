"""A tracker reads a module's wiring once, and notices what a training changes beside weights."""

import sys
import types

import numpy as np
import pytest

import eiplane
from eiplane.training import Tracker

torch = pytest.importorskip("torch")

FAST = {"measures": ("sensitivity", "ei_parts"), "threads": 1, "progress": False}


class Net(torch.nn.Module):
    """Two layers, and settings of every kind that a forward pass may read."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 5), torch.nn.Linear(5, 5)
        self.act = torch.nn.LeakyReLU(0.1)
        self.scale, self.scales, self.named = 1.0, [1.0], {"a": {"b": 1.0}}
        self.config = types.SimpleNamespace(inner=types.SimpleNamespace(scale=1.0))
        self.constant, self.array = torch.tensor(1.0), np.ones(1)
        self.function = torch.neg

    def forward(self, x):
        scale = self.scale * self.scales[0] * self.named["a"]["b"] * self.config.inner.scale
        scale = scale * float(self.constant) * float(self.array[0])
        return self.second(self.function(self.act(self.first(x)) * scale))


def set_scale(m):
    m.scale = 3.0


def set_item(m):
    m.scales[0] = 3.0


def set_nested(m):
    m.named["a"]["b"] = 3.0


def set_object(m):
    m.config.inner.scale = 3.0


def write_tensor(m):
    m.constant.fill_(3.0)


def write_array(m):
    m.array[0] = 3.0


def set_function(m):
    m.function = torch.tanh


def set_slope(m):
    m.act.negative_slope = 0.7


def set_class(m):
    m.act.__class__ = torch.nn.Sigmoid


def replace_act(m):
    m.act = torch.nn.Tanh()


def replace_in_its_place(m):
    del m.act  # what comes next may lie where this lay
    m.act = torch.nn.Sigmoid()


def forward_of_one(m):
    m.act.forward = torch.tanh


def forward_hook(m):
    m.act.register_forward_hook(lambda module, args, out: torch.tanh(out))


def pre_hook(m):
    m.second.register_forward_pre_hook(lambda module, args: (args[0] * 3.0,))


def another_shape(m):
    m.first, m.second = torch.nn.Linear(4, 6), torch.nn.Linear(6, 5)


def another_dtype(m):
    m.double()


def half(m):
    m.half().float()  # other memory, rounded


def another_parameter(m):
    m.first.weight = torch.nn.Parameter(3.0 * torch.rand(5, 4))


def other_data(m):
    m.first.weight.data = 3.0 * torch.rand(5, 4)


def one_row_less(m):
    m.first.weight = torch.nn.Parameter(m.first.weight[:, :4].contiguous() * 2.0)


def transposed(m):
    m.second.weight.data = m.second.weight.data.t()  # the same memory, another way round


def tied(m):
    m.first = torch.nn.Linear(5, 5)
    m.second.weight = m.first.weight


def norm(m):
    torch.nn.utils.parametrizations.weight_norm(m.second)


def bare_parametrization(m):
    class Twice(torch.nn.Module):
        def forward(self, w):
            return 2.0 * w

    torch.nn.utils.parametrize.register_parametrization(m.second, "weight", Twice(), unsafe=True)


def bias_gone(m):
    m.second.bias = None


def pruned(m):
    from torch.nn.utils import prune

    prune.l1_unstructured(m.first, "weight", amount=0.5)


CHANGES = [
    set_scale, set_item, set_nested, set_object, write_tensor, write_array, set_function, set_slope,
    set_class, replace_act, replace_in_its_place, forward_of_one, forward_hook, pre_hook,
    another_shape, another_dtype, half, another_parameter, other_data, one_row_less, transposed,
    norm, bare_parametrization, bias_gone, pruned,
]  # fmt: skip


def measured(model):
    return eiplane.analyze(model, **FAST, input_size=(1, model.first.in_features))


def held(record, expected):
    assert [x["name"] for x in record.layers] == [x.name for x in expected]
    for layer, wanted in zip(record.layers, expected, strict=True):
        for name in ("sensitivity", "ei_parts", "degeneracy"):
            assert layer[name] == pytest.approx(getattr(wanted, name), rel=1e-12)
        assert layer["activation"] == wanted.activation
        assert layer["in_range"] == list(wanted.in_range)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_what_changes_the_forward_pass_is_noticed(change):
    torch.manual_seed(3)
    model = Net()
    tracker = Tracker(model, **FAST, input_size=(1, 4))
    tracker.record(0)
    tracker.record(1)  # by what was kept
    before = measured(model)
    change(model)
    after = measured(model)
    if change not in (another_dtype, norm):  # which write the same numbers otherwise
        assert before.to_dict() != after.to_dict()
    held(tracker.record(2), after)
    with torch.no_grad():
        model.first.bias.add_(0.25)
    held(tracker.record(3), measured(model))


@pytest.mark.filterwarnings("ignore")
def test_weights_tied_in_the_middle_of_a_training():
    torch.manual_seed(3)
    model = Net()
    model.first = torch.nn.Linear(5, 5)
    tracker = Tracker(model, **FAST, input_size=(1, 5))
    tracker.record(0)
    model.second.weight = model.first.weight
    held(tracker.record(1), measured(model))
    with torch.no_grad():
        model.first.weight.mul_(2.0)
    held(tracker.record(2), measured(model))


def nothing(m):
    pass


def frozen(m):
    m.first.weight.requires_grad_(False)


def evaluated(m):
    m.eval()


def with_gradients(m):
    m(torch.rand(3, 4)).sum().backward()


def backward_hook(m):
    m.first.register_full_backward_hook(lambda *a: None)


def stepped(m):
    optimizer = torch.optim.Adam(m.parameters())
    m(torch.rand(3, 4)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    "change",
    [nothing, frozen, evaluated, with_gradients, backward_hook, stepped],
    ids=lambda f: f.__name__,
)
def test_what_changes_no_forward_pass_reads_nothing_anew(change, monkeypatch):
    import eiplane.training.watch as watch

    torch.manual_seed(3)
    model, calls, real = Net(), [], watch.to_network
    monkeypatch.setattr(watch, "to_network", lambda *a: calls.append(1) or real(*a))
    tracker = Tracker(model, **FAST, input_size=(1, 4))
    tracker.record(0)
    change(model)
    held(tracker.record(1), measured(model))
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", ["weight", "bias"])
def test_numbers_that_are_none_are_told_of(dtype, value, what):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    model.to(dtype)
    tracker = Tracker(model, **FAST)
    tracker.record(0)
    with torch.no_grad():
        getattr(model[2], what)[1] = value
    with pytest.raises(ValueError, match=rf"layer '2': {what} has .* NaN or infinite"):
        tracker.record(1)


def test_options_are_checked_once_and_numbers_drawn_each_time(monkeypatch):
    module = sys.modules["eiplane.analyze"]
    calls, real = [], module.Settings
    monkeypatch.setattr(module, "Settings", lambda *a, **k: calls.append(1) or real(*a, **k))
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Sigmoid())
    options = FAST | {"method": "sample", "samples": 500}
    same = Tracker(model, **options)
    assert same.record(0).layers == same.record(1).layers  # one seed
    fresh = Tracker(model, **options, rng=None)
    assert fresh.record(0).layers != fresh.record(1).layers
    assert len(calls) == 2


def test_a_selection_that_looks_at_weights_is_asked_each_time():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 3))
    with torch.no_grad():
        model[2].weight.mul_(10.0)
    tracker = Tracker(model, **FAST, layers=lambda name, layer: np.abs(layer.weight).max() > 1.0)
    assert [x["name"] for x in tracker.record(0).layers] == ["2"]
    with torch.no_grad():
        model[0].weight.mul_(100.0)
        model[2].weight.mul_(1e-3)
    assert [x["name"] for x in tracker.record(1).layers] == ["0"]


def _of_inference():
    with torch.inference_mode():
        return torch.ones(())


@pytest.mark.parametrize("odd", [_of_inference, lambda: torch.eye(2).to_sparse()])
def test_tensors_that_do_not_tell_count_as_changed(odd):
    """Each record reads the module anew, and what was written to such a tensor is in it."""
    net = Net()
    net.odd = odd()
    tracker = Tracker(net, every=1, **FAST)
    tracker.record(0)
    with torch.no_grad():
        net.first.weight.mul_(3.0)
    if odd is _of_inference:
        net.constant = net.odd
        with torch.inference_mode():
            net.odd.fill_(3.0)
    tracker.record(1)
    wanted = eiplane.analyze(net, **FAST)
    for record, layer in zip(tracker.history[-1].layers, wanted, strict=True):
        assert record["ei_parts"] == pytest.approx(layer.ei_parts, rel=1e-9)
