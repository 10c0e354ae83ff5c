"""Every kind of fault of extraction, tried on ONNX graphs, against onnx's reference evaluator."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from found import layers, ranges
from onnx_graphs import FLOAT, between, check, extracted, node, saved

from eiplane import Activation
from eiplane.extract.onnx.program import Program

rng = np.random.default_rng(3)
W, V = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
B, SLOPES = rng.normal(size=4), np.array([0.1, -0.3, 0.25, 0.7])
GEMM = node("Gemm", "x w b", "z")
WB = {"w": W, "b": B}

ACTIVATIONS = {
    "Relu": ({}, "relu"), "LeakyRelu": ({"alpha": 0.3}, "leaky_relu(0.3)"),
    "Elu": ({"alpha": 0.7}, "elu(0.7)"), "Celu": ({"alpha": 1.5}, None), "Selu": ({}, "selu"),
    "Sigmoid": ({}, "sigmoid"), "HardSigmoid": ({}, None), "HardSwish": ({}, "hardswish"),
    "Tanh": ({}, "tanh"), "Softplus": ({}, "softplus"), "Softsign": ({}, "softsign"),
    "Gelu": ({}, "gelu"), "Mish": ({}, "mish"), "ThresholdedRelu": ({"alpha": 0.4}, None),
    "Shrink": ({"lambd": 0.3, "bias": 0.1}, None), "Erf": ({}, "erf"), "Abs": ({}, None),
    "Sin": ({}, "sin"), "Atan": ({}, None), "Round": ({}, "round"), "Floor": ({}, "floor"),
    "Sign": ({}, None), "Exp": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations(kind, tmp_path):
    attributes, name = ACTIVATIONS[kind]
    path = saved(tmp_path / "m.onnx", [GEMM, node(kind, "z", "y", **attributes)], WB)
    layer = check(path, "w", in_range=(-2, 2))
    if name is not None:
        assert layer.activation == name


def test_the_other_gelu_and_older_attributes(tmp_path):
    nodes = [GEMM, node("Gelu", "z", "y", approximate="tanh")]
    assert check(saved(tmp_path / "m.onnx", nodes, WB), "w").activation == "gelu_tanh"
    nodes = [GEMM, node("HardSigmoid", "z", "y", alpha=1 / 6, beta=0.5)]
    assert check(saved(tmp_path / "m.onnx", nodes, WB), "w").activation == "hardsigmoid"
    nodes = [node("Gemm", "x w b", "z", broadcast=1), node("Clip", "z", "y", min=-0.5, max=0.25)]
    path = saved(tmp_path / "m.onnx", nodes, WB, opset=6)
    assert check(path, "w").activation == "hardtanh(-0.5, 0.25)"


WRITTEN = {
    "clip of inputs": ([node("Clip", "z lo hi", "y")], {"lo": -0.5, "hi": 0.75}),
    "clip from below": ([node("Clip", "z lo", "y")], {"lo": 0.0}),
    "swish": ([node("Sigmoid", "z", "s"), node("Mul", "z s", "y")], {}),
    "gelu": (
        [node("Div", "z r", "a"), node("Erf", "a", "e"), node("Add", "e one", "p"),
         node("Mul", "z p", "q"), node("Mul", "q half", "y")],
        {"r": np.sqrt(2.0), "one": 1.0, "half": 0.5},
    ),
    "squared relu": ([node("Relu", "z", "r"), node("Mul", "r r", "y")], {}),
    "softcap": (
        [node("Div", "z c", "a"), node("Tanh", "a", "t"), node("Mul", "t c", "y")], {"c": 1.5}
    ),
    "step": ([node("Greater", "z o", "g"), node("Cast", "g", "y", to=FLOAT)], {"o": 0.1}),
    "masked": (
        [node("Less", "z o", "g"), node("Where", "g o z", "y")], {"o": 0.0}
    ),
    "minus": ([node("Neg", "z", "n"), node("Relu", "n", "y")], {}),
    "maximum": ([node("Max", "z t", "y")], {"t": 0.2}),
    "power": ([node("Pow", "z two", "p"), node("Sqrt", "p", "y")], {"two": 2.0}),
    "sum": ([node("Sum", "z z z", "s"), node("Tanh", "s", "y")], {}),
    "mean": ([node("Relu", "z", "r"), node("Mean", "z r", "y")], {}),
    "reciprocal": (
        [node("Neg", "z", "n"), node("Exp", "n", "e"), node("Add", "e one", "p"),
         node("Reciprocal", "p", "y")],
        {"one": 1.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITTEN)
def test_functions_written_out(kind, tmp_path):
    nodes, constants = WRITTEN[kind]
    path = saved(tmp_path / "m.onnx", [GEMM, *nodes], WB | constants)
    check(path, "w", in_range=(-1.5, 2))


PER_ROW = {
    "threshold": ([node("Sub", "z c", "a"), node("Relu", "a", "y")], B),
    "scale": ([node("Mul", "z c", "a"), node("Tanh", "a", "y")], np.abs(B) + 0.5),
    "temperature": ([node("Div", "z c", "a"), node("Sigmoid", "a", "y")], np.abs(B) + 0.5),
    "slopes": ([node("PRelu", "z c", "y")], SLOPES),
    "steps": ([node("Greater", "z c", "a"), node("Cast", "a", "y", to=FLOAT)], B),
    "swish of its own": (
        [node("Mul", "z c", "a"), node("Sigmoid", "a", "s"), node("Mul", "z s", "y")],
        np.abs(B) + 0.5,
    ),
    "scaled after": ([node("Relu", "z", "r"), node("Mul", "r c", "y")], np.abs(B) + 0.5),
    "bent": ([node("Max", "z c", "y")], B),
}  # fmt: skip


@pytest.mark.parametrize("kind", PER_ROW)
def test_one_number_for_each_neuron(kind, tmp_path):
    nodes, constant = PER_ROW[kind]
    path = saved(tmp_path / "m.onnx", [GEMM, *nodes], WB | {"c": constant})
    check(path, "w", in_range=(-2, 2))


def test_a_constant_for_each_place_is_no_function(tmp_path):
    """(1, 2, 4) numbers: another one for each place of a row."""
    nodes = [node("MatMul", "x w", "z"), node("Add", "z c", "a"), node("Relu", "a", "r"),
             node("MatMul", "r v", "y")]  # fmt: skip
    weights = {"w": W, "v": V, "c": rng.normal(size=(1, 2, 4))}
    inputs = [("x", FLOAT, (1, 2, 3))]
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights, inputs))
    # What follows the sum is no function of w's output, so w is a linear layer.
    assert {n: x.activation.name for n, x in layers(found).items()} == {
        "w": "identity", "v": "identity",
    }  # fmt: skip
    assert ranges(found)["v"][2] == "interval"


def test_a_node_that_is_not_known_is_never_linear(tmp_path):
    import onnx

    for kind in ("Relu", "Frobnicate", "Conv"):
        nodes = [GEMM, node(kind, "z", "u", domain="my.own"), node("MatMul", "u v", "y")]
        path = saved(tmp_path / "m.onnx", nodes, WB | {"v": V})
        with pytest.raises(ValueError, match=rf"my\.own\.{kind}.*does not say of what shape"):
            extracted(path)
        made = onnx.load(path)
        made.graph.value_info.append(onnx.helper.make_tensor_value_info("u", FLOAT, (1, 4)))
        onnx.save(made, path)
        found = extracted(path)
        assert list(layers(found)) == ["v"]
        (left,) = found.skipped
        assert left.name == "w" and kind in left.reason and "does not know" in left.reason
        assert ranges(found)["v"] == (0.0, 1.0, "assumed")


def test_views_and_moves_keep_the_layer(tmp_path):
    shape = rng.normal(size=(8, 2))
    for moves in (
        [node("Reshape", "r s", "f")],
        [node("Flatten", "r", "f")],
        [node("Transpose", "r", "t", perm=[0, 2, 1]), node("Transpose", "t", "u", perm=[0, 2, 1]),
         node("Reshape", "u s", "f")],
        [node("Split", "r", "p q", axis=1, num_outputs=2), node("Concat", "p q", "j", axis=1),
         node("Flatten", "j", "f")],
        [node("Unsqueeze", "r one", "u"), node("Squeeze", "u one", "v1"),
         node("Reshape", "v1 s", "f")],
        [node("Gather", "r idx", "g", axis=1), node("Reshape", "g s", "f")],
    ):  # fmt: skip
        nodes = [node("MatMul", "x w", "z"), node("Relu", "z", "r"), *moves,
                 node("MatMul", "f v", "y")]  # fmt: skip
        weights = {"w": W, "v": shape, "s": np.array([1, 8]), "one": np.array([1]),
                   "idx": np.array([1, 0])}  # fmt: skip
        path = saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, (1, 2, 3))])
        found = extracted(path, strict=True)
        assert [x.activation.name for x in found.network] == ["relu", "identity"]
        assert found.network.sources["v"] == ("w",)
        low, high, source = ranges(found)["v"]
        assert low == 0.0 and source == "activation"
        # Under W x: mean and deviation of a uniform draw, by hand.
        half = W.sum(0).astype(np.float32) / 2
        reach = 4 * np.sqrt((W.astype(np.float32) ** 2).sum(0) / 12)
        most = np.maximum(W, 0).sum(0)
        assert high == pytest.approx(np.minimum(half + reach, most).max(), rel=1e-6)


def test_padding_resizing_and_concatenation_of_unlike_ranges(tmp_path):
    inputs = [("x", FLOAT, (1, 3))]
    nodes = [node("MatMul", "x w", "z"), node("Tanh", "z", "t"),
             node("Concat", "t x c", "j", axis=1), node("MatMul", "j v", "y")]  # fmt: skip
    weights = {"w": W, "v": rng.normal(size=(9, 2)), "c": np.array([[3.0, -2.5]])}
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights, inputs))
    assert ranges(found)["v"] == (-2.5, 3.0, "activation")
    nodes = [node("MatMul", "x w", "z"), node("Sigmoid", "z", "t"),
             node("Pad", "t pads value", "p"), node("MatMul", "p v", "y")]  # fmt: skip
    weights = {"w": W, "v": rng.normal(size=(6, 2)), "pads": np.array([0, 1, 0, 1]), "value": -3.0}
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights, inputs))
    assert ranges(found)["v"] == (-3.0, 1.0, "activation")


@pytest.mark.parametrize("mode", ["reflect", "edge", "constant"])
@pytest.mark.parametrize("opset", [2, 11, 18])
def test_padding_without_a_value(mode, opset, tmp_path):
    """As torch exports it: the value is left out, or what is padded with is the array itself."""
    image = [("x", FLOAT, (1, 2, 4, 4))]
    sides = [0, 0, 1, 1, 0, 0, 1, 1]
    pad = (node("Pad", "t", "p", mode=mode, pads=sides) if opset == 2
           else node("Pad", "t pads", "p", mode=mode))  # fmt: skip
    nodes = [node("Conv", "x k", "z"), node("Softplus", "z", "t"), pad,
             node("Conv", "p k3", "y")]  # fmt: skip
    weights = {"k": rng.normal(size=(2, 2, 1, 1)), "k3": rng.normal(size=(3, 2, 3, 3))}
    if opset > 2:
        weights["pads"] = np.array(sides)
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights, image, opset=opset))
    assert found.network.names == ("k", "k3")
    assert found.network[0].activation.name == "softplus"
    low, _, source = ranges(found)["k3"]
    assert source == "activation"
    assert low == 0.0 if mode == "constant" else low > 0.0


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_the_node_that_resize_has_replaced(mode, tmp_path):
    image = [("x", FLOAT, (1, 2, 3, 3))]
    nodes = [node("Conv", "x k", "z"), node("Tanh", "z", "t"),
             node("Upsample", "t scales", "u", mode=mode), node("Conv", "u k3", "y")]  # fmt: skip
    scales = np.array([1, 1, 1.5, 2], np.float32)
    weights = {"k": rng.normal(size=(2, 2, 1, 1)), "k3": rng.normal(size=(3, 2, 1, 1)),
               "scales": scales}  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, weights, image, opset=9)
    found = extracted(path)
    assert [x.activation.name for x in found.network] == ["tanh", "identity"]
    x = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    onnx = pytest.importorskip("onnx")
    program = Program(onnx, onnx.load(path), {})
    made = program.compute(nodes[2], ["t", "scales"], [x, scales], 9)[0]
    rows = _between(x, 2, 4, 1.5, mode)  # along one axis, then along the other
    both = _between(rows, 3, 6, 2.0, mode)
    np.testing.assert_allclose(made, both, atol=1e-5)


def _between(x, axis, size, scale, mode):
    """What lies at i / scale on an axis."""
    at = np.minimum(np.arange(size) / scale, x.shape[axis] - 1)
    low = np.floor(at).astype(int)
    if mode == "nearest":
        return x.take(low, axis)
    share = (at - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    high = np.minimum(low + 1, x.shape[axis] - 1)
    return x.take(low, axis) * (1 - share) + x.take(high, axis) * share


def test_transforms_of_the_input_and_scaled_activations(tmp_path):
    nodes = [node("Mul", "x two", "m"), node("Sub", "m one", "n"), node("MatMul", "n w", "z"),
             node("Tanh", "z", "t"), node("Mul", "t ten", "u"),
             node("MatMul", "u v", "y")]  # fmt: skip
    weights = {"w": W, "v": V, "two": 2.0, "one": 1.0, "ten": 10.0}
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights))
    assert ranges(found)["w"] == (-1.0, 1.0, "interval")
    low, high, source = ranges(found)["v"]
    assert (low, high) == (pytest.approx(-10.0), pytest.approx(10.0)) and source == "activation"


def test_watching_and_dead_ends(tmp_path):
    nodes = [GEMM, node("Abs", "z", "a"), node("ReduceMean", "a", "log"), node("Relu", "z", "r"),
             node("MatMul", "r v", "y"), node("MatMul", "r dead", "nowhere")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, WB | {"v": V, "dead": V})
    found = extracted(path)
    assert layers(found)["w"].activation.name == "relu"
    assert [(s.name, "does not lead" in s.reason) for s in found.skipped] == [("dead", True)]
    check(path, "w", after="r")


def test_what_is_used_in_several_ways(tmp_path):
    """A residual: the sum sees the map itself, so it is linear, and the interval is the sum's."""
    nodes = [node("MatMul", "x w", "z"), node("Add", "z x", "s"), node("Tanh", "s", "t"),
             node("MatMul", "t v", "y")]  # fmt: skip
    square = rng.normal(size=(3, 3))
    path = saved(tmp_path / "m.onnx", nodes, {"w": square, "v": rng.normal(size=(3, 2))})
    found = extracted(path)
    assert layers(found)["w"].activation.name == "identity"
    low, high, source = ranges(found)["v"]
    assert source == "interval" and -1.0 <= low < high <= 1.0
    check(path, "w", after="z")


