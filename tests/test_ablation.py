"""Edges and neurons taken away: what is left is what a second analysis finds, and nothing stays."""

import numpy as np
import pytest

import eiplane


def recomputed(layer, **options):
    """EI_parts of a layer without each edge, by analysing it anew."""
    whole = eiplane.analyze([layer], measures="ei_parts", **options)[0]
    fixed = options | {"in_range": whole.in_range, "out_range": whole.out_range}
    found = np.zeros(layer.weight.shape)
    for place in np.ndindex(found.shape):
        weight = np.array(layer.weight)
        weight[place] = 0.0
        cut = eiplane.Layer(
            weight, layer.bias, activation=layer.activation, name=layer.name, groups=layer.groups
        )
        found[place] = eiplane.analyze([cut], measures="ei_parts", **fixed)[0].ei_parts
    return found - whole.ei_parts


@pytest.mark.parametrize("seed", range(50))
def test_change_of_ei_parts_is_that_of_a_second_analysis(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 6, 2))
    weight = rng.normal(0, 3 / np.sqrt(shape[1]), shape)
    weight[rng.random(shape) < 0.1] = 0.0
    names = ("sigmoid", "tanh", "relu", "identity", "gelu", "softplus")
    layer = eiplane.Layer(weight, rng.normal(size=shape[0]), activation=names[seed % 6])
    options = {
        "bins": (int(rng.integers(2, 12)), int(rng.integers(2, 12))),
        "in_range": (-1.0, 1.0) if seed % 2 else (0.0, 2.0),
        "outliers": "drop" if seed % 5 == 4 else "clip",
    }
    found = eiplane.delta_ei_parts(layer, **options)
    assert found.shape == shape
    assert np.abs(found - recomputed(layer, **options)).max() < 1e-9


def test_change_of_a_convolution_and_with_activations_of_its_own():
    rng = np.random.default_rng(3)
    conv = eiplane.Layer(rng.normal(size=(4, 2, 2, 1)), activation="tanh", groups=2)
    found = eiplane.delta_ei_parts(conv, bins=4)
    assert found.shape == (4, 2, 2, 1)
    assert np.abs(found - recomputed(conv, bins=4)).max() < 1e-9
    mixed = eiplane.per_row(["relu", "sigmoid", "tanh"])
    own = eiplane.Layer(rng.normal(size=(3, 4)), activation=mixed)
    assert np.abs(eiplane.delta_ei_parts(own) - recomputed(own)).max() < 1e-9


def test_change_is_refused_for_pooled_layers():
    pooled = eiplane.Layer(np.ones((1, 1, 2, 2)), pool=eiplane.Pool("max", (2, 2)))
    with pytest.raises(ValueError, match="pool"):
        eiplane.delta_ei_parts(pooled)


WEIGHTS = [np.array([[3.0, 0.1, -2.0], [0.2, 1.0, 0.3]]), np.array([[1.5, -0.5]])]


def zeros(arrays):
    return [(np.asarray(a) == 0).tolist() for a in arrays]


def test_order_by_weight_and_what_is_removed():
    seen = []
    curve = eiplane.ablate(
        WEIGHTS, "weight", evaluate=lambda w: seen.append(zeros(w)) or 1.0, fraction=(0.5, 1.0)
    )
    assert curve.fractions.tolist() == [0.0, 0.5, 1.0]
    assert curve.removed.tolist() == [0, 4, 8]
    assert curve.total == 8
    assert seen[0] == [[[False] * 3] * 2, [[False] * 2]]
    assert seen[1] == [[[False, True, False], [True, False, True]], [[False, True]]]
    assert seen[2] == [[[True] * 3] * 2, [[True] * 2]]
    assert "50.0%" in str(curve)
    assert curve.to_dict()["removed"] == [0, 4, 8]
    assert np.all(WEIGHTS[0] != 0)


def test_scope_and_order():
    removed = {}
    for scope, order in (("network", "lowest"), ("network", "highest"), ("layer", "highest")):
        seen = []
        eiplane.ablate(
            WEIGHTS, "weight", evaluate=lambda w, s=seen: s.append(zeros(w)) or 0.0,
            fraction=0.5, scope=scope, order=order,
        )  # fmt: skip
        removed[scope, order] = seen[-1]
    assert removed["network", "lowest"] == [
        [[False, True, False], [True, False, True]], [[False, True]],
    ]  # fmt: skip
    assert removed["network", "highest"] == [
        [[True, False, True], [False, True, False]], [[True, False]],
    ]  # fmt: skip
    assert removed["layer", "highest"] == [
        [[True, False, True], [False, True, False]], [[True, False]],
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["ei", "sensitivity", "degeneracy", "delta_ei_parts"])
def test_order_by_a_measure_is_that_of_the_analysis(by):
    d = eiplane.analyze(WEIGHTS, measures=("ei_parts", "sensitivity"))
    first = d["0"]
    value = {
        "ei": first.ei_edges,
        "sensitivity": first.sensitivity_edges,
        "degeneracy": first.sensitivity_edges - first.ei_edges,
        "delta_ei_parts": -recomputed(eiplane.Layer(WEIGHTS[0])),
    }[by]
    expected = np.zeros((2, 3), bool)
    expected.flat[np.argsort(value, axis=None)[:2]] = True
    seen = []
    eiplane.ablate(
        WEIGHTS, by, evaluate=lambda w: seen.append(np.asarray(w[0]) == 0) or 0.0, fraction=1 / 3
    )
    assert np.array_equal(seen[-1], expected)


