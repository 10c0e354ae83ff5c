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
from eiplane.extract.keras import from_keras
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
    with pytest.raises(ValueError, match="not fitted"):
        to_network(pipeline.make_pipeline(neural.MLPClassifier()))
    with pytest.raises(ValueError, match="brings its own activations"):
        to_network(neural.MLPClassifier(), ExtractOptions("relu"))


def fitted(model, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y)


def first_range(model, in_range=(0.0, 1.0)):
    network = to_network(model).network
    plan = Plan(network, Settings("ei", in_range=in_range))
    return (*plan.in_range(0), plan.range_source(0))


@pytest.mark.parametrize("kind", ["StandardScaler", "MinMaxScaler", "MaxAbsScaler",
                                  "RobustScaler", "two"])  # fmt: skip
def test_a_pipeline_with_scalers_gives_the_first_layer_s_range(kind):
    """The corners of the input's box, through the pipeline's own steps."""
    neural = pytest.importorskip("sklearn.neural_network")
    steps = pytest.importorskip("sklearn.preprocessing")
    pipeline = pytest.importorskip("sklearn.pipeline")
    x = rng.normal(2.0, 3.0, size=(40, 3))
    scalers = (
        [steps.MinMaxScaler(feature_range=(-2, 3), clip=True), steps.StandardScaler()]
        if kind == "two"
        else [getattr(steps, kind)()]
    )
    network = neural.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    model = fitted(pipeline.make_pipeline(*scalers, "passthrough", network), x, x[:, 0])
    corners = np.array([[a, b, c] for a in (-1, 2) for b in (-1, 2) for c in (-1, 2)], float)
    seen = model[:-1].transform(corners)
    low, high, source = first_range(model, (-1.0, 2.0))
    assert source == "interval"
    assert (low, high) == (pytest.approx(seen.min()), pytest.approx(seen.max()))
    y = seen
    for layer in to_network(model).network:
        y = layer(y)
    np.testing.assert_allclose(y[:, 0], model.predict(corners), atol=1e-9)


def test_what_holds_a_network_of_scikit_learn():
    neural = pytest.importorskip("sklearn.neural_network")
    search = pytest.importorskip("sklearn.model_selection")
    compose = pytest.importorskip("sklearn.compose")
    x, y = rng.normal(size=(30, 3)), rng.uniform(1, 2, 30)
    network = neural.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    grid = search.GridSearchCV(network, {"alpha": [1e-3]}, cv=2)
    with pytest.raises(ValueError, match="not fitted"):
        to_network(grid)
    grid = fitted(grid, x, y)
    found = to_network(grid).network
    np.testing.assert_allclose(found[0].weight, grid.best_estimator_.coefs_[0].T)
    target = fitted(compose.TransformedTargetRegressor(network, func=np.log, inverse_func=np.exp),
                    x, y)  # fmt: skip
    found = to_network(target).network
    np.testing.assert_allclose(found[1](found[0](x))[:, 0], np.log(target.predict(x)), atol=1e-9)
    if "loss" in network.get_params():
        network.set_params(loss="poisson")
        found = to_network(fitted(network, x, y)).network
        assert found[1].activation.name == "exp"
        np.testing.assert_allclose(found[1](found[0](x))[:, 0], network.predict(x))


