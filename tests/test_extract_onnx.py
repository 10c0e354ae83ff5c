"""Networks from ONNX graphs: the same layers as from the module, and bad files."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from eiplane.extract import ExtractOptions, to_network  # noqa: E402

rng = np.random.default_rng(0)


def graph(path, nodes, weights, shape=("batch", 3), opset=20, out="y"):
    """Write a graph by hand."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(np.asarray(w, np.float32), k) for k, w in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=9), path)
    return path


def export(module, x, path):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), x, path, dynamo=False)
    return path


def compare(module, x, path):
    """Hold the layers of the graph against those of the module."""
    ours = to_network(module, ExtractOptions(input_data=x)).network
    theirs = to_network(export(module, x, path)).network
    assert [x.activation.name for x in theirs] == [x.activation.name for x in ours]
    assert [x.pool for x in theirs] == [x.pool for x in ours]
    place = dict(zip(ours.names, range(len(ours)), strict=True))
    there = dict(zip(theirs.names, range(len(ours)), strict=True))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(b.weight, a.weight, atol=1e-6)
        np.testing.assert_allclose(b.offsets(), a.offsets(), atol=1e-6)
        assert a.groups == b.groups
        wanted = [place[s] for s in ours.sources[a.name]]
        assert [there[s] for s in theirs.sources[b.name]] == wanted
    return theirs


def test_exported_networks(tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.SiLU(), nn.Linear(4, 4), nn.ELU(0.5),
        nn.Linear(4, 4), nn.LeakyReLU(0.2), nn.Linear(4, 4), nn.GELU("tanh"), nn.Linear(4, 4),
        nn.Hardtanh(-1, 2), nn.Linear(4, 4), nn.Hardsigmoid(), nn.Linear(4, 4), nn.Softplus(),
        nn.Linear(4, 4), nn.Hardswish(), nn.Linear(4, 4), nn.Mish(), nn.Linear(4, 4), nn.SELU(),
        nn.Linear(4, 4), nn.Tanh(), nn.Dropout(), nn.Linear(4, 2), nn.Softmax(-1),
    )  # fmt: skip
    network = compare(chain, torch.zeros(2, 3), tmp_path / "m.onnx")
    assert network.names[0] == "0"
    assert len(network.straight) == len(network) - 1
    conv = nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, (1, 3), groups=2, dilation=(1, 2)), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip
    nn.init.uniform_(conv[1].running_mean)
    compare(conv, torch.zeros(1, 2, 32, 32), tmp_path / "m.onnx")


def test_an_exported_transformer(tmp_path):
    torch = pytest.importorskip("torch")
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True)
    module = torch.nn.Sequential(torch.nn.TransformerEncoder(layer, 2), torch.nn.Linear(16, 3))
    for parameter in module.parameters():  # the exporter would join weights that are equal
        torch.nn.init.normal_(parameter)
    network = to_network(export(module, torch.zeros(2, 5, 16), tmp_path / "m.onnx")).network
    found = {x.name: x.activation.name for x in network}
    base = [f"0.layers.{i}" for i in range(2)]
    # The exporter multiplies query, key and value in one go.
    expected = {}
    for b in base:
        expected |= {f"{b}.self_attn": "identity", f"{b}.self_attn.out_proj": "identity"}
        expected |= {f"{b}.linear1": "gelu", f"{b}.linear2": "identity"}
    assert found == {**expected, "1": "identity"}
    assert network.sources["0.layers.1.linear2"] == ("0.layers.1.linear1",)


W, B = rng.normal(size=(3, 4)), rng.normal(size=4)
V = rng.normal(size=(5, 4))
HALF = np.float32(0.5)


def test_gemm_matmul_and_add_by_hand(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Add", ["bias", "a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node(
            "Gemm", ["c", "second.weight", "c2"], ["d"], transB=1, alpha=2.0, beta=3.0
        ),
        helper.make_node("Sigmoid", ["d"], ["e"]),
        helper.make_node("Mul", ["d", "e"], ["y"]),
    ]
    weights = {"first": W, "bias": B, "second.weight": V, "c2": 0.25}
    first, second = to_network(graph(tmp_path / "m.onnx", nodes, weights)).network
    assert (first.name, first.activation.name) == ("first", "relu")
    assert (second.name, second.activation.name) == ("second", "silu")
    np.testing.assert_allclose(first.weight, W.T, rtol=1e-6)
    np.testing.assert_allclose(first.bias, B, rtol=1e-6)
    np.testing.assert_allclose(second.weight, 2 * V, rtol=1e-6)
    np.testing.assert_allclose(second.bias, np.full(5, 0.75))