def test_the_same_weights_again(tmp_path):
    """A recurrent network by hand: ranges are joined over all uses, zeros at first among them."""
    nodes = [node("Split", "x", "x0 x1 x2", axis=1, num_outputs=3)]
    before = "h0"
    for t in range(3):
        nodes += [node("Squeeze", f"x{t} one", f"s{t}"), node("MatMul", f"s{t} w", f"a{t}"),
                  node("MatMul", f"{before} u", f"b{t}"), node("Add", f"a{t} b{t}", f"c{t}"),
                  node("Sigmoid", f"c{t}", f"h{t + 1}")]  # fmt: skip
        before = f"h{t + 1}"
    nodes.append(node("MatMul", f"{before} v", "y"))
    weights = {"w": W, "u": rng.normal(size=(4, 4)), "v": V, "one": np.array([1]),
               "h0": np.zeros((1, 4))}  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, (1, 3, 3))])
    found = extracted(path)
    assert set(layers(found)) == {"w", "u", "v"} and not found.skipped
    low, high, source = ranges(found)["u"]
    assert low == 0.0 and high <= 1.0 and source in ("interval", "given")
    assert ranges(found)["w"][:2] == (0.0, 1.0)


def lstm(path, kind, gates, size=4, n_in=3, bias=True, **attributes):
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    weights = {
        "rnn.weight": rng.normal(size=(directions, gates * size, n_in)),
        "rnn.inner": rng.normal(size=(directions, gates * size, size)),
        "rnn.bias": rng.normal(size=(directions, 2 * gates * size)),
        "v": rng.normal(size=(directions * size, 2)), "s": np.array([0, 0, -1]),
    }  # fmt: skip
    nodes = [
        node(kind, "x rnn.weight rnn.inner" + " rnn.bias" * bias, "h", hidden_size=size,
             **attributes),
        node("Transpose", "h", "t", perm=[0, 2, 1, 3]), node("Reshape", "t s", "r"),
        node("MatMul", "r v", "y"),
    ]  # fmt: skip
    return saved(path, nodes, weights, [("x", FLOAT, (5, 2, n_in))]), weights


