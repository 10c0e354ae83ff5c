"""Ranges of a network's layers against interval arithmetic that is written out by hand."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from eiplane.analyze import Plan  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.run import Settings  # noqa: E402

NEAR = {"abs": 1e-6, "rel": 1e-6}


def ranges(module, in_range=(0.0, 1.0), **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is listed, nothing is assumed
        found = to_network(module.eval(), ExtractOptions(strict=True, **options))
    plan = Plan(found.network, Settings("ei", in_range=in_range))
    return {n: (*plan.in_range(i), plan.range_source(i)) for i, n in enumerate(found.network.names)}


def numbers(parameter):
    return parameter.detach().double().numpy()


def reached(weight, bias, low, high):
    """Where each output of a linear map is under uniform inputs: mean +- 4 deviations, clipped.

    All inputs have one range, as a layer's inputs have.
    """
    w = numbers(weight).reshape(len(weight), -1)
    b = np.zeros(len(w)) if bias is None else numbers(bias)
    mean = b + 0.5 * (low + high) * w.sum(axis=1)
    four = 4.0 * (high - low) * np.sqrt((w * w).sum(axis=1) / 12.0)
    half = np.minimum(four, 0.5 * (high - low) * np.abs(w).sum(axis=1))
    return mean - half, mean + half


def joined(low, high):
    return float(np.min(low)), float(np.max(high))


def relu(low, high):
    return np.maximum(low, 0.0), np.maximum(high, 0.0)


class Tutorial(nn.Module):
    """The network of PyTorch's MNIST tutorials."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, 16 * 4 * 4)
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc3(F.relu(self.fc2(x))), dim=1)


@pytest.mark.parametrize("in_range", [(0.0, 1.0), (-0.4242, 2.8215)])
def test_the_convolutional_network_of_the_tutorials(in_range):
    torch.manual_seed(0)
    net = Tutorial()
    found = ranges(net, in_range, input_size=(2, 1, 28, 28))
    assert found["conv1"] == (*in_range, "given")
    # A maximum over places keeps the range of what it is taken of.
    at = joined(*relu(*reached(net.conv1.weight, net.conv1.bias, *in_range)))
    assert found["conv2"] == (*(pytest.approx(x, **NEAR) for x in at), "activation")
    for before, after in (("conv2", "fc1"), ("fc1", "fc2"), ("fc2", "fc3")):
        layer = getattr(net, before)
        at = joined(*relu(*reached(layer.weight, layer.bias, *at)))
        assert found[after] == (*(pytest.approx(x, **NEAR) for x in at), "activation")


class Bottle(nn.Module):
    """A block of a ResNet: two convolutions with batch norms, a projection, a sum, a ReLU."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2 = (
            nn.Conv2d(3, 4, 3, 1, 1, bias=False),
            nn.Conv2d(4, 4, 3, 1, 1, bias=False),
        )
        self.short, self.n3 = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.n1, self.n2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.d1, self.d2 = (
            nn.Conv2d(4, 4, 3, 1, 1, bias=False),
            nn.Conv2d(4, 4, 3, 1, 1, bias=False),
        )
        self.m1, self.m2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        y = F.relu(self.n1(self.c1(x)))
        h = F.relu(self.n2(self.c2(y)) + self.n3(self.short(x)))
        y = F.relu(self.m1(self.d1(h)))
        h = F.relu(self.m2(self.d2(y)) + h)
        return self.fc(h.mean((2, 3)))


def folded(conv, norm):
    """Weight and bias of a convolution and the frozen batch norm behind it."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return conv.weight.double() * scale.double()[:, None, None, None], (
        norm.bias.double() - (norm.running_mean * scale).double()
    )


