"""Networks from torch modules: what is found, and that it is what the module computes."""

import itertools
import math
import random
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from eiplane.analyze import Plan  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.run import Settings  # noqa: E402

#: Older versions of torch lack some of what is tested.
VERSION = tuple(int(n) for n in torch.__version__.split(".")[:2])
MHA = getattr(torch.backends, "mha", None)
WEIGHT_NORM = getattr(nn.utils.parametrizations, "weight_norm", nn.utils.weight_norm)


def extract(module, **options):
    """Extract, and fail if anything was left out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not analysed")
        found = to_network(module, ExtractOptions(**options))
    assert found.skipped == ()
    return found.network


def extract_some(module, **options):
    with pytest.warns(UserWarning, match="not analysed") as caught:
        found = to_network(module, ExtractOptions(**options))
    assert len([w for w in caught if "not analysed" in str(w.message)]) == 1
    return found.network, {s.name: s.reason for s in found.skipped}


def ranges(network, in_range=(0.0, 1.0), **chosen):
    """Return each layer's input range and where it comes from."""
    plan = Plan(network, Settings("ei", in_range=in_range, **chosen))
    return {n: (*plan.in_range(i), plan.range_source(i)) for i, n in enumerate(network.names)}


def acts(network):
    return {layer.name: layer.activation.name for layer in network}


# -- activations -------------------------------------------------------------------------------


def new_gelu(x):
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


class Function(nn.Module):
    """A linear layer and a function after it."""

    def __init__(self, function):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.function = function

    def forward(self, x):
        return self.function(self.fc(x))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (F.relu, "relu"),
        (torch.relu_, "relu"),
        (lambda z: F.relu(z, inplace=True), "relu"),
        (lambda z: z.clamp(min=0), "relu"),
        (lambda z: torch.maximum(z, torch.zeros(1)), "relu"),
        (torch.sigmoid, "sigmoid"),
        (lambda z: 1 / (1 + torch.exp(-z)), "sigmoid"),
        (torch.special.expit, "sigmoid"),
        (lambda z: z.tanh(), "tanh"),
        (F.gelu, "gelu"),
        (lambda z: F.gelu(z, approximate="tanh"), "gelu_tanh"),
        (new_gelu, "gelu_tanh"),
        (lambda z: 0.5 * z * (1 + torch.erf(z / 2**0.5)), "gelu"),
        (lambda z: z * torch.sigmoid(1.702 * z), "quick_gelu"),
        (F.silu, "silu"),
        (lambda z: z * z.sigmoid(), "silu"),
        (F.mish, "mish"),
        (lambda z: z * torch.tanh(F.softplus(z)), "mish"),
        (F.leaky_relu, "leaky_relu"),
        (lambda z: F.leaky_relu(z, 0.2), "leaky_relu(0.2)"),
        (lambda z: torch.where(z > 0, z, 0.1 * z), "leaky_relu(0.1)"),
        (nn.PReLU(init=0.25), "leaky_relu(0.25)"),
        (nn.PReLU(4, init=0.25), "leaky_relu(0.25)"),
        (nn.RReLU(0.1, 0.3), "leaky_relu(0.2)"),
        (F.elu, "elu"),
        (lambda z: F.elu(z, 0.7), "elu(0.7)"),
        (F.celu, "elu"),
        (F.selu, "selu"),
        (F.relu6, "hardtanh(0.0, 6.0)"),
        (F.hardtanh, "hardtanh"),
        (lambda z: z.clamp(-2, 0.5), "hardtanh(-2.0, 0.5)"),
        (F.hardsigmoid, "hardsigmoid"),
        (F.hardswish, "hardswish"),
        (F.softplus, "softplus"),
        (lambda z: F.softplus(z, beta=2.0, threshold=1e9), "softplus(2.0)"),
        (F.softsign, "softsign"),
        (nn.Identity(), "identity"),
        (lambda z: F.dropout(z, 0.5, False).relu(), "relu"),
        (lambda z: z.reshape(-1, 2, 2).transpose(1, 2).flatten(1).relu(), "relu"),
        (lambda z: torch.cat([z[:, :2], z[:, 2:]], 1).relu(), "relu"),
        (lambda z: torch.stack(z.unbind(1), 1).sigmoid(), "sigmoid"),
        # Used as it is, the output is a linear layer's, whatever comes of it:
        (lambda z: F.softmax(z, -1), "identity"),
        (lambda z: F.layer_norm(z, (4,)), "identity"),
        (lambda z: (z + z.flip(1)).relu(), "identity"),
        (lambda z: z @ z.T, "identity"),
        (lambda z: 2 * z - 1, "identity"),
        (lambda z: z.mean(1), "identity"),
        # Whatever follows, up to the next layer, is the activation:
        (lambda z: 3 * z.relu(), "relu"),
        (lambda z: 10 * z.tanh() - 1, "10 * tanh - 1"),
        (lambda z: torch.sin(torch.sigmoid(z)), "sigmoid, sin"),
        (torch.sin, "sin"),
        (F.tanhshrink, "tanhshrink"),
        (lambda z: z * torch.tanh(z), "tanh, mul"),
        (lambda z: torch.sigmoid(z) * z.relu(), "relu, sigmoid, mul"),
        (lambda z: z.clamp(min=-1), "clamp(-1)"),
        (
            lambda z: F.prelu(z, torch.tensor([0.1, 0.2, 0.3, 0.4])),
            "leaky_relu(0.1), ..., leaky_relu(0.4) by row",
        ),
        # Two different uses: the rest of the network sees the linear output.
        (lambda z: (z.relu().sum(), z.sigmoid().sum()), "identity"),
        (lambda z: z.relu() + z.flip(1), "identity"),
    ],
)
def test_the_activation_that_follows(function, name):
    assert acts(extract(Function(function))) == {"fc": name}


