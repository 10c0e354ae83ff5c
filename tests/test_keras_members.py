"""What follows a layer of Keras, held against the tensors that the model itself computes."""

import os
import warnings

import numpy as np
import pytest

from eiplane.analyze import Plan
from eiplane.extract import ExtractOptions, to_network
from eiplane.extract.keras import from_keras
from eiplane.run import Settings

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
k, ops = keras.layers, keras.ops
RATES = np.array([0.5, -1.0, 2.0, 3.0, -0.25, 1.5], np.float32)


def shaken(model):
    """Give every weight a value of its own."""
    rng = np.random.default_rng(5)
    made = []
    for v in model.weights:
        size = rng.uniform(0.3, 1.0, v.shape)
        made.append(size if "var" in v.name else size * rng.choice([-1, 1], v.shape))
    model.set_weights(made)
    return model


def tensor(model, at, data):
    """What a tensor of the model holds for some data."""
    return np.asarray(ops.convert_to_numpy(keras.Function(model.inputs, at)([data])))


def ranges(network, in_range=(0.0, 1.0)):
    plan = Plan(network, Settings("ei", in_range=in_range))
    return {n: (*plan.in_range(i), plan.range_source(i)) for i, n in enumerate(network.names)}


class Beta(k.Layer):
    """A swish with a number of its own for every feature."""

    def build(self, shape):
        self.beta = self.add_weight(shape=(shape[-1],), name="beta")

    def call(self, x):
        return x * ops.sigmoid(self.beta * x)


class Dropout(k.Layer):
    """Something else than what Keras calls so."""

    def call(self, x):
        return 5.0 * x * x


def gated(z):
    return k.Multiply()([z, k.Activation("sigmoid")(z)])


#: A name of what may follow a layer, and a function of six features that does it.
FUNCTIONS = {
    "scaled by a number": lambda z: ops.relu(z * 2.0 - 1.0),
    "scaled by row": lambda z: ops.tanh(z * RATES + RATES[::-1].copy()),
    "taken from a number": lambda z: ops.relu(1.0 - z),
    "divided": lambda z: ops.softplus(z / 3.0),
    "the greater of it and a number": lambda z: ops.maximum(z, 0.25),
    "a gate of its own": gated,
    "a choice": lambda z: ops.where(z > 0.1, z, 0.0),
    "its own negative": lambda z: k.Maximum()([z, -z]),
    "itself twice": lambda z: k.ReLU()(k.Add()([z, z])),
    "slopes": k.PReLU(),
    "a class that is called like another": Dropout(),
    "a class of its own with numbers": Beta(),
    "a batch norm and scales": lambda z: ops.gelu(0.5 * k.BatchNormalization()(z)),
    "moves between": lambda z: ops.reshape(
        ops.tanh(ops.transpose(ops.reshape(z, (-1, 2, 3)), (0, 2, 1))), (-1, 6)
    ),
    "a norm of two axes": lambda z: k.Flatten()(
        k.ReLU()(k.BatchNormalization()(k.Reshape((2, 3))(z)))
    ),
    "steps": lambda z: ops.floor(z * 2.0) / 4.0,
    "noise in training": lambda z: k.ELU()(k.GaussianNoise(0.5)(z)),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_what_follows_is_what_the_model_computes(kind):
    x = keras.Input((4,))
    made = FUNCTIONS[kind](k.Dense(6, name="a")(x))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(made)))
    if kind == "moves between":  # rows have moved
        order = np.arange(6).reshape(2, 3).T.reshape(-1)
    else:
        order = np.arange(6)
    network, skipped = from_keras(model)
    assert skipped == ()
    first, last = network
    data = np.random.default_rng(1).uniform(-1, 1, (64, 4)).astype(np.float32)
    seen = tensor(model, made, data)
    np.testing.assert_allclose(first(data)[:, order], seen, atol=2e-5)
    np.testing.assert_allclose(last(seen), model.predict(data, verbose=0), atol=1e-4)
    low, high, source = ranges(network, (-1.0, 1.0))["out"]
    assert source == "activation"
    assert low - 1e-5 <= seen.min()
    assert seen.max() <= high + 1e-5
    assert (network.straight == {"out"}) == (kind != "moves between")


