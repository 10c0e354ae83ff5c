"""Recurrent networks through time: against dense grids, single layers and PyTorch's own steps."""

import json
from concurrent.futures import ProcessPoolExecutor
from math import log2

import numpy as np
import pytest

import eiplane
from eiplane.recurrence.read import read_cell

torch = pytest.importorskip("torch")


def information(joint):
    joint = joint / joint.sum()
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log2(joint[seen] / product[seen])).sum())


def binned(values, low, high, bins):
    return np.clip(((values - low) / (high - low) * bins).astype(int), 0, bins - 1)


def table(one, two):
    counts = np.zeros((one.max() + 1, two.max() + 1))
    np.add.at(counts, (one, two), 1)
    return counts


def grid_truth(step, lag, bins, low=-1.0, high=1.0, fine=800):
    """EI, edges and sensitivities of two neurons on a dense grid of midpoints; step: h -> h."""
    axis = low + (high - low) * (np.arange(fine) + 0.5) / fine
    whole = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)

    def after(h):
        for _ in range(lag):
            h = step(h)
        return binned(h, low, high, bins)

    given, found = binned(whole, low, high, bins), after(whole)
    edges = [[information(table(given[:, a], found[:, b])) for a in (0, 1)] for b in (0, 1)]
    ei = information(table(given @ [bins, 1], found @ [bins, 1]))
    alone = np.zeros((2, 2))
    for a in (0, 1):
        line = np.zeros((200_000, 2))
        line[:, a] = low + (high - low) * (np.arange(200_000) + 0.5) / 200_000
        out, start = after(line), binned(line[:, a], low, high, bins)
        alone[:, a] = [information(table(start, out[:, b])) for b in (0, 1)]
    return ei, np.array(edges), alone


W = np.array([[1.4, -0.9], [0.8, 1.1]])


def tanh_step(h):
    return np.tanh(h @ W.T + 0.1)


@pytest.mark.parametrize("lag", [1, 3])
def test_a_small_network_against_a_dense_grid(lag):
    bias = np.full(2, 0.1)
    t = eiplane.through_time((np.zeros((2, 0)), W, bias), lags=lag, bins=4, method="sample")
    ei, edges, alone = grid_truth(tanh_step, lag, 4)
    found = t.lag(lag)
    assert abs(found.ei - ei) < 4 * found.ei_stderr + 1e-3
    assert found.ei_stderr < 0.02
    assert np.all(np.abs(found.ei_edges - edges) < 5 * found.pairwise_ei.edges_stderr + 1e-3)
    assert abs(found.ei_parts - edges.sum()) < 4 * found.ei_parts_stderr + 2e-3
    assert np.abs(found.sensitivity_edges - alone).max() < 2e-3
    assert found.phi == pytest.approx(found.ei - found.ei_parts)


def test_errors_are_calibrated():
    """Of 24 seeds; the truth is a grid's. By hand with more: the ratio is near 1."""
    ei, edges, _ = grid_truth(tanh_step, 2, 3)
    off = []
    for seed in range(24):
        t = eiplane.through_time(
            (np.zeros((2, 0)), W, [0.1, 0.1]), lags=2, bins=3, method="sample", samples=8192,
            rng=seed, measures=("ei_parts", "ei"),
        ).lag(2)  # fmt: skip
        off.append([(t.ei - ei) / t.ei_stderr, (t.ei_parts - edges.sum()) / t.ei_parts_stderr])
    spread = np.sqrt(np.mean(np.square(off), axis=0))
    assert np.all(spread < 1.6)
    assert spread[1] > 0.55
    assert np.abs(np.mean(off, axis=0)).max() < 1.0


