"""Networks from arrays, pairs, layers and mappings."""

import subprocess
import sys

import numpy as np
import pytest

from eiplane import Layer, Network
from eiplane.extract import ExtractOptions, to_network
from eiplane.network import LazyLayer

rng = np.random.default_rng(0)
W1, B1, W2, B2 = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(2, 4)), np.ones(2)


@pytest.mark.parametrize(
    ("weights", "shapes", "biased"),
    [
        (W1, [(4, 3)], [False]),
        (W1.tolist(), [(4, 3)], [False]),
        ([W1, W2], [(4, 3), (2, 4)], [False, False]),
        (iter([W1, W2]), [(4, 3), (2, 4)], [False, False]),
        ([(W1, B1), (W2, None)], [(4, 3), (2, 4)], [True, False]),
        ((W1, B1), [(4, 3)], [True]),
        ((W1, W2), [(4, 3), (2, 4)], [False, False]),
        ([[W1, B1], W2], [(4, 3), (2, 4)], [True, False]),
        (Layer(W1, B1), [(4, 3)], [True]),
        ([Layer(W1, B1, name="a"), (W2, B2)], [(4, 3), (2, 4)], [True, True]),
        (rng.normal(size=(4, 3, 3)), [(4, 3, 3)], [False]),
    ],
)
def test_what_makes_a_chain(weights, shapes, biased):
    network = to_network(weights).network
    assert [layer.shape for layer in network] == shapes
    assert [layer.bias is not None for layer in network] == biased
    assert {layer.activation.name for layer in network} == {"sigmoid"}
    assert network.chained


def test_activations_one_for_all_one_for_each_or_by_name():
    def names(activation):
        network = to_network([W1, W2], ExtractOptions(activation=activation)).network
        return [layer.activation.name for layer in network]

    assert names("relu") == ["relu", "relu"]
    assert names(["tanh", "identity"]) == ["tanh", "identity"]
    assert names({"0": "gelu", "*": "silu"}) == ["gelu", "silu"]
    with pytest.raises(ValueError, match="3 activations were given for 2 layers"):
        names(["tanh"] * 3)
    with pytest.raises(ValueError, match="no entry for layer '1'"):
        names({"0": "gelu"})
    with pytest.raises(ValueError, match="no layer matches 'x'"):
        names({"x": "gelu", "*": "tanh"})
    with pytest.raises(ValueError, match=r"layer '0': unknown activation 'nope'.*sigmoid"):
        names("nope")
    with pytest.raises(TypeError, match="activation must be a name"):
        names(3)


def test_ready_layers_keep_their_activation():
    mixed = [Layer(W1, activation="tanh"), W2]
    network = to_network(mixed, ExtractOptions(activation="relu")).network
    assert [layer.activation.name for layer in network] == ["tanh", "relu"]
    with pytest.raises(ValueError, match="brings its own activation"):
        to_network([Layer(W1)], ExtractOptions(activation="relu"))
    ready = Network([Layer(W1), Layer(W2)])
    assert to_network(ready).network is ready


def test_a_state_dict_pairs_weights_and_biases():
    state = {
        "fc1.weight": W1, "fc1.bias": B1, "norm.weight": B1, "step": 3, "count": np.array(7),
        "lstm.weight_ih_l0": W1, "lstm.bias_ih_l0": B1, "W2": W2, "b2": B2,
    }  # fmt: skip
    found = to_network(state, ExtractOptions(activation="tanh"))
    assert found.network.names == ("fc1", "lstm.weight_ih_l0", "W2")
    assert not found.network.chained
    assert found.network.in_range_of("W2", (0.0, 1.0), {}) == (0.0, 1.0)
    for layer, bias in zip(found.network, (B1, B1, B2), strict=True):
        assert isinstance(layer, LazyLayer)
        np.testing.assert_array_equal(layer.load().bias, bias)
        assert layer.load().activation.name == "tanh"
    with pytest.raises(ValueError, match="does not say which activations"):
        to_network(state)


def test_transposed_weights_of_a_state_dict_are_turned_together():
    square = rng.normal(size=(4, 4))
    state = {
        "h.0.attn.c_proj.weight": square, "h.0.attn.c_proj.bias": B1,
        "h.0.mlp.c_proj.weight": W1.T, "h.0.mlp.c_proj.bias": B1,
        "other.weight": square, "other.bias": B1,
    }  # fmt: skip
    attn, mlp, other = to_network(state, ExtractOptions(activation="relu")).network
    np.testing.assert_array_equal(mlp.load().weight, W1)
    assert mlp.shape == (4, 3)
    np.testing.assert_array_equal(attn.load().weight, square.T)
    np.testing.assert_array_equal(other.load().weight, square)


