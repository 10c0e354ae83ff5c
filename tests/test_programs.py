"""Programs instead of modules: torch.export, FX, torch.compile, scripts and traces.

Each has to give what the module itself gives; what that is worth is tested elsewhere, and two of
them are held against a sweep of the module here.
"""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import eiplane  # noqa: E402
from eiplane.analyze import Plan  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.extract.pt2.archive import DTYPES  # noqa: E402
from eiplane.run import Settings  # noqa: E402

#: Earlier ones name things in their own way, and have other files.
needs_export = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8), reason="programs of an old torch"
)


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.fc, self.out = nn.Linear(18, 5), nn.Linear(5, 3)
        self.register_buffer("scale", torch.rand(5) + 0.5)
        self.norm.running_mean.uniform_(-1, 1)

    def forward(self, x):
        h = F.max_pool2d(torch.relu(self.norm(self.conv(x))), 2).reshape(x.shape[0], -1)
        return self.out(F.silu(self.fc(h) * self.scale))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.block(self.embed(tokens)).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, 2, bidirectional=True), nn.Linear(8, 2)

    def forward(self, x):
        y, _ = self.lstm(x)
        return self.out(y)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x, shift):
        h = self.a(2 * x - 1)
        left, right = h.split([1, 3], 1)
        h = torch.cat([left.tanh(), right.clamp(-0.5, 0.5)], 1) + shift.sigmoid()
        return {"y": self.b(h), "h": h}


def network_of(kind):
    torch.manual_seed(0)
    made = {"conv": Convolutional, "tokens": Tokens, "lstm": Recurrent, "two": TwoInputs}[kind]()
    made.eval()
    inputs = {
        "conv": (torch.rand(2, 1, 8, 8),), "tokens": (torch.randint(0, 7, (2, 5)),),
        "lstm": (torch.rand(5, 2, 3),), "two": (torch.rand(2, 3), torch.rand(2, 4)),
    }  # fmt: skip
    return made, inputs[kind]


