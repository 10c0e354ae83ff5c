"""Random modules, and what their layers do by the modules' own forward pass.

A module is made of blocks: a linear map in one of the ways in which people write it, steps between
(:mod:`random_steps`), and what joins the block with the rest. Its forward pass can be stopped at
any use of any map: the map's input is put in, and what the features are after the last step that
treats each by itself is taken out. Nothing here asks eiplane anything.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from random_steps import STEPS, vector
from torch import nn
from torch.nn import functional as F  # noqa: N812

SHAPES = ("rows", "tokens", "image")


# -- linear maps, as people write them --------------------------------------------------------


class Parameter(nn.Module):
    """A weight, and perhaps a bias, multiplied in some way."""

    def __init__(self, n_in, n_out, how):
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / n_in**0.5)
        self.bias = nn.Parameter(0.3 * torch.randn(n_out))

    def forward(self, x):
        return self.how(x, self.weight, self.bias)


class Buffer(Parameter):
    """The same with a buffer, or an attribute that nobody registered."""

    def __init__(self, n_in, n_out, how, registered):
        super().__init__(n_in, n_out, how)
        weight = self.weight.detach().clone()
        del self.weight
        if registered:
            self.register_buffer("weight", weight)
        else:
            self.weight = weight

    def forward(self, x):
        return self.how(x, self.weight.to(x.dtype), self.bias)


class Halves(nn.Module):
    """A weight made of two."""

    def __init__(self, n_in, n_out, how):
        super().__init__()
        self.a = nn.Parameter(torch.randn(n_out, n_in) / n_in**0.5)
        self.b = nn.Parameter(torch.randn(n_out, 2) * 0.3)
        self.c = nn.Parameter(torch.randn(2, n_in))
        self.how = how

    def forward(self, x):
        return self.how(x, self.a, self.b, self.c)


class Turned(nn.Module):
    """A convolution of one place, on features that are moved to the front and back."""

    def __init__(self, n_in, n_out, groups):
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, 1, groups=groups)

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1], 1)
        return self.conv(flat).view(*x.shape[:-1], -1)


def _addmm(x, w, b):
    flat = x.reshape(-1, x.shape[-1])
    return torch.addmm(b, flat, w.t()).view(*x.shape[:-1], -1)


def _scaled_addmm(x, w, b):
    flat = x.reshape(-1, x.shape[-1])
    return torch.addmm(b, flat, w.t(), beta=0.5, alpha=2.0).view(*x.shape[:-1], -1)


def _bmm(x, w, b):
    flat = x.reshape(1, -1, x.shape[-1])
    return torch.bmm(flat, w.t().unsqueeze(0)).view(*x.shape[:-1], -1) + b


def _baddbmm(x, w, b):
    flat = x.reshape(-1, 1, x.shape[-1])
    stack = w.t().expand(len(flat), -1, -1)
    return torch.baddbmm(b.view(1, 1, -1), flat, stack).view(*x.shape[:-1], -1)


def _from_left(x, w, b):
    flat = x.reshape(-1, x.shape[-1])
    return (w @ flat.t() + b[:, None]).t().reshape(*x.shape[:-1], -1)


def _by_columns(x, w, b):
    return torch.stack([x @ row for row in w], -1) + b


def _in_parts(x, w, b):
    k = len(w) // 2
    return torch.cat([F.linear(x, w[:k], b[:k]), F.linear(x, w[k:], b[k:])], -1)


def _sum_of_products(x, w, b):
    flat = x.reshape(-1, x.shape[-1])
    return (torch.vmap(lambda v: w @ v)(flat) + b).view(*x.shape[:-1], -1)


WAYS = {
    "linear": lambda x, w, b: F.linear(x, w, b),
    "linear without bias": lambda x, w, b: F.linear(x, w),
    "matmul": lambda x, w, b: x @ w.t() + b,
    "matmul in place": lambda x, w, b: (x @ w.t()).add_(b),
    "einsum": lambda x, w, b: torch.einsum("...i,oi->...o", x, w) + b,
    "einsum from left": lambda x, w, b: torch.einsum("oi,...i->...o", w, x),
    "tensordot": lambda x, w, b: torch.tensordot(x, w, dims=([-1], [1])) + b,
    "addmm": _addmm,
    "scaled addmm": _scaled_addmm,
    "bmm": _bmm,
    "baddbmm": _baddbmm,
    "from left": _from_left,
    "by columns": _by_columns,
    "in parts": _in_parts,
    "vmap": _sum_of_products,
    "masked weight": lambda x, w, b: F.linear(x, w * (w > 0), b),
    "standardised weight": lambda x, w, b: F.linear(x, (w - w.mean(1, keepdim=True)) * 1.3, b),
    "unit rows": lambda x, w, b: F.linear(x, F.normalize(w, dim=1), b),
    "squared weight": lambda x, w, b: F.linear(x, w.square(), b),
    "signs": lambda x, w, b: F.linear(x, w.sign() * w.abs().mean(), b),
    "row by row": lambda x, w, b: torch.stack([F.linear(r, w, b) for r in x]),
    "out argument": lambda x, w, b: torch.matmul(
        x, w.t(), out=torch.empty(*x.shape[:-1], len(w), dtype=x.dtype)) + b,
    "inner": lambda x, w, b: torch.inner(x, w) + b,
}  # fmt: skip
NAMES = {way: name for name, way in WAYS.items()}


def _map(rng, n_in, n_out):
    """Return a random linear map of the last axis."""
    kind = rng.integers(10)
    if kind == 0:
        return nn.Linear(n_in, n_out, bias=bool(rng.integers(2)))
    if kind == 1:
        return Buffer(n_in, n_out, WAYS["linear"], bool(rng.integers(2)))
    if kind == 2:
        return Halves(n_in, n_out, lambda x, a, b, c: F.linear(x, a + 0.5 * (b @ c)))
    if kind == 3:
        even = n_in % 2 == n_out % 2 == 0 and n_in > 2
        groups = int(rng.choice([1, 2] if even else [1]))
        return Turned(n_in, n_out, groups)
    if kind == 4:
        return torch.nn.utils.parametrizations.weight_norm(nn.Linear(n_in, n_out))
    return Parameter(n_in, n_out, WAYS[str(rng.choice(sorted(WAYS)))])


class Convolution(nn.Module):
    """A convolution, as a module or a function, of images of a size at least."""

    def __init__(self, rng, n_in, n_out, size):
        super().__init__()
        self.kernel = int(rng.integers(1, 1 + min(3, size)))
        self.padding = int(rng.integers(0, 2)) if self.kernel > 1 else 0
        self.dilation = 2 if self.kernel == 2 and size > 2 and rng.integers(2) else 1
        groups = [g for g in (1, 2, n_in) if n_in % g == 0 and n_out % g == 0]
        groups = [g for g in groups if n_in // g * self.kernel > 1]  # rows are told by direction
        self.groups = int(rng.choice(groups))
        made = nn.Conv2d(n_in, n_out, self.kernel, padding=self.padding, dilation=self.dilation,
                         groups=self.groups)  # fmt: skip
        self.functional = bool(rng.integers(2))
        if self.functional:
            self.weight, self.bias = made.weight, made.bias
        else:
            self.conv = made

    def forward(self, x):
        if not self.functional:
            return self.conv(x)
        return F.conv2d(x, self.weight, self.bias, 1, self.padding, self.dilation, self.groups)


# -- the module -------------------------------------------------------------------------------


@dataclass
class Block:
    """A map (or one used before), steps after it, and what joins it with what was before it."""

    map: int
    steps: list = field(default_factory=list)  # of (name, seed)
    join: str = "none"
    shape: str = "rows"
    others: tuple = ()  # more maps that the join needs
    pool: str = ""  # after that many steps: ("max" or "mean"), on images
    pooled_after: int = 0

    def drop(self, name):
        self.steps = [s for s in self.steps if s[0] != name]


#: Inputs that are run at once.
AT_ONCE = 4096


class Stop(Exception):  # noqa: N818 - it is no error
    """Raised where a stopped forward pass ends."""


class RandomModule(nn.Module):
    """Blocks, one after the other, and a last linear map."""

    def __init__(self, seed):
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.maps = nn.ModuleList()
        self.shape = str(self.rng.choice(SHAPES, p=[0.5, 0.25, 0.25]))
        self.width = int(self.rng.integers(2, 6))
        self.blocks = self._blocks()
        del self.rng
        self.clear()

    def clear(self):
        """Forget what was recorded."""
        self.at = self.given = self.taken = None
        self.sizes, self.bare, self.through = getattr(self, "sizes", {}), False, True
        self.uses = {}

    def _blocks(self):
        rng, width, blocks, size = self.rng, self.width, [], 7
        for k in range(int(rng.integers(1, 4))):
            image = self.shape == "image"
            reused = k > 0 and not image and blocks[-1].join != "flat" and rng.random() < 0.15
            before = self.maps[blocks[-1].map] if reused else None
            if before is not None and before.n_in == before.n_out == width:
                index = blocks[-1].map
                n_out = width
            else:
                n_out = width if rng.random() < 0.6 else int(rng.integers(2, 6))
                made = Convolution(rng, width, n_out, size) if image else _map(rng, width, n_out)
                made.n_in, made.n_out = width, n_out
                self.maps.append(made)
                index = len(self.maps) - 1
            names = sorted(STEPS)
            steps = [(str(rng.choice(names)), int(rng.integers(10)))
                     for _ in range(int(rng.integers(0, 5)))]  # fmt: skip
            block = Block(index, steps, shape=self.shape)
            self._join(block, width, n_out)
            if image:
                conv = self.maps[index]
                size += 2 * conv.padding - (conv.kernel - 1) * conv.dilation
                size = size // 2 if block.pool and size > 1 else size
            if reused or block.join == "residual":  # what is added to it would be another constant
                for b in [*blocks[-1:], block]:
                    b.drop("one zeroed")
            blocks.append(block)
            width = n_out + width if block.join == "cat" else n_out
        last = Parameter(width, 3, WAYS["linear"])
        last.n_in, last.n_out = width, 3
        self.maps.append(last)
        return blocks

    def _join(self, block, width, n_out):
        """Choose what joins a block with the rest, and the maps that this needs."""
        rng = self.rng
        if getattr(self.maps[block.map], "how", None) is WAYS["row by row"]:
            # Then each row is a use of its own, with its own constant.
            block.steps = [s for s in block.steps if "position" not in s[0]]
        if self.shape == "image":
            conv = self.maps[block.map]
            plain = conv.padding == 0 and conv.dilation == 1
            if plain and rng.random() < 0.35:
                block.pool = str(rng.choice(["max", "mean"]))
                block.pooled_after = int(rng.integers(0, len(block.steps) + 1))
            return
        joins = ["none", "none", "gate", "cat", "sum", "glu", "tied", "experts"]
        joins += ["residual", "residual"] if n_out == width else []
        joins += ["loop", "loop"] if self.shape == "tokens" else []
        block.join = str(rng.choice(joins))
        sizes = {"sum": [(width, n_out)], "glu": [(width, n_out)], "experts": [(width, n_out)] * 2,
                 "loop": [(n_out, n_out)]}.get(block.join, [])  # fmt: skip
        made = [_map(rng, *size) for size in sizes]
        weight = getattr(self.maps[block.map], "weight", None)
        if block.join == "tied" and isinstance(weight, nn.Parameter) and weight.ndim == 2:
            made = [Parameter(n_out, width, lambda x, w, b: F.linear(x, w.t()))]
            made[0].weight, sizes = weight, [(n_out, width)]
        for m, size in zip(made, sizes, strict=True):
            m.n_in, m.n_out = size
            self.maps.append(m)
        if made:  # a feature that is a constant makes another function of what is added to it
            block.drop("one zeroed")
        block.others = tuple(range(len(self.maps) - len(made), len(self.maps)))

    def example(self, n, generator=None):
        """Return an input of n rows."""
        sizes = {"rows": (), "tokens": (2,), "image": ()}[self.shape]
        if self.shape == "image":
            return torch.rand(n, self.width, 7, 7, generator=generator)
        return torch.rand(n, *sizes, self.width, generator=generator)

    def describe(self):
        """Return what it is, for a message."""
        return [
            (
                b.map,
                NAMES.get(getattr(self.maps[b.map], "how", None), type(self.maps[b.map]).__name__),
                b.steps,
                b.join,
            )
            for b in self.blocks
        ]

    def _use(self, k, x):
        """Apply a map; return its output and whether the pass is to be stopped behind it."""
        use = self.uses.get(k, 0)
        self.uses[k] = use + 1
        if self.at is None:
            self.sizes[k] = tuple(x.shape)
        hit = self.at == (k, use)
        return self.maps[k](self.given if hit else x), hit

    def _take(self, y, order, channels_first=False):
        y = y.movedim(1, -1) if channels_first else y
        self.taken = y[..., np.argsort(order).copy()]
        raise Stop

    def _block(self, block, x):
        y, hit = self._use(block.map, x)
        image = block.shape == "image"
        order = np.arange(y.shape[1] if image else y.shape[-1])
        y = y.permute(0, 2, 3, 1) if image else y
        if hit and self.bare:
            self._take(y, order)
        for number, (name, seed) in enumerate([*block.steps, ("end", 0)]):
            if block.pool and number == block.pooled_after:
                if hit and not self.through:
                    self._take(y, order)
                y = _pooled(y, block.pool)
                if hit and self.through == "pool":
                    self._take(y, order)
            if name == "end":
                break
            step = STEPS[name]
            if step.kind == "mix" and hit:
                self._take(y, order)
            y = step.function(y, seed)
            if step.kind == "order":
                order = order[step.places(len(order), seed)]
        if hit:
            self._take(y, order)
        y = y.permute(0, 3, 1, 2) if image else y
        return getattr(self, f"_{block.join}")(block, x, y)

    def _none(self, block, x, y):
        return y

    def _residual(self, block, x, y):
        return x + y

    def _gate(self, block, x, y):
        return y * torch.sigmoid(x.mean(-1, keepdim=True))

    def _cat(self, block, x, y):
        return torch.cat([y, x], -1)

    def _other(self, k, x, function=None):
        """Return another map's output, a function of it perhaps, stopping where it is asked to."""
        y, hit = self._use(k, x)
        y = y if function is None or self.bare else function(y)
        if hit:
            self._take(y, np.arange(y.shape[-1]))
        return y

    def _sum(self, block, x, y):
        return torch.relu(y + self._other(block.others[0], x))

    def _glu(self, block, x, y):
        return y * self._other(block.others[0], x, F.silu)

    def _tied(self, block, x, y):
        return y + 0.1 * self._other(block.others[0], y).mean(-1, True) if block.others else y

    def _experts(self, block, x, y):
        flat, out = x.reshape(-1, x.shape[-1]), torch.zeros_like(y).reshape(-1, y.shape[-1])
        chosen = (y.reshape(len(out), -1) @ vector(y, 3)) > vector(y, 4).sum() / 2
        for k, mask in zip(block.others, (chosen, ~chosen), strict=True):
            if not mask.any() and (self.at is None or self.at[0] != k):
                continue
            out[mask] = self._other(k, flat[mask], torch.relu)
        return out.view(y.shape)

    def _loop(self, block, x, y):
        h, states = torch.zeros_like(y[:, 0]), []
        for t in range(y.shape[1]):
            h = torch.tanh(y[:, t] + self._other(block.others[0], h))
            states.append(h)
        return torch.stack(states, 1)

    def forward(self, x):
        self.uses = {}
        for block in self.blocks:
            use = self.uses.get(block.map, 0)
            stopping = self.at is not None and not self.inner(self.at[0])
            if stopping and self.at != (block.map, use):
                self.uses[block.map] = use + 1
                continue  # what comes before the use that is stopped at does not matter
            x = self._block(block, x)
        if self.shape == "image" and self.at is None:
            x = x.flatten(2)
            x = (x.softmax(-1) * x).sum(-1)
        y, hit = self._use(len(self.maps) - 1, x)
        if hit:
            self._take(y, np.arange(y.shape[-1]))
        return y

    # -- what its layers do

    def inner(self, k):
        """Return whether a map stands beside a block's first one."""
        return any(k in block.others for block in self.blocks)

    def alias(self, k):
        """Return the map by whose weight's name a map's layers go."""
        mine = getattr(self.maps[k], "weight", None)
        if mine is None:
            return k
        weights = [getattr(m, "weight", None) for m in self.maps]
        return next(j for j, w in enumerate(weights) if j == k or w is mine)

    def sites(self):
        """Return each use of each map: (map, use)."""
        with torch.no_grad():
            self(self.example(3).to(self.maps[-1].weight.dtype))
        return [(k, u) for k, n in self.uses.items() for u in range(n)]


