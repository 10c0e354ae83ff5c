"""Files of weights as libraries write them: each kind against the library's own module."""

import json
import os
import warnings

import numpy as np
import pytest

from eiplane.extract import ExtractOptions, to_network

rng = np.random.default_rng(0)


def keras_with_torch():
    """Return Keras, which asks for TensorFlow where nothing else is said."""
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def layers(weights, **options):
    """Return the layers by name, and the reasons of what was skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(weights, ExtractOptions(**({"activation": "identity"} | options)))
    return (
        {layer.name: layer.load() for layer in found.network},
        {s.name: s.reason for s in found.skipped},
    )


def state_of(module):
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


# -- orientation -------------------------------------------------------------------------------


def flax_like(shape, bias=None):
    tree = {"kernel": rng.normal(size=shape).astype(np.float32)}
    return tree if bias is None else tree | {"bias": rng.normal(size=bias).astype(np.float32)}


@pytest.mark.parametrize("form", ["nested", "variables", "slashes", "dots", "npz"])
def test_kernels_have_their_outputs_last(form, tmp_path):
    tree = {
        "Dense_0": flax_like((3, 5), 5),
        "Dense_1": flax_like((4, 4), 4),
        "head": flax_like((4, 2)),
    }
    prefix = ""
    weights = tree
    if form == "variables":
        weights = {"params": tree, "batch_stats": {"bn": {"mean": np.ones(4), "var": np.ones(4)}}}
    if form in ("slashes", "npz"):
        prefix = "params/"
        weights = {f"params/{m}/{k}": v for m, t in tree.items() for k, v in t.items()}
    if form == "dots":
        weights = {f"{m}.{k}": v for m, t in tree.items() for k, v in t.items()}
    if form == "npz":
        np.savez(tmp_path / "m.npz", **weights)
        weights = tmp_path / "m.npz"
    found, skipped = layers(weights)
    assert not skipped
    assert set(found) == {prefix + name for name in tree}
    for name, part in tree.items():
        layer = found[prefix + name]
        x = rng.normal(size=(7, len(part["kernel"])))
        np.testing.assert_allclose(layer(x), x @ part["kernel"] + part.get("bias", 0.0), atol=1e-6)


def test_a_keras_convolution_and_its_depthwise_sister(tmp_path):
    keras = keras_with_torch()
    x = rng.normal(size=(1, 5, 5, 4)).astype(np.float32)
    for layer, groups in (
        (keras.layers.Conv2D(6, 3, name="conv"), 1),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"), 4),
    ):
        y = keras.ops.convert_to_numpy(layer(x))
        bias = rng.normal(size=y.shape[-1]).astype(np.float32)
        state = {
            f"{layer.name}/{v.name}": np.asarray(keras.ops.convert_to_numpy(v))
            for v in layer.weights
        }
        state[f"{layer.name}/bias"] = bias
        found, _ = layers(state)
        (made,) = found.values()
        assert made.groups == groups
        field = np.moveaxis(x[0, 1:4, 2:5], -1, 0).reshape(-1)  # the channels, then the window
        np.testing.assert_allclose(made(field), y[0, 1, 2] + bias, atol=1e-5)


def test_heads_that_are_kept_apart():
    """As flax.linen.MultiHeadDotProductAttention and Keras' MultiHeadAttention keep them."""
    tree = {
        "query": flax_like((6, 2, 3), (2, 3)), "key": flax_like((6, 2, 3)),
        "value": flax_like((6, 2, 3)), "out": flax_like((2, 3, 6), 6),
    }  # fmt: skip
    found, skipped = layers({"attn": tree, "Dense_0": flax_like((6, 2))})
    assert not skipped
    x = rng.normal(size=6)
    expected = np.einsum("e,ehd->hd", x, tree["query"]["kernel"]) + tree["query"]["bias"]
    np.testing.assert_allclose(found["attn.query"](x), expected.ravel(), atol=1e-6)
    expected = np.einsum("hd,hdo->o", x.reshape(2, 3), tree["out"]["kernel"]) + tree["out"]["bias"]
    np.testing.assert_allclose(found["attn.out"](x), expected, atol=1e-6)


def test_a_kernel_whose_bias_does_not_fit_is_listed():
    found, skipped = layers(
        {"a": {"kernel": np.ones((3, 5)), "bias": np.ones(3)}, "b": flax_like((3, 3))}
    )
    assert set(found) == {"b"}
    assert "does not fit" in skipped["a"]