def test_estimators_that_compute_something_else_are_refused():
    neural = pytest.importorskip("sklearn.neural_network")
    decomposition = pytest.importorskip("sklearn.decomposition")
    pipeline = pytest.importorskip("sklearn.pipeline")
    x = rng.normal(size=(30, 3))

    class Odd(neural.MLPRegressor):
        def predict(self, x):
            return super().predict(np.sin(x))

    class Plain(neural.MLPRegressor):
        pass

    with pytest.raises(ValueError, match="does not predict what its layers give"):
        to_network(fitted(Odd(hidden_layer_sizes=(4,), max_iter=3), x, x[:, 0]))
    plain = fitted(Plain(hidden_layer_sizes=(4,), max_iter=3), x, x[:, 0])
    assert to_network(plain).network.names == ("coefs_.0", "coefs_.1")
    reduced = pipeline.make_pipeline(
        decomposition.PCA(2), neural.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3)
    )
    with pytest.raises(TypeError, match=r"step 'pca' \(a PCA\) is no scaler"):
        to_network(fitted(reduced, x, x[:, 0]))
    for given in ({"input_data": x}, {"input_size": (3,)}, {"key": "model"}):
        with pytest.raises(ValueError, match=r"leave (it|them) out for Plain"):
            to_network(plain, ExtractOptions(**given))


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
        k.PReLU(),
    ]
    x = rng.normal(size=(5, 4)).astype(np.float32)
    for function in functions:
        model = shaken(keras.Sequential([keras.Input((4,)), k.Dense(7), function]))
        (layer,) = extracted(model).network
        np.testing.assert_allclose(layer(x), model.predict(x, verbose=0), atol=1e-5)
    centred = k.Lambda(lambda z: z - keras.ops.mean(z))
    model = keras.Sequential(
        [keras.Input((4,)), k.Dense(7, name="a"), centred, k.Dense(2, name="b")]
    )
    network, skipped = from_keras(model)
    assert network.names == ("b",)
    assert "a" in {s.name for s in skipped}


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


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_over_one_axis(keras, bias):
    k = keras.layers
    conv = k.Conv1D(5, 3, use_bias=bias, activation="relu", name="conv")
    model = shaken(keras.Sequential([keras.Input((8, 2)), conv, k.Flatten(), k.Dense(3, name="d")]))
    found = extracted(model)
    assert (found.network.names, found.skipped) == (("conv", "d"), ())
    x = rng.normal(size=(1, 8, 2)).astype(np.float32)
    out = keras.ops.convert_to_numpy(conv(x))[0]
    layer = found.network.layers[0]
    np.testing.assert_allclose(layer(x[0, 2:5].T.reshape(-1)), out[2], atol=1e-5)
    last = found.network.layers[1](out.reshape(-1))
    np.testing.assert_allclose(last, model.predict(x, verbose=0)[0], atol=1e-4)


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
    assert acts.pop("own") == "sinh"
    assert acts == {
        "a": "relu",
        "b": "relu",
        "c": "identity",
        "d": "tanh",
        "e": "identity",
    }
    assert found.skipped == ()
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
    x = keras.Input((4,))
    cut = keras.Model(x, k.Dense(3, name="seen")(x))
    elsewhere = keras.Model(cut.inputs, keras.ops.sinh(cut.get_layer("seen").output))
    assert extracted(cut).network[0].activation.name == "identity"
    assert extracted(elsewhere).network[0].activation.name == "sinh"
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
        pytest.approx(ends.min(), abs=1e-6), pytest.approx(ends.max(), abs=1e-6), "activation"
    )  # fmt: skip
    assert followed(keras, lambda h: k.Add()([h, h, k.Rescaling(3.0, 0.5)(h)]))[1][:2] == (
        pytest.approx(-4.5), pytest.approx(5.5)
    )  # fmt: skip
    joined = followed(keras, lambda h: k.Concatenate()([h, k.Activation("sigmoid")(h)]))[1]
    assert joined[:2] == (-1.0, 1.0)
    relu = followed(keras, lambda h: k.ReLU()(k.Subtract()([h, k.Rescaling(0.5)(h)])))[1]
    # Of half a tanh: one function where the layer's own is followed, else intervals of it.
    assert relu[0] == 0.0 and relu[2] in ("activation", "interval")
    assert 0.0 < relu[1] <= 0.5
    assert followed(keras, k.Softmax())[1] == (0.0, 1.0, "interval")
    assert followed(keras, k.Rescaling(2.0, -1.0), first=lambda x: x)[1] == (-1.0, 1.0, "interval")
    table = k.Embedding(9, 4)
    low, high, _ = followed(keras, k.GlobalMaxPooling1D(), (5,), table)[1]
    w = keras.ops.convert_to_numpy(table.embeddings)
    assert (low, high) == (pytest.approx(w.min()), pytest.approx(w.max()))


