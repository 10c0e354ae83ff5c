"""Every kind of fault that extraction once had, held against the module itself.

Nothing here asks eiplane what a layer is: the module's own forward pass is taken, the layer's input
and whatever its consumers receive are recorded, one input is swept, and the outputs are binned and
counted. ``seen(module, name)`` runs the real submodules; the layer has to give the same numbers.
"""

import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from found import layers, ranges  # noqa: E402
from swept import Net, check, extracted  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from eiplane.extract import ExtractOptions, to_network  # noqa: E402

torch.manual_seed(1)
THETA = nn.Parameter(torch.randn(4))
SCALE = nn.Parameter(torch.rand(4) + 0.5)


@torch.jit.script
def scripted_swish(z):
    return z * torch.sigmoid(z)


@torch.jit.script
def scripted_cell(z, k: float):
    for _ in range(2):
        z = torch.tanh(k * z)
    return z


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        return (z > 0.1).float()

    @staticmethod
    def backward(ctx, grad):
        return grad


def in_place(change):
    def function(z):
        h = z.clone() if not z.requires_grad else z + 0
        made = change(h)
        return h if made is None else made

    return function


def out_argument(z):
    o = torch.empty_like(z)
    torch.sigmoid(z, out=o)
    return o


def set_items(z):
    h = z * 1
    h[h < 0] = 0
    return h


def copied(z):
    o = torch.zeros(z.shape[0], 2, 4)
    o[:, 1].copy_(torch.tanh(z))
    return o[:, 1]


def added_in_place(z):
    h = z * 2
    h += THETA
    h.mul_(0.5)
    return h.clamp_(-0.3, 0.4)


def slices(z):
    h = z * 1
    h[:, :2].tanh_()
    h[:, 2:].tanh_()
    return h


def by_mask_after_log(z):
    z.mean().item()
    h = z.clone()
    h[h < 0] = 0.0
    return h


