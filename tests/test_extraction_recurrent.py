"""Recurrent layers inside scripts, traces and graphs, and what they begin with."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from eiplane.analyze import Plan  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.run import Settings  # noqa: E402

X = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(1))


class Sequence(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.inner = kind(5, 4, batch_first=True, **options)
        self.out = nn.Linear(4 * (2 if options.get("bidirectional") else 1), 2)

    def forward(self, x):
        return self.out(self.inner(x)[0])


class Steps(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner, self.out = kind(5, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 4)
        for t in range(x.shape[1]):
            h = self.inner(x[:, t], h)
        return self.out(h)


def extracted(module, x=X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module, ExtractOptions(input_data=x))
    assert found.skipped == ()
    return {str(layer.name): layer.load() for layer in found.network}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def by_hand(layers, x, kind, way=""):
    """Run the gates of one direction over one sequence, by the equations of torch's manual."""

    def pre(side, letter, value):
        suffix = "" if kind == "RNN" else f".{letter}"
        layer = layers[f"inner.weight_{side}{way}{suffix}"]
        return layer.weight.astype(float) @ value, layer.offsets(), layer.activation

    h, states = np.zeros(4), []
    for at in x:
        gates = {}
        for letter in {"RNN": "t", "GRU": "rzn"}[kind]:
            (a, b, act), (c, d, other) = pre("ih", letter, at), pre("hh", letter, h)
            if letter == "n":
                assert other.name == "identity"
                gates[letter] = act(a + b + gates["r"] * (c + d))
            else:
                assert other.name == act.name
                np.testing.assert_allclose(b, d)  # each has the whole bias
                gates[letter] = act(a + c + b)
        h = gates["t"] if kind == "RNN" else (1 - gates["z"]) * gates["n"] + gates["z"] * h
        states.append(h)
    return np.stack(states)


FORMS = {
    "scripted": torch.jit.script,
    "traced": lambda module: torch.jit.trace(module, X),
    "exported": lambda module: torch.export.export(module, (X,)),
    "compiled": lambda module: torch.compile(module, backend="eager"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_gates_of_layers_and_cells_in_other_forms(kind, form):
    torch.manual_seed(0)
    cell = Steps(getattr(nn, f"{kind}Cell")).eval()
    layer = Sequence(getattr(nn, kind)).eval()
    # A trace has the operators that a cell is made of: a linear map each, with no gates.
    for module, way in ((layer, "_l0"), (cell, ""))[: 1 if form == "traced" else 2]:
        layers = extracted(FORMS[form](module))
        states = by_hand(layers, X[0].double().numpy(), kind, way)
        last = layers["out"](states[-1:])[0]
        seen = module(X)[0].detach().numpy()
        np.testing.assert_allclose(last, seen[-1] if way else seen, atol=1e-6)
        plain = extracted(module)
        assert {n: (a.activation.name, a.shape) for n, a in layers.items()} == {
            n: (a.activation.name, a.shape) for n, a in plain.items()
        }


@pytest.mark.filterwarnings("ignore")
def test_a_script_of_several_layers_and_directions():
    torch.manual_seed(0)
    module = Sequence(nn.GRU, num_layers=2, bidirectional=True).eval()
    layers, plain = extracted(torch.jit.script(module)), extracted(module)
    assert len(layers) == 2 * 2 * 6 + 1
    assert list(layers) == list(plain)
    for way in ("_l0", "_l0_reverse"):
        x = X[1].double().numpy()
        states = by_hand(layers, x[::-1] if "reverse" in way else x, "GRU", way)
        seen = module.inner(X)[0]
        with torch.no_grad():
            first = nn.GRU(5, 4, batch_first=True, bidirectional=True).eval()
            first.load_state_dict({n: p for n, p in module.inner.named_parameters() if "l0" in n})
            seen = first(X)[0][1].numpy()
        mine = seen[::-1, 4:] if "reverse" in way else seen[:, :4]
        np.testing.assert_allclose(states, mine, atol=1e-6)


class Begun(nn.Module):
    def __init__(self, kind, start, loop=False):
        super().__init__()
        self.first, self.out = nn.Linear(5, 4), nn.Linear(4, 2)
        self.kind, self.start, self.loop = kind, start, loop
        self.inner = getattr(nn, f"{kind}Cell")(5, 4) if loop else getattr(nn, kind)(5, 4)

    def forward(self, x):
        h = self.start(self.first(x[0]))
        if not self.loop:
            h = (h[None], h[None]) if self.kind == "LSTM" else h[None]
            return self.out(self.inner(x, h)[0])
        for step in x:
            h = self.inner(step, h)
        return self.out(h)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("kind", ["GRU", "RNN", "LSTM"])
@pytest.mark.parametrize(
    "start", [lambda h: 5 * torch.tanh(h), lambda h: torch.full_like(h, 3.0), torch.zeros_like],
    ids=["signal", "constant", "zero"],
)  # fmt: skip
def test_the_first_state_counts_among_hidden_states(kind, start, loop):
    if kind == "LSTM" and loop:
        loop = False  # its cell takes two states
    torch.manual_seed(0)
    module = Begun(kind, start, loop).eval()
    x = X.transpose(0, 1).contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = to_network(module, ExtractOptions(input_data=x)).network
    plan = Plan(network, Settings("sensitivity", in_range=(0.0, 1.0)))
    spans = {str(n): plan.in_range(i) for i, n in enumerate(network.names)}
    began = {"signal": (-5.0, 5.0), "constant": (-1.0, 3.0), "zero": (-1.0, 1.0)}
    name = "signal" if start(torch.ones(1)) > 3 else "constant" if start(torch.ones(1)) else "zero"
    hidden = [s for n, s in spans.items() if "weight_hh" in n]
    assert hidden
    np.testing.assert_allclose(hidden, [began[name]] * len(hidden))
    # A GRU may stay where it began; the others have forgotten it after one step.
    after = began[name] if kind == "GRU" else (-1.0, 1.0)
    np.testing.assert_allclose(spans["out"], after)
    with torch.no_grad():
        seen = module.inner(x, None)[0] if not loop else module.inner(x[0], None)
    assert np.abs(seen.numpy()).max() <= 1
