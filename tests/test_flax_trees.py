"""Parameter trees of Flax against Flax itself where it is there, and written out by hand."""

import os
import warnings

import numpy as np
import pytest

from eiplane.extract import ExtractOptions, to_network

rng = np.random.default_rng(0)


def extracted(tree, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(tree, ExtractOptions("identity", **options))
    return {str(n.name): n.load() for n in found.network}, {s.name: s.reason for s in found.skipped}


def dense(n_in, n_out, *stack, bias=True):
    tree = {"kernel": rng.normal(size=(*stack, n_in, n_out))}
    return {**tree, "bias": rng.normal(size=(*stack, n_out))} if bias else tree


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# -- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [True, False])
def test_stacked_layers_are_layers_one_behind_the_other(norm):
    block = {"fc": dense(5, 5, 3), "out": dense(5, 5, 3, bias=False)}
    if norm:
        block["norm"] = {"scale": rng.normal(size=(3, 5)), "bias": rng.normal(size=(3, 5))}
    tree = {"first": dense(4, 5), "blocks": block, "last": dense(5, 2)}
    got, listed = extracted(tree)
    assert not listed
    x = rng.normal(size=(6, 4))
    h, mine = x @ tree["first"]["kernel"] + tree["first"]["bias"], got["first"](x)
    for k in range(3):
        h = (h @ block["fc"]["kernel"][k] + block["fc"]["bias"][k]) @ block["out"]["kernel"][k]
        mine = got[f"blocks.{k}.out"](got[f"blocks.{k}.fc"](mine))
    np.testing.assert_allclose(mine, h, atol=1e-10)


def test_kernels_of_three_dimensions_that_may_be_two_things_are_listed():
    for tree, name in (
        ({"a": dense(4, 5), "mixer": {"kernel": rng.normal(size=(3, 5, 5))}}, "mixer"),
        ({"a": dense(4, 5), "heads": {"kernel": rng.normal(size=(3, 3, 5)),
                                      "bias": rng.normal(size=(3, 5))}}, "heads"),
    ):  # fmt: skip
        got, listed = extracted(tree)
        assert list(got) == ["a"]
        assert "stacked" in listed[name]
    got, listed = extracted({"conv_1": {"kernel": rng.normal(size=(3, 2, 5))}})
    assert got["conv_1"].shape == (5, 2, 3)


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 2)])
def test_outputs_of_several_axes(shape):
    kernel, bias = rng.normal(size=(4, *shape)), rng.normal(size=shape)
    got, listed = extracted({"split": {"kernel": kernel, "bias": bias}})
    assert not listed
    x = rng.normal(size=(7, 4))
    wanted = np.tensordot(x, kernel, 1) + bias
    np.testing.assert_allclose(got["split"](x), wanted.reshape(7, -1), atol=1e-12)


def test_weight_norm_spectral_norm_and_adapters_are_put_together():
    v, scale = rng.normal(size=(4, 3)), rng.normal(size=3)
    a, b = rng.normal(size=(4, 2)), rng.normal(size=(2, 3))
    params = {
        "WeightNorm_0": {"w/kernel/scale": scale}, "w": {"kernel": v},
        "part": {"s": {"kernel": v, "bias": scale}},
        "l": {"kernel": v, "lora": {"lora_a": a, "lora_b": b}},
    }  # fmt: skip
    _, values, right = np.linalg.svd(v)
    sigma = values[0]  # one step from the singular vector is the singular value
    norm = {"s/kernel/sigma": np.array(sigma), "s/kernel/u": right[:1]}
    tree = {"params": params, "batch_stats": {"part": {"SpectralNorm_0": norm}}}
    got, listed = extracted(tree)
    assert not listed
    np.testing.assert_allclose(got["w"].weight, (v / np.linalg.norm(v, axis=0) * scale).T)
    np.testing.assert_allclose(got["part.s"].weight, v.T / sigma)
    np.testing.assert_allclose(got["l"].weight, (v + a @ b).T)
    np.testing.assert_allclose(got["l.lora.lora_A"].weight, a.T)
    np.testing.assert_allclose(got["l.lora.lora_B"].weight, b.T)


# -- Flax itself ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flax():
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    return pytest.importorskip("flax")


def shaken(jax, tree):
    return jax.tree.map(lambda v: np.asarray(v) + 0.3 * rng.normal(size=np.shape(v)), tree)