#: What follows a linear map of four outputs; None: any name.
AFTER = {
    # operators that a function mode does not see
    "script": (scripted_swish, "silu"),
    "script loop": (lambda z: scripted_cell(z, 1.5), None),
    "trace": (torch.jit.trace(lambda z: F.gelu(z) * 2, torch.ones(2, 4), check_trace=False), None),
    "autograd function": (Straight.apply, None),
    # writes through views
    "view relu": (in_place(lambda h: [h.view(-1).relu_()] and None), "relu"),
    "slices": (slices, "tanh"),
    "data": (in_place(lambda h: [h.data.clamp_(0)] and None), "relu"),
    "out": (out_argument, "sigmoid"),
    "items": (set_items, "relu"),
    "copy": (copied, "tanh"),
    "added": (added_in_place, None),
    "unbind": (in_place(lambda h: [c.relu_() for c in h.unbind(1)] and None), "relu"),
    # one number per neuron
    "threshold": (lambda z: torch.relu(z - THETA), "relu"),
    "scale": (lambda z: torch.tanh(SCALE * z + THETA), "tanh"),
    "temperature": (lambda z: torch.sigmoid(z / SCALE), "sigmoid"),
    "slopes": (lambda z: F.prelu(z, SCALE), None),
    "swish with beta": (lambda z: z * torch.sigmoid(SCALE * z), None),
    "batch norm": (lambda z: F.batch_norm(z, THETA, SCALE, SCALE, THETA).relu(), "relu"),
    "clip": (lambda z: torch.minimum(z.relu(), SCALE), None),
    # the wrong category
    "masked fill": (lambda z: z.masked_fill(z < 0, 0), "relu"),
    "where": (lambda z: torch.where(z > 0.2, z, torch.zeros(())), None),
    "step": (lambda z: (z > 0).float(), "step"),
    "sign": (lambda z: z.sign(), "sign"),
    "comparison of numbers": (lambda z: (z > 0.1) * z, None),
    "heaviside": (lambda z: torch.heaviside(z, torch.zeros(1)), None),
    # probes too regular
    "hardshrink": (lambda z: F.hardshrink(z, 0.1), None),
    "softshrink": (lambda z: F.softshrink(z, 0.05), None),
    "fixed point": (lambda z: torch.round(z * 8) / 8, None),
    "narrow": (lambda z: torch.exp(-((z - 0.1) ** 2) / 0.01), None),
    # any elementwise function
    "sin": (torch.sin, "sin"),
    "squared": (lambda z: F.relu(z) ** 2, "relu_squared"),
    "softcap": (lambda z: 3.0 * torch.tanh(z / 3.0), None),
    "floor": (lambda z: torch.floor(4 * z), None),
    "scaled": (lambda z: 10 * torch.tanh(z), "10 * tanh"),
    # a step between two constants, of the layer's own sign
    "two constants": (lambda z: torch.where(z > 0.1, SCALE, -torch.ones(())), None),
    "straight through, scaled": (lambda z: Straight.apply(z).relu() * (SCALE - 1), None),
    "not": (lambda z: 1.0 - (~(z > 0.2)).float(), None),
    # a tensor's shape is written, none of its numbers
    "squeezed": (lambda z: z.clone().unsqueeze_(0).squeeze_(0).relu_(), "relu"),
    "turned": (lambda z: z.clone().t_().tanh_().t_(), "tanh"),
    # constants that come from Python after numbers of the data went there
    "constant after a log": (lambda z: (z.mean().item(), torch.relu(z) / 0.7)[1], "relu"),
    "written after a log": (lambda z: by_mask_after_log(z), "relu"),
    # watching
    "log": (lambda z: (z.abs().mean(), z.max().item(), z.relu())[2], "relu"),
    "print": (lambda z: (f"{z.norm():.3f}", bool((z > 9).any()), torch.tanh(z))[2], "tanh"),
    "quantile": (lambda z: (torch.quantile(z, 0.3), z.sigmoid())[1], "sigmoid"),
    "sorted": (
        lambda z: (lambda o: (o.gather(1, z.argmax(1)[:, None]), z.relu()))(z.exp().sort()[0])[1],
        "relu",
    ),
    "histogram": (lambda z: (torch.histc(z, 4), z.argmax(), z.sigmoid())[2], "sigmoid"),
}


@pytest.mark.parametrize("kind", AFTER)
def test_what_follows_a_layer(kind):
    if kind in ("script", "script loop", "trace") and torch.__version__.startswith("2.0."):
        pytest.skip("torch 2.0 shows nothing of scripted code: its layers are listed")
    function, name = AFTER[kind]
    module = Net(lambda s, x: s.out(function(s.fc(x))), fc=nn.Linear(3, 4), out=nn.Linear(4, 2))
    found = extracted(module, input_size=(5, 3))
    assert found.skipped == ()
    fc = layers(found)["fc"]
    if name is not None:
        assert fc.activation.name == name
    x = np.random.default_rng(0).uniform(-2, 2, size=(200, 3))
    with torch.no_grad():
        real = function(module.fc(torch.as_tensor(x, dtype=torch.float32))).numpy()
    close = np.isclose(fc(x), real, atol=2e-5)
    assert close.mean() > 0.995  # single precision may fall on the other side of a step
    check(module, "fc", lambda x: function(module.fc(x)), 3, input_size=(5, 3))