def found_in(what, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_network(what, ExtractOptions(**options))


def ranges(found):
    plan = Plan(found.network, Settings("ei"))
    return {n: (*plan.in_range(i), plan.range_source(i)) for i, n in enumerate(found.network.names)}


def same(one, two):
    """Hold what was extracted against what the module gives."""
    assert one.network.names == two.network.names
    for a, b in zip(one.network, two.network, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_allclose(a.offsets(), b.offsets(), rtol=1e-6, atol=1e-7)
        assert a.activation.name == b.activation.name
        assert (a.groups, a.pool is None) == (b.groups, b.pool is None)
    assert one.network.sources == two.network.sources
    for name, (low, high, source) in ranges(one).items():
        assert (low, high) == pytest.approx(ranges(two)[name][:2], rel=1e-6)
        assert source == ranges(two)[name][2]
    assert {s.name for s in one.skipped} == {s.name for s in two.skipped}


def exported(module, inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, inputs)


KINDS = ["conv", "tokens", "lstm", "two"]


@needs_export
@pytest.mark.parametrize("kind", KINDS)
def test_exported_programs(kind, tmp_path):
    module, inputs = network_of(kind)
    wanted = found_in(module, input_data=inputs)
    program = exported(module, inputs)
    same(found_in(program), wanted)
    same(found_in(program, input_data=inputs), wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, tmp_path / "m.pt2")
    same(found_in(tmp_path / "m.pt2"), wanted)
    same(found_in(tmp_path / "m.pt2", input_data=inputs, key="model"), wanted)
    if kind in ("conv", "two"):  # the parts of gates and of attention have scales of their own
        same(found_in(program.run_decompositions()), wanted)


@needs_export
def test_sizes_that_a_program_leaves_open(tmp_path):
    module, inputs = network_of("conv")
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, inputs, dynamic_shapes={"x": {0: batch}})
        torch.export.save(program, tmp_path / "m.pt2")
    wanted = found_in(module, input_data=inputs)
    other = torch.rand(7, 1, 8, 8)
    same(found_in(tmp_path / "m.pt2", input_data=other), wanted)
    same(found_in(program, input_data=other), wanted)


@needs_export
@pytest.mark.parametrize("kind", ["conv", "tokens", "two"])
def test_graphs_of_fx(kind):
    module, inputs = network_of(kind)
    wanted = found_in(module, input_data=inputs)
    same(found_in(torch.fx.symbolic_trace(module), input_data=inputs), wanted)
    same(found_in(exported(module, inputs).module(), input_data=inputs), wanted)


@pytest.mark.parametrize("kind", ["conv", "tokens", "lstm"])
@pytest.mark.parametrize("way", ["script", "trace"])
def test_scripts_and_traces(kind, way):
    module, inputs = network_of(kind)
    wanted = found_in(module, input_data=inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = (
            torch.jit.script(module)
            if way == "script"
            else torch.jit.trace(module, inputs, check_trace=False)
        )
    made.train()
    same(found_in(made, input_data=inputs), wanted)
    assert made.training and all(m.training for m in made.modules())


@torch.compile(backend="eager")
def compiled_swish(z):
    return z * torch.sigmoid(z)


def test_compiled_modules():
    """The whole, a part, in place, and a function; before and after they have run."""
    module, inputs = network_of("conv")
    wanted = found_in(module, input_data=inputs)
    whole = torch.compile(module, backend="eager")
    part, _ = network_of("conv")
    part.fc = torch.compile(part.fc, backend="eager")
    inside, _ = network_of("conv")
    inside.compile(backend="eager")
    for made in (whole, part, inside):
        same(found_in(made, input_data=inputs), wanted)
        with torch.no_grad():
            made(*inputs)
        same(found_in(made, input_data=inputs), wanted)
    assert isinstance(part.fc, torch._dynamo.OptimizedModule)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(compiled_swish(self.a(x)))

    net = Net()
    for _ in range(2):
        names = [x.activation.name for x in found_in(net, input_data=torch.rand(2, 3)).network]
        assert names == ["silu", "identity"]
        net(torch.rand(2, 3))


@pytest.mark.parametrize("kind", ["conv", "tokens", "lstm"])
def test_frozen_scripts_have_their_weights_as_constants(kind):
    """Of a whole network, and of a part of one, which must not vanish."""
    module, inputs = network_of(kind)
    wanted = found_in(module, input_data=inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(module, inputs, check_trace=False))

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.part, self.last = frozen, nn.Linear(1, 2)

        def forward(self, *given):
            return self.last(self.part(*given).reshape(-1, 1))

    assert not list(frozen.parameters())
    found = found_in(frozen, input_data=inputs)
    within = found_in(Around(), input_data=inputs)
    linear = [x for x in wanted.network if "lstm" not in x.name and "rnn" not in x.name]
    for one in (found, within):
        shapes = [x.shape for x in one.network]
        assert all(x.shape in shapes for x in linear)
    if kind == "conv":  # the batch norm is in the convolution now
        same_numbers = zip(found.network, wanted.network, strict=True)
        for got, want in same_numbers:
            assert got.activation.name == want.activation.name
            np.testing.assert_allclose(got.weight, want.weight, atol=1e-5)
            np.testing.assert_allclose(got.offsets(), want.offsets(), atol=1e-5)


def test_what_is_optimised_for_inference_is_refused_with_a_reason():
    module, inputs = network_of("conv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.optimize_for_inference(torch.jit.script(module))
        with pytest.raises(ValueError, match="layout of its own"):
            found_in(made, input_data=inputs)


@needs_export
def test_a_program_of_its_own_against_a_sweep(tmp_path):
    """One input swept through the module, the others 0, bins counted."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(2, 3), nn.Mish()).eval()
    program = exported(module, (torch.rand(4, 2),))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, tmp_path / "m.pt2")
    for what in (
        program,
        tmp_path / "m.pt2",
        torch.jit.trace(module, torch.rand(4, 2), check_trace=False),
    ):
        data = torch.rand(4, 2)
        (layer,) = eiplane.analyze(what, measures="sensitivity", bins=8, input_data=data)
        lo, hi = layer.out_range
        sweep, total = (torch.arange(4096) + 0.5) / 4096, 0.0
        for a in range(2):
            x = torch.zeros(4096, 2)
            x[:, a] = sweep
            with torch.no_grad():
                y = module(x).double().numpy()
            out = np.clip(np.floor((y - lo) / (hi - lo) * 8), 0, 7).astype(int)
            into = np.floor(sweep.numpy() * 8).astype(int)
            for b in range(3):
                table = np.zeros((8, 8))
                np.add.at(table, (into, out[:, b]), 1 / 4096)
                alone = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
                there = table > 0
                total += float((table[there] * np.log2(table[there] / alone[there])).sum())
        assert layer.sensitivity == pytest.approx(total, abs=0.01)


@needs_export
def test_ranges_from_data(tmp_path):
    module, inputs = network_of("two")
    batches = [(torch.rand(2, 3) * 3, torch.rand(2, 4)) for _ in range(4)]
    program = exported(module, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, tmp_path / "m.pt2")
    everything = torch.cat([x for x, _ in batches]) * 2 - 1
    for what in (program, tmp_path / "m.pt2"):
        found = found_in(what, input_data=batches, quantiles=(0.0, 1.0))
        assert found.network.seen["a[0]" if "a[0]" in found.network.names else "a"].inputs == (
            pytest.approx((float(everything.min()), float(everything.max())), rel=1e-6)
        )
    # Exported for two at once: more of them come in parts.
    together = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    for what in (program, tmp_path / "m.pt2"):
        again = found_in(what, input_data=together, quantiles=(0.0, 1.0))
        assert again.network.seen == found.network.seen
    with pytest.raises(ValueError, match=r"forward pass .* failed"):
        found_in(program, input_data=(torch.rand(3, 3), torch.rand(3, 4)))
    with pytest.raises(ValueError, match=r"ranges='data' takes"):
        eiplane.analyze(program, ranges="data")
    with pytest.raises(ValueError, match="its own activations"):
        found_in(program, activation="relu")
    with pytest.raises(ValueError, match="its own activations"):
        found_in(tmp_path / "m.pt2", activation="relu")


# -- hostile files


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The members of a good file."""
    path = tmp_path_factory.mktemp("pt2") / "m.pt2"
    module, inputs = network_of("two")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(exported(module, inputs), path)
    with zipfile.ZipFile(path) as archive:
        return {m.filename: archive.read(m) for m in archive.infolist()}


def written(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def member(members, end):
    return next(n for n in members if n.endswith(end))


def changed(path, members, end, change):
    """A file with one description changed."""
    name = member(members, end)
    described = json.loads(members[name])
    made = change(described)
    content = described if made is None else made
    return written(path, {**members, name: json.dumps(content).encode()})


def refused(path, *words):
    with pytest.raises(ValueError, match=r"m\.pt2") as caught:
        found_in(path)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


class Evil:
    """What is run when it is unpickled by a reader that trusts it."""

    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


@needs_export
def test_nothing_in_a_file_is_run(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.pt2"
    buffer = io.BytesIO()
    torch.save(Evil(), buffer)

    def pickled(config):
        next(iter(config["config"].values()))["use_pickle"] = True

    name = member(saved, "weights/weight_0")
    evil = {**saved, name: buffer.getvalue()}
    refused(changed(path, evil, "model_weights_config.json", pickled), "a.weight", "pickled")
    # The example inputs are never read, so what is in them does not matter.
    inputs = member(saved, "sample_inputs/model.pt")
    assert len(found_in(written(path, {**saved, inputs: buffer.getvalue()})).network) > 1

    def symbol(described):
        values = described["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"][0] = {
            "as_expr": {"expr_str": "__import__('pathlib').Path('ran').touch() or Symbol('s')",
                        "hint": {"as_int": 2}}
        }  # fmt: skip

    assert len(found_in(changed(path, saved, "models/model.json", symbol)).network) > 1
    for target in (
        "builtins.eval", "os.system", "torch.load", "torch.hub.load", "_operator.call",
        "_operator.attrgetter", "math.__loader__", "torch.ops.load_library",
        "torch.ops.aten.from_file.default", "torch.ops.aten.__class__.mro",
        "torch.ops.other.thing.default", "torch.ops.aten.relu.__call__",
        "#builtins.eval", "torch.ops.higher_order.cond",
    ):  # fmt: skip

        def call(described, target=target):
            node = described["graph_module"]["graph"]["nodes"][0]
            node["target"] = target

        refused(changed(path, saved, "models/model.json", call), target)
    assert not (tmp_path / "ran").exists()


@needs_export
def test_files_that_lie_or_are_damaged(saved, tmp_path):
    path = tmp_path / "m.pt2"

    def shape(config):
        next(iter(config["config"].values()))["tensor_meta"]["sizes"] = [{"as_int": 1 << 20}] * 2

    def strides(config):
        next(iter(config["config"].values()))["tensor_meta"]["strides"] = [{"as_int": 1 << 40}] * 2

    def offset(config):
        next(iter(config["config"].values()))["tensor_meta"]["storage_offset"] = {"as_int": -4}

    def inputs(described):
        values = described["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"] = [{"as_int": 1 << 30}, {"as_int": 1 << 10}]

    for change in (shape, strides, offset):
        refused(changed(path, saved, "model_weights_config.json", change), "a.weight", "declares")
    refused(changed(path, saved, "models/model.json", inputs), "declares")
    refused(written(path, {k: v for k, v in saved.items() if "weight_0" not in k}), "missing")
    refused(written(path, {k: v for k, v in saved.items() if "/models/" not in k}), "no program")
    refused(written(path, {"m/data/aotinductor/model/a.so": b"x"}), "compiled code")
    refused(written(path, {"version": b"6.1", "serialized_exported_program.json": b"{}",
                           "serialized_state_dict.pt": b""}), "before 2.8")  # fmt: skip
    refused(written(path, {**saved, member(saved, "models/model.json"): b"[" * 100000}))
    second = member(saved, "models/model.json").replace("model.json", "other.json")
    refused(written(path, {**saved, second: b"{}"}), "2 programs", "key=")
    whole = written(path, saved).read_bytes()
    for keep in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:keep])
        refused(path)
    path.unlink()
    with pytest.raises(OSError, match=r"m\.pt2"):
        found_in(path)


@needs_export
def test_descriptions_changed_at_random(saved, tmp_path):
    """Whatever is changed in them, it is read or refused by name.

    ``EIPLANE_RANDOM_GRAPHS=5000`` changes as many.
    """
    rng, tries = np.random.default_rng(0), int(os.environ.get("EIPLANE_RANDOM_GRAPHS", "40"))
    path, name = tmp_path / "m.pt2", member(saved, "models/model.json")
    read = 0
    for _ in range(tries):
        described = json.loads(saved[name])
        at, parent = described["graph_module"], None
        for _ in range(rng.integers(2, 12)):
            if not isinstance(at, dict | list) or not at:
                break
            keys = list(at) if isinstance(at, dict) else range(len(at))
            parent, key = at, keys[int(rng.integers(len(keys)))]
            at = at[key]
        parent[key] = [None, -1, "x", [], {}, 1 << 70, {"as_int": 3}][int(rng.integers(7))]
        written(path, {**saved, name: json.dumps(described).encode()})
        try:
            found_in(path)
            read += 1
        except ValueError as error:
            assert "m.pt2" in str(error)
    assert 0 < read < tries


def test_codes_of_types_are_torch_s():
    schema = pytest.importorskip("torch._export.serde.schema")
    words = {"char": "int8", "byte": "uint8", "short": "int16", "int": "int32", "long": "int64",
             "half": "float16", "float": "float32", "double": "float64",
             "complexhalf": "complex32", "complexfloat": "complex64",
             "complexdouble": "complex128"}  # fmt: skip
    for code in schema.ScalarType:
        if code.name != "UNKNOWN":
            name = code.name.lower().replace("float8e", "float8_e")
            assert DTYPES[int(code)] == words.get(name, name)
