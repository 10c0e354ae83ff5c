"""More members of the kinds of fault that extraction once had.

Everything here is held against the module itself: a sweep through its forward pass, its own
numbers, or intervals by hand. Tests are named by their kind, ``of_...``; ``test_kinds.py`` has the
table of kinds.
"""

import copy
import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from found import layers, ranges  # noqa: E402
from swept import Net, check, extracted  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.nn.utils import prune  # noqa: E402

import eiplane  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.training import History  # noqa: E402

G = torch.rand(4, generator=torch.Generator().manual_seed(3)) + 0.5
GRID = torch.linspace(-1, 1, 5)
COEFFICIENTS = torch.randn(5, generator=torch.Generator().manual_seed(4))
TABLE = torch.randn(8, generator=torch.Generator().manual_seed(5))
EDGES = torch.tensor([-0.2, 0.05, 0.3])

LOW, HIGH = torch.linspace(-0.3, 0.2, 4), torch.linspace(0.3, 0.6, 4)
PAIR = torch.tensor([0.2, 1.5])


def in_place(change):
    def function(z):
        h = z.clone()
        change(h)
        return h

    return function


def leaky(h):
    h[h < 0] *= 0.1


def leaky_apart(h):
    h[h < 0] = 0.1 * h[h < 0]


def elu(h):
    m = h < 0
    h[m] = torch.exp(h[m]) - 1


def clipped(h):
    h[h > 0.3] = 0.3
    h[h < -0.2] = -0.2


def at_places(h):
    h[torch.where(h < 0)] = 0.0


def at_indices(h):
    h[tuple((h < 0.1).nonzero().t())] = 0.1


def signed_root(z):
    h = torch.zeros_like(z)
    m = z > 0
    h[m] = z[m].sqrt()
    h[~m] = -((-z[~m]).sqrt())
    return h


