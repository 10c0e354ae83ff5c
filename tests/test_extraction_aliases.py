"""What is remembered of arrays is what they were: later writes, sums with multiples, steps.

Most runs see zeros, which any function of one map fits: nothing but the forward pass tells then.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import eiplane  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class _Written(nn.Module):
    """A product that is summed, with something between."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.w, self.between = nn.Parameter(torch.randn(5, 4)), between
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.between(x.clone(), self.w.clone()).sum(-1)))


def _then(write):
    """Return a product after which something is written."""

    def between(x, w):
        product = x[:, None] * w
        write(x, w, product)
        return product

    return between


#: What is done between a product and its sum, and whether that is a linear map still.
BETWEEN = {
    "rounded": (lambda x, w: torch.round(3 * x[:, None] * w), False),
    "floor": (lambda x, w: torch.floor(x[:, None] * w), False),
    "whole numbers": (lambda x, w: (4 * x[:, None] * w).int().float(), False),
    "a grid": (lambda x, w: torch.fake_quantize_per_tensor_affine(x[:, None] * w, 1.0, 0, -9, 9),
               False),
    "shrunk": (lambda x, w: F.hardshrink(x[:, None] * w), False),
    "clipped between the probes": (lambda x, w: (3 * x[:, None] * w).clamp(-3, 17), False),
    "far below a threshold": (lambda x, w: F.threshold(9 * x[:, None] * w, 18.0, 0.0), False),
    "tiny": (lambda x, w: torch.tanh(x[:, None] * w * 1e-3) * 1e3 - (x[:, None] * w), False),
    "rounded in place": (_then(lambda x, w, p: p.round_()), False),
    "a column scaled in place": (_then(lambda x, w, p: p[:, :, 1].mul_(2)), True),
    "rows with numbers of their own": (
        lambda x, w: x[:, None] * w * torch.tensor([1.0, 0.0, 3.0, -1.0, 0.5])[:, None], True),
    "the input written": (_then(lambda x, w, p: x.add_(1)), True),
    "the input emptied": (_then(lambda x, w, p: x.zero_()), True),
    "the weight written": (_then(lambda x, w, p: w.mul_(5)), True),
    "the weight emptied": (_then(lambda x, w, p: w.zero_()), True),
}  # fmt: skip


@pytest.mark.parametrize("seen", [0.0, 0.3])
@pytest.mark.parametrize("name", BETWEEN)
def test_what_lies_between_a_product_and_its_sum(name, seen):
    between, linear = BETWEEN[name]
    module = _Written(between)
    found = to_network(module, ExtractOptions(input_data=torch.full((2, 4), seen)))
    layers = {str(layer.name): layer.load() for layer in found.network}
    assert set(layers) == ({"w", "out"} if linear else {"out"})
    assert [s.name for s in found.skipped] == ([] if linear else ["w"])
    if linear:
        x = torch.randn(20, 4)
        with torch.no_grad():
            wanted = torch.tanh(between(x.clone(), module.w.clone()).sum(-1))
        np.testing.assert_allclose(layers["w"](x.double().numpy()), wanted, atol=1e-5)


class _Mixed(nn.Module):
    """A share, and what is mixed by it, from three layers."""

    def __init__(self, mix):
        super().__init__()
        torch.manual_seed(0)
        self.z, self.n, self.h = (nn.Linear(4, 5) for _ in range(3))
        self.out, self.mix = nn.Linear(5, 2), mix

    def forward(self, x):
        z, n, h = torch.sigmoid(self.z(x)), torch.tanh(self.n(x)), torch.tanh(self.h(x))
        return self.out(self.mix(z, n, h))


def _scaled_product(z, n, h):
    product = z * n
    return product.mul_(5) + (1 - z) * h


def _scaled_difference(z, n, h):
    apart = n - h
    apart.mul_(9)
    return h + z * apart


def _written_beside(of):
    def mix(z, n, h):
        one, two = z * n, (1 - z) * h
        (z, n, h)[of].mul_(7)
        return one + two

    return mix


def _norm_of(alpha):
    def mix(z, n, h):
        apart = torch.sub(n, n.mean(-1, keepdim=True), alpha=alpha)
        return apart / torch.sqrt(n.var(-1, keepdim=True, unbiased=False) + 1e-5)

    return mix