def test_gpt2_keeps_its_weights_the_other_way_round():
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    config = transformers.GPT2Config(n_layer=2, n_embd=12, n_head=2, vocab_size=30, n_positions=16)
    model = transformers.GPT2LMHeadModel(config)
    found, skipped = layers(state_of(model))
    x = torch.randn(5, 12)
    for name, module in model.named_modules():
        if type(module).__name__ in ("Conv1D", "Linear"):
            x = torch.randn(5, module.weight.shape[0 if type(module).__name__ == "Conv1D" else 1])
            with torch.no_grad():
                expected = module(x).numpy()
            np.testing.assert_allclose(found[name](x.numpy()), expected, atol=1e-5)
    assert {"transformer.wte", "transformer.wpe"} <= set(skipped)
    # The same names in a network of Linear layers (as nanoGPT has them).
    linear = {
        "h.0.attn.c_attn.weight": np.ones((12, 4)),
        "h.0.attn.c_attn.bias": np.ones(12),
        "h.0.attn.c_proj.weight": rng.normal(size=(4, 4)),
        "h.0.attn.c_proj.bias": np.ones(4),
    }
    found, _ = layers(linear)
    np.testing.assert_array_equal(found["h.0.attn.c_proj"].weight, linear["h.0.attn.c_proj.weight"])
    alone = {"c_proj.weight": np.ones((4, 4)), "fc.weight": np.ones((2, 4))}
    found, skipped = layers(alone)
    assert "square" in skipped["c_proj"]


# -- reparametrised ----------------------------------------------------------------------------


def _reparametrised(torch):
    nn, utils = torch.nn, torch.nn.utils
    import torch.nn.utils.prune as prune

    new = utils.parametrizations
    return {
        "weight_norm": utils.weight_norm(nn.Linear(4, 3)),
        "weight_norm over columns": utils.weight_norm(nn.Linear(4, 3), dim=1),
        "weight_norm as a whole": utils.weight_norm(nn.Linear(4, 3), dim=None),
        "weight_norm of one output": utils.weight_norm(nn.Linear(4, 1)),
        "weight_norm of a convolution": utils.weight_norm(nn.Conv2d(2, 3, 3)),
        "parametrizations.weight_norm": new.weight_norm(nn.Linear(4, 3)),
        "parametrizations.weight_norm, conv": new.weight_norm(nn.Conv1d(2, 3, 3)),
        "pruned": prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5),
        "pruned rows and bias": prune.random_unstructured(
            prune.ln_structured(nn.Linear(4, 3), "weight", 0.4, n=2, dim=0), "bias", 1),
        "spectral_norm": utils.spectral_norm(nn.Linear(4, 3)),
        "spectral_norm of a convolution": utils.spectral_norm(nn.Conv2d(2, 3, 3)),
        "parametrizations.spectral_norm": new.spectral_norm(nn.Linear(4, 3)),
        "parametrizations.spectral_norm, conv": new.spectral_norm(nn.Conv2d(2, 3, 3)),
    }  # fmt: skip


def test_reparametrised_weights_are_the_module_s(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = _reparametrised(torch)
    for what, module in cases.items():
        model = torch.nn.Sequential(module).double()
        for p in model.parameters():
            torch.nn.init.normal_(p)
        model.train()
        shape = (
            (2, 4) if isinstance(module, torch.nn.Linear) else (1, 2, 5, 5)[: module.weight.ndim]
        )
        model(torch.randn(shape).double())  # the power iteration of a spectral norm moves on
        model.eval()
        model(torch.randn(shape).double())
        torch.save(model.state_dict(), tmp_path / "m.pt")
        found, skipped = layers(tmp_path / "m.pt")
        assert not skipped, what
        assert list(found) == ["0"], what
        np.testing.assert_allclose(
            found["0"].weight, module.weight.detach().numpy(), rtol=1e-9, atol=1e-12, err_msg=what
        )
        np.testing.assert_allclose(found["0"].offsets(), module.bias.detach().numpy(), err_msg=what)


def test_other_reparametrisations_are_refused_by_name():
    torch = pytest.importorskip("torch")

    class Symmetric(torch.nn.Module):
        def forward(self, w):
            return w.triu() + w.triu(1).T

    plain = torch.nn.Linear(4, 4)
    own = torch.nn.Linear(4, 4)
    torch.nn.utils.parametrize.register_parametrization(own, "weight", Symmetric())
    orthogonal = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(4, 4))
    twice = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4))
    torch.nn.utils.parametrizations.spectral_norm(twice)
    model = torch.nn.Sequential(plain, own, orthogonal, twice)
    found, skipped = layers(state_of(model))
    assert set(found) == {"0"}
    assert set(skipped) == {"1", "2", "3"}
    assert all("kept in parts" in reason for reason in skipped.values())
    found, skipped = layers({"a.weight_orig": np.ones((2, 2)), "b.weight": np.ones((2, 2)),
                             "c.weight_v": np.ones((3, 3))})  # fmt: skip
    assert set(found) == {"b"}
    assert set(skipped) == {"a", "c"}