#: What follows a linear map of four outputs; None: any name.
AFTER = {
    # writes through views, by a condition on what is written
    "of writes: leaky": (in_place(leaky), "leaky_relu(0.1)"),
    "of writes: leaky apart": (in_place(leaky_apart), "leaky_relu(0.1)"),
    "of writes: elu": (in_place(elu), "elu"),
    "of writes: clipped": (in_place(clipped), None),
    "of writes: places": (in_place(at_places), "relu"),
    "of writes: indices": (in_place(at_indices), None),
    "of writes: signed root": (signed_root, None),
    "of writes: chunks": (in_place(lambda h: [c.sigmoid_() for c in h.chunk(2, 1)]), "sigmoid"),
    "of writes: select": (in_place(lambda h: [h.select(1, k).tanh_() for k in range(4)]), "tanh"),
    # functions of an entry that are written over an axis of their own
    "of copies: maximum": (lambda z: torch.stack([z, 0 * z]).max(0)[0], "relu"),
    "of copies: maxout": (lambda z: torch.stack([z, 0.1 * z], -1).amax(-1), "leaky_relu(0.1)"),
    "of copies: sum": (lambda z: torch.stack([z.relu(), z.tanh()]).sum(0), None),
    "of copies: mean": (lambda z: torch.stack([z, z.abs()], 1).mean(1), "relu"),
    "of copies: logsumexp": (lambda z: torch.stack([z, 0 * z]).logsumexp(0), "softplus"),
    "of copies: shares": (lambda z: torch.stack([z, 0 * z], -1).softmax(-1)[..., 0], "sigmoid"),
    "of copies: norm": (lambda z: torch.stack([z, 0 * z + 1]).norm(dim=0), None),
    "of copies: basis": (
        lambda z: (F.relu(z[..., None] - GRID) * COEFFICIENTS).sum(-1), None,
    ),
    "of copies: soft bins": (
        lambda z: torch.softmax(-((z[..., None] - GRID[:3]) ** 2), -1)[..., 1], None,
    ),
    "of copies: median": (lambda z: torch.stack([z, 0.3 * z, 0 * z]).median(0)[0].tanh(), None),
    "of copies: middle": (lambda z: torch.stack([z, z * z, 0 * z], 1).kthvalue(2, 1)[0], None),
    "of copies: order": (lambda z: torch.stack([0.1 * z, z], -1).sort(-1)[0][..., 1],
                         "leaky_relu(0.1)"),
    "of copies: backwards": (
        lambda z: torch.stack([z, 0 * z]).sort(dim=0, descending=True, stable=True)[0][0], "relu"),
    "of copies: least": (
        lambda z: torch.stack([z, 0 * z], -1).topk(1, largest=False)[0][..., 0], None),
    # numbers that are complex ones for a while
    "of categories: read as complex": (
        lambda z: torch.view_as_real(torch.view_as_complex(z.view(-1, 2, 2))).view(-1, 4).relu(),
        "relu",
    ),
    "of categories: written as complex": (
        lambda z: torch.cat([torch.complex(z[:, :2], z[:, 2:]).real,
                             torch.complex(z[:, :2], z[:, 2:]).imag], 1).tanh(), "tanh",
    ),
    # the wrong category
    "of categories: table": (lambda z: TABLE[(4 * z + 4).long().clamp(0, 7)], None),
    "of categories: buckets": (lambda z: TABLE[torch.bucketize(z, EDGES)], None),
    "of categories: counts": (lambda z: torch.bucketize(z, EDGES).float(), None),
    "of categories: both": (lambda z: ((z > -0.1) & (z < 0.3)).float(), None),
    "of categories: whole": (lambda z: (4 * z).int() / 4, None),
    "of categories: half": (lambda z: F.glu(torch.cat([z, z], -1)), "silu"),
    # one number per neuron
    "of neurons: meta": (lambda z: (G - 1) * z * torch.sigmoid(G * z) + z, None),
    "of neurons: softplus": (lambda z: F.softplus(z * G) / G, None),
    "of neurons: filled": (lambda z: z.relu().index_fill(1, torch.tensor([1]), 0.0), None),
    "of neurons: out": (lambda z: torch.tanh(z * G, out=torch.empty_like(z)) * G - 1, None),
    # quantisation
    "of rounding: straight": (lambda z: z + (torch.round(4 * z) / 4 - z).detach(), None),
    "of rounding: finite": (lambda z: (torch.tanh(z) * 3.5).round(), None),
    "of rounding: channels": (
        lambda z: torch.fake_quantize_per_channel_affine(
            z, 0.1 * G, torch.zeros(4, dtype=torch.int32), 1, -8, 7), None,
    ),
    # operators that a function mode does not see
    "of unseen: vmap": (torch.vmap(torch.vmap(lambda v: torch.where(v > 0, v, v * 0))), "relu"),
}  # fmt: skip


@pytest.mark.parametrize("kind", AFTER)
def test_what_follows_a_layer(kind):
    function, name = AFTER[kind]
    torch.manual_seed(2)
    module = Net(lambda s, x: s.out(function(s.fc(x))), fc=nn.Linear(3, 4), out=nn.Linear(4, 2))
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    found = extracted(module, input_data=x)
    rows = [1] if kind == "of neurons: filled" else []
    assert [s.name for s in found.skipped] == ["fc[1]"] * len(rows)
    fc = found.network[0]
    if name is not None:
        assert fc.activation.name == name
    kept = [k for k in range(4) if k not in rows]
    wide = torch.randn(300, 3, generator=torch.Generator().manual_seed(1)) * 2

    def real(x):
        with torch.no_grad():
            return function(module.fc(x))[:, kept]

    close = np.isclose(fc(wide.double().numpy()), real(wide).numpy(), atol=5e-5)
    assert close.mean() > 0.99  # single precision may fall on the other side of a step
    check(module, fc.name, real, 3, input_data=x)


# -- what is no function of one entry, and what is seen of it ----------------------------------


