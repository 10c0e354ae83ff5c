"""Ablation of modules whose weights are computed, shared, recurrent or made elsewhere."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest

import eiplane

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(module, before):
    return all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def effective(module, **options):
    """The weights that the layers of a module have, read by themselves."""
    from eiplane.extract import ExtractOptions, to_network

    network = to_network(module, ExtractOptions(**options)).network
    return {str(x.name): np.array(x.load().weight, dtype=np.float64) for x in network}


def residual():
    """A convolution with a batch norm, twice, and a path beside it."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
            self.conv2, self.bn2 = nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2)

        def forward(self, x):
            return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

    block = Block()
    for norm in (block.bn1, block.bn2):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.uniform_(norm.bias, -1, 1)
    return block.eval()


def pruned():
    from torch.nn.utils import prune

    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    prune.l1_unstructured(module[0], "weight", 0.4)
    return module


def widened():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 3)

        def forward(self, x):
            return nn.functional.linear(x, self.inner.weight * 2.0)

    return Doubled()


@pytest.mark.parametrize(
    ("make", "names", "size"),
    [
        (residual, ("conv1", "conv2"), (2, 6, 6)),
        (lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 3)), ("0",), (2, 5, 5)),
        (lambda: nn.Sequential(nn.ConvTranspose1d(2, 3, 4, stride=2)), ("0",), (2, 7)),
        (lambda: nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6)).eval(), ("0",),
         (4, 8)),
        (pruned, ("0", "2"), None),
        (widened, ("inner",), (4,)),
        (lambda: nn.LSTM(2, 3, batch_first=True), 8, (4, 2)),
        (lambda: nn.GRU(3, 4, batch_first=True), 6, (5, 3)),
    ],
    ids=["batch norm", "transposed", "strided", "grouped", "pruned", "doubled", "lstm", "gru"],
)  # fmt: skip
def test_edges_of_computed_weights_are_removed_one_by_one(make, names, size):
    torch.manual_seed(3)
    module, options = make(), {} if size is None else {"input_size": size}
    before, whole = state(module), effective(module, **options)
    ranks = {n: np.random.default_rng(i).random(w.shape) for i, (n, w) in enumerate(whole.items())}
    seen = []

    def evaluate(m):
        seen.append(effective(m, **options))
        return 0.0

    def given(name, weight):
        np.testing.assert_array_equal(weight, whole[name])
        return ranks[name]

    curve = eiplane.ablate(module, given, evaluate=evaluate, fraction=(0.3, 0.8), **options)
    assert len(curve.layers) == names if isinstance(names, int) else curve.layers == names
    assert same(module, before)
    for share, found in zip((0.0, 0.3, 0.8), seen, strict=True):
        for name in curve.layers:
            order = np.argsort(ranks[name].ravel(), kind="stable")
            expected = whole[name].copy()
            expected.ravel()[order[: round(share * order.size)]] = 0.0
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-7)


def test_a_neuron_before_a_batch_norm_says_nothing():
    torch.manual_seed(4)
    for bias in (False, True):
        conv, norm = nn.Conv2d(2, 4, 3, bias=bias), nn.BatchNorm2d(4)
        module = nn.Sequential(conv, norm, nn.Tanh()).eval()
        norm.running_mean.uniform_(-1, 1)
        nn.init.uniform_(norm.bias, 0.5, 1)
        x, seen = torch.randn(3, 2, 5, 5), []

        def evaluate(m, x=x, seen=seen):
            seen.append((m(x).abs().amax(dim=(0, 2, 3)) == 0).sum().item())
            return 0.0

        before = state(module)
        curve = eiplane.ablate(
            module, "weight", evaluate=evaluate, structure="outputs", fraction=(0.5, 1.0),
            input_size=(2, 5, 5),
        )  # fmt: skip
        assert seen == [0, 2, 4] and curve.skipped == ()
        assert same(module, before)


def test_copied_blocks_have_a_batch_norm_each():
    """Equal numbers do not tell which one is behind a convolution."""
    inner = residual()
    block = nn.Sequential(inner.conv1, inner.bn1, nn.Conv2d(3, 2, 1))
    model, rest = nn.Sequential(block, copy.deepcopy(block)).eval(), []

    def evaluate(ablated):
        shifts = [part[1](part[0](torch.rand(1, 2, 6, 6))) for part in ablated]
        rest.append([float(s.detach().abs().sum((0, 2, 3)).min()) for s in shifts])
        return 0.0

    eiplane.ablate(model, "weight", evaluate=evaluate, fraction=1 / 3, structure="outputs",
                   input_size=(1, 2, 6, 6))  # fmt: skip
    assert min(rest[0]) > 0.0
    assert rest[1] == [0.0, 0.0]


def test_biases_that_stay_are_told():
    curve = eiplane.ablate(
        nn.LSTM(3, 4, batch_first=True), "weight", evaluate=lambda m: 0.0, fraction=0.5,
        structure="outputs", input_size=(5, 3),
    )  # fmt: skip
    assert any(text.startswith("the bias of weight_ih_l0.i: ") for text in curve.skipped)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal"])