@pytest.mark.parametrize(
    "function",
    [lambda z: torch.from_numpy(np.maximum(z.numpy(), 0.0)), lambda z: torch.cummax(z, 1)[0],
     lambda z: torch.tensor([[max(v, 0.0) for v in row] for row in z.tolist()]),
     lambda z: z * (z > z.mean(1, keepdim=True)), lambda z: torch.linalg.qr(z)[0],
     lambda z: torch.where(z > z.median(), z, torch.zeros(())),
     lambda z: z * torch.tensor(z.detach().abs().max().item())],
)  # fmt: skip
def test_what_is_not_understood_is_listed(function):
    module = Net(lambda s, x: s.out(function(s.fc(x))), fc=nn.Linear(3, 4), out=nn.Linear(4, 2))
    found = extracted(module, input_size=(5, 3))
    reasons = {s.name: s.reason for s in found.skipped}
    if "fc" not in reasons:  # a product with another signal: it sees the map itself
        assert layers(found)["fc"].activation.name == "identity"
    assert "out" in layers(found)


# -- views after a convolution -----------------------------------------------------------------


@pytest.mark.parametrize(
    "flat",
    [lambda h: torch.relu(h).view(len(h), -1), lambda h: torch.relu(h.view(len(h), -1)),
     lambda h: torch.relu(h).permute(0, 2, 3, 1).reshape(len(h), -1),
     lambda h: torch.relu(h.unsqueeze(0))[0].flatten(1),
     lambda h: torch.stack([c.relu() for c in h.unbind(1)], 1).view(len(h), -1)],
)  # fmt: skip
def test_views_after_a_convolution(flat):
    module = Net(lambda s, x: s.fc(flat(s.conv(x))), conv=nn.Conv2d(1, 3, 3), fc=nn.Linear(48, 2))
    found = extracted(module, input_size=(2, 1, 6, 6))
    assert found.skipped == ()
    conv = layers(found)["conv"]
    assert conv.activation.name == "relu"
    w, b = conv.matrix(), conv.offsets()
    middle, spread = b + 0.5 * w.sum(1), np.sqrt((w * w).sum(1) / 12)
    half = np.minimum(4 * spread, 0.5 * np.abs(w).sum(1))
    high = np.maximum(middle + half, 0).max()
    low = np.maximum(middle - half, 0).min()
    assert ranges(found)["fc"] == (pytest.approx(low), pytest.approx(high), "activation")


# -- ranges ------------------------------------------------------------------------------------


def norm_module(norm, **more):
    return Net(
        lambda s, x: s.out(norm(s, s.fc(x))), fc=nn.Linear(3, 8), out=nn.Linear(8, 2), **more
    )


def rms(s, z):
    return z * torch.rsqrt((z * z).mean(-1, keepdim=True) + 1e-6) * s.g


def rms_by_power(s, z):
    return s.g * (z / torch.sqrt(z.pow(2).mean(-1, keepdim=True) + 1e-6))


def layer_norm_by_hand(s, z):
    c = z - z.mean(-1, keepdim=True)
    return c / torch.sqrt((c**2).mean(-1, keepdim=True) + 1e-6) * s.g


def layer_norm_by_var(s, z):
    return (z - z.mean(-1, keepdim=True)) * torch.rsqrt(z.var(-1, keepdim=True) + 1e-6) * s.g


@pytest.mark.parametrize("norm", [rms, rms_by_power, layer_norm_by_hand, layer_norm_by_var])
def test_norms_written_out(norm):
    g = nn.Parameter(torch.rand(8) + 0.5)
    found = extracted(norm_module(norm, g=g), input_size=(5, 3))
    assert found.skipped == ()
    most = 8**0.5 if norm in (rms, rms_by_power) else 7**0.5
    reach = most * float(g.max())
    assert ranges(found)["out"] == (pytest.approx(-reach), pytest.approx(reach), "norm")


def test_norms_of_torch():
    ln = nn.LayerNorm(8)
    nn.init.uniform_(ln.weight, 0.5, 2)
    nn.init.uniform_(ln.bias, -1, 1)
    found = extracted(norm_module(lambda s, z: s.ln(z), ln=ln), input_size=(5, 3))
    w, b = ln.weight.detach().double().numpy(), ln.bias.detach().double().numpy()
    reach = 7**0.5 * np.abs(w)
    expected = ((b - reach).min(), (b + reach).max())
    assert ranges(found)["out"] == (*map(pytest.approx, expected), "norm")