def of(first, **more):
    return Net(first, a=nn.Linear(3, 4), b=nn.Linear(3, 4), out=nn.Linear(4, 2), **more)


def gate(z):
    return torch.zeros_like(z).scatter(1, z.topk(2)[1], 1.0)


@pytest.mark.parametrize(
    ("forward", "names"),
    [
        (lambda s, x: s.out(s.a(x) * gate(s.a(x))), {"a": "identity"}),
        (lambda s, x: s.out(s.a(x).relu() * F.one_hot(s.b(x).argmax(1), 4)),
         {"a": "relu", "b": "identity"}),
        (lambda s, x: s.out(torch.where(s.b(x) > 0, s.a(x).tanh(), torch.zeros(()))),
         {"a": "tanh", "b": "step"}),
        (lambda s, x: s.out(s.a(x).relu().masked_fill(s.b(x) > 0, 0.25)),
         {"a": "relu", "b": "step"}),
        (lambda s, x: s.out(s.a(x) * (s.a(x) >= s.a(x).topk(2)[0][:, -1:])), {"a": "identity"}),
    ],
)  # fmt: skip
def test_of_categories_constants_that_a_signal_puts_are_none(forward, names):
    torch.manual_seed(0)
    module = of(forward)
    received = []
    module.out.register_forward_pre_hook(lambda m, x: received.append(x[0]))
    # One row alone: nothing tells the mask from constants but where it came from.
    found = extracted(module, input_data=torch.rand(1, 3))
    made = layers(found)
    assert {n: made[n].activation.name for n in names} == names
    received.clear()
    with torch.no_grad():
        for _ in range(30):
            module(torch.rand(50, 3))
    low, high, source = ranges(found)["out"]
    assert source == "interval"
    reached = torch.cat(received)
    assert low - 1e-6 <= float(reached.min()) and float(reached.max()) <= high + 1e-6


def test_of_categories_one_hot_inputs():
    module = Net(lambda s, i: s.fc(F.one_hot(i, 6).float()).relu(), fc=nn.Linear(6, 4))
    found = extracted(module, input_data=torch.randint(0, 6, (5,)))
    assert found.skipped == ()
    assert ranges(found)["fc"] == (0.0, 1.0, "interval")
    check(module, "fc", lambda x: module.fc(x).relu(), 6, input_data=torch.randint(0, 6, (5,)))


@pytest.mark.parametrize(
    "function",
    [lambda z: torch.exp(1j * z).imag, lambda z: (z * (1 + 1j)).abs(),
     lambda z: torch.complex(z, torch.ones_like(z)).angle(),
     lambda z: torch.polar(torch.ones_like(z), z).real],
)  # fmt: skip
def test_of_categories_complex_numbers_are_not_followed(function):
    module = Net(lambda s, x: s.out(function(s.fc(x))), fc=nn.Linear(3, 4), out=nn.Linear(4, 2))
    found = extracted(module, input_size=(5, 3))
    assert {s.name: s.reason for s in found.skipped} == {
        "fc": "its output goes on as complex numbers, which eiplane does not follow"
    }
    # What is only written as complex goes there as it is.
    mixed = Net(lambda s, x: s.out(torch.fft.fft2(s.fc(x)).real), fc=nn.Linear(3, 4),
                out=nn.Linear(4, 2))  # fmt: skip
    assert layers(extracted(mixed, input_size=(5, 3)))["fc"].activation.name == "identity"


@pytest.mark.parametrize(
    "function",
    [
        lambda h: h[h > 0].sort()[0],
        lambda h: h[h > 0].flip(0),
        lambda h: h[h > 0] / h[h > 0].mean(),
    ],
)
def test_of_writes_what_is_not_its_own_is_listed(function):
    def forward(s, x):
        h = s.a(x)
        h[h > 0] = function(h)
        return s.out(h)

    torch.manual_seed(1)
    found = extracted(of(forward), input_data=torch.randn(20, 3))
    assert "a" in {s.name for s in found.skipped}