def lstm_step(got, stem, x, h, c):
    z = {n: got[f"{stem}i{n}"] for n in "ifgo"}, {n: got[f"{stem}h{n}"] for n in "ifgo"}
    gate = {}
    for n in "ifgo":
        own, back = z[0][n], z[1][n]
        np.testing.assert_allclose(own.offsets(), back.offsets())
        gate[n] = own.activation(own.weight @ x + back.weight @ h + own.offsets())
    c = gate["f"] * c + gate["i"] * gate["g"]
    return gate["o"] * np.tanh(c), c


@pytest.mark.parametrize("kind", ["LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_cells_of_linen(flax, kind):
    import jax
    from flax import linen

    cell = getattr(linen, kind)(4)
    x = rng.normal(size=3)
    carry = cell.initialize_carry(jax.random.key(0), x.shape)
    params = shaken(jax, cell.init(jax.random.key(1), carry, x))
    got, listed = extracted({"cell": params["params"]})
    assert not listed
    h, c = rng.normal(size=(2, 4)) / 2
    if "LSTM" in kind:
        (_, seen), _ = cell.apply(params, (c, h), x)
        mine, _ = lstm_step(got, "cell.", x, h, c)
    else:
        seen, _ = cell.apply(params, h, x)
        one = {n: got[f"cell.{n}"] for n in ("ir", "iz", "in", "hr", "hz", "hn")}
        r, z = (
            one["i" + n].activation(one["i" + n].weight @ x + one["h" + n].weight @ h
                                    + one["i" + n].offsets())
            for n in "rz"
        )  # fmt: skip
        new = one["in"].activation(
            one["in"].weight @ x + one["in"].offsets() + r * one["hn"](h[None])[0]
        )
        mine = (1 - z) * new + z * h
    np.testing.assert_allclose(mine, seen, atol=1e-5)


def small_cell(kind):
    """The parameters of a cell, as Flax names and shapes them."""

    def dense(n_in, bias):
        tree = {"kernel": rng.normal(size=(n_in, 4))}
        return tree | {"bias": rng.normal(size=4)} if bias else tree

    if kind == "SimpleCell":
        return {"i": dense(3, True), "h": dense(4, False)}
    return {"if": dense(3, True), "in": dense(3, True), "hf": dense(4, False),
            "hn": dense(4, True)}  # fmt: skip


@pytest.mark.parametrize("kind", ["MGUCell", "SimpleCell"])
@pytest.mark.parametrize("library", [False, True])
def test_smaller_cells(kind, library, request):
    """By the equations of their documentation, and by Flax itself where it is installed."""
    params = small_cell(kind)
    got, listed = extracted({"rnn": {"cell": params}, "head": {"kernel": np.ones((4, 2))}})
    assert not listed
    assert got["head"].activation.name == "identity"
    x, h = rng.normal(size=3), rng.normal(size=4) / 2
    cell = {n.rpartition(".")[2]: f for n, f in got.items() if "cell" in n}
    assert set(cell) == set(params)
    if kind == "SimpleCell":
        one, two = cell["i"], cell["h"]
        assert one.activation.name == two.activation.name == "tanh"
        np.testing.assert_allclose(one.offsets(), two.offsets())
        mine = one.activation(one.weight @ x + two.weight @ h + one.offsets())
        seen = np.tanh(x @ params["i"]["kernel"] + params["i"]["bias"] + h @ params["h"]["kernel"])
    else:
        forget = cell["if"].activation(
            cell["if"].weight @ x + cell["hf"].weight @ h + cell["if"].offsets()
        )
        new = cell["in"].activation(
            cell["in"].weight @ x + cell["in"].offsets() + forget * cell["hn"](h[None])[0]
        )
        mine = (1 - forget) * new + forget * h
        f = sigmoid(x @ params["if"]["kernel"] + params["if"]["bias"] + h @ params["hf"]["kernel"])
        n = np.tanh(x @ params["in"]["kernel"] + params["in"]["bias"]
                    + f * (h @ params["hn"]["kernel"] + params["hn"]["bias"]))  # fmt: skip
        seen = (1 - f) * n + f * h
    if library:
        request.getfixturevalue("flax")
        from flax import linen

        seen, _ = getattr(linen, kind)(4).apply({"params": params}, h, x)
    np.testing.assert_allclose(mine, seen, atol=1e-5)


def test_cells_of_convolutions_and_names_that_only_sound_alike():
    four = {"kernel": rng.normal(size=(2, 2, 2, 12)), "bias": rng.normal(size=12)}
    state = {"kernel": rng.normal(size=(2, 2, 3, 12)), "bias": rng.normal(size=12)}
    tree = {"cell": {"ih": four, "hh": state}, "head": {"kernel": np.ones((4, 2))}}
    got, listed = extracted(tree)
    assert set(got) == {"head"}
    assert all("gates are not told apart" in reason for reason in listed.values())
    dense = {"kernel": rng.normal(size=(4, 4)), "bias": rng.normal(size=4)}
    got, _ = extracted({"net": {"i": dense, "h": dense}})  # two layers: both have a bias
    assert {f.activation.name for f in got.values()} == {"identity"}


def test_trees_of_other_shapes():
    """Haiku's ``w`` of a convolution has its outputs last; Flax's flattened names are tuples."""
    w, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=5)
    got, listed = extracted({"conv": {"w": w, "b": b}})
    assert not listed
    (layer,) = got.values()
    field = rng.normal(size=(2, 3, 4))
    seen = np.einsum("xyc,xyco->o", field, w) + b
    np.testing.assert_allclose(layer(np.moveaxis(field, -1, 0).reshape(1, -1))[0], seen, atol=1e-9)
    flat = {
        ("a", "Dense_0", "kernel"): rng.normal(size=(3, 4)),
        ("a", "Dense_0", "bias"): w[0, 0, 0, :4],
    }
    got, _ = extracted(flat)
    assert [f.shape for f in got.values()] == [(4, 3)]

    class TrainState:
        params: dict = flat

    with pytest.raises(TypeError, match="pass what its params holds"):
        extracted(TrainState())


@pytest.mark.parametrize("kind", ["OptimizedLSTMCell", "GRUCell"])
def test_cells_of_nnx(flax, kind):
    from flax import nnx

    cell = getattr(nnx, kind)(3, 4, rngs=nnx.Rngs(0))
    got, listed = extracted({"cell": nnx.to_pure_dict(nnx.state(cell, nnx.Param))})
    assert not listed
    x, h, c = rng.normal(size=3), *(rng.normal(size=(2, 4)) / 2)
    letters = "ifgo" if "LSTM" in kind else "rzn"
    own, back = ({n: got[f"cell.dense_{s}.{n}"] for n in letters} for s in "ih")
    if "LSTM" in kind:
        (_, seen), _ = cell((c.astype(np.float32), h.astype(np.float32)), x.astype(np.float32))
        names = {f"i{n}": f for n, f in own.items()} | {f"h{n}": f for n, f in back.items()}
        mine, _ = lstm_step(names, "", x, h, c)
    else:
        seen, _ = cell(h.astype(np.float32), x.astype(np.float32))
        r, z = (sigmoid(own[n].weight @ x + back[n].weight @ h + own[n].offsets()) for n in "rz")
        new = np.tanh(own["n"].weight @ x + own["n"].offsets() + r * back["n"](h[None])[0])
        mine = (1 - z) * new + z * h
    np.testing.assert_allclose(mine, seen, atol=1e-5)


def test_a_network_of_linen(flax):
    import jax
    from flax import linen

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.DenseGeneral((2, 3), name="split")(x)
            x = linen.DenseGeneral(6, axis=(-2, -1), name="join_general")(x)
            x = linen.WeightNorm(linen.Dense(6, name="normed"))(x)
            x, _ = linen.scan(
                Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
            )(name="scanned")(x, None)
            x = linen.SpectralNorm(linen.Dense(6, name="bounded"))(x, update_stats=False)
            return linen.Dense(2, name="last")(x)

    class Block(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            return linen.Dense(6, name="fc")(x), None

    x = rng.normal(size=(5, 4))
    params = shaken(jax, Net().init(jax.random.key(0), x))
    got, listed = extracted(params)
    assert not listed
    y = x
    stack = [f"scanned.{k}.fc" for k in range(3)]
    for name in ("split", "join_general", "normed", *stack, "bounded", "last"):
        y = got[name](y)
    np.testing.assert_allclose(y, Net().apply(params, x), atol=1e-4)
