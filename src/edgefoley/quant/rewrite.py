"""The same arithmetic in another form, so that one kind of operator has to be quantised.

Gemm and one-dimensional convolutions become MatMul: a convolution of width k is the product of k neighbours
side by side with the weight as a (k inputs, outputs) matrix.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgefoley.quant.network import Layer, Network
from edgefoley.quant.nodes import attribute_ints, make_node
from edgefoley.quant.observe import Grid

_END = np.iinfo(np.int64).max


def as_product(network: Network, layer: Layer) -> Layer:
    """Rewrite a Gemm or a one-dimensional convolution as MatMul and Add; a MatMul stays."""
    operator = layer.node.op_type
    if operator == "MatMul":
        return layer
    weight = network.weights[layer.weight]
    tag, name = layer.output, f"{layer.weight}.matrix"
    nodes: list[Any] = []
    source, target = layer.source, layer.output
    if operator == "Gemm":
        turned = any(a.name == "transB" and a.i for a in layer.node.attribute)
        matrix = weight.T if turned else weight
    else:
        matrix = weight.transpose(2, 1, 0).reshape(-1, weight.shape[0])
        source, target = f"{tag}.taps", f"{tag}.rows"
        nodes += _taps(network, layer, weight.shape[2], source)
    network.weights[name] = np.ascontiguousarray(matrix)
    network.origin[name] = network.origin.get(layer.weight, layer.weight)
    product = f"{tag}.product" if layer.bias else target
    node = make_node("MatMul", [source, name], [product], layer.node.name or f"{tag}.matmul")
    nodes.append(node)
    if layer.bias:
        nodes.append(make_node("Add", [product, layer.bias], [target], f"{tag}.bias"))
    if operator == "Conv":
        nodes.append(make_node("Transpose", [target], [tag], f"{tag}.back", perm=[0, 2, 1]))
    network.replace({id(layer.node): nodes})
    return replace(layer, node=node, weight=name, source=source, shape=matrix.shape, kind="matmul")


def _taps(network: Network, layer: Layer, width: int, made: str) -> list[Any]:
    """(B, C, L) -> (B, L', width C): each place's neighbours side by side, in the order of the weight."""
    tag, step = layer.output, attribute_ints(layer.node, "dilations", [1])[0]
    before, after = attribute_ints(layer.node, "pads", [0, 0])
    nodes = [make_node("Transpose", [layer.source], [f"{tag}.time"], f"{tag}.turn", perm=[0, 2, 1])]
    rows = f"{tag}.time"
    if before or after:
        network.weights[f"{tag}.pads"] = np.array([0, before, 0, 0, after, 0], np.int64)
        nodes.append(make_node("Pad", [rows, f"{tag}.pads"], [f"{tag}.padded"], f"{tag}.pad"))
        rows = f"{tag}.padded"
    if width == 1:
        return [*nodes, make_node("Identity", [rows], [made], f"{tag}.tap")]
    network.weights[f"{tag}.axis"] = np.array([1], np.int64)
    parts = []
    for tap in range(width):
        left = step * (width - 1 - tap)
        network.weights[f"{tag}.start{tap}"] = np.array([step * tap], np.int64)
        network.weights[f"{tag}.stop{tap}"] = np.array([-left if left else _END], np.int64)
        parts.append(f"{tag}.tap{tap}")
        ends = [f"{tag}.start{tap}", f"{tag}.stop{tap}", f"{tag}.axis"]
        nodes.append(make_node("Slice", [rows, *ends], [parts[-1]], f"{tag}.cut{tap}"))
    return [*nodes, make_node("Concat", parts, [made], f"{tag}.side", axis=2)]


def output_of(network: Network, layer: Layer) -> tuple[str, Any]:
    """The tensor whose range a convolution's output has, and the Relu or Clip in between (None: none)."""
    users = network.consumers().get(layer.output, [])
    if len(users) == 1 and users[0].op_type in ("Relu", "Clip") and layer.output not in network.outputs:
        return str(users[0].output[0]), users[0]
    return layer.output, None


def must_be_spelled(network: Network, layer: Layer, rank: int) -> bool:
    """Whether ONNX Runtime would not see a MatMul between QuantizeLinear and float as one of integers: it
    merges one of two axes with a bias behind it to a Gemm first, and leaves one alone that a Relu follows
    (seen with 1.32). Such a product is written with the integer operator itself."""
    users = network.consumers().get(layer.output, [])
    return rank == 2 or any(node.op_type == "Relu" for node in users)


def is_idle(node: Any, network: Network, grid: Grid) -> bool:
    """Whether a grid cannot hold values that a Relu or Clip would change."""
    low, high = 0.0, np.inf
    if node.op_type == "Clip":
        ends = [network.weights.get(name) if name else None for name in (*node.input[1:], "", "")][:2]
        if any(name and name not in network.weights for name in node.input[1:]):
            return False
        low, high = (
            (-np.inf if ends[0] is None else float(ends[0])),
            (np.inf if ends[1] is None else float(ends[1])),
        )
    zero, scale = int(grid.zero_point[0]), float(grid.scale[0])
    least, most = (grid.smallest - zero) * scale, (grid.largest - zero) * scale
    return least >= low and most <= high * (1 + 1e-6)
