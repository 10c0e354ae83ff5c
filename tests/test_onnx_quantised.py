"""ONNX as quantisers write it: grids of the data, whole-number products, packed weights."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from found import layers, ranges  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx_graphs import FLOAT, extracted, node, saved  # noqa: E402

OWN = {"domain": "com.microsoft"}
rng = np.random.default_rng(11)
WHOLE = rng.integers(-100, 100, size=(3, 4)).astype(np.int8)
STEPS, ZEROS = rng.uniform(0.01, 0.02, 4).astype(np.float32), np.array([3, -2, 0, 7], np.int8)
BIAS, V = rng.normal(size=4), rng.normal(size=(4, 2))


def with_tensors(path, **arrays):
    made = onnx.load(path)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    onnx.save(made, path)
    return path


def grid(x):
    """DynamicQuantizeLinear, by its definition in ONNX's operator schemas."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    step = np.float32((high - low) / 255)
    zero = np.uint8(np.clip(np.rint(-low / step), 0, 255))
    return np.clip(np.rint(x / step) + zero, 0, 255), step, zero


@pytest.mark.parametrize("zero", [False, True])
def test_a_dynamically_quantised_product_is_the_product(zero, generator, tmp_path):
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("Mul", "s ws", "step"),
             node("MatMulInteger", "q w z" + " wz" * zero, "i"), node("Cast", "i", "f", to=FLOAT),
             node("Mul", "f step", "m"), node("Add", "m b", "h"), node("Relu", "h", "r"),
             node("MatMul", "r v", "y")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, {"b": BIAS, "v": V})
    found = extracted(with_tensors(path, w=WHOLE, ws=STEPS, wz=ZEROS), strict=True)
    layer = layers(found)["w"]
    weight = (WHOLE - ZEROS * zero) * STEPS.astype(float)
    np.testing.assert_allclose(layer.weight, weight.T, rtol=1e-6)
    assert layer.activation.name == "relu"
    assert ranges(found)["w"] == (0.0, 1.0, "given")
    assert ranges(found)["v"][2] == "activation"
    x = generator.random((50, 3)).astype(np.float32)
    q, step, z = grid(x)
    real = np.maximum((q - z) @ (WHOLE.astype(int) - ZEROS * zero) * (step * STEPS) + BIAS, 0)
    # Half a step of the input's grid, by each of the weights.
    assert (np.abs(layer(x) - real) <= 0.5 * step * np.abs(weight).sum(0) + 1e-5).all()


@pytest.mark.parametrize("steps", [1, 4])
def test_a_dynamically_quantised_convolution_is_the_convolution(steps, generator, tmp_path):
    kernel = generator.integers(0, 255, size=(4, 2, 2, 2)).astype(np.uint8)
    scale = STEPS[:steps].reshape(()) if steps == 1 else STEPS.reshape(-1, 1, 1)
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("Mul", "s ws", "step"),
             node("ConvInteger", "q w z wz", "i", pads=[1, 1, 1, 1]),
             node("Cast", "i", "f", to=FLOAT), node("Mul", "f step", "m"),
             node("Tanh", "m", "y")]  # fmt: skip
    path = saved(tmp_path / "c.onnx", nodes, {}, [("x", FLOAT, (1, 2, 3, 3))])
    with_tensors(path, w=kernel, ws=scale.astype(np.float32), wz=np.uint8(120))
    (layer,) = extracted(path, strict=True).network
    assert layer.activation.name == "tanh"
    by = STEPS[:steps].reshape(-1, 1, 1, 1).astype(float)
    np.testing.assert_allclose(layer.weight, (kernel - 120.0) * by, rtol=1e-6)
    x = generator.random((1, 2, 3, 3)).astype(np.float32)
    real = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})[0]
    middle = x[:, :, 1:, 1:].reshape(1, -1)
    assert np.abs(layer(middle)[0] - real[0, :, 2, 2]).max() < 0.02


def test_scales_of_rows_are_no_part_of_a_matrix(tmp_path):
    """Scales of the samples, as many as the matrix has rows: nothing is seen through there."""
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("Mul", "s ws", "step"),
             node("MatMulInteger", "q w z", "i"), node("Cast", "i", "f", to=FLOAT),
             node("Mul", "f step", "m"), node("MatMul", "m v", "y")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, {"v": V}, [("x", FLOAT, (3, 3))])
    found = extracted(with_tensors(path, w=WHOLE, ws=STEPS[:3].reshape(3, 1)))
    np.testing.assert_array_equal(layers(found)["w"].weight, WHOLE.T)  # of the whole numbers


