"""Families of networks that people use, at random weights and a size that runs in milliseconds.

Each entry makes a module and an example input; what cannot be imported says so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from vision import VISION, image, sound

__all__ = ["FAMILIES", "Family"]

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Parameters
    ----------
    name : str
    package : str
        That is imported for it.
    build : callable
        Returns a module and its inputs by name; a lone one by the name ``""``.
    after : dict of str to str
        By the architecture's own paper or configuration, the activation that follows each of the
        layers whose names match a pattern; nothing follows the rest.
    """

    name: str
    package: str
    build: Callable[[Any], tuple[Any, Inputs]]
    after: dict[str, str] = field(default_factory=dict)

    def made(self) -> tuple[Any, Inputs]:
        """Return the module, in evaluation mode, and its inputs."""
        torch = importlib.import_module("torch")
        library = importlib.import_module(self.package)
        torch.manual_seed(0)
        module, inputs = self.build(library)
        return shaken(module.eval(), torch), inputs


def shaken(module: Any, torch: Any) -> Any:
    """Return a module whose biases, scales and running averages are not what they began as."""
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.is_floating_point() or value.ndim > 1:
                continue
            leaf = name.rpartition(".")[2]
            if leaf == "running_var":
                value.mul_(torch.rand(value.shape) + 0.5)
            elif leaf in ("bias", "running_mean"):
                value.add_(0.1 * torch.randn(value.shape))
            elif leaf == "weight":  # of a norm
                value.mul_(torch.rand(value.shape) + 0.5)
    return module


def _tokens(n: int = 24, count: int = 50, batch: int = 2) -> Any:
    torch = importlib.import_module("torch")
    return torch.from_numpy(np.random.default_rng(0).integers(3, count, size=(batch, n)))


def language(model: str, config: str, **sizes: Any) -> Callable[[Any], tuple[Any, Inputs]]:
    """Return what builds a model of tokens of transformers."""

    def build(library: Any) -> tuple[Any, Inputs]:
        made = getattr(library, config)(**{**sizes, "vocab_size": 50})
        inputs: Inputs = {"input_ids": _tokens()}
        if sizes.get("is_encoder_decoder") or model.startswith(("T5", "Bart", "MT5", "Pegasus")):
            inputs["decoder_input_ids"] = _tokens(12)
        made.use_cache = False
        return getattr(library, model)(made), inputs

    return build


def vision(model: str, config: str, size: int, **sizes: Any) -> Callable[[Any], tuple[Any, Inputs]]:
    """Return what builds a model of images of transformers."""

    def build(library: Any) -> tuple[Any, Inputs]:
        made = getattr(library, config)(**sizes)
        return getattr(library, model)(made), {"pixel_values": image(size)}

    return build


def _whisper(library: Any) -> tuple[Any, Inputs]:
    config = library.WhisperConfig(
        vocab_size=50, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8,
        max_source_positions=20, max_target_positions=20, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, use_cache=False,
    )  # fmt: skip
    inputs = {"input_features": sound(2, 8, 40), "decoder_input_ids": _tokens(12)}
    return library.WhisperForConditionalGeneration(config), inputs


def _wav2vec2(library: Any) -> tuple[Any, Inputs]:
    config = library.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        vocab_size=50, conv_dim=(8, 8), conv_stride=(5, 2), conv_kernel=(10, 3),
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, num_feat_extract_layers=2,
    )  # fmt: skip
    return library.Wav2Vec2ForCTC(config), {"input_values": sound(2, 400)}


def _clip(library: Any) -> tuple[Any, Inputs]:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    config = library.CLIPConfig(
        text_config={**sizes, "vocab_size": 50, "max_position_embeddings": 32, "eos_token_id": 2},
        vision_config={**sizes, "image_size": 16, "patch_size": 4},
        projection_dim=8,
    )
    return library.CLIPModel(config), {"input_ids": _tokens(12), "pixel_values": image(16)}


_BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 32, "max_position_embeddings": 64}  # fmt: skip
_LLAMA = {**_BERT, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0}
_GATED = {"*.mlp.gate_proj": "silu"}
_T = "transformers"
_V = "torchvision.models"

