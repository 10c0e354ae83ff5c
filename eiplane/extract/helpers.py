"""Which named arrays are no weights of a linear map: embeddings, scales, masks, positions, norms.

By their names, as the libraries document them, and by their shapes where those leave no doubt.
"""

from __future__ import annotations

import re

from .entries import Entries, Entry, leaf, owner, parent, sibling, words_of
from .tables import words

__all__ = ["helper_reason", "is_weight_name"]

_EMBEDDING = "an embedding table: its rows are looked up, not multiplied"
_POSITION = "positions, tokens or a table that is added or joined: no linear map"
_NORM = "the scale of a norm, elementwise: no linear map"
_SCALE = "scales, offsets or a temperature: no linear map"
_MASK = "a mask, a bias or another buffer of two or more dimensions: no linear map"
_STATE = "a matrix of a state-space model's recurrence: no linear map between layers"
_CODES = "codes or prototypes that inputs are compared with: no linear map"
_FIXED = "a fixed table (filters, frequencies, a grid): no linear map"
_TRAINED = "what an optimizer keeps of a parameter: no linear map"
_SHAPE = "one constant for every input, by its shape: no linear map"
_STACK = "several matrices in one array, as its bias says, one row each; pass them one by one"
_UNCLEAR = (
    "more than two dimensions, of which its name does not say which are inputs and which outputs"
)

#: The last words of an embedding's own name.
_EMBEDS = words(
    "embedding embeddings embed embeds embd emb embs embedder lookup codebook codebooks"
)
#: What stands behind those words in other names of embeddings. Anything else (``embed_out``,
#: ``embeddings_project``, ``time_embed.linear``) is a linear map.
_OF_WHAT = words(
    "tokens token positions position types type layer layers table ids words word in tok pos"
    " segment segments chars bag codes dates hours items users"
)
_EMBEDDINGS = words("wte wpe tte relative_attention_bias embed_tokens rel_attn_bias")

#: Names of arrays, whole, by what those are.
_KINDS = {
    _EMBEDDING: "embedding embeddings",
    _POSITION: (
        "cls_token dist_token mask_token reg_token register_tokens class_token class_embedding"
        " query_tokens latents latent queries query_embed pe positional_encoding pos_enc"
        " pos_encoding row_embed col_embed bos_token eos_token sep_token storage_tokens"
        " mem_tokens prompt prompts"
    ),
    _NORM: (
        "running_mean running_var moving_mean moving_variance num_batches_tracked gamma beta"
        " layer_scale lambda_1 lambda_2 norm_weight"
    ),
    _SCALE: (
        "scale scales logit_scale temperature shift offset zeros zero_point zero_points qzeros"
        " absmax SCB g_idx tau alpha"
    ),
    _MASK: (
        "mask masks masked_bias attn_mask attention_mask causal_mask tril triu relative_bias"
        " relative_position_index rel_pos_bias r_w_bias r_r_bias r_s_bias pos_bias_u pos_bias_v"
        " dt_bias time_decay time_first time_mix_k time_mix_v time_mix_r"
    ),
    _TRAINED: (
        "exp_avg exp_avg_sq max_exp_avg_sq exp_avg_sq_row exp_avg_sq_col exp_inf momentum_buffer"
        " square_avg grad_avg acc_delta"
    ),
    _STATE: "A_log A_logs B_log C_log Ds D dt_projs_bias initial_state",
    _CODES: (
        "codebook codebooks prototypes centroids centers cluster_centers embed_avg embedding_avg"
        " embed_sum cluster_size queue"
    ),
    _FIXED: (
        "inv_freq freqs freqs_cis cos_cached sin_cached cos sin rel_pos_h rel_pos_w rel_pos"
        " mel_filters window anchors grid position_ids token_type_ids"
    ),
}
_LEAVES = {name: reason for reason, names in _KINDS.items() for name in words(names)}

