"""``ranges="data"`` against what the real module's hooks record, by numpy."""

from __future__ import annotations

import gc
import tracemalloc
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import eiplane  # noqa: E402

FAST = {"measures": "sensitivity", "method": "sample", "samples": 64}
QUANTILES = (0.001, 0.999)


class Recorder:
    """What goes into some modules, and what comes out of others."""

    def __init__(self, model, of):
        self.values = {}
        self.handles = []
        modules = dict(model.named_modules())
        for layer, (enters, leaves) in of.items():
            for side, name in (("in", enters), ("out", leaves)):
                if name is not None:
                    self.handles.append(self._watch(modules[name], layer, side))

    def _watch(self, module, layer, side):
        store = self.values.setdefault((layer, side), [])

        def hook(_, args, out):
            store.append((args[0] if side == "in" else out).detach().numpy().ravel())

        return module.register_forward_hook(hook)

    def run(self, model, batches):
        was = model.training
        model.eval()
        with torch.no_grad():
            for batch in batches:
                model(*batch)
        model.train(was)
        for handle in self.handles:
            handle.remove()
        return {key: np.concatenate(parts) for key, parts in self.values.items()}


def agrees(found, values, quantiles=QUANTILES):
    """Whether a range is that of some values: exactly, or within the sketch's rank error."""
    ordered = np.sort(values.astype(np.float64))
    for value, q in zip(found, quantiles, strict=True):
        slack = 1e-5 * max(1.0, abs(value))
        first = np.searchsorted(ordered, value - slack, side="left")
        last = np.searchsorted(ordered, value + slack, side="right")
        rank = q * (len(ordered) - 1)
        off = max(0.0, first - rank, rank - last)
        if off > 1 + min(q, 1 - q) * len(ordered) / 64:
            return False
    return True


def check(model, batches, of, quantiles=QUANTILES, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        d = eiplane.analyze(
            model, ranges="data", quantiles=quantiles, **({"input_data": batches} | options), **FAST
        )
    recorded = Recorder(model, of)
    values = recorded.run(model, [b if isinstance(b, tuple) else (b,) for b in batches])
    for (name, side), numbers in values.items():
        layer = d[name]
        span = layer.in_range if side == "in" else layer.out_range
        assert agrees(span, numbers, quantiles), (name, side, span, np.quantile(numbers, quantiles))
        assert layer.range_source == "data"
    return d


def seeded(make):
    torch.manual_seed(0)
    return make()


class Net(nn.Module):
    """Convolutions with pools, a norm, dense layers."""

    def __init__(self):
        super().__init__()
        self.c1, self.r1, self.p1 = nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2)
        self.c2, self.b2, self.p2, self.t2 = (
            nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.AvgPool2d(2), nn.Tanh(),
        )  # fmt: skip
        self.norm = nn.LayerNorm(6 * 6 * 6)
        self.f1, self.g1 = nn.Linear(6 * 6 * 6, 20), nn.GELU()
        self.f2 = nn.Linear(20, 10)
        self.b2.running_mean.uniform_(-1, 1)
        self.b2.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.p1(self.r1(self.c1(x)))
        x = self.t2(self.p2(self.b2(self.c2(x))))
        return self.f2(self.g1(self.f1(self.norm(x.flatten(1)))))


NET = {
    "c1": ("c1", "p1"), "c2": ("c2", "t2"), "f1": ("f1", "g1"), "f2": ("f2", "f2"),
}  # fmt: skip


def images(batches=4, size=6):
    generator = torch.Generator().manual_seed(1)
    return [3 * torch.rand(size, 1, 28, 28, generator=generator) - 1 for _ in range(batches)]


@pytest.mark.parametrize("quantiles", [QUANTILES, (0.0, 1.0), (0.05, 0.8)])
def test_convolutions_pools_and_norms(quantiles):
    check(seeded(Net), images(), NET, quantiles)


def test_least_and_greatest_are_exact():
    model, batches = seeded(Net), images()
    d = check(model, batches, NET, (0.0, 1.0))
    assert d["c1"].in_range == (
        min(float(b.min()) for b in batches), max(float(b.max()) for b in batches),
    )  # fmt: skip


