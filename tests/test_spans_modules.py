"""Parts of a module as spans: against the module itself, what surrounds them, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import eiplane

torch = pytest.importorskip("torch")
nn = torch.nn


class Block(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.a, self.b = nn.Linear(n, n), nn.Linear(n, n)

    def forward(self, x):
        return x + self.b(torch.tanh(self.a(x)))


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def residual():
    return nn.Sequential(
        nn.Linear(6, 4), nn.Sigmoid(), Block(4), nn.Tanh(), nn.Linear(4, 2), nn.Sigmoid()
    )


def called(function, x):
    with torch.no_grad():
        return (
            function(torch.tensor(x.T, dtype=torch.float32))
            .double()
            .numpy()
            .reshape(x.shape[1], -1)
            .T
        )


def edges(x, y, ranges, bins=8):
    found = [[eiplane.mutual_information(a, b, bins=bins, range=ranges) for a in x] for b in y]
    return np.array(found)


def test_a_residual_block_against_the_module_itself():
    model = seeded(residual)
    part = nn.Sequential(model[2], model[3])
    d = eiplane.analyze(model, spans=[("2", "3")], measures="degeneracy", samples=1 << 15)
    found = d["2..3"]
    assert (found.in_range, found.range_source, found.out_range) == (
        (0.0, 1.0),
        "activation",
        (-1.0, 1.0),
    )
    assert (found.n_in, found.n_out) == (4, 4)
    x = np.random.default_rng(1).random((4, 300_000))
    truth = edges(x, called(part, x), ((0, 1), (-1, 1)))
    error = np.abs(found.ei_edges - truth)
    assert (error < 5 * found.pairwise_ei.edges_stderr + 2e-3).all()
    u = (np.arange(80_000) + 0.5) / 80_000
    for a in range(4):
        x = np.zeros((4, len(u)))
        x[a] = u
        truth = edges(u[None], called(part, x), ((0, 1), (-1, 1)))[:, 0]
        error = np.abs(found.sensitivity_edges[:, a] - truth)
        assert (error < 5 * found.pairwise_sensitivity.edges_stderr[:, a] + 2e-3).all()
    sigma = found.sensitivity_stderr
    assert 0 < sigma < 0.1


def test_it_agrees_with_the_chain_that_it_is():
    """A part that is a chain of dense layers too, by name of the activations."""
    model = seeded(lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2), nn.Sigmoid()))
    options = {"measures": "degeneracy", "samples": 1 << 15}
    part = eiplane.analyze(model, spans=[("0", "3")], **options)[0]
    chain = eiplane.analyze(model, spans=[("0", "2")], **options)[0]
    assert (part.name, chain.name) == ("0..3", "0..2")
    assert (part.activation, chain.activation) == ("Sigmoid", "sigmoid")
    error = np.hypot(part.pairwise_ei.edges_stderr, chain.pairwise_ei.edges_stderr)
    assert (np.abs(part.ei_edges - chain.ei_edges) < 5 * error).all()
    error = 5 * part.pairwise_sensitivity.edges_stderr + 1e-3
    assert (np.abs(part.sensitivity_edges - chain.sensitivity_edges) < error).all()


def test_what_does_not_come_from_there_is_that_of_the_example():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gate = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.end = nn.Sigmoid()

        def forward(self, x):
            return self.end(8 * (self.first(x) - 0.5) * self.gate(x))

    model = Gated()
    with torch.no_grad():
        model.first.weight.copy_(torch.eye(2))
        model.gate.weight.copy_(torch.eye(2))
    example = torch.tensor([[1.0, 0.0], [5.0, 5.0]])
    d = eiplane.analyze(model, spans=[("first", "end")], input_data=example, measures="ei_parts",
                        in_range={"first": (0, 1)}, samples=4096)  # fmt: skip
    found = d[0].ei_edges
    assert found[0, 0] > 2.0  # its gate is open in the first sample
    assert np.abs(found - np.diag([found[0, 0], 0])).max() < 0.01


def test_convolutions_and_branches():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 2, 3, padding=1)
            self.left, self.right = nn.Conv2d(2, 1, 1), nn.Conv2d(2, 1, 3, padding=1)
            self.end = nn.Sigmoid()

        def forward(self, x):
            h = torch.relu(self.stem(x))
            return self.end(self.left(h) * self.right(h))

    model = seeded(Branches)
    d = eiplane.analyze(model, spans=[("stem", "end")], input_size=(1, 4, 4),
                        measures=("ei_parts", "ei"), samples=8192, bins=4)  # fmt: skip
    found = d[0]
    assert found.ei_edges.shape == (16, 16)
    assert found.in_range == (0, 1)
    x = np.random.default_rng(1).random((16, 60_000))
    y = called(lambda v: model(v.reshape(-1, 1, 4, 4)), x)[5:7]
    error = np.abs(found.ei_edges[5:7] - edges(x, y, ((0, 1), (0, 1)), 4))
    assert (error < 5 * found.pairwise_ei.edges_stderr[5:7] + 1e-3).all()
    assert found.ei is None
    y = called(lambda v: model(v.reshape(-1, 1, 4, 4)), x)
    _, counts = np.unique((np.clip(y, 0, 0.999999) * 4).astype(int), axis=1, return_counts=True)
    entropy = -(counts / counts.sum() * np.log2(counts / counts.sum())).sum()
    low, high = found.output_entropy_bounds
    assert low - 0.01 <= entropy <= high
    assert 0 <= found.ei_bounds[0] <= found.ei_bounds[1] <= high < 1.0


def test_a_sequence_is_no_batch(generator):
    """Attention takes (steps, features) too, and would mix what are meant for samples."""
    model = seeded(
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Sequential(nn.Tanh())
        )
    ).eval()
    options = {"spans": [("0", "1")], "measures": "ei_parts", "in_range": (-1, 1)}
    found = eiplane.analyze(model, input_size=(3, 4), **options)[0]
    assert (found.n_in, found.n_out, found.out_range) == (12, 12, (-1.0, 1.0))
    x = generator.uniform(-1, 1, size=(12, 60_000))
    y = called(lambda v: model(v.reshape(-1, 3, 4)), x)[:2]
    error = np.abs(found.ei_edges[:2] - edges(x, y, ((-1, 1), (-1, 1))))
    assert (error < 5 * found.pairwise_ei.edges_stderr[:2] + 2e-3).all()
    with pytest.raises(ValueError, match="a sample depends on the other ones"):
        eiplane.analyze(model, input_data=torch.zeros(3, 4), **options)


def test_sizes_without_samples_and_parts_in_the_wrong_order():
    model = nn.Sequential(nn.Identity(), nn.Linear(5, 2), nn.Sigmoid())
    options = {"measures": "ei_parts", "samples": 1024, "in_range": (0, 1)}
    found = eiplane.analyze(model, spans=[("0", "2")], input_size=(5,), **options)[0]
    assert (found.n_in, found.n_out) == (5, 2)
    with pytest.raises(ValueError, match="'0' is run before '2'"):
        eiplane.analyze(model, spans=[("2", "0")], input_size=(5,), **options)


def test_the_module_is_afterwards_as_it_was():
    model = seeded(
        lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.Tanh())
    )
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    options = {"spans": [("0", "3")], "measures": "degeneracy", "samples": 2048}
    d = eiplane.analyze(model, **options)
    again = eiplane.analyze(model, **options)
    other = eiplane.analyze(model, rng=1, **options)
    assert np.array_equal(d[0].ei_edges, again[0].ei_edges)
    assert not np.array_equal(d[0].ei_edges, other[0].ei_edges)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_errors_are_what_they_say():
    model = seeded(residual, 3)
    options = {"spans": [("2", "3")], "measures": "degeneracy"}
    truth = eiplane.analyze(model, rng=99, samples=1 << 18, **options)[0]
    ratios = {"ei_parts": [], "sensitivity": []}
    for seed in range(40):
        found = eiplane.analyze(model, rng=seed, samples=4096, **options)[0]
        for name, kept in ratios.items():
            off = getattr(found, name) - getattr(truth, name)
            error = np.hypot(getattr(found, f"{name}_stderr"), getattr(truth, f"{name}_stderr"))
            kept.append(off / error)
    for kept in ratios.values():
        assert 0.7 < np.sqrt(np.mean(np.square(kept))) < 1.3


def test_ranges():
    model = seeded(residual)
    with pytest.raises(ValueError, match=r"what '4' gives is not known; give out_range=\{'4'"):
        eiplane.analyze(model, spans=[("2", "4")], samples=2048)
    with pytest.raises(ValueError, match=r"goes into '3' is not known; give in_range=\{'3'"):
        eiplane.analyze(model, spans=[("3", "5")], samples=2048)
    options = {"measures": "ei_parts", "samples": 2048}
    given = eiplane.analyze(model, spans=[("2", "4")], in_range={"2": (0, 0.5)},
                            out_range={"4": (-2, 2)}, **options)[0]  # fmt: skip
    assert (given.in_range, given.out_range, given.range_source) == ((0, 0.5), (-2, 2), "given")
    data = torch.rand(500, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = model[:2](data)
        out = model[2:5](hidden)
    seen = eiplane.analyze(model, spans=[("2", "4")], ranges="data", quantiles=(0, 1),
                           input_data=data, **options)[0]  # fmt: skip
    assert seen.range_source == "data"
    assert seen.in_range == pytest.approx((float(hidden.min()), float(hidden.max())))
    assert seen.out_range == pytest.approx((float(out.min()), float(out.max())), rel=1e-6)


def test_dropped_outliers_and_tolerance():
    model = seeded(residual)
    options = {"spans": [("2", "2")], "measures": "ei_parts"}
    clip, drop = (
        eiplane.analyze(model, out_range={"2": (0.2, 0.6)}, outliers=o, samples=8192, **options)[0]
        for o in ("clip", "drop")
    )
    assert clip.pairwise_ei.outlier_fraction == drop.pairwise_ei.outlier_fraction > 0.2
    x = np.random.default_rng(2).random((4, 400_000))
    y = called(model[2], x)
    kept = (y[0] >= 0.2) & (y[0] <= 0.6)
    truth = edges(x[:, kept], y[:1, kept], ((0, 1), (0.2, 0.6)))[0]
    assert (np.abs(drop.ei_edges[0] - truth) < 5 * drop.pairwise_ei.edges_stderr[0] + 2e-3).all()
    fine = eiplane.analyze(model, out_range={"2": (-1, 2)}, tol=0.01, **options)[0]
    assert fine.ei_parts_stderr <= 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exact"}, "is no chain of dense layers, and method='exact' is for those"),
        ({"noise": 0.1}, "is no chain of dense layers, and noise is for those"),
        ({"spans": [("2", "nowhere")]}, "no layer"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        eiplane.analyze(seeded(residual), **{"spans": [("2", "3")], "samples": 2048} | options)


@pytest.mark.filterwarnings("ignore:1 part was not analysed")
def test_ways_that_are_none():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.twice, self.flat = nn.Embedding(4, 3), nn.Linear(3, 3), nn.Linear(3, 1)
            self.end = nn.Tanh()

        def forward(self, x):
            h = self.twice(torch.relu(self.twice(self.emb(x)))).sum(dim=1)
            return self.end(self.flat(h)).sum(dim=0)

    model, data = seeded(Odd), torch.zeros((2, 5), dtype=torch.long)
    options = {"input_data": data, "samples": 2048, "in_range": (0, 1)}
    for span, message in (
        (("emb", "end"), "'emb' does not take a tensor of floating-point"),
        (("twice", "end"), "'twice' is run 2 times"),
    ):
        with pytest.raises(ValueError, match=message):
            eiplane.analyze(model, spans=[span], **options)
    wide = seeded(lambda: nn.Sequential(nn.Linear(3000, 3000), nn.Tanh()))
    with pytest.raises(ValueError, match="9000000 edges, and at most"):
        eiplane.analyze(wide, spans=[("0", "1")], measures="ei_parts")


class Functional(nn.Module):
    """A residual block whose operations are no modules."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x):
        y = torch.relu(self.up(x))
        return torch.tanh(torch.add(self.down(y), x).mul_(2.0))