@pytest.mark.parametrize("bias", [-3.0, 0.4, 3.0])
@pytest.mark.parametrize("change", [leaky, leaky_apart, elu], ids=["leaky", "apart", "elu"])
def test_of_writes_where_nothing_or_one_entry_or_everything_is(change, bias):
    def forward(s, x):
        return s.out(in_place(change)(s.a(x)))

    torch.manual_seed(1)
    module = of(forward)
    with torch.no_grad():
        module.a.bias += bias
    z = torch.linspace(-2, 2, 41, dtype=torch.float64)
    for rows in (1, 6):
        found = extracted(module, input_data=torch.rand(rows, 3))
        if "a" not in {s.name for s in found.skipped}:
            got = np.ravel(layers(found)["a"].activation(z.numpy()))
            np.testing.assert_allclose(got, in_place(change)(z).numpy(), atol=1e-6)


# -- views after a convolution -----------------------------------------------------------------

VIEWS = {
    "shuffled": (lambda z: F.pixel_shuffle(z, 2).relu(), lambda z: z.relu(), "relu"),
    "channels": (
        lambda z: F.channel_shuffle(z, 2).tanh_().movedim(1, -1).contiguous(),
        lambda z: z.tanh(), "tanh",
    ),
    "stored otherwise": (
        lambda z: z.to(memory_format=torch.channels_last).sigmoid(), lambda z: z.sigmoid(),
        "sigmoid",
    ),
    "split": (
        lambda z: torch.cat([p.relu() for p in z.split([1, 3], 1)], 1), lambda z: z.relu(), "relu",
    ),
    "unfolded": (lambda z: F.unfold(z, 2).relu(), lambda z: z.relu(), "relu"),
}  # fmt: skip


@pytest.mark.parametrize("kind", VIEWS)
def test_of_views(kind):
    between, function, name = VIEWS[kind]
    torch.manual_seed(0)
    module = Net(lambda s, x: s.out(between(s.conv(x)).flatten(1)), conv=nn.Conv2d(1, 4, 3),
                 out=nn.LazyLinear(2))  # fmt: skip
    x = torch.rand(2, 1, 6, 6)
    module(x)
    layer = check(module, "conv", lambda f: function(module.conv(f.view(-1, 1, 3, 3)))[..., 0, 0],
                  9, input_data=x)  # fmt: skip
    assert layer.activation == name


def test_of_views_a_convolution_written_out():
    w = nn.Parameter(torch.randn(4, 9))
    module = Net(lambda s, x: s.out((s.w @ F.unfold(x, 3)).relu().mean(-1)), w=w,
                 out=nn.Linear(4, 2))  # fmt: skip
    layer = check(module, "w", lambda f: F.relu(f @ w.t()), 9, input_data=torch.rand(2, 1, 6, 6))
    assert layer.activation == "relu"


# -- types of numbers --------------------------------------------------------------------------