def test_weights_that_hang_together_are_left_whole(kind):
    wrap = getattr(nn.utils.parametrizations, kind, None)
    if wrap is None:
        pytest.skip("an older torch")
    module = nn.Sequential(wrap(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2))
    before = state(module)
    curve = eiplane.ablate(module, "ei", evaluate=lambda m: 0.0, fraction=0.5)
    assert curve.layers == ("2",)
    assert curve.skipped == ("0: each of its weights is computed from several numbers",)
    assert same(module, before)
    with pytest.raises(ValueError, match="there is nothing to remove: 0: each of its weights"):
        eiplane.ablate(module[:1], "ei", evaluate=lambda m: 0.0)


class Back(nn.Module):
    """A layer, and the same weights the other way."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 4)

    def forward(self, x):
        return torch.tanh(self.a(x)) @ self.a.weight


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
        self.b.weight = self.a.weight

    def forward(self, x):
        return torch.sigmoid(self.b(torch.tanh(self.a(x))))


@pytest.mark.parametrize(("make", "size"), [(Back, 6), (Twice, 5)])
@pytest.mark.parametrize("scope", ["layer", "network"])
def test_a_shared_weight_goes_once_and_is_worth_the_sum(make, size, scope):
    torch.manual_seed(5)
    module = make()
    d = eiplane.analyze(module, measures="ei_parts", input_size=(size,))
    first, second = (np.asarray(x.ei_edges) for x in d)
    worth = first + (second.T if make is Back else second)
    seen = []

    def evaluate(m):
        seen.append(m.a.weight.detach().numpy() == 0)
        return 0.0

    count = round(0.3 * worth.size)
    curve = eiplane.ablate(
        module, "ei", evaluate=evaluate, fraction=count / worth.size, scope=scope,
        input_size=(size,),
    )  # fmt: skip
    chosen = np.zeros(worth.size, bool)
    chosen[np.argsort(worth.ravel(), kind="stable")[:count]] = True
    np.testing.assert_array_equal(seen[1].ravel(), chosen)
    assert (curve.removed[1], curve.total) == (2 * count, 2 * worth.size)


def test_whatever_evaluate_does_to_the_module_is_undone():
    torch.manual_seed(6)
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()
    before, parts = state(module), list(module.parameters())

    def evaluate(m):
        m.train()  # its running statistics move
        rate = torch.optim.SGD(m.parameters(), 0.1)
        m(torch.rand(8, 4)).sum().backward()
        rate.step()
        m[2].weight.data = torch.ones(3, 4)
        return m[2].bias.sum()

    curve = eiplane.ablate(module, "weight", evaluate=evaluate, fraction=(0.2, 0.6))
    assert same(module, before)
    assert [p is q for p, q in zip(module.parameters(), parts, strict=True)] == [True] * len(parts)
    assert not any(m.training for m in module.modules())
    assert curve.scores[0] == pytest.approx(float(module[2].bias.sum() - 3 * 8 * 0.1), abs=1e-5)


def test_tensors_of_inference_mode_can_be_changed():
    with torch.inference_mode():
        module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    before = state(module)
    seen = []

    def evaluate(m):
        seen.append(int((m[0].weight == 0).sum()))
        return 0.0

    eiplane.ablate(module, "weight", fraction=(0.5, 1), input_size=(3,), evaluate=evaluate)
    assert seen == [0, round(9 / 2), 9]
    assert same(module, before)


@pytest.mark.parametrize("value", [None, 1j, np.array([1.0]), "many"])
def test_a_score_is_one_number(value):
    module = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(TypeError, match="evaluate has to return one number, not"):
        eiplane.ablate(module, "weight", evaluate=lambda m: value)
    score = eiplane.ablate(module, "weight", evaluate=lambda m: m[0].bias.sum(), fraction=1.0)
    assert score.scores[0] == pytest.approx(float(module[0].bias.sum()))


def test_an_error_of_evaluate_is_its_own():
    def evaluate(m):
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        eiplane.ablate(nn.Sequential(nn.Linear(3, 2)), "weight", evaluate=evaluate)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_refused_by_name(kind, tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.eye(3))
    with pytest.raises(TypeError, match="cannot be ablated; give a torch Module"):
        eiplane.ablate(kind(path), "ei", evaluate=lambda w: 0.0, activation="relu")


def test_quantised_layers_are_refused_with_the_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = torch.ao.quantization.quantize_dynamic(
                nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), {nn.Linear},
                dtype=torch.qint8,
            )  # fmt: skip
        except (AttributeError, RuntimeError):
            pytest.skip("this torch quantises no module like that")
        with pytest.raises(ValueError, match="has no layer that eiplane can analyse"):
            eiplane.ablate(module, "weight", evaluate=lambda m: 0.0, input_size=(4,))