def traced_by(way, model):
    if way == "torch.fx":
        return torch.fx.symbolic_trace(model)
    size = {"x": {0: torch.export.Dim("batch")}}
    return torch.export.export(model, (torch.full((2, 3), 0.25),), dynamic_shapes=size)


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
@pytest.mark.parametrize("way", ["torch.fx", "torch.export"])
def test_tensors_of_a_graph_are_ends_of_spans_too(way):
    model = seeded(Functional)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.5)
    traced = traced_by(way, model)
    before = [(n.op, str(n.target)) for n in traced.graph.nodes]
    held = np.full((1, 3), 0.25, np.float32)
    options = {"measures": "ei_parts", "samples": 1 << 13, "input_data": held}
    d = eiplane.analyze(
        traced, spans=[("x", "tanh"), ("relu", "tanh")], in_range={"relu": (-2, 2)}, **options
    )
    assert [(n.op, str(n.target)) for n in traced.graph.nodes] == before
    x = np.random.default_rng(0).random((3, 60_000))
    y = np.random.default_rng(1).uniform(-2, 2, (4, 60_000))
    skip = torch.tensor(held)
    ways = (
        ("x..tanh", x, (0, 1), called(model, x)),
        (
            "relu..tanh", y, (-2, 2),
            called(lambda v: torch.tanh(2 * (model.down(torch.relu(v)) + skip)), y),
        ),
    )  # fmt: skip
    for title, given, span, made in ways:
        found = d[title]
        assert (found.in_range, found.out_range) == (span, (-1, 1))  # tanh's is known
        truth = edges(given, made, (span, (-1, 1)))
        off = 5 * found.pairwise_ei.edges_stderr + 6e-3
        assert (np.abs(found.ei_edges - truth) < off).all()
        assert truth.max() > 0.05


def test_a_function_of_that_name_has_no_known_range():
    def tanh(x):
        return 3 * x

    graph = torch.fx.Graph()
    graph.output(graph.call_function(tanh, (graph.call_module("0", (graph.placeholder("x"),)),)))
    module = torch.fx.GraphModule({"0": nn.Linear(2, 2)}, graph)
    with pytest.raises(ValueError, match="the range of what 'tanh' gives is not known"):
        eiplane.analyze(module, spans=[("x", "tanh")], measures="ei_parts")


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_graphs_that_cannot_be_run_in_part():
    model = seeded(Functional)
    bound = torch.export.export(model, (torch.zeros(2, 3),))
    with pytest.raises(ValueError, match="takes 2 samples at a time; export it with dynamic"):
        eiplane.analyze(bound, spans=[("relu", "tanh")])
    scripted = torch.jit.script(seeded(residual).eval())
    with pytest.raises(ValueError, match="give the one that it was made of"):
        eiplane.analyze(scripted, spans=[("2", "3")], input_size=(1, 6))
    with pytest.raises(ValueError, match="no layer 'nowhere'"):
        eiplane.analyze(torch.fx.symbolic_trace(model), spans=[("relu", "nowhere")])
