"""What feeds what: kept with results, and drawn as it is."""

import itertools

import numpy as np
import pytest

import eiplane
from eiplane import plot as pictures
from eiplane.network import Feed, Meeting, Network, Wiring
from eiplane.plot.diagram import diagram
from eiplane.report import write_report

torch = pytest.importorskip("torch")
nn = torch.nn
F = nn.functional


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.one = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.two, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(x + self.two(F.relu(self.one(x))))
        return self.head(x.mean((2, 3)))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.deep = nn.Linear(3, 4), nn.Linear(4, 3)
        self.right, self.head = nn.Linear(2, 2), nn.Linear(5, 2)

    def forward(self, a, b):
        left = torch.tanh(self.deep(torch.relu(self.left(a))))
        return self.head(torch.cat([left, torch.sigmoid(self.right(b))], 1))


class ByHand(nn.Module):
    """An LSTM written out, for as many steps as its input has."""

    def __init__(self):
        super().__init__()
        self.f, self.i, self.g, self.o = (nn.Linear(5, 3) for _ in range(4))
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        h = c = torch.zeros(x.shape[0], 3)
        for t in range(x.shape[1]):
            z = torch.cat([x[:, t], h], 1)
            kept = torch.sigmoid(self.f(z)) * c
            c = kept + torch.sigmoid(self.i(z)) * torch.tanh(self.g(z))
            h = torch.sigmoid(self.o(z)) * torch.tanh(c)
        return self.head(h)


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.block(x))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(2, 3, 2, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.gru(x)[0][:, -1])


def measured(model, **options):
    torch.manual_seed(0)
    options = {"measures": "ei_parts", "samples": 100, "method": "sample", **options}
    return eiplane.analyze(model.eval(), **options)


def reached(wiring, name):
    """The layers that reach a layer, and None for the input, whatever meets between."""
    found, todo, seen = set(), list(wiring.feeds[name].sources), set()
    while todo:
        one = todo.pop()
        if isinstance(one, int) and one not in seen:
            seen.add(one)
            todo += wiring.meetings[one].sources
        elif not isinstance(one, int):
            found.add(one)
    return found


def columns(d, **options):
    matrices = [np.reshape(x.ei_edges, (*x.ei_edges.shape[:2], -1)).sum(2) for x in d]
    return diagram(d, matrices, 9, **options)


@pytest.mark.parametrize(
    ("model", "options", "feeds", "ranks"),
    [
        (Residual, {"input_size": (2, 5, 5)},
         {"stem": {None}, "one": {"stem"}, "two": {"one"}, "head": {"stem", "two"}},
         {"stem": 0, "one": 1, "two": 2, "head": 5}),
        (Branches, {"input_data": (torch.rand(2, 3), torch.rand(2, 2))},
         {"left": {None}, "right": {None}, "deep": {"left"}, "head": {"deep", "right"}},
         {"left": 0, "right": 0, "deep": 1, "head": 3}),
        (Attending, {"input_size": (3, 4)},
         {"block.self_attn.in_proj.q": {None},
          "block.self_attn.in_proj.v": {None},
          "block.self_attn.out_proj": {f"block.self_attn.in_proj.{x}" for x in "qkv"},
          "block.linear1": {None, "block.self_attn.out_proj"},
          "block.linear2": {"block.linear1"},
          "head": {None, "block.self_attn.out_proj", "block.linear2"}},
         {f"block.self_attn.in_proj.{x}": 1 for x in "qkv"} | {"block.self_attn.out_proj": 4}),
        (Gated, {"input_size": (4, 2)},
         {"gru.weight_ih_l0.r": {None},
          "gru.weight_hh_l0.z": {f"gru.weight_{s}_l0.{g}" for s in ("ih", "hh") for g in "rzn"},
          "gru.weight_ih_l1.n": {f"gru.weight_{s}_l0.{g}" for s in ("ih", "hh") for g in "rzn"},
          "head": {f"gru.weight_{s}_l1.{g}" for s in ("ih", "hh") for g in "rzn"}},
         {"gru.weight_ih_l0.r": 0, "gru.weight_hh_l0.z": 0, "gru.weight_ih_l1.n": 3,
          "gru.weight_hh_l1.n": 3, "head": 6}),
        (ByHand, {"input_size": (6, 2)},
         {name: {None, *"figo"} for name in "figo"} | {"head": set("figo")},
         {"f": 1, "i": 1, "g": 1, "o": 1}),
    ],
)  # fmt: skip
def test_what_feeds_what_is_what_forward_says(model, options, feeds, ranks, tmp_path):
    d = measured(model(), **options)
    assert set(d.wiring.feeds) == {x.name for x in d}
    for name, sources in feeds.items():
        assert reached(d.wiring, name) == sources, name
    made = columns(d)
    found = dict(zip([x.name for x in d], [s.rank for s in made.inputs], strict=True))
    assert {name: found[name] for name in ranks} == ranks
    assert not made.note
    # Nothing lies on anything else: nodes of one column keep their distance.
    for rank in {s.rank for s in made.signals}:
        column = sorted((s for s in made.signals if s.rank == rank), key=lambda s: s.y)
        for low, high in itertools.pairwise(column):
            assert high.bottom - low.top >= 2.0
    d.save(tmp_path / "d.npz")
    back = eiplane.load(tmp_path / "d.npz")
    assert back.wiring == d.wiring
    assert Wiring.from_dict(d.to_dict()["wiring"]) == d.wiring


