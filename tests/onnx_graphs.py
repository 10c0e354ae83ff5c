"""ONNX graphs written by hand, and what onnx's own reference implementation makes of them."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import eiplane
from eiplane.extract import ExtractOptions, to_network

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def node(kind, inputs, outputs, **attributes):
    """A node; inputs and outputs as words."""
    return helper.make_node(kind, inputs.split(" "), outputs.split(" "), **attributes)


def model(nodes, weights=(), inputs=(("x", FLOAT, (None, 3)),), outputs=("y",), opset=20):
    """A model of nodes, initializers (arrays; floats are float32), inputs and outputs."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(name, FLOAT, (None, None)) for name in outputs],
        [
            numpy_helper.from_array(np.asarray(w, None if np.asarray(w).dtype.kind in "iub"
                                               else np.float32), name)
            for name, w in dict(weights).items()
        ],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1),
              helper.make_opsetid("my.own", 1)]  # fmt: skip
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def saved(path, *args, **kwargs):
    """The path of a model."""
    onnx.save(model(*args, **kwargs), path)
    return path


def extracted(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_network(path, ExtractOptions(**options))


def between(path, before, after):
    """What the reference implementation makes of one value of a graph to get another."""
    whole = onnx.load(path)
    needed, taken = [], {after}
    for part in reversed(whole.graph.node):
        if taken & set(part.output) and before not in part.output:
            needed.insert(0, part)
            taken |= set(part.input)
    del whole.graph.node[:]
    whole.graph.node.extend(needed)
    del whole.graph.input[:], whole.graph.output[:]
    whole.graph.input.append(helper.make_tensor_value_info(before, FLOAT, None))
    whole.graph.output.append(helper.make_tensor_value_info(after, FLOAT, None))
    evaluator = ReferenceEvaluator(whole)
    return lambda x: evaluator.run(None, {before: np.asarray(x, np.float32)})[0]


def counted_sensitivity(function, shape, out_range, bins, in_range, steps=2048):
    """Sum over edges of I(x_A; y_B): one input swept, the others 0, bins counted."""
    lo, hi = in_range
    sweep = lo + (np.arange(steps) + 0.5) / steps * (hi - lo)
    total = 0.0
    for a in range(int(np.prod(shape))):
        x = np.zeros((steps, int(np.prod(shape))))
        x[:, a] = sweep
        y = np.asarray(function(x.reshape(steps, *shape)), np.float64).reshape(steps, -1)
        width = (out_range[1] - out_range[0]) / bins
        out = np.clip(np.floor((y - out_range[0]) / width), 0, bins - 1).astype(int)
        inputs = np.minimum((sweep - lo) / (hi - lo) * bins, bins - 1).astype(int)
        for b in range(y.shape[1]):
            table = np.zeros((bins, bins))
            np.add.at(table, (inputs, out[:, b]), 1.0 / steps)
            rows, columns = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
            there = table > 0
            total += float((table[there] * np.log2(table[there] / (rows * columns)[there])).sum())
    return total


def check(
    path, name, before="x", after="y", shape=(3,), bins=8, function=None, steps=2048, **options
):
    """Hold one layer's sensitivity against a sweep of the reference implementation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (layer,) = eiplane.analyze(path, measures="sensitivity", layers=name, bins=bins, **options)
    real = between(path, before, after) if function is None else function
    expected = counted_sensitivity(real, shape, layer.out_range, bins, layer.in_range, steps)
    assert layer.sensitivity == np.float64(expected).round(12) or (
        abs(layer.sensitivity - expected) <= 0.02 * max(1.0, expected)
    ), (name, layer.sensitivity, expected, layer.activation, layer.out_range)
    return layer