def test_a_scale_before_the_activation_belongs_to_the_weights():
    module = Function(lambda z: torch.sigmoid(2 * z + 1))
    (layer,) = extract(module)
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(layer(x), run(module, x), atol=1e-6)
    assert layer.activation.name == "sigmoid"


def cummax(z):
    return torch.cummax(z, 1)[0]


def by_numpy(z):
    return torch.from_numpy(np.maximum(z.numpy(), 0))


@pytest.mark.parametrize(
    ("function", "what"),
    [(cummax, "cummax"), (by_numpy, "leave torch"),
     (lambda z: torch.linalg.svd(z)[0], "svd"), (lambda z: torch.zeros_like(z) * z, "constant")],
)  # fmt: skip
def test_unknown_functions_are_listed_never_linear(function, what):
    module = nn.Sequential(nn.Linear(3, 3), Function(function))
    network, skipped = extract_some(module)
    assert acts(network) == {"0": "identity"}
    assert list(skipped) == ["1.fc"]
    assert what in skipped["1.fc"]
    with pytest.raises(ValueError, match=r"strict: 1 part was not analysed: 1\.fc"):
        to_network(module, ExtractOptions(strict=True))
    # What was not asked for is no matter.
    assert extract(module, layers="0", strict=True).names == ("0",)


def test_nothing_to_analyse():
    with pytest.raises(ValueError, match=r"no layer that eiplane can analyse \(fc: its output"):
        to_network(Function(cummax))
    with pytest.raises(ValueError, match="does not follow from its layers"):
        to_network(nn.ReLU())


def test_modules_bring_their_own_activations():
    with pytest.raises(ValueError, match="brings its own activations"):
        to_network(nn.Linear(3, 4), ExtractOptions(activation="relu"))


# -- wiring ------------------------------------------------------------------------------------


def test_order_of_execution_not_of_registration():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.Linear(4, 2)
            self.first = nn.Linear(3, 4)

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    network = extract(Swapped(), input_size=(3,))
    assert acts(network) == {"first": "relu", "second": "identity"}
    assert network.sources == {"first": (), "second": ("first",)}
    assert network.straight == {"second"}


def test_branches_sums_norms_and_shuffles():
    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            for name in "abcdefg":
                setattr(self, name, nn.Linear(4, 4))
            self.h = nn.Linear(8, 2)
            self.norm = nn.LayerNorm(4)

        def forward(self, x):
            a = self.a(x).relu()
            b, c = self.b(a).tanh(), self.c(a).sigmoid()
            d = self.d(b + c)  # a sum: where it lies is not known
            e = self.e(self.norm(d.relu()))
            f = self.f(e.relu().flip(1))  # the same values in another order
            g = self.g(2 * f.relu())  # scaled: that is f's own
            return self.h(torch.cat([g.relu(), a], 1))

    network = extract(Branched(), input_size=(4,))
    assert network.sources == {
        "a": (), "b": ("a",), "c": ("a",), "d": (), "e": (), "f": ("e",), "g": ("f",),
        "h": ("g", "a"),
    }  # fmt: skip
    assert network.straight == {"b", "c", "g"}
    assert set(acts(network).values()) == {"relu", "tanh", "sigmoid", "identity"}


def test_a_gated_unit_is_cut_where_its_activations_change():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(3, 8), nn.Linear(4, 3)

        def forward(self, x):
            a, gate = self.up(x).chunk(2, -1)
            return self.down(a * F.gelu(gate))

    module = Gated()
    network = extract(module, input_size=(5, 3))
    assert acts(network) == {"up[0:4]": "identity", "up[4:8]": "gelu", "down": "identity"}
    assert network.sources["down"] == ()
    x = np.random.default_rng(0).normal(size=(7, 3))
    value, gate, down = network
    np.testing.assert_allclose(down(value(x) * gate(x)), run(module, x), atol=1e-5)


def test_weights_used_twice():
    class Twice(nn.Module):
        def __init__(self, second):
            super().__init__()
            self.fc, self.out, self.second = nn.Linear(3, 3), nn.Linear(3, 2), second

        def forward(self, x):
            return self.out(self.second(self.fc(self.fc(x).relu())))

    same = extract(Twice(torch.relu))
    assert acts(same) == {"fc": "relu", "out": "identity"}
    assert same.sources["out"] == ("fc",)
    other = extract(Twice(torch.tanh))
    assert acts(other) == {"fc": "relu", "fc#2": "tanh", "out": "identity"}
    assert other.sources == {"fc": (), "fc#2": ("fc",), "out": ("fc#2",)}