def test_values_and_gates_are_no_weight_norm():
    weights = {f"attn.W_{k}": rng.normal(size=(4, 4)) for k in "qkvgu"}
    found, skipped = layers(weights)
    assert set(found) == set(weights)
    assert not skipped


# -- helpers and embeddings --------------------------------------------------------------------

FAMILIES = {
    "BertModel": "BertConfig", "ViTModel": "ViTConfig", "SwinModel": "SwinConfig",
    "T5Model": "T5Config", "GPT2Model": "GPT2Config", "LlamaModel": "LlamaConfig",
    "CLIPModel": "CLIPConfig", "MambaModel": "MambaConfig", "XLNetModel": "XLNetConfig",
    "BartModel": "BartConfig", "Wav2Vec2Model": "Wav2Vec2Config",
    "DebertaV2Model": "DebertaV2Config",
    "ElectraModel": "ElectraConfig", "GPTNeoXForCausalLM": "GPTNeoXConfig",
    "ConvNextModel": "ConvNextConfig", "OPTModel": "OPTConfig", "WhisperModel": "WhisperConfig",
    "BloomModel": "BloomConfig", "DetrModel": "DetrConfig", "BeitModel": "BeitConfig",
}  # fmt: skip

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 40, "image_size": 32, "patch_size": 8, "d_model": 16, "n_embd": 16, "n_layer": 1,
    "n_head": 2, "num_layers": 1, "d_ff": 24, "d_kv": 8, "num_heads": 2, "embedding_size": 12,
    "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "d_inner": 24,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "pad_token_id": 0,
    "ffn_dim": 24, "word_embed_proj_dim": 12, "num_key_value_heads": 2, "relative_attention": True,
    "max_position_embeddings": 32, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_model_s_parameters_exactly_the_linear_maps_are_layers(family):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    kind = getattr(transformers, FAMILIES[family])
    small = {k: v for k, v in SMALL.items() if k in kind().to_dict()}
    if family in ("SwinModel", "DetrModel", "CLIPModel"):
        small = {k: v for k, v in small.items() if k in ("image_size", "vocab_size")}
        small |= {"SwinModel": {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2],
                                "image_size": 32, "patch_size": 4, "window_size": 4},
                  "DetrModel": {}, "CLIPModel": {}}[family]  # fmt: skip
    if family == "DetrModel":
        pytest.importorskip("timm")
    try:
        with torch.device("meta"):
            model = getattr(transformers, family)(kind(**small))
    except Exception as error:  # of this version's own
        pytest.skip(f"{family} cannot be made so small: {error}")
    state = {k: np.zeros(v.shape, np.float32) for k, v in model.state_dict().items()}
    maps = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    linear = {
        name for name, m in model.named_modules()
        if (isinstance(m, maps) or type(m).__name__ == "Conv1D") and f"{name}.weight" in state
    }  # fmt: skip
    parametrized = {n.rpartition(".parametrizations")[0] for n in state if ".parametrizations" in n}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(state, ExtractOptions("relu")).network
    assert set(found.names) == linear | parametrized


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cls_token", (1, 1, 8)), ("pos_embed", (1, 9, 8)), ("blocks.0.attn.rel_pos_h", (7, 8)),
        ("attn.relative_position_bias_table", (49, 2)), ("emb.weight", (50, 8)),
        ("encoder.embed_positions.weight", (50, 8)), ("h.0.attn.bias", (1, 1, 9, 9)),
        ("layers.0.self_attn.rotary_emb.inv_freq", (4, 1)), ("fc.weight_scale_inv", (2, 2)),
        ("norm.weight", (4, 4)), ("bn1.weight", (1, 8, 1, 1)), ("quantize.codebook", (20, 8)),
        ("model.register_tokens", (1, 4, 8)), ("fc.input_scale", (1, 1)), ("attn.mask", (9, 9)),
        ("pos_encoder.pe", (30, 1, 8)), ("mixer.A_log", (8, 4)),
        ("params/Embed_0/embedding", (30, 8)),
        ("logit_scale", (4, 1, 1)), ("class_embedding", (1, 8)),
        ("text.token_embedding.weight", (30, 8)),
        ("embeddings.0.weight", (30, 8)), ("r_w_bias", (2, 4)), ("level_embed", (4, 8)),
        ("stem.gamma", (1, 8, 1, 1)), ("transformer.wte.weight", (30, 8)),
        ("layer.scales", (3, 3)), ("attention.q_scale", (3, 3)), ("vq.codebook.weight", (30, 8)),
        ("experts.gate_up_proj", (4, 8, 6)), ("a.running_mean", (1, 8)),
    ],
)  # fmt: skip
def test_helper_tensors_are_listed(name, shape, tmp_path):
    arrays = {"fc.weight": np.ones((3, 2)), "fc.bias": np.ones(3), name: np.ones(shape)}
    np.savez(tmp_path / "m.npz", **arrays)
    for weights in (arrays, tmp_path / "m.npz"):
        found, skipped = layers(weights)
        assert set(found) == {"fc"}
        (reason,) = skipped.values()
        assert len(reason) > 20