@pytest.mark.skipif(not hasattr(nn, "RMSNorm"), reason="torch has it since 2.4")
def test_rms_norm_of_torch():
    wide = Net(
        lambda s, x: s.o(s.n(s.i(x))), i=nn.Linear(3, 64), n=nn.RMSNorm(64), o=nn.Linear(64, 2)
    )
    assert ranges(extracted(wide))["o"] == (pytest.approx(-4.0), pytest.approx(4.0), "norm")


def test_intervals_by_hand():
    module = Net(lambda s, x: s.fc(2 * x - 1), fc=nn.Linear(3, 4))
    assert ranges(extracted(module, input_size=(5, 3)))["fc"] == (-1.0, 1.0, "interval")
    module = Net(lambda s, x: s.fc(x / 255), fc=nn.Linear(3, 4))
    found = ranges(extracted(module, input_size=(5, 3)), in_range=(0, 255))
    assert found["fc"] == (0.0, pytest.approx(1.0), "interval")
    module = Net(lambda s, x: s.o(10 * torch.tanh(s.fc(x))), fc=nn.Linear(3, 4), o=nn.Linear(4, 2))
    assert ranges(extracted(module, input_size=(5, 3)))["o"][:2] == (-10.0, 10.0)
    module = Net(
        lambda s, x: s.o(torch.tanh(s.a(x)) + torch.sigmoid(s.b(x)) - 0.5 * torch.tanh(s.a(x))),
        a=nn.Linear(3, 4), b=nn.Linear(3, 4), o=nn.Linear(4, 2),
    )  # fmt: skip
    found = extracted(module, input_size=(5, 3))
    low, high, source = ranges(found)["o"]
    assert source == "interval"
    assert low <= -0.5 and high >= 1.5  # what can really be reached
    assert low >= -1.5 - 1e-9 and high <= 2.5 + 1e-9


def test_embedding_cat_and_softmax():
    e = nn.Embedding(10, 4)
    found = extracted(Net(lambda s, i: s.o(s.e(i)), e=e, o=nn.Linear(4, 2)),
                      input_data=torch.arange(5)[None])  # fmt: skip
    w = e.weight.detach()
    expected = (pytest.approx(float(w.min())), pytest.approx(float(w.max())), "interval")
    assert ranges(found)["o"] == expected
    module = Net(
        lambda s, x: s.o(torch.cat([torch.tanh(s.a(x)), 3 * torch.sigmoid(s.a(x)), x], -1)),
        a=nn.Linear(3, 4), o=nn.Linear(11, 2),
    )  # fmt: skip
    assert ranges(extracted(module, input_size=(5, 3)), in_range=(0, 2))["o"][:2] == (-1.0, 3.0)
    module = Net(lambda s, x: s.o(s.a(x).softmax(-1)), a=nn.Linear(3, 4), o=nn.Linear(4, 2))
    assert ranges(extracted(module, input_size=(5, 3)))["o"][:2] == (0.0, 1.0)


def test_batch_norm_between_layers():
    bn = nn.BatchNorm1d(4)
    for t in (bn.weight, bn.running_var):
        nn.init.uniform_(t, 0.5, 2)
    for t in (bn.bias, bn.running_mean):
        nn.init.uniform_(t, -1, 1)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), bn, nn.Linear(4, 2))
    scale = (bn.weight / torch.sqrt(bn.running_var + bn.eps)).detach().double()
    shift = bn.bias.detach().double() - bn.running_mean.double() * scale
    expected = (float((shift - scale.abs()).min()), float((shift + scale.abs()).max()))
    assert ranges(extracted(module))["3"][:2] == pytest.approx(expected, abs=1e-6)


# -- recurrent, experts, parallel maps ---------------------------------------------------------