#: One step of one gate, written out again with the other matrix's input at zero.
GATES = {
    "LSTM": ("iofc", {"i": "sigmoid", "o": "sigmoid", "f": "sigmoid", "c": "tanh"}),
    "GRU": ("zrh", {"z": "sigmoid", "r": "sigmoid", "h": "tanh"}),
    "RNN": (" ", {" ": "tanh"}),
}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_recurrent_nodes_are_gates(kind, direction, tmp_path):
    from onnx.reference import ReferenceEvaluator

    letters, functions = GATES[kind]
    path, weights = lstm(tmp_path / "m.onnx", kind, len(letters), direction=direction)
    found = extracted(path, strict=True)
    got, size = layers(found), 4
    directions = 2 if direction == "bidirectional" else 1
    assert len(got) == 2 * directions * len(letters) + 1
    for d in range(directions):
        for k, letter in enumerate(letters):
            rows = slice(k * size, (k + 1) * size)
            halves = weights["rnn.bias"][d].reshape(2, -1)[:, rows].astype(np.float32)
            for side in ("weight", "inner"):
                stem = "rnn" if side == "weight" else "rnn.inner"
                name = f"{stem}{'_reverse' * d}.{letter}".removesuffix(". ")
                layer = got[name]
                assert layer.activation.name == functions[letter]
                np.testing.assert_allclose(layer.weight, weights[f"rnn.{side}"][d, rows], 1e-6)
                np.testing.assert_allclose(layer.bias, halves.astype(float).sum(0), 1e-6)
                low, high, source = ranges(found)[name]
                assert (low, high) == ((0.0, 1.0) if side == "weight" else (-1.0, 1.0))
                assert source == ("given" if side == "weight" else "activation")
    assert ranges(found)["v"] == (-1.0, 1.0, "interval")
    # What the run itself computes, against the reference implementation.
    x = rng.normal(size=(5, 2, 3)).astype(np.float32)
    (expected,) = ReferenceEvaluator(str(path)).run(None, {"x": x})
    seen = extracted(path, input_data=x, quantiles=(0.0, 1.0)).network.seen
    assert seen["v"].outputs == pytest.approx((expected.min(), expected.max()), rel=1e-5)