@pytest.mark.parametrize(
    "name",
    ["embed_out.weight", "patch_embed.proj.weight", "time_embed.0.weight", "pos_embed.proj.weight",
     "embeddings_project.weight", "lm_head.weight", "token_mixer.fc1.weight", "scale_net.weight",
     "mask_decoder.out.weight", "position_mlp.weight", "normal.weight", "class_embed.weight",
     "W1", "arr_0", "kernel_net.w2", "A", "D"],
)  # fmt: skip
def test_names_that_only_sound_like_helpers(name):
    weights = {name: rng.normal(size=(5, 4)), "fc.weight": np.ones((3, 5))}
    if name == "class_embed.weight":
        weights["class_embed.bias"] = np.ones(5)
    found, skipped = layers(weights)
    assert len(found) == 2
    assert not skipped


# -- recurrent, transposed ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_gates_are_those_of_the_module(kind, options, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module = getattr(torch.nn, kind)(5, 4, **options)
    model = torch.nn.Sequential(module)
    torch.save(model.state_dict(), tmp_path / "m.pt")
    from_file, _ = layers(tmp_path / "m.pt", activation="tanh")
    extracted = to_network(model).network
    assert set(from_file) == set(extracted.names)
    for layer in extracted:
        mine, theirs = from_file[layer.name], layer.load()
        np.testing.assert_array_equal(mine.weight, theirs.weight)
        np.testing.assert_allclose(mine.offsets(), theirs.offsets(), rtol=1e-6)
        assert mine.activation.name == theirs.activation.name


def test_the_gates_of_an_lstm_give_its_next_state():
    torch = pytest.importorskip("torch")
    cell = torch.nn.LSTMCell(5, 4)
    found, _ = layers(state_of(cell), activation=None)
    x, zero = torch.randn(1, 5), torch.zeros(1, 4)
    h, c = (v.detach().numpy()[0] for v in cell(x, (zero, zero)))
    i, g, o = (found[f"weight_ih.{k}"](x.numpy()[0]) for k in "igo")
    np.testing.assert_allclose(i * g, c, atol=1e-6)
    np.testing.assert_allclose(o * np.tanh(c), h, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_gates_of_keras(kind):
    keras = keras_with_torch()
    layer = getattr(keras.layers, kind)(4, bias_initializer="random_normal")
    x = rng.normal(size=(1, 1, 5)).astype(np.float32)
    y = keras.ops.convert_to_numpy(layer(x))[0]
    state = {f"rnn/{v.name}": keras.ops.convert_to_numpy(v) for v in layer.weights}
    found, skipped = layers(state, activation="tanh")
    assert not skipped
    at = {name.rpartition(".")[2]: f(x[0, 0]) for name, f in found.items() if "/kernel" in name}
    if kind == "LSTM":
        expected = at["o"] * np.tanh(at["i"] * at["c"])
    elif kind == "SimpleRNN":
        expected = found["rnn/kernel"](x[0, 0]) if "rnn/kernel" in found else found["rnn"](x[0, 0])
    else:  # at h = 0 the reset gate meets the recurrent bias alone
        bias = found["rnn/recurrent_kernel.h"].offsets()
        z = found["rnn/kernel.h"]
        new = np.tanh(z.matrix() @ x[0, 0] + z.offsets() + at["r"] * bias)
        expected = (1 - at["z"]) * new
    np.testing.assert_allclose(expected, y, atol=1e-5)


def test_transposed_convolutions_are_listed():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ConvTranspose2d(4, 6, 3))
    found, skipped = layers(state_of(model))
    assert set(found) == {"0"}
    assert "transposed" in skipped["1"]
    named = {"up.deconv.weight": np.ones((4, 4, 2, 2)), "conv.weight": np.ones((4, 4, 2, 2)),
             "conv2d_transpose/kernel": np.ones((3, 3, 4, 4))}  # fmt: skip
    found, skipped = layers(named)
    assert set(found) == {"conv"}
    assert len(skipped) == 2


