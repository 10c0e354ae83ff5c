"""Models of Keras and scikit-learn against their own predictions."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import eiplane
from eiplane.analyze import Plan
from eiplane.extract import ExtractOptions, to_network
from eiplane.run import Settings

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def extracted(model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_network(model, ExtractOptions(**options))


# -- scikit-learn ------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", ["binary", "classes", "labels", "regression"])
def test_perceptrons_of_scikit_learn(activation, kind):
    neural = pytest.importorskip("sklearn.neural_network")
    x = rng.normal(size=(60, 4))
    y = {
        "binary": x[:, 0] > 0, "classes": rng.integers(0, 3, 60),
        "labels": rng.integers(0, 2, (60, 3)), "regression": x @ rng.normal(size=(4, 2)),
    }[kind]  # fmt: skip
    make = neural.MLPRegressor if kind == "regression" else neural.MLPClassifier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make(
            hidden_layer_sizes=(5, 6), activation=activation, max_iter=4, random_state=0
        ).fit(x, y)
    found = to_network(model)
    network = found.network
    assert network.chained
    assert network.names == ("coefs_.0", "coefs_.1", "coefs_.2")
    out = x
    for layer in network:
        out = layer(out)
    expected = model.predict(x) if kind == "regression" else model.predict_proba(x)
    if kind == "classes":
        out = np.exp(out - out.max(1, keepdims=True))
        out /= out.sum(1, keepdims=True)
    if kind == "binary":
        out, expected = out[:, 0], expected[:, 1]
    np.testing.assert_allclose(out, expected, atol=1e-10)
    d = eiplane.analyze(model, measures="sensitivity")
    assert d[1].in_range == d[0].out_range


def test_other_estimators_are_refused():
    linear = pytest.importorskip("sklearn.linear_model")
    neural = pytest.importorskip("sklearn.neural_network")
    pipeline = pytest.importorskip("sklearn.pipeline")
    with pytest.raises(TypeError, match="MLPClassifier and MLPRegressor, not LinearRegression"):
        to_network(linear.LinearRegression())
    with pytest.raises(ValueError, match="not fitted"):
        to_network(neural.MLPClassifier())
    with pytest.raises(TypeError, match=r"pipeline\[-1\]"):
        to_network(pipeline.make_pipeline(neural.MLPClassifier()))
    with pytest.raises(ValueError, match="brings its own activations"):
        to_network(neural.MLPClassifier(), ExtractOptions("relu"))


# -- Keras -------------------------------------------------------------------------------------


def shaken(model):
    """Give every weight, biases and moving averages too, a value of its own."""
    model.set_weights(
        [
            rng.uniform(0.2, 1.0, w.shape) * rng.choice([-1, 1], w.shape)
            if "var" not in v.name
            else rng.uniform(0.5, 2.0, w.shape)
            for v, w in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    return model


ACTIVATIONS = [
    "relu",
    "relu6",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "gelu",
    "silu",
    "mish",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "linear",
]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_sequential_model_is_its_layers(keras, activation):
    model = shaken(keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(5, activation=activation, name="first"),
        keras.layers.Dropout(0.3), keras.layers.Dense(6, name="second"),
        keras.layers.Activation(activation),
        keras.layers.Dense(3, activation="softmax", name="third"),
    ]))  # fmt: skip
    found = extracted(model)
    assert not found.skipped
    assert found.network.names == ("first", "second", "third")
    assert found.network.sources == {"first": (), "second": ("first",), "third": ("second",)}
    x = rng.normal(size=(9, 4)).astype(np.float32)
    out = x
    for layer in found.network:
        out = layer(out)
    out = np.exp(out - out.max(1, keepdims=True))
    np.testing.assert_allclose(
        out / out.sum(1, keepdims=True), model.predict(x, verbose=0), atol=2e-5
    )


def test_layers_that_are_functions(keras):
    k = keras.layers
    functions = [
        k.ReLU(),
        k.ReLU(max_value=6.0),
        k.ReLU(negative_slope=0.3),
        k.LeakyReLU(0.1),
        k.ELU(0.7),
        k.Activation(lambda z: keras.ops.tanh(z)),
        k.Activation("swish"),
        k.Activation(lambda z: z * z),
        k.Activation(keras.ops.sin),
        k.ReLU(threshold=0.5),
        k.ReLU(max_value=2.5, negative_slope=0.1, threshold=0.2),
        k.Activation(lambda z: z * z * z),
        k.Activation(lambda z: keras.activations.hard_shrink(z, 0.1)),
    ]
    x = rng.normal(size=(5, 4)).astype(np.float32)
    for function in functions:
        model = shaken(keras.Sequential([keras.Input((4,)), k.Dense(7), function]))
        (layer,) = extracted(model).network
        np.testing.assert_allclose(layer(x), model.predict(x, verbose=0), atol=1e-5)
    for function in (
        k.PReLU(),
        k.Lambda(lambda z: z - keras.ops.mean(z)),
    ):
        model = keras.Sequential(
            [keras.Input((4,)), k.Dense(7, name="a"), function, k.Dense(2, name="b")]
        )
        found = extracted(model)
        assert found.network.names == ("b",)
        assert "a" in {s.name for s in found.skipped}


def test_convolutions_and_batch_norm(keras):
    k = keras.layers
    model = shaken(keras.Sequential([
        keras.Input((6, 6, 4)), k.Conv2D(6, 3, name="conv", groups=2), k.BatchNormalization(),
        k.ReLU(), k.DepthwiseConv2D(2, depth_multiplier=2, activation="tanh", name="depth"),
        k.MaxPooling2D(), k.Flatten(), k.Dense(3, name="head"),
    ]))  # fmt: skip
    network = extracted(model).network
    assert network.names == ("conv", "depth", "head")
    assert network.sources == {"conv": (), "depth": ("conv",), "head": ("depth",)}
    assert network.straight == frozenset()
    conv, depth, head = network
    x = rng.normal(size=(1, 6, 6, 4)).astype(np.float32)
    inner = keras.Model(model.inputs, [layer.output for layer in model.layers])
    outs = [keras.ops.convert_to_numpy(o) for o in inner(x, training=False)]
    fields = np.moveaxis(x[0, 1:4, 2:5], -1, 0).reshape(-1)
    np.testing.assert_allclose(conv(fields), outs[2][0, 1, 2], atol=1e-4)
    fields = np.moveaxis(outs[2][0, 1:3, 0:2], -1, 0).reshape(-1)
    np.testing.assert_allclose(depth(fields), outs[3][0, 1, 0], atol=1e-4)
    np.testing.assert_allclose(head(outs[-2][0]), outs[-1][0], atol=1e-4)


def test_a_functional_graph(keras):
    k = keras.layers
    x = keras.Input((4,))
    a = k.Dense(5, "relu", name="a")(x)
    b = k.Dense(5, name="b")(a)
    c = k.Dense(5, name="c")(keras.ops.relu(b))
    joined = k.Add()([a, c])
    normed = k.LayerNormalization()(joined)
    d = k.Dense(2, "tanh", name="d")(normed)
    e = k.Dense(2, name="e")(k.Concatenate()([a, d]))
    own = k.Dense(3, name="own")(e)
    model = shaken(keras.Model(x, [e, keras.ops.sinh(own)]))
    found = extracted(model)
    acts = {layer.name: layer.activation.name for layer in found.network}
    assert acts == {
        "a": "relu",
        "b": "relu",
        "c": "identity",
        "d": "tanh",
        "e": "identity",
    }
    assert [s.name for s in found.skipped] == ["own"]
    assert found.network.sources["c"] == ("b",)
    assert found.network.sources["e"] == ("a", "d")
    assert found.network.sources["d"] == ()


def test_a_model_in_a_model(keras):
    k = keras.layers
    inner = keras.Sequential(
        [keras.Input((5,)), k.Dense(6, "tanh", name="x"), k.Dense(4, name="y")], name="inner"
    )
    model = shaken(keras.Sequential([keras.Input((3,)), k.Dense(5, "relu", name="a"), inner,
                                     k.Dense(2, name="z")]))  # fmt: skip
    network = extracted(model).network
    assert network.names == ("a", "inner/x", "inner/y", "z")
    assert network.sources["inner/x"] == ("a",)
    assert network.sources["z"] == ("inner/y",)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    out = x
    for layer in network:
        out = layer(out)
    np.testing.assert_allclose(out, model.predict(x, verbose=0), atol=1e-4)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gates_of_a_keras_model(keras, kind):
    layer = getattr(keras.layers, kind)(4, recurrent_activation="hard_sigmoid", name="rnn")
    model = shaken(
        keras.Sequential([keras.Input((1, 5)), layer, keras.layers.Dense(2, name="out")])
    )
    network = {x.name: x for x in extracted(model).network}
    x = rng.normal(size=(1, 1, 5)).astype(np.float32)
    y = keras.ops.convert_to_numpy(layer(x))[0]
    at = {n.rpartition(".")[2]: f(x[0, 0]) for n, f in network.items() if "rnn/kernel" in n}
    if kind == "LSTM":
        np.testing.assert_allclose(at["o"] * np.tanh(at["i"] * at["c"]), y, atol=1e-5)
    assert {f.activation.name for n, f in network.items() if "kernel" in n} <= {
        "hardsigmoid",
        "tanh",
        "identity",
    }
    assert network["out"].shape == (2, 4)


def test_what_cannot_be_seen_is_said(keras):
    k = keras.layers
    shared = k.Dense(4, name="shared")
    x = keras.Input((4,))
    model = keras.Model(x, k.Dense(2, name="out")(shared(shared(x))))
    found = extracted(model)
    assert found.network.names == ("out",)
    assert {s.name for s in found.skipped} == {"shared"}
    cut = keras.Model(x, k.Dense(3, name="seen")(x))
    elsewhere = keras.Model(cut.inputs, keras.ops.sinh(cut.get_layer("seen").output))
    assert extracted(cut).network[0].activation.name == "identity"
    with pytest.raises(ValueError, match="seen"):
        extracted(elsewhere)
    text = keras.Sequential(
        [keras.Input((3,)), k.Embedding(9, 4, name="emb"), k.Dense(2, name="a")]
    )
    found = extracted(text)
    assert {s.name for s in found.skipped} == {"emb"}
    with pytest.raises(ValueError, match="not built"):
        to_network(keras.Sequential([k.Dense(3)]))
    with pytest.raises(ValueError, match="brings its own"):
        to_network(text, ExtractOptions("relu"))


def test_neither_library_is_imported_for_arrays():
    code = (
        "import sys, numpy as np, eiplane; eiplane.analyze([np.eye(2)], measures='sensitivity'); "
        "assert not {'keras', 'sklearn', 'torch', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- ranges of a Keras model -------------------------------------------------------------------


def input_ranges(model, in_range=(0.0, 1.0)):
    found = extracted(model)
    plan = Plan(found.network, Settings("ei", in_range=in_range))
    return {n: (*plan.in_range(i), plan.range_source(i)) for i, n in enumerate(found.network.names)}


def followed(keras, between, shape=(4,), first=None):
    """The range of what a last layer takes, with something between it and a first one."""
    k = keras.layers
    x = keras.Input(shape)
    h = k.Dense(6, "tanh", name="first")(x) if first is None else first(x)
    model = shaken(keras.Model(x, k.Dense(2, name="last")(between(h))))
    return model, input_ranges(model)["last"]


def test_ranges_follow_what_lies_between(keras):
    k = keras.layers
    norm = k.LayerNormalization()
    _, (low, high, source) = followed(keras, norm)
    gamma, beta = (keras.ops.convert_to_numpy(v).astype(float) for v in (norm.gamma, norm.beta))
    reach = 5**0.5 * np.abs(gamma)
    assert (low, high, source) == (
        pytest.approx((beta - reach).min()), pytest.approx((beta + reach).max()), "norm"
    )  # fmt: skip
    batch = k.BatchNormalization()
    _, (low, high, source) = followed(keras, batch)
    at = np.stack([np.full(6, -1.0), np.full(6, 1.0)])
    ends = keras.ops.convert_to_numpy(batch(at.astype("float32"), training=False))
    assert (low, high, source) == (
        pytest.approx(ends.min(), abs=1e-6), pytest.approx(ends.max(), abs=1e-6), "interval"
    )  # fmt: skip
    assert followed(keras, lambda h: k.Add()([h, h, k.Rescaling(3.0, 0.5)(h)]))[1][:2] == (
        pytest.approx(-4.5), pytest.approx(5.5)
    )  # fmt: skip
    joined = followed(keras, lambda h: k.Concatenate()([h, k.Activation("sigmoid")(h)]))[1]
    assert joined[:2] == (-1.0, 1.0)
    relu = followed(keras, lambda h: k.ReLU()(k.Subtract()([h, k.Rescaling(0.5)(h)])))[1]
    assert relu == (pytest.approx(0.0), pytest.approx(1.5), "interval")
    assert followed(keras, k.Softmax())[1] == (0.0, 1.0, "interval")
    assert followed(keras, k.Rescaling(2.0, -1.0), first=lambda x: x)[1] == (-1.0, 1.0, "interval")
    table = k.Embedding(9, 4)
    low, high, _ = followed(keras, k.GlobalMaxPooling1D(), (5,), table)[1]
    w = keras.ops.convert_to_numpy(table.embeddings)
    assert (low, high) == (pytest.approx(w.min()), pytest.approx(w.max()))


def test_ranges_that_are_not_known_are_said(keras):
    k = keras.layers
    shared = k.Dense(6, "tanh")
    for between in (
        lambda h: shared(shared(h)),
        lambda h: keras.ops.cumsum(h, axis=1),
        lambda h: keras.ops.sin(h) * 3 + 1,
        k.PReLU(),
    ):
        _, found = followed(keras, between)
        assert found == (0.0, 1.0, "assumed")
    relu = k.SimpleRNN(3, activation="relu", name="rnn")
    model, found = followed(keras, lambda h: h, (5, 4), relu)
    assert found[2] == "assumed"
    assert input_ranges(model)["rnn/recurrent_kernel"][2] == "assumed"
    model, found = followed(keras, lambda h: h, (5, 4), k.LSTM(3, name="rnn"))
    assert found == (-1.0, 1.0, "activation")
    assert input_ranges(model)["rnn/recurrent_kernel.o"] == (-1.0, 1.0, "activation")
    with pytest.warns(eiplane.AssumedRangeWarning, match="of 1 layer is"):
        model, _ = followed(keras, lambda h: keras.ops.cumsum(h, axis=1))
        eiplane.analyze(model, measures="sensitivity", samples=100, method="sample")