def unrolled(nonlinearity):
    def forward(s, x):
        h = torch.zeros(x.shape[1], 4)
        for t in range(len(x)):
            h = nonlinearity(s.i(x[t]) + s.h(h))
        return s.o(h)

    return Net(forward, i=nn.Linear(3, 4), h=nn.Linear(4, 4), o=nn.Linear(4, 2))


def test_recurrent_by_hand():
    found = extracted(unrolled(torch.tanh), input_size=(5, 2, 3))
    assert set(found.network.names) == {"i", "h", "o"}
    assert found.skipped == ()
    module, states = unrolled(torch.tanh), []
    module.h.register_forward_pre_hook(lambda m, x: states.append(x[0]))
    found = extracted(module, input_size=(5, 2, 3))
    states.clear()
    with torch.no_grad():
        for _ in range(50):
            module(torch.rand(5, 20, 3))
    reached = torch.cat(states)
    low, high, source = ranges(found)["h"]
    # All uses count, the first one's zeros among them.
    assert -1.0 <= low <= float(reached.min()) and float(reached.max()) <= high <= 1.0
    assert source == "interval"
    relu = ranges(extracted(unrolled(torch.relu), input_size=(5, 2, 3)))
    assert relu["h"][0] == 0.0
    assert relu["h"][1] > 0.0 and relu["h"][2] == "interval"


def mixture(choose):
    def forward(s, x):
        chosen = s.router(x).argmax(-1)
        out = torch.zeros(len(x), 4)
        for e, expert in enumerate(s.experts):
            choose(out, chosen == e, expert, x)
        return s.o(out)

    experts = nn.ModuleList(
        nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4)) for _ in range(3)
    )
    return Net(forward, router=nn.Linear(3, 3), experts=experts, o=nn.Linear(4, 2))


def by_mask(out, mask, expert, x):
    out[mask] = expert(x[mask])


def by_nonzero(out, mask, expert, x):
    (index,) = mask.nonzero(as_tuple=True)
    out.index_add_(0, index, expert(x[index]))


def by_where(out, mask, expert, x):
    out.copy_(torch.where(mask[:, None], expert(x), out))


@pytest.mark.parametrize("choose", [by_mask, by_nonzero, by_where])
def test_experts(choose):
    torch.manual_seed(3)
    module = mixture(choose)
    x = torch.randn(40, 3)
    used = sorted(set(module.router(x).argmax(-1).tolist()))
    found = extracted(module, input_data=x)
    names, left = set(found.network.names), {s.name for s in found.skipped}
    for e in range(3):
        pair = {f"experts.{e}.0", f"experts.{e}.2"}
        assert pair <= (names if e in used else left)
    made = layers(found)
    assert made[f"experts.{used[0]}.0"].activation.name == "relu"
    # no token at all for some
    few = extracted(module, input_data=x[:1])
    assert len(few.network.names) + len(few.skipped) >= 8


def test_a_stack_of_experts():
    w1, w2 = nn.Parameter(torch.randn(2, 3, 5)), nn.Parameter(torch.randn(2, 5, 4))
    module = Net(lambda s, x: s.o(torch.bmm(torch.relu(torch.bmm(x.expand(2, -1, -1), s.w1)), s.w2)
                                  .sum(0)), w1=w1, w2=w2, o=nn.Linear(4, 2))  # fmt: skip
    found = extracted(module, input_size=(6, 3))
    made = layers(found)
    assert set(made) == {"w1[0]", "w1[1]", "w2[0]", "w2[1]", "o"}
    np.testing.assert_allclose(made["w1[1]"].weight, w1[1].T.detach().numpy())
    assert made["w1[0]"].activation.name == "relu"