def test_functional_weights_and_computed_ones():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.W1, self.b1 = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(5))
            self.W2 = nn.Parameter(torch.randn(4, 5))
            self.normed = WEIGHT_NORM(nn.Linear(4, 3))

        def forward(self, x):
            x = torch.tanh(x @ self.W1 + self.b1)
            x = (self.W2 @ x.T).T.relu()
            return self.normed(x)

    module = Bare()
    network = extract(module, input_size=(6, 3))
    assert acts(network) == {"W1": "tanh", "W2": "relu", "normed": "identity"}
    assert network.straight == {"W2", "normed"}
    x = np.random.default_rng(0).normal(size=(6, 3))
    y = x
    for layer in network:
        y = layer(y)
    np.testing.assert_allclose(y, run(module, x), atol=1e-5)


def test_what_has_a_weight_but_is_no_layer():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 4)
            self.position = nn.Parameter(torch.randn(1, 3, 4))
            self.norm = nn.LayerNorm((3, 4))
            self.unused = nn.Linear(4, 4)
            self.bilinear = nn.Bilinear(4, 4, 2)
            self.up = nn.ConvTranspose1d(3, 3, 2)
            self.stack = nn.Parameter(torch.randn(2, 2, 2))
            self.fc = nn.Linear(2, 2)
            self.mixed = nn.Parameter(torch.randn(2, 2))
            self.constant = nn.Linear(2, 2)

        def forward(self, ids):
            x = self.norm(self.table(ids) + self.position)
            x = self.bilinear(x, x)
            x = self.up(x)[..., :2]
            x = self.fc(torch.matmul(x[:, :2, None], self.stack)[:, 0])
            return torch.einsum("bij,jk->bik", x, self.mixed) + self.constant(torch.ones(2))

    network, skipped = extract_some(Odd(), input_data=torch.zeros(2, 3, dtype=torch.long))
    assert network.names == ("up[0]", "stack[0]", "fc", "mixed")
    assert set(skipped) == {"table", "unused", "bilinear", "constant", "up[1:3]", "stack[1]"}
    assert "embedding" in skipped["table"]
    assert "no use of it was seen" in skipped["unused"]
    assert "bilinear" in skipped["bilinear"]
    assert "does not depend on the network's input" in skipped["constant"]


# -- the input ---------------------------------------------------------------------------------


def test_the_example_input():
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="give input_size="):
        to_network(conv)
    for size in ((1, 1, 4, 4), (1, 4, 4), [3, 1, 4, 4], torch.Size((1, 1, 4, 4))):
        assert extract(conv, input_size=size).names == ("0", "3")
    with pytest.raises(ValueError, match=r"failed on an example input of shape \(1, 1, 5, 5\)"):
        to_network(conv, ExtractOptions(input_size=(1, 1, 5, 5)))
    with pytest.raises(ValueError, match="positive sizes"):
        to_network(conv, ExtractOptions(input_size=(1, 0)))
    with pytest.raises(TypeError, match="sequence of sizes"):
        to_network(conv, ExtractOptions(input_size=28))
    assert len(extract(conv, input_data=np.zeros((1, 1, 4, 4)))) == 2
    assert len(extract(conv, input_data=torch.zeros(1, 1, 4, 4))) == 2

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(4, 3)

        def forward(self, x, y, scale=1.0):
            return self.a(x) + scale * self.b(y)

    assert len(extract(Two(), input_data=(torch.ones(1, 2), np.ones((1, 4))))) == 2
    assert len(extract(Two(), input_data={"x": torch.ones(1, 2), "y": torch.ones(1, 4)})) == 2


def test_what_cannot_be_run_is_refused():
    with pytest.raises(ValueError, match="lazy"):
        to_network(nn.LazyLinear(3))
    with pytest.raises(ValueError, match="meta device"):
        to_network(nn.Linear(2, 3, device="meta"))
    broken = nn.Linear(2, 3)
    with torch.no_grad():
        broken.weight[1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"layer 'linear': weight has 1 entries that are NaN"):
        to_network(broken)


def test_nothing_of_the_module_changes():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.norm, self.drop = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(3))
            self.register_forward_hook(lambda m, i, o: None)
            self.count = 0

        def forward(self, x):
            self.calls += 1
            self.cache, self.count = x, self.count + 1
            self.last = x[0].detach()
            noise = torch.rand(3) + random.random() + np.random.random()  # noqa: NPY002
            return F.dropout(self.drop(self.norm(self.fc(x))), 0.5, True) * noise

        def train(self, mode=True):
            raise AssertionError("it may do more than set a mode")

    module = Counting()
    module.norm.training = False
    module.fc.weight.grad = torch.ones(3, 3)
    module.fc.bias.requires_grad_(False)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    objects = [id(t) for t in (*module.parameters(), *module.buffers())]
    hooks = [
        [len(getattr(m, n)) for n in vars(m) if "hook" in n and hasattr(getattr(m, n), "__len__")]
        for m in module.modules()
    ]
    x = torch.ones(2, 3, requires_grad=True)
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    fast = MHA and MHA.get_fastpath_enabled()
    extract(module, input_data=x)
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1][1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()
    assert [m.training for m in module.modules()] == [True, True, False, True]
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert objects == [id(t) for t in (*module.parameters(), *module.buffers())]
    assert torch.equal(module.fc.weight.grad, torch.ones(3, 3))
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]
    assert x.grad is None
    assert module.count == 0
    assert not hasattr(module, "cache")
    assert torch.is_grad_enabled()
    assert (MHA and MHA.get_fastpath_enabled()) == fast
    assert hooks == [
        [len(getattr(m, n)) for n in vars(m) if "hook" in n and hasattr(getattr(m, n), "__len__")]
        for m in module.modules()
    ]