@pytest.mark.parametrize("method", ["auto", "sample"])
@pytest.mark.parametrize("inputs", ["fixed", "noise"])
def test_a_linear_network_is_a_layer_of_a_power(method, inputs):
    """W_h^k, beside the inputs on the way, which are noise or held at 0."""
    w_h = np.array([[0.6, 0.5, 0.0], [-0.5, 0.6, 0.2], [0.1, -0.3, 0.7]])
    w_x = np.array([[0.3], [0.1], [-0.2]])
    t = eiplane.through_time(
        (w_x, w_h, [0.1, 0.0, -0.1]), activation="identity", lags=(1, 3), inputs=inputs,
        state_range=(-1, 1), in_range=(-1, 1), method=method,
    )  # fmt: skip
    for lag in (1, 3):
        power = np.linalg.matrix_power(w_h, lag)
        parts = [np.linalg.matrix_power(w_h, j) for j in range(lag)]
        bias = sum(p @ [0.1, 0.0, -0.1] for p in parts)
        columns = [power] + ([p @ w_x for p in parts] if inputs == "noise" else [])
        options = {"in_range": (-1, 1), "out_range": (-1, 1)}
        layer = eiplane.Layer(np.hstack(columns), bias, "identity")
        truth = eiplane.analyze([layer], measures=("ei_parts", "sensitivity"), **options)[0]
        between = eiplane.ei_between(layer, [0, 1, 2], [0, 1, 2], **options)
        found = t.lag(lag)
        assert found.method == ("exact" if method == "auto" else "sample")
        loose = method == "sample"
        close = 5 * found.pairwise_ei.edges_stderr + 2e-4 if loose else 1e-9
        assert np.all(np.abs(found.ei_edges - truth.ei_edges[:, :3]) < close)
        sensitivity = truth.sensitivity_edges[:, :3]
        assert np.abs(found.sensitivity_edges - sensitivity).max() < (3e-3 if loose else 1e-9)
        assert abs(found.ei - between.ei) < 4 * np.hypot(found.ei_stderr, between.ei_stderr) + 1e-9


def test_inputs_of_a_linear_network():
    """x_t to h_(t+k): W_h^k W_x, the state before it and the inputs after it are noise."""
    w_h, w_x = np.array([[0.6, 0.5], [-0.5, 0.6]]), np.array([[0.9, 0.1], [0.0, 0.8]])
    options = {"activation": "identity", "state_range": (-2, 2), "in_range": (-1, 1)}
    exact = eiplane.through_time((w_x, w_h), perturb="input", lags=(0, 2), **options)
    sampled = eiplane.through_time(
        (w_x, w_h), perturb="input", lags=(0, 2), method="sample", measures="ei_parts", **options
    )
    for lag in (0, 2):
        powers = [np.linalg.matrix_power(w_h, j) for j in range(lag + 2)]
        # The state is uniform on a range twice as wide as the inputs.
        columns = [powers[lag] @ w_x, 2 * powers[lag + 1], *(p @ w_x for p in powers[:lag])]
        truth = eiplane.analyze(
            [eiplane.Layer(np.hstack(columns), None, "identity")], measures="ei_parts",
            in_range=(-1, 1), out_range=(-2, 2),
        )[0].ei_edges[:, :2]  # fmt: skip
        np.testing.assert_allclose(exact.lag(lag).ei_edges, truth, atol=1e-9)
        found = sampled.lag(lag)
        assert np.all(np.abs(found.ei_edges - truth) < 5 * found.pairwise_ei.edges_stderr + 2e-4)


def delay_line(n):
    gru = torch.nn.GRU(1, n).double()
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.zero_()
        gru.bias_ih_l0[:n] = 40.0
        gru.bias_ih_l0[n : 2 * n] = -40.0
        gru.weight_ih_l0[2 * n, 0] = 1e-4
        gru.weight_hh_l0[2 * n + 1 :, : n - 1] = torch.eye(n - 1).double()
    return gru


def test_a_gru_that_copies_its_input_for_some_steps():
    t = eiplane.through_time(
        delay_line(3), perturb="input", lags=range(4), state_range=(0, 1e-4),
        measures="ei_parts",
    )  # fmt: skip
    for lag in range(3):
        wanted = np.where(np.arange(3) == lag, 3.0, 0.0)
        np.testing.assert_allclose(t.lag(lag).ei_edges[:, 0], wanted, atol=5e-3)
    assert np.abs(t.lag(3).ei_edges).max() < 2e-3  # it has left the line


def test_what_cannot_be_counted_keeps_to_its_bounds():
    """Four bits of noise for each bit of the input: too many outputs to count in each cell."""
    with pytest.warns(eiplane.SaturationWarning, match="'lag 0'"):
        found = eiplane.through_time(
            delay_line(5), perturb="input", lags=0, state_range=(0, 1e-4), samples=16384
        ).lag(0)
    low, high = found.ei_bounds
    assert 2.9 < low <= 3.0 <= high + 1e-12  # the first neuron tells all about it
    assert found.ei is None  # nothing more is claimed
    assert "(saturated)" in str(found)