def test_quantisation_aware_training():
    quantization = pytest.importorskip("torch.ao.quantization")
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.qconfig = quantization.get_default_qat_qconfig("fbgemm")
        quantization.prepare_qat(module, inplace=True)
        module(torch.rand(16, 3))
        module.eval().apply(quantization.disable_observer)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    found = extracted(module, input_size=(8, 3))
    assert {"0", "2"} <= set(found.network.names)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    x = torch.rand(50, 3)
    with torch.no_grad():
        real = module[1](module[0](x)).numpy()
    made = layers(found)["0"](x.numpy())
    assert np.isclose(made, real, atol=1e-4).mean() > 0.9


def test_transposed_convolution():
    module = nn.Sequential(nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), nn.Tanh())
    (layer,) = extracted(module, input_size=(1, 2, 5, 5)).network
    assert layer.activation.name == "tanh"
    x = torch.randn(1, 2, 5, 5)
    with torch.no_grad():
        real = module(x)[0].double().numpy()
    # Every output is one of the layer's, of some 2 x 2 field of the input.
    field = layer.edge_shape[2:]
    assert field == (2, 2)
    fields = F.unfold(x, field)[0].T.double().numpy()
    values = layer(fields).reshape(len(fields), 3, 4)
    inner = real[:, 2:-2, 2:-2]
    for c in range(3):
        for v in inner[c].ravel():
            assert np.abs(values[:, c] - v).min() < 1e-5


def test_random_numbers_are_no_weights():
    module = Net(lambda s, x: s.o(torch.relu(x @ torch.randn(3, 4))), o=nn.Linear(4, 2))
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = to_network(module, ExtractOptions(input_size=(2, 3)))
        states.append([(layer.name, layer.matrix().tolist()) for layer in found.network])
        assert any("drawn at random" in s.reason for s in found.skipped)
    assert states[0] == states[1]


def test_parametrised_weights_are_not_listed():
    parametrize = nn.utils.parametrizations
    made = [parametrize.spectral_norm, parametrize.orthogonal]
    made += [parametrize.weight_norm] if hasattr(parametrize, "weight_norm") else []
    for make in made:
        module = nn.Sequential(make(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2))
        found = to_network(module, ExtractOptions(strict=True))
        assert found.network.names == ("0", "2")
        x = torch.randn(6, 4)
        with torch.no_grad():
            real = module.eval()[:2](x).numpy()
        np.testing.assert_allclose(layers(found)["0"](x.numpy()), real, atol=1e-5)


def test_constants_registered_or_not():
    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = torch.randn(4, 3)
            self.register_buffer("fixed", torch.randn(4, 4))
            self.kept = [torch.randn(2, 4)]

        def forward(self, x):
            x = torch.relu(x @ self.plain.T)
            return F.linear(torch.tanh(x @ self.fixed), self.kept[0])

    module = Free()
    found = extracted(module, input_size=(2, 3))
    assert [(x.name, x.activation.name) for x in found.network] == [
        ("plain", "relu"), ("fixed", "tanh"), ("kept.0", "identity")
    ]  # fmt: skip
    np.testing.assert_array_equal(layers(found)["fixed"].weight, module.fixed.T.numpy())


# -- numbers that Python takes from the data ---------------------------------------------------


class Taken(nn.Module):
    """a, something made of a number of its output, b."""

    def __init__(self, between):
        super().__init__()
        self.between = between
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(self.between(self, self.a(x)))


def logged(module, h):
    module.log = h.mean().item()
    return torch.tanh(h)


@pytest.mark.parametrize(
    ("between", "listed"),
    [
        (lambda m, h: h * h.abs().max().item(), True),
        (lambda m, h: torch.relu(h - float(h.mean())), True),
        (lambda m, h: torch.relu(h * h.tolist()[0][0]), True),
        (logged, False),
    ],
)
def test_a_number_taken_from_the_data_is_no_constant(between, listed):
    torch.manual_seed(0)
    found = to_network(Taken(between), ExtractOptions())
    reasons = {s.name: s.reason for s in found.skipped}
    assert ("a" in reasons) == listed
    assert found.network.names == (("b",) if listed else ("a", "b"))
    if listed:
        assert "from the data" in reasons["a"] or "leave torch" in reasons["a"]