def test_a_gate_against_one_step_of_the_node(tmp_path):
    """With a state of zeros one step of a plain RNN is the layer itself; swept and counted."""
    path, _ = lstm(tmp_path / "m.onnx", "RNN", 1)
    whole = between(path, "x", "h")
    layer = check(path, "rnn", function=lambda x: whole(x[None])[0, 0], in_range=(-2, 2))
    assert layer.activation == "tanh"


def test_recurrent_options(tmp_path):
    path, weights = lstm(tmp_path / "a.onnx", "GRU", 3, linear_before_reset=1)
    got = layers(extracted(path, strict=True))
    assert got["rnn.inner.h"].activation.name == "identity"
    np.testing.assert_allclose(got["rnn.inner.h"].bias, weights["rnn.bias"][0, 20:], rtol=1e-6)
    np.testing.assert_allclose(got["rnn.h"].bias, weights["rnn.bias"][0, 8:12], rtol=1e-6)
    path, _ = lstm(tmp_path / "b.onnx", "RNN", 1, activations=["Relu"], bias=False)
    found = extracted(path)
    assert layers(found)["rnn"].activation.name == "relu" and layers(found)["rnn"].bias is None
    assert ranges(found)["rnn.inner"][2] == "assumed" == ranges(found)["v"][2]
    path, _ = lstm(
        tmp_path / "c.onnx", "RNN", 1, activations=["HardSigmoid"], activation_alpha=[0.3]
    )
    hard = layers(extracted(path))["rnn"].activation
    z = np.linspace(-4, 4, 101)
    np.testing.assert_allclose(hard(z), np.clip(0.3 * z + 0.5, 0, 1), atol=1e-12)
    path, _ = lstm(tmp_path / "d.onnx", "LSTM", 4, clip=0.5)
    got = layers(extracted(path))
    np.testing.assert_allclose(got["rnn.c"].activation(z), np.tanh(np.clip(z, -0.5, 0.5)))