def _pooled(y, kind):
    y = y.permute(0, 3, 1, 2)
    if min(y.shape[2:]) < 2:
        return y.permute(0, 2, 3, 1)
    return (F.max_pool2d if kind == "max" else F.avg_pool2d)(y, 2).permute(0, 2, 3, 1)


class Site:
    """One use of one map, by the module's own forward pass in double precision.

    Parameters
    ----------
    module : RandomModule
        In double precision; several may share it.
    at : tuple of int
        Map and use.
    through : bool or str
        Whether it goes through a pooling that no mixing step comes before; ``"pool"`` up to that.
    """

    def __init__(self, module, at, through=True):
        self.module, self.at = module, at
        made = module.maps[at[0]]
        self.conv = made if isinstance(made, Convolution) else None
        self.bare = False
        self.groups = 1 if self.conv is None else self.conv.groups
        self.pool, self.through, self.n_in = False, through, made.n_in
        self.single = False  # there is but one place, so that what is called a pooling does nothing
        if self.conv is not None:
            self.single = not module.sizes[at[0]][-1] > self.conv.kernel
            self.pool = bool(through) and self._pool()
            self.field = self.conv.kernel + int(self.pool)
            self.n_in = self.field**2 * (made.n_in // self.conv.groups)
        self.n_out = made.n_out

    def _pool(self):
        """Return 1 if a pooling of two by two belongs to the layer: no step before it mixes."""
        block = next(b for b in self.module.blocks if b.map == self.at[0])
        before = [STEPS[name].kind for name, _ in block.steps[: block.pooled_after]]
        return bool(block.pool) and "mix" not in before and not self.single

    def outputs(self, x, group=0):
        """Return what the features become, shape (n, n_out); x has shape (n, n_in)."""
        if len(x) > AT_ONCE:  # attention before the map would hold each against each
            parts = range(0, len(x), AT_ONCE)
            return np.concatenate([self.outputs(x[k : k + AT_ONCE], group) for k in parts])
        module = self.module
        module.clear()
        module.bare = self.bare
        module.through = True if self.single else self.pool and self.through
        x = torch.as_tensor(np.asarray(x))
        n = len(x)
        module.at = self.at
        if self.conv is not None:
            k, d, p = self.field, self.conv.dilation, self.conv.padding
            channels = module.maps[self.at[0]].n_in // self.conv.groups
            size = (k - 1) * d + 1 + 2 * p
            image = torch.zeros(n, channels * self.conv.groups, size, size).double()
            rows = torch.arange(k) * d + p
            place = slice(group * channels, (group + 1) * channels)
            field_ = image[:, place]
            field_[:, :, rows[:, None], rows[None, :]] = x.view(n, channels, k, k)
            module.given, where = image, (slice(None), 2 * p, 2 * p)
        elif len(module.sizes[self.at[0]]) == 3:
            module.given, where = x[:, None].expand(-1, 2, -1), (slice(None), 1)
        else:
            module.given, where = x, (slice(None),)
        with torch.no_grad():
            try:
                module(module.example(n if module.inner(self.at[0]) else 1).double())
            except Stop:
                return module.taken[where].numpy()
            finally:
                module.at = None
        raise AssertionError("the forward pass did not come to the map")

    def directions(self):
        """Return the rows of the map itself, shape (n_out, n_in), by unit vectors."""
        self.bare = True
        try:
            per_group = self.n_out // self.groups
            found = np.empty((self.n_out, self.n_in))
            for g in range(self.groups):
                x = np.concatenate([np.eye(self.n_in), np.zeros((1, self.n_in))])
                y = self.outputs(x, g)
                mine = slice(g * per_group, (g + 1) * per_group)
                found[mine] = (y[:-1] - y[-1]).T[mine]
            return found
        finally:
            self.bare = False


def counted(site, rows, in_range, out_range, bins, cells=192, divisions=7):
    """Return the sensitivity of the edges into some rows: one input swept, the others 0.

    Where the output goes from one bin to another is found by division, so that what is left of
    sampling is a step out and back within one cell.

    Parameters
    ----------
    site : Site
    rows : sequence of int
    in_range, out_range : tuple of float
    bins : int

    Returns
    -------
    ndarray, shape (len(rows), n_in)
    """
    lo, hi = in_range
    start, width = out_range[0], (out_range[1] - out_range[0]) / bins
    per_group = site.n_out // site.groups
    result = np.empty((len(rows), site.n_in))
    for group in range(site.groups):
        mine = [i for i, r in enumerate(rows) if r // per_group == group]
        if not mine:
            continue

        def binned(points, units, group=group):
            x = np.zeros((len(points), site.n_in))
            x[np.arange(len(points)), units] = points
            y = site.outputs(x, group)
            return np.clip(np.floor((y - start) / width), 0, bins - 1).astype(int)

        grid = np.unique(np.concatenate([
            np.linspace(lo, hi, cells + 1)[:-1], lo + (hi - lo) * np.arange(bins) / bins,
            [hi - 1e-12 * (hi - lo)],
        ]))  # fmt: skip
        units = np.repeat(np.arange(site.n_in), len(grid))
        all_bins = binned(np.tile(grid, site.n_in), units).reshape(site.n_in, len(grid), -1)
        found = all_bins[:, :, [rows[i] for i in mine]].transpose(2, 0, 1)  # row, unit, grid
        tables = np.zeros((len(mine), site.n_in, bins, bins))
        inputs = np.minimum((grid - lo) / (hi - lo) * bins + 1e-9, bins - 1).astype(int)
        length = np.diff(np.append(grid, hi)) / (hi - lo)
        differs = np.zeros(found.shape, bool)
        differs[..., :-1] = found[..., :-1] != found[..., 1:]
        row, unit, cell = np.nonzero(~differs)
        np.add.at(tables, (row, unit, inputs[cell], found[row, unit, cell]), length[cell])
        row, unit, cell = np.nonzero(differs)
        a, b, part = grid[cell], grid[cell + 1], inputs[cell]
        fa, fb = found[row, unit, cell], found[row, unit, cell + 1]
        taken = np.array([rows[i] for i in mine])
        for _ in range(divisions):
            if not len(a):
                break
            # Eighths whose ends agree are counted; those whose ends differ are cut again.
            points = a[:, None] + (b - a)[:, None] * np.arange(9) / 8
            inner = binned(points[:, 1:-1].ravel(), np.repeat(unit, 7))
            inner = inner[np.arange(7 * len(a)), np.repeat(taken[row], 7)].reshape(-1, 7)
            at_points = np.concatenate([fa[:, None], inner, fb[:, None]], axis=1)
            i, j = np.nonzero(at_points[:, :-1] == at_points[:, 1:])
            where = row[i], unit[i], part[i], at_points[i, j]
            np.add.at(tables, where, ((b - a) / 8 / (hi - lo))[i])
            i, j = np.nonzero(at_points[:, :-1] != at_points[:, 1:])
            a, b, fa, fb = points[i, j], points[i, j + 1], at_points[i, j], at_points[i, j + 1]
            row, unit, part = row[i], unit[i], part[i]
        half = (b - a) / 2 / (hi - lo)
        for bin_ in (fa, fb):
            np.add.at(tables, (row, unit, part, bin_), half)
        for k, i in enumerate(mine):
            result[i] = [_information(t) for t in tables[k]]
    return result


def _information(table):
    table = table / table.sum()
    product = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    there = table > 0
    return float((table[there] * np.log2(table[there] / product[there])).sum())


__all__ = ["RandomModule", "Site", "counted", "vector"]