OTHERS = {
    "a mean over the features": lambda z: z - ops.mean(z, axis=-1, keepdims=True),
    "a mean over all": lambda z: z - ops.mean(z),
    "the greatest of all": lambda z: ops.relu(z / ops.max(ops.abs(z))),
    "an order": lambda z: ops.sort(z, axis=-1),
    "a batch's own norm": lambda z: ops.relu(
        ops.cumsum(k.BatchNormalization()(z, training=True), axis=-1)
    ),
    "a matrix out of sight": k.Lambda(
        lambda z: ops.matmul(z, np.ones((6, 6), "float32")), output_shape=(6,)
    ),
    "relu or tanh": lambda z: ops.relu(z) + ops.cumsum(ops.tanh(z), axis=-1),
    "a number for each place": lambda z: ops.relu(
        k.Flatten()(k.PReLU()(k.RepeatVector(2)(z)))[:, :6]
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_function_of_one_entry_is_never_linear(kind):
    x = keras.Input((4,))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(OTHERS[kind](k.Dense(6, name="a")(x)))))
    network, skipped = from_keras(model)
    if kind == "a batch's own norm":
        assert (network.names, skipped) == (("a", "out"), ())  # linear, into a norm
        assert network[0].activation.name == "identity"
    else:
        assert network.names == ("out",)
        assert "a" in {s.name for s in skipped}
    assert ranges(network)["out"][2] == "assumed"
    if kind == "a matrix out of sight":
        assert any("multiplies with" in s.reason for s in skipped)


def test_what_is_not_followed_is_run_where_that_is_possible():
    x = keras.Input((4,))
    h = k.Dense(6, "tanh", name="a")(x)
    made = ops.relu(ops.matmul(h, np.diag(RATES) + 0.25))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(made)))
    network, skipped = from_keras(model)
    assert network.names == ("a", "out")
    assert len(skipped) == 1
    if keras.backend.backend() != "torch":
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(model)
        given = np.array([[0.25] * 4, [0.75] * 4], np.float32)
        seen = to_network(model, ExtractOptions(input_data=given, quantiles=(0.0, 1.0)))
    assert found.skipped == ()
    one, two, three = found.network
    data = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(three(two(one(data))), model.predict(data, verbose=0), atol=1e-5)
    assert ranges(found.network)["out"][2] != "assumed"
    assert seen.network.seen["a"].inputs == (0.25, 0.75)


def test_halves_and_joined_layers():
    x = keras.Input((4,))
    a = k.Dense(6, name="a")(x)
    joined = k.ReLU()(k.Concatenate()([k.Dense(3, name="b")(x), k.Dense(2, name="c")(x), x]))
    made = k.Concatenate()([a[:, :3] * ops.sigmoid(a[:, 3:]), joined])
    model = shaken(keras.Model(x, k.Dense(2, name="out")(made)))
    network, skipped = from_keras(model)
    assert skipped == ()
    layers = {n.name: n for n in network}
    assert list(layers) == ["a[0:3]", "a[3:6]", "b", "c", "out"]
    data = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    seen = tensor(model, made, data)
    np.testing.assert_allclose(layers["a[0:3]"](data) * layers["a[3:6]"](data), seen[:, :3],
                               atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(layers["b"](data), seen[:, 3:6], atol=1e-5)
    np.testing.assert_allclose(layers["c"](data), seen[:, 6:8], atol=1e-5)


def test_a_class_of_its_own_is_not_what_it_is_called():
    class Dense(k.Dense):
        def call(self, x):
            return super().call(x) ** 2

    class Plain(k.Dense):
        pass

    x = keras.Input((4,))
    h = Dense(5, name="square")(Plain(6, "tanh", name="plain")(x))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(h)))
    network, skipped = from_keras(model)
    assert network.names == ("plain", "out")
    assert [s.name for s in skipped] == ["square"]

    class Odd(keras.Model):
        def call(self, x, **options):
            return super().call(ops.sin(x), **options)

    assert from_keras(shaken(Odd(x, k.Dense(2, name="out")(k.Dense(5, name="a")(x))))) is None


