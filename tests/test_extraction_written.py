"""Maps and mixtures that are written out, and weights that are used in other ways."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import eiplane  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.network import Mixture  # noqa: E402
from eiplane.network.ranges import Interval  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class _Net(nn.Module):
    def __init__(self, forward, **shapes):
        super().__init__()
        self.run = forward
        for name, shape in shapes.items():
            made = shape if isinstance(shape, nn.Module) else nn.Parameter(torch.randn(*shape))
            setattr(self, name, made)

    def forward(self, x):
        return self.run(self, x)


def _extracted(net, x):
    torch.manual_seed(1)
    return to_network(net.eval(), ExtractOptions(input_data=x, strict=False))


#: The forward pass, the parameters, the layer's matrix, bias and activation, and its features.
WRITTEN = {
    "last axis": (lambda s, x: (x[:, None] * s.w).sum(-1), {"w": (4, 6)},
                  lambda s: s.w, None, lambda x: x),
    "more rows than functions": (lambda s, x: torch.relu((x.unsqueeze(1) * s.w).sum(2) + s.b),
                                 {"w": (100, 6), "b": (100,)}, lambda s: s.w, torch.relu,
                                 lambda x: x),
    "first axis": (lambda s, x: (x[:, :, None] * s.w).sum(1), {"w": (6, 4)},
                   lambda s: s.w.T, None, lambda x: x),
    "weight first": (lambda s, x: torch.tanh((s.w * x[:, None, :]).sum(-1) + s.b),
                     {"w": (4, 6), "b": (4,)}, lambda s: s.w, torch.tanh, lambda x: x),
    "one row": (lambda s, x: (x * s.w).sum(-1, keepdim=True), {"w": (6,)},
                lambda s: s.w[None], None, lambda x: x),
    "mean": (lambda s, x: (x[:, None] * s.w).mean(-1), {"w": (4, 6)},
             lambda s: s.w / 6, None, lambda x: x),
    "scaled and shifted": (lambda s, x: torch.sigmoid((x[:, None] * s.w / math.sqrt(6) + 0.25)
                                                      .sum(-1)), {"w": (70, 6)},
                           lambda s: s.w / math.sqrt(6), torch.sigmoid, lambda x: x),
    "einsum": (lambda s, x: torch.einsum("bi,oi->bio", x, s.w).sum(1), {"w": (4, 6)},
               lambda s: s.w, None, lambda x: x),
    "two axes": (lambda s, x: (x.view(-1, 1, 2, 3) * s.w).sum((-1, -2)), {"w": (4, 2, 3)},
                 lambda s: s.w.reshape(4, 6), None, lambda x: x),
    "divided": (lambda s, x: (x[:, None] / s.w).sum(-1), {"w": (4, 6)},
                lambda s: 1 / s.w, None, lambda x: x),
    "normalised": (lambda s, x: (x[:, None] * (s.g * s.v / s.v.norm(dim=1, keepdim=True))).sum(-1),
                   {"v": (4, 6), "g": (4, 1)},
                   lambda s: s.g * s.v / s.v.norm(dim=1, keepdim=True), None, lambda x: x),
    "turned": (lambda s, x: (x[:, None] * s.w).transpose(1, 2).contiguous().sum(1), {"w": (4, 6)},
               lambda s: s.w, None, lambda x: x),
    "windows": (lambda s, x: (x.unfold(1, 3, 1)[:, None] * s.w[:, None]).sum(-1), {"w": (4, 3)},
                lambda s: s.w, None, None),
    "vecdot": (lambda s, x: torch.linalg.vecdot(x[:, None], s.w), {"w": (4, 6)},
               lambda s: s.w, None, lambda x: x),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_map_that_is_written_out_is_a_layer(name):
    forward, shapes, matrix, activation, features = WRITTEN[name]
    torch.manual_seed(0)
    net, x = _Net(forward, **shapes), torch.rand(5, 6)
    found = _extracted(net, x)
    assert not found.skipped
    (layer,) = found.network
    with torch.no_grad():
        np.testing.assert_allclose(layer.load().weight, matrix(net).numpy(), rtol=2e-7)
        fresh = torch.randn(7, 6)
        if features is not None:
            np.testing.assert_allclose(layer.load()(fresh.double().numpy()), net(fresh).numpy(),
                                       rtol=1e-5, atol=1e-5)  # fmt: skip
    if activation is not None:
        z = torch.linspace(-3, 3, 7)
        np.testing.assert_allclose(layer.load().activation(z.double().numpy()),
                                   activation(z).numpy(), atol=1e-6)  # fmt: skip


def test_written_maps_after_each_other():
    torch.manual_seed(0)
    net = _Net(lambda s, x: (torch.relu((x[:, None] * s.w).sum(-1))[:, None] * s.v).sum(-1),
               w=(5, 6), v=(3, 5))  # fmt: skip
    found = _extracted(net, torch.rand(4, 6))
    assert [str(layer.name) for layer in found.network] == ["w", "v"] and not found.skipped
    first, second = (layer.load() for layer in found.network)
    x = np.random.default_rng(0).normal(size=(9, 6))
    with torch.no_grad():
        wanted = net(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(second(first(x)), wanted, rtol=1e-5, atol=1e-5)


def test_a_written_map_for_each_head():
    torch.manual_seed(0)
    net = _Net(lambda s, x: (x.view(-1, 2, 1, 3) * s.w).sum(-1), w=(2, 4, 3))
    found = _extracted(net, torch.rand(5, 6))
    assert [str(layer.name) for layer in found.network] == ["w[0]", "w[1]"]
    for k, layer in enumerate(found.network):
        np.testing.assert_array_equal(layer.load().weight, net.w[k].detach().numpy())


def test_a_sum_over_what_a_mask_leaves_is_no_map():
    torch.manual_seed(0)
    net = _Net(lambda s, x: (torch.tanh(s.fc(x)) * (1 - s.mask)).sum(-1), fc=nn.Linear(6, 4))
    net.register_buffer("mask", torch.tensor([1.0, 0.0, 0.0, 1.0]))
    found = _extracted(net, torch.rand(5, 6))
    assert all(str(layer.name).startswith("fc") for layer in found.network)


def test_a_scale_that_is_pooled_is_no_map():
    torch.manual_seed(0)
    net = _Net(lambda s, x: (torch.relu(s.fc(x)) * s.g).mean(0), fc=nn.Linear(6, 5), g=(5,))
    found = _extracted(net, torch.rand(4, 6))
    (layer,) = found.network
    x = torch.linspace(-2, 2, 9)[:, None].expand(9, 6)
    with torch.no_grad():
        wanted = (torch.relu(net.fc(x)) * net.g).numpy()
    np.testing.assert_allclose(layer.load()(x.double().numpy()), wanted, rtol=1e-5, atol=1e-5)


#: A matrix that makes no layer by its use.
NO_MAP = {
    "radial basis": (lambda s, x: torch.exp(-((x[:, None] - s.w) ** 2).sum(-1)), (4, 6)),
    "centres, expanded": (lambda s, x: (x[:, None].expand(5, 4, 6)
                                        - s.w.expand(5, 4, 6)).norm(dim=-1),
                          (4, 6)),
    "centres, repeated": (lambda s, x: (x[:, None].repeat(1, 4, 1) - s.w).abs().amax(-1), (4, 6)),
    "distances": (lambda s, x: torch.cdist(x, s.w), (4, 6)),
    "morphology": (lambda s, x: (x[:, None] + s.w).amax(-1), (4, 6)),
    "Kronecker": (lambda s, x: torch.kron(x, s.w), (2, 2)),
    "bilinear": (lambda s, x: F.bilinear(x, x, s.w), (4, 6, 6)),
    "entry by entry": (lambda s, x: torch.relu(x * s.w), (5, 6)),
    "powers": (lambda s, x: (x[:, None] ** s.w.abs()).sum(-1), (4, 6)),
    "chosen": (lambda s, x: torch.where(x[:, None] > 0.5, s.w, -s.w).sum(-1), (4, 6)),
    "solved": (lambda s, x: torch.linalg.solve(s.w, x.t()), (6, 6)),
    "addcmul": (lambda s, x: torch.addcmul(x[:, None], x[:, None], s.w).sum(-1), (4, 6)),
    "lerp": (lambda s, x: torch.lerp(x[:, None], s.w, 0.3).sum(-1), (4, 6)),
    "shares of rows": (lambda s, x: F.embedding_bag(torch.arange(30).view(5, 6) % 4, s.w,
                                                    per_sample_weights=x, mode="sum"), (4, 3)),
    "an image": (lambda s, x: F.grid_sample(s.w, 2 * x[:1, :4].view(1, 1, 2, 2) - 1,
                                            align_corners=False), (1, 3, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_MAP)
def test_a_matrix_that_is_no_map_is_listed(name):
    forward, shape = NO_MAP[name]
    torch.manual_seed(0)
    net = _Net(lambda s, x: torch.cat([forward(s, x).flatten(), s.fc(x).flatten()]), w=shape,
               fc=nn.Linear(6, 2))  # fmt: skip
    x = torch.rand(5, 6)
    with torch.no_grad():  # it does influence the result
        before = net(x)
        net.w.mul_(1.5)
        assert not torch.equal(net(x), before)
    found = _extracted(net, x)
    assert [str(layer.name) for layer in found.network] == ["fc"]
    assert [s.name for s in found.skipped] == ["w"] and found.skipped[0].reason


@pytest.mark.parametrize("forward", [
    lambda s, x: s.fc(x + s.w),
    lambda s, x: s.fc(torch.cat([s.w, x], 0)),
    lambda s, x: s.fc(F.layer_norm(x, (6,)) + s.w[2]),
])  # fmt: skip
def test_a_position_is_not_listed(forward):
    torch.manual_seed(0)
    found = _extracted(_Net(forward, w=(5, 6), fc=nn.Linear(6, 2)), torch.rand(5, 6))
    assert [str(layer.name) for layer in found.network] == ["fc"] and not found.skipped


@pytest.mark.parametrize("norm", [
    lambda s, h, x: F.layer_norm(h, (5,), 3 + torch.sigmoid(s.g(x[0]))),
    lambda s, h, x: F.layer_norm(h, (5,), None, 7 * torch.tanh(s.g(x[0]))),
    lambda s, h, x: F.group_norm(h, 1, 3 + torch.sigmoid(s.g(x[0])), torch.tanh(s.g(x[1]))),
])  # fmt: skip
def test_a_norm_whose_scale_is_a_signal_leads_on(norm):
    torch.manual_seed(0)
    net = _Net(lambda s, x: s.out(norm(s, s.fc(x), x)), fc=nn.Linear(6, 5), g=nn.Linear(6, 5),
               out=nn.Linear(5, 2))  # fmt: skip
    found = _extracted(net, torch.rand(5, 6))
    assert not found.skipped
    result = eiplane.analyze(net, input_data=torch.rand(5, 6), measures="sensitivity", bins=2)
    low, high = {r.name: r.in_range for r in result.layers}["out"]
    seen = []
    net.out.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for _ in range(200):
            net(20 * torch.rand(5, 6) - 10)
    seen = torch.stack(seen)
    assert low <= float(seen.min()) and float(seen.max()) <= high
    assert high - low > 2 * 2  # not the range of a norm without scale and shift
    assert np.isfinite([low, high]).all()


# -- mixtures ---------------------------------------------------------------------------------


class _Gated(nn.Module):
    def __init__(self, mixed):
        super().__init__()
        self.mixed = mixed
        self.z, self.r, self.n = (nn.Linear(7, 4) for _ in range(3))
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        h = torch.zeros(len(x), 4)
        for t in range(x.shape[1]):
            a = torch.cat([x[:, t], h], -1)
            z, r = torch.sigmoid(self.z(a)), torch.sigmoid(self.r(a))
            n = torch.tanh(self.n(torch.cat([x[:, t], r * h], -1)))
            h = self.mixed(z, n, h)
        return self.out(h)


@pytest.mark.parametrize("mixed", [
    lambda z, n, h: (1 - z) * n + z * h,
    lambda z, n, h: z * h + (1 - z) * n,
    lambda z, n, h: h + z * (n - h),
    lambda z, n, h: torch.lerp(h, n, z),
    lambda z, n, h: (1.0 - z).mul(n).add_(h * z),
])  # fmt: skip
def test_a_gated_state_stays_between_what_it_mixes(mixed):
    torch.manual_seed(0)
    net = _Gated(mixed).eval()
    result = eiplane.analyze(net, input_data=torch.rand(2, 5, 3), in_range=(-1, 1),
                             measures="sensitivity", bins=2)  # fmt: skip
    assert {r.name: str(r.activation) for r in result.layers} == {
        "z": "sigmoid", "r": "sigmoid", "n": "tanh", "out": "identity"}  # fmt: skip
    assert not result.skipped
    for layer in result.layers:
        assert layer.in_range == (-1.0, 1.0)


def test_every_gate_of_an_lstm_with_a_layer_for_each_is_found():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.f, self.i, self.g, self.o = (nn.Linear(7, 4) for _ in range(4))

        def forward(self, x):
            h = c = torch.zeros(len(x), 4)
            for t in range(x.shape[1]):
                a = torch.cat([x[:, t], h], -1)
                c = torch.sigmoid(self.f(a)) * c + torch.sigmoid(self.i(a)) * torch.tanh(self.g(a))
                h = torch.sigmoid(self.o(a)) * torch.tanh(c)
            return h

    found = _extracted(Cell(), torch.rand(2, 4, 3))
    assert not found.skipped
    assert {str(a.name): a.load().activation.kind for a in found.network} == {
        "f": "sigmoid", "i": "sigmoid", "g": "tanh", "o": "sigmoid"}  # fmt: skip


def test_a_gate_that_is_no_sigmoid_where_it_counts_is_told_apart():
    # In the first step what multiplies zeros is a relu, later it is a sigmoid: not one layer.
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.f, self.i = nn.Linear(7, 4), nn.Linear(7, 4)

        def forward(self, x):
            c = torch.zeros(len(x), 4)
            for t in range(x.shape[1]):
                a = torch.cat([x[:, t], c], -1)
                f = torch.relu(self.f(a)) if t == 0 else torch.sigmoid(self.f(a))
                c = f * c + torch.tanh(self.i(a))
            return c

    found = _extracted(Cell(), torch.rand(2, 3, 3))
    assert "f" in {s.name for s in found.skipped}


def test_a_mixture_spans_what_its_corners_span():
    rng = np.random.default_rng(0)
    for _ in range(200):
        ends = np.sort(rng.normal(size=(3, 2)) * 2, axis=1)
        if rng.random() < 0.5:
            ends[0] = np.sort(rng.random(2))
        found = Mixture().interval([Interval.of(*e, "interval") for e in ends], None)
        s, a, b = (rng.uniform(*e, size=4000) for e in ends)
        seen = s * a + (1 - s) * b
        corners = [t * x + (1 - t) * y for t in ends[0] for x in ends[1] for y in ends[2]]
        assert found.low <= seen.min() and seen.max() <= found.high
        assert abs(found.low - min(corners)) < 1e-12 and abs(found.high - max(corners)) < 1e-12
    whole = Mixture().interval([Interval.of(0, 1, "activation"), Interval.of(-1, 1, "activation"),
                                Interval.of(-math.inf, 2, "assumed")], None)  # fmt: skip
    assert (whole.low, whole.high) == (-math.inf, 2.0)


@pytest.mark.parametrize("weight", [1.7, -0.5])
def test_a_lerp_that_goes_beyond_its_ends(weight):
    torch.manual_seed(0)
    net = _Net(lambda s, x: s.out(torch.lerp(torch.tanh(s.a(x)), torch.tanh(s.b(x)), weight)),
               a=nn.Linear(6, 5), b=nn.Linear(6, 5), out=nn.Linear(5, 2))  # fmt: skip
    result = eiplane.analyze(net, input_data=torch.rand(5, 6), measures="sensitivity", bins=2)
    reach = abs(weight) + abs(1 - weight)
    assert result["out"].in_range == pytest.approx((-reach, reach), rel=1e-6)


def test_a_part_that_compiles_itself_is_followed():
    if not hasattr(torch, "cond") or not hasattr(torch.compiler, "set_stance"):
        pytest.skip("this torch has no cond that runs without its compiler")
    torch.manual_seed(0)
    net = _Net(lambda s, x: torch.cond(torch.tensor(True), lambda a: torch.relu(s.a(a)),
                                       lambda a: torch.tanh(s.b(a)), (x,)),
               a=nn.Linear(6, 5), b=nn.Linear(6, 5))  # fmt: skip
    found = _extracted(net, torch.rand(4, 6))
    (layer,) = found.network
    x = torch.randn(9, 6)
    with torch.no_grad():
        wanted = torch.relu(net.a(x)).numpy()
    np.testing.assert_allclose(layer.load()(x.double().numpy()), wanted, rtol=1e-5, atol=1e-5)
    assert [s.name for s in found.skipped] == ["b"]