def autocast(module, dtype=torch.bfloat16):
    def forward(s, x):
        with torch.autocast("cpu", dtype=dtype):
            return s.module(x)

    return Net(forward, module=module)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: autocast(nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2))),
         "module.0"),
        (lambda: autocast(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4))), "module.0"),
        (lambda: Net(lambda s, x: s.out(torch.relu(s.fc(x).bfloat16()).float()),
                     fc=nn.Linear(3, 4), out=nn.Linear(4, 2)), "fc"),
        (lambda: Net(lambda s, x: s.out(F.gelu(s.fc(x).half()).float().double().float()),
                     fc=nn.Linear(3, 4), out=nn.Linear(4, 2)), "fc"),
    ],
)  # fmt: skip
def test_of_rounding_types_on_the_way(make, name):
    torch.manual_seed(0)
    module = make()
    found = extracted(module, input_size=(5, 3))
    assert found.skipped == ()
    layer = layers(found)[name]
    part = module.get_submodule(name)
    weight = part.weight.detach().double().numpy()
    np.testing.assert_allclose(layer.weight, weight, atol=2e-2)
    after = {"softplus": F.softplus, "tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu}
    x = torch.rand(100, 3)
    with torch.no_grad():
        real = after[layer.activation.name](part(x)).numpy()
    np.testing.assert_allclose(layer(x.numpy()), real, atol=2e-2)
    assert ranges(found)[name] == (0.0, 1.0, "given")


# -- ranges ------------------------------------------------------------------------------------


def test_of_ranges_tables_and_whole_inputs():
    for mode, most in (("mean", 1.0), ("sum", 3.0), ("max", 1.0)):
        bag = nn.EmbeddingBag(10, 4, mode=mode)
        module = Net(lambda s, i: s.out(s.bag(i)), bag=bag, out=nn.Linear(4, 2))
        low, high, source = ranges(extracted(module, input_data=torch.arange(6).view(2, 3)))["out"]
        w = bag.weight.detach().double()
        assert (low, high) == pytest.approx((most * float(w.min()), most * float(w.max())))
        assert source == "interval"
    short = nn.Embedding(10, 4, max_norm=0.5)
    before = short.weight.detach().clone()
    module = Net(lambda s, i: s.out(s.e(i)), e=short, out=nn.Linear(4, 2))
    low, high, source = ranges(extracted(module, input_data=torch.arange(10)[None]))["out"]
    assert source == "interval" and -0.5 <= low < high <= 0.5
    assert torch.equal(before, short.weight)  # the module itself shortens its rows
    image = Net(lambda s, x: s.conv(x.float() / 255), conv=nn.Conv2d(1, 2, 3))
    pixels = torch.randint(0, 256, (2, 1, 6, 6), dtype=torch.uint8)
    assert ranges(extracted(image, input_data=pixels))["conv"][:2] == (0.0, 1.0)
    flags = Net(lambda s, x: s.fc(2 * x.float() - 1), fc=nn.Linear(3, 2))
    assert ranges(extracted(flags, input_data=torch.rand(5, 3) > 0.5))["fc"][:2] == (-1.0, 1.0)


def test_of_ranges_a_basis_keeps_its_own():
    """B-splines lie between 0 and 1, whatever a chain of interval rules makes of them."""
    grid = (torch.arange(-2, 8) * 0.4 - 1).expand(3, -1)

    def basis(x):
        x = x[..., None]
        b = ((x >= grid[:, :-1]) & (x < grid[:, 1:])).to(x.dtype)
        for k in (1, 2):
            left = (x - grid[:, : -(k + 1)]) / (grid[:, k:-1] - grid[:, : -(k + 1)]) * b[..., :-1]
            right = (grid[:, k + 1 :] - x) / (grid[:, k + 1 :] - grid[:, 1:-k]) * b[..., 1:]
            b = left + right
        return b

    width = basis(torch.zeros(1, 3)).shape[-1]
    module = Net(lambda s, x: s.fc(basis(x).flatten(1)), fc=nn.Linear(3 * width, 2))
    low, high, source = ranges(extracted(module, input_size=(5, 3)))["fc"]
    assert source == "interval"
    with torch.no_grad():
        reached = basis(torch.rand(5000, 3))
    assert (low, high) == pytest.approx((0.0, float(reached.max())), abs=1e-3)


# -- experts, loops, joins, sums ---------------------------------------------------------------


class Experts(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way, self.router = way, nn.Linear(3, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 4)) for _ in range(3)
        )
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        shares, chosen = self.router(x).softmax(-1).topk(2, -1)
        if self.way == "all":
            every = torch.stack([e(x) for e in self.experts], 1)
            picked = every.gather(1, chosen[..., None].expand(-1, -1, 4))
            return self.out((picked * shares[..., None]).sum(1))
        total = x.new_zeros(len(x), 4)
        for k, expert in enumerate(self.experts):
            if self.way == "where":
                token, slot = torch.where(chosen == k)
                total.index_add_(0, token, expert(x[token]) * shares[token, slot, None])
            else:
                mine = (chosen == k).any(-1)
                total[mine] = total[mine] + expert(x[mine])
        return self.out(total)


