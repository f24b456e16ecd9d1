"""Store the weights of an ONNX graph as 8-bit integers where its activations are on 8-bit grids."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from cxr_train.quantise import weight_steps


def store_integers(graph: onnx.GraphProto) -> int:
    """Give every convolution between integers int8 weights and an int32 bias, as in QDQ graphs.

    Weights have one step per output channel; the step of a bias is that of the input times that of the weights. Changes
    the graph in place; returns the number of convolutions changed.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    nodes: list[onnx.NodeProto] = []
    changed = 0
    for node in graph.node:
        if node.op_type == "Conv" and _between_integers(node, producers, readers):
            step_in = numpy_helper.to_array(constants[producers[node.input[0]].input[1]])
            weight = numpy_helper.to_array(constants[node.input[1]])
            steps = weight_steps(torch.tensor(weight)).numpy()
            parts = [(np.rint(weight / steps[:, None, None, None]).astype(np.int8), steps)]
            if len(node.input) > 2:  # the exporter omits a zero bias
                bias = numpy_helper.to_array(constants[node.input[2]])
                parts.append((np.rint(bias / (step_in * steps)).astype(np.int32), step_in * steps))
            for index, (integers, step) in enumerate(parts, start=1):
                nodes.append(_dequantised(graph, node.input[index], integers, step))
                node.input[index] = nodes[-1].output[0]
            changed += 1
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in graph.node for name in node.input}
    for tensor in constants.values():
        if tensor.name not in read:
            graph.initializer.remove(tensor)
    return changed


def _between_integers(
    node: onnx.NodeProto, producers: dict[str, onnx.NodeProto], readers: dict[str, onnx.NodeProto]
) -> bool:
    """Whether a convolution reads integers and its result, after an optional ReLU, is stored as integers."""
    before, after = producers.get(node.input[0]), readers.get(node.output[0])
    if after is not None and after.op_type == "Relu":
        after = readers.get(after.output[0])
    kinds = [other.op_type for other in (before, after) if other is not None]
    return kinds == ["DequantizeLinear", "QuantizeLinear"]


def _dequantised(
    graph: onnx.GraphProto, name: str, integers: NDArray[np.signedinteger], steps: NDArray[np.float32]
) -> onnx.NodeProto:
    """Store a constant as integers in the graph. Returns the node that converts it back."""
    taken = {tensor.name for tensor in graph.initializer}
    while f"{name}.integers" in taken:  # equal constants, such as zeros, may share a name
        name += "'"
    stored = {f"{name}.integers": integers, f"{name}.steps": np.asarray(steps, dtype=np.float32)}
    graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in stored.items())
    return helper.make_node("DequantizeLinear", list(stored), [f"{name}.dequantised"], f"{name}.dequantise", axis=0)