def test_a_failing_forward_pass_changes_nothing_either():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(4, 3))
    module[1].register_forward_pre_hook(lambda m, x: m.running_mean.add_(1.0))
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="the forward pass of Sequential failed"):
        to_network(module)
    assert module[0].training
    assert not module[1].running_mean.any()
    assert torch.equal(state, torch.get_rng_state())


# -- whole networks ----------------------------------------------------------------------------


def run(module, x, dtype=torch.float32):
    training = module.training
    with torch.no_grad():
        y = module.eval()(torch.as_tensor(x, dtype=dtype))
    module.train(training)
    return y.numpy()


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), (2, 2))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def test_lenet():
    network = extract(LeNet(), input_size=(1, 1, 28, 28))
    assert acts(network) == {
        "conv1": "relu", "conv2": "relu", "fc1": "relu", "fc2": "relu", "fc3": "identity",
    }  # fmt: skip
    assert network.sources == {
        "conv1": (), "conv2": ("conv1",), "fc1": ("conv2",), "fc2": ("fc1",), "fc3": ("fc2",),
    }  # fmt: skip
    assert network.straight == {"fc2", "fc3"}
    conv1, conv2, *_ = network
    assert conv1.pool.kind == "max"
    assert conv1.edge_shape == (6, 1, 6, 6)
    assert conv2.edge_shape == (16, 6, 6, 6)
    assert conv2.n_in == 216


def vgg():
    def block(a, b):
        return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]

    return nn.Sequential(
        nn.Sequential(
            *block(3, 8), nn.MaxPool2d(2), *block(8, 12), *block(12, 12), nn.MaxPool2d(2)
        ),
        nn.AdaptiveAvgPool2d((2, 2)),
        nn.Flatten(),
        nn.Sequential(nn.Linear(48, 20), nn.ReLU(True), nn.Dropout(), nn.Linear(20, 10)),
    )


def test_vgg_with_batch_normalisation():
    module = shaken(vgg())
    network = extract(module, input_size=(3, 16, 16))
    assert acts(network) == {
        "0.0": "relu", "0.4": "relu", "0.7": "relu", "3.0": "relu", "3.3": "identity",
    }  # fmt: skip
    assert [layer.pool is not None for layer in network] == [True, False, True, False, False]
    assert network.sources["3.0"] == ("0.7",)
    x = np.random.default_rng(0).normal(size=(1, 3, 16, 16))
    inside = run(module[0][:4], x)[0, :, 2, 3]
    field = x[0, :, 3:7, 5:9].reshape(-1)  # two positions and their neighbours
    np.testing.assert_allclose(network[0](field), inside, atol=1e-5)