@pytest.mark.parametrize(
    ("perturb", "inputs"),
    [("state", "noise"), ("state", "fixed"), ("input", "noise"), ("input", "data")],
)
def test_bounds_of_what_cannot_be_counted_hold_and_are_near(perturb, inputs):
    """Three neurons in fine bins, few samples; the truth from 128 times as many, counted here."""
    rng = np.random.default_rng(3)
    w_x, w_h = rng.normal(size=(3, 2)), rng.normal(size=(3, 3))
    steps = rng.random((40, 6, 2))
    with pytest.warns(eiplane.SaturationWarning):
        found = eiplane.through_time(
            (w_x, w_h), lags=2, perturb=perturb, bins=(2, 32), samples=2048, measures="ei",
            inputs=steps if inputs == "data" else inputs,
        ).lag(2)  # fmt: skip
    count = 1 << 18
    x = rng.random((4, count, 2)) * (inputs == "noise")
    h = rng.uniform(-1, 1, size=(count, 3)) * (inputs == "noise")
    if inputs == "data":
        rest = np.zeros((40, 7, 3))
        for i in range(6):
            rest[:, i + 1] = np.tanh(steps[:, i] @ w_x.T + rest[:, i] @ w_h.T)
        window = 2 + (perturb == "input")
        which, when = rng.integers(40, size=count), rng.integers(6 - window + 1, size=count)
        h = rest[which, when]
        x = np.stack([steps[which, np.minimum(when + i, 5)] for i in range(4)])
    if perturb == "state":
        h = rng.uniform(-1, 1, size=(count, 3))
        cell = binned(h, -1, 1, 2) @ [4, 2, 1]
    else:
        x[0] = rng.random((count, 2))
        cell = binned(x[0], 0, 1, 2) @ [2, 1]
    for i in range(2 + (perturb == "input")):
        h = np.tanh(x[i] @ w_x.T + h @ w_h.T)
    code = binned(h, -1, 1, 32) @ [1024, 32, 1]

    def entropy(values):
        counts = np.unique(values, return_counts=True)[1]
        return log2(count) - (counts * np.log2(counts)).sum() / count + len(counts) / count * 0.72

    whole = entropy(code)
    ei = whole - (entropy(code + (cell << 15)) - entropy(cell))
    low, high = found.ei_bounds
    assert found.ei is None
    assert low - 0.05 <= ei <= high + 0.05
    assert low > 0.3 * ei or perturb == "input"  # which tells less than samples are wrong by
    low, high = found.output_entropy_bounds
    assert low - 0.05 <= whole <= high + 0.05
    assert high < whole + 2.5


class Wrapped(torch.nn.Module):
    """A cell of one's own whose state is a tuple."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.LSTMCell(2, 3)

    def forward(self, x, state):
        h, c = self.inner(x, state)
        return h, c


@pytest.mark.parametrize("state", ["hidden", "all"])
def test_a_cell_by_hand_whose_state_is_a_tuple(state):
    torch.manual_seed(2)
    cell = Wrapped().double()

    def by_hand(x, parts):
        with torch.no_grad():
            return [v.numpy() for v in cell(torch.tensor(x), tuple(map(torch.tensor, parts)))]

    options = {"lags": (1, 2), "state": state, "state_range": (-1, 1), "samples": 4096}
    wanted = eiplane.through_time(cell.inner, **options)
    for model in (cell, by_hand):
        found = eiplane.through_time(model, sizes=(2, (3, 3)), **options)
        for lag in (1, 2):
            assert found.lag(lag).n_in == (3 if state == "hidden" else 6)
            assert np.allclose(found.lag(lag).ei_edges, wanted.lag(lag).ei_edges, atol=2e-3)
    with pytest.raises(ValueError, match=r"of a tuple give sizes=\(inputs, \(h, c"):
        eiplane.through_time(lambda x, h: (h, h), sizes=(2, 3), **options)
    with pytest.raises(ValueError, match=r"\(512, 3\) and \(512, 2\) in a tuple"):
        eiplane.through_time(lambda x, h: h[::-1], sizes=(2, (3, 2)), lags=1)
    with pytest.raises(TypeError, match="as many as it has parts"):
        eiplane.through_time(cell, sizes=(2, (3, "c")), **options)


def modules():
    for kind, options in (
        ("RNN", {}), ("RNN", {"nonlinearity": "relu", "num_layers": 2, "bias": False}),
        ("GRU", {"num_layers": 2}), ("LSTM", {}), ("LSTM", {"num_layers": 2, "proj_size": 2}),
    ):  # fmt: skip
        yield pytest.param(kind, options, id=f"{kind}{options or ''}")


@pytest.mark.parametrize(("kind", "options"), list(modules()))
def test_steps_are_those_of_torch(kind, options):
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(3, 4, **options).double()
    x = torch.randn(5, 7, 3).double()
    with torch.no_grad():
        _, last = module(x)
    cell = read_cell(module, None, None)
    weights = {f"rnn.{name}": value for name, value in module.state_dict().items()}
    activation = "relu" if options.get("nonlinearity") == "relu" else None
    same = read_cell({**weights, "head.weight": torch.zeros(2, 4)}, activation, None)
    assert same.kind == cell.kind == kind.lower()
    for one in (cell, same):
        state = np.zeros((one.n_state, 7))
        for xt in x:
            state = one.step(np.ascontiguousarray(xt.numpy().T), state)
        hidden, *cells = last if isinstance(last, tuple) else (last,)
        wanted = [level.numpy().T for level in hidden]
        wanted += [level.numpy().T for level in cells[0]] if cells else []
        np.testing.assert_allclose(state, np.concatenate(wanted), atol=1e-12)


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_single_cells_too(kind):
    torch.manual_seed(1)
    module = getattr(torch.nn, kind)(3, 4).double()
    cell = read_cell(module, None, None)
    x, state = torch.randn(6, 3).double(), torch.randn(6, cell.n_state).double()
    with torch.no_grad():
        parts = state.split(4, dim=1)
        made = module(x, parts if len(parts) > 1 else parts[0])
    made = torch.cat(made, 1) if isinstance(made, tuple) else made
    ours = cell.step(np.ascontiguousarray(x.numpy().T), np.ascontiguousarray(state.numpy().T))
    np.testing.assert_allclose(ours, made.numpy().T, atol=1e-12)


class Named(torch.nn.GRU):
    """A class of the user's that computes what torch's does."""


class Halved(torch.nn.GRU):
    """One that does not."""

    def forward(self, x, h=None):
        return super().forward(x, h)[1][0] / 2


class Compiled(torch.nn.Module):
    """What torch.compile gives, but for the compiler."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


