"""What ONNX's operators do to the entries of a tensor, by name."""

from __future__ import annotations

from .tables import words

__all__ = ["CARRIES", "ELEMENTWISE", "KEEPS", "MIXES", "MOVES", "NOTES", "SILENT"]

#: Every entry of the result depends on one entry of each operand.
ELEMENTWISE = words(
    """
    Relu LeakyRelu PRelu Elu Celu Selu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign
    Gelu Mish Swish ThresholdedRelu Shrink Clip Add Sub Mul Div Pow Neg Abs Exp Log Sqrt
    Reciprocal Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Sign Floor Ceil
    Round Max Min Where Mod Greater GreaterOrEqual Less LessOrEqual Equal And Or Not IsNaN
    IsInf
    """
)

#: Entries come in another order or shape, or some of them.
MOVES = words(
    """
    Reshape Flatten Transpose Squeeze Unsqueeze Slice Split Gather GatherElements GatherND
    Expand Tile Concat DepthToSpace SpaceToDepth
    """
)

#: The result is the operand, as far as a measurement in use goes.
KEEPS = words(
    """
    Identity Dropout Cast CastLike
    """
)

#: The results stay in the range of the operands.
CARRIES = words(
    """
    Resize Upsample ReduceMax ReduceMin ReduceMean Pad GlobalAveragePool GlobalMaxPool
    MaxPool AveragePool LpPool MaxUnpool
    """
)

#: What they take is used as it is: a layer before them is linear.
MIXES = words(
    """
    Softmax LogSoftmax Hardmax LayerNormalization InstanceNormalization GroupNormalization
    LRN RMSNormalization SimplifiedLayerNormalization MeanVarianceNormalization
    LpNormalization ReduceSum ReduceL1 ReduceL2 ReduceProd ReduceLogSum ReduceLogSumExp
    ReduceSumSquare Gemm MatMul Einsum ArgMax ArgMin TopK CumSum Attention ScatterND
    ScatterElements Conv BatchNormalization RotaryEmbedding NonMaxSuppression RoiAlign Det
    """
)

#: They take no values out of a tensor that go on through the network.
SILENT = words(
    """
    Size NonZero ConstantOfShape RandomNormalLike
    """
)

#: Weights that are no layers, and why.
NOTES = {
    "ConvTranspose": "a transposed convolution",
    "LSTM": "an LSTM of ONNX: pass the module that it was made of",
    "GRU": "a GRU of ONNX: pass the module that it was made of",
    "RNN": "an RNN of ONNX: pass the module that it was made of",
    "Gather": "an embedding: rows are looked up, nothing is multiplied",
    "Einsum": "a weight used by Einsum",
    "MatMulInteger": "quantised weights",
    "QLinearConv": "quantised weights",
    "QLinearMatMul": "quantised weights",
    "ConvInteger": "quantised weights",
}