def images(path, nodes, weights, shape=(1, 2, 8, 8), **options):
    return saved(path, nodes, weights, [("x", FLOAT, shape)], **options)


def test_convolutions(tmp_path):
    kernel = rng.normal(size=(3, 2, 3, 3))
    for attributes, shape in (
        ({}, (2, 3, 3)), ({"strides": [2, 2], "pads": [1, 1, 1, 1]}, None),
        ({"auto_pad": "SAME_UPPER"}, None), ({"dilations": [2, 2]}, None),
    ):  # fmt: skip
        nodes = [node("Conv", "x k c", "z", **attributes), node("Relu", "z", "y")]
        path = images(tmp_path / "m.onnx", nodes, {"k": kernel, "c": B[:3]})
        found = extracted(path, strict=True)
        (layer,) = found.network
        np.testing.assert_allclose(layer.weight, kernel, rtol=1e-6)
        assert layer.activation.name == "relu"
        if shape is not None:
            check(path, "k", shape=shape)
    grouped = rng.normal(size=(4, 1, 3))
    nodes = [node("Conv", "x k", "z", group=2, pads=[1, 1]), node("Tanh", "z", "y")]
    path = images(tmp_path / "m.onnx", nodes, {"k": grouped}, (1, 2, 9))
    (layer,) = extracted(path, strict=True).network
    assert layer.groups == 2 and layer.activation.name == "tanh"


def test_transposed_convolutions(tmp_path):
    """Each output's receptive field, against the reference implementation at zero and one input."""
    kernel = rng.normal(size=(2, 3, 4))
    nodes = [node("ConvTranspose", "x k c", "z", strides=[2], pads=[1, 1]), node("Tanh", "z", "y")]
    path = images(tmp_path / "m.onnx", nodes, {"k": kernel, "c": B[:3]}, (1, 2, 6))
    (layer,) = extracted(path, strict=True).network
    assert layer.n_out == 6 and layer.activation.name == "tanh"  # 3 channels at 2 phases
    real = between(path, "x", "y")
    x = rng.normal(size=(1, 2, 6)).astype(np.float32)
    y = real(x)
    computed = layer(x[0, :, 1:3].reshape(1, -1).astype(float))[0]
    for channel in range(3):
        places = y[0, channel]
        for phase in range(2):
            assert np.abs(places - computed[channel * 2 + phase]).min() < 1e-6


def test_pools_and_frozen_batch_norms(tmp_path):
    kernel = rng.normal(size=(3, 1, 2, 2))
    norm = {"g": rng.random(3) + 0.5, "s": rng.normal(size=3), "m": rng.normal(size=3),
            "var": rng.random(3) + 0.5}  # fmt: skip
    for nodes, shape in (
        ([node("Conv", "x k", "z"), node("BatchNormalization", "z g s m var", "n"),
          node("Relu", "n", "y")], (1, 2, 2)),
        ([node("Conv", "x k", "z"), node("Relu", "z", "r"),
          node("MaxPool", "r", "y", kernel_shape=[2, 2])], (1, 3, 3)),
        ([node("Conv", "x k", "z"), node("AveragePool", "z", "p", kernel_shape=[2, 2]),
          node("Sigmoid", "p", "y")], (1, 3, 3)),
        ([node("Conv", "x k", "z"), node("Relu", "z", "r"), node("GlobalAveragePool", "r", "y")],
         (1, 3, 3)),
        ([node("Conv", "x k", "z"), node("ReduceMean", "z axes", "p", keepdims=0),
          node("Tanh", "p", "y")], (1, 3, 3)),
    ):  # fmt: skip
        weights = {"k": kernel, "axes": np.array([2, 3])} | norm
        path = images(tmp_path / "m.onnx", nodes, weights, (1, *shape))
        check(path, "k", shape=shape, bins=4, steps=400)


