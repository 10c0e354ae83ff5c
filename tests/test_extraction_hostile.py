"""Members of the kinds of fault that someone found who looked for what extraction gets wrong.

As in test_extraction_members everything is held against the module itself, numbers that were
saved, or intervals by hand. Kinds, and the tests here:

===========================  =====================================================================
view after a convolution     of_views: nearest resizing, poolings of what are no neighbours
operators not seen           of_unseen: threads, memory shared with others, branches as operators
writes through views         of_writes: a result written into the operand itself
watching                     of_watching: a loss beside the result
probes too regular           of_probes: bumps and notches between them
ranges                       of_ranges: spreads, lengths, masks, packed sequences
written-out norms            of_norms: a gain before the length
recurrent by hand            of_loops: a first step that shows less than the others
sums and products            of_sparse: adjacency matrices
files                        of_files: parametrised biases, few bits, unnamed arrays, lists
ONNX                         of_onnx: batch norms of old versions, resizing
===========================  =====================================================================
"""

import threading
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from found import layers, ranges  # noqa: E402
from swept import Net, check, extracted  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

from eiplane.extract import ExtractOptions, to_network  # noqa: E402


def after(function, **parts):
    torch.manual_seed(2)
    return Net(lambda s, x: s.out(function(s, s.fc(x))), fc=nn.Linear(3, 4), out=nn.Linear(4, 2),
               **parts)  # fmt: skip


# -- what is not seen --------------------------------------------------------------------------


def in_a_thread(function):
    def run(s, z):
        found = []
        thread = threading.Thread(target=lambda: found.append(function(z)))
        thread.start()
        thread.join()
        return found[0]

    return run


UNSEEN = {
    "thread": in_a_thread(torch.relu),
    "thread, in place": in_a_thread(lambda z: z.clone().clamp_(min=0)),
    "shared memory": lambda s, z: torch.from_dlpack(torch.utils.dlpack.to_dlpack(z.relu())),
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_of_unseen_what_comes_from_elsewhere_is_no_constant(kind):
    module = after(UNSEEN[kind])
    found = extracted(module, input_size=(8, 3))
    reasons = {s.name: s.reason for s in found.skipped}
    assert "no operator is seen" in reasons["fc"]
    assert ranges(found)["out"][2] == "assumed"


THRESHOLD = torch.tensor([0.1, 0.2, -0.1, 0.3])


@pytest.mark.parametrize(
    "function",
    [lambda s, z: (z - THRESHOLD).relu(),
     lambda s, z: (z - THRESHOLD.expand(8, 4)[: len(z)]).relu(),
     lambda s, z: (z - in_a_thread(torch.relu)(s, THRESHOLD)).relu(),
     lambda s, z: (z - torch.from_numpy(np.array([0.5, 0, 0, 0], np.float32))).relu()],
)  # fmt: skip
def test_of_unseen_constants_are_constants(function):
    module = after(function)
    found = extracted(module, input_size=(8, 3))
    assert found.skipped == ()
    x = torch.rand(8, 3)
    with torch.no_grad():
        real = function(module, module.fc(x)).numpy()
    np.testing.assert_allclose(layers(found)["fc"](x.numpy()), real, atol=1e-6)
    assert layers(found)["fc"].activation.name == "relu"


def test_of_unseen_a_loop_as_one_operator():
    loop = getattr(torch.ops.higher_order, "while_loop", None)
    if loop is None:
        pytest.skip("this version of torch has no such operator")
    module = after(lambda s, z: loop(lambda i, h: i < 2, lambda i, h: (i + 1, h.tanh()),
                                     (torch.tensor(0), z), ())[1])  # fmt: skip
    found = extracted(module, input_size=(8, 3))
    assert found.skipped == ()
    check(module, "fc", lambda x: module.fc(x).tanh().tanh(), 3, input_size=(8, 3))


def clamped(s, z):
    h = z.clone()
    return torch.clamp(h, min=0, out=h)


@pytest.mark.parametrize(
    ("function", "name"),
    [(clamped, "relu"),
     (lambda s, z: (lambda h: torch.mul(h, h, out=h))(z.clone()), "square"),
     (lambda s, z: (lambda h: torch.sub(h, THRESHOLD, out=h).sigmoid_())(z.clone()), "sigmoid")],
)  # fmt: skip
def test_of_writes_into_the_operand_itself(function, name):
    module = after(function)
    layer = check(module, "fc", lambda x: function(module, module.fc(x)), 3, input_size=(8, 3))
    assert layer.activation == name


# -- watching, probes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [lambda h: (h**2).mean(), lambda h: h.abs().sum() + 1, lambda h: -h.softmax(-1).log().mean(),
     lambda h: h.logsumexp(-1).square().mean()],
)  # fmt: skip
def test_of_watching_a_loss_beside_the_result(loss):
    def forward(s, x):
        h = s.fc(x)
        return s.out(h.relu()), loss(h)

    module = Net(forward, fc=nn.Linear(3, 4), out=nn.Linear(4, 2))
    assert layers(extracted(module, input_size=(5, 3)))["fc"].activation.name == "relu"
    check(module, "fc", lambda x: module.fc(x).relu(), 3, input_size=(5, 3))