def test_attention_s_projections_are_those_of_the_module(tmp_path):
    torch = pytest.importorskip("torch")
    for options in ({}, {"bias": False}):
        module = torch.nn.MultiheadAttention(8, 2, **options)
        torch.save(module.state_dict(), tmp_path / "m.pt")
        found, skipped = layers(tmp_path / "m.pt", activation="relu")
        assert not skipped
        assert list(found) == ["in_proj.q", "in_proj.k", "in_proj.v", "out_proj"]
        x = torch.randn(5, 8)
        whole = torch.nn.functional.linear(x, module.in_proj_weight, module.in_proj_bias)
        for k, which in enumerate("qkv"):
            expected = whole[:, 8 * k : 8 * k + 8].detach().numpy()
            np.testing.assert_allclose(found[f"in_proj.{which}"](x.numpy()), expected, atol=1e-5)


# -- quantised ---------------------------------------------------------------------------------


def test_eight_bit_floats_are_torch_s():
    torch = pytest.importorskip("torch")
    from eiplane.extract.entries import float8

    raw = torch.arange(256, dtype=torch.uint8)
    for code, kind in (("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"),
                       ("F8_E8M0", "float8_e8m0fnu")):  # fmt: skip
        if hasattr(torch, kind):
            expected = raw.view(getattr(torch, kind)).float().numpy()
            np.testing.assert_array_equal(float8(code), expected)


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_fp8_and_int8_weights_with_their_scales(form, tmp_path):
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save_file
    torch.manual_seed(0)
    w = torch.randn(256, 384)
    block = torch.rand(2, 3) + 0.5
    row = torch.rand(256, 1) + 0.5
    zero = torch.randint(-3, 3, (256, 1), dtype=torch.int8)
    q = torch.randint(-128, 127, (256, 384), dtype=torch.int8)
    f8 = w.to(torch.float8_e4m3fn)
    group = torch.rand(256, 6)
    state = {
        "blocks.weight": f8, "blocks.weight_scale_inv": block,
        "one.weight": w.to(torch.float8_e5m2), "one.weight_scale": torch.tensor([0.25]),
        "one.input_scale": torch.tensor([1.0]),
        "rows.weight": q, "rows.weight_scale": row, "rows.weight_zero_point": zero,
        "grouped.weight": q, "grouped.weight_scale": group,
        "bnb.weight": q, "bnb.SCB": row[:, 0].contiguous(), "bnb.bias": row[:, 0].contiguous(),
        "none.weight": q, "wrong.weight": q, "wrong.weight_scale": torch.rand(7),
    }  # fmt: skip
    state = {k: v.clone() for k, v in state.items()}
    if form == "pt":
        torch.save(state, tmp_path / "m.pt")
    else:
        save(state, tmp_path / "m.safetensors")
    found, skipped = layers(tmp_path / f"m.{form}")
    expected = {
        "blocks": f8.double() * block.double().repeat_interleave(128, 0).repeat_interleave(128, 1),
        "one": w.to(torch.float8_e5m2).double() * 0.25,
        "rows": (q.double() - zero.double()) * row.double(),
        "grouped": q.double() * group.double().repeat_interleave(64, 1),
        "bnb": q.double() * row.double() / 127,
    }
    assert set(found) == set(expected)
    assert set(skipped) == {"none", "wrong"}
    for name, weight in expected.items():
        np.testing.assert_allclose(found[name].weight, weight.numpy(), rtol=1e-12)
    assert found["bnb"].bias is not None


def _packed(values, order=range(8), bits=4):
    """Pack rows of small numbers, those of ``order`` first, into int32."""
    width = 32 // bits
    groups = values.reshape(len(values), -1, width).astype(np.int64)
    packed = sum(groups[:, :, k] << (bits * place) for place, k in enumerate(order))
    return packed.astype(np.uint32).view(np.int32)


