"""What is computed of a signal on the side, and leads nowhere, says nothing of its layer."""

import numpy as np
import pytest

import eiplane

torch = pytest.importorskip("torch")
nn = torch.nn

#: Of the outputs z of a layer and w of another: looked at, and thrown away.
LOGGED = {
    "gather": lambda z, w: z.gather(1, z.argsort(1)),
    "gather by another": lambda z, w: z.gather(1, w.argsort(1)),
    "gather the greatest": lambda z, w: z.gather(1, z.max(1)[1][:, None]),
    "boolean": lambda z, w: z[z > 9].sum(),
    "boolean by another": lambda z, w: z[w > 0].sum(),
    "masked_select": lambda z, w: z.masked_select(z > 0),
    "take": lambda z, w: z.take(z.argmax()),
    "index": lambda z, w: z[torch.arange(len(z)), z.argmax(1)],
    "index_select": lambda z, w: z.index_select(1, z.argmax(1)),
    "where": lambda z, w: torch.where(w > 0, z, torch.zeros(())),
    "scatter": lambda z, w: torch.zeros_like(z).scatter(1, w.argsort(1), z),
    "index_add": lambda z, w: torch.zeros(5, 5).index_add(0, w.argmax(1), z),
    "top k": lambda z, w: z[w.sum(1).topk(1)[1]],
    "sort": lambda z, w: z.sort()[0],
    "quantile": lambda z, w: z.quantile(0.5),
    "histogram": lambda z, w: torch.histc(z),
    "distances": lambda z, w: torch.cdist(z, w),
    "cumsum": lambda z, w: z.cumsum(1),
}


class Logs(nn.Module):
    def __init__(self, look):
        super().__init__()
        self.a, self.w, self.b = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 3)
        self.look, self.log = look, None

    def forward(self, x):
        z, w = self.a(x), self.w(x)
        self.log = self.look(z, w)
        return self.b(torch.relu(z) + torch.tanh(w))


@pytest.mark.parametrize("name", LOGGED)
def test_what_is_logged_is_no_use(name):
    torch.manual_seed(0)
    module = Logs(LOGGED[name])
    d = eiplane.analyze(module, measures="sensitivity", strict=True)
    assert [(x.name, x.activation) for x in d] == [("a", "relu"), ("w", "tanh"), ("b", "identity")]
    weight, bias = (p.detach().double().numpy() for p in (module.a.weight, module.a.bias))
    plain = eiplane.analyze([(weight, bias)], "relu", measures="sensitivity")
    assert np.allclose(d["a"].sensitivity_edges, plain[0].sensitivity_edges, atol=1e-9)


class Chosen(Logs):
    def forward(self, x):
        z, w = self.a(x), self.w(x)
        return self.b(torch.relu(self.look(z, w)) + torch.tanh(w))


@pytest.mark.parametrize(
    "look",
    [
        lambda z, w: z.gather(1, w.argsort(1)),
        lambda z, w: z[w.sum(1).argsort()],
        lambda z, w: torch.zeros_like(z).scatter(1, w.argsort(1), z),
    ],
)
def test_what_decides_where_the_result_comes_from_is_used_as_it_is(look):
    torch.manual_seed(0)
    d = eiplane.analyze(Chosen(look), measures="sensitivity")
    assert d["a"].activation == "relu"
    assert d["w"].activation == "identity"  # its order is a use of its own, beside tanh


class Halves(nn.Module):
    """The same function of two parts of a batch, and then used in two ways."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        z = self.a(x)
        h = torch.cat([z[:2].relu(), z[2:].relu()])
        return self.b(torch.tanh(h[:, 0] + 0.5) + h[:, 1])


def test_the_same_function_done_twice_is_one():
    torch.manual_seed(0)
    d = eiplane.analyze(Halves(), measures="sensitivity", input_size=(4, 2, 3))
    assert [x.activation for x in d] == ["relu", "identity"]