NORMS = {
    "LayerNormalization": ([node("LayerNormalization", "t g b", "n", axis=-1)], "g b", 4 - 1),
    "RMSNormalization": ([node("RMSNormalization", "t g", "n", axis=-1)], "g", 4),
    "written out": (
        [node("ReduceMean", "t axes", "mean"), node("Sub", "t mean", "d"),
         node("Pow", "d two", "sq"), node("ReduceMean", "sq axes", "v2"),
         node("Add", "v2 eps", "ve"), node("Sqrt", "ve", "root"), node("Div", "d root", "q"),
         node("Mul", "q g", "u"), node("Add", "u b", "n")], "g b", 4 - 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NORMS)
def test_norms_give_their_range(kind, tmp_path):
    nodes, _, square = NORMS[kind]
    weights = WB | {"g": np.array([1.0, 2.0, 0.5, 1.5]), "b": np.array([0.0, 1.0, -1.0, 0.5]),
                    "v": V, "axes": np.array([-1]), "two": 2.0, "eps": 1e-5}  # fmt: skip
    if kind == "RMSNormalization":
        weights["b"] = np.zeros(4)
    nodes = [node("MatMul", "x w", "z"), node("Tanh", "z", "t"), *nodes, node("MatMul", "n v", "y")]
    path = saved(tmp_path / "m.onnx", nodes, weights, opset=23)
    found = extracted(path, strict=True)
    low, high, source = ranges(found)["v"]
    reach = np.sqrt(square) * weights["g"]
    assert source == "norm"
    assert (low, high) == pytest.approx(
        ((weights["b"] - reach).min(), (weights["b"] + reach).max()), rel=1e-6
    )


def test_norms_by_channel(tmp_path):
    kernel = rng.normal(size=(4, 2, 3, 3))
    for norm in (
        node("InstanceNormalization", "z g s", "n"),
        node("GroupNormalization", "z g s", "n", num_groups=2),
    ):
        nodes = [node("Conv", "x k", "z"), norm, node("Conv", "n l", "y")]
        weights = {"k": kernel, "g": np.full(4, 2.0), "s": np.full(4, 1.0),
                   "l": rng.normal(size=(2, 4, 1, 1))}  # fmt: skip
        found = extracted(images(tmp_path / "m.onnx", nodes, weights, opset=21), strict=True)
        assert layers(found)["k"].activation.name == "identity"
        assert ranges(found)["l"] == (-7.0, 9.0, "norm")


def test_attention_in_products_and_einsums(tmp_path):
    size = 4
    weights = {n: rng.normal(size=(size, size)) for n in ("q", "k", "o")}
    weights |= {"v": np.abs(rng.normal(size=(size, size))) / 8, "root": 2.0}
    products = [
        [node("Transpose", "K", "T", perm=[0, 2, 1]), node("MatMul", "Q T", "S"),
         node("Div", "S root", "s"), node("Softmax", "s", "A"), node("MatMul", "A V", "M")],
        [node("Einsum", "Q K", "S", equation="bqd,bkd->bqk"), node("Softmax", "S", "A"),
         node("Einsum", "A V", "M", equation="bqk,bkd->bqd")],
    ]  # fmt: skip
    for middle in products:
        nodes = [node("MatMul", "x q", "Q"), node("MatMul", "x k", "K"), node("MatMul", "x v", "V"),
                 *middle, node("MatMul", "M o", "y")]  # fmt: skip
        path = saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, (1, 3, size))])
        found = extracted(path, strict=True)
        assert {x.activation.name for x in found.network} == {"identity"}
        low, high, source = ranges(found)["o"]
        # A mixture of the values: their range.
        v = weights["v"].astype(np.float32).astype(float)
        reach = 4 * np.sqrt((v**2).sum(0) / 12)
        assert source == "activation" and low >= 0.0
        assert high == pytest.approx(np.minimum(v.sum(0) / 2 + reach, v.sum(0)).max(), rel=1e-6)


def test_einsum_and_stacks_of_matrices(tmp_path):
    heads = rng.normal(size=(3, 2, 4))  # into two heads of four
    nodes = [node("Einsum", "x w", "z", equation="bsd,dhk->bshk"), node("Relu", "z", "y")]
    path = saved(tmp_path / "m.onnx", nodes, {"w": heads}, [("x", FLOAT, (None, 2, 3))])
    (layer,) = extracted(path, strict=True).network
    np.testing.assert_allclose(layer.weight, heads.reshape(3, 8).T, rtol=1e-6)
    assert layer.activation.name == "relu"
    experts = rng.normal(size=(2, 3, 4))
    nodes = [node("MatMul", "x w", "z"), node("Tanh", "z", "y")]
    path = saved(tmp_path / "m.onnx", nodes, {"w": experts}, [("x", FLOAT, (2, 5, 3))])
    got = layers(extracted(path, strict=True))
    assert list(got) == ["w[0]", "w[1]"]
    for k in range(2):
        np.testing.assert_allclose(got[f"w[{k}]"].weight, experts[k].T, rtol=1e-6)
        assert got[f"w[{k}]"].activation.name == "tanh"


def test_gemm_s_options(tmp_path):
    weights = {"w": W.T, "c": np.array([[0.5], [0.25]]), "v": V, "two": np.array([2, 3])}
    nodes = [node("Gemm", "x w c", "z", transB=1, alpha=0.5, beta=2.0), node("Tanh", "z", "t"),
             node("MatMul", "t v", "y")]  # fmt: skip
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, (2, 3))]))
    # Its third term is another for each row of the batch: no function of z.
    assert layers(found)["w"].activation.name == "identity"
    nodes = [node("Gemm", "w x", "z", transB=1), node("Sigmoid", "z", "y")]
    path = saved(tmp_path / "m.onnx", nodes, {"w": W.T}, [("x", FLOAT, (2, 3))])
    (layer,) = extracted(path, strict=True).network
    np.testing.assert_allclose(layer.weight, W.T, rtol=1e-6)
    assert layer.activation.name == "sigmoid"