def test_awq_and_gptq_weights(tmp_path):
    save = pytest.importorskip("safetensors.numpy").save_file
    n_in, n_out, groups = 32, 16, 4
    q = rng.integers(0, 16, (n_in, n_out))
    zero = rng.integers(1, 16, (groups, n_out))
    scale = rng.uniform(0.5, 1.0, (groups, n_out)).astype(np.float16)
    index = np.repeat(np.arange(groups), n_in // groups)
    weight = ((q - zero[index]) * scale[index].astype(float)).T
    awq = (0, 2, 4, 6, 1, 3, 5, 7)  # the order in which AutoAWQ packs
    shuffled = rng.permutation(index).astype(np.int32)
    q8 = rng.integers(0, 256, (n_in, n_out))
    zero8 = rng.integers(1, 256, (groups, n_out))
    state = {
        "awq.qweight": _packed(q, awq), "awq.qzeros": _packed(zero, awq), "awq.scales": scale,
        "gptq.qweight": np.ascontiguousarray(_packed(q.T).T),
        "gptq.qzeros": _packed(zero - 1), "gptq.scales": scale, "gptq.g_idx": shuffled,
        "eight.qweight": np.ascontiguousarray(_packed(q8.T, range(4), 8).T),
        "eight.qzeros": _packed(zero8 - 1, range(4), 8), "eight.scales": scale,
        "hqq.W_q": np.ones((4, 4), np.uint8), "hqq.scale": np.ones((4, 1), np.float32),
    }  # fmt: skip
    save(state, tmp_path / "m.safetensors")
    found, skipped = layers(tmp_path / "m.safetensors")
    assert set(found) == {"awq", "gptq", "eight"}
    assert "HQQ" in skipped["hqq"]
    np.testing.assert_allclose(found["awq"].weight, weight)
    expected = ((q - zero[shuffled]) * scale[shuffled].astype(float)).T
    np.testing.assert_allclose(found["gptq"].weight, expected)
    np.testing.assert_allclose(
        found["eight"].weight, ((q8 - zero8[index]) * scale[index].astype(float)).T
    )
    # The second format keeps the zeros themselves.
    (tmp_path / "quantize_config.json").write_text(json.dumps({"checkpoint_format": "gptq_v2"}))
    found, _ = layers(tmp_path / "m.safetensors")
    expected = ((q - (zero - 1)[shuffled]) * scale[shuffled].astype(float)).T
    np.testing.assert_allclose(found["gptq"].weight, expected)


def test_formats_that_are_not_undone_are_refused_by_name():
    torch = pytest.importorskip("torch")
    u8 = torch.ones(8, 1, dtype=torch.uint8)
    state = {
        "nf4.weight": u8, "nf4.weight.absmax": torch.ones(2),
        "nf4.weight.quant_map": torch.ones(16),
        "nf4.weight.quant_state.bitsandbytes__nf4": u8[:, 0],
        "ct.weight_packed": u8.int(), "ct.weight_scale": torch.ones(8, 1),
        "ct.weight_shape": torch.ones(2).int(),
        "mx.down_proj_blocks": u8, "mx.down_proj_scales": u8,
        "fp4.weight": u8, "fp4.weight_scale": torch.ones(8, 1), "fp4.weight_scale_2": torch.ones(1),
        "plain.weight": torch.ones(3, 3),
    }  # fmt: skip
    found, skipped = layers(state)
    assert set(found) == {"plain"}
    assert set(skipped) == {"nf4", "ct", "mx.down_proj", "fp4"}
    assert "compressed-tensors" in skipped["ct"]


def test_torch_s_own_quantised_tensors():
    torch = pytest.importorskip("torch")
    w = torch.randn(4, 3)
    q = torch.quantize_per_channel(w, torch.rand(4) + 0.1, torch.zeros(4), 0, torch.qint8)
    found, _ = layers({"fc.weight": q, "out.weight": w})
    np.testing.assert_allclose(found["fc"].weight, q.dequantize().numpy())


# -- adapters ----------------------------------------------------------------------------------


def test_an_adapter_beside_and_inside_its_base(tmp_path):
    save = pytest.importorskip("safetensors.numpy").save_file
    w, a, b = (rng.normal(size=s).astype(np.float32) for s in ((6, 5), (2, 5), (6, 2)))
    other = rng.normal(size=(3, 6)).astype(np.float32)
    base = {"model.q_proj.weight": w, "model.head.weight": other}
    adapter = {"base_model.model.model.q_proj.lora_A.weight": a,
               "base_model.model.model.q_proj.lora_B.weight": b}  # fmt: skip
    save(adapter, tmp_path / "adapter_model.safetensors")
    found, skipped = layers(tmp_path / "adapter_model.safetensors", activation=None)
    assert not skipped
    assert {layer.activation.name for layer in found.values()} == {"identity"}
    x = rng.normal(size=5)
    first, second = (found[f"base_model.model.model.q_proj.lora_{k}"] for k in "AB")
    np.testing.assert_allclose(second(first(x)), b @ (a @ x), rtol=1e-5)
    save(base, tmp_path / "model.safetensors")
    found, _ = layers(tmp_path, activation="relu")
    np.testing.assert_array_equal(found["model.q_proj"].weight, w)  # its scale is not known
    for config, scale in (
        ({"lora_alpha": 8, "r": 2}, 4.0),
        ({"lora_alpha": 8, "r": 2, "use_rslora": True}, 8 / 2**0.5),
        ({"lora_alpha": 8, "r": 2, "alpha_pattern": {"q_proj": 2}}, 1.0),
    ):
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        found, skipped = layers(tmp_path, activation="relu")
        assert not skipped
        np.testing.assert_allclose(found["model.q_proj"].weight, w + scale * b @ a, rtol=1e-5)
        np.testing.assert_array_equal(found["model.head"].weight, other)
        assert len(found) == 4
    # As a wrapped model's own state dict has it.
    wrapped = {"q.base_layer.weight": w, "q.base_layer.bias": b[:, 0], "q.lora_A.default.weight": a,
               "q.lora_B.default.weight": b}  # fmt: skip
    save({k: np.ascontiguousarray(v) for k, v in wrapped.items()}, tmp_path / "wrapped.safetensors")
    found, _ = layers(tmp_path / "wrapped.safetensors", activation="relu")
    np.testing.assert_allclose(found["q"].weight, w + 4 * b @ a, rtol=1e-5)
    assert found["q"].bias is not None


@pytest.mark.parametrize("with_base_bias", [True, False])
def test_an_adapter_s_own_bias_is_added_too(tmp_path, with_base_bias):
    w, a, b = (rng.normal(size=s) for s in ((6, 5), (2, 5), (6, 2)))
    shift, more = rng.normal(size=(2, 6))
    state = {"fc.base_layer.weight": w, "fc.lora_A.default.weight": a,
             "fc.lora_B.default.weight": b, "fc.lora_B.default.bias": more}  # fmt: skip
    if with_base_bias:
        state["fc.base_layer.bias"] = shift
    np.savez(tmp_path / "m.npz", **state)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 6, "r": 2}))
    found, _ = layers(tmp_path / "m.npz", activation="identity")
    x = rng.normal(size=(4, 5))
    seen = x @ w.T + 3 * (x @ a.T @ b.T + more) + (shift if with_base_bias else 0)
    np.testing.assert_allclose(found["fc"](x), seen, atol=1e-9)


