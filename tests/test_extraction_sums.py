"""Linear maps of one input that are summed: one layer, held against the module itself."""

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from swept import Net  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import eiplane  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402


class Adapted(nn.Module):
    """A linear layer with a low-rank adapter, as PEFT writes it."""

    def __init__(self, n_in, n_out, rank=2):
        super().__init__()
        self.base_layer = nn.Linear(n_in, n_out)
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.3)})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(n_in, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, n_out, bias=False)})
        self.scaling = {"default": 1.5}

    def forward(self, x):
        result = self.base_layer(x)
        low = self.lora_A["default"](self.lora_dropout["default"](x))
        return result + self.lora_B["default"](low) * self.scaling["default"]


def extracted(module, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_network(module.eval(), ExtractOptions(**options))


def in_place(s, x):
    h = s.a(x)
    h += 0.5 * s.d(s.c(x))
    h.sub_(s.b(x), alpha=2)
    return torch.tanh(h)


G = torch.rand(5, generator=torch.Generator().manual_seed(0)) + 0.5

#: What a hidden layer of five is of six inputs, and the names that the merged one may have.
SUMS = {
    "adapter": (lambda s, x: torch.relu(s.q(x)), "q.base_layer+q.lora_B.default"),
    "branches": (lambda s, x: torch.relu(s.a(x) + s.b(x)), "a+b"),
    "difference": (lambda s, x: F.gelu(s.b(x) / 3 - s.a(x) + 0.25), "b+a"),
    "in place": (in_place, "a+d+b"),
    "three": (lambda s, x: torch.sigmoid(sum([s.a(x), s.b(x), 0.1 * s.a(x)])), "a+b+a"),
    "by row": (lambda s, x: torch.relu(s.a(x) * G + s.b(x)), "a+b"),
    "product": (lambda s, x: torch.addmm(s.a(x), x, s.w, beta=0.5, alpha=2).tanh(), "w+a"),
    "reshaped": (
        lambda s, x: F.silu(s.a(x) + s.b(x.unsqueeze(1)).squeeze(1)), "a+b",
    ),
    "chain": (lambda s, x: torch.relu(s.a(x) + s.e(s.a(x))), "a+e"),
    "lerp": (lambda s, x: torch.relu(torch.lerp(s.a(x), s.b(x), 0.3)), "a+b"),
}  # fmt: skip


def module_of(function):
    torch.manual_seed(5)
    return Net(
        lambda s, x: s.o(function(s, x)), q=Adapted(6, 5), a=nn.Linear(6, 5), b=nn.Linear(6, 5),
        c=nn.Linear(6, 2), d=nn.Linear(2, 5, bias=False), e=nn.Linear(5, 5),
        w=nn.Parameter(torch.randn(6, 5)), o=nn.Linear(5, 2),
    ).eval()  # fmt: skip


def mutual_information(a, b):
    table = np.zeros((8, 8))
    np.add.at(table, (a, b), 1.0 / len(a))
    rows, columns = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
    there = table > 0
    return float((table[there] * np.log2(table[there] / (rows * columns)[there])).sum())


def binned(values, low, high):
    return np.clip(np.floor((values - low) / (high - low) * 8), 0, 7).astype(int)


@pytest.mark.parametrize("kind", SUMS)
def test_a_sum_of_maps_is_one_layer_beside_its_parts(kind):
    function, name = SUMS[kind]
    module = module_of(function)
    found = extracted(module, input_size=(7, 6))
    made = {layer.name: layer for layer in found.network}
    assert set(name.split("+")) <= set(made), "the parts are there too"
    assert not any(s.name in made or "+" in s.name for s in found.skipped)
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        real = function(module, x).double().numpy()
    np.testing.assert_allclose(made[name](x.double().numpy()), real, atol=2e-6)
    # One input swept, the others at 0, counted: what the module itself does.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (result,) = eiplane.analyze(
            module, layers=[name], measures="sensitivity", input_size=(7, 6)
        )
    steps = (np.arange(4096) + 0.5) / 4096
    for a in range(6):
        swept = np.zeros((4096, 6), dtype=np.float32)
        swept[:, a] = steps
        with torch.no_grad():
            y = function(module, torch.from_numpy(swept)).double().numpy()
        for b in range(5):
            counted = mutual_information(binned(steps, 0, 1), binned(y[:, b], *result.out_range))
            assert result.sensitivity_edges[b, a] == pytest.approx(counted, abs=0.02)


def test_what_follows_a_sum_has_its_range_and_its_name():
    module = module_of(SUMS["adapter"][0])
    network = extracted(module, input_size=(7, 6)).network
    assert network.sources["o"] == ("q.base_layer+q.lora_B.default",)
    assert network.straight == {"q.lora_B.default", "o"}
    strict = to_network(nn.Sequential(copy.deepcopy(module.q)), ExtractOptions(strict=True))
    assert strict.network.names[-1] == "0.base_layer+0.lora_B.default"