def test_branches_of_one_input_share_its_nodes_and_a_residual_skips():
    d = measured(Attending(), input_size=(3, 4))
    made = columns(d)
    q, k, v = made.inputs[:3]
    assert q is k is v and len({id(s) for s in made.outputs[:3]}) == 3
    assert d.wiring.feeds["block.linear2"].straight  # nothing lies between but the activation
    assert not d.wiring.feeds["block.self_attn.out_proj"].straight
    skips = [link for link in made.links if link.skips]
    assert [link.target.what for link in skips].count("add") == 2
    ax = pictures.network(d)
    assert len(ax.patches) > len(skips)
    dots = [t for t in ax.texts if t.get_text() == "+"]
    assert len(dots) == 2
    page = d.to_html()
    assert page.count('class="link"') == len(made.links)
    assert page.count(">+</text>") == 2


class Across(nn.Module):
    """Two inputs, each with a residual of its own."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, a, b):
        return self.head((a + torch.relu(self.one(a))) * (b + torch.relu(self.two(b))))


def test_inputs_are_told_apart_and_an_input_that_goes_on_is_a_point():
    d = measured(Across(), input_data=(torch.rand(2, 3), torch.rand(2, 3)))
    made = columns(d)
    points = {s.what: s for s in made.signals if not s.size}
    assert {"input 1", "input 2", "add", "mul"} == set(points)
    ways = {(k.source.what, id(k.target)) for k in made.links if k.source.what}
    one, two = made.inputs[:2]
    assert {("input 1", id(one)), ("input 2", id(two))} <= ways
    sums = [s for s in made.signals if s.what == "add"]
    assert len(sums) == 2
    for begin, layer in (("input 1", "one"), ("input 2", "two")):
        (mine,) = [s for s in sums if (begin, id(s)) in ways]
        out = made.outputs[[x.name for x in d].index(layer)]
        assert any(k.source is out and k.target is mine for k in made.links)
    # Of one that only goes to one column that column is the point.
    plain = columns(measured(Branches(), input_data=(torch.rand(2, 3), torch.rand(2, 2))))
    assert not any(s.what.startswith("input") for s in plain.signals)


def test_directions_have_states_of_their_own():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(2, 3, batch_first=True, bidirectional=True)
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    wiring = measured(Both(), input_size=(4, 2)).wiring
    gates = {f"lstm.weight_{s}_l0.{g}" for s in ("ih", "hh") for g in "ifgo"}
    assert reached(wiring, "lstm.weight_hh_l0.i") == gates
    back = {name.replace("_l0", "_l0_reverse") for name in gates}
    assert reached(wiring, "lstm.weight_hh_l0_reverse.i") == back
    assert reached(wiring, "head") == gates | back
    feeds = wiring.feeds
    assert feeds["lstm.weight_ih_l0_reverse.i"].like == "lstm.weight_ih_l0.i"
    assert feeds["lstm.weight_hh_l0_reverse.i"].like is None


def test_a_state_leads_back():
    d = measured(Gated(), input_size=(4, 2))
    made = columns(d)
    back = [link for link in made.links if link.back]
    assert len(back) == 2 and all(link.source.what == "gru" for link in back)
    assert len({id(s) for s in made.inputs}) == 5  # x, the state before, level by level; the head
    hand = columns(measured(ByHand(), input_size=(6, 2)))
    assert sum(link.back for link in hand.links) == 2  # h, and the cell: not one a step
    assert len(hand.signals) < 15


def test_where_nothing_is_known_nothing_is_joined():
    state = {"a.weight": np.eye(3), "b.weight": np.eye(3)}
    d = eiplane.analyze(state, activation="relu", in_range=(0, 1), measures="ei_parts")
    assert d.wiring is None and d.to_dict()["wiring"] is None
    made = columns(d)
    assert not made.links and made.outputs[0] is not made.inputs[1] and "not known" in made.note
    said = {t.get_text() for t in pictures.network(d).texts}
    assert made.note in said
    joined = columns(d, chain=True)
    assert joined.outputs[0] is joined.inputs[1] and "not known" in joined.note
    page = d.to_html()
    assert "which of them feeds which is not known" in page
    odd = eiplane.analyze({"a.weight": np.eye(3), "b.weight": np.ones((2, 4))},
                          activation="relu", in_range=(0, 1), measures="ei_parts")  # fmt: skip
    with pytest.raises(ValueError, match="'b' takes 4 inputs"):
        pictures.network(odd, chain=True)


def test_a_list_of_layers_is_a_chain_and_a_part_of_a_module_goes_through_the_rest():
    d = eiplane.analyze([np.eye(3), np.ones((2, 3))], measures="ei_parts")
    made = columns(d)
    assert made.straight and made.outputs[0] is made.inputs[1]
    assert len(pictures.network(d[1]).collections[0].get_linewidths()) == 6
    some = measured(Residual(), input_size=(2, 5, 5), layers=["stem", "one", "head"])
    (through,) = [link for link in columns(some).links if link.through]
    assert through.target.what == "add"


def test_edges_of_grouped_convolutions_stay_in_their_group():
    torch.manual_seed(0)
    d = measured(nn.Sequential(nn.Conv2d(4, 6, 3, groups=2)), input_size=(4, 5, 5))
    ax = pictures.network(d)
    lines = ax.collections[0].get_segments()
    assert len(lines) == 6 * 2
    heights = sorted({float(s[0][1]) for s in lines}, reverse=True)
    first = {float(s[0][1]) for s in lines if s[1][1] == max(t[1][1] for t in lines)}
    assert first == set(heights[:2])


def test_sources_that_none_has_are_refused():
    good = Wiring({"a": Feed((None, 0), True)}, (Meeting("add", ("a", None)),))
    assert Wiring.from_dict(good.to_dict()) == good
    for sources in ([1], [True], [0.5], 3):
        with pytest.raises(ValueError, match=r"source|wiring"):
            Wiring.from_dict({"feeds": {"a": {"sources": sources, "straight": 0, "like": None}},
                              "meetings": []})  # fmt: skip
    layers = [eiplane.Layer(np.ones((2, 3)), name="a"), eiplane.Layer(np.ones((4, 3)), name="b")]
    apart = Network(layers, sources={"a": (), "b": ()})
    assert apart.wiring.feeds["b"] == Feed((None,))


def test_a_token_that_begins_as_a_constant_makes_no_stream_of_its_own():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.first = nn.Linear(3, 4), nn.Parameter(torch.ones(1, 1, 4))
            blocks = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, norm_first=True)
            self.blocks, self.head = nn.TransformerEncoder(blocks, 2), nn.Linear(4, 2)

        def forward(self, x):
            x = torch.cat([self.first.expand(len(x), -1, -1), self.patch(x)], 1)
            return self.head(self.blocks(x)[:, 0])

    wiring = measured(Tokens(), input_size=(3, 3)).wiring
    assert [m.what for m in wiring.meetings].count("add") == 4
    assert wiring.feeds["head"].sources == (len(wiring.meetings) - 1,)
    assert reached(wiring, "blocks.layers.1.linear1") == {
        "patch", "blocks.layers.0.self_attn.out_proj", "blocks.layers.0.linear2",
        "blocks.layers.1.self_attn.out_proj",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_a_quantised_part_is_listed():
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch was built without quantised operators")
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    packed = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ValueError, match=r"0: its weights are packed .*; 2: its weights"):
        eiplane.analyze(packed, input_size=(4,))
    with pytest.warns(UserWarning, match="packed"):
        some = nn.Sequential(packed[0], nn.Tanh(), nn.Linear(3, 2))
        d = eiplane.analyze(some, input_size=(4,), measures="ei_parts")
    assert [s.name for s in d.skipped] == ["0"]


def test_a_run_keeps_what_feeds_what_once(tmp_path):
    model = Branches()
    data = torch.rand(2, 3), torch.rand(2, 2)
    options = {"measures": "ei_parts", "input_data": data, "progress": False}
    with eiplane.Tracker(model, tmp_path / "run.jsonl", edges=True, **options) as tracker:
        for step in range(3):
            tracker.record(step)
    assert (tmp_path / "run.jsonl").read_text("utf-8").count("feeds") == 1
    history = eiplane.training.History.read(tmp_path / "run.jsonl")
    assert history[0].wiring == eiplane.analyze(model, measures="ei_parts", input_data=data).wiring
    assert [r.wiring for r in history[1:]] == [None, None]
    page = write_report(tmp_path / "run.jsonl", tmp_path / "page.html").read_text("utf-8")
    assert 'class="band"' in page and "which of them feeds which is not known" not in page
    again = eiplane.Tracker(model, tmp_path / "run.jsonl", edges=True, **options)
    again.record(3)
    again.close()
    assert (tmp_path / "run.jsonl").read_text("utf-8").count("feeds") == 1