def test_a_tensor_filled_with_a_number_from_the_data_is_another_signal():
    torch.manual_seed(0)
    module = Taken(lambda m, h: torch.relu(h + torch.full((4,), h.min().item())))
    found = layers(to_network(module, ExtractOptions()))
    assert found["a"].activation.name == "identity"  # all that a sum with it leaves of it


def test_projections_of_an_attention_behind_a_layer_keep_their_names():
    module = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16))
    names = to_network(module, ExtractOptions()).network.names
    assert names[1:4] == tuple(f"1.self_attn.in_proj.{n}" for n in "qkv")


@pytest.mark.parametrize("way", ["addmm", "baddbmm"])
def test_biases_that_an_operator_adds(way):
    w, b = nn.Parameter(torch.randn(2, 3, 4)), nn.Parameter(torch.randn(2, 4))

    def forward(s, x):
        if way == "addmm":
            y = torch.addmm(0.5 * s.b, x, s.w[0].expand(3, 4), beta=1, alpha=2)
        else:
            y = torch.baddbmm(s.b[:, None], x.expand(2, -1, -1), s.w).sum(0)
        return s.out(torch.relu(y) if way == "addmm" else y)

    if way == "addmm":
        b = nn.Parameter(torch.randn(5, 4))  # another number in each row
    module = Net(forward, w=w, b=b, out=nn.Linear(4, 2))
    found = extracted(module, input_size=(5, 3))
    assert found.skipped == ()
    made = layers(found)
    names = {"w"} if way == "addmm" else {"w[0]", "w[1]"}
    summed = {"w[0]+w[1]"} if way == "baddbmm" else set()  # parallel maps are one more layer
    assert set(made) == {*names, *summed, "out"}
    for k, name in enumerate(sorted(names)):
        x = np.random.default_rng(k).normal(size=(6, 3))
        # alpha scales it, or it has the bias of its own matrix
        factor, bias = (2.0, 0.0) if way == "addmm" else (1.0, b[k].detach().double().numpy())
        real = factor * x @ w[k].detach().double().numpy() + bias
        np.testing.assert_allclose(made[name](x), real, atol=1e-6)


def grouped(x, w, ends):
    if hasattr(torch, "_grouped_mm"):
        return torch._grouped_mm(x, w, offs=ends)
    pytest.skip("this torch has no grouped product")


def test_experts_in_one_grouped_product():
    w1, w2 = nn.Parameter(torch.randn(4, 8, 8)), nn.Parameter(torch.randn(4, 8, 8))
    ends = torch.tensor([3, 3, 7, 9], dtype=torch.int32)  # the second one gets no row

    def forward(s, x):
        return s.out(grouped(torch.tanh(grouped(x, s.w1, ends)), s.w2, ends))

    module = Net(forward, w1=w1, w2=w2, out=nn.Linear(8, 2))
    found = extracted(module, input_size=(9, 8))
    made, left = layers(found), {s.name for s in found.skipped}
    assert set(made) == {f"{w}[{k}]" for w in ("w1", "w2") for k in (0, 2, 3)} | {"out"}
    assert left == {"w1[1]", "w2[1]"}
    x = np.random.default_rng(0).normal(size=(5, 8))
    for k in (0, 2, 3):
        real = np.tanh(x @ w1[k].detach().double().numpy())
        np.testing.assert_allclose(made[f"w1[{k}]"](x), real, atol=1e-6)


def test_a_norm_that_subtracts_its_mean_twice():
    def norm(s, z):
        mean = z.mean(-1, keepdim=True)
        scale = torch.rsqrt((z - mean).pow(2).mean(-1, keepdim=True) + 1e-6)
        return s.g * ((z - mean) * scale)

    module = norm_module(norm, g=nn.Parameter(torch.rand(8) + 0.5))
    found = extracted(module, input_size=(5, 3))
    name = next(n for n in found.network.names[::-1])
    assert ranges(found)[name][2] == "norm"
    with torch.no_grad():
        reach = math.sqrt(7) * float(module.g.max())
    assert ranges(found)[name][:2] == pytest.approx((-reach, reach), rel=1e-6)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool1d(1), nn.AdaptiveAvgPool1d(2)])