@pytest.mark.parametrize(
    "function",
    [
        lambda s, x: torch.relu(s.a(x) + s.b(x.flip(-1))),
        lambda s, x: torch.relu(s.a(x) + s.b(x.roll(1, 0))),
        lambda s, x: torch.relu(s.a(x)[1:] + s.b(x)[:-1]),
        lambda s, x: torch.relu(s.a(x) * s.b(x)),
        lambda s, x: torch.relu(s.a(x) + s.d(torch.tanh(s.c(x)))),
        lambda s, x: (lambda z: torch.relu(z + z.flip(-1)))(s.a(x)),
        lambda s, x: torch.relu(torch.maximum(s.a(x), s.b(x))),
        lambda s, x: torch.relu(s.a(x) + s.b(torch.cat([x[:, :5], x[:, :1]], 1))),
    ],
)
def test_sums_of_maps_of_something_else_are_none(function):
    found = extracted(module_of(function), input_size=(7, 6))
    assert not any("+" in name for name in found.network.names)
    assert all(x.activation.name in ("identity", "tanh") for x in found.network)


def test_a_sum_that_something_unknown_follows_is_listed_and_its_parts_are_not():
    module = module_of(lambda s, x: torch.cummax(s.a(x) + s.b(x), 1)[0])
    found = extracted(module, input_size=(7, 6))
    assert {"a", "b"} <= set(found.network.names)
    assert {s.name: s.reason for s in found.skipped}["a+b"].startswith("its output goes to cummax")


def shaken(module):
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for t in (part.weight, part.running_var):
                nn.init.uniform_(t, 0.5, 2)
            for t in (part.bias, part.running_mean):
                nn.init.uniform_(t, -1, 1)
    return module.eval()


CONVOLUTIONS = {
    "repvgg": (
        lambda s, x: F.relu(s.n1(s.c3(x)) + s.n2(s.c1(x))), 3,
        {"c3": nn.Conv2d(3, 4, 3, padding=1), "c1": nn.Conv2d(3, 4, 1),
         "n1": nn.BatchNorm2d(4), "n2": nn.BatchNorm2d(4)},
    ),
    "adapter": (
        lambda s, x: torch.tanh(s.c3(x) + 2 * s.up(s.down(x))), 3,
        {"c3": nn.Conv2d(3, 4, 3, padding=1, stride=2), "up": nn.Conv2d(2, 4, 1, bias=False),
         "down": nn.Conv2d(3, 2, 3, padding=1, stride=2, bias=False)},
    ),
    "groups": (
        lambda s, x: torch.sigmoid(s.c3(x) - s.g(x)), 3,
        {"c3": nn.Conv2d(3, 6, 3, padding=2, dilation=2),
         "g": nn.Conv2d(3, 6, 3, padding=2, dilation=2, groups=3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_that_are_summed(kind):
    torch.manual_seed(3)
    function, size, parts = CONVOLUTIONS[kind]
    module = shaken(Net(lambda s, x: s.o(function(s, x)), **parts,
                        o=nn.Conv2d(parts["c3"].out_channels, 2, 1)))  # fmt: skip
    found = extracted(module, input_size=(2, 3, 9, 9))
    (name,) = [n for n in found.network.names if "+" in n]
    layer = {x.name: x for x in found.network}[name]
    c3 = parts["c3"]
    x = torch.randn(1, 3, 11, 11)
    fields = F.unfold(x, size, c3.dilation, c3.padding, c3.stride)[0].T
    with torch.no_grad():
        real = function(module, x)[0].flatten(1).T.double().numpy()
    np.testing.assert_allclose(layer(fields.double().numpy()), real, atol=1e-5)


def test_a_merged_weight_is_the_sum_of_the_parts():
    torch.manual_seed(0)
    module = Net(lambda s, x: torch.relu(s.q(x)), q=Adapted(6, 5))
    merged = extracted(module, input_size=(7, 6)).network[-1]
    q = module.q
    low = q.lora_B["default"].weight @ q.lora_A["default"].weight
    expected = (q.base_layer.weight + 1.5 * low).double().detach().numpy()
    np.testing.assert_allclose(merged.weight, expected, atol=1e-6)
    np.testing.assert_allclose(merged.bias, q.base_layer.bias.double().detach().numpy(), atol=1e-7)


def test_ranges_of_a_sum_from_data():
    module = module_of(SUMS["branches"][0])
    batches = [torch.randn(50, 6) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d = eiplane.analyze(module, ranges="data", input_data=batches, quantiles=(0, 1),
                            measures="sensitivity", method="sample", samples=50)  # fmt: skip
    x = torch.cat(batches)
    with torch.no_grad():
        y = torch.relu(module.a(x) + module.b(x))
    assert d["a+b"].in_range == pytest.approx((float(x.min()), float(x.max())), rel=1e-6)
    assert d["a+b"].out_range == pytest.approx((float(y.min()), float(y.max())), abs=1e-5)


def test_a_sum_in_an_onnx_graph(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, rng = onnx.helper, np.random.default_rng(0)
    shapes = {"A": (6, 5), "B": (6, 2), "C": (2, 5), "o": (5, 2)}
    w = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["a"]),
        helper.make_node("MatMul", ["x", "B"], ["b"]),
        helper.make_node("MatMul", ["b", "C"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["s"]),
        helper.make_node("Relu", ["s"], ["t"]),
        helper.make_node("MatMul", ["t", "o"], ["y"]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, [3, 6])],
        [helper.make_tensor_value_info("y", kind, [3, 2])],
        [onnx.numpy_helper.from_array(v, k) for k, v in w.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    found = to_network(tmp_path / "m.onnx", ExtractOptions(strict=True))
    merged = {x.name: x for x in found.network}["A+C"]
    x = rng.normal(size=(9, 6))
    np.testing.assert_allclose(merged(x), np.maximum(x @ (w["A"] + w["B"] @ w["C"]), 0), atol=2e-6)