def shaken(module):
    """Give batch normalisation something to do."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.running_mean, -1, 1)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias, -1, 1)
    return module


class Basic(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(b), nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride > 1 or a != b:
            self.down = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = Basic(8, 8, 1), Basic(8, 16, 2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def test_resnet():
    module = shaken(ResNet())
    network = extract(module, input_size=(1, 3, 16, 16))
    assert acts(network) == {
        "conv1": "relu", "layer1.conv1": "relu", "layer1.conv2": "identity",
        "layer2.conv1": "relu", "layer2.conv2": "identity", "layer2.down.0": "identity",
        "fc": "identity",
    }  # fmt: skip
    assert network.sources["layer1.conv1"] == ("conv1",)
    assert network.sources["layer1.conv2"] == ("layer1.conv1",)
    assert network.sources["layer2.conv1"] == ()
    assert network.sources["fc"] == ()
    conv2 = next(x for x in network if x.name == "layer1.conv2")
    x = torch.randn(1, 8, 8, 8)
    field = F.unfold(x, 3, padding=1)[0].T.numpy()
    inside = module.eval().layer1.bn2(module.layer1.conv2(x)).detach().numpy()[0]
    np.testing.assert_allclose(conv2(field), inside.reshape(8, -1).T, atol=1e-5)


@pytest.mark.parametrize(("activation", "name"), [("relu", "relu"), ("gelu", "gelu")])
@pytest.mark.parametrize("batch_first", [False, True])
def test_transformer_encoder(activation, name, batch_first):
    layer = nn.TransformerEncoderLayer(16, 4, 32, activation=activation, batch_first=batch_first)
    module = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Linear(16, 3))
    network = extract(module, input_size=(2, 5, 16))
    expected = []
    for i in range(2):
        base = f"0.layers.{i}"
        expected += [f"{base}.self_attn.in_proj.{n}" for n in "qkv"]
        expected += [f"{base}.self_attn.out_proj", f"{base}.linear1", f"{base}.linear2"]
    assert network.names == (*expected, "1")
    assert {n for n, a in acts(network).items() if a == name} == {
        "0.layers.0.linear1", "0.layers.1.linear1",
    }  # fmt: skip
    assert network.sources["0.layers.1.linear2"] == ("0.layers.1.linear1",)
    q = network[0]
    whole = module[0].layers[0].self_attn.in_proj_weight
    if VERSION > (2, 0):  # which shares the scale of the scores among queries and keys
        np.testing.assert_array_equal(q.weight, whole[:16].detach().numpy())


def test_attention_of_its_own_sizes():
    module = nn.MultiheadAttention(8, 2, kdim=4, vdim=6, bias=False)
    network = extract(
        module, input_data=(torch.ones(3, 1, 8), torch.ones(5, 1, 4), torch.ones(5, 1, 6))
    )
    assert {x.name: x.shape for x in network} == {
        "q_proj": (8, 8), "k_proj": (8, 4), "v_proj": (8, 6), "out_proj": (8, 8),
    }  # fmt: skip
    assert extract(nn.MultiheadAttention(8, 2)).names[0] == "in_proj.q"


def test_vision_transformer():
    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 16, 4, 4)
            self.token, self.position = (
                nn.Parameter(torch.randn(1, 1, 16)),
                nn.Parameter(torch.randn(1, 17, 16)),
            )
            layer = nn.TransformerEncoderLayer(
                16, 2, 32, activation=F.gelu, batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.head = nn.Sequential(
                nn.LayerNorm(16), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 5)
            )

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
            return self.head(self.encoder(x)[:, 0])

    network = extract(ViT(), input_size=(1, 3, 16, 16))
    assert acts(network) == {
        "patch": "identity",
        **{f"encoder.layers.0.self_attn.in_proj.{n}": "identity" for n in "qkv"},
        "encoder.layers.0.self_attn.out_proj": "identity",
        "encoder.layers.0.linear1": "gelu",
        "encoder.layers.0.linear2": "identity",
        "head.1": "tanh",
        "head.3": "identity",
    }
    assert network.sources["head.3"] == ("head.1",)


def test_gpt2():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2,
        n_embd=32,
        n_head=4,
        vocab_size=50,
        n_positions=16,
        bos_token_id=0,
        eos_token_id=0,
    )
    module = transformers.GPT2LMHeadModel(config)
    network, skipped = extract_some(module)
    blocks = [f"transformer.h.{i}" for i in range(2)]
    expected = {}
    for b in blocks:
        expected |= {f"{b}.attn.c_attn": "identity", f"{b}.attn.c_proj": "identity"}
        expected |= {f"{b}.mlp.c_fc": "gelu_tanh", f"{b}.mlp.c_proj": "identity"}
    assert acts(network) == {**expected, "lm_head": "identity"}
    assert list(skipped) == ["transformer.wpe"]
    assert network.sources["transformer.h.1.mlp.c_proj"] == ("transformer.h.1.mlp.c_fc",)
    c_fc = next(x for x in network if x.name == "transformer.h.0.mlp.c_fc")
    x = torch.randn(7, 32)
    mlp = module.eval().transformer.h[0].mlp
    expected_values = mlp.act(mlp.c_fc(x)).detach().numpy()
    np.testing.assert_allclose(c_fc(x.numpy()), expected_values, atol=1e-5)


def test_bert_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        vocab_size=40,
    )
    network, skipped = extract_some(transformers.BertModel(config))
    base = "encoder.layer.0"
    assert acts(network) == {
        **{f"{base}.attention.self.{n}": "identity" for n in ("query", "key", "value")},
        f"{base}.attention.output.dense": "identity",
        f"{base}.intermediate.dense": "gelu",
        f"{base}.output.dense": "identity",
        "pooler.dense": "tanh",
    }
    assert all("embedding" in name for name in skipped)


def test_llama_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        vocab_size=40,
    )
    network, _ = extract_some(transformers.LlamaForCausalLM(config))
    found = acts(network)
    assert found["model.layers.0.mlp.gate_proj"] == "silu"
    assert found["model.layers.0.mlp.up_proj"] == "identity"
    assert {n.rpartition(".")[2] for n in found} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head",
    }  # fmt: skip


# -- recurrent networks ------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_lstm_reproduced_from_its_layers(bias):
    module = nn.LSTM(5, 4, bias=bias)
    layers = {x.name: x for x in extract(module)}
    assert {n: x.activation.name for n, x in layers.items()} == {
        f"weight_{side}_l0.{gate}": "tanh" if gate == "g" else "sigmoid"
        for side in ("ih", "hh")
        for gate in "ifgo"
    }
    x = np.random.default_rng(0).normal(size=(6, 1, 5))
    h = c = np.zeros(4)
    for t in range(6):
        gate = {}
        for n in "ifgo":
            ih, hh = layers[f"weight_ih_l0.{n}"], layers[f"weight_hh_l0.{n}"]
            np.testing.assert_allclose(ih.offsets(), hh.offsets())
            gate[n] = ih.activation(ih.matrix() @ x[t, 0] + hh.matrix() @ h + ih.offsets())
            if t == 0:  # nothing in the state yet: the layer by itself
                np.testing.assert_allclose(gate[n], ih(x[0, 0]))
        c = gate["f"] * c + gate["i"] * gate["g"]
        h = gate["o"] * np.tanh(c)
    expected = module(torch.as_tensor(x, dtype=torch.float32))[0][-1, 0].detach().numpy()
    np.testing.assert_allclose(h, expected, atol=1e-5)


def test_gru_reproduced_from_its_layers():
    module = nn.GRU(5, 4)
    layers = {x.name: x for x in extract(module)}
    x = np.random.default_rng(0).normal(size=(6, 1, 5))
    h = np.zeros(4)
    for t in range(6):
        gate = {}
        for n in "rz":
            ih, hh = layers[f"weight_ih_l0.{n}"], layers[f"weight_hh_l0.{n}"]
            gate[n] = ih.activation(ih.matrix() @ x[t, 0] + hh.matrix() @ h + ih.offsets())
        ih, hh = layers["weight_ih_l0.n"], layers["weight_hh_l0.n"]
        assert hh.activation.name == "identity"
        new = ih.activation(ih.matrix() @ x[t, 0] + ih.offsets() + gate["r"] * hh(h))
        h = (1 - gate["z"]) * new + gate["z"] * h
    expected = module(torch.as_tensor(x, dtype=torch.float32))[0][-1, 0].detach().numpy()
    np.testing.assert_allclose(h, expected, atol=1e-5)


def test_recurrent_networks_of_every_kind():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(5, 4, 2, bidirectional=True, batch_first=True, proj_size=3)
            self.gru, self.rnn = nn.GRU(6, 4), nn.RNN(4, 4, nonlinearity="relu")
            self.cell, self.fc = nn.LSTMCell(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            x = self.lstm(x)[0]
            x = self.gru(x)[0]
            state = None
            for step in x.unbind(1):
                state = self.cell(step, state)
            self.rnn(x)
            return self.fc(state[0])

    network = extract(Tagger(), input_size=(2, 3, 5))
    names = network.names
    ends = ("l0", "l0_reverse", "l1", "l1_reverse")
    lstm = [f"lstm.weight_{s}_{e}.{g}" for e in ends for s in ("ih", "hh") for g in "ifgo"]
    gru = [f"gru.weight_{s}_l0.{g}" for s in ("ih", "hh") for g in "rzn"]
    cell = [f"cell.weight_{s}.{g}" for s in ("ih", "hh") for g in "ifgo"]
    assert set(names) == {
        *lstm, *(f"lstm.weight_hr_{e}" for e in ends), *gru, *cell,
        "rnn.weight_ih_l0", "rnn.weight_hh_l0", "fc",
    }  # fmt: skip
    found = acts(network)
    assert found["rnn.weight_ih_l0"] == found["rnn.weight_hh_l0"] == "relu"
    assert found["gru.weight_ih_l0.n"] == "tanh"
    found = ranges(network)
    assert found["gru.weight_hh_l0.r"] == (-1.0, 1.0, "activation")
    assert found["lstm.weight_hr_l0"] == (-1.0, 1.0, "activation")
    assert found["fc"] == (-1.0, 1.0, "interval")  # a hidden state
    assert found["lstm.weight_hh_l0.i"] == (0.0, 1.0, "assumed")  # a projected one has no bounds
    assert found["rnn.weight_hh_l0"] == (0.0, 1.0, "assumed")


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells_at_their_first_step(cell):
    module = cell(5, 4)
    layers = {x.name: x for x in extract(module)}
    x = np.random.default_rng(0).normal(size=(1, 5))
    y = module(torch.as_tensor(x, dtype=torch.float32))
    if cell is nn.RNNCell:
        np.testing.assert_allclose(layers["weight_ih"](x), y.detach().numpy(), atol=1e-6)
    elif cell is nn.LSTMCell:
        gate = {n: layers[f"weight_ih.{n}"](x) for n in "igo"}
        h = gate["o"] * np.tanh(gate["i"] * gate["g"])
        np.testing.assert_allclose(h, y[0].detach().numpy(), atol=1e-6)
    else:
        z = layers["weight_ih.z"](x)
        r, hn = layers["weight_ih.r"](x), layers["weight_hh.n"](np.zeros((1, 4)))
        n = layers["weight_ih.n"]
        new = np.tanh(x @ n.matrix().T + n.offsets() + r * hn)
        np.testing.assert_allclose((1 - z) * new, y.detach().numpy(), atol=1e-6)


# -- convolutions and pooling ------------------------------------------------------------------


def fields(x, layer, stride, unit):
    """Return the receptive fields of all outputs: (..., places, n_in)."""
    sizes = layer.edge_shape[2:]
    places = [
        range(0, n - (f - 1) * u, s)
        for n, f, s, u in zip(x.shape[1:], sizes, stride, unit, strict=True)
    ]
    grids = np.meshgrid(*places, indexing="ij")
    out = []
    for start in zip(*(g.ravel() for g in grids), strict=True):
        cut = tuple(
            slice(a, a + (f - 1) * u + 1, u) for a, f, u in zip(start, sizes, unit, strict=True)
        )
        out.append(x[(slice(None), *cut)].ravel())
    return np.array(out), tuple(len(p) for p in places)


_ACTS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "sigmoid": nn.Sigmoid, "silu": nn.SiLU}


@st.composite
def blocks(draw, axes=None):
    axes = axes or draw(st.integers(1, 3))
    per_axis = st.tuples(*[st.integers(1, 3 if axes < 3 else 2)] * axes)
    steps = [s for s in draw(st.permutations(["act", "pool"])) if draw(st.booleans())]
    return {
        "axes": axes,
        "conv": {
            "kernel_size": draw(per_axis),
            "stride": draw(per_axis),
            "dilation": draw(per_axis),
            "groups": draw(st.sampled_from([1, 1, 2])),
            "bias": draw(st.booleans()),
        },
        "channels": 2 * draw(st.integers(1, 2)),
        "steps": ["norm", *steps] if draw(st.booleans()) else steps,
        "act": draw(st.sampled_from(sorted(_ACTS))),
        "kind": draw(st.sampled_from(["max", "mean"])),
        "window": draw(per_axis),
        "pool_stride": draw(per_axis),
        "pool_dilation": draw(per_axis),
    }


def built(block, n_in):
    """Return a block's modules, and the stride and the unit of its receptive fields."""
    axes, conv, n_out = block["axes"], block["conv"], block["channels"]
    parts = [getattr(nn, f"Conv{axes}d")(n_in, n_out, **conv)]
    for step in block["steps"]:
        if step == "norm":
            parts.append(getattr(nn, f"BatchNorm{axes}d")(n_out))
        elif step == "act":
            parts.append(_ACTS[block["act"]]())
        elif block["kind"] == "max":
            pool = getattr(nn, f"MaxPool{axes}d")
            dilation = block["pool_dilation"]
            parts.append(pool(block["window"], block["pool_stride"], dilation=dilation))
        else:
            parts.append(getattr(nn, f"AvgPool{axes}d")(block["window"], block["pool_stride"]))
    stride, unit = conv["stride"], conv["dilation"]
    if "pool" in block["steps"]:
        dilation = block["pool_dilation"] if block["kind"] == "max" else (1,) * axes
        step = [s * d for s, d in zip(stride, dilation, strict=True)]
        if math.prod(block["window"]) > 1:
            unit = [math.gcd(a, b) for a, b in zip(step, unit, strict=True)]
        stride = [s * p for s, p in zip(stride, block["pool_stride"], strict=True)]
    return parts, stride, unit