#: A mixture or what is none, and whether its range is that of what it mixes.
MIXTURES = {
    "a share of the difference": (lambda z, n, h: h + z * (n - h), True),
    "the share written afterwards": (_written_beside(0), True),
    "the first written afterwards": (_written_beside(1), True),
    "the second written afterwards": (_written_beside(2), True),
    "a product scaled in place": (_scaled_product, False),
    "a difference scaled in place": (_scaled_difference, False),
    "a multiple of the share's": (lambda z, n, h: torch.add(h, z * (n - h), alpha=3), False),
    "a difference with a multiple": (lambda z, n, h: h + z * torch.sub(n, h, alpha=4), False),
    "a multiple of the rest": (lambda z, n, h: torch.add(z * n, (1 - z) * h, alpha=5), False),
    "less a multiple": (lambda z, n, h: torch.sub(h, z * (h - n), alpha=3), False),
    "a norm about thrice the mean": (_norm_of(3), False),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_ranges_hold_what_the_network_computes(name):
    mix, between = MIXTURES[name]
    module = _Mixed(mix).eval()
    found = eiplane.analyze(module, input_data=torch.rand(3, 4), in_range=(-20, 20), bins=2,
                            measures="sensitivity")  # fmt: skip
    low, high = found["out"].in_range
    assert found["out"].range_source == "interval"
    seen = []
    module.out.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        for _ in range(50):
            module(40 * torch.rand(50, 4) - 20)
    values = torch.cat(seen)
    assert low <= float(values.min()) and float(values.max()) <= high
    assert ((low, high) == (-1.0, 1.0)) == between


class _Retyped(nn.Module):
    def __init__(self, moved):
        super().__init__()
        torch.manual_seed(0)
        self.n, self.out, self.moved = nn.Linear(4, 6, bias=False), nn.Linear(6, 2), moved

    def forward(self, x):
        return self.out(self.moved(torch.tanh(self.n(x))).reshape(-1, 6))


def _by_way_of(write, back):
    """Return what reads numbers as complex ones, writes, and reads those or the first ones."""

    def moved(n):
        pairs = torch.view_as_complex(n.view(-1, 3, 2))
        write(n, pairs)
        return back(n, pairs)

    return moved


def _constant_pairs(n):
    kept = torch.zeros(len(n), 6)
    torch.view_as_complex(kept.view(-1, 3, 2)).copy_(torch.complex(n[:, :3], n[:, 3:]) * 50)
    return kept


def _bits(n):
    n.view(torch.uint8).bitwise_xor_(128)
    return n


_REAL = lambda n, pairs: torch.view_as_real(pairs)  # noqa: E731

#: Numbers that are written as those of one type and read as those of another.
RETYPED = {
    "pairs, then themselves": _by_way_of(lambda n, p: torch.view_as_real(p).mul_(50), _REAL),
    "themselves, then pairs": _by_way_of(lambda n, p: n.mul_(50), _REAL),
    "complex, then themselves": _by_way_of(lambda n, p: p.mul_(50), lambda n, p: n),
    "complex, emptied": _by_way_of(lambda n, p: p.zero_(), lambda n, p: n + 1),
    "a constant's": _constant_pairs,
    "bits": _bits,
}


@pytest.mark.parametrize("seen", [0.0, 0.3])
@pytest.mark.parametrize("name", RETYPED)
def test_memory_that_is_written_as_another_type_is_not_followed(name, seen):
    x = torch.full((2, 4), seen)
    found = eiplane.analyze(_Retyped(RETYPED[name]), input_data=x, measures="sensitivity", bins=2)
    assert found["out"].range_source == "assumed"


def test_parts_of_one_memory_are_read_as_complex_without_harm():
    def moved(n):
        n = n.view(-1, 3, 2)
        one, two = (torch.view_as_complex(part) for part in (n[:, :1], n[:, 1:2]))
        return torch.cat([torch.view_as_real(one), torch.view_as_real(two), n[:, 2:]], 1)

    found = to_network(_Retyped(moved), ExtractOptions(input_data=torch.rand(2, 4)))
    assert not found.skipped
    first, second = (layer.load() for layer in found.network)
    assert (first.activation.name, second.activation.name) == ("tanh", "identity")
    assert found.network.sources["out"] == ("n",)