def test_ranges_that_are_not_known_are_said(keras):
    k = keras.layers
    for between in (
        lambda h: keras.ops.cumsum(h, axis=1),
        lambda h: keras.ops.sort(h, axis=1),
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


# -- layers used several times, and layers made of layers ----------------------------------------


def values_at(keras, model, name_of, x):
    """What a model's own tensors hold for an input."""
    part = keras.Model(model.inputs, name_of)
    return np.asarray(keras.ops.convert_to_numpy(part(x)))


def test_a_layer_that_is_used_again_has_the_ranges_of_all_uses(keras):
    k = keras.layers
    shared, x = k.Dense(5, "tanh", name="shared"), keras.Input((5,))
    first = shared(x)
    second = shared(k.Rescaling(3.0, -1.0)(k.Add()([first, x])))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(second)))
    found = extracted(model)
    assert found.skipped == ()
    assert found.network.names == ("shared", "out")
    # Of x, and of 3 (tanh + x) - 1.
    assert input_ranges(model, (0.0, 1.0))["shared"][:2] == (-4.0, 5.0)
    data = rng.uniform(size=(50, 5)).astype(np.float32)
    layer, out = found.network
    y = layer(3.0 * (layer(data) + data) - 1.0)
    np.testing.assert_allclose(out(y), model.predict(data, verbose=0), atol=1e-4)


def test_uses_that_are_followed_by_different_functions_are_two_layers(keras):
    k = keras.layers
    shared, x = k.Dense(4, name="shared"), keras.Input((4,))
    a, b = k.ReLU()(shared(x)), k.Activation("tanh")(shared(k.Activation("tanh")(x)))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(k.Concatenate()([a, b]))))
    network = extracted(model).network
    assert [(n.name, n.activation.name) for n in network] == [
        ("shared", "relu"), ("shared#2", "tanh"), ("out", "identity"),
    ]  # fmt: skip
    data = rng.normal(size=(9, 4)).astype(np.float32)
    one, two, out = network
    y = np.concatenate([one(data), two(np.tanh(data))], axis=1)
    np.testing.assert_allclose(out(y), model.predict(data, verbose=0), atol=1e-4)


def test_a_model_that_is_called_twice(keras):
    k = keras.layers
    z = keras.Input((3,))
    tower = keras.Model(z, k.Dense(4, "sigmoid", name="up")(z), name="tower")
    a, b = keras.Input((3,)), keras.Input((3,))
    left, right = tower(a), tower(k.Activation("tanh")(b))
    model = shaken(keras.Model([a, b], k.Dense(2, name="out")(k.Concatenate()([left, right]))))
    keras.Model(z, k.Dense(3)(tower(100.0 * z)))  # another model's use is not this one's
    found = extracted(model)
    assert (found.network.names, found.skipped) == (("tower/up", "out"), ())
    spans = input_ranges(model, (0.0, 0.5))
    assert spans["tower/up"][:2] == pytest.approx((0.0, 0.5))
    assert input_ranges(model, (-3.0, 3.0))["tower/up"][:2] == (-3.0, 3.0)
    assert spans["out"][:2] == (0.0, 1.0)
    up, out = found.network
    x, y = rng.normal(size=(2, 6, 3)).astype(np.float32)
    given = np.concatenate([up(x), up(np.tanh(y))], axis=1)
    np.testing.assert_allclose(out(given), model.predict([x, y], verbose=0), atol=1e-4)