@settings(max_examples=60, deadline=None)
@given(blocks(), st.integers(0, 1000))
def test_convolution_and_pooling_are_the_layer_of_the_receptive_field(block, seed):
    axes, n_out = block["axes"], block["channels"]
    torch.manual_seed(seed)
    parts, stride, unit = built(block, 4)
    module = shaken(nn.Sequential(*parts))
    size = 18 if axes < 3 else 12
    x = np.random.default_rng(seed).uniform(-1, 1, size=(1, 4, *[size] * axes))
    (layer,) = extract(module, input_size=x.shape)
    known = [layer.activation.name, layer.pool.activation.name if layer.pool else "identity"]
    assert (block["act"] in known) == ("act" in block["steps"])
    y = run(module.double(), x, torch.float64)[0].reshape(n_out, -1).T
    flat, _ = fields(x[0], layer, stride, unit)
    np.testing.assert_allclose(layer(flat), y, atol=1e-5)
    # and the dense layer of one receptive field, written out
    if layer.pool is None and layer.groups == 1:
        dense = layer.activation(flat @ layer.weight.reshape(n_out, -1).T + layer.offsets())
        np.testing.assert_allclose(layer(flat), dense, rtol=1e-12, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(st.lists(blocks(axes=2), min_size=1, max_size=3), st.integers(0, 1000))
def test_random_convolutional_networks_compute_what_the_module_does(chosen, seed):
    torch.manual_seed(seed)
    parts, geometry, shape = [], [], (1, 2, 40, 40)
    for block in chosen:
        more, stride, unit = built(block, shape[1])
        try:
            after = run(nn.Sequential(*more), torch.zeros(shape)).shape
        except RuntimeError:
            break  # nothing is left of the image
        parts, geometry, shape = parts + more, [*geometry, (stride, unit)], after
    parts += [nn.Flatten(), nn.Linear(math.prod(shape[1:]), 5), nn.Tanh()]
    module = shaken(nn.Sequential(*parts))
    network = extract(module, input_size=(1, 2, 40, 40))
    assert len(network) == len(geometry) + 1
    names = network.names
    assert network.sources == {b: (a,) for a, b in itertools.pairwise(names)} | {names[0]: ()}
    image = np.random.default_rng(seed).uniform(-1, 1, size=(2, 40, 40))
    y = image
    for layer, (stride, unit) in zip(network, geometry, strict=False):
        flat, places = fields(y, layer, stride, unit)
        y = layer(flat).T.reshape(layer.n_out, *places)
    expected = run(module.double(), image[None], torch.float64)[0]
    np.testing.assert_allclose(network[-1](y.ravel()), expected, atol=1e-5)


def test_average_pooling_without_activation_is_one_dense_layer():
    conv = nn.Conv2d(2, 3, 3, stride=2, dilation=1)
    module = nn.Sequential(conv, nn.AvgPool2d(2), nn.ReLU())
    (layer,) = extract(module, input_size=(1, 2, 9, 9))
    assert layer.pool is None
    assert layer.activation.name == "relu"
    kernel = np.zeros((3, 2, 5, 5))
    for i in (0, 2):
        for j in (0, 2):
            kernel[:, :, i : i + 3, j : j + 3] += conv.weight.detach().numpy() / 4
    np.testing.assert_allclose(layer.weight, kernel, rtol=1e-7)
    np.testing.assert_allclose(layer.bias, conv.bias.detach().numpy(), rtol=1e-7)


def test_unusual_pooling():
    def layer_of(*parts, size=(1, 1, 9, 9)):
        return extract(nn.Sequential(nn.Conv2d(1, 2, 2), *parts), input_size=size)[0]

    # A function that does not rise everywhere may not trade places with a maximum.
    gelu = layer_of(nn.MaxPool2d(2), nn.GELU())
    assert (gelu.activation.name, gelu.pool.activation.name) == ("identity", "gelu")
    relu = layer_of(nn.MaxPool2d(2), nn.ReLU())
    assert (relu.activation.name, relu.pool.activation.name) == ("relu", "identity")
    both = layer_of(nn.Tanh(), nn.AvgPool2d(2), nn.Sigmoid())
    assert (both.activation.name, both.pool.activation.name) == ("tanh", "sigmoid")
    # Adaptive pooling of equal windows is pooling; of unequal ones, each output differs.
    assert layer_of(nn.ReLU(), nn.AdaptiveMaxPool2d(4)).pool.window == (2, 2)
    assert layer_of(nn.ReLU(), nn.AdaptiveMaxPool2d(3)).pool is None
    assert layer_of(nn.ReLU(), nn.AdaptiveAvgPool2d(1)).pool.window == (8, 8)

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    assert layer_of(nn.ReLU(), Mean()).pool.window == (8, 8)

    single = layer_of(Mean(), nn.Tanh(), size=(1, 1, 2, 2))  # a window of one place is none
    assert (single.pool, single.activation.name) == (None, "tanh")

    class Indices(nn.Module):
        def forward(self, x):
            return F.max_pool2d(x, 2, return_indices=True)[0]

    assert layer_of(nn.ReLU(), Indices()).pool.window == (2, 2)


def test_a_pooling_too_wide_to_write_down_is_listed():
    module = nn.Sequential(
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)
    )
    network, skipped = extract_some(module, input_size=(1, 64, 34, 34))
    assert "32x32 positions" in skipped["0 (pooling)"]
    assert network[0].pool is None
    assert network.sources["4"] == ("0",)