def test_neurons_and_their_biases():
    pairs = [(np.array([[3.0, 1.0], [0.2, 0.1]]), np.array([1.0, 2.0]))]
    seen = []
    options = {"by": "weight", "evaluate": lambda m: seen.append(m[0]) or 0.0, "fraction": 0.5}
    keep = []
    options["evaluate"] = lambda m: keep.append([np.array(x) for x in m[0]]) or 0.0
    eiplane.ablate(pairs, structure="outputs", **options)
    assert keep[-1][0].tolist() == [[3.0, 1.0], [0.0, 0.0]]
    assert keep[-1][1].tolist() == [1.0, 0.0]
    eiplane.ablate(pairs, structure="inputs", **options)
    assert keep[-1][0].tolist() == [[3.0, 0.0], [0.2, 0.0]]
    assert keep[-1][1].tolist() == [1.0, 2.0]


def test_mappings_layers_and_functions():
    state = {"a.weight": WEIGHTS[0].astype(np.float32), "a.bias": np.ones(2, np.float32)}
    seen = []
    eiplane.ablate(
        state, lambda name, weight: -weight, evaluate=lambda s: seen.append(s["a.weight"].copy())
        or 0.0, fraction=1 / 6, activation="relu",
    )  # fmt: skip
    assert seen[-1].tolist() == [
        [0.0, np.float32(0.1), -2.0],
        [np.float32(0.2), 1.0, np.float32(0.3)],
    ]
    layers = [eiplane.Layer(WEIGHTS[0], activation="tanh")]
    curve = eiplane.ablate(layers, "random", evaluate=lambda x: (x[0].matrix() != 0).sum())
    assert curve.scores.tolist() == [6 - c for c in curve.removed]
    assert np.all(layers[0].matrix() != 0)


def test_area():
    curve = eiplane.ablate(WEIGHTS, "weight", evaluate=lambda w: 2.0, fraction=(0.5, 1))
    assert curve.area == 2.0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"by": "size"}, "by must be"),
        ({"structure": "rows"}, "structure must be"),
        ({"fraction": 1.5}, "0 to 1"),
        ({"evaluate": lambda w: float("nan")}, "NaN"),
        ({"by": lambda name, w: w[0]}, "shape"),
    ],
)
def test_bad_input(options, error):
    with pytest.raises(ValueError, match=error):
        eiplane.ablate(WEIGHTS, **({"evaluate": lambda w: 0.0} | options))


def test_no_spans():
    with pytest.raises(TypeError, match="takes no spans"):
        eiplane.ablate(WEIGHTS, evaluate=lambda w: 0.0, spans="all")


def test_picture():
    pytest.importorskip("matplotlib").use("Agg")
    curves = [
        eiplane.ablate(WEIGHTS, by, evaluate=lambda w: float(w[0].sum()), rng=seed)
        for seed in range(2)
        for by in ("random", "weight")
    ]
    ax = eiplane.plot.ablation(curves, label="accuracy")
    assert [line.get_label() for line in ax.lines] == ["random", "weight"]
    expected = np.mean([c.scores for c in curves if c.by == "random"], axis=0)
    assert np.allclose(ax.lines[0].get_ydata(), expected)
    assert ax.get_ylabel() == "accuracy"


# -- modules


torch = pytest.importorskip("torch")
nn = torch.nn


def digest(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), ["0", "2"]),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)),
         ["0", "3"]),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double(), ["0", "2"]),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).bfloat16(), ["0", "2"]),
    ],
)  # fmt: skip
def test_modules_are_changed_for_the_score_and_put_back(make, names):
    torch.manual_seed(0)
    module = make()
    before = digest(module)
    seen = []

    def evaluate(m):
        assert m is module
        seen.append({n: (m.get_submodule(n).weight == 0).sum().item() for n in names})
        return 0.0

    size = (1, 1, 4, 4) if isinstance(module[0], nn.Conv2d) else None
    options = {"input_size": size} if size else {}
    curve = eiplane.ablate(module, "weight", evaluate=evaluate, fraction=(0.5, 1.0), **options)
    sizes = {n: module.get_submodule(n).weight.numel() for n in names}
    assert curve.layers == tuple(names)
    assert seen[1] == {n: round(s / 2) for n, s in sizes.items()}
    assert seen[2] == sizes
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())

    def fails(m):
        if (m.get_submodule(names[0]).weight == 0).any():
            raise RuntimeError("evaluation failed")
        return 0.0

    with pytest.raises(RuntimeError, match="evaluation failed"):
        eiplane.ablate(module, "weight", evaluate=fails, **options)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_inside_one_parameter_are_found():
    torch.manual_seed(1)
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    before = digest(module)
    d = eiplane.analyze(module, measures="ei_parts", input_size=(1, 3, 8))
    query = next(x.name for x in d if "in_proj" in x.name or "q" in x.name)
    seen = []
    eiplane.ablate(
        module, "ei", layers=query, fraction=1.0, input_size=(1, 3, 8),
        evaluate=lambda m: seen.append((m.self_attn.in_proj_weight == 0).sum().item()) or 0.0,
    )  # fmt: skip
    assert seen == [0, 64]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.plain = nn.Linear(2, 2)

    def forward(self, x):
        weight = torch.softmax(self.inner.weight, dim=1)
        return self.plain(torch.relu(nn.functional.linear(x, weight)))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_that_are_computed_are_left_whole_and_said_to_be():
    curve = eiplane.ablate(Scaled(), "weight", evaluate=lambda m: 0.0, fraction=0.5)
    assert curve.layers == ("plain",)
    assert any("inner" in text for text in curve.skipped)