def test_pooling_behind_a_norm_keeps_its_range(pool):
    module = Net(lambda s, x: s.out(s.pool(s.norm(s.fc(x)).transpose(1, 2)).flatten(1)),
                 fc=nn.Linear(3, 8), norm=nn.LayerNorm(8), pool=pool,
                 out=nn.LazyLinear(2))  # fmt: skip
    module(torch.rand(2, 6, 3))
    found = extracted(module, input_size=(2, 6, 3))
    assert found.skipped == ()
    low, high, source = ranges(found)["out"]
    assert source == "norm"
    assert (low, high) == pytest.approx((-math.sqrt(7), math.sqrt(7)))


def test_a_computed_range_beyond_all_numbers_is_no_range():
    module = Net(lambda s, x: s.out(torch.exp(torch.exp(9 * s.fc(x)))), fc=nn.Linear(3, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    found = extracted(module, input_size=(5, 3))
    assert ranges(found, in_range=(0.0, 5.0))["out"][2] == "assumed"


def test_rows_that_are_constants_are_listed_apart():
    keep = torch.tensor([1.0, 0.0, 1.0, 0.0])
    module = Net(lambda s, x: s.out(torch.tanh(s.fc(x)) * keep), fc=nn.Linear(3, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    found = extracted(module, input_size=(5, 3))
    assert [s.name for s in found.skipped] == ["fc[1:4:2]"]
    assert layers(found)["fc[0:3:2]"].activation.name == "tanh"


def test_numbers_from_python_that_only_a_wide_input_shows():
    # Of inputs between 0 and 1 every sign is +1, and so is their mean.
    def forward(s, x):
        signs = torch.sign(s.fc(x))
        return s.out(torch.relu(s.mid(x) - signs.mean().item()))

    module = Net(forward, fc=nn.Linear(3, 4, bias=False), mid=nn.Linear(3, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    with torch.no_grad():
        module.fc.weight.abs_()
    found = extracted(module, input_size=(5, 3))
    if "mid" in layers(found):
        assert layers(found)["mid"].activation.name == "identity"
    else:
        assert "mid" in {s.name for s in found.skipped}


def test_modules_that_import_parts_of_torch_while_they_run():
    module = Net(lambda s, x: s.out(torch.vmap(torch.relu)(s.fc(x))), fc=nn.Linear(3, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    assert layers(extracted(module, input_size=(5, 3)))["fc"].activation.name == "relu"


@pytest.mark.parametrize(
    "function",
    [lambda z: z.clamp(-5000, 5000), lambda z: F.hardtanh(z, -3e4, 2e6),
     lambda z: torch.minimum(z, torch.tensor(3e7)), lambda z: F.softshrink(z, 40.0),
     lambda z: torch.where(z > 2e4, 0.0, 3.0), lambda z: F.threshold(z, 1e6, -1.0)],
    ids=["clamp", "hardtanh", "minimum", "softshrink", "step", "threshold"],
)  # fmt: skip
def test_functions_that_bend_far_out(function):
    """Held against torch far beyond where activations bend."""
    module = Net(lambda s, x: s.out(function(s.fc(x))), fc=nn.Linear(3, 4), out=nn.Linear(4, 2))
    found = layers(extracted(module, input_size=(5, 3)))["fc"].activation
    z = torch.cat([s * torch.logspace(0, 7.9, 80, dtype=torch.float64) for s in (1.0, -1.0)])
    np.testing.assert_allclose(found(z.numpy()), function(z).numpy(), rtol=1e-6, atol=1e-3)