def test_of_watching_what_a_loss_alone_takes_is_a_layer():
    module = Net(lambda s, x: (s.out(x), s.aside(x).tanh().mean()), out=nn.Linear(3, 2),
                 aside=nn.Linear(3, 4))  # fmt: skip
    found = extracted(module, input_size=(5, 3))
    assert found.skipped == ()
    assert layers(found)["aside"].activation.name == "tanh"


PROBES = {
    "bump": lambda z: torch.where((z > 0.3) & (z < 0.33), torch.ones_like(z), z.relu()),
    "notch": lambda z: z * ((z - 0.25).abs() > 0.015),
    "gap": lambda z: z.masked_fill((z > -0.2) & (z < -0.17), 1.0),
    "on a slope": lambda z: torch.where((2 * z - 1).abs() < 0.03, 0 * z, 0.5 * z + 1),
}


@pytest.mark.parametrize("kind", PROBES)
def test_of_probes_what_lies_between_them(kind):
    function = PROBES[kind]
    module = after(lambda s, z: function(z))
    found = extracted(module, input_size=(64, 3))
    assert found.skipped == ()
    x = torch.rand(2000, 3) * 2 - 0.5
    with torch.no_grad():
        real = function(module.fc(x)).numpy()
    assert np.isclose(layers(found)["fc"](x.numpy()), real, atol=1e-5).mean() > 0.999
    check(module, "fc", lambda x: function(module.fc(x)), 3, input_size=(64, 3))


# -- views after a convolution -----------------------------------------------------------------


def patches(conv, function):
    return lambda x: function(conv(x.view(-1, 1, 3, 3))).flatten(1)


def image(between):
    torch.manual_seed(0)
    module = Net(lambda s, x: s.out(between(s.conv(x)).flatten(1)), conv=nn.Conv2d(1, 4, 3),
                 out=nn.LazyLinear(2))  # fmt: skip
    module(torch.rand(2, 1, 8, 8))
    return module


@pytest.mark.parametrize(
    ("between", "function"),
    [
        (lambda z: F.interpolate(z, scale_factor=2).relu(), torch.relu),
        (lambda z: F.interpolate(z, size=9, mode="nearest-exact").tanh(), torch.tanh),
        (lambda z: (F.interpolate(z, scale_factor=2) - 0.1).sigmoid(),
         lambda z: (z - 0.1).sigmoid()),
    ],
)  # fmt: skip
def test_of_views_nearest_resizing_copies(between, function):
    module = image(between)
    check(module, "conv", patches(module.conv, function), 9, input_size=(2, 1, 8, 8))