@st.composite
def chains(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    steps = st.lists(
        st.sampled_from([*sorted(_ACTS), "norm", "drop", "identity"]), max_size=3, unique=True
    )
    return sizes, [draw(steps) for _ in sizes[1:]], draw(st.integers(0, 1000))


@settings(max_examples=60, deadline=None)
@given(chains())
def test_random_chains_compute_what_the_module_does(chain):
    sizes, steps, seed = chain
    torch.manual_seed(seed)
    parts = []
    for (a, b), extra in zip(itertools.pairwise(sizes), steps, strict=True):
        parts.append(nn.Linear(a, b))
        names = [e for e in extra if e not in _ACTS]
        names += [e for e in extra if e in _ACTS][:1]  # one activation, after the rest
        for name in names:
            parts.append(
                nn.BatchNorm1d(b) if name == "norm"
                else nn.Dropout() if name == "drop"
                else nn.Identity() if name == "identity"
                else _ACTS[name]()
            )  # fmt: skip
    module = shaken(nn.Sequential(*parts))
    network = extract(module)
    x = np.random.default_rng(seed).normal(size=(9, sizes[0]))
    y = x
    for layer in network:
        y = layer(y)
    np.testing.assert_allclose(y, run(module, x), atol=1e-5)
    assert len(network) == len(sizes) - 1
    assert network.straight == set(network.names[1:])


def test_half_precision_and_doubles():
    half = [torch.float16] if VERSION >= (2, 2) else []  # before, the processor has no products
    for dtype in (*half, torch.bfloat16, torch.float64):
        module = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).to(dtype)
        (layer,) = extract(module)
        np.testing.assert_array_equal(layer.matrix(), module[0].weight.double().detach().numpy())
        assert layer.activation.name == "relu"


def test_traced_and_scripted_parts_are_seen():
    hidden = torch.jit.trace(
        nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.ones(1, 3), check_trace=False
    )
    network = extract(nn.Sequential(hidden, nn.Linear(3, 2)), input_size=(1, 3))
    assert acts(network) == {"0.0": "relu", "1": "identity"}
    assert network.sources["1"] == ("0.0",)
    assert acts(extract(hidden, input_size=(1, 3))) == {"0": "relu"}


@pytest.mark.skipif(VERSION < (2, 2), reason="torch.compile takes Python 3.11 since torch 2.1")
def test_wrapped_modules():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    assert extract(torch.compile(module)).names == ("0",)
    assert extract(nn.Linear(3, 4)).names == ("linear",)