def test_a_norm_and_gates_that_are_used_twice(keras):
    k = keras.layers
    norm, rnn = k.LayerNormalization(name="norm"), k.SimpleRNN(3, return_sequences=True, name="rnn")
    x = keras.Input((6, 3))
    h = rnn(norm(rnn(norm(x))))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(h)))
    found = extracted(model)
    assert found.skipped == ()
    assert found.network.names == ("rnn/kernel", "rnn/recurrent_kernel", "out")
    spans = input_ranges(model)
    gain, shift = (np.asarray(keras.ops.convert_to_numpy(v)) for v in (norm.gamma, norm.beta))
    data = rng.normal(size=(500, 6, 3)).astype(np.float32)
    seen = values_at(keras, model, norm.get_output_at(1) if hasattr(norm, "get_output_at")
                     else norm._inbound_nodes[1].output_tensors[0], data)  # fmt: skip
    low, high = spans["rnn/kernel"][:2]
    assert low <= seen.min() and seen.max() <= high
    assert high <= np.abs(gain).max() * np.sqrt(2) + np.abs(shift).max() + 1e-6
    assert spans["out"][:2] == (-1.0, 1.0)


def test_layers_over_time_and_both_ways(keras):
    k = keras.layers
    x = keras.Input((4, 3))
    h = k.TimeDistributed(k.Dense(5, "tanh"), name="each")(x)
    h = k.Bidirectional(k.GRU(2, return_sequences=True, reset_after=False), name="ways")(h)
    model = shaken(keras.Model(x, k.Dense(2, name="out")(h)))
    found = extracted(model)
    assert found.skipped == ()
    names = found.network.names
    assert names[0] == "each"
    assert names[-1] == "out"
    assert len(names) == 2 + 2 * 2 * 3
    assert {n.partition("/")[0] for n in names[1:-1]} == {"ways"}
    spans = input_ranges(model)
    assert {spans[n][:2] for n in names[1:]} == {(-1.0, 1.0)}
    data = rng.normal(size=(3, 4, 3)).astype(np.float32)
    layers = {n.name: n for n in found.network}
    inner = values_at(keras, model, model.layers[1].output, data)
    np.testing.assert_allclose(layers["each"](data.reshape(-1, 3)).reshape(3, 4, 5), inner,
                               atol=1e-5)  # fmt: skip
    ways = values_at(keras, model, model.layers[2].output, data)
    for side, at in (("forward", slice(0, 2)), ("backward", slice(2, 4))):
        own = {n.rpartition("/")[2]: f for n, f in layers.items() if side in n}
        order = inner[0] if side == "forward" else inner[0, ::-1]
        state = np.zeros(2)

        def pre(gate, value, own=own):
            layer = own[gate]
            return layer.weight.astype(float) @ value, layer.offsets(), layer.activation

        for step in order:
            gates = {}
            for letter in "zrh":
                (a, b, act) = pre(f"kernel.{letter}", step)
                back = state if letter != "h" else gates["r"] * state
                c, _, _ = pre(f"recurrent_kernel.{letter}", back)
                gates[letter] = act(a + b + c)
            state = gates["z"] * state + (1 - gates["z"]) * gates["h"]
        seen = ways[0, -1, at] if side == "forward" else ways[0, 0, at]
        np.testing.assert_allclose(state, seen, atol=1e-4)


@pytest.mark.parametrize(
    "equation", ["abc,cde->abde", "abc,bce->abe", "abc,ec->abe", "abc,cd->adb"]
)
def test_sums_by_an_equation(keras, equation):
    k = keras.layers
    x = keras.Input((4, 3))
    shape, bias = {
        "abc,cde->abde": ((None, 2, 5), "de"), "abc,bce->abe": ((None, 6), "e"),
        "abc,ec->abe": ((None, 6), "e"), "abc,cd->adb": ((6, None), None),
    }[equation]  # fmt: skip
    dense = k.EinsumDense(
        equation,
        output_shape=shape if shape[0] is not None else (4, *shape[1:]),
        bias_axes=bias,
        activation="tanh",
        name="sum",
    )
    model = shaken(keras.Model(x, keras.ops.multiply(dense(x), 1.0)))
    if equation == "abc,bce->abe":  # a matrix for each place
        with pytest.raises(ValueError, match="a matrix for each place"):
            from_keras(model)
        return
    (layer,) = extracted(model).network
    data = rng.normal(size=(2, 4, 3)).astype(np.float32)
    seen = np.asarray(keras.ops.convert_to_numpy(dense(data)))
    if equation.endswith("adb"):
        seen = seen.swapaxes(1, 2)
    mine = layer(data.reshape(-1, 3)).reshape(seen.shape)
    assert layer.activation.name == "tanh"
    np.testing.assert_allclose(mine, seen, atol=1e-5)


