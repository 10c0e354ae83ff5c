"""Parts of weights that go different ways, copies of a signal, and training for quantisation.

Every layer is held against a sweep of the module's own operators.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from found import layers, ranges  # noqa: E402
from swept import Net, check, counted_sensitivity, extracted  # noqa: E402
from torch import library as registry  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import eiplane  # noqa: E402

# -- a parameter whose parts are used otherwise ------------------------------------------------


#: What else is done with a weight of eight rows and three columns, and how that part is listed.
OTHERWISE = {
    "distances": (lambda s, x: (x[:, None] - s.w[4:]).pow(2).sum(-1), "w[4:8]"),
    "of a library": (lambda s, x: torch.cdist(x, s.w[4:]), "w[4:8]"),
    "one row": (lambda s, x: torch.cdist(x, s.w[5:6]).expand(-1, 4), "w[5]"),
    "every second row": (lambda s, x: (x[:, None] * s.w[4:8:2]).relu().sum(-1).repeat(1, 2),
                         "w[4:7:2]"),
    "computed": (lambda s, x: (x[:, None] - F.normalize(s.w[4:])).abs().sum(-1), "w[4:8]"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERWISE)
def test_a_part_of_a_weight_that_is_used_otherwise_is_listed(kind):
    torch.manual_seed(0)
    otherwise, title = OTHERWISE[kind]
    module = Net(lambda s, x: s.out(torch.tanh(F.linear(x, s.w[:4])) + otherwise(s, x)),
                 w=nn.Parameter(torch.randn(8, 3)), out=nn.Linear(4, 2))  # fmt: skip
    x = torch.rand(6, 3)
    found = extracted(module, input_data=x)
    assert [s.name for s in found.skipped] == [title]
    layer = check(module, "w", lambda x: torch.tanh(F.linear(x, module.w[:4])), 3, input_data=x)
    assert layer.activation == "tanh"


def test_columns_that_are_used_otherwise_are_listed():
    torch.manual_seed(0)
    module = Net(lambda s, x: s.out(F.linear(x, s.w[:, :3]).relu() + torch.cdist(x, s.w[:, 3:])),
                 w=nn.Parameter(torch.randn(4, 6)), out=nn.Linear(4, 2))  # fmt: skip
    found = extracted(module, input_size=(5, 3))
    assert [s.name for s in found.skipped] == ["w[:, 3:6]"]
    assert layers(found)["w"].activation.name == "relu"


@pytest.mark.parametrize(
    "forward",
    [
        lambda s, x: torch.tanh(F.linear(x, s.w[:4])) + F.linear(x, s.w[4:]).relu(),
        lambda s, x: torch.cat([F.linear(x, p) for p in s.w.split(2)], -1).relu().view(-1, 4),
        lambda s, x: F.linear(x, s.w).relu().view(-1, 4) + 0 * s.w[4:].sum(),
        lambda s, x: F.linear(x, s.w * (s.w > 0)).relu().view(-1, 4),
    ],
)
def test_parts_that_are_all_layers_are_not_listed(forward):
    torch.manual_seed(0)
    module = Net(lambda s, x: s.out(forward(s, x)), w=nn.Parameter(torch.randn(8, 3)),
                 out=nn.Linear(4, 2))  # fmt: skip
    assert extracted(module, input_size=(5, 3)).skipped == ()


def test_a_layer_is_called_by_its_matrix():
    """A weight of a matrix and a few scales, a matrix of several: by what they have in common."""
    torch.manual_seed(0)
    steps = nn.Parameter(torch.tensor([0.06, 0.1]))
    module = Net(lambda s, x: s.b(F.linear(x, (s.a.weight / s.steps[0]).round() * s.steps[0])),
                 a=nn.Linear(3, 4), steps=steps, b=nn.Linear(4, 2))  # fmt: skip
    found = extracted(module, input_size=(5, 3))
    assert found.network.names == ("a", "b")
    x = torch.rand(9, 3)
    real = F.linear(x, (module.a.weight / steps[0]).round() * steps[0]).detach()
    np.testing.assert_allclose(layers(found)["a"](x.numpy()), real.numpy(), atol=1e-6)
    made = Net(lambda s, x: s.b(torch.tanh(F.linear(x, s.hyper(s.z).view(4, 3)))),
               hyper=nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 12)),
               z=nn.Parameter(torch.randn(2)), b=nn.Linear(4, 2))  # fmt: skip
    layer = check(made, "hyper",
                  lambda x: torch.tanh(F.linear(x, made.hyper(made.z).view(4, 3))), 3,
                  input_size=(5, 3))  # fmt: skip
    assert layer.activation == "tanh"


# -- copies of a signal ------------------------------------------------------------------------


def unit_rows(w):
    return F.normalize(w, dim=-1)


#: Maps of a normalised signal that is copied for each row of the weight, and the same without.
COPIED = {
    "cosine similarity": (lambda h, w: F.cosine_similarity(h[:, None], w[None], dim=-1),
                          F.normalize, unit_rows),
    "cosine, other axis": (lambda h, w: F.cosine_similarity(h[:, :, None], w.t()[None], dim=1),
                           F.normalize, unit_rows),
    "cosine module": (lambda h, w: nn.CosineSimilarity(-1)(h[:, None], w), F.normalize, unit_rows),
    "layer norm": (lambda h, w: (F.layer_norm(h[:, None].expand(-1, 3, -1), (4,)) * w).sum(-1),
                   lambda h: F.layer_norm(h, (4,)), lambda w: w),
    "softmax": (lambda h, w: (h[:, None].repeat(1, 3, 1).softmax(-1) * w).sum(-1),
                lambda h: h.softmax(-1), lambda w: w),
    "by the mean square": (
        lambda h, w: (lambda c: c * torch.rsqrt(c.pow(2).mean(-1, keepdim=True) + 1e-6) * w)(
            h[:, None].expand(-1, 3, -1)).sum(-1),
        lambda h: h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6), lambda w: w),
}  # fmt: skip


@pytest.mark.parametrize("kind", COPIED)
def test_a_copied_signal_meets_one_layer_not_one_for_each_row(kind):
    torch.manual_seed(1)
    forward, normed, rows = COPIED[kind]
    w = nn.Parameter(torch.randn(3, 4))
    module = Net(lambda s, x: s.out(torch.tanh(forward(s.a(x).sigmoid(), s.w))),
                 a=nn.Linear(5, 4), w=w, out=nn.Linear(3, 2))  # fmt: skip
    x = torch.rand(6, 5)
    found = extracted(module, input_data=x)
    assert found.skipped == () and found.network.names == ("a", "w", "out")
    made = layers(found)["w"]
    assert made.activation.name == "tanh"
    weight = rows(module.w).detach().double().numpy()
    np.testing.assert_allclose(made.weight, weight, atol=1e-6)
    with torch.no_grad():  # what the layer takes, by the module's own parts
        h = module.a(torch.rand(400, 5)).sigmoid()
        given, real = normed(h), torch.tanh(forward(h, module.w))
    np.testing.assert_allclose(made(given.double().numpy()), real.numpy(), atol=2e-6)
    low, high, source = ranges(found)["w"]
    assert source in ("norm", "interval")
    assert low <= float(given.min()) and float(given.max()) <= high


# -- training for quantisation -----------------------------------------------------------------


def prepared(module, x):
    quantization = pytest.importorskip("torch.ao.quantization")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.train().qconfig = quantization.get_default_qat_qconfig("fbgemm")
        quantization.prepare_qat(module, inplace=True)
        for _ in range(3):
            module(x)
        module.eval().apply(quantization.disable_observer)
    return module


def test_of_quantisation_a_prepared_module_has_its_sensitivity():
    """Observers, a rounded weight for each channel, a staircase behind the layer."""
    torch.manual_seed(3)
    module = prepared(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
                      2 * torch.rand(64, 3) - 1)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (layer,) = eiplane.analyze(module, measures="sensitivity", layers="0", input_size=(5, 3),
                                   in_range=(-1, 1), bins=4)  # fmt: skip

    def real(x):
        with torch.no_grad():  # Linear with its fake-quantised weight and output, then Tanh's
            return module[1](module[0](torch.as_tensor(x, dtype=torch.float32))).double().numpy()

    expected = counted_sensitivity(real, 3, layer.out_range, 4, (-1.0, 1.0), steps=1 << 14)
    assert layer.sensitivity == pytest.approx(expected, abs=0.02 * max(1.0, expected))


def test_of_quantisation_a_convolution_and_its_batch_norm():
    torch.manual_seed(4)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    x = torch.rand(8, 1, 6, 6)
    prepared(module, x)
    found = extracted(module, input_data=x)
    assert found.network.names == ("0", "3")
    fields = torch.rand(200, 1, 3, 3)
    with torch.no_grad():
        real = module[1](module[0](fields)).flatten(1).numpy()
    close = np.isclose(layers(found)["0"](fields.flatten(1).double().numpy()), real, atol=1e-5)
    assert close.mean() > 0.99  # single precision may fall on the other side of a step


@pytest.mark.parametrize("by", ["tensor", "channel"])
def test_of_quantisation_steps_are_where_torch_has_them(by):
    """Within 6e-8 of a step: torch multiplies with a reciprocal in single precision."""
    scales, zeros = torch.tensor([0.037, 0.11, 0.2301]), torch.tensor([0, 3, -2], dtype=torch.int32)

    def rounded(z):
        if by == "channel":
            return torch.fake_quantize_per_channel_affine(z, scales, zeros, 1, -8, 7)
        return torch.fake_quantize_per_tensor_affine(z, 0.037, 2, -8, 7)

    module = Net(lambda s, x: s.out(rounded(s.a(x))), a=nn.Linear(3, 3),
                 out=nn.Linear(3, 2)).double()  # fmt: skip
    layer = layers(extracted(module, input_data=torch.rand(5, 3).double()))["a"]
    assert layer.activation.name.startswith("fake_quantize")
    steps = np.arange(-7, 6) + 0.5
    per_row = np.array([0.037] * 3) if by == "tensor" else scales.double().numpy()
    near = [-3e-7, -6e-8, -1e-8, 0.0, 1e-8, 6e-8, 3e-7]
    z = np.concatenate([np.outer(steps * (1 + e), per_row) for e in near])
    real = rounded(torch.as_tensor(z)).numpy()
    np.testing.assert_allclose(layer.activation(z.T, axis=0).T, real, atol=1e-7)
    # Where the step itself has them is somewhere else.
    assert not np.allclose(np.clip(np.rint(z / per_row), -8, 7) * per_row, real, atol=1e-3)


@pytest.mark.parametrize("bits", [3, 5])
def test_of_quantisation_learnt_steps(bits):
    """Esser et al. 2020: straight-through rounding with a learnt step, by hand."""
    torch.manual_seed(5)

    def rounded(v, step, low, high):
        scaled = (v / step).clamp(low, high)
        return (scaled + (scaled.round() - scaled).detach()) * step

    def first(s, x):
        most = 2.0 ** (bits - 1)
        w = rounded(s.a.weight, s.steps[0], -most, most - 1)
        return rounded(F.relu(F.linear(x, w, s.a.bias)), s.steps[1], 0, 2.0**bits - 1)

    module = Net(lambda s, x: s.out(first(s, x)), a=nn.Linear(3, 4), out=nn.Linear(4, 2),
                 steps=nn.Parameter(torch.tensor([0.11, 0.07])))  # fmt: skip
    layer = check(module, "a", lambda x: first(module, x), 3, input_size=(5, 3))
    assert layer.in_range == (0.0, 1.0)


# -- operators of lists of tensors, and of several results -------------------------------------


def written_in_place(hs):
    torch._foreach_add_(hs, 0.5)
    torch._foreach_mul_(hs, [2.0, 3.0])
    return hs


def copied_into(hs):
    made = [torch.zeros_like(h) for h in hs]
    torch._foreach_copy_(made, [h.relu() for h in hs])
    return made


def split_into(hs):
    made = [torch.empty_like(hs[0]) for _ in hs]
    torch.split_with_sizes_copy(torch.cat(hs, -1).tanh(), [4, 4], -1, out=made)
    return made


def into(h, name):
    """The first or second result of an operator that fills two tensors."""
    mantissa, exponent = torch.empty_like(h), torch.empty(h.shape, dtype=torch.int32)
    torch.frexp(h, out=(mantissa, exponent))
    return mantissa if name == "mantissa" else exponent.float()


LISTS = {
    "new": lambda hs: torch._foreach_sigmoid(torch._foreach_addcmul(hs, hs, hs, 0.5)),
    "number first": lambda hs: torch._foreach_pow(2.0, torch._foreach_tanh(hs)),
    "cut by a number": lambda hs: torch._foreach_minimum(hs, 0.125),
    "cut by numbers": lambda hs: torch._foreach_maximum(hs, [0.125, -0.25]),
    "numbers in a tensor": lambda hs: torch._foreach_addcdiv(
        hs, torch._foreach_sin(hs), torch._foreach_exp(hs), torch.tensor([0.3, 0.6])
    ),
    "in place": lambda hs: written_in_place([h.tanh() for h in hs]),
    "copied": copied_into,
    "split": split_into,
    "first of two results": lambda hs: [torch.frexp(h)[0] for h in hs],
    "filled": lambda hs: [into(h.tanh(), "mantissa") for h in hs],
}


@pytest.mark.skipif(not hasattr(torch, "_foreach_sigmoid"), reason="torch has them since 2.1")
@pytest.mark.parametrize("kind", LISTS)
def test_what_is_done_to_each_of_a_list_is_seen(kind):
    torch.manual_seed(6)
    a, b = nn.Linear(3, 4), nn.Linear(3, 4)
    module = Net(lambda s, x: s.out(torch.cat(LISTS[kind]([s.a(x), s.b(x)]), -1)), a=a, b=b,
                 out=nn.Linear(8, 2))  # fmt: skip
    x = torch.rand(6, 3)
    assert extracted(module, input_data=x).skipped == ()
    for k, name in enumerate("ab"):
        check(module, name, lambda x, k=k: LISTS[kind]([a(x), b(x)])[k], 3, input_data=x)
    low, high, source = ranges(extracted(module, input_data=x))["out"]
    with torch.no_grad():
        many = torch.rand(5000, 3)
        reached = torch.cat(LISTS[kind]([a(many), b(many)]), -1)
    assert source == "activation"
    assert low <= float(reached.min()) and float(reached.max()) <= high


#: Makes an operator of a function; torch has it since 2.4.
custom_op = getattr(registry, "custom_op", None)


@(custom_op("eiplane_tests::moved", mutates_args=("x", "y")) if custom_op else lambda f: f)
def moved(x: torch.Tensor, y: torch.Tensor) -> None:
    x.add_(0.75)
    y.mul_(3)


#: What writes, or gives a second result, of which nothing is known.
UNSEEN = {
    "second result": lambda h: torch.frexp(h)[1].float(),
    "filled second": lambda h: into(h, "exponent"),
    "written by a library": lambda h: (moved(h, h2 := h.sigmoid()), h + h2)[1],
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_what_no_rule_is_known_of_has_no_range(kind):
    if kind == "written by a library" and custom_op is None:
        pytest.skip("this torch cannot make operators of functions")
    torch.manual_seed(6)
    module = Net(lambda s, x: s.out(UNSEEN[kind](s.a(x).tanh())), a=nn.Linear(3, 4),
                 out=nn.Linear(4, 2))  # fmt: skip
    found = extracted(module, input_size=(5, 3))
    assert [s.name for s in found.skipped] == ["a"]
    assert ranges(found)["out"] == (0.0, 1.0, "assumed")