def changed_modules():
    """Modules whose weights are made of others, by torch's own means."""
    from torch.nn.utils import prune

    tools = torch.nn.utils
    new, old = tools.parametrizations.weight_norm, tools.weight_norm
    for name, change in {
        "weight norm": lambda m: new(m, "weight_hh_l0"),
        "spectral norm": lambda m: tools.parametrizations.spectral_norm(m, "weight_ih_l0"),
        "weight norm of old": lambda m: old(m, "weight_hh_l0"),
        "spectral norm of old": lambda m: tools.spectral_norm(m, "weight_hh_l0"),
        "pruned": lambda m: prune.l1_unstructured(m, "weight_hh_l0", 0.5),
        "compiled": Compiled,
        "a class of its own": lambda m: m,
    }.items():
        yield pytest.param(change, id=name)


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("change", list(changed_modules()))
def test_weights_made_of_others(change):
    torch.manual_seed(0)
    plain = Named(2, 3).double().eval()
    module = change(plain)
    with torch.no_grad():
        for weight in plain.parameters():  # as a step of training does: what is made is old now
            weight.mul_(1.5)
    ours = read_cell(module, None, None)
    x, h = torch.randn(1, 5, 2).double(), torch.randn(1, 5, 3).double()
    with torch.no_grad():
        wanted = plain(x, h)[1][0].numpy().T
    found = ours.step(np.ascontiguousarray(x[0].numpy().T), np.ascontiguousarray(h[0].numpy().T))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_class_that_computes_otherwise_is_not_taken_for_torch_s():
    torch.manual_seed(0)
    cell = read_cell(Halved(2, 3).double(), None, None)
    assert type(cell).__name__ == "ModuleCell"
    with pytest.raises(TypeError, match="a scripted module: give the one that it was made of"):
        eiplane.through_time(torch.jit.script(torch.nn.GRU(2, 3)))


class Leaky(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2).double()
        self.input_size, self.hidden_size = 2, 2

    def forward(self, x, h):
        return 0.5 * h + 0.5 * torch.tanh(self.linear(h) + x)


def test_cells_written_by_hand():
    torch.manual_seed(0)
    module = Leaky().train()
    weight, bias = module.linear.weight.detach().numpy(), module.linear.bias.detach().numpy()

    def function(x, h):
        assert x.shape == (len(h), 2)
        return 0.5 * h + 0.5 * np.tanh(h @ weight.T + bias + x)

    options = {"lags": (1, 2), "samples": 8192, "state_range": (-1, 1)}
    one = eiplane.through_time(module, **options)
    two = eiplane.through_time(function, sizes=(2, 2), **options)
    assert module.training
    for lag in (1, 2):
        np.testing.assert_allclose(one.lag(lag).ei_edges, two.lag(lag).ei_edges, atol=1e-9)
        assert one.lag(lag).activation == "cell"