def test_scales_of_places_are_no_part_of_a_convolution(generator, tmp_path):
    """As many scales as outputs, but without axes behind them: they go along the last axis."""
    kernel = generator.integers(0, 255, size=(4, 2, 1, 1)).astype(np.uint8)
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("Mul", "s ws", "step"),
             node("ConvInteger", "q w z", "i"), node("Cast", "i", "f", to=FLOAT),
             node("Mul", "f step", "m"), node("Tanh", "m", "y")]  # fmt: skip
    path = saved(tmp_path / "c.onnx", nodes, {}, [("x", FLOAT, (1, 2, 4, 4))])
    found = extracted(with_tensors(path, w=kernel, ws=STEPS))
    np.testing.assert_array_equal(layers(found)["w"].weight, kernel)


def test_what_a_branch_takes_is_not_replaced(tmp_path):
    """The rounded product is taken once more, by a graph inside a node."""
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["f"], ["t"])], "b", [],
        [onnx.helper.make_tensor_value_info("t", FLOAT, None)],
    )  # fmt: skip
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("Mul", "s ws", "step"),
             node("MatMulInteger", "q w z", "i"), node("Cast", "i", "f", to=FLOAT),
             node("Mul", "f step", "m"),
             node("If", "yes", "k", then_branch=inner, else_branch=inner),
             node("MatMul", "m v", "y"), node("MatMul", "k v2", "y2")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, {"v": V, "v2": V}, outputs=("y", "y2"))
    found = extracted(with_tensors(path, w=WHOLE, ws=STEPS, yes=np.array(True)))
    np.testing.assert_array_equal(layers(found)["w"].weight, WHOLE.T)
    assert sorted(layers(found)) == ["v", "v2", "w"]


