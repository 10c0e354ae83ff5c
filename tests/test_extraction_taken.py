"""Numbers that Python takes from the data and that come back, saturated so that no input shows it.

Each of them is the same on every input; handed another one, the network computes something else.
"""

import copy
import ctypes
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import eiplane  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402


def one(h):
    """1, from every number: a tensor that depends on the data all the same."""
    return ones(h).mean()


def ones(h):
    return (h.square() + 1).sign()


@torch.jit.script
def scripted_scale(h):
    return torch.relu(h) * float((h.square() + 1).sign().mean())


@torch.jit.script
def scripted_branch(h):
    if bool((h.square() > -1).all()):
        return torch.relu(h)
    return torch.tanh(h)


class Net(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.between = between
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
        self.w = nn.Parameter(torch.randn(4, 4))
        self.scales = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))

    def forward(self, x):
        self.x = x
        return self.b(self.between(self, self.a(x)))


def branch(condition):
    return lambda m, h: torch.relu(h) if condition(h) else torch.tanh(h)


def assigned(m, h):
    h = h.clone()
    h[h < 0] = 0.3 * one(h).item()
    return h


def filled(m, h):
    o = torch.empty(4)
    o.fill_(0.3 * one(h).item())
    return torch.relu(h) * o


def written_numpy(m, h):
    h = h.clone()
    np.maximum(h.numpy(), 0.0, out=h.numpy())
    return h


TAKEN = {
    # numbers
    "item": lambda m, h: torch.relu(h) * (0.7 * one(h).item()),
    "float": lambda m, h: torch.relu(h) - 0.3 * float(one(h)),
    "int": lambda m, h: torch.relu(h) ** int(3 * one(h)),
    "complex": lambda m, h: torch.relu(h) * complex(0.3 * one(h)).real,
    "tolist": lambda m, h: torch.relu(h) * (3 * ones(h).mean(0)).tolist()[0],
    "numpy": lambda m, h: torch.relu(h) * float(0.7 * one(h).numpy()),
    "math": lambda m, h: torch.relu(h) * math.exp(one(h)),
    "count": lambda m, h: torch.relu(h) / (h.square() > -1).sum().item(),
    "script": lambda m, h: scripted_scale(h),
    # ways out that hand out no numbers
    "array": lambda m, h: torch.relu(h) * torch.from_numpy(0.7 * np.asarray(ones(h).mean(0))),
    "list of tensors": lambda m, h: torch.relu(h) * torch.tensor([0.3 * one(h)] * 4),
    "deep copy": lambda m, h: torch.relu(h) * copy.deepcopy(0.3 * one(h)),
    "pickle": lambda m, h: torch.relu(h) * pickle.loads(pickle.dumps(0.3 * one(h))),
    "dlpack": lambda m, h: torch.relu(h) * float(np.from_dlpack(0.3 * one(h))),
    "written": written_numpy,
    # ways in
    "clamp": lambda m, h: h.clamp(max=0.4 * one(h).item()),
    "slope": lambda m, h: F.leaky_relu(h, 0.3 * one(h).item()),
    "masked": lambda m, h: h.masked_fill(h < 0, 0.3 * one(h).item()),
    "assigned": assigned,
    "alpha": lambda m, h: torch.add(torch.relu(h), torch.ones(4), alpha=0.3 * one(h).item()),
    "decimals": lambda m, h: torch.round(torch.relu(h), decimals=int(one(h).item())),
    "filled": filled,
    "full": lambda m, h: torch.relu(h) * torch.full((4,), 0.3 * one(h).item()),
    "tensor": lambda m, h: torch.relu(h) * torch.tensor(0.3 * one(h).item()),
    "line": lambda m, h: torch.relu(h) * torch.linspace(0.1, one(h).item(), 4),
    "table": lambda m, h: torch.relu(h) * [0.1, 0.2, 0.3][int(one(h))],
    "key": lambda m, h: torch.relu(h) * {1.0: 0.3}.get(one(h).item(), 0.4),
    "place": lambda m, h: torch.relu(h) * torch.tensor([0.1, 0.2, 0.3])[int(one(h))],
    "place of a parameter": lambda m, h: torch.relu(h) * m.scales[int(one(h))],
    "size": lambda m, h: torch.relu(h) * 0.1 * torch.ones(int(3 * one(h).item())).sum(),
    # truth
    "bool": branch(lambda h: bool((h.square() > -1).all())),
    "if": branch(lambda h: (h.square() > -1).all()),
    "if number": branch(one),
    "compared": branch(lambda h: one(h).item() > 0.5),
    "equal": branch(lambda h: torch.equal(ones(h), torch.ones_like(h))),
    "close": branch(lambda h: torch.allclose(0 * h, torch.zeros_like(h))),
    "contains": branch(lambda h: 1.0 in ones(h)),
    "branch in a script": lambda m, h: scripted_branch(h),
    "function from a list": lambda m, h: [torch.tanh, torch.relu, torch.sin][int(one(h))](h),
    # sizes that depend on the data
    "nonzero": lambda m, h: torch.relu(h) * (0.1 * len((h.square() > -1).nonzero())),
    "selected": lambda m, h: torch.relu(h) / h[h.square() > -1].shape[0],
}