FAMILIES: tuple[Family, ...] = (
    Family("BERT", _T, language("BertForMaskedLM", "BertConfig", **_BERT),
           {"*.intermediate.dense": "gelu", "*.transform.dense": "gelu"}),
    Family("DistilBERT", _T, language("DistilBertForMaskedLM", "DistilBertConfig", dim=16,
           n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=64),
           {"*.ffn.lin1": "gelu", "vocab_transform": "gelu"}),
    Family("RoBERTa", _T, language("RobertaForMaskedLM", "RobertaConfig", **_BERT),
           {"*.intermediate.dense": "gelu", "lm_head.dense": "gelu"}),
    Family("DeBERTa", _T, language("DebertaV2ForMaskedLM", "DebertaV2Config", **_BERT,
           relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8,
           norm_rel_ebd="layer_norm", share_att_key=True),
           {"*.intermediate.dense": "gelu", "*.transform.dense": "gelu"}),
    Family("ELECTRA", _T, language("ElectraModel", "ElectraConfig", **_BERT, embedding_size=8),
           {"*.intermediate.dense": "gelu"}),
    Family("ALBERT", _T, language("AlbertModel", "AlbertConfig", **_BERT, embedding_size=8),
           {"*.ffn": "gelu_tanh", "pooler": "tanh"}),
    Family("MobileBERT", _T, language("MobileBertModel", "MobileBertConfig", hidden_size=16,
           num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, embedding_size=8,
           intra_bottleneck_size=8, true_hidden_size=8, num_feedforward_networks=2),
           {"*.intermediate.dense": "relu"}),
    Family("GPT-2", _T, language("GPT2LMHeadModel", "GPT2Config", n_layer=2, n_embd=16, n_head=2,
           n_positions=64), {"*.mlp.c_fc": "gelu_tanh"}),
    Family("GPT-J", _T, language("GPTJForCausalLM", "GPTJConfig", n_layer=2, n_embd=16, n_head=2,
           n_positions=64, rotary_dim=4), {"*.mlp.fc_in": "gelu_tanh"}),
    Family("GPT-NeoX", _T, language("GPTNeoXForCausalLM", "GPTNeoXConfig", **_BERT),
           {"*.dense_h_to_4h": "gelu"}),
    Family("OPT", _T, language("OPTForCausalLM", "OPTConfig", hidden_size=16, ffn_dim=32,
           num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64,
           word_embed_proj_dim=16), {"*.fc1": "relu"}),
    Family("Bloom", _T, language("BloomForCausalLM", "BloomConfig", hidden_size=16, n_layer=2,
           n_head=2), {"*.dense_h_to_4h": "gelu_tanh"}),
    Family("Falcon", _T, language("FalconForCausalLM", "FalconConfig", hidden_size=16,
           num_hidden_layers=2, num_attention_heads=2), {"*.dense_h_to_4h": "gelu"}),
    Family("Llama", _T, language("LlamaForCausalLM", "LlamaConfig", **_LLAMA), _GATED),
    Family("Mistral", _T, language("MistralForCausalLM", "MistralConfig", **_LLAMA), _GATED),
    Family("Qwen2", _T, language("Qwen2ForCausalLM", "Qwen2Config", **_LLAMA), _GATED),
    Family("Qwen3", _T, language("Qwen3ForCausalLM", "Qwen3Config", **_LLAMA), _GATED),
    Family("Gemma", _T, language("GemmaForCausalLM", "GemmaConfig", **_LLAMA),
           {"*.mlp.gate_proj": "gelu_tanh"}),
    Family("Gemma 2", _T, language("Gemma2ForCausalLM", "Gemma2Config", **_LLAMA),
           {"*.mlp.gate_proj": "gelu_tanh", "lm_head": "30 * tanh"}),
    Family("Gemma 3", _T, language("Gemma3ForCausalLM", "Gemma3TextConfig", **_LLAMA),
           {"*.mlp.gate_proj": "gelu_tanh"}),
    Family("Phi", _T, language("PhiForCausalLM", "PhiConfig", **{**_LLAMA,
           "num_key_value_heads": 2}), {"*.mlp.fc1": "gelu_tanh"}),
    Family("Phi-3", _T, language("Phi3ForCausalLM", "Phi3Config", **_LLAMA),
           {"*.gate_up_proj[0:32]": "silu"}),
    Family("StarCoder2", _T, language("Starcoder2ForCausalLM", "Starcoder2Config", **_LLAMA),
           {"*.mlp.c_fc": "gelu_tanh"}),
    Family("OLMo 2", _T, language("Olmo2ForCausalLM", "Olmo2Config", **_LLAMA), _GATED),
    Family("Cohere", _T, language("CohereForCausalLM", "CohereConfig", **_LLAMA), _GATED),
    Family("StableLM", _T, language("StableLmForCausalLM", "StableLmConfig", **_LLAMA), _GATED),
    Family("Granite", _T, language("GraniteForCausalLM", "GraniteConfig", **_LLAMA), _GATED),
    Family("Mixtral", _T, language("MixtralForCausalLM", "MixtralConfig", **_LLAMA,
           num_local_experts=4, num_experts_per_tok=2),
           {"*.experts.gate_up_proj[[]?][[]0:32]": "silu"}),
    Family("Qwen3-MoE", _T, language("Qwen3MoeForCausalLM", "Qwen3MoeConfig", **_LLAMA,
           num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1)),
    Family("DeepSeek-V3", _T, language("DeepseekV3ForCausalLM", "DeepseekV3Config", **_BERT,
           num_key_value_heads=2, n_routed_experts=4, num_experts_per_tok=2, n_group=2,
           topk_group=1, moe_intermediate_size=16, first_k_dense_replace=1, kv_lora_rank=8,
           q_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8), _GATED),
    Family("T5", _T, language("T5ForConditionalGeneration", "T5Config", d_model=16, d_kv=8,
           d_ff=32, num_layers=2, num_heads=2), {"*.DenseReluDense.wi": "relu"}),
    Family("Flan-T5", _T, language("T5ForConditionalGeneration", "T5Config", d_model=16, d_kv=8,
           d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
           tie_word_embeddings=False), {"*.wi_0": "gelu_tanh"}),
    Family("BART", _T, language("BartForConditionalGeneration", "BartConfig", d_model=16,
           encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
           decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
           max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2),
           {"*.fc1": "gelu"}),
    Family("Mamba", _T, language("MambaForCausalLM", "MambaConfig", hidden_size=16, state_size=4,
           num_hidden_layers=2, time_step_rank=4, use_mambapy=False),
           {"*.conv1d": "silu", "*.dt_proj": "softplus"}),
    Family("Mamba-2", _T, language("Mamba2ForCausalLM", "Mamba2Config", hidden_size=16,
           state_size=4, num_hidden_layers=2, num_heads=4, head_dim=8, n_groups=2, chunk_size=8)),
    Family("RWKV", _T, language("RwkvForCausalLM", "RwkvConfig", hidden_size=16,
           attention_hidden_size=16, intermediate_size=32, num_hidden_layers=2,
           context_length=64)),
    Family("RecurrentGemma", _T, language("RecurrentGemmaForCausalLM", "RecurrentGemmaConfig",
           **{**_LLAMA, "num_hidden_layers": 3}, lru_width=16, attention_window_size=8)),
    Family("Whisper", _T, _whisper, {"*.fc1": "gelu"}),
    Family("Wav2Vec2", _T, _wav2vec2, {"*.intermediate_dense": "gelu"}),
    Family("CLIP", _T, _clip, {"*.fc1": "quick_gelu"}),
    Family("ViT (transformers)", _T, vision("ViTForImageClassification", "ViTConfig", 16, **_BERT,
           image_size=16, patch_size=4), {"*.intermediate.dense": "gelu"}),
    Family("DINOv2", _T, vision("Dinov2Model", "Dinov2Config", 16, **_BERT, image_size=16,
           patch_size=4, mlp_ratio=2), {"*.mlp.fc1": "gelu"}),
    Family("Swin (transformers)", _T, vision("SwinForImageClassification", "SwinConfig", 16,
           image_size=16, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 2],
           window_size=4), {"*.intermediate.dense": "gelu"}),
    Family("ConvNeXt (transformers)", _T, vision("ConvNextForImageClassification",
           "ConvNextConfig", 32, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1]),
           {"*.pwconv1": "gelu"}),
    Family("ResNet (transformers)", _T, vision("ResNetForImageClassification", "ResNetConfig", 32,
           embedding_size=8, hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1],
           layer_type="basic")),
    Family("SegFormer", _T, vision("SegformerForSemanticSegmentation", "SegformerConfig", 32,
           hidden_sizes=[8, 8, 12, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 2],
           decoder_hidden_size=8), {"*.mlp.dense1": "identity"}),
    *(Family(name, _V, build, after) for name, (build, after) in VISION.items()),
)  # fmt: skip