def test_one_seed_one_answer():
    gru = torch.nn.GRU(2, 3)
    options = {"samples": 5000, "lags": (1, 2, 4)}
    runs = [eiplane.through_time(gru, threads=n, **options).to_json() for n in (1, 3)]
    with ProcessPoolExecutor(2) as pool:
        runs.append(eiplane.through_time(gru, executor=pool, **options).to_json())
    assert runs[0] == runs[1] == runs[2]
    assert eiplane.through_time(gru, rng=1, **options).to_json() != runs[0]
    lag = eiplane.through_time(gru, measures="ei_parts", **options).lag(4)
    assert lag.ei_parts == json.loads(runs[0])["layers"][2]["ei_parts"]  # whatever else is asked


def test_inputs_from_data():
    """Sequences that never change are inputs held there; of noise the inputs are noise."""
    torch.manual_seed(0)
    rnn = torch.nn.RNN(2, 2)
    options = {"lags": (1, 2), "method": "sample"}
    held = eiplane.through_time(rnn, inputs=np.full((3, 9, 2), 0.4), baseline=0.4, **options)
    fixed = eiplane.through_time(rnn, inputs="fixed", baseline=0.4, **options)
    for lag in (1, 2):
        error = np.hypot(held.lag(lag).ei_parts_stderr, fixed.lag(lag).ei_parts_stderr)
        assert abs(held.lag(lag).ei_parts - fixed.lag(lag).ei_parts) < 4 * error
        np.testing.assert_allclose(
            held.lag(lag).sensitivity_edges, fixed.lag(lag).sensitivity_edges, atol=1e-12
        )
    data = np.random.default_rng(0).random((400, 12, 2))
    drawn = eiplane.through_time(rnn, inputs=data, **options)
    noise = eiplane.through_time(rnn, inputs="noise", **options)
    assert drawn.lag(2).ei_parts == pytest.approx(noise.lag(2).ei_parts, abs=0.02)
    with pytest.raises(ValueError, match="12 steps are too short for a lag of 13: 13 are needed"):
        eiplane.through_time(rnn, inputs=data, lags=13)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("lag", "share"), [(1, 5 / 14), (3, 3 / 10), (7, 0.0)])
def test_sequences_of_different_lengths(packed, lag, share):
    """A state that copies its input says how often each sequence is drawn; nothing is filled up."""
    data = [torch.full((5, 1), 0.1), torch.full((9, 1), 0.9)]
    given = torch.nn.utils.rnn.pack_sequence(data, enforce_sorted=False) if packed else data
    copy = np.eye(1), np.zeros((1, 1))
    t = eiplane.through_time(
        copy, activation="identity", state_range=(0, 1), inputs=given, lags=lag, measures="ei"
    )
    wanted = -sum(p * np.log2(p) for p in (share, 1 - share) if p > 0)
    assert t.lag(lag).output_entropy == pytest.approx(wanted, abs=0.01)
    held = eiplane.through_time(
        copy, activation="identity", inputs=given, lags=1, measures="sensitivity"
    )
    assert held.lag(1).in_range == pytest.approx((0.1, 0.9))
    with pytest.raises(ValueError, match="sequences of 9 steps are too short for a lag of 10"):
        eiplane.through_time(copy, activation="identity", inputs=given, lags=10)


def test_an_lstm_s_cells():
    """A cell that only ever keeps what it has: c is whole after any time, and h follows it."""
    lstm = torch.nn.LSTM(1, 2).double()
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0[:2], lstm.bias_ih_l0[2:4], lstm.bias_ih_l0[6:] = -40.0, 40.0, 40.0
    t = eiplane.through_time(
        lstm, state="all", lags=(1, 5), state_range=(-1, 1), measures="ei_parts", samples=16384
    )
    for lag in (1, 5):
        edges = t.lag(lag).ei_edges
        np.testing.assert_allclose(edges[2:, 2:], 3 * np.eye(2), atol=5e-3)
        np.testing.assert_allclose(edges[:, :2], 0, atol=2e-2)  # h leads nowhere
        assert np.diag(edges[:2, 2:]).min() > 2.0  # h is tanh(c)
    h = eiplane.through_time(
        lstm, lags=1, state_range=(-1, 1), measures="ei_parts", samples=16384
    ).lag(1)
    assert (h.n_in, h.n_out) == (2, 2)
    assert np.abs(h.ei_edges).max() < 2e-2
    seen = eiplane.through_time(torch.nn.LSTM(1, 2), state="all", measures="ei_parts", lags=1)
    assert seen.lag(1).range_source == "data"