@pytest.mark.parametrize(
    "pool",
    [
        lambda h: F.max_pool2d(h[:, :, ::2, ::2], 2),
        lambda h: F.avg_pool2d(h.flip(-1), 2),
        lambda h: F.avg_pool2d(h.roll(1, -1), 2),
        lambda h: F.avg_pool2d(h.transpose(2, 3), (1, 2)),
        lambda h: F.avg_pool2d(F.interpolate(h, scale_factor=2), 2),
        lambda h: h[:, :, ::2].mean((2, 3)),
        lambda h: F.max_pool2d(F.pixel_unshuffle(h, 2), 2),
    ],
)
def test_of_views_poolings_of_what_are_no_neighbours(pool):
    """These are no window of the convolution's places: the layer is measured without them."""
    module = image(lambda z: pool(z.relu()))
    layer = layers(extracted(module, input_size=(2, 1, 8, 8)))["conv"]
    assert layer.pool is None and layer.activation.name == "relu"
    check(module, "conv", patches(module.conv, torch.relu), 9, input_size=(2, 1, 8, 8))


def test_of_views_neighbours_of_a_part_are_neighbours():
    module = image(lambda z: F.max_pool2d(z.relu()[:, :, 1:-1, 1:-1], 2))
    layer = layers(extracted(module, input_size=(2, 1, 8, 8)))["conv"]
    assert layer.pool is not None and layer.n_in == 16
    x = torch.rand(50, 1, 4, 4)
    with torch.no_grad():
        real = F.max_pool2d(module.conv(x).relu(), 2).flatten(1).numpy()
    np.testing.assert_allclose(layer(x.flatten(1).numpy()), real, atol=1e-6)


# -- ranges ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "low", "high"),
    [
        (lambda x: torch.stack([x.std(-1), x.var(-1)], -1), 0.0, 0.5 * 1.5**0.5),
        (lambda x: torch.stack([x.norm(dim=-1), x.norm(p=1, dim=-1)], -1), 0.0, 3.0),
        (lambda x: torch.stack([x.logsumexp(-1), x.mean(-1)], -1), 0.0, 1 + np.log(3)),
        (lambda x: torch.stack([x.argmax(-1).float(), x.amax(-1)], -1), 0.0, 2.0),
    ],
)
def test_of_ranges_of_reductions(features, low, high):
    module = Net(lambda s, x: s.fc(features(x)), fc=nn.Linear(2, 4))
    assert ranges(extracted(module, input_size=(8, 3)))["fc"] == pytest.approx(
        (low, high, "interval"), abs=1e-6
    )
    ends = torch.cartesian_prod(*[torch.linspace(0, 1, 5)] * 3)
    reached = features(ends)
    assert low - 1e-6 <= float(reached.min()) and float(reached.max()) <= high + 1e-6


def test_of_ranges_neurons_that_are_masked_out():
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0])
    module = after(lambda s, z: z.relu() * mask + 3)
    found = extracted(module, input_size=(8, 3))
    assert {s.name for s in found.skipped} == {"fc[1]"}
    w, b = module.fc.weight.detach().double(), module.fc.bias.detach().double()
    most = (b + w.clamp(min=0).sum(1))[mask > 0].max().clamp(min=0)
    assert ranges(found)["out"] == pytest.approx((3.0, 3.0 + float(most), "interval"), abs=1e-6)


@pytest.mark.parametrize("reduce", ["mean", "amax", "amin", "sum"])
def test_of_ranges_of_reductions_by_index(reduce):
    to = torch.tensor([0, 1, 1, 2, 2, 2])

    def joined(h):
        index = to[:, None].expand(-1, 4)
        return torch.zeros(3, 4).scatter_reduce(0, index, h, reduce)

    module = after(lambda s, z: joined(z.tanh()))
    found = extracted(module, input_size=(6, 3))
    assert found.skipped == ()
    most = 3.0 if reduce == "sum" else 1.0
    assert ranges(found)["out"] == (-most, most, "interval")
    check(module, "fc", lambda x: module.fc(x).tanh(), 3, input_size=(6, 3))