@pytest.mark.parametrize("way", ["where", "mask", "all"])
def test_of_experts(way):
    torch.manual_seed(1)
    module = Experts(way)
    x = torch.rand(60, 3)
    assert extracted(module, input_data=x).skipped == ()
    first = module.experts[1]
    layer = check(module, "experts.1.0", lambda x: F.gelu(first[0](x)), 3, input_data=x)
    assert layer.activation == "gelu" and layer.in_range == (0.0, 1.0)


def gated(s, x):
    h = x.new_zeros(x.shape[1], 4)
    for now in x:
        z = torch.sigmoid(s.z(now) + s.zh(h))
        h = (1 - z) * h + z * torch.tanh(s.n(now))
    return s.out(h)


def leaking(s, x):
    h = s.n(x[0])
    for _ in range(3):
        h = 0.5 * h + 0.5 * torch.tanh(s.zh(h))
    return s.out(h)


@pytest.mark.parametrize("forward", [gated, leaking])
def test_of_loops_ranges_are_those_of_all_uses(forward):
    torch.manual_seed(0)
    module = Net(forward, z=nn.Linear(3, 4), zh=nn.Linear(4, 4), n=nn.Linear(3, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    x = torch.rand(5, 6, 3)
    found = extracted(module, input_data=x)
    received = []
    module.zh.register_forward_pre_hook(lambda m, x: received.append(x[0]))
    with torch.no_grad():
        for _ in range(50):
            module(torch.rand(5, 20, 3))
    reached = torch.cat(received)
    low, high, source = ranges(found)["zh"]
    assert source == "interval"
    assert low - 1e-6 <= float(reached.min()) and float(reached.max()) <= high + 1e-6
    half = forward is leaking
    check(module, "zh", lambda h: 0.5 * torch.tanh(module.zh(h)) if half else module.zh(h), 4,
          input_data=x)  # fmt: skip


def test_of_cat_recurrent_outputs_and_inputs():
    module = Net(lambda s, x: s.out(torch.cat([s.lstm(x)[0], 3 * x, s.e(x)], -1)),
                 lstm=nn.LSTM(2, 3), e=nn.Linear(2, 4), out=nn.Linear(9, 2))  # fmt: skip
    found = extracted(module, input_size=(4, 5, 2))
    w, b = layers(found)["e"].matrix(), layers(found)["e"].offsets()
    most = (b + np.maximum(w, 0).sum(1)).max()
    low, high, _ = ranges(found)["out"]
    assert high == pytest.approx(max(3.0, most))
    assert low <= -1.0
    sizes = Net(lambda s, x: s.out(torch.hstack([x * 255, torch.tanh(s.e(x))])),
                e=nn.Linear(2, 4), out=nn.Linear(6, 2))  # fmt: skip
    assert ranges(extracted(sizes, input_size=(4, 2)))["out"][:2] == (-1.0, 255.0)


@pytest.mark.parametrize(
    ("join", "function"),
    [
        (lambda a, b: torch.stack([a, b]).sum(0).relu(), lambda a, b: (a + b).relu()),
        (lambda a, b: torch.stack([a, b], -1).mean(-1).tanh(), lambda a, b: ((a + b) / 2).tanh()),
        (lambda a, b: torch.stack([a, 2 * b], 1).sum(1, keepdim=True)[:, 0].sigmoid(),
         lambda a, b: (a + 2 * b).sigmoid()),
    ],
)  # fmt: skip
def test_of_sums_of_maps_that_are_stacked(join, function):
    torch.manual_seed(0)
    module = of(lambda s, x: s.out(join(s.a(x), s.b(x))))
    check(module, "a+b", lambda x: function(module.a(x), module.b(x)), 3, input_size=(5, 3))


# -- weights that are made ---------------------------------------------------------------------


def made_weights():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "spectral norm", nn.utils.spectral_norm(nn.Linear(3, 4)), "0"
        yield "weight norm", nn.utils.weight_norm(nn.Linear(3, 4)), "0"
    pruned = nn.Linear(3, 4)
    prune.l1_unstructured(pruned, "weight", 0.5)
    yield "pruned", pruned, "0"
    low = Net(lambda s, x: x @ torch.matrix_exp(s.w - s.w.t()), w=nn.Parameter(torch.randn(3, 3)))
    yield "rotation", low, "0.w"
    positive = Net(lambda s, x: F.linear(x, s.w.exp()), w=nn.Parameter(torch.randn(4, 3)))
    yield "positive", positive, "0.w"
    held = Net(lambda s, x: F.linear(x, *s.kept["first"][0]))
    held.kept = {"first": [(torch.randn(4, 3), torch.randn(4))]}
    yield "held", held, "0.kept.first.0.0"


MADE = {kind: (module, name) for kind, module, name in made_weights()}


@pytest.mark.parametrize("kind", MADE)
def test_of_made_weights(kind):
    part, name = MADE[kind]
    n_out = part(torch.rand(1, 3)).shape[-1]
    module = nn.Sequential(part, nn.ReLU(), nn.Linear(n_out, 2)).eval()
    x = torch.rand(5, 3)
    found = to_network(module, ExtractOptions(strict=True, input_data=x))
    assert found.network.names == (name, "2")
    check(module, name, lambda x: F.relu(part(x)), 3, input_data=x)


def noisy(s, x):
    return s.out(F.relu(F.linear(x, s.a.weight + 0.1 * torch.randn_like(s.a.weight), s.a.bias)))


@pytest.mark.parametrize(
    "forward",
    [noisy, lambda s, x: s.out(F.relu(F.linear(x, F.dropout(s.a.weight, 0.5, True)))),
     lambda s, x: s.out(F.relu(x @ (s.a.weight * torch.bernoulli(0.5 + 0 * s.a.weight)).t()))],
)  # fmt: skip
def test_of_made_weights_that_are_drawn_are_listed_by_name(forward):
    found = extracted(of(forward), input_size=(5, 3))
    reasons = {s.name: s.reason for s in found.skipped}
    assert reasons["a"] == "its weight is drawn at random in the forward pass"


def twice(s, x):
    s.log = s.a(x).mean()
    return s.out(s.a(x).relu())


def printed(s, x):
    s.log = f"{s.a(x).sum().item():.3f}"
    return s.out(s.a(x).relu())


@pytest.mark.parametrize("forward", [twice, printed])
def test_of_watching_a_use_that_leads_nowhere_is_none(forward):
    module = of(forward)
    found = extracted(module, input_size=(5, 3))
    assert found.network.names == ("a", "out")
    assert {s.name for s in found.skipped} == {"b"}  # not used
    check(module, "a", lambda x: module.a(x).relu(), 3, input_size=(5, 3))


# -- results -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [lambda y: y.numpy(), lambda y: {"scores": y.numpy(), "n": 3}, lambda y: y.sum().item(),
     lambda y: (row for row in y), lambda y: [y.numpy().copy(), "text"]],
)  # fmt: skip
def test_results_that_are_no_tensors(result):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    whole = Net(lambda s, x: result(s.inner(x).detach()), inner=module)
    plain = extracted(module, input_size=(5, 3)).network
    found = extracted(whole, input_size=(5, 3)).network
    assert found.names == ("inner.0", "inner.2")
    for mine, other in zip(found, plain, strict=True):
        assert mine.activation == other.activation
        np.testing.assert_array_equal(mine.weight, other.weight)


