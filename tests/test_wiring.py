"""A tracker reads a module's wiring once, and notices what a training changes beside weights."""

import functools
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


class Scale:
    """A setting in a slot, of an object that can be called."""

    __slots__ = ("by",)

    def __init__(self):
        self.by = 1.0

    def __call__(self, x):
        return x * self.by

    def doubled(self, x):
        return 2.0 * x * self.by


class Odd(torch.nn.Module):
    """Settings where few look for them."""

    by = 1.0

    def __init__(self, depth=6):
        super().__init__()
        self.first = torch.nn.Linear(4, 5)
        self.deep = torch.nn.Linear(5, 5)
        for _ in range(depth):
            self.deep = torch.nn.Sequential(self.deep)
        self.scale, self.table = Scale(), np.ones(4096)
        self.method = Scale().doubled
        self.part = functools.partial(torch.mul, torch.tensor(1.0))
        self.kind = type("Kind", (), {"by": 1.0})

    def own(self, x):
        return x

    def forward(self, x):
        x = self.scale(torch.tanh(self.first(x)))
        x = self.part(self.method(x)) * self.by * self.kind.by
        return self.deep(self.own(x * float(self.table[-1])))


def set_in_a_call(m, _):
    m.scale.by = 3.0


def set_in_a_method(m, _):
    m.method.__self__.by = 3.0


def set_in_a_class(m, _):
    m.kind.by = 3.0


def set_in_the_own_class(m, patch):
    patch.setattr(Odd, "by", 3.0)


def another_method(m, patch):
    patch.setattr(Odd, "own", lambda self, x: 3.0 * x)


def write_a_part(m, _):
    m.part.args[0].fill_(3.0)


def write_a_large_array(m, _):
    m.table[-1] = 3.0


def replace_deep_within(m, _):
    inner = next(x for x in m.deep.modules() if isinstance(x, torch.nn.Linear))
    inner.weight = torch.nn.Parameter(3.0 * torch.rand(5, 5))


def hook_everywhere(m, patch):
    hooks = torch.nn.modules.module._global_forward_hooks
    patch.setitem(hooks, -1, lambda module, args, out: out * 3.0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [
        set_in_a_call, set_in_a_method, set_in_a_class, set_in_the_own_class, another_method,
        write_a_part, write_a_large_array, replace_deep_within, hook_everywhere,
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_what_changes_out_of_sight_is_noticed(change, monkeypatch):
    torch.manual_seed(3)
    model = Odd()
    tracker = Tracker(model, **FAST, input_size=(1, 4))
    tracker.record(0)
    tracker.record(1)
    before = measured(model)
    change(model, monkeypatch)
    after = measured(model)
    assert before.to_dict() != after.to_dict()
    held(tracker.record(2), after)


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


@pytest.mark.parametrize("edges", [True, False])
def test_a_transposed_weight_that_is_no_number_is_told_of(edges):
    class Conv1D(torch.nn.Module):  # as GPT-2 has them
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.rand(3, 4))
            self.bias = torch.nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return torch.addmm(self.bias, x, self.weight)

    model = torch.nn.Sequential(Conv1D(), torch.nn.Sigmoid())
    tracker = Tracker(model, **FAST, input_size=(1, 3), edges=edges)
    tracker.record(0)
    with torch.no_grad():
        model[0].weight[1, 1] = float("nan")
    with pytest.raises(ValueError, match=r"weight has .* NaN or infinite"):
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
