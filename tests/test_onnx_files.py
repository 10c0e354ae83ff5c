"""ONNX graphs as files have them: quantised, with branches, several inputs, open sizes, data."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from found import layers, ranges  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx_graphs import (  # noqa: E402
    FLOAT,
    INT64,
    between,
    check,
    extracted,
    node,
    saved,
)

import eiplane  # noqa: E402
from eiplane.extract.onnx.functions import FUNCTIONS, NodeFunction  # noqa: E402
from eiplane.extract.onnx.kernels import conv, conv_transpose, pool  # noqa: E402

rng = np.random.default_rng(5)
W, V, B = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=4)


def tensors(**arrays):
    """Initializers of any type."""
    return [numpy_helper.from_array(a, n) for n, a in arrays.items()]


def with_tensors(path, **arrays):
    made = onnx.load(path)
    made.graph.initializer.extend(tensors(**arrays))
    onnx.save(made, path)
    return path


# -- quantisation


def quantised(w, axis):
    """int8 numbers and their steps, one for each slice along an axis."""
    scale = np.abs(w).max(axis=1 - axis) / 127
    sides = (-1, 1) if axis == 0 else (1, -1)
    return np.rint(w / scale.reshape(sides)).astype(np.int8), scale.astype(np.float32)


def test_quantised_weights_and_activations(tmp_path):
    """QDQ: weights are what they stand for, activations staircases."""
    q, scale = quantised(W, 1)
    nodes = [
        node("DequantizeLinear", "fc.weight_quantized fc.weight_scale fc.weight_zero", "w", axis=1),
        node("QuantizeLinear", "x sx zx", "xq"), node("DequantizeLinear", "xq sx zx", "xd"),
        node("Gemm", "xd w b", "z"), node("Relu", "z", "r"),
        node("QuantizeLinear", "r sr zr", "rq"), node("DequantizeLinear", "rq sr zr", "rd"),
        node("MatMul", "rd v", "y"),
    ]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, {"b": B, "v": V, "sx": 1 / 255, "sr": 0.25})
    with_tensors(
        path, **{"fc.weight_quantized": q, "fc.weight_scale": scale,
                 "fc.weight_zero": np.zeros(4, np.int8)},
        zx=np.uint8(0), zr=np.uint8(0),
    )  # fmt: skip
    found = extracted(path, strict=True)
    layer = layers(found)["fc"]
    np.testing.assert_allclose(layer.weight, (q * scale).T, rtol=1e-6)
    z = np.array([-1.0, 0.1, 0.2, 0.4, 1.0, 1e3])
    np.testing.assert_allclose(layer.activation(z), [0, 0, 0.25, 0.5, 1.0, 0.25 * 255])
    low, high, source = ranges(found)["fc"]
    assert (low, high) == pytest.approx((0.0, 1.0)) and source == "interval"
    check(path, "fc", before="xd", after="rd")


@pytest.mark.parametrize("opset", [10, 13, 17, 21])
@pytest.mark.parametrize("by_row", [False, True])
def test_grids_of_every_opset(opset, by_row, tmp_path):
    """As onnxruntime writes them: int8 weights, an int32 bias, the input on a grid of uint8."""
    if by_row and opset < 13:
        pytest.skip("one scale for all is all that there was")
    own = np.random.default_rng(7)
    w = own.integers(-127, 128, (3, 4)).astype(np.int8)
    b = own.integers(-500, 500, 4).astype(np.int32)
    scale = own.uniform(0.01, 0.02, 4 if by_row else ()).astype(np.float32)
    step, zero = np.float32(0.03), np.uint8(20)
    along = {"axis": 1} if by_row else {}
    nodes = [
        node("QuantizeLinear", "x step zero", "q"), node("DequantizeLinear", "q step zero", "d"),
        node("DequantizeLinear", "w scale", "wd", **along),
        node("DequantizeLinear", "b bscale", "bd", **({"axis": 0} if by_row else {})),
        node("Gemm", "d wd bd", "z"), node("Relu", "z", "y"),
    ]  # fmt: skip
    weights = {"w": w, "b": b, "scale": scale, "bscale": scale * step, "step": step, "zero": zero}
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights, opset=opset))
    assert not found.skipped
    (layer,) = found.network
    x = own.uniform(-2, 6, (30, 3))
    grid = (np.clip(np.rint(x.astype(np.float32) / step) + 20.0, 0, 255) - 20.0) * float(step)
    real = (w.astype(float) * scale, b * (scale.astype(float) * float(step)))
    np.testing.assert_allclose(layer(grid), np.maximum(grid @ real[0] + real[1], 0), atol=1e-5)


def test_quantised_products_in_one_node(tmp_path):
    kernel = rng.integers(-128, 128, size=(3, 2, 2, 2)).astype(np.int8)
    step = (rng.random(3) / 50 + 0.01).astype(np.float32)
    nodes = [node("QuantizeLinear", "x sx zx", "q"),
             node("QLinearConv", "q sx zx k sk zk sy zy bias", "o"),
             node("DequantizeLinear", "o sy zy", "y")]  # fmt: skip
    path = saved(tmp_path / "c.onnx", nodes, {"sx": 1 / 255, "sy": 0.05},
                 [("x", FLOAT, (1, 2, 3, 3))])  # fmt: skip
    with_tensors(path, k=kernel, sk=step, zk=np.zeros(3, np.int8), zx=np.uint8(0),
                 zy=np.uint8(100), bias=np.array([40, -30, 20], np.int32))  # fmt: skip
    (layer,) = extracted(path, strict=True).network
    assert layer.name == "k"
    np.testing.assert_allclose(layer.weight, kernel * step[:, None, None, None], rtol=1e-6)
    x = np.rint(rng.random((1, 2, 2, 2)) * 255) / 255
    y = between(path, "x", "y")(x).reshape(-1)
    np.testing.assert_allclose(layer(x.reshape(1, -1))[0], y, atol=0.05 + 1e-6)
    matrix = rng.integers(0, 256, size=(3, 4)).astype(np.uint8)
    nodes = [node("QuantizeLinear", "x sx zx", "q"), node("MatMulInteger", "q w zx zw", "i"),
             node("Cast", "i", "f", to=FLOAT), node("Mul", "f s", "z"),
             node("Tanh", "z", "y")]  # fmt: skip
    path = saved(tmp_path / "i.onnx", nodes, {"sx": 1 / 255, "s": 1 / 255**2})
    with_tensors(path, w=matrix, zx=np.uint8(0), zw=np.uint8(128))
    (layer,) = extracted(path, strict=True).network
    np.testing.assert_allclose(layer.weight * 255, (matrix.T - 128.0) / 255, rtol=1e-6)
    assert layer.activation.name == "tanh"


def test_grids_that_depend_on_the_data_and_are_not_scaled_back_are_not_followed(tmp_path):
    matrix = rng.integers(-9, 9, size=(3, 4)).astype(np.int8)
    # The numbers are whole ones less their zero point, wherever the data lie.
    for kind, wanted, listed in (("MatMul", -255.0, ["v0"]), ("Relu", 0.0, [])):
        nodes = [
            node(kind, "x v0" if listed else "x", "z"),
            node("DynamicQuantizeLinear", "z", "q s zero"),
            node("MatMulInteger", "q w zero", "i"),
            node("Cast", "i", "y", to=FLOAT),
        ]
        path = saved(tmp_path / f"{kind}.onnx", nodes, {"v0": rng.normal(size=(3, 3))})
        with_tensors(path, w=matrix)
        found = extracted(path)
        assert list(layers(found)) == ["w"]
        assert ranges(found)["w"] == (wanted, 255.0, "interval")
        said = {s.name: s.reason for s in found.skipped if s.name in listed}
        assert list(said) == listed and all("depends on the data" in r for r in said.values())


# -- branches


def branches():
    def graph(name, kind):
        return helper.make_graph(
            [node("MatMul", "z inner_" + name, "p_" + name), node(kind, "p_" + name, "o_" + name)],
            name, [], [helper.make_tensor_value_info("o_" + name, FLOAT, (None, 4))],
            tensors(**{"inner_" + name: rng.normal(size=(4, 4)).astype(np.float32)}),
        )  # fmt: skip

    return {"then_branch": graph("yes", "Relu"), "else_branch": graph("no", "Tanh")}


@pytest.mark.parametrize("taken", [True, False])
def test_a_constant_if_is_its_branch(taken, tmp_path):
    nodes = [node("MatMul", "x w", "z"), node("If", "cond", "h", **branches()),
             node("MatMul", "h v", "y")]  # fmt: skip
    path = with_tensors(saved(tmp_path / "m.onnx", nodes, {"w": W, "v": V}), cond=np.array(taken))
    found = extracted(path, strict=True)
    name = "inner_yes" if taken else "inner_no"
    assert list(layers(found)) == ["w", name, "v"]
    assert layers(found)[name].activation.name == ("relu" if taken else "tanh")
    # A condition on a shape is constant too.
    nodes = [node("Shape", "x", "s"), node("Gather", "s one", "n"),
             node("Equal", "n three", "cond"), *nodes]  # fmt: skip
    path = saved(tmp_path / "n.onnx", nodes, {"w": W, "v": V, "one": np.array(1),
                                              "three": np.array(3 if taken else 4)})  # fmt: skip
    assert layers(extracted(path, strict=True))[name].activation.name == (
        "relu" if taken else "tanh"
    )


def test_what_is_inside_other_graphs_is_refused_by_name(tmp_path):
    nodes = [node("MatMul", "x w", "z"), node("ReduceSum", "z", "s", keepdims=0),
             node("Greater", "s zero", "cond"), node("If", "cond", "h", **branches()),
             node("MatMul", "h v", "y")]  # fmt: skip
    path = saved(tmp_path / "if.onnx", nodes, {"w": W, "v": V, "zero": 0.0})
    found = extracted(path)
    reasons = {s.name: s.reason for s in found.skipped}
    assert list(layers(found)) == ["v"]
    assert set(reasons) == {"w", "inner_yes", "inner_no"}
    assert "If" in reasons["w"] and "If" in reasons["inner_no"]
    with pytest.raises(ValueError, match="strict"):
        extracted(path, strict=True)
    body = helper.make_graph(
        [node("MatMul", "h u", "a"), node("Add", "a e", "c"), node("Tanh", "c", "g"),
         node("Identity", "g", "out")],
        "body",
        [helper.make_tensor_value_info(n, FLOAT, (1, 4)) for n in ("h", "e")],
        [helper.make_tensor_value_info(n, FLOAT, (1, 4)) for n in ("g", "out")],
    )  # fmt: skip
    nodes = [node("MatMul", "x w", "z"),
             node("Scan", "h0 z", "last all", num_scan_inputs=1, body=body),
             node("MatMul", "last v", "y")]  # fmt: skip
    path = saved(tmp_path / "scan.onnx", nodes,
                 {"w": W, "v": V, "u": rng.normal(size=(4, 4)), "h0": np.zeros((1, 4))},
                 [("x", FLOAT, (5, 1, 3))])  # fmt: skip
    found = extracted(path)
    reasons = {s.name: s.reason for s in found.skipped}
    assert list(layers(found)) == ["v"] and ranges(found)["v"][2] == "assumed"
    assert "Scan" in reasons["w"] and "Scan" in reasons["u"]


def looped(count, inside=()):
    """A loop that doubles what it has, so many times."""
    kinds = (("i", INT64, ()), ("go", TensorProto.BOOL, ()), ("h", FLOAT, (1, 4)))
    body = helper.make_graph(
        [*inside, node("Add", "h h", "twice"), node("Identity", "go", "on")], "body",
        [helper.make_tensor_value_info(*k) for k in kinds],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, ()),
         helper.make_tensor_value_info("twice", FLOAT, (1, 4))],
    )  # fmt: skip
    return [node("MatMul", "x w", "z"), helper.make_node("Loop", [count, "yes", "z"], ["h1"],
                                                         body=body),
            node("MatMul", "h1 v", "y")]  # fmt: skip


def test_loops_are_refused_and_never_run_for_ever(tmp_path):
    weights = {"w": W, "v": V, "n": np.array(3), "huge": np.array(1 << 40)}
    path = with_tensors(saved(tmp_path / "m.onnx", looped("n"), weights), yes=np.array(True))
    found = extracted(path)
    assert list(layers(found)) == ["v"] and ranges(found)["v"][2] == "assumed"
    assert [(s.name, "Loop" in s.reason) for s in found.skipped] == [("w", True)]
    for count in ("huge", ""):
        path = with_tensors(saved(path, looped(count), weights), yes=np.array(True))
        with pytest.raises(ValueError, match=r"Loop is no operator .* ends soon"):
            extracted(path)
    inner = looped("n")[1]
    inner.input[2], inner.output[0] = "h", "h2"
    path = with_tensors(saved(path, looped("n", [inner]), weights), yes=np.array(True))
    with pytest.raises(ValueError, match=r"Loop is no operator .* ends soon"):
        extracted(path)


# -- inputs


def two_inputs(path):
    nodes = [node("MatMul", "a w", "z"), node("Relu", "z", "r"), node("Gather", "table ids", "e"),
             node("Add", "r e", "s"), node("MatMul", "s v", "y")]  # fmt: skip
    weights = {"w": W, "v": V, "table": rng.normal(size=(6, 4))}
    return saved(path, nodes, weights, [("a", FLOAT, ("n", 3)), ("ids", INT64, ("n",))])


def test_several_inputs(tmp_path):
    path = two_inputs(tmp_path / "m.onnx")
    a, ids = rng.random((5, 3)), np.array([0, 5, 2, 1, 1])
    wanted = extracted(path)
    assert list(layers(wanted)) == ["w", "v"]
    for data in ((a, ids), {"ids": ids, "a": a}, [(a, ids)], iter([{"a": a, "ids": ids}])):
        found = extracted(path, input_data=data)
        assert [x.name for x in found.network] == ["w", "v"]
    assert list(layers(extracted(path, input_size=(7, 3)))) == ["w", "v"]
    for data, message in (
        ((a,), "no 'ids'"), ({"a": a, "ids": ids, "b": a}, "'b' besides"),
        ((a, ids, ids), "has 3 arrays"), ((a[:, :2], ids), r"shape \(5, 2\).*takes \(n, 3\)"),
        ((a, np.array(["x"] * 5)), "not numbers"), ([], "empty"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            extracted(path, input_data=data)


def test_sizes_of_minus_one_and_names(tmp_path):
    kernel = rng.normal(size=(2, 1, 3, 3))
    nodes = [node("Conv", "x k", "z"), node("Relu", "z", "r"), node("GlobalAveragePool", "r", "y")]
    path = saved(tmp_path / "m.onnx", nodes, {"k": kernel}, [("x", FLOAT, (-1, 1, -1, -1))])
    assert extracted(path).network[0].pool.window == (2, 2)
    assert extracted(path, input_size=(1, 8, 6)).network[0].pool.window == (6, 4)
    assert extracted(path, input_size=(3, 1, 8, 6)).network[0].pool.window == (6, 4)
    for size in ((8, 6), (1, 1, 1, 8, 6)):
        with pytest.raises(ValueError, match="does not fit the input 'x'"):
            extracted(path, input_size=size)
    with pytest.raises(ValueError, match=r"input_size=\(1, 1, 2, 2\)|shape|input_size"):
        extracted(path, input_size=(1, 1, 2, 2))
    # A larger image than the first guess: the next one is tried.
    big = saved(tmp_path / "b.onnx", nodes, {"k": rng.normal(size=(2, 1, 7, 7))},
                [("x", FLOAT, ("batch", 1, "height", "width"))])  # fmt: skip
    assert extracted(big).network[0].pool.window == (26, 26)


# -- data


def test_ranges_from_data(tmp_path):
    path = two_inputs(tmp_path / "m.onnx")
    batches = [(3 * rng.random((50, 3)) - 1, rng.integers(0, 6, 50)) for _ in range(3)]
    result = eiplane.analyze(path, ranges="data", input_data=batches, quantiles=(0, 1),
                             measures="sensitivity", strict=False)  # fmt: skip
    evaluator = ReferenceEvaluator(onnx.load(path))
    made = onnx.load(path)
    made.graph.output.extend(
        [helper.make_tensor_value_info(n, FLOAT, (None, None)) for n in ("r", "s")]
    )
    evaluator = ReferenceEvaluator(made)
    outs = [evaluator.run(None, {"a": a.astype(np.float32), "ids": i}) for a, i in batches]
    y, r, s = (np.concatenate([o[k] for o in outs]) for k in range(3))
    everything = np.concatenate([a for a, _ in batches]).astype(np.float32)
    expected = {"w": (everything, r), "v": (s, y)}
    for name, (before, after) in expected.items():
        layer = result[name]
        assert layer.range_source == "data"
        assert layer.in_range == pytest.approx((before.min(), before.max()), rel=1e-5)
        assert layer.out_range == pytest.approx((after.min(), after.max()), rel=1e-5)
    with pytest.raises(ValueError, match=r"ranges='data' takes.*input_data"):
        eiplane.analyze(path, ranges="data")
    broken = [batches[0], (np.full((2, 3), np.nan), np.array([0, 1]))]
    with pytest.raises(ValueError, match=r"layer 'w': its inputs hold .* NaN.*batch 2"):
        eiplane.analyze(path, ranges="data", input_data=broken)


def test_data_in_parts_of_the_graph_s_own_batch(tmp_path):
    nodes = [node("MatMul", "x w", "z"), node("Relu", "z", "r"), node("Reshape", "r s", "f"),
             node("MatMul", "f v", "y")]  # fmt: skip
    weights = {"w": W, "v": rng.normal(size=(8, 2)), "s": np.array([1, 8])}
    path = saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, (2, 3))])
    x = rng.normal(size=(10, 3))
    seen = extracted(path, input_data=x, quantiles=(0.0, 1.0)).network.seen
    assert seen["w"].inputs == pytest.approx((x.min(), x.max()), rel=1e-6)
    hidden = np.maximum(x.astype(np.float32) @ W.astype(np.float32), 0)
    assert seen["v"].inputs == pytest.approx((0.0, hidden.max()), rel=1e-5)
    with pytest.raises(ValueError, match="has 5 entries, the graph takes 2 at once"):
        extracted(path, input_data=x[:5])


def test_ranges_from_data_on_the_command_line(tmp_path):
    nodes = [node("Gemm", "x w b", "z"), node("Tanh", "z", "t"), node("MatMul", "t v", "y")]
    path = saved(tmp_path / "m.onnx", nodes, {"w": W, "b": B, "v": V})
    x = rng.normal(size=(40, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-m", "eiplane", "analyze", str(path), "--ranges", "data", "--data",
         str(tmp_path / "x.npy"), "--quantiles", "0,1", "--format", "json", "--no-edges"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first = json.loads(done.stdout)["layers"][0]
    assert first["range_source"] == "data"
    assert first["in_range"] == pytest.approx([float(x.min()), float(x.max())], rel=1e-6)


# -- operators of ONNX Runtime


def test_fused_operators_mean_what_they_stand_for(tmp_path):
    own = {"domain": "com.microsoft"}
    weights = {"w": W, "b": B, "v": V, "g": np.full(4, 2.0), "s": np.zeros(4)}
    nodes = [node("MatMul", "x w", "z"), node("BiasGelu", "z b", "h", **own),
             node("MatMul", "h v", "y")]  # fmt: skip
    got = layers(extracted(saved(tmp_path / "m.onnx", nodes, weights | {"g": 1.0, "s": 1.0})))
    assert got["w"].activation.name == "gelu"
    np.testing.assert_allclose(got["w"].offsets(), B, rtol=1e-6)
    nodes = [node("FusedMatMul", "x wt", "z", transB=1, alpha=0.5, **own),
             node("QuickGelu", "z", "y", alpha=1.702, **own)]  # fmt: skip
    (layer,) = extracted(saved(tmp_path / "f.onnx", nodes, {"wt": W.T}), strict=True).network
    assert layer.activation.name == "quick_gelu"
    z = layer(np.eye(3))  # the activation of the scaled product
    half = 0.5 * W
    np.testing.assert_allclose(z, half / (1 + np.exp(-1.702 * half)), rtol=1e-5)
    nodes = [node("MatMul", "x w", "z"), node("SkipLayerNormalization", "z q g s", "n", **own),
             node("MatMul", "n v", "y")]  # fmt: skip
    weights["q"] = np.zeros((1, 4))
    found = extracted(saved(tmp_path / "s.onnx", nodes, {k: weights[k] for k in "wvgqs"}))
    low, high, source = ranges(found)["v"]
    assert source == "norm" and (low, high) == pytest.approx((-2 * 3**0.5, 2 * 3**0.5))


def test_a_fused_node_that_is_not_read_has_the_shape_that_the_graph_declares(tmp_path):
    nodes = [node("MatMul", "x w", "z"),
             node("Attention", "z qkv bias", "a", domain="com.microsoft", num_heads=2),
             node("MatMul", "a v", "y")]  # fmt: skip
    weights = {"w": W, "qkv": rng.normal(size=(4, 12)), "bias": np.zeros(12), "v": V}
    path = saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, ("batch", "length", 3))])
    made = onnx.load(path)
    made.graph.value_info.append(helper.make_tensor_value_info("a", FLOAT, ("batch", "length", 4)))
    onnx.save(made, path)
    found = extracted(path)
    reasons = {s.name: s.reason for s in found.skipped}
    assert list(layers(found)) == ["v"] and ranges(found)["v"][2] == "assumed"
    assert set(reasons) == {"w", "qkv"} and all("Attention" in r for r in reasons.values())


# -- hostile


def test_a_file_that_asks_for_more_than_there_is(tmp_path):
    path = saved(tmp_path / "m.onnx", [node("MatMul", "x w", "y")], {"w": W},
                 [("x", FLOAT, (1 << 20, 1 << 20, 3))])  # fmt: skip
    with pytest.raises(ValueError, match="input 'x' declares"):
        extracted(path)
    made = onnx.load(saved(path, [node("MatMul", "x w", "y")], {"w": W}))
    made.graph.initializer[0].dims[:] = [1 << 40, 4]
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=r"'w'.*declares"):
        extracted(path)
    # A constant that no node needs to make.
    nodes = [node("ConstantOfShape", "shape", "huge"), node("Add", "x huge", "s"),
             node("MatMul", "s w", "y")]  # fmt: skip
    path = saved(path, nodes, {"w": W, "shape": np.array([1 << 12, 1 << 20, 3])})
    with pytest.raises(ValueError, match=r"m\.onnx.*makes 12884901888 numbers"):
        extracted(path)
    nodes = [node("Expand", "x shape", "huge"), node("MatMul", "huge w", "y")]
    path = saved(path, nodes, {"w": W, "shape": np.array([1 << 12, 1 << 20, 3])})
    with pytest.raises(ValueError, match=r"m\.onnx.*numbers"):
        extracted(path)


def test_graphs_that_make_no_sense(tmp_path):
    path = tmp_path / "m.onnx"
    for nodes, weights in (
        ([node("MatMul", "x w", "y")], {"w": W.T}),
        ([node("Conv", "x w", "y")], {"w": W}),
        ([node("Reshape", "x s", "r"), node("MatMul", "r w", "y")],
         {"w": W, "s": np.array([7, 11])}),
        ([node("Gather", "x i", "r", axis=9), node("MatMul", "r w", "y")],
         {"w": W, "i": np.array([0])}),
        ([node("Gather", "x i", "r", axis=1), node("MatMul", "r w", "y")],
         {"w": W, "i": np.array([100, 0, 0])}),
        ([node("LSTM", "x w w", "y", hidden_size=4)], {"w": W}),
        ([node("Einsum", "x w", "y", equation="ab,cd,ef->g")], {"w": W}),
        ([node("Softmax", "x", "y")], {}),
    ):  # fmt: skip
        saved(path, nodes, weights)
        with pytest.raises(ValueError, match=r"m\.onnx") as caught:
            extracted(path)
        assert "\n" not in str(caught.value)


def test_graphs_changed_at_random(tmp_path):
    """Whatever is changed in a file, it is read or refused by name, soon.

    ``EIPLANE_RANDOM_GRAPHS=5000`` changes as many.
    """
    rng, tries = np.random.default_rng(7), int(os.environ.get("EIPLANE_RANDOM_GRAPHS", "100"))
    nodes = [node("Conv", "x k", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"),
             node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
             node("Reshape", "p s", "f"), node("Gemm", "f w b", "g", transB=1),
             node("LayerNormalization", "g one zero", "n"), node("MatMul", "n v", "y")]  # fmt: skip
    weights = {"k": rng.normal(size=(2, 1, 3, 3)), "s": np.array([1, 8]), "v": V,
               "w": rng.normal(size=(4, 8)), "b": B, "one": np.ones(4),
               "zero": np.zeros(4)}  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, (1, 1, 4, 4))])
    whole = path.read_bytes()
    assert list(layers(extracted(path))) == ["k", "w", "v"]
    read = 0
    for k in range(tries):
        made = bytearray(whole)
        if k % 2:
            for _ in range(int(rng.integers(1, 4))):
                made[int(rng.integers(len(made)))] = int(rng.integers(256))
        else:
            changed = onnx.load_model_from_string(whole)
            part = changed.graph.node[int(rng.integers(len(nodes)))]
            choice = int(rng.integers(4))
            if choice == 0:
                part.op_type = str(rng.choice([*FUNCTIONS, "Split", "LSTM", "Einsum", "Concat"]))
            elif choice == 1 and part.attribute:
                part.attribute[0].ints[:] = [int(n) for n in rng.integers(-3, 9, 4)]
            elif choice == 2:
                part.input[int(rng.integers(len(part.input)))] = str(rng.choice([*weights, ""]))
            else:
                tensor = changed.graph.initializer[int(rng.integers(len(weights)))]
                tensor.dims[:] = [int(n) for n in rng.integers(-1, 9, 2)]
            made = changed.SerializeToString()
        path.write_bytes(bytes(made))
        try:
            extracted(path)
            read += 1
        except ValueError as error:
            assert "m.onnx" in str(error)
            assert "\n" not in str(error)
    assert 0 < read < tries


# -- what is computed here, against the reference implementation


def reference(kind, arrays, opset=20, outputs=1, **attributes):
    names = [f"i{k}" for k in range(len(arrays))]
    outs = [f"o{k}" for k in range(outputs)]
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, names, outs, **attributes)], "g",
            [helper.make_tensor_value_info(n, FLOAT, None) for n in names],
            [helper.make_tensor_value_info(n, FLOAT, None) for n in outs],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )  # fmt: skip
    return ReferenceEvaluator(made).run(None, dict(zip(names, arrays, strict=True)))


TWO = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "PRelu", "Greater", "GreaterOrEqual",
       "Less", "LessOrEqual", "Equal"]  # fmt: skip
POSITIVE = ["Log", "Sqrt", "Acosh", "Pow"]
OTHERS = ["Where", "And", "Or", "Xor", "Not", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot",
          "Cast", "QuantizeLinear", "DequantizeLinear", "Clip", "Mod", "FastGelu", "QuickGelu",
          "Asin", "Acos", "Atanh", "Swish"]  # fmt: skip
ONE = sorted(set(FUNCTIONS) - {*TWO, *POSITIVE, *OTHERS})


@pytest.mark.parametrize("kind", [*ONE, *TWO, *POSITIVE, "Asin", "Acos", "Atanh", "Mod", "Clip"])
def test_functions_are_the_reference_s(kind):
    x, y = rng.normal(size=(5, 7)) * 3, rng.normal(size=(5, 7))
    if kind in POSITIVE:
        x = np.abs(x) + 1.0
    if kind in ("Asin", "Acos", "Atanh"):
        x = np.tanh(x)
    arrays = [x, y] if kind in TWO or kind in ("Pow", "Mod") else [x]
    attributes = {"fmod": 1} if kind == "Mod" else {}
    if kind == "Clip":
        arrays = [x, np.float64(-1.0), np.float64(0.5)]
    (expected,) = reference(kind, [np.asarray(a, np.float64) for a in arrays], **attributes)
    ours = NodeFunction(kind, attributes, (True,) * len(arrays))([np.asarray(a) for a in arrays])
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7)


def test_convolutions_and_pools_are_the_reference_s():
    x = rng.normal(size=(2, 4, 7, 6)).astype(np.float32)
    for attributes in (
        {}, {"strides": [2, 1], "pads": [1, 0, 2, 1]}, {"dilations": [2, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"auto_pad": "SAME_LOWER"},
        {"group": 2}, {"group": 4, "pads": [1, 1, 1, 1]},
    ):  # fmt: skip
        weight = rng.normal(size=(8, 4 // attributes.get("group", 1), 3, 2)).astype(np.float32)
        bias = rng.normal(size=8).astype(np.float32)
        (expected,) = reference("Conv", [x, weight, bias], **attributes)
        ours = conv(x, weight, bias, attributes)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    for attributes in ({}, {"strides": [2, 3]}, {"pads": [1, 0, 1, 1], "strides": [2, 2]},
                       {"dilations": [2, 1], "output_padding": [0, 0]}):  # fmt: skip
        weight = rng.normal(size=(4, 3, 3, 2)).astype(np.float32)
        (expected,) = reference("ConvTranspose", [x, weight], **attributes)
        np.testing.assert_allclose(conv_transpose(x, weight, None, attributes), expected, atol=1e-4)
    for kind, name in (("MaxPool", "max"), ("AveragePool", "mean")):
        for attributes in ({}, {"strides": [2, 2]}, {"pads": [1, 0, 1, 0], "strides": [2, 1]},
                           {"auto_pad": "SAME_UPPER", "strides": [2, 2]}):  # fmt: skip
            (expected,) = reference(kind, [x], kernel_shape=[3, 2], **attributes)
            ours = pool(x, name, [3, 2], attributes)
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    (expected,) = reference("AveragePool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                            count_include_pad=1)  # fmt: skip
    ours = pool(x, "mean", [3, 3], {"pads": [1, 1, 1, 1], "count_include_pad": 1})
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_grouped_transposed_convolutions_are_several():
    """The reference implementation has no groups here; the definition by halves."""
    x = rng.normal(size=(1, 4, 5)).astype(np.float32)
    weight = rng.normal(size=(4, 3, 2)).astype(np.float32)
    ours = conv_transpose(x, weight, None, {"group": 2, "strides": [2]})
    for g in range(2):
        (half,) = reference(
            "ConvTranspose", [x[:, 2 * g : 2 * g + 2], weight[2 * g : 2 * g + 2]], strides=[2]
        )
        np.testing.assert_allclose(ours[:, 3 * g : 3 * g + 3], half, atol=1e-5)


def test_types_besides_single_precision(tmp_path):
    for kind, dtype in ((TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64)):
        nodes = [
            node("MatMul", "x w", "z"),
            node("Relu", "z", "r"),
            node("Cast", "r", "y", to=FLOAT),
        ]
        path = saved(tmp_path / "m.onnx", nodes, {}, [("x", kind, (None, 3))])
        with_tensors(path, w=W.astype(dtype))
        (layer,) = extracted(path, strict=True).network
        assert layer.activation.name == "relu"
        np.testing.assert_array_equal(layer.weight, W.astype(dtype).T)


@pytest.mark.parametrize("beside", [False, True])
def test_weights_that_are_taken_out_of_the_description(beside, tmp_path):
    """Large ones: the layers have their numbers, whichever file those lie in."""
    first, second = rng.normal(size=(300, 200)), rng.normal(size=(200, 100))
    nodes = [node("MatMul", "x w", "z"), node("Relu", "z", "r"), node("MatMul", "r v", "y")]
    path = saved(tmp_path / "m.onnx", nodes, {"w": first, "v": second}, [("x", FLOAT, (None, 300))])
    if beside:
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="m.data")
    found = extracted(path, strict=True)
    np.testing.assert_array_equal(layers(found)["w"].weight, first.astype(np.float32).T)
    np.testing.assert_array_equal(layers(found)["v"].weight, second.astype(np.float32).T)
    if beside:
        made = onnx.load(path, load_external_data=False)
        for tensor in made.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "../m.data"
        (tmp_path / "inner").mkdir()
        (tmp_path / "inner" / "m.onnx").write_bytes(made.SerializeToString())
        with pytest.raises(ValueError, match=r"m\.onnx"):
            extracted(tmp_path / "inner" / "m.onnx")