def test_nothing_to_see_is_said():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with pytest.raises(ValueError, match=r"shape \(0, 3\) is empty"):
        to_network(module, ExtractOptions(input_data=torch.rand(0, 3)))
    silent = Net(lambda s, x: setattr(s, "last", s.fc(x)), fc=nn.Linear(3, 4))
    with pytest.raises(ValueError, match="returns no tensor"):
        to_network(silent, ExtractOptions())
    assert not hasattr(silent, "last")
    experts = Experts("mask")
    nn.init.constant_(experts.router.bias, 0.0)
    with torch.no_grad():
        experts.router.bias[2] = -1e3
    found = extracted(experts, input_data=torch.rand(5, 3))
    reasons = {s.name: s.reason for s in found.skipped}
    assert reasons["experts.2.0"] == "nothing went through it in the forward pass"


# -- files, containers -------------------------------------------------------------------------


def test_of_files_tables_stacks_and_products_are_listed():
    rng = np.random.default_rng(0)

    def numbers(*shape):
        return rng.normal(size=shape)

    weights = {
        "fc.weight": numbers(4, 3), "pe": numbers(1, 10, 4), "token_embd.weight": numbers(30, 4),
        "many.weight": numbers(3, 4, 5), "many.bias": numbers(3, 4),
        "kan.base_weight": numbers(4, 3), "kan.spline_weight": numbers(4, 3, 8),
        "kan.spline_scaler": numbers(4, 3),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(weights, ExtractOptions(activation="relu"))
    assert found.network.names == ("fc", "kan.base_weight")
    assert {s.name for s in found.skipped} >= {"pe", "token_embd", "many", "kan.spline_weight"}
    with pytest.raises(ValueError, match="fits the weight's transpose"):
        to_network([(numbers(3, 4), numbers(4))])


@pytest.mark.parametrize("form", ["both norms", "pruned"])
def test_of_files_reparametrised_members(form):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "both norms":
            first = nn.utils.weight_norm(nn.Linear(3, 4), dim=None)
            second = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2), dim=1)
        else:
            first, second = nn.Linear(3, 4), nn.Linear(4, 2)
            prune.random_structured(first, "weight", amount=1, dim=0)
            prune.l1_unstructured(second, "weight", 3)
            prune.l1_unstructured(second, "bias", 1)
        module = nn.Sequential(first, nn.ReLU(), second).eval()
        found = to_network(module.state_dict(), ExtractOptions(activation="identity"))
    x = torch.randn(6, 4)
    for entry, part, n in zip(found.network, (first, second), (3, 4), strict=True):
        layer = entry.load() if hasattr(entry, "load") else entry
        with torch.no_grad():
            real = part(x[:, :n]).numpy()
        np.testing.assert_allclose(layer(x[:, :n].numpy()), real, atol=1e-5)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda h: torch.maximum(h, LOW), lambda h: torch.maximum(h, HIGH)),
        (lambda h: torch.bucketize(h, LOW).float(), lambda h: torch.bucketize(h, HIGH).float()),
        (lambda h: PAIR[(h > 0).long()] * h, lambda h: PAIR.flip(0)[(h > 0).long()] * h),
    ],
    ids=["maximum", "bucketize", "table"],
)
def test_of_uses_with_other_constants(first, second):
    """Two uses of one weight, with the same operators behind it and other numbers in them."""

    def forward(m, x):
        return m.out(torch.cat([first(m.both(x)), second(m.both(1 - x))], 1))

    torch.manual_seed(0)
    module = Net(forward, both=nn.Linear(3, 4), out=nn.Linear(8, 2)).eval()
    for name, function in (("both", first), ("both#2", second)):
        check(module, name, lambda x, f=function: f(module.both(x)), 3, input_size=(3,))


def test_of_containers():
    """What is empty at first must not be taken for missing."""
    kept = copy.copy(eiplane.Tracker([np.eye(2)]))
    assert kept and len(kept) == 0
    with eiplane.Tracker([np.eye(2)], background=True) as tracker:
        assert tracker and bool(tracker) is True
    assert math.isfinite(len(History([])))