def test_the_transition_matrix_of_a_tiny_state():
    swap = np.array([[0.0, 1], [1, 0]])
    t = eiplane.through_time(swap, activation="identity", lags=(1, 2), state_range=(0, 1), bins=3)
    cells = [(a, b) for a in range(3) for b in range(3)]
    expected = np.array([[float(to == start[::-1]) for to in cells] for start in cells])
    np.testing.assert_array_equal(t.matrices[1], expected)
    np.testing.assert_array_equal(t.matrices[2], np.eye(9))
    scale = t.tpm(1)
    assert scale.ei == pytest.approx(2 * log2(3))
    assert scale.names[5] == "12"
    assert t.tpm(2, macro=None).determinism == 1.0
    with pytest.raises(ValueError, match="there are 1, 2"):
        t.tpm(3)


def test_the_matrix_of_a_tiny_network_against_a_grid():
    t = eiplane.through_time((np.zeros((2, 0)), W, [0.1, 0.1]), lags=2, bins=4)
    axis = -1 + 2 * (np.arange(1200) + 0.5) / 1200
    whole = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    given = binned(whole, -1, 1, 4) @ [4, 1]
    found = binned(tanh_step(tanh_step(whole)), -1, 1, 4) @ [4, 1]
    counts = np.zeros((16, 16))
    np.add.at(counts, (given, found), 1)
    np.testing.assert_allclose(t.matrices[2], counts / counts.sum(1, keepdims=True), atol=0.04)
    assert t.tpm(2, macro=None).ei == pytest.approx(t.lag(2).ei, abs=0.02)
    assert not eiplane.through_time(torch.nn.GRU(1, 5), lags=1, samples=4096).matrices


def test_results_are_those_of_a_decomposition(tmp_path):
    rnn = torch.nn.RNN(1, 2)
    t = eiplane.through_time(rnn, samples=4096, bins=4)
    assert [layer.name for layer in t] == ["lag 1", "lag 2", "lag 4", "lag 8"]
    assert t["lag 4"] is t.lag(4)
    assert "lag 8" in str(t)
    assert t.to_dataframe().loc["lag 2", "ei"] == t.lag(2).ei
    kept = json.loads(t.to_json(tmp_path / "t.json"))
    assert (kept["lags"], kept["perturb"]) == ([1, 2, 4, 8], "state")
    assert kept["settings"]["inputs"] == "noise"
    t.save(tmp_path / "t.npz")
    np.testing.assert_array_equal(eiplane.load(tmp_path / "t.npz")[1].ei_edges, t[1].ei_edges)
    with pytest.raises(KeyError, match="no lag 3; there are 1, 2, 4, 8"):
        t.lag(3)


def test_tracking(tmp_path):
    rnn = torch.nn.RNN(1, 2)
    options = {"measure": eiplane.through_time, "lags": (1, 2), "samples": 4096}
    with eiplane.Tracker(rnn, tmp_path / "run.jsonl", **options) as tracker:
        tracker.record(0, loss=1.0)
        with torch.no_grad():
            rnn.weight_hh_l0.mul_(3.0)
        tracker.record(1)
    run = eiplane.Tracker.load(tmp_path / "run.jsonl").history
    assert list(run.layers) == ["lag 1", "lag 2"]
    now = eiplane.through_time(rnn, lags=(1, 2), samples=4096)
    assert run.values("lag 2", "ei_parts")[1] == now.lag(2).ei_parts
    assert run.values("lag 2", "ei_parts")[0] != now.lag(2).ei_parts
    with pytest.raises(ValueError, match="background=True is for"):
        eiplane.Tracker(rnn, background=True, measure=eiplane.through_time)
    with pytest.raises(TypeError, match="out_range"):
        eiplane.Tracker(rnn, measure=eiplane.through_time, out_range=(0, 1))