def test_what_adapters_wrap_is_what_it_was():
    table, w = rng.normal(size=(9, 6)), rng.normal(size=(5, 6))
    state = {
        "m.emb.base_layer.weight": table, "m.emb.lora_embedding_A.default": table[:2],
        "m.embed_tokens.original_module.weight": table,
        "m.embed_tokens.modules_to_save.default.weight": table,
        "m.head.original_module.weight": w, "m.head.modules_to_save.default.weight": w + 1,
        "m.fc.base_layer.weight": w,
    }  # fmt: skip
    found, skipped = layers(state, activation="relu")
    assert set(found) == {"m.head.modules_to_save.default", "m.fc.base_layer"}
    reasons = dict(skipped)
    assert "has replaced" in reasons["m.head.original_module"]
    assert "embedding" in reasons["m.emb.base_layer"]


def test_kohya_s_adapters_say_their_scale():
    w, a, b = (rng.normal(size=s) for s in ((6, 5), (2, 5), (6, 2)))
    state = {"unet.q.weight": w, "unet.q.lora_down.weight": a, "unet.q.lora_up.weight": b,
             "unet.q.alpha": np.array(1.0)}  # fmt: skip
    found, _ = layers(state, activation="relu")
    np.testing.assert_allclose(found["unet.q"].weight, w + 0.5 * b @ a)


# -- checkpoints -------------------------------------------------------------------------------


def _two(torch):
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)), torch.nn.Sequential(
        torch.nn.Linear(2, 5), torch.nn.Linear(5, 1)
    )


def test_a_checkpoint_s_state_dict_is_found(tmp_path):
    torch = pytest.importorskip("torch")
    model, _ = _two(torch)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = model.state_dict()
    for checkpoint in (
        {"model_state_dict": state, "optimizer_state_dict": optimizer.state_dict(),
         "loss": torch.tensor(0.5), "epoch": 3},
        {"state_dict": state, "optimizer_states": [optimizer.state_dict()], "loss": torch.ones(1)},
        {"trainer": {"inner": {"net": state}, "step": 3}, "history": torch.ones(7)},
        {"anything": state, "args": {"lr": 0.1, "betas": (0.9, 0.99), "plan": [1, (2, 3), "x"]}},
    ):  # fmt: skip
        torch.save(checkpoint, tmp_path / "m.pt")
        for weights in (tmp_path / "m.pt", checkpoint):
            found, skipped = layers(weights)
            assert set(found) == {"0", "1"}
            assert not skipped
            np.testing.assert_array_equal(found["1"].weight, state["1.weight"].numpy())