class Block(nn.Module):
    """A transformer's block."""

    def __init__(self, d=16):
        super().__init__()
        self.n1, self.attn = nn.LayerNorm(d), nn.MultiheadAttention(d, 2, batch_first=True)
        self.n2, self.up, self.act, self.down = (
            nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.SiLU(), nn.Linear(4 * d, d),
        )  # fmt: skip

    def forward(self, x):
        y = self.n1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.down(self.act(self.up(self.n2(x))))


def test_a_transformer_block():
    model = seeded(Block)
    batches = [torch.randn(3, 7, 16) * (1 + i) for i in range(3)]
    d = check(model, batches, {"up": ("up", "act"), "down": ("down", "down")})
    with torch.no_grad():
        y = torch.cat([model.n1(b) for b in batches]).reshape(-1, 16)
        q = y @ model.attn.in_proj_weight[:16].T + model.attn.in_proj_bias[:16]
    assert agrees(d["attn.in_proj.q"].in_range, y.numpy().ravel())
    if not torch.__version__.startswith("2.0."):  # which scales queries and keys alike
        assert agrees(d["attn.in_proj.q"].out_range, q.numpy().ravel())


#: As torch has it since 2.2, or as before.
WEIGHT_NORM = getattr(nn.utils.parametrizations, "weight_norm", nn.utils.weight_norm)


class Odd(nn.Module):
    """Everything else: groups, transposed, weight norm, one number per neuron, shared, residual."""

    def __init__(self):
        super().__init__()
        self.grouped, self.r = nn.Conv1d(4, 6, 3, groups=2, padding=1), nn.ELU()
        self.turned, self.s = nn.ConvTranspose1d(6, 4, 4, stride=2, padding=1), nn.Sigmoid()
        self.normed = WEIGHT_NORM(nn.Linear(16, 16))
        self.act = nn.Hardtanh(-0.2, 0.3)
        self.shared, self.relu = nn.Linear(16, 16), nn.ReLU()
        self.theta = nn.Parameter(torch.randn(16))
        self.scaled, self.after = nn.Linear(16, 16), nn.Identity()
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        x = self.s(self.turned(self.r(self.grouped(x))))
        x = self.act(self.normed(x))
        x = self.relu(self.shared(x))
        x = x + self.relu(self.shared(5 * x))
        x = self.after(torch.tanh(self.scaled(x) * self.theta))
        return self.last(x)


def test_odd_ones():
    batches = [torch.randn(5, 4, 8), 2 * torch.randn(1, 4, 8)]
    check(seeded(Odd), batches, {
        "grouped": ("grouped", "r"), "turned": ("turned", "s"), "normed": ("normed", "act"),
        "shared": ("shared", "relu"), "scaled": ("scaled", "after"), "last": ("last", "last"),
    })  # fmt: skip


def test_many_numbers_are_sketched():
    model = seeded(lambda: nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 8)))
    batches = [torch.randn(500, 64) * (1 + i % 3) for i in range(8)]  # a million numbers
    check(model, batches, {"0": ("0", "1"), "2": ("2", "2")})


# -- what input_data may be ---------------------------------------------------------------------


def dense():
    return seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))


def spans(model, data, **options):
    d = eiplane.analyze(
        model, ranges="data", quantiles=(0.0, 1.0), input_data=data, **FAST, **options
    )
    return [(x.in_range, x.out_range) for x in d]


def test_all_ways_to_give_data():
    x, y = torch.randn(40, 5), torch.zeros(40)
    model = dense()
    expected = spans(model, x)
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    ways = [
        loader, DataLoader(TensorDataset(x), batch_size=7), x.numpy(), x.numpy().astype(np.float64),
        [x[:20], x[20:]], (b for b in x.split(9)), [(b, 0) for b in x.split(9)], (x,),
        {"input": x}, [{"input": b, "labels": 1} for b in x.split(9)], [x.numpy()], x.tolist(),
        [({"input": x}, y)],
    ]  # fmt: skip
    state = torch.random.get_rng_state()
    for way in ways:
        for found, wanted in zip(spans(model, way), expected, strict=True):
            assert np.allclose(found, wanted, atol=1e-6)
    assert torch.equal(state, torch.random.get_rng_state())