@pytest.mark.parametrize("self_attention", [True, False])
def test_the_maps_of_an_attention(keras, self_attention):
    k = keras.layers
    x, y = keras.Input((4, 6)), keras.Input((5, 3))
    h = k.Activation("tanh")(x)
    att = k.MultiHeadAttention(
        2, 3, value_dim=3 if keras.backend.backend() == "jax" else 4, name="att"
    )
    other = h if self_attention else y
    model = shaken(keras.Model([x, y], k.Dense(2, name="out")(att(h, other))))
    found = extracted(model)
    assert found.skipped == ()
    layers = {n.name: n for n in found.network}
    assert list(layers) == [f"att/{n}" for n in ("query", "key", "value", "attention_output")] + [
        "out"
    ]
    a = rng.normal(size=(1, 4, 6)).astype(np.float32)
    b = rng.normal(size=(1, 5, 3)).astype(np.float32)
    u = np.tanh(a[0])
    v = u if self_attention else b[0]
    q, key, value = (
        layers[f"att/{n}"](s).reshape(len(s), 2, -1)
        for n, s in (("query", u), ("key", v), ("value", v))
    )
    scores = np.einsum("qhd,khd->hqk", q, key) / np.sqrt(3)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    mixed = np.einsum("hqk,khd->qhd", shares, value).reshape(4, -1)
    mine = layers["out"](layers["att/attention_output"](mixed))
    np.testing.assert_allclose(mine, model.predict([a, b], verbose=0)[0], rtol=1e-4, atol=1e-4)
    spans = input_ranges(model)
    assert spans["att/query"][:2] == pytest.approx((0.0, np.tanh(1.0)))
    if self_attention:
        low, high = spans["att/attention_output"][:2]
        many = layers["att/value"](rng.uniform(0, np.tanh(1), size=(4000, 6)))
        assert low <= many.min() and many.max() <= high


def test_a_separable_convolution_is_two(keras):
    k = keras.layers
    x = keras.Input((7, 7, 3))
    h = k.SeparableConv2D(5, 3, depth_multiplier=2, activation="tanh", padding="same", name="s")(x)
    model = shaken(keras.Model(x, k.Dense(2, name="out")(k.Flatten()(h))))
    found = extracted(model)
    assert found.skipped == ()
    first, second, _ = found.network
    assert (first.name, second.name) == ("s/depthwise", "s/pointwise")
    data = rng.normal(size=(2, 7, 7, 3)).astype(np.float32)
    seen = values_at(keras, model, h, data)
    patches = np.stack([data[:, i : i + 3, 2:5] for i in range(5)], 1)  # at (1.., 3)
    middle = np.einsum("bpyxc,cmyx->bpcm", patches, first.weight.reshape(3, 2, 3, 3))
    mine = second.activation(
        middle.reshape(2, 5, 6) @ second.weight.reshape(5, 6).T + second.offsets()
    )
    np.testing.assert_allclose(mine, seen[:, 1:6, 3], atol=1e-4)
    assert input_ranges(model)["out"][:2] == (-1.0, 1.0)


def test_a_model_of_a_class_of_its_own_has_keras_names(keras):
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.first = keras.layers.Dense(5, "relu", name="first")
            self.last = keras.layers.Dense(2, name="last")

        def call(self, x):
            return self.last(self.first(x))

    if keras.backend.backend() != "torch":
        pytest.skip("only torch runs it")
    model = Own()
    data = rng.normal(size=(6, 4)).astype(np.float32)
    model(data)
    network = extracted(model, input_size=(2, 4)).network
    assert network.names == ("own/first", "own/last")
    one, two = network
    np.testing.assert_allclose(two(one(data)), model.predict(data, verbose=0), atol=1e-5)
