"""Random modules: every layer is what ran, or it is listed. No silent difference.

``EIPLANE_RANDOM_MODULES=20000 pytest tests/test_extraction_random.py`` takes as many modules.
"""

import os
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from eiplane.extract import ExtractOptions, to_network  # noqa: E402

MODULES = int(os.environ.get("EIPLANE_RANDOM_MODULES", "200"))
WIDTH = 4


@torch.jit.script
def scripted(z):
    return torch.where(z > 0, z, 0.3 * torch.expm1(z))


@torch.jit.script
def scripted_silu(z):
    return z * torch.sigmoid(1.5 * z)


VECTORS = torch.rand(10, WIDTH, generator=torch.Generator().manual_seed(0)) + 0.5


def vector(seed):
    return VECTORS[seed]


def on_slice(z, seed):
    h = z + 0
    h[:, : 1 + seed % WIDTH].tanh_()
    return h


def by_view(z, seed):
    h = (z * 1).contiguous()
    h.view(-1).relu_()
    return h


def through_copy(z, seed):
    o = torch.empty(len(z), WIDTH)
    o.copy_(torch.sigmoid(z))
    return o


def written_rms(z, seed):
    return z * torch.rsqrt((z * z).mean(-1, keepdim=True) + 1e-5) * vector(seed)


def logged(z, seed):
    z.abs().mean(), z.max(), (z > 0).sum()
    return z


#: Steps between two linear maps.
STEPS = {
    "relu": lambda z, s: torch.relu(z),
    "tanh": lambda z, s: torch.tanh(z),
    "gelu": lambda z, s: F.gelu(z),
    "scripted": lambda z, s: scripted(z),
    "scripted silu": lambda z, s: scripted_silu(z),
    "threshold": lambda z, s: torch.relu(z - vector(s)),
    "scale": lambda z, s: z * vector(s),
    "shift": lambda z, s: z + vector(s),
    "slopes": lambda z, s: F.prelu(z, 0.3 * vector(s)),
    "affine": lambda z, s: 2 * z - 1,
    "view": by_view,
    "slice": on_slice,
    "copy": through_copy,
    "transpose": lambda z, s: z.t().contiguous().t(),
    "reshape": lambda z, s: z.reshape(-1, 2, 2).flatten(1),
    "flip": lambda z, s: z.flip(1),
    "norm": lambda z, s: F.layer_norm(z, (WIDTH,), vector(s)),
    "rms": written_rms,
    "log": logged,
    "masked": lambda z, s: z.masked_fill(z < 0.1, 0.0),
    "clamp": lambda z, s: z.clamp(-0.4, 0.7),
    "cat": lambda z, s: torch.cat([z[:, :2].relu(), z[:, 2:].tanh()], 1),
    "softmax": lambda z, s: z.softmax(-1),
    "cummax": lambda z, s: torch.cummax(z, 1)[0],
    "own": lambda z, s: torch.where(z > z.mean(1, keepdim=True), z, torch.zeros(())),
}


class Random(nn.Module):
    """Blocks of a linear map and steps, some of them with a sum around."""

    def __init__(self, blocks):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in blocks)
        self.out = nn.Linear(WIDTH, 2)
        self.blocks = blocks
        self.record = None

    def forward(self, x):
        taken = []
        for linear, (steps, residual) in zip(self.maps, self.blocks, strict=True):
            taken.append(x)
            y = linear(x)
            for name, seed in steps:
                y = STEPS[name](y, seed)
            x = x + y if residual else y
        taken.append(x)
        if self.record is not None:
            self.record += taken
        return self.out(x)


@st.composite
def modules(draw):
    step = st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9))
    block = st.tuples(st.lists(step, max_size=4), st.booleans())
    return draw(st.lists(block, min_size=1, max_size=3))


#: What an elementwise step does, one entry at a time, so a prefix of these is a layer's function.
ELEMENTWISE = {
    "relu", "tanh", "gelu", "scripted", "scripted silu", "threshold", "scale", "shift", "slopes",
    "affine", "view", "slice", "copy", "transpose", "reshape", "log", "masked", "clamp", "cat",
    "flip",
}  # fmt: skip


def applied(steps, z):
    """What the layer's consumer receives: all steps up to the first that mixes or moves."""
    flips = 0
    for name, seed in steps:
        if name not in ELEMENTWISE:
            break
        z = STEPS[name](z, seed)
        flips += name == "flip"
    return z.flip(1) if flips % 2 else z


@settings(
    max_examples=MODULES, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(modules(), st.integers(0, 10**6))
def test_every_layer_is_what_ran_or_is_listed(blocks, seed):
    torch.manual_seed(seed)
    module = Random(blocks).eval()
    x = torch.randn(7, WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module, ExtractOptions(input_data=x))
    made: dict[int, list] = {}
    for layer in found.network:
        base = layer.name.partition("[")[0]
        if base != "out":
            made.setdefault(int(base.split(".")[1]), []).append(layer)
    listed = {s.name.partition("[")[0] for s in found.skipped}
    for k, (steps, _) in enumerate(blocks):
        assert k in made or f"maps.{k}" in listed
        rows = np.zeros(WIDTH, dtype=int)
        inputs = torch.randn(50, WIDTH)
        with torch.no_grad():
            real = applied(steps, module.maps[k](inputs)).numpy()
        for layer in made.get(k, []):
            mine = rows_of(layer.name)
            rows[mine] += 1
            values = layer(inputs.numpy())
            wrong = ~np.isclose(values, real[:, mine], atol=1e-4)
            assert wrong.mean() < 0.01, (layer.name, layer.activation.name, steps)
        assert (rows <= 1).all()
        if f"maps.{k}" not in listed:
            assert (rows == 1).all()


def rows_of(name):
    """The outputs that a layer's name tells."""
    _, _, inside = name.partition("[")
    if not inside:
        return np.arange(WIDTH)
    return np.arange(WIDTH)[
        slice(*[int(n) for n in inside[:-1].split(":")]) if ":" in inside else [int(inside[:-1])]
    ]
