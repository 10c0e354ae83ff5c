"""The proof on the spot: right layers pass it, and wrong ones are listed, whatever made them so."""

import itertools
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.extract.aten import recurrent  # noqa: E402
from eiplane.extract.flow import weights  # noqa: E402


def extracted(module, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_network(module.eval(), ExtractOptions(**options))


class Last(nn.Module):
    """The output of a recurrent layer, perhaps of packed sequences."""

    def __init__(self, inner, packed=False):
        super().__init__()
        self.inner, self.packed = inner, packed

    def forward(self, x):
        if self.packed:
            x = nn.utils.rnn.pack_padded_sequence(x, [3, 5, 1, 2], enforce_sorted=False)
        out, _ = self.inner(x)
        return out.data if self.packed else out


KINDS = list(itertools.product(("LSTM", "GRU", "RNN"), (False, True), (1, 2), (False, True)))


@pytest.mark.parametrize(("kind", "both", "layers", "packed"), KINDS)
def test_gates_of_all_kinds_pass(kind, both, layers, packed):
    torch.manual_seed(0)
    options = {"bidirectional": both, "num_layers": layers, "bias": layers == 1}
    if kind == "LSTM" and both:
        options["proj_size"] = 2
    if kind == "RNN" and packed:
        options["nonlinearity"] = "relu"
    inner = getattr(nn, kind)(3, 4, **options)
    found = extracted(Last(inner, packed), input_size=(5, 4, 3))
    assert found.skipped == ()
    each = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] * 2 + ("proj_size" in options)
    assert len(found.network) == each * layers * (1 + both)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_pass(cell):
    module = cell(3, 4)
    assert extracted(module, input_size=(2, 3)).skipped == ()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_gates_with_a_wrong_function_are_listed(kind, batch_first, monkeypatch):
    letter = {"LSTM": "g", "GRU": "z"}[kind]
    wrong = {"g": "sigmoid", "z": "tanh"}[letter]
    monkeypatch.setitem(recurrent._ACTIVATIONS, letter, wrong)
    inner = getattr(nn, kind)(3, 4, batch_first=batch_first)
    module = nn.ModuleList([Last(inner), nn.Linear(4, 2)])
    module.forward = lambda x: module[1](module[0](x))
    found = extracted(module, input_size=(5, 4, 3))
    assert found.network.names == ("1",)
    assert {s.reason for s in found.skipped} == {
        "its gates do not reproduce what the recurrent layer computed in the run"
    }
    with pytest.raises(ValueError, match=r"strict: .*gates do not reproduce"):
        to_network(module, ExtractOptions(input_size=(5, 4, 3), strict=True))


TRANSPOSED = [(1, 0, 1, 1, 3), (2, 1, 1, 1, 3), (3, 2, 2, 2, 3), (2, 0, 2, 4, 4), (4, 1, 1, 1, 2)]


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups", "size"), TRANSPOSED)
def test_transposed_convolutions(stride, padding, dilation, groups, size, monkeypatch):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.ConvTranspose2d(
            4, 8, size, stride, padding, groups=groups, dilation=dilation,
            output_padding=min(1, stride - 1),
        ),
        nn.PReLU(8),
    )  # fmt: skip
    assert extracted(module, input_size=(2, 4, 7, 6)).skipped == ()
    real = weights._phases

    def turned(weight, conv):
        made, phases = real(weight, conv)
        return made[::-1].copy(), phases

    monkeypatch.setattr(weights, "_phases", turned)
    listed = to_skipped(nn.Sequential(module, nn.Conv2d(8, 2, 1)), (2, 4, 7, 6))
    assert listed["0.0"] == "its weights do not reproduce what it computed in the run"


def to_skipped(module, size):
    return {s.name: s.reason for s in extracted(module, input_size=size).skipped}


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(2)])
def test_pooled_convolutions_with_wrong_weights_are_listed(pool, monkeypatch):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), pool, nn.Conv2d(4, 2, 2))
    assert extracted(module, input_size=(2, 1, 10, 10)).skipped == ()
    real = weights.plain
    monkeypatch.setattr(
        weights, "plain",
        lambda a: 1.001 * real(a) if tuple(a.shape) == (4, 1, 3, 3) else real(a),
    )  # fmt: skip
    listed = to_skipped(module, (2, 1, 10, 10))
    assert listed == {"0": "its weights do not reproduce what it computed in the run"}


def test_a_function_for_each_output_is_held_against_each(monkeypatch):
    torch.manual_seed(0)
    slopes = torch.tensor([0.1, 0.2, 0.3, 0.4])
    act = nn.PReLU(4)
    act.weight.data = slopes
    module = nn.Sequential(nn.Linear(3, 4), act, nn.Linear(4, 2))
    x = torch.randn(200, 3)
    found = extracted(module, input_data=x)
    (layer,) = [q for q in found.network if q.name == "0"]
    with torch.no_grad():
        np.testing.assert_allclose(layer(x.numpy()), module[:2](x).numpy(), atol=1e-6)
    from eiplane.extract.flow import recognise

    real = recognise.per_row
    monkeypatch.setattr(recognise, "per_row", lambda made, *rest: real(made[::-1], *rest))
    reasons = {s.name: s.reason for s in extracted(module, input_data=x).skipped}
    assert "does not reproduce" in reasons["0"]


#: Two matrices of one parameter, of the same shape.
OTHERS = {
    "turned": lambda w: (w, w.t()),
    "turned copies": lambda w: (w.t().contiguous(), w.flip(0).t().contiguous()),
    "rows of a stride": lambda w: (w[:2, :2], w[::2, ::2]),
    "columns": lambda w: (w[:, :4].t() @ w[:, :4], w[:, :4] @ w[:, :4].t()),
    "scaled": lambda w: (2 * w, 3 * w),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("seen", [0.0, 1.0])
def test_matrices_of_one_parameter_are_told_apart_even_by_a_run_of_zeros(what, seen):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.w = nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            one, two = OTHERS[what](self.w)
            y = torch.relu(x[:, : one.shape[1]] @ one.t())
            return torch.relu(y @ two.t()) + 0.1 * y.mean(-1, keepdim=True)

    module = Tied()
    x = torch.full((3, 4), seen)
    found = extracted(module, input_data=x)
    wanted = [m.detach().numpy() for m in OTHERS[what](module.w)]
    assert [layer.activation.name for layer in found.network] == ["relu", "relu"]
    for layer, weight in zip(found.network, wanted, strict=True):
        np.testing.assert_allclose(layer.weight, weight, rtol=1e-6)