def test_key_chooses_among_several_networks(tmp_path):
    torch = pytest.importorskip("torch")
    one, two = _two(torch)
    for checkpoint, names in (
        ({"generator": one.state_dict(), "discriminator": two.state_dict()},
         ("generator", "discriminator")),
        ({"model": one.state_dict(), "ema": two.state_dict(), "step": 3}, ("model", "ema")),
        ({"nets": {"a": {"state_dict": one.state_dict()}, "b": {"state_dict": two.state_dict()}}},
         ("nets.a.state_dict", "nets.b.state_dict")),
        ({"models": [one.state_dict(), two.state_dict()]}, ("models.0", "models.1")),
    ):  # fmt: skip
        torch.save(checkpoint, tmp_path / "m.pt")
        for weights in (tmp_path / "m.pt", checkpoint):
            with pytest.raises(ValueError, match="2 networks") as caught:
                to_network(weights, ExtractOptions("relu"))
            assert all(name in str(caught.value) for name in names)
            for name, module in zip(names, (one, two), strict=True):
                found, _ = layers(weights, key=name)
                np.testing.assert_array_equal(found["0"].weight, module[0].weight.detach().numpy())
            with pytest.raises(ValueError, match="there are") as caught:
                to_network(weights, ExtractOptions("relu", key="nope"))
            assert names[0] in str(caught.value)
    found, _ = layers(
        {"nets": {"a": {"state_dict": state_of(one)}, "b": {"w": state_of(two)}}}, key="nets.a"
    )
    assert found["0"].shape == (4, 3)


def test_trees_of_two_networks():
    tree = {"Dense_0": flax_like((3, 4), 4)}
    both = {"params": tree, "ema_params": {"Dense_0": flax_like((3, 4), 4)}}
    with pytest.raises(ValueError, match=r"params.*ema_params"):
        to_network(both, ExtractOptions("relu"))
    found, _ = layers(both, key="params")
    np.testing.assert_array_equal(found["Dense_0"].weight, tree["Dense_0"]["kernel"].T)
    one = {"encoder": tree, "decoder": {"Dense_0": flax_like((4, 3))}}
    found, _ = layers(one)
    assert set(found) == {"encoder.Dense_0", "decoder.Dense_0"}
    found, _ = layers(one, key="decoder")
    assert set(found) == {"Dense_0"}


def test_key_is_for_what_holds_several(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.ones((3, 3)))
    for weights in (tmp_path / "m.npz", np.ones((3, 3)), [np.ones((3, 3))]):
        with pytest.raises(ValueError, match="key="):
            to_network(weights, ExtractOptions("relu", key="a"))


def test_arrays_of_other_libraries():
    """What has ``__array__`` and a dtype that NumPy lacks, as JAX's arrays."""
    ml_dtypes = pytest.importorskip("ml_dtypes")

    class Boxed:
        def __init__(self, value):
            self.value = value
            self.shape, self.dtype = value.shape, value.dtype

        def __array__(self, dtype=None, copy=None):
            return self.value

    kernel = rng.normal(size=(3, 4)).astype(ml_dtypes.bfloat16)
    found, _ = layers({"Dense_0": {"kernel": Boxed(kernel)}, "Dense_1": {"kernel": kernel}})
    for layer in found.values():
        np.testing.assert_array_equal(layer.matrix(), kernel.astype(float).T)


@pytest.mark.parametrize(
    "parts",
    [{"ia3_l": (4, 1)}, {"lora_A": (2, 3), "lora_B": (4, 2), "lora_E": (2, 1)},
     {"hada_w1_a": (4, 2), "hada_w1_b": (2, 3), "hada_w2_a": (4, 2), "hada_w2_b": (2, 3)},
     {"lokr_w1": (2, 1), "lokr_w2": (2, 3)}, {"vera_lambda_b": (4,), "vera_lambda_d": (2,)},
     {"oft_R": (3, 1)}, {"boft_R": (1, 3, 2, 2), "boft_s": (4, 1)}],
    ids=lambda parts: next(iter(parts)),
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["", ".default"])
def test_what_other_adapters_change_is_listed(parts, suffix):
    """As PEFT names the parts of IA3, AdaLoRA, LoHa, LoKr, VeRA, OFT and BOFT."""
    state = {f"m.q.{n}{suffix}": rng.normal(size=shape) for n, shape in parts.items()}
    state |= {"m.q.base_layer.weight": rng.normal(size=(4, 3)),
              "m.q.base_layer.bias": rng.normal(size=4), "m.k.weight": rng.normal(size=(5, 4)),
              "backbone.road.weight": rng.normal(size=(5, 5)),
              "poly_features.weight": rng.normal(size=(5, 6))}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(state, ExtractOptions("relu"))
    got = {str(n.name): n.activation.name for n in found.network}
    assert {"m.k", "backbone.road", "poly_features"} <= set(got)
    assert "m.q.base_layer" not in got
    # Two thin matrices are linear maps by themselves; what stands between them is not known.
    rest = set(got) - {"m.k", "backbone.road", "poly_features"}
    assert {got[n] for n in rest} <= {"identity"}
    assert all("lora" in n for n in rest)
    assert any(s.name == "m.q" and "merge the adapter" in s.reason for s in found.skipped)