def test_embeddings_are_listed_and_bound_what_follows(tmp_path):
    from onnx import TensorProto

    table = rng.normal(size=(7, 3))
    nodes = [node("Gather", "table x", "e"), node("Mul", "e two", "s"), node("MatMul", "s w", "z"),
             node("Tanh", "z", "y")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, {"table": table, "w": W, "two": 2.0},
                 [("x", TensorProto.INT64, (None, 5))])  # fmt: skip
    found = extracted(path)
    assert [(s.name, "embedding" in s.reason) for s in found.skipped] == [("table", True)]
    low, high, source = ranges(found)["w"]
    assert (low, high) == pytest.approx((2 * table.min(), 2 * table.max()), rel=1e-6)
    assert source == "interval"


def test_halves_that_meet_are_layers_of_their_own(tmp_path):
    """A gated unit: one half times the other's sigmoid."""
    nodes = [GEMM, node("Split", "z", "a b0", axis=1, num_outputs=2), node("Sigmoid", "b0", "s"),
             node("Mul", "a s", "h"), node("MatMul", "h v", "y")]  # fmt: skip
    path = saved(tmp_path / "m.onnx", nodes, WB | {"v": V[:2]})
    found = extracted(path, strict=True)
    assert {n: x.activation.name for n, x in layers(found).items()} == {
        "w[0:2]": "identity", "w[2:4]": "sigmoid", "v": "identity",
    }  # fmt: skip
    check(path, "w[2:4]", after="s")
    check(path, "w[0:2]", after="a")


def test_attention_s_joint_matrix_has_its_sections(tmp_path):
    joint = rng.normal(size=(3, 9))
    nodes = [node("MatMul", "x attn.in_proj_weight", "z"),
             node("Split", "z", "q k v0", axis=2, num_outputs=3),
             node("Transpose", "k", "t", perm=[0, 2, 1]), node("MatMul", "q t", "s"),
             node("Softmax", "s", "p"), node("MatMul", "p v0", "y")]  # fmt: skip
    path = saved(
        tmp_path / "m.onnx", nodes, {"attn.in_proj_weight": joint}, [("x", FLOAT, (1, 2, 3))]
    )
    got = layers(extracted(path, strict=True))
    assert list(got) == ["attn.in_proj.q", "attn.in_proj.k", "attn.in_proj.v"]
    np.testing.assert_allclose(got["attn.in_proj.k"].weight, joint[:, 3:6].T, rtol=1e-6)


def test_parallel_maps_are_summed(tmp_path):
    """A low-rank adapter beside its base: one merged layer, and all three by themselves."""
    nodes = [node("MatMul", "x w", "z"), node("MatMul", "x down", "d"),
             node("MatMul", "d up", "u"), node("Add", "z u", "s"), node("Relu", "s", "r"),
             node("MatMul", "r v", "y")]  # fmt: skip
    weights = {"w": W, "down": rng.normal(size=(3, 2)), "up": rng.normal(size=(2, 4)), "v": V}
    path = saved(tmp_path / "m.onnx", nodes, weights)
    found = extracted(path, strict=True)
    assert {n: x.activation.name for n, x in layers(found).items()} == {
        "w": "identity", "down": "identity", "up": "identity", "w+up": "relu", "v": "identity",
    }  # fmt: skip
    merged = (W + weights["down"] @ weights["up"]).T
    np.testing.assert_allclose(layers(found)["w+up"].weight, merged, atol=1e-6)
    assert found.network.sources["v"] == ("w+up",)
    check(path, "w+up", after="r")


# -- the proof of recurrent nodes' gates ---------------------------------------------------------

OPTIONS = [
    ("LSTM", {}), ("LSTM", {"direction": "bidirectional"}), ("LSTM", {"clip": 0.4}),
    ("LSTM", {"layout": 1}), ("LSTM", {"input_forget": 1}), ("LSTM", {"peepholes": True}),
    ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"]}), ("GRU", {}),
    ("GRU", {"linear_before_reset": 1}), ("GRU", {"direction": "reverse", "lengths": True}),
    ("GRU", {"clip": 0.4, "linear_before_reset": 1, "layout": 1}), ("RNN", {"layout": 1}),
    ("RNN", {"direction": "bidirectional", "lengths": True}), ("RNN", {"activations": ["Elu"]}),
]  # fmt: skip