def test_a_product_that_onnx_runtime_has_fused_is_the_product(generator, tmp_path):
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"),
             node("MatMulIntegerToFloat", "q w s ws z wz b", "h", **OWN),
             node("DynamicQuantizeMatMul", "h w2 ws2  b2", "g", **OWN), node("Relu", "g", "r"),
             node("MatMul", "r v", "y")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, {"b": BIAS, "v": V, "ws2": 0.01, "b2": BIAS})
    square = generator.integers(-50, 50, size=(4, 4)).astype(np.int8)
    found = extracted(with_tensors(path, w=WHOLE, ws=STEPS, wz=ZEROS, w2=square), strict=True)
    made = layers(found)
    assert [(n, made[n].activation.name) for n in made] == [
        ("w", "identity"), ("w2", "relu"), ("v", "identity")
    ]  # fmt: skip
    x = generator.random((9, 3))
    np.testing.assert_allclose(made["w"](x), x @ ((WHOLE - ZEROS) * STEPS.astype(float)) + BIAS,
                               rtol=1e-5, atol=1e-6)  # fmt: skip
    z = generator.normal(size=(9, 4))
    real = np.maximum(z @ (square * 0.01) + BIAS, 0)
    np.testing.assert_allclose(made["w2"](z), real, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("turned", [0, 1])
def test_qgemm_counts_in_whole_numbers(turned, generator, tmp_path):
    bias = generator.integers(-3000, 3000, 4).astype(np.int32)
    nodes = [node("QuantizeLinear", "x sx zx", "q"),
             node("QGemm", "q sx zx w ws wz c sy zy", "g", transB=turned, alpha=1.0, **OWN),
             node("QLinearLeakyRelu", "g sy zy sy zy", "l", alpha=0.2618, **OWN),
             node("DequantizeLinear", "l sy zy", "f"), node("MatMul", "f v", "y")]  # fmt: skip
    path = saved(tmp_path / "q.onnx", nodes, {"sx": 1 / 255, "sy": 0.02, "v": V})
    with_tensors(path, w=WHOLE.T.copy() if turned else WHOLE, ws=STEPS, wz=ZEROS, c=bias,
                 zx=np.uint8(0), zy=np.uint8(128))  # fmt: skip
    found = extracted(path, strict=True)
    layer = layers(found)["w"]
    x = np.rint(generator.random((200, 3)) * 255) / 255
    whole = np.rint(x * 255) @ (WHOLE.astype(int) - ZEROS) + bias
    z = whole * STEPS.astype(float) / 255
    q = np.clip(np.rint(z / 0.02) + 128, 0, 255)
    leaky = (q - 128) * 0.02
    leaky = np.where(leaky < 0, 0.2618 * leaky, leaky)
    real = (np.clip(np.rint(leaky / 0.02) + 128, 0, 255) - 128) * 0.02
    # At a step single precision decides on which side a number falls.
    assert np.isclose(layer(x), real, atol=1e-6).mean() > 0.99
    assert np.abs(layer(x) - real).max() < 0.0201


def test_nodes_between_grids_are_their_float_ones(generator, tmp_path):
    nodes = [node("MatMul", "x a", "za"), node("Relu", "za", "ha"),
             node("QuantizeLinear", "ha s z", "qa"),
             node("QLinearSigmoid", "qa s z s z", "qs", **OWN),
             node("QLinearAdd", "qa s z qs s z s z", "sum", **OWN),
             node("QLinearMul", "sum s z qs s z s z", "prod", **OWN),
             node("QLinearConcat", "s z prod s z qa s z", "cat", axis=1, **OWN),
             node("DequantizeLinear", "cat s z", "f"), node("MatMul", "f v", "y")]  # fmt: skip
    path = saved(tmp_path / "q.onnx", nodes, {"a": generator.normal(size=(3, 4)), "s": 0.02,
                                              "v": generator.normal(size=(8, 2))})  # fmt: skip
    found = extracted(with_tensors(path, z=np.uint8(20)), strict=True)
    assert list(layers(found)) == ["a", "v"]
    low, high, source = ranges(found)["v"]
    assert source in ("activation", "interval") and low >= -0.4 - 1e-9 and high <= 4.7 + 1e-9


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", [False, True])
def test_weights_of_few_bits(bits, zero, generator, tmp_path):
    n, k, block = 3, 20, 16  # the second block is not full
    whole = generator.integers(0, 1 << bits, size=(n, 2, block))
    per = 8 // bits
    packed = sum(whole[..., j::per] << (bits * j) for j in range(per)).astype(np.uint8)
    scales = generator.uniform(0.1, 0.2, (n, 2)).astype(np.float32)
    zeros = generator.integers(0, 1 << bits, size=(n, 2))
    rows = -(-2 // per)
    wide = np.zeros((n, rows * per), int)
    wide[:, :2] = zeros
    packed_zeros = sum(wide[:, j::per] << (bits * j) for j in range(per)).astype(np.uint8)
    nodes = [node("MatMulNBits", "x w s" + " zp" * zero, "h", K=k, N=n, bits=bits,
                  block_size=block, **OWN), node("Sigmoid", "h", "y")]  # fmt: skip
    path = saved(tmp_path / "n.onnx", nodes, {}, [("x", FLOAT, (None, k))])
    with_tensors(path, w=packed, s=scales.reshape(-1), zp=packed_zeros.reshape(-1))
    (layer,) = extracted(path, strict=True).network
    assert (layer.name, layer.activation.name) == ("w", "sigmoid")
    middle = zeros[..., None] if zero else 1 << (bits - 1)
    real = ((whole - middle) * scales[..., None].astype(float)).reshape(n, -1)[:, :k]
    np.testing.assert_allclose(layer.weight, real, rtol=1e-6, atol=1e-7)


def test_a_node_that_nothing_runs_is_gone_past(generator, tmp_path):
    nodes = [node("MatMul", "x a", "za"), node("Relu", "za", "h"), node("MatMul", "h b", "zb"),
             node("Mystery", "zb m", "q", domain="my.own"), node("MatMul", "q t", "zq"),
             node("MatMul", "h v", "zv"), node("Tanh", "zv", "y1"), node("MatMul", "y1 u", "y"),
             ]  # fmt: skip
    weights = {"a": generator.normal(size=(3, 4)), "v": generator.normal(size=(4, 4)),
               "u": generator.normal(size=(4, 2))}  # fmt: skip
    weights |= {n: generator.normal(size=(4, 4)) for n in "bmt"}
    path = saved(tmp_path / "m.onnx", nodes, weights, outputs=("zq", "y"))
    found = extracted(path)
    made, reasons = layers(found), {s.name: s.reason for s in found.skipped}
    assert {n: made[n].activation.name for n in made} == {"a": "relu", "v": "tanh", "u": "identity"}
    assert set(reasons) == set("bmt") and all("my.own.Mystery" in r for r in reasons.values())
    x = generator.random((6, 3))
    np.testing.assert_allclose(made["a"](x), np.maximum(x @ weights["a"], 0), atol=1e-6)