def test_of_ranges_packed_sequences():
    def forward(s, x):
        packed = pack_padded_sequence(s.fc(x).sigmoid(), torch.tensor([5, 3, 2]))
        return s.out(pad_packed_sequence(s.gru(packed)[0])[0])

    module = Net(forward, fc=nn.Linear(3, 4), gru=nn.GRU(4, 5), out=nn.Linear(5, 2))
    found = extracted(module, input_size=(5, 3, 3))
    assert found.skipped == ()
    known = ranges(found)
    assert known["gru.weight_ih_l0.n"] == (0.0, 1.0, "activation")
    assert known["out"][:2] == (-1.0, 1.0)
    check(module, "fc", lambda x: module.fc(x).sigmoid(), 3, input_size=(5, 3, 3))


@pytest.mark.parametrize(
    "normed",
    [lambda g, h: g * h / h.norm(dim=-1, keepdim=True).clamp(min=1e-5),
     lambda g, h: h * (g / h.norm(dim=-1, keepdim=True).clamp(min=1e-5)),
     lambda g, h: (g * h) * (h.pow(2).sum(-1, keepdim=True) + 1e-8).rsqrt()],
)  # fmt: skip
def test_of_norms_with_a_gain_before_the_length(normed):
    module = after(lambda s, z: normed(s.g, z), g=nn.Parameter(torch.tensor(3.0)))
    low, high, source = ranges(extracted(module, input_size=(8, 3)))["out"]
    assert source == "norm"
    assert (low, high) == pytest.approx((-3.0, 3.0))  # an entry is at most the whole length


# -- loops -------------------------------------------------------------------------------------