#: Parts of names, whatever stands around them.
_PATTERNS = (
    (re.compile(r"pos(ition(al)?)?_?(embed|emb|encoding|enc)|_token$|_tokens$"), _POSITION),
    (re.compile(r"rel(ative)?_?pos(ition)?"), _POSITION),
    (re.compile(r"(weight|input|output|activation|k|v|q)_scale(_inv)?$|_scales?$"), _SCALE),
    (re.compile(r"_zero_points?$|_zeros$|zero_point$|_absmax$|_amax$"), _SCALE),
    (re.compile(r"(_|^)masks?$"), _MASK),
    (re.compile(r"inv_freq|(cos|sin)_cache"), _FIXED),
    (re.compile(r"(^|_)emb(ed(ding)?)?s?$"), _EMBEDDING),
)

_NORMS = re.compile(
    r"(^|_|\d)(layer_?norm|batch_?norm|group_?norm|rms_?norm|instance_?norm|norm|ln|bn|gn)"
    r"(_?\d+|_[a-z]{1,2}|_final|_layer)*$"
)

_WEIGHTS = re.compile(
    r"(^|_)(weights?|kernel|matrix)(_|\d|$)|weight|^[Ww](_?\w{0,3})$|^(w|proj|projection)\d*$"
)


def is_weight_name(name: str) -> bool:
    """Return whether the last part of a name says that this is a weight."""
    return _WEIGHTS.search(leaf(name)) is not None


def helper_reason(entry: Entry, entries: Entries) -> str:
    """Return why an array of two or more dimensions is no weight of a linear map.

    Parameters
    ----------
    entry : Entry
    entries : dict of str to Entry
        All that stand beside it.

    Returns
    -------
    str
        Empty if nothing says so.
    """
    name, last = entry.name, leaf(entry.name)
    if "lora_embedding_" in name:
        return _EMBEDDING
    known = len(last) > 1 or "." in name or "/" in name  # an "A" or a "D" may be anything
    if last in _LEAVES and known and len(entries) > 1:  # what is given by itself is meant
        return _LEAVES[last]
    low = "_".join(words_of(last)) if not last.islower() else last
    for pattern, reason in _PATTERNS:
        if pattern.search(low):
            return reason
    if last in ("spline_weight", "spline_scaler") and sibling(name, "spline_scaler") in entries:
        return "a spline's weights are the product of spline_weight and spline_scaler"
    bias = entries.get(sibling(name, "bias"))
    if last == "bias" or (last.endswith("bias") and "weight" not in last):
        return _MASK
    if last in ("weight", "scale", "g") and _NORMS.search(owner(name).lower()):
        return _NORM
    if bias is not None and bias.shape == entry.shape and last in ("weight", "scale"):
        return _NORM  # a bias of the weight's own shape: elementwise
    stacked = bias is not None and len(bias.shape) == 2 < len(entry.shape)
    if stacked and bias is not None and bias.shape == entry.shape[:2]:
        return _STACK
    if last in ("weight", "weights", "w") and len(entry.shape) == 2 and bias is None:
        return _EMBEDDING if _is_embedding(name, entries) else ""
    if len(entry.shape) >= 3 and ("." in name or "/" in name) and not is_weight_name(name):
        return _SHAPE if entry.shape[0] == 1 else _UNCLEAR
    if len(entry.shape) == 3 and re.search(r"expert", parent(name) or name, re.IGNORECASE):
        return (
            "the weights of several experts in one array, of which a file does not say which way "
            "they are turned; pass them one by one"
        )
    return ""


def _is_embedding(name: str, entries: Entries) -> bool:
    module = owner(name)
    if module.isdigit():  # of a list of them
        module = owner(parent(name))
        if not module.lower().endswith("s"):
            return False
    if module in _EMBEDDINGS:
        return True
    said = words_of(module)
    at = [i for i, word in enumerate(said) if word in _EMBEDS]
    if at and "patch" not in said and all(w in _OF_WHAT for w in said[at[-1] + 1 :]):
        return True
    # T5's and BART's table for both halves.
    return module == "shared" and all(
        any(half in other for other in entries) for half in ("encoder.", "decoder.")
    )
