"""Maps of what does not depend on the network's input: tables of coordinates, learnt queries."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import eiplane  # noqa: E402
from eiplane.analyze import Plan  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.run import Settings  # noqa: E402

X = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(1))


class Positions(nn.Module):
    """A small network of positions, what it gives added to scores as those of an attention."""

    def __init__(self, table):
        super().__init__()
        if isinstance(table, nn.Parameter):
            self.table = table
        elif table is not None:
            self.register_buffer("table", table)
        self.a, self.b = nn.Linear(1, 5), nn.Linear(5, 6)
        self.q, self.out = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        table = getattr(self, "table", None)
        if table is None:
            table = torch.linspace(-1, 3, 6)[:, None]
        bias = 16 * torch.sigmoid(self.b(torch.relu(self.a(table))))
        return self.out(torch.softmax(self.q(x) + bias[[3, 1, 2, 0, 5, 4]], -1))


TABLES = {
    "buffer": torch.linspace(-1, 3, 6)[:, None],
    "parameter": nn.Parameter(torch.linspace(-1, 3, 6)[:, None]),
    "made in the forward pass": None,
}


def extracted(module, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module.eval(), ExtractOptions(input_data=X, **options))
    plan = Plan(found.network, Settings("sensitivity", in_range=(0.0, 1.0)))
    spans = {str(n): plan.in_range(i) for i, n in enumerate(found.network.names)}
    return {str(layer.name): layer.load() for layer in found.network}, spans, found.skipped, plan


@pytest.mark.parametrize("table", TABLES)
def test_a_network_of_positions_is_layers(table):
    torch.manual_seed(0)
    module = Positions(TABLES[table])
    layers, spans, skipped, plan = extracted(module)
    assert skipped == ()
    assert list(layers) == ["a", "b", "q", "out"]
    assert layers["a"].activation.name == "relu"
    assert spans["a"] == (-1.0, 3.0)
    assert {plan.range_source(i) for i in range(4)} == {"interval", "activation", "given"}
    # What follows, by the module itself: the scores' softmax undone but for a constant of each row.
    at = np.linspace(-1, 3, 6)[:, None]
    mine = layers["b"](layers["a"](at))
    with torch.no_grad():
        module.out = nn.Identity()
        shares = np.log(module(X).double().numpy())
        scores = shares - module.q(X).double().numpy()
    scores, mine = scores - scores[..., :1], mine[[3, 1, 2, 0, 5, 4]]
    np.testing.assert_allclose(scores, np.broadcast_to(mine - mine[:, :1], scores.shape), atol=1e-4)


@pytest.mark.parametrize("table", TABLES)
def test_sensitivity_of_a_map_of_a_table_is_counted(table):
    torch.manual_seed(0)
    module = Positions(TABLES[table])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = eiplane.analyze(module, measures="sensitivity", input_data=X, bins=8)
    layer = next(r for r in found if r.name == "a")
    x = -1 + (np.arange(1 << 16) + 0.5) / (1 << 16) * 4
    with torch.no_grad():
        y = torch.relu(module.a(torch.from_numpy(x)[:, None].float())).double().numpy()
    low, high = layer.out_range
    for row in range(5):
        counts = np.histogram2d(
            x, np.clip(y[:, row], low, high), bins=8, range=[(-1, 3), (low, high)]
        )[0]
        p = counts / counts.sum()
        outer = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
        bits = (p[p > 0] * np.log2(p[p > 0] / outer[p > 0])).sum()
        assert layer.sensitivity_edges[row, 0] == pytest.approx(bits, abs=2e-3)


class Merged(nn.Module):
    """Weights that are computed of several parameters, or of a table: no layers of their own."""

    def __init__(self, how):
        super().__init__()
        self.base, self.fc, self.how = nn.Linear(4, 4), nn.Linear(4, 3), how
        self.a = nn.Parameter(torch.randn(2, 4))
        self.b = nn.Parameter(torch.randn(4, 2))
        self.register_buffer("table", torch.randn(4, 2))

    def forward(self, x):
        product = self.b @ self.a if self.how == "low rank" else self.table @ self.a
        return self.fc(torch.relu(x @ (self.base.weight + product).t() + self.base.bias))


@pytest.mark.parametrize("how", ["low rank", "table"])
def test_a_weight_that_is_computed_is_no_map_of_constants(how):
    torch.manual_seed(0)
    module = Merged(how)
    layers, _, skipped, _ = extracted(module)
    first, last = layers.values()
    assert first.activation.name == "relu"
    x = np.random.default_rng(0).normal(size=(9, 4))
    with torch.no_grad():
        wanted = module(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(last(first(x)), wanted, atol=1e-5)
    assert not any(s.name in ("a", "b") for s in skipped if "depend" in s.reason)


def test_what_a_map_of_constants_would_take_from_another_layer_stays_there():
    """A second bias belongs to the layer that it is added to, and its relu with it."""

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.shift, self.out = nn.Linear(4, 5), nn.Linear(2, 5), nn.Linear(5, 2)
            self.register_buffer("table", torch.tensor([0.3, -1.2]))

        def forward(self, x):
            return self.out(torch.relu(self.fc(x) + self.shift(self.table)))

    torch.manual_seed(0)
    module = Shifted()
    layers, _, skipped, _ = extracted(module)
    assert layers["fc"].activation.name == "relu"
    assert [s.name for s in skipped] == ["shift"]
    x = np.random.default_rng(0).normal(size=(9, 4))
    with torch.no_grad():
        wanted = module(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(layers["out"](layers["fc"](x)), wanted, atol=1e-5)


def test_a_constant_that_does_not_vary_is_no_range():
    class One(Positions):
        def forward(self, x):
            return self.out(self.q(x) + self.b(self.a(torch.ones(1))))

    layers, _, skipped, _ = extracted(One(None))
    assert {"q", "out"} <= set(layers)
    assert "a" in {s.name for s in skipped}


def test_ranges_from_data_of_a_map_of_a_table():
    torch.manual_seed(0)
    module = Positions(TABLES["buffer"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module.eval(), ExtractOptions(input_data=[X, X + 1], quantiles=(0, 1)))
    plan = Plan(found.network, Settings("sensitivity", ranges="data"))
    assert plan.in_range(0) == pytest.approx((-1.0, 3.0))
    with torch.no_grad():
        seen = torch.relu(module.a(module.table)).numpy()
    assert plan.in_range(1) == pytest.approx((float(seen.min()), float(seen.max())), abs=1e-6)