def recurrent_file(path, kind, options, start=None):
    """A node with every input, and a linear map of its last state."""
    options = dict(options)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    directions = 2 if options.get("direction") == "bidirectional" else 1
    by_batch = options.get("layout", 0)
    state = (2, directions, 4) if by_batch else (directions, 2, 4)
    weights = {
        "w": rng.normal(size=(directions, gates * 4, 3)),
        "r": rng.normal(size=(directions, gates * 4, 4)) / 2,
        "b": rng.normal(size=(directions, 8 * gates)), "v": rng.normal(size=(4, 2)),
        "h0": rng.uniform(-0.5, 0.5, size=state) if start is None else np.full(state, start),
        "c0": rng.normal(size=state), "p": rng.normal(size=(directions, 12)),
    }  # fmt: skip
    lengths, peep = options.pop("lengths", False), options.pop("peepholes", False)
    if lengths:
        weights["n"] = np.array([3, 5], dtype=np.int32)
    inputs = f"x w r b {'n' if lengths else ''} h0"
    inputs = (
        inputs.replace("  ", " # ") + (" c0" if kind == "LSTM" else "") + (" p" if peep else "")
    )
    nodes = [
        node(kind, "x", "y h", hidden_size=4, **options), node("MatMul", "h v", "z"),
    ]  # fmt: skip
    del nodes[0].input[:]
    nodes[0].input.extend("" if n == "#" else n for n in inputs.split(" "))
    used = {n: v for n, v in weights.items() if n in inputs.split(" ") or n == "v"}
    shape = (2, 5, 3) if by_batch else (5, 2, 3)
    saved(path, nodes, used, [("x", FLOAT, shape)], outputs=["y", "z"])
    return path


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_gates_of_every_option_are_proved(kind, options, tmp_path):
    path = recurrent_file(tmp_path / "m.onnx", kind, options)
    found = extracted(path)
    listed = {s.name: s.reason for s in found.skipped}
    if options.get("input_forget"):
        assert set(listed) == {"w.f", "r.f"}
        assert "1 less the input gate" in listed["w.f"]
    else:
        assert listed == {}
    each = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] - bool(options.get("input_forget"))
    sides = 2 * (2 if options.get("direction") == "bidirectional" else 1)
    assert len(layers(found)) == each * sides + 1


@pytest.mark.parametrize(
    ("kind", "options", "wrong"),
    [(kind, options, wrong) for kind, options in OPTIONS[:2] + OPTIONS[7:9] + OPTIONS[11:13]
     for wrong in ("order", "function", "bias") if kind != "RNN" or wrong != "order"],
)  # fmt: skip
def test_gates_that_are_wrong_are_listed(kind, options, wrong, tmp_path, monkeypatch):
    from eiplane.extract.onnx import recurrent

    path = recurrent_file(tmp_path / "m.onnx", kind, options)
    if wrong == "order":
        first, second, *rest = recurrent._GATES[kind]
        monkeypatch.setitem(recurrent._GATES, kind, (second, first, *rest))
    elif wrong == "function":
        wrong_one = Activation.from_function(np.cos, "cos")
        monkeypatch.setattr(recurrent, "_activation", lambda cell: wrong_one)
    else:
        report = recurrent.Gate

        def shifted(weight, bias, activation, made):
            return report(weight, bias + 0.01, activation, made)

        monkeypatch.setattr(recurrent, "Gate", shifted)
    found = extracted(path)
    assert list(layers(found)) == ["v"]
    assert {s.reason for s in found.skipped} == {
        "its gates do not reproduce what the node computed in the run"
    }


@pytest.mark.parametrize("kind", ["GRU", "RNN", "LSTM"])
def test_a_first_state_outside_of_the_states_counts(kind, tmp_path):
    path = recurrent_file(tmp_path / "m.onnx", kind, {}, start=3.0)
    back = {n: r for n, r in ranges(extracted(path)).items() if n.startswith("r")}
    assert {r[:2] for r in back.values()} == {(-1.0, 3.0)}


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_nodes_of_one_module_whose_weights_have_no_names(kind, tmp_path):
    """As torch exports several layers: weights that are turned lose their names."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    weights = {"v": V, "s": np.array([5, 2, 4])}
    for k, n_in in enumerate((3, 4, 4)):
        weights[f"onnx::{kind}_{3 * k}"] = rng.normal(size=(1, 4 * gates, n_in))
        weights[f"onnx::{kind}_{3 * k + 1}"] = rng.normal(size=(1, 4 * gates, 4))
    nodes, before = [], "x"
    for k in range(3):
        nodes += [
            node(kind, f"{before} onnx::{kind}_{3 * k} onnx::{kind}_{3 * k + 1}", f"y{k}",
                 name=f"/net/rnn/{kind}" + f"_{k}" * (k > 0), hidden_size=4),
            node("Reshape", f"y{k} s", f"r{k}"),
        ]  # fmt: skip
        before = f"r{k}"
    nodes.append(node("MatMul", f"{before} v", "y"))
    found = extracted(saved(tmp_path / "m.onnx", nodes, weights, [("x", FLOAT, (5, 2, 3))]))
    assert found.skipped == ()
    got = layers(found)
    assert len(got) == 3 * 2 * gates + 1
    blocks = [w[0, k * 4 : k * 4 + 4] for n, w in weights.items() if "onnx" in n
              for k in range(gates)]  # fmt: skip
    for block in blocks:
        assert any(layer.shape == block.shape and np.allclose(layer.weight, block, 1e-6)
                   for layer in got.values())  # fmt: skip
    spans = ranges(found)
    assert spans[f"net.rnn.{kind}_2.W" + {"LSTM": ".i", "GRU": ".z", "RNN": ""}[kind]][:2] == (
        -1,
        1,
    )