def test_left_products_constants_and_names(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0]),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(W.T.astype("f4"))),
        helper.make_node("MatMul", ["k", "xt"], ["a"], name="/encoder/dense/MatMul"),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Split", ["b", "sizes"], ["c", "d"], axis=0),
        helper.make_node("Concat", ["c", "d"], ["e"], axis=0),
        helper.make_node("Gemm", ["e", "onnx::MatMul_3"], ["f"], transA=1, transB=1),
        helper.make_node("Transpose", ["e"], ["g"], perm=[1, 0]),
        helper.make_node("MatMul", ["g", "onnx::MatMul_4"], ["h"]),
        helper.make_node("Dropout", ["h"], ["y"]),
    ]
    weights = {"onnx::MatMul_3": V, "onnx::MatMul_4": V.T}
    path = graph(tmp_path / "m.onnx", nodes, weights)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3]), "sizes"))
    onnx.save(model, path)
    network = to_network(path).network
    assert network.names == ("encoder.dense", "MatMul_8")
    np.testing.assert_allclose(network[0].weight, W.T, rtol=1e-6)
    assert network[0].activation.name == "tanh"
    assert network.straight == {"MatMul_8"}


def test_what_cannot_be_analysed_is_listed(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a"]),
        helper.make_node("Tan", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w2"], ["c"]),
        helper.make_node("PRelu", ["c", "slopes"], ["d"]),
        helper.make_node("Cast", ["d"], ["i"], to=TensorProto.INT64),
        helper.make_node("Clip", ["i", "zero", "zero"], ["j"]),
        helper.make_node("Gather", ["table", "j"], ["y"]),
    ]
    square = rng.normal(size=(3, 3))
    weights = {"w1": square, "w2": square, "slopes": [0.1, 0.2, 0.3], "table": square}
    path = graph(tmp_path / "m.onnx", nodes, weights)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0), "zero"))
    onnx.save(model, path)
    with pytest.warns(UserWarning, match=r"w2: .*PRelu, Cast, Clip.*constant.*table: an embedding"):
        (tan,) = to_network(path).network
    assert tan.name == "w1" and tan.activation.name == "Tan"
    # One number for all, wherever the path leads: nothing of the input goes through.
    none = helper.make_node("Mul", ["d", "zero"], ["y"])
    weights = {"w2": square, "slopes": [0.1, 0.2, 0.3], "zero": 0.0}
    graph(path, [helper.make_node("Identity", ["x"], ["b"]), *nodes[2:4], none], weights)
    with pytest.raises(ValueError, match=r"m\.onnx.*no layer.*w2.*constant"):
        to_network(path)


def test_slopes_that_are_all_the_same(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("PRelu", ["a", "s"], ["y"]),
    ]
    path = graph(tmp_path / "m.onnx", nodes, {"w": W, "s": np.full(4, 0.25)})
    assert to_network(path).network[0].activation.name == "leaky_relu(0.25)"


def test_sizes_that_the_graph_leaves_open(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["y"]),
    ]
    weights = {"w": rng.normal(size=(2, 1, 3, 3))}
    path = graph(tmp_path / "m.onnx", nodes, weights, ("n", 1, "height", "width"))
    assert to_network(path).network[0].pool.window == (2, 2)
    six = to_network(path, ExtractOptions(input_size=(1, 1, 8, 6))).network
    assert six[0].pool.window == (6, 4)
    with pytest.raises(ValueError, match="leave activation out"):
        to_network(path, ExtractOptions("relu"))


def test_bad_graphs(tmp_path):
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"])]

    def problem(*words):
        with pytest.raises(ValueError, match=r"m\.onnx") as caught:
            to_network(path)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)

    for content in (b"\x00" * 100, b"hello, world", b"{}", rng.bytes(3000)):
        path.write_bytes(content)
        problem()
    graph(path, nodes, {"w": W})
    whole = path.read_bytes()
    assert len(to_network(path).network) == 1
    for keep in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        problem()
    model = onnx.load_model_from_string(whole)
    model.graph.initializer[0].dims[0] = 300
    path.write_bytes(model.SerializeToString())
    problem("w")
    model.graph.initializer[0].dims[0] = 4
    path.write_bytes(model.SerializeToString())
    problem()
    graph(path, [helper.make_node("Gemm", ["x", "w"], ["y"])], {"w": W.T})
    problem()
    graph(path, [helper.make_node("Relu", ["x"], ["y"])], {})
    problem("no layer")
    graph(path, [helper.make_node("Gemm", ["nowhere", "w"], ["y"])], {"w": W})
    problem()
    # Weights beside the file, and gone.
    graph(path, nodes, {"w": rng.normal(size=(3, 400))})
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="m.data", size_threshold=0
    )
    assert to_network(path).network[0].shape == (400, 3)
    data = (tmp_path / "m.data").read_bytes()
    (tmp_path / "m.data").write_bytes(data[:-10])
    problem()
    (tmp_path / "m.data").unlink()
    problem()


def test_onnx_is_imported_for_graphs_alone():
    code = (
        "import sys, numpy as np; from eiplane.extract import to_network; to_network(np.eye(2)); "
        "assert 'onnx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