class Two(nn.Module):
    """Takes two inputs, and may take a third."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 4)

    def forward(self, x, y, scale=1.0):
        return torch.relu(self.a(x)), torch.relu(self.b(scale * y))


def test_several_inputs():
    x, y = torch.randn(6, 3), torch.randn(6, 5)
    model = seeded(Two)
    alone = spans(model, (x, y))
    assert alone == spans(model, [(x, y)]) == spans(model, [(x, y, 7.0)])  # a label, not a scale
    assert alone == spans(model, [((x, y), 7.0)]) == spans(model, [{"x": x, "y": y, "label": 1}])
    doubled = spans(model, (x, y, 2.0))
    assert doubled[0] == alone[0]
    assert doubled[1][0] == pytest.approx(tuple(2 * v for v in alone[1][0]))
    assert doubled == spans(model, [{"x": x, "y": y, "scale": 2.0}])


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, ValueError, "ranges='data' takes each layer's range from input_data"),
        ([], ValueError, "input_data is empty"),
        ((x for x in ()), ValueError, "input_data is empty"),
        (7, TypeError, "not int"),
        ("x.npy", TypeError, "not str"),
        (TensorDataset(torch.ones(3, 5)), TypeError, "give a DataLoader"),
        ([torch.ones(2, 5), torch.ones(2, 6)], ValueError, r"failed on batch 2 .*shape \(2, 6\)"),
        (torch.ones(2, 6), ValueError, r"failed on an example input of shape \(2, 6\)"),
    ],
)
def test_bad_data(data, error, message):
    with pytest.raises(error, match=message):
        spans(dense(), data)


def test_too_few_inputs_in_a_batch():
    with pytest.raises(ValueError, match="has 1 entries, the network takes 2"):
        spans(seeded(Two), [(torch.ones(2, 3),)])


@pytest.mark.parametrize("weights", [np.eye(3), [np.eye(3)], {"a": np.eye(3)}])
def test_arrays_cannot_be_run(weights):
    with pytest.raises(ValueError, match="ranges='data' is for torch modules"):
        eiplane.analyze(weights, "relu", ranges="data")


# -- numbers that make no range -----------------------------------------------------------------


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_what_is_not_finite_is_named(bad, what):
    batches = [torch.ones(4, 5), torch.ones(4, 5), torch.ones(4, 5)]
    batches[1][2, 3] = bad
    with pytest.raises(ValueError, match=f"layer '0': its inputs hold 1 {what} of 20 numbers, in "
                                         "batch 2 of input_data"):  # fmt: skip
        spans(dense(), batches)

    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.b(torch.log(torch.relu(self.a(x))))

    with pytest.raises(ValueError, match=r"layer 'b': its inputs hold .* infinite"):
        spans(seeded(Late), torch.randn(50, 5))


def test_constants_get_a_width():
    model = dense()
    nn.init.zeros_(model[0].weight)
    nn.init.constant_(model[0].bias, 2.0)
    (first, second) = spans(model, torch.full((9, 5), 0.25))
    assert first == ((-0.25, 0.75), (1.5, 2.5))
    assert second[0] == (1.5, 2.5)


def test_rare_values_are_not_lost():
    x = torch.zeros(400, 50)
    x[3, 7] = 1.0  # one in 20,000: both quantiles are 0
    model = seeded(lambda: nn.Linear(50, 2))
    d = eiplane.analyze(model, ranges="data", input_data=x, **FAST)
    assert d[0].in_range == (0.0, 1.0)


# -- beside what is given -----------------------------------------------------------------------


def test_what_is_given_comes_first():
    x = torch.randn(60, 5)
    model = dense()
    d = eiplane.analyze(model, ranges="data", input_data=x, in_range={"2": (0, 9)},
                        out_range={"0": (0, 7)}, **FAST)  # fmt: skip
    assert d["0"].range_source == "data"
    assert d["0"].out_range == (0, 7)
    assert (d["2"].in_range, d["2"].range_source) == ((0, 9), "given")
    plain = spans(model, x)
    assert d["2"].out_range != (0, 9)
    assert plain[1][0] == plain[0][1]


class Experts(nn.Module):
    """The sign of the first input decides which expert is asked."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.one, self.other = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        out = torch.zeros(len(x), 2)
        for expert, mask in ((self.one, x[:, 0] > 0), (self.other, x[:, 0] <= 0)):
            where = mask.nonzero(as_tuple=True)[0]
            out[where] = expert(h[where])
        return out


