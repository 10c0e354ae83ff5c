"""What users write between two linear maps, on arrays with their features along the last axis.

Every step has a kind, which its author knows: ``each``, a function of each feature alone (with
constants of that feature); ``order``, features in another order; ``mix``, anything that joins a
feature with others, with other rows or with another signal.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

VECTORS = torch.rand(10, 64, generator=torch.Generator().manual_seed(0)) + 0.5


def vector(z, seed):
    """One constant for each feature."""
    return VECTORS[seed, : z.shape[-1]].to(z.dtype)


def coarse(z, dtype):
    """Round; not in double precision, where a module says what its numbers mean."""
    return z if z.dtype == torch.float64 else z.to(dtype)


@dataclass(frozen=True)
class Step:
    """One step: ``function(z, seed)``, and for ``order`` the places of the features it takes."""

    name: str
    function: Any
    kind: str = "each"
    places: Any = None


STEPS: dict[str, Step] = {}


def step(kind="each", places=None):
    def add(function):
        name = function.__name__.replace("_", " ").strip()
        STEPS[name] = Step(name, function, kind, places)
        return function

    return add


def simple(kind="each", **functions):
    for name, function in functions.items():
        text = name.replace("_", " ").strip()
        STEPS[text] = Step(text, function, kind)


# -- functions of each feature ----------------------------------------------------------------

simple(
    relu=lambda z, s: torch.relu(z),
    tanh=lambda z, s: torch.tanh(z),
    sigmoid=lambda z, s: z.sigmoid(),
    gelu=lambda z, s: F.gelu(z),
    gelu_tanh=lambda z, s: F.gelu(z, approximate="tanh"),
    silu=lambda z, s: F.silu(z),
    elu=lambda z, s: F.elu(z, 0.7),
    selu=lambda z, s: F.selu(z),
    celu=lambda z, s: F.celu(z, 1.3),
    mish=lambda z, s: F.mish(z),
    softplus=lambda z, s: F.softplus(z, beta=2.0),
    softsign=lambda z, s: F.softsign(z),
    hardswish=lambda z, s: F.hardswish(z),
    hardsigmoid=lambda z, s: F.hardsigmoid(z),
    relu6=lambda z, s: F.relu6(6 * z),
    leaky=lambda z, s: F.leaky_relu(z, 0.2),
    log_sigmoid=lambda z, s: F.logsigmoid(z),
    shrunk=lambda z, s: F.hardshrink(z, 0.1),
    soft_shrunk=lambda z, s: F.softshrink(z, 0.2),
    tanh_shrunk=lambda z, s: F.tanhshrink(z),
    rrelu=lambda z, s: F.rrelu(z, 0.1, 0.3, training=False),
    slopes=lambda z, s: F.prelu(z.reshape(-1, z.shape[-1]), 0.3 * vector(z, s)).view_as(z),
    clamp=lambda z, s: z.clamp(-0.4, 0.7),
    clamp_vector=lambda z, s: z.clamp(min=-0.3 * vector(z, s)),
    clip=lambda z, s: torch.clip(z, max=0.5),
    maximum=lambda z, s: torch.maximum(z, 0.1 * vector(z, s)),
    minimum=lambda z, s: torch.minimum(z, vector(z, s) * 0.3),
    fmax=lambda z, s: torch.fmax(z, torch.zeros((), dtype=z.dtype)),
    square=lambda z, s: z * z,
    cube=lambda z, s: z**3,
    relu_squared=lambda z, s: F.relu(z).square(),
    absolute=lambda z, s: z.abs(),
    sine=lambda z, s: torch.sin(2 * z),
    snake=lambda z, s: z + torch.sin(vector(z, s) * z) ** 2 / vector(z, s),
    gaussian=lambda z, s: torch.exp(-z.square()),
    softcap=lambda z, s: 3 * torch.tanh(z / 3),
    steps=lambda z, s: torch.round(4 * z) / 4,
    floor=lambda z, s: torch.floor(3 * z) / 3,
    spike=lambda z, s: (z > 0.1).to(z.dtype),
    sign=lambda z, s: torch.sign(z),
    heaviside=lambda z, s: torch.heaviside(z, torch.ones((), dtype=z.dtype)),
    threshold=lambda z, s: torch.relu(z - 0.3 * vector(z, s)),
    threshold_torch=lambda z, s: F.threshold(z, 0.1, -0.2),
    scale=lambda z, s: z * vector(z, s),
    scale_by_sign=lambda z, s: z * (vector(z, s) - 1.0),
    divided=lambda z, s: z / vector(z, s),
    temperature=lambda z, s: z / 0.7,
    shift=lambda z, s: z + vector(z, s),
    from_=lambda z, s: 1.0 - z,
    subtracted=lambda z, s: vector(z, s) - z,
    negative=lambda z, s: -z,
    affine=lambda z, s: 2 * z - 1,
    added_twice=lambda z, s: torch.add(z, vector(z, s), alpha=-0.5),
    addcmul=lambda z, s: torch.addcmul(vector(z, s), z, vector(z, s + 1 - 9 * (s > 8)), value=0.5),
    lerp=lambda z, s: torch.lerp(z, torch.zeros_like(z), 0.3),
    own_gate=lambda z, s: z * torch.sigmoid(vector(z, s) * z),
    own_residual=lambda z, s: z + torch.relu(z),
    own_difference=lambda z, s: torch.tanh(z) - 0.5 * z,
    hand_sigmoid=lambda z, s: 1 / (1 + torch.exp(-z)),
    hand_gelu=lambda z, s: 0.5 * z * (1 + torch.erf(z / 2**0.5)),
    hand_relu=lambda z, s: (z + z.abs()) / 2,
    hand_leaky=lambda z, s: torch.where(z > 0, z, 0.1 * z),
    by_mask=lambda z, s: z * (z > 0),
    masked=lambda z, s: z.masked_fill(z < 0.1, 0.0),
    where_vector=lambda z, s: torch.where(z > 0.2 * vector(z, s), z, vector(z, s)),
    root=lambda z, s: torch.sqrt(torch.relu(z) + 0.1),
    log1p=lambda z, s: torch.log1p(torch.relu(z)),
    arctan=lambda z, s: torch.atan(z),
    asinh=lambda z, s: torch.asinh(3 * z),
    reciprocal=lambda z, s: 1 / (1 + z.square()),
    logaddexp=lambda z, s: torch.logaddexp(z, torch.zeros((), dtype=z.dtype)),
    expit=lambda z, s: torch.special.expit(1.5 * z),
    nan_to_num=lambda z, s: torch.nan_to_num(z),
    dropout=lambda z, s: F.dropout(z, 0.5, training=False),
    alpha_dropout=lambda z, s: F.alpha_dropout(z, 0.5, training=False),
    clone=lambda z, s: z.clone(),
    detach=lambda z, s: z.detach() * 1.0,
    double=lambda z, s: z.to(torch.float64).tanh().to(z.dtype),
    half=lambda z, s: coarse(z, torch.float16).to(z.dtype),
    bfloat=lambda z, s: torch.relu(coarse(z, torch.bfloat16)).to(z.dtype),
    # On no threshold of others: precision decides ties. In double precision, as the sweep is, its
    # steps are where they are meant; of singles some 1e-6 bits depend on how they are rounded.
    fake_quantised=lambda z, s: torch.fake_quantize_per_tensor_affine(z, 0.11, 0, -8, 7),
    polynomial=lambda z, s: 0.1 * z**3 - 0.5 * z**2 + z,
    hypot=lambda z, s: torch.hypot(z, 0.1 * torch.ones_like(z)),
    remainder=lambda z, s: torch.remainder(z, 0.7),
    masked_features=lambda z, s: z * (vector(z, s) > 0.8).to(z.dtype),
    power=lambda z, s: torch.relu(z) ** 1.5,
    two_uses=lambda z, s: torch.stack([torch.relu(z), torch.tanh(z)]).mean(0),
    two_scales=lambda z, s: torch.tanh(z * vector(z, s)) * vector(z, (s + 3) % 10),
)  # fmt: skip


@torch.jit.script
def scripted_elu(z):
    return torch.where(z > 0, z, 0.3 * torch.expm1(z))


@torch.jit.script
def scripted_silu(z):
    return z * torch.sigmoid(1.5 * z)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        return torch.where(z > 0, torch.ones_like(z), -torch.ones_like(z))

    @staticmethod
    def backward(ctx, gradient):
        return gradient


simple(
    scripted=lambda z, s: scripted_elu(z),
    scripted_gate=lambda z, s: scripted_silu(z),
    straight_through=lambda z, s: Straight.apply(z),
    vmapped=lambda z, s: torch.vmap(torch.relu)(z),
    checkpointed=lambda z, s: torch.utils.checkpoint.checkpoint(torch.tanh, z, use_reentrant=False),
)


@step()
def written_view(z, s):
    h = (z * 1).contiguous()
    h.view(-1).relu_()
    return h


@step()
def written_slice(z, s):
    h = z + 0
    h[..., : 1 + s % z.shape[-1]].tanh_()
    return h


@step()
def written_every_other(z, s):
    h = z.clone()
    h[..., ::2].clamp_(min=0)
    h[..., 1::2] *= 2
    return h


@step()
def written_one(z, s):
    h = z.clone()
    h.select(-1, s % z.shape[-1]).sigmoid_()
    return h


@step()
def written_data(z, s):
    h = z * 1.0
    h.data.clamp_(-0.2, 0.6)
    return h


@step()
def written_transposed(z, s):
    h = z.clone()
    h.transpose(0, -1).mul_(2).tanh_()
    return h


@step()
def written_by_mask(z, s):
    h = z.clone()
    h[h < 0] = 0.0
    return h


@step()
def written_by_vector_mask(z, s):
    h = z.clone()
    h[..., vector(z, s) > 0.9] = h[..., vector(z, s) > 0.9].relu()
    return h


@step()
def out_argument(z, s):
    o = torch.empty_like(z)
    torch.sigmoid(z, out=o)
    return o


@step()
def copied(z, s):
    o = torch.empty(z.shape, dtype=z.dtype)
    o.copy_(torch.sigmoid(z))
    return o


@step()
def copied_in_parts(z, s):
    o = z.new_zeros(z.shape)
    k = 1 + s % max(1, z.shape[-1] - 1)
    o[..., :k] = z[..., :k].relu()
    o[..., k:] = z[..., k:].tanh()
    return o


@step()
def cat_halves(z, s):
    k = z.shape[-1] // 2
    return torch.cat([z[..., :k].relu(), z[..., k:].tanh()], -1)


@step()
def chunks(z, s):
    a, *rest = z.chunk(2, dim=-1)
    return torch.cat([torch.sigmoid(a), *rest], -1)


@step()
def unbound(z, s):
    parts = list(z.unbind(-1))
    parts[0] = torch.tanh(parts[0])
    return torch.stack(parts, -1)


@step()
def logged(z, s):
    z.abs().mean(), z.max(), (z > 0).sum(), z.std()
    return z


@step()
def printed(z, s):
    str(z.mean().item())
    return torch.relu(z)


@step()
def asserted(z, s):
    assert bool(torch.isfinite(z).all())
    return z.tanh()


@step()
def through_numpy(z, s):
    return torch.from_numpy(np.maximum(z.detach().numpy(), 0.0))


@step()
def batch_norm(z, s):
    flat = z.reshape(-1, z.shape[-1])
    v = [vector(z, (s + k) % 10) for k in range(4)]
    return F.batch_norm(flat, v[0] - 1, v[1], v[2], v[3]).view_as(z)


@step()
def padded_and_cut(z, s):
    return F.pad(z, (1, 2))[..., 1:-2]


@step()
def expanded(z, s):
    return z.unsqueeze(0).expand(3, *z.shape)[1]


@step()
def squeezed_in_place(z, s):
    return z.clone().unsqueeze_(0).squeeze_(0).relu_()


@step()
def repeated(z, s):
    return z.repeat(*(1,) * (z.ndim - 1), 2)[..., : z.shape[-1]]


@step()
def written_back(z, s):
    h = torch.zeros_like(z)
    h.index_copy_(-1, torch.arange(z.shape[-1]), z)
    return h


@step()
def one_zeroed(z, s):
    h = z.clone()
    h[..., s % z.shape[-1]] = 0.0
    return h


@step()
def by_halves_of_rows(z, s):
    h = z.clone()
    h[: len(h) // 2] = h[: len(h) // 2].relu()
    h[len(h) // 2 :] = h[len(h) // 2 :].relu()
    return h


# -- features in another order ----------------------------------------------------------------

simple(
    transposed=lambda z, s: z.transpose(0, -1).contiguous().transpose(0, -1),
    reshaped=lambda z, s: z.reshape(-1).view(z.shape),
    moved=lambda z, s: z.movedim(-1, 0).contiguous().movedim(0, -1),
)


def _flipped(n, s):
    return np.arange(n)[::-1]


def _rolled(n, s):
    return np.roll(np.arange(n), 1)


def _shuffled(n, s):
    return np.random.default_rng(s).permutation(n)


@step("order", _flipped)
def flip(z, s):
    return z.flip(-1)


@step("order", _rolled)
def roll(z, s):
    return z.roll(1, -1)


@step("order", _shuffled)
def indexed(z, s):
    return z[..., torch.from_numpy(_shuffled(z.shape[-1], s))]


@step("order", _shuffled)
def gathered(z, s):
    places = torch.from_numpy(_shuffled(z.shape[-1], s))
    return z.gather(-1, places.expand(z.shape))


@step("order", _shuffled)
def selected(z, s):
    return z.index_select(-1, torch.from_numpy(_shuffled(z.shape[-1], s)))


@step("order", _shuffled)
def scattered(z, s):
    places = torch.from_numpy(np.argsort(_shuffled(z.shape[-1], s)).copy())
    return torch.zeros_like(z).scatter(-1, places.expand(z.shape), z)


# -- what joins a feature with others ---------------------------------------------------------

simple(
    "mix",
    norm=lambda z, s: F.layer_norm(z, z.shape[-1:], vector(z, s)),
    group_norm=lambda z, s: F.group_norm(z.reshape(-1, z.shape[-1]), 1).view_as(z),
    softmax=lambda z, s: z.softmax(-1),
    log_softmax=lambda z, s: z.log_softmax(-1),
    unit=lambda z, s: F.normalize(z, dim=-1),
    centred=lambda z, s: z - z.mean(-1, keepdim=True),
    standard=lambda z, s: (z - z.mean(-1, keepdim=True)) / (z.std(-1, keepdim=True) + 1e-3),
    over_rows=lambda z, s: z - z.mean(0, keepdim=True),
    cummax=lambda z, s: torch.cummax(z, -1)[0],
    cumsum=lambda z, s: z.cumsum(-1),
    sort=lambda z, s: z.sort(-1)[0],
    own_mean=lambda z, s: torch.where(z > z.mean(-1, keepdim=True), z, torch.zeros_like(z)),
    with_neighbour=lambda z, s: z * z.roll(1, -1).sigmoid(),
    sum_with_neighbour=lambda z, s: torch.relu(z + z.roll(1, -1)),
    relu_and_sum=lambda z, s: torch.relu(z) + z.sum(-1, keepdim=True),
    largest=lambda z, s: z / (1 + z.amax(-1, keepdim=True).abs()),
    scaled_by_item=lambda z, s: torch.relu(z) * z.max().item(),
    shifted_by_list=lambda z, s: torch.relu(z - z.mean().tolist()),
    by_position=lambda z, s: z + torch.arange(len(z), dtype=z.dtype).view(-1, *(1,) * (z.ndim - 1)),
    times_position=lambda z, s: torch.relu(
        z * torch.linspace(0.5, 1.5, len(z), dtype=z.dtype).view(-1, *(1,) * (z.ndim - 1))),
    batch_statistics=lambda z, s: F.batch_norm(
        z.reshape(-1, z.shape[-1]), None, None, training=True).view_as(z),
    spectrum=lambda z, s: torch.fft.fft(z.float(), dim=-1).real.to(z.dtype),
    smallest_two=lambda z, s: z * (z >= z.kthvalue(1, -1, keepdim=True)[0]),
)  # fmt: skip


@step("mix")
def written_rms(z, s):
    return z * torch.rsqrt((z * z).mean(-1, keepdim=True) + 1e-5) * vector(z, s)


@step("mix")
def norm_twice_centred(z, s):
    mean = z.mean(-1, keepdim=True)
    return (z - mean) * torch.rsqrt((z - mean).pow(2).mean(-1, keepdim=True) + 1e-5)


@step("mix")
def gated_halves(z, s):
    if z.shape[-1] % 2:
        return z.softmax(-1)
    return F.glu(torch.cat([z, z], -1) + torch.cat([z.flip(-1), z], -1), -1)


@step("mix")
def attention(z, s):
    rows = z.reshape(1, -1, z.shape[-1])
    return F.scaled_dot_product_attention(rows, rows, rows).view(z.shape)