def test_a_block_of_a_resnet():
    torch.manual_seed(1)
    net = Bottle()
    for norm in (net.n1, net.n2, net.n3, net.m1, net.m2):
        for t in (norm.weight, norm.running_var):
            nn.init.uniform_(t, 0.5, 2)
        for t in (norm.bias, norm.running_mean):
            nn.init.uniform_(t, -0.5, 0.5)
    found = ranges(net, input_size=(2, 3, 8, 8))
    # Padding: zeros are inputs too, and lie in [0, 1].
    assert found["c1"][:2] == found["short"][:2] == (0.0, 1.0)
    inner = joined(*relu(*reached(*folded(net.c1, net.n1), 0.0, 1.0)))
    assert found["c2"][:2] == pytest.approx((min(0.0, inner[0]), inner[1]), **NEAR)
    a = joined(*reached(*folded(net.c2, net.n2), *inner))
    b = joined(*reached(*folded(net.short, net.n3), 0.0, 1.0))
    block = tuple(float(x) for x in relu(a[0] + b[0], a[1] + b[1]))
    assert found["d1"] == (*(pytest.approx(x, **NEAR) for x in block), "interval")
    inner = joined(*relu(*reached(*folded(net.d1, net.m1), *block)))
    assert found["d2"][:2] == pytest.approx((min(0.0, inner[0]), inner[1]), **NEAR)
    a = joined(*reached(*folded(net.d2, net.m2), *inner))
    last = tuple(float(x) for x in relu(a[0] + block[0], a[1] + block[1]))
    assert found["fc"] == (*(pytest.approx(x, **NEAR) for x in last), "interval")


class Block(nn.Module):
    """A transformer's block with layer norms before attention and MLP, and residuals."""

    def __init__(self, d=16, heads=4, fused=True):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down, self.head = nn.Linear(d, 4 * d), nn.Linear(4 * d, d), nn.Linear(d, 3)
        self.heads, self.fused = heads, fused

    def forward(self, x):
        h = self.n1(x)
        q, k, v = (
            m(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (self.q, self.k, self.v)
        )
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.softmax(q @ k.transpose(-2, -1) / 2.0, -1) @ v
        x = x + self.o(mixed.transpose(1, 2).flatten(-2))
        x = x + self.down(torch.tanh(self.up(self.n2(x))))
        return self.head(x)


@pytest.mark.parametrize("fused", [True, False])
def test_a_block_of_a_transformer(fused):
    torch.manual_seed(2)
    net = Block(fused=fused)
    for norm in (net.n1, net.n2):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    found = ranges(net, (-2.0, 3.0), input_size=(2, 5, 16))
    # Mean 0, mean square 1 over 16 entries: none beyond sqrt(15), which is less than 4.
    normed = {}
    for norm, feeds in ((net.n1, "qkv"), (net.n2, ("up",))):
        w, b = numbers(norm.weight), numbers(norm.bias)
        at = joined(b - 15**0.5 * np.abs(w), b + 15**0.5 * np.abs(w))
        for name in feeds:
            assert found[name] == (*(pytest.approx(x, **NEAR) for x in at), "norm")
        normed[feeds[0]] = at
    # Attention is a mixture of values, in shares.
    values = joined(*reached(net.v.weight, net.v.bias, *normed["q"]))
    assert found["o"][:2] == pytest.approx(values, **NEAR)
    assert found["down"] == (-1.0, 1.0, "activation")
    out = joined(*reached(net.o.weight, net.o.bias, *values))
    mlp = joined(*reached(net.down.weight, net.down.bias, -1.0, 1.0))
    residual = -2.0 + out[0] + mlp[0], 3.0 + out[1] + mlp[1]
    assert found["head"] == (*(pytest.approx(x, **NEAR) for x in residual), "interval")


class Through(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between):
        super().__init__()
        self.a, self.b, self._between = nn.Linear(3, 4), nn.Linear(4, 2), between

    def forward(self, x):
        return self.b(self._between(self.a(x)))


EDGES = torch.tensor([-0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        (lambda z: torch.bucketize(z, EDGES).float(), (0.0, 3.0)),
        (lambda z: torch.searchsorted(EDGES, z).double().float() - 1, (-1.0, 2.0)),
        (lambda z: z.softmax(-1) * 2 - 1, (-1.0, 1.0)),
        (lambda z: F.normalize(z, dim=-1), (-1.0, 1.0)),
        (lambda z: torch.tanh(z).unsqueeze(1).expand(-1, 2, -1).amax(1) / 4, (-0.25, 0.25)),
    ],
)
def test_whole_numbers_and_shares_between_layers(between, expected):
    found = ranges(Through(between), input_size=(5, 3))
    assert found["b"][:2] == pytest.approx(expected, **NEAR)