def lstm(s, x):
    h = c = torch.zeros(x.size(1), 4)
    for t in x:
        i, f, g, o = s.w(torch.cat((t, h), -1)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return s.out(h)


def gru(s, x):
    h = torch.zeros(x.size(1), 4)
    for t in x:
        z, r = s.w(torch.cat([t, h], 1)).sigmoid().chunk(2, 1)
        h = (1 - z) * h + z * torch.tanh(s.n(torch.cat([t, r * h], 1)))
    return s.out(h)


@pytest.mark.parametrize("forward", [lstm, gru])
def test_of_loops_the_first_step_is_a_step(forward):
    """Its forget gate meets a state of zeros: what follows it, the other steps show."""
    torch.manual_seed(0)
    module = Net(forward, w=nn.Linear(7, 16 if forward is lstm else 8), n=nn.Linear(7, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    if forward is lstm:
        del module.n
    x = torch.rand(5, 6, 3)
    found = to_network(module, ExtractOptions(strict=True, input_data=x))
    names = [n for n in found.network.names if n.startswith("w")]
    assert names == (["w[12 of 16 from 0]", "w[8:12]"] if forward is lstm else ["w"])
    gates = [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15] if forward is lstm else list(range(8))
    check(module, names[0], lambda x: module.w(x)[:, gates].sigmoid(), 7, input_data=x)
    received = []
    module.w.register_forward_pre_hook(lambda m, x: received.append(x[0]))
    with torch.no_grad():
        for _ in range(20):
            module(torch.rand(5, 30, 3))
    reached = torch.cat(received)
    low, high, source = ranges(found)[names[0]]
    assert source == "interval"
    assert low <= float(reached.min()) < 0 < float(reached.max()) <= high


# -- sparse ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["spmm", "sparse.mm", "csr", "by values"])
def test_of_sparse_products(form):
    torch.manual_seed(0)
    dense = (torch.rand(6, 6) > 0.5).float() / 3
    sparse = dense.to_sparse()

    def product(h):
        if form == "spmm":
            return torch.spmm(sparse, h)
        if form == "sparse.mm":
            return torch.sparse.mm(sparse, h)
        if form == "csr":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return sparse.to_sparse_csr() @ h
        at, values = sparse.indices(), sparse.values()
        return torch.sparse.mm(torch.sparse_coo_tensor(at, 2 * values / 2, (6, 6)), h)

    module = Net(lambda s, x: s.out(product(s.fc(x)).relu()), fc=nn.Linear(3, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    found = extracted(module, input_size=(6, 3))
    assert found.skipped == ()
    first, second, _ = found.network
    assert (first.activation.name, second.activation.name) == ("identity", "relu")
    np.testing.assert_allclose(second.matrix(), dense, atol=1e-7)
    check(module, second.name, lambda x: (x @ dense.t()).relu(), 6, input_size=(6, 3))


def test_of_sparse_what_depends_on_the_input_is_listed():
    module = after(lambda s, z: z.relu().to_sparse().to_dense())
    found = extracted(module, input_size=(8, 3))
    assert "sparse" in {s.name: s.reason for s in found.skipped}["fc"]
    nested = after(lambda s, z: torch.nested.nested_tensor(list(z.relu())).to_padded_tensor(0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="nested tensors"):
            to_network(nested, ExtractOptions(input_size=(8, 3)))


# -- files -------------------------------------------------------------------------------------


def read(weights, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(weights, ExtractOptions(activation="relu", **options))
    return {e.name: e.load() for e in found.network}, {s.name: s.reason for s in found.skipped}


def numbers(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


class Positive(nn.Module):
    def forward(self, x):
        return x.exp()


@pytest.mark.parametrize("kind", ["exp", "orthogonal-like"])
def test_of_files_a_bias_that_is_kept_in_parts_is_not_left_out(kind):
    part = nn.Linear(3, 4)
    nn.utils.parametrize.register_parametrization(
        part, "bias", Positive() if kind == "exp" else nn.Softplus()
    )
    found, listed = read({f"fc.{k}": v for k, v in part.state_dict().items()}
                         | {"out.weight": torch.rand(2, 4)})  # fmt: skip
    assert list(found) == ["out"]
    assert listed["fc"].startswith("its bias is kept in parts")


def test_of_files_few_bits_in_arrays(tmp_path):
    few = np.random.default_rng(0).integers(-127, 128, (4, 3)).astype(np.int8)
    scale = np.abs(numbers(4))
    found, _ = read({"fc.weight": few, "fc.SCB": scale})
    np.testing.assert_allclose(found["fc"].weight, few * scale[:, None] / 127, rtol=1e-6)
    np.savez(tmp_path / "a.npz", **{"fc.weight": few, "fc.weight_scale": scale[:, None]})
    found, listed = read(tmp_path / "a.npz")
    np.testing.assert_allclose(found["fc"].weight, few * scale[:, None], rtol=1e-6)
    assert listed == {}
    packed = {"fc.weight": few.view(np.uint8), "fc.weight.absmax": scale,
              "fc.weight.quant_map": numbers(16), "out.weight": numbers(2, 4)}  # fmt: skip
    found, listed = read(packed)
    assert list(found) == ["out"] and "quantised" in listed["fc"]
    found, _ = read({"fc.weight": np.sign(few)})  # numbers that are meant as they are
    np.testing.assert_array_equal(found["fc"].weight, np.sign(few))


@pytest.mark.parametrize("names", ["arr_{}", "coefs"])
def test_of_files_arrays_that_are_only_counted(names, tmp_path):
    """``numpy.savez`` of Keras' ``get_weights()``; scikit-learn's ``coefs_``."""
    kernels, biases = (numbers(3, 4), numbers(4, 4), numbers(4, 2)), map(numbers, (4, 4, 2))
    pairs = list(zip(kernels, biases, strict=True))
    if names == "coefs":
        weights = {f"coefs_{k}": w for k, (w, _) in enumerate(pairs)}
        weights |= {f"intercepts_{k}": b for k, (_, b) in enumerate(pairs)}
        np.savez(tmp_path / "a.npz", **weights)
    else:
        np.savez(tmp_path / "a.npz", *(a for pair in pairs for a in pair))
    found, _ = read(tmp_path / "a.npz")
    for layer, (kernel, bias) in zip(found.values(), pairs, strict=True):
        x = numbers(5, kernel.shape[0])
        np.testing.assert_allclose(layer(x), np.maximum(x @ kernel + bias, 0), atol=1e-5)


def test_of_files_lists_of_state_dicts_cells_and_adapters(tmp_path):
    part = nn.Sequential(nn.Linear(3, 4))
    torch.save((part.state_dict(), 7), tmp_path / "pair.pt")
    found, _ = read(tmp_path / "pair.pt")
    np.testing.assert_array_equal(next(iter(found.values())).weight, part[0].weight.detach())
    torch.save([part.state_dict(), part.state_dict()], tmp_path / "two.pt")
    with pytest.raises(ValueError, match=r"holds 2 networks: 0 .*, 1 "):
        read(tmp_path / "two.pt")
    found, _ = read(tmp_path / "two.pt", key="1")
    assert len(found) == 1
    cell = {k + g: {"kernel": numbers(3 if k == "i" else 4, 4)} for k in "ih" for g in "ifgo"}
    found, _ = read({"params": {"OptimizedLSTMCell_0": cell}})
    assert found["OptimizedLSTMCell_0.hg"].activation.name == "tanh" and len(found) == 8
    found, _ = read({"to_q.lora.down.weight": numbers(2, 3), "to_q.lora.up.weight": numbers(4, 2)})
    assert {e.activation.name for e in found.values()} == {"identity"}
    found, listed = read(
        {"base.e.lora_embedding_A.default": numbers(2, 9), "fc.weight": numbers(2, 3)}
    )
    assert list(found) == ["fc"] and "embedding" in listed["base.e.lora_embedding_A.default"]


# -- ONNX --------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 9, 13, 15])
def test_of_onnx_batch_norms_of_every_version(opset, tmp_path):
    pytest.importorskip("onnx")
    import onnx_graphs as og

    w, s, t, m, v = numbers(3, 4), *(k + numbers(4) ** 2 for k in (0.5, 0.0, 0.1, 0.2))
    path = og.saved(
        tmp_path / "m.onnx",
        [og.node("MatMul", "x W", "z"), og.node("BatchNormalization", "z s t m v", "b"),
         og.node("Relu", "b", "h"), og.node("MatMul", "h W2", "y")],
        {"W": w, "W2": numbers(4, 2), "s": s, "t": t, "m": m, "v": v}, opset=opset,
    )  # fmt: skip
    found = og.extracted(path)
    assert found.skipped == ()
    x = numbers(9, 3)
    real = np.maximum((x @ w - m) / np.sqrt(v + 1e-5) * s + t, 0)
    np.testing.assert_allclose(layers(found)["W"](x), real, atol=1e-5)
    assert layers(found)["W"].activation.name == "relu"


def test_of_onnx_nearest_resizing_copies(tmp_path):
    pytest.importorskip("onnx")
    import onnx_graphs as og
    from onnx import helper

    exact = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    resize = helper.make_node("Resize", ["z", "", "sc"], ["u"], mode="nearest", **exact)
    kernel = numbers(4, 1, 3, 3)
    path = og.saved(
        tmp_path / "m.onnx",
        [og.node("Conv", "x K", "z"), resize, og.node("Tanh", "u", "h"),
         og.node("GlobalAveragePool", "h", "g"), og.node("Flatten", "g", "f"),
         og.node("MatMul", "f F", "y")],
        {"K": kernel, "F": numbers(4, 2), "sc": np.array([1, 1, 2, 2], np.float32)},
        inputs=(("x", og.FLOAT, (2, 1, 6, 6)),),
    )  # fmt: skip
    layer = layers(og.extracted(path))["K"]
    assert layer.activation.name == "tanh" and layer.pool is None
    x = numbers(7, 9)
    np.testing.assert_allclose(layer(x), np.tanh(x @ kernel.reshape(4, 9).T), atol=1e-5)
