"""What torch's functions do to the entries of a tensor, by name."""

from __future__ import annotations

from .tables import words

__all__ = [
    "BOUNDED",
    "CARRIES",
    "ELEMENTWISE",
    "HARMLESS",
    "JOINS",
    "KEEPS",
    "MIXES",
    "MOVES",
    "MOVING_PROPERTIES",
    "NOTES",
    "SILENT",
]


#: Every entry of the result depends on one entry of each operand.
ELEMENTWISE = words(
    """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid hardsigmoid
    logsigmoid log_sigmoid tanh hardtanh hardswish softplus softsign tanhshrink hardshrink
    softshrink threshold sin cos tan asin acos atan sinh cosh asinh acosh atanh arcsin
    arccos arctan arcsinh arccosh arctanh sinc exp exp2 expm1 expit log log2 log10 log1p
    logit erf erfc erfinv sqrt rsqrt square reciprocal abs absolute neg negative positive
    sign sgn ceil floor round trunc frac clamp clip clamp_min clamp_max nan_to_num isnan
    isinf isfinite lgamma digamma i0 bitwise_not logical_not add sub subtract rsub mul
    multiply div divide true_divide floor_divide pow float_power remainder fmod maximum
    minimum fmax fmin where addcmul addcdiv lerp copysign heaviside logaddexp xlogy atan2 gt
    lt ge le eq ne greater less greater_equal less_equal not_equal logical_and logical_or
    __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__
    __truediv__ __rtruediv__ __itruediv__ __div__ __rdiv__ __idiv__ __pow__ __rpow__
    __ipow__ __neg__ __abs__ __gt__ __lt__ __ge__ __le__ __eq__ __ne__ __and__ __or__
    __invert__ __pos__ __mod__ __floordiv__
    """
)

#: Entries come in another order or shape, or some of them.
MOVES = words(
    """
    view reshape view_as reshape_as flatten unflatten permute transpose swapaxes swapdims t
    adjoint squeeze unsqueeze expand expand_as repeat tile repeat_interleave contiguous
    clone chunk split tensor_split hsplit vsplit dsplit unbind select narrow __getitem__
    movedim moveaxis index_select roll flip fliplr flipud rot90 unfold diagonal ravel
    broadcast_to atleast_1d atleast_2d atleast_3d pixel_shuffle pixel_unshuffle
    channel_shuffle split_with_sizes unsafe_chunk unsafe_split as_strided masked_select take
    take_along_dim gather
    """
)

#: Properties of a tensor that are the tensor itself, moved.
MOVING_PROPERTIES = frozenset(["T", "mT", "H", "mH", "data", "real"])

#: Several tensors become one.
JOINS = words("cat concat concatenate stack hstack vstack dstack column_stack row_stack")

#: The result is the operand, as far as a measurement in use goes.
KEEPS = words(
    """
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout
    feature_alpha_dropout detach native_dropout to float double half bfloat16 type type_as
    cpu cuda requires_grad_ alias pin_memory
    """
)

#: The results stay in the range of the operands.
CARRIES = words(
    """
    interpolate upsample upsample_nearest upsample_bilinear grid_sample mean nanmean amax
    amin max min median lp_pool2d fractional_max_pool2d max_unpool2d pad constant_pad_nd
    """
)

#: What they take is used as it is: a layer before them is linear.
MIXES = words(
    """
    softmax log_softmax gumbel_softmax softmin layer_norm group_norm instance_norm
    local_response_norm rms_norm normalize scaled_dot_product_attention matmul __matmul__
    __rmatmul__ bmm mm mv dot baddbmm addbmm addmm addmv einsum tensordot inner outer cdist
    cosine_similarity pairwise_distance sum nansum prod std var var_mean std_mean norm
    vector_norm matrix_norm logsumexp argmax argmin topk sort argsort kthvalue cumsum
    cumprod glu cross_entropy mse_loss l1_loss nll_loss binary_cross_entropy
    binary_cross_entropy_with_logits kl_div smooth_l1_loss huber_loss masked_fill
    masked_scatter linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d bilinear embedding embedding_bag scatter scatter_add index_add
    index_put multi_head_attention_forward one_hot linalg_norm linalg_vector_norm softmax2d
    cross kron triu tril fft_fft fft_rfft fold copy
    """
)

#: They take no values out of a tensor that go on through the network.
SILENT = words(
    """
    size dim numel nelement stride is_floating_point is_complex is_contiguous storage_offset
    item tolist element_size data_ptr get_device __len__ __bool__ __hash__ __repr__ __str__
    __format__ zeros_like ones_like empty_like full_like rand_like randn_like new_zeros
    new_ones new_full new_empty new_tensor all any equal allclose isclose is_nonzero
    __contains__ __set__ __index__ __int__ __float__ result_type can_cast promote_types
    numpy storage untyped_storage __array__ __dlpack__ argwhere nonzero bincount unique
    is_same_size ndimension retain_grad is_tensor shape_as_tensor __iter__ has_names
    is_inference is_pinned is_shared __deepcopy__ get_default_dtype is_signed
    """
)

#: Ranges of results, whatever the operand.
BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softmax": (0.0, 1.0)}

#: Weights that are no layers, and why.
NOTES = {
    "embedding": "an embedding: rows are looked up, nothing is multiplied",
    "embedding_bag": "an embedding: rows are looked up, nothing is multiplied",
    "bilinear": "a bilinear map: its output is a product of two inputs",
    "conv_transpose1d": "a transposed convolution",
    "conv_transpose2d": "a transposed convolution",
    "conv_transpose3d": "a transposed convolution",
}

#: A parameter used by these alone is a position, a scale or the like, not a matrix.
HARMLESS = ELEMENTWISE | MOVES | JOINS | KEEPS | SILENT | {
    "layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm", "__get__", "masked_fill",
    "sum", "norm", "mean", "scaled_dot_product_attention",
}  # fmt: skip