@pytest.mark.parametrize("pool", ["MaxPooling2D", "AveragePooling2D", "UpSampling2D"])
def test_a_function_behind_a_pooling(pool):
    x = keras.Input((6, 6, 2))
    z = k.Conv2D(3, 3, name="conv")(x)
    more = {"interpolation": "bilinear"} if pool == "UpSampling2D" else {}
    h = k.ReLU()(getattr(k, pool)(2, **more)(z))
    model = shaken(keras.Model(x, k.Conv2D(2, 1, name="out")(h)))
    network, skipped = from_keras(model)
    if pool != "MaxPooling2D":
        assert network.names == ("out",)
        assert "a function follows" in skipped[0].reason
        return
    conv, _ = network
    data = np.random.default_rng(1).normal(size=(1, 6, 6, 2)).astype(np.float32)
    fields = [np.moveaxis(data[0, i : i + 3, j : j + 3], -1, 0).reshape(-1)
              for i in (0, 1) for j in (0, 1)]  # fmt: skip
    np.testing.assert_allclose(conv(np.array(fields)).max(0), tensor(model, h, data)[0, 0, 0],
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_layers_that_round_are_what_they_would_be(policy):
    with_policy = {"dtype": policy}
    x = keras.Input((4,))
    z = k.Dense(6, name="a", **with_policy)(x)
    h = k.ReLU(**with_policy)(k.BatchNormalization(**with_policy)(z))
    h = k.Dense(5, "silu", name="b", **with_policy)(k.Rescaling(2.0, **with_policy)(h))
    model = shaken(keras.Model(x, k.Dense(2, dtype="float32", name="out")(h)))
    network, skipped = from_keras(model)
    assert skipped == ()
    assert [n.activation.name for n in network] == ["relu", "silu", "identity"]
    assert all(layer.dtype_policy.name == policy for layer in model.layers[1:-1])
    y = data = np.random.default_rng(1).uniform(size=(20, 4)).astype(np.float32)
    for layer in network:
        y = layer(y)
    np.testing.assert_allclose(y, model.predict(data, verbose=0), rtol=0.1, atol=0.2)


def test_an_output_of_which_nothing_is_left_stays_so_far_away():
    """Beside others of which something is: it is 0 beyond every place that is looked at, too."""
    x = keras.Input((4,))
    z = k.Dense(3, name="a")(x)
    h = k.Subtract()([k.Rescaling([1.0, 2.0, 3.0])(z), z])
    model = shaken(keras.Model(x, k.Dense(2, name="out")(h)))
    network, _ = from_keras(model)
    data = np.random.default_rng(1).uniform(-1e4, 1e4, size=(40, 4)).astype(np.float32)
    np.testing.assert_allclose(network[0](data), tensor(model, h, data), rtol=1e-5, atol=1e-2)


def test_quantised_and_adapted_kernels():
    x = keras.Input((16,))
    model = shaken(keras.Model(x, k.Dense(2, name="out")(k.Dense(8, "relu", name="a")(x))))
    model.get_layer("a").enable_lora(2)
    shaken(model)
    network, _ = from_keras(model)
    y = data = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
    for layer in network:
        y = layer(y)
    np.testing.assert_allclose(y, model.predict(data, verbose=0), atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int8")
    with pytest.raises(ValueError, match=r"quantised \(int8\)"):
        from_keras(model)


def test_one_dimensional_convolutions_and_their_parts():
    x = keras.Input((9, 3))
    h = k.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="gelu", name="causal")(x)
    s = k.SeparableConv1D(5, 2, activation="tanh", name="parts")(h)
    model = shaken(keras.Model(x, k.Dense(2, name="out")(k.GlobalAveragePooling1D()(s))))
    network, skipped = from_keras(model)
    assert skipped == ()
    assert network.names == ("causal", "parts/depthwise", "parts/pointwise", "out")
    causal, depth, point, _ = network
    data = np.random.default_rng(1).normal(size=(2, 9, 3)).astype(np.float32)
    seen = tensor(model, h, data)
    field = np.moveaxis(data[:, 1:6:2], -1, 1).reshape(2, -1)  # what place 5 sees
    np.testing.assert_allclose(causal(field), seen[:, 5], atol=1e-5)
    window = seen[:, 3:5]
    middle = np.einsum("btc,ct->bc", window, depth.weight.reshape(4, 2))
    np.testing.assert_allclose(point(middle), tensor(model, s, data)[:, 3], atol=1e-5)
    assert ranges(network)["causal"][:2] == (0.0, 1.0)


def test_ranges_of_what_lies_before_a_layer():
    x = keras.Input((4,))
    one = k.Dense(3, name="one")(2.0 * x - 1.0)
    drop = k.Dense(3, name="drop")(k.Dropout(0.5)(k.Activation("tanh")(x), training=True))
    both = k.Attention()([k.Reshape((1, 3))(one), k.Reshape((1, 3))(k.Activation("tanh")(drop))])
    soft = k.Dense(2, name="soft")(k.Activation("softmax")(one))
    model = keras.Model(x, [k.Dense(2, name="both")(both), soft])
    found = ranges(from_keras(model)[0], (0.0, 1.0))
    assert found["one"] == (-1.0, 1.0, "interval")
    assert found["drop"][2] == "assumed"  # doubled in training
    assert found["both"][:2] == (-1.0, 1.0)
    assert found["soft"] == (0.0, 1.0, "interval")