def test_the_picture():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    t = eiplane.through_time(torch.nn.RNN(1, 2), samples=4096)
    ax = eiplane.plot.lags(t)
    drawn = {c.get_label(): c.lines[0].get_xydata() for c in ax.containers}
    assert len(drawn) == 4
    lines = list(drawn.values())
    np.testing.assert_allclose(lines[1], [(k, t.lag(k).ei_parts) for k in t.lags])
    np.testing.assert_allclose(lines[3], [(k, t.lag(k).phi) for k in t.lags])
    assert eiplane.plot.lags(t, quantities=["effectiveness"], log=True).get_ylabel() == "share"
    with pytest.raises(ValueError, match="do not have one unit"):
        eiplane.plot.lags(t, quantities=["ei", "effectiveness"])
    with pytest.raises(ValueError, match="not measured: ei"):
        eiplane.plot.lags(
            eiplane.through_time(W, measures="ei_parts", samples=4096), quantities=["ei"]
        )


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (np.ones((2, 3)), {}, "w_h must be square"),
        ((np.ones((3, 1)), np.eye(2)), {}, "w_x have as many rows"),
        ((np.ones((2, 1)), np.eye(2), [1.0]), {}, r"bias must have shape \(2,\)"),
        ("model.pt", {}, "a recurrent model is an nn.RNN"),
        (lambda x, h: h, {}, r"sizes=\(inputs, state\) is needed"),
        (lambda x, h: (h, h), {"sizes": (0, 1), "state_range": (0, 1)}, "it returned a tuple"),
        (lambda x, h: h[:1], {"sizes": (0, 1), "state_range": (0, 1)}, "must return the next"),
        (lambda x, h: h, {"sizes": (0, 1)}, "does not move by itself; give a state_range"),
        (lambda x, h: h * np.inf, {"sizes": (0, 1), "state_range": (0, 1)}, "is not finite 1 st"),
        (lambda x, h: h, {"sizes": (1, 0)}, "h at least 1"),
        (np.eye(2), {"lags": ()}, "give at least one"),
        (np.eye(2), {"lags": (0, 1)}, "lags begin at 1"),
        (np.eye(2), {"lags": (1.5,)}, "whole numbers of steps"),
        (np.eye(2), {"perturb": "output"}, "perturb is 'state' or 'input'"),
        (np.eye(2), {"perturb": "input"}, "needs a model with inputs"),
        (np.eye(2), {"inputs": "none"}, "inputs is 'noise', 'fixed' or sequences"),
        (np.eye(2), {"inputs": np.ones((2, 3, 4))}, r"shape \(sequences, steps, 0\)"),
        (np.eye(2), {"state_range": (1, 0)}, "state_range of neuron 0"),
        (np.eye(2), {"state_range": np.zeros((3, 2))}, "one for each of the 2 neurons"),
        (np.eye(2), {"method": "exact", "lags": (1, 2)}, "lag 2 is none"),
        (np.eye(2), {"measures": "bounds"}, "'bounds' are for layers"),
        ({"weight": np.eye(2)}, {}, "must hold one recurrent network"),
        ({"weight_hh_l0": np.ones((10, 2)), "weight_ih_l0": np.ones((10, 2))}, {}, "gates"),
        (torch.nn.GRU(1, 1, bidirectional=True), {}, "runs both ways"),
        (torch.nn.GRU(1, 1), {"activation": "relu"}, "a module brings its own"),
        (torch.nn.Sequential(torch.nn.GRU(1, 1)), {}, r"give one of them \(model.0\)"),
        (torch.nn.Linear(2, 2), {}, r"sizes=\(inputs, state\) is needed"),
    ],
)
def test_bad_input(model, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        eiplane.through_time(model, samples=4096, **options)


def test_runs_are_taken_until_the_error_is_small_enough():
    """With a tolerance as with as many runs by hand; what is not reached is said."""
    options = {"lags": 2, "activation": "tanh", "method": "sample"}
    (once,) = eiplane.through_time(W, **options)
    assert once.converged is None
    (loose,) = eiplane.through_time(W, tol=1.0, **options)
    assert loose.converged and (loose.ei, loose.samples) == (once.ei, 1 << 16)
    tol = 0.7 * max(once.ei_stderr, once.ei_parts_stderr)
    options["measures"] = ("ei_parts", "ei")
    (fine,) = eiplane.through_time(W, tol=tol, **options)
    (by_hand,) = eiplane.through_time(W, samples=1 << 18, **options)
    assert fine.converged and (fine.ei, fine.ei_parts) == (by_hand.ei, by_hand.ei_parts)
    assert max(fine.ei_stderr, fine.ei_parts_stderr) <= tol
    (short,) = eiplane.through_time(W, tol=1e-9, samples=5000, **options)
    assert short.converged is False and short.samples == 5000
    with pytest.raises(ValueError, match="tol"):
        eiplane.through_time(W, tol=-1.0)


def test_a_tolerance_reaches_lags_that_are_a_layer():
    w = np.random.default_rng(3).normal(size=(3, 3))
    found = eiplane.through_time(w, lags=1, tol=0.02)
    assert found[0].converged and found[0].ei_stderr <= 0.02 and found[0].method == "exact"


SPREAD = np.array([[1.2, -1.6], [1.4, 0.8]])


def spreading(x, h):
    return np.tanh(h @ SPREAD.T) * 1.2


def counted_grid(lag, outliers, span=0.9, bins=4, points=700):
    """EI and the sum over edges, of a grid of states."""
    at = (np.arange(points) + 0.5) / points * 2 * span - span
    start = h = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    for _ in range(lag):
        h = spreading(None, h)
    inside = np.abs(h) <= span
    x, y = (np.clip((v + span) / (2 * span) * bins, 0, bins - 1).astype(int) for v in (start, h))

    clip = outliers == "clip"
    kept = [np.ones(len(h), bool) if clip else inside[:, b] for b in range(2)]
    both = kept[0] & kept[1]
    edges = [(x[kept[b], a], y[kept[b], b]) for a in range(2) for b in range(2)]
    whole = table(x[both] @ [bins, 1], y[both] @ [bins, 1])
    return information(whole), sum(information(table(*edge)) for edge in edges)


@pytest.mark.parametrize("outliers", ["clip", "drop"])
@pytest.mark.parametrize("estimator", ["conditional", "plugin"])
def test_runs_outside_are_clipped_or_left_out(outliers, estimator):
    found = eiplane.through_time(
        spreading, sizes=(0, 2), lags=(1, 2), bins=4, state_range=(-0.9, 0.9),
        outliers=outliers, estimator=estimator, samples=30_000,
    )  # fmt: skip
    for lag in (1, 2):
        ei, parts = counted_grid(lag, outliers)
        one = found.lag(lag)
        assert one.outliers == outliers and one.joint.estimator == estimator
        assert 0.1 < one.outlier_fraction < 0.7
        assert abs(one.ei - ei) < 4 * one.ei_stderr < 0.2
        assert abs(one.ei_parts - parts) < 4 * one.ei_parts_stderr < 0.1
        assert one.ei_bounds[0] <= ei <= one.ei_bounds[1]
        if outliers == "clip" or lag in found.matrices:  # after some states nothing may be kept
            assert found.matrices[lag].sum(axis=1) == pytest.approx(np.ones(16))


def test_where_no_run_is_kept_nothing_is_known_of_whole_vectors():
    with pytest.warns(eiplane.SaturationWarning, match="every sample is dropped"):
        found = eiplane.through_time(
            spreading, sizes=(0, 2), lags=1, bins=4, state_range=(5, 6), outliers="drop",
            samples=500,
        )  # fmt: skip
    one = found.lag(1)
    assert one.ei is None and one.ei_bounds == (0.0, 4.0) and not found.matrices
    assert one.outlier_fraction == 1.0


def test_a_linear_lag_drops_as_the_layer_that_it_is():
    weight = np.array([[1.5, 0.3], [-0.4, 1.2]])
    lag = eiplane.through_time(
        weight, activation="identity", lags=1, state_range=(0, 1), outliers="drop"
    ).lag(1)
    layer = eiplane.analyze([weight], activation="identity", out_range=(0, 1), outliers="drop")[0]
    assert lag.ei_edges == pytest.approx(layer.ei_edges, abs=1e-12)
    assert lag.sensitivity_edges == pytest.approx(layer.sensitivity_edges, abs=1e-12)


def test_what_a_lag_cannot_do_is_said():
    options = {"sizes": (0, 2), "state_range": (-1, 1)}
    with pytest.raises(ValueError, match="'wide' is for lags that are a single layer, and lag 2"):
        eiplane.through_time(spreading, lags=(2, 4), estimator="wide", **options)
    wide = eiplane.through_time(np.eye(2), activation="identity", lags=1, state_range=(0, 1),
                                estimator="wide")  # fmt: skip
    assert wide.lag(1).ei == pytest.approx(6.0)
    with pytest.raises(MemoryError, match="raise memory_limit"):
        eiplane.through_time(spreading, lags=1, memory_limit=1 << 20, **options)
    with pytest.raises(ValueError, match="outliers must be 'clip' or 'drop'"):
        eiplane.through_time(spreading, outliers="keep", **options)