def test_experts_see_their_own():
    model = seeded(Experts)
    x = torch.randn(200, 4)
    d = check(model, [x[:90], x[90:]], {"one": ("one", "one"), "other": ("other", "other")},
              (0.0, 1.0))  # fmt: skip
    assert d["one"].in_range != d["other"].in_range


def test_what_the_data_does_not_reach_has_another_source():
    model = seeded(Experts)
    x = torch.randn(50, 4)
    x[:, 0] = x[:, 0].abs() + 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d = eiplane.analyze(model, ranges="data", input_data=x, **FAST)
    assert d["one"].range_source == "data"
    if "other" in {layer.name for layer in d}:
        assert d["other"].range_source in ("activation", "interval", "assumed")


def test_recurrent_layers():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.out = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x):
            return self.out(self.lstm(x)[0])

    model = seeded(Recurrent)
    x = 3 * torch.randn(20, 7, 5)
    d = eiplane.analyze(model, ranges="data", input_data=x, **FAST)
    with torch.no_grad():
        hidden = model.lstm(x)[0].numpy().ravel()
    assert agrees(d["lstm.weight_ih_l0.i"].in_range, x.numpy().ravel())
    assert agrees(d["out"].in_range, hidden)
    assert d["lstm.weight_hh_l0.i"].in_range == (-1, 1)
    assert d["lstm.weight_hh_l0.i"].range_source == "activation"


# -- the module, the memory, the seed -------------------------------------------------------------


def test_the_module_stays_as_it_was():
    model = seeded(lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)))
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    one = spans(model, [torch.randn(8, 5, generator=torch.Generator().manual_seed(i))
                        for i in range(3)])  # fmt: skip
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.eval()
    assert one == spans(model, [torch.randn(8, 5, generator=torch.Generator().manual_seed(i))
                                for i in range(3)])  # fmt: skip


def test_memory_does_not_grow_with_the_batches():
    model = seeded(lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)))

    def peak(batches):
        data = (torch.randn(1000, 64) for _ in range(batches))
        gc.collect()
        tracemalloc.start()
        spans_of = eiplane.analyze(model, ranges="data", input_data=data, **FAST)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(spans_of) == 2
        return most

    peak(2)
    assert peak(12) < 1.5 * peak(4) + 1.5e6  # an array of float64 of each batch is half a megabyte


def test_progress_is_told():
    told = []
    eiplane.analyze(
        dense(), ranges="data", input_data=[torch.ones(2, 5)] * 3,
        progress=lambda *done: told.append(done), **FAST,
    )  # fmt: skip
    assert [t for t in told if t[2] == "ranges from data"] == [
        (i, 3, "ranges from data") for i in (1, 2, 3)
    ]


# -- trackers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True])
def test_a_tracker_takes_them_anew(background):
    model = dense()
    data = [torch.randn(20, 5), torch.randn(20, 5)]
    with eiplane.Tracker(model, ranges="data", input_data=data, quantiles=(0, 1),
                         background=background, **FAST) as tracker:  # fmt: skip
        tracker.record(0)
        first = spans(model, data)
        with torch.no_grad():
            model[0].weight *= 10
        tracker.record(1)
    for record, wanted in zip(tracker.history, (first, spans(model, data)), strict=True):
        for layer, (enters, leaves) in zip(record.layers, wanted, strict=True):
            assert layer["range_source"] == "data"
            assert layer["in_range"] == pytest.approx(list(enters))
            assert layer["out_range"] == pytest.approx(list(leaves))
    assert first[1][0] != wanted[1][0]


def test_a_tracker_refuses_what_is_used_up():
    with pytest.raises(ValueError, match="used up by the first"):
        eiplane.Tracker(dense(), ranges="data", input_data=iter([torch.ones(2, 5)]), **FAST)