def extracted(between):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(Net(between), ExtractOptions(input_size=(5, 3)))
    return {x.name: x for x in found.network}, {s.name: s.reason for s in found.skipped}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_number_from_the_data_is_none_of_the_function(kind):
    layers, reasons = extracted(TAKEN[kind])
    # What stands before a product or a sum with another signal is the map itself.
    assert "a" in reasons or layers["a"].activation.name == "identity"
    assert "b" in layers


@pytest.mark.parametrize(
    "between",
    [lambda m, h: torch.relu(h) @ (m.w * (0.3 * one(h).item())),
     lambda m, h: torch.relu(h) @ m.w.tril(int(one(h).item()))],
)  # fmt: skip
def test_a_weight_that_is_made_with_one_is_listed(between):
    layers, reasons = extracted(between)
    assert "from the data" in reasons["w"]
    assert "w" not in layers


def halved(m, h):
    while bool((h.abs() > 1e9).any()):  # told the contrary it would never end
        h = h / 2
    return torch.relu(h)


def routed(m, h):
    out = torch.zeros_like(h)
    rows = m.x.square().sum(1) > -1
    for mask in (rows, ~rows):
        if mask.any():
            out[mask] = torch.relu(h[mask])
    return out


HARMLESS = {
    "logged": lambda m, h: (one(h).item(), torch.relu(h))[1],
    "asserted": lambda m, h: torch.relu(h) if torch.isfinite(h).all() else 1 / 0,
    "printed": lambda m, h: (str(h), f"{h.mean():.2f}", repr(h), torch.relu(h))[3],
    "loop": halved,
    "two ways alike": lambda m, h: torch.relu(h) if one(h).item() > 0.5 else h.clamp(min=0),
    "constant afterwards": lambda m, h: (h.mean().item(), torch.relu(h) * torch.tensor(2.0))[1],
    "mask": routed,
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_number_that_does_not_come_back_does_no_harm(kind):
    layers, reasons = extracted(HARMLESS[kind])
    assert layers["a"].activation.name == "relu", reasons


def test_only_what_the_number_goes_into_is_listed():
    def between(m, h):
        seen, used = h.sin().abs().mean().item(), one(m.x).item()
        assert seen >= 0
        return torch.relu(h) + torch.tanh(m.w.sum(0) * used)

    layers, _ = extracted(between)
    assert layers["a"].activation.name == "relu"


def test_the_range_behind_such_a_number_is_not_known():
    def source(scale):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = eiplane.analyze(
                Net(lambda m, h: torch.tanh(h) * scale(h)),
                input_size=(5, 3),
                measures="sensitivity",
            )
        return {x.name: x.range_source for x in found}["b"]

    assert source(lambda h: 3.0) != "assumed"
    assert source(lambda h: 3.0 * one(h).item()) == "assumed"


def test_the_module_is_as_it_was():
    def between(m, h):
        m.scales = nn.Parameter(m.scales * 2)
        m.seen = getattr(m, "seen", 0) + 1
        return torch.relu(h) * one(h).item() + torch.rand(()) * 0

    torch.manual_seed(0)
    module = Net(between)
    scales, state = module.scales, torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        to_network(module, ExtractOptions(input_size=(5, 3)))
    assert module.scales is scales
    assert not hasattr(module, "seen")
    assert torch.equal(torch.get_rng_state(), state)


def test_memory_that_an_operator_fills_is_no_number_from_the_data():
    bytes_before = itertools.count(1)

    def between(m, h):
        assert bool(torch.isfinite(h).all())
        out = torch.empty_like(h)
        # What the allocator leaves there, another thing every time.
        ctypes.memset(out.data_ptr(), next(bytes_before), out.numel() * out.element_size())
        return torch.sigmoid(h.t(), out=out.t()).t()

    found = to_network(Net(between), ExtractOptions(input_data=torch.rand(5, 3)))
    assert next(bytes_before) > 2
    assert [(n.name, n.activation.name) for n in found.network] == [
        ("a", "sigmoid"),
        ("b", "identity"),
    ]
    assert {s.name for s in found.skipped} == {"w"}  # which nothing uses


def experts(h, parts):
    """Rows to one of two experts, as a condition on their sum says; nothing runs for no rows."""
    out, chosen = torch.zeros_like(h), h.sum(-1) > 0
    for part, mask in zip(parts, (chosen, ~chosen), strict=True):
        if mask.any():
            out[mask] = torch.relu(part(h[mask]))
    return out


AFTER_A_BRANCH = {
    "assigned": lambda z: torch.where(z < 0, 0.0, z),
    "of its own": lambda z: torch.where(z < 0, 0.1 * z, z),
    "chosen": lambda z: torch.where(z > 0.3, z, 0.1),
    "of Python": lambda z: torch.maximum(z, torch.tensor(0.05)),
}


def after_a_branch(kind, z):
    if kind == "chosen":
        return torch.where(z > torch.tensor(0.3), z, torch.tensor(0.1))
    if kind == "of Python":
        return torch.maximum(z, torch.tensor(0.05))
    h = z.clone()
    if kind == "assigned":
        h[h < 0] = 0.0
    else:
        h[h < 0] *= 0.1
    return h


@pytest.mark.parametrize("chosen", [0, 1, 3, 6])
@pytest.mark.parametrize("kind", AFTER_A_BRANCH)
def test_a_constant_behind_a_branch_is_one(kind, chosen):
    """Whatever way other inputs go, and as many rows as go it; of one row there are more views."""

    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
            self.parts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.a = nn.Linear(4, 4)

        def forward(self, x):
            h = experts(self.first(x) - self.shift, self.parts)
            return self.last(after_a_branch(kind, self.a(h)))

    torch.manual_seed(6)
    module, x = Branched(), torch.rand(6, 3)
    with torch.no_grad():
        sums = module.first(x).sum(-1).sort(descending=True)[0] / 4
    ends = torch.cat([sums[:1] + 1, sums, sums[-1:] - 1])
    module.shift = float(ends[chosen] + ends[chosen + 1]) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module, ExtractOptions(input_data=x))
    (layer,) = (x for x in found.network if x.name == "a")
    z = torch.linspace(-1, 1, 41, dtype=torch.float64)
    want = AFTER_A_BRANCH[kind](z).numpy()
    np.testing.assert_allclose(np.ravel(layer.activation(z.numpy())), want, atol=1e-7)


def test_what_no_other_run_tells_of_a_tensor_is_said():
    """No other input gets there: whether the tensor is a constant is not known."""

    first = []

    def between(m, h):
        first.append(int(h.sum() * 1e6))
        return torch.maximum(h, torch.tensor({first[0]: 0.3}[first[-1]]))

    torch.manual_seed(2)
    module = Net(between)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module, ExtractOptions(input_data=torch.rand(5, 3)))
    assert "perhaps a constant" in {s.name: s.reason for s in found.skipped}["a"]