def test_selection():
    state = {f"encoder.{i}.{part}.weight": W1 for i in range(3) for part in ("dense", "out")}

    def pick(layers):
        return to_network(state, ExtractOptions("relu", layers)).selected

    assert pick(None) == tuple(n.removesuffix(".weight") for n in state)
    assert pick("encoder.*.dense") == tuple(f"encoder.{i}.dense" for i in range(3))
    assert pick(["encoder.2.out", "encoder.0.*"]) == (
        "encoder.0.dense", "encoder.0.out", "encoder.2.out",
    )  # fmt: skip
    assert pick(lambda name, layer: "1" in name and layer.n_out == 4) == (
        "encoder.1.dense", "encoder.1.out",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"no layer matches 'decoder.*'; there are 'encoder"):
        pick(["encoder.*", "decoder.*"])
    with pytest.raises(ValueError, match="picks none of the layers"):
        pick(lambda name, layer: False)
    for wrong in (3, [3]):
        with pytest.raises(TypeError, match="layers must be a name"):
            pick(wrong)
    with pytest.raises(ValueError, match="there are"):
        pick([])


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        ([], ValueError, "at least one weight matrix"),
        ({}, ValueError, "no weight of two or more dimensions"),
        (3, TypeError, "not int"),
        (None, TypeError, "not NoneType"),
        (b"abc", TypeError, "not bytes"),
        ([W1, W1], ValueError, "layer '1' takes 3 inputs but layer '0' has 4 outputs"),
        ([W1, W2.T], ValueError, "transposing '1' would fix it"),
        ([W1, B1], ValueError, r"layer '1': weight must have shape \(n_out, n_in\)"),
        ([(W1, B2)], ValueError, r"layer '0': bias must have shape \(4,\)"),
        (W1.astype(complex), TypeError, "layer '0': weight must be an array of real numbers"),
        ([W1, "x"], TypeError, "layer '1': weight must be an array of real numbers"),
        ({"a.weight": np.empty((0, 3))}, ValueError, "'a.weight' is empty"),
        ({1: W1}, TypeError, "names for keys"),
    ],
)
def test_bad_weights(weights, kind, message):
    with pytest.raises(kind, match=message):
        to_network(weights)


def test_input_size_is_for_modules():
    with pytest.raises(ValueError, match="torch modules and ONNX"):
        to_network(W1, ExtractOptions(input_size=(3,)))


def test_torch_is_not_imported_for_arrays():
    code = (
        "import sys, numpy as np; from eiplane.extract import to_network; "
        "to_network([np.eye(3)]); to_network((np.eye(3), np.ones(3))); "
        "assert not {'torch', 'onnx', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sources_ranges_and_links_of_a_network():
    a, b, c = Layer(W1, name="a"), Layer(W2, name="b"), Layer(np.ones((5, 4)), name="c")
    branched = Network([a, b, c], sources={"b": ("a",), "c": ("a",)})
    assert branched.sources == {"a": (), "b": ("a",), "c": ("a",)}
    assert branched.straight == {"b", "c"}
    ranges = {"a": (-1.0, 1.0), "b": (0.0, 3.0), "c": (2.0, 2.5)}
    assert branched.in_range_of("a", (0.0, 1.0), ranges) == (0.0, 1.0)
    assert branched.in_range_of("c", (0.0, 1.0), ranges) == (-1.0, 1.0)
    joined = Network([a, b, c], sources={"c": ("a", "b")}, in_ranges={"b": (-2.0, 2.0)})
    assert joined.in_range_of("c", (0.0, 1.0), ranges) == (-1.0, 3.0)
    assert joined.in_range_of("b", (0.0, 1.0), ranges) == (-2.0, 2.0)
    assert joined.straight == frozenset()
    with pytest.raises(ValueError, match="layer 'c' takes 4 inputs but layer 'b' has 2 outputs"):
        Network([a, b, c])
    with pytest.raises(ValueError, match="its source 'c' is no layer before it"):
        Network([a, b, c], sources={"b": ("c",)})
